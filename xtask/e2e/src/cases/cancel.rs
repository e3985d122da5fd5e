//! Cancel requests: they reach the query of the client that owns the key, and never another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::case::{Case, Front, Plan, Setting, both, case};
use crate::raw::{self, Raw};

/// The cases.
pub const CASES: &[Case] = &[
    both(
        "cancel/reaches_its_query",
        Plan::Shells { shards: 2 },
        reaches,
    ),
    both(
        "cancel/wrong_keys_reach_nobody",
        Plan::Shells { shards: 1 },
        wrong_keys,
    ),
    case(
        "cancel/of_a_waiting_client",
        Plan::Shells { shards: 1 },
        waiting,
    ),
    case(
        "cancel/races_never_hit_another",
        Plan::Shells { shards: 2 },
        races,
    ),
];

fn key(raw: &Raw) -> Result<(u32, Vec<u8>)> {
    raw.key.clone().context("no cancel key")
}

fn over_tls(front: &Front) -> Result<Raw> {
    Raw::tls(front.endpoint.port, front.endpoint.tls())
}

fn reaches(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "3")])?;
    for round in 0..6 {
        let mut sleeper = Raw::login(&front.endpoint)?;
        let mut other = Raw::login(&front.endpoint)?;
        other.send_query("SELECT pg_sleep(0.7)")?;
        sleeper.send_query("SELECT pg_sleep(20)")?;
        std::thread::sleep(Duration::from_millis(150));
        let begin = Instant::now();
        // A cancel request may come over TLS or, as libpq before version 17 sends it, in the clear.
        let way = if round % 2 == 0 {
            over_tls(&front)?
        } else {
            Raw::tcp(front.endpoint.port)?
        };
        raw::cancel(way, &key(&sleeper)?)?;
        let error = sleeper.answer()?.error.unwrap_or_default();
        ensure!(error.starts_with("57014"), "round {round}: {error}");
        ensure!(
            begin.elapsed() < Duration::from_secs(2),
            "cancelled after {:?}",
            begin.elapsed()
        );
        ensure!(
            other.answer()?.error.is_none(),
            "another client's query was cancelled"
        );
        sleeper.run("SELECT 1")?;
    }
    Ok(())
}

fn wrong_keys(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let mut sleeper = Raw::login(&front.endpoint)?;
    sleeper.send_query("SELECT pg_sleep(1.5)")?;
    std::thread::sleep(Duration::from_millis(100));
    let (pid, secret) = key(&sleeper)?;
    let mut off_by_one = secret.clone();
    if let Some(byte) = off_by_one.last_mut() {
        *byte ^= 1;
    }
    let shorter = secret.get(..secret.len() - 1).unwrap_or_default().to_vec();
    let wrong = [
        (pid, off_by_one),
        (pid ^ 1, secret.clone()),
        (0, vec![0; 4]),
        (u32::MAX, secret.clone()),
        (pid, shorter),
    ];
    for key in &wrong {
        raw::cancel(over_tls(&front)?, key)?;
    }
    let answer = sleeper.answer()?;
    ensure!(
        answer.error.is_none(),
        "a wrong key cancelled the query: {:?}",
        answer.error
    );
    Ok(())
}

/// A client that waits for a connection can be cancelled too: its query is answered, and it never reaches the server.
fn waiting(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "1")])?;
    let (mut holder, mut waiter) = (Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?);
    holder.run("BEGIN")?;
    waiter.send_query("CREATE TABLE never_made ()")?;
    std::thread::sleep(Duration::from_millis(100));
    raw::cancel(over_tls(&front)?, &key(&waiter)?)?;
    waiter.patience(Duration::from_secs(3))?;
    let answer = waiter.answer()?;
    ensure!(
        answer
            .error
            .as_deref()
            .is_some_and(|e| e.starts_with("57014")),
        "{:?}",
        answer.error
    );
    ensure!(answer.status == b'I');
    holder.run("COMMIT")?;
    ensure!(waiter.value("SELECT count(*) FROM pg_class WHERE relname = 'never_made'")? == "0");
    Ok(())
}

/// Clients run short queries on two connections while their own keys are fired at the moment when their query has just
/// ended and the connection was lent on. Innocent clients run beside them and must never see a cancelled query.
fn races(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "2")])?;
    let stop = Arc::new(AtomicBool::new(false));
    let innocent = (0..6).map(|n| {
        let (endpoint, stop) = (front.endpoint.clone(), stop.clone());
        std::thread::spawn(move || -> Result<u64> {
            let mut raw = Raw::login(&endpoint)?;
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                let answer = raw.query(&format!("SELECT pg_sleep(0.002), {n}"))?;
                if let Some(error) = answer.error {
                    bail!("after {count} queries an innocent client got {error}");
                }
                count += 1;
            }
            Ok(count)
        })
    });
    let innocent: Vec<_> = innocent.collect();
    let fired = Arc::new(AtomicU64::new(0));
    let most = if setting.long { 20_000 } else { 1500 };
    let shooters = (0..3).map(|_| {
        let (endpoint, fired) = (front.endpoint.clone(), fired.clone());
        std::thread::spawn(move || shoot(&endpoint, &fired, most))
    });
    for shooter in shooters.collect::<Vec<_>>() {
        shooter
            .join()
            .map_err(|_| anyhow::anyhow!("a shooter panicked"))??;
    }
    stop.store(true, Ordering::Relaxed);
    let mut served = 0;
    for thread in innocent {
        served += thread
            .join()
            .map_err(|_| anyhow::anyhow!("an innocent client panicked"))??;
    }
    ensure!(
        served > 100,
        "the innocent clients had only {served} queries"
    );
    Ok(())
}

/// Runs short queries and cancels each from another connection at about the time of its end.
fn shoot(endpoint: &crate::endpoint::Endpoint, fired: &AtomicU64, most: u64) -> Result<()> {
    let mut own = Raw::login(endpoint)?;
    let key = key(&own)?;
    let mut body = vec![0, 0, 0, 16, 0x04, 0xd2, 0x16, 0x2e];
    body.extend(key.0.to_be_bytes());
    body.extend(&key.1);
    let begin = Instant::now();
    while fired.fetch_add(1, Ordering::Relaxed) < most && begin.elapsed() < Duration::from_secs(90)
    {
        let mut way = Raw::tcp(endpoint.port)?;
        own.send_query("SELECT pg_sleep(0.001)")?;
        std::thread::sleep(Duration::from_micros(
            super::mix(fired.load(Ordering::Relaxed)) % 4000,
        ));
        way.send(&body)?;
        let error = own.answer()?.error;
        ensure!(
            error.as_deref().is_none_or(|e| e.starts_with("57014")),
            "{error:?}"
        );
    }
    Ok(())
}
