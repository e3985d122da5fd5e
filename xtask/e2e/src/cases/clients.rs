//! The rules for clients: how many, how long idle, how long in login.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::until;
use crate::case::{Case, Plan, Setting, case};
use crate::raw::Raw;

/// The cases.
pub const CASES: &[Case] = &[
    case(
        "clients/max_client_connections",
        Plan::Shells { shards: 2 },
        max_clients,
    ),
    case(
        "clients/idle_client_timeout",
        Plan::Shells { shards: 1 },
        idle_clients,
    ),
    case(
        "clients/idle_in_transaction_is_cut",
        Plan::Shells { shards: 1 },
        idle_in_transaction,
    ),
    case(
        "clients/login_timeout",
        Plan::Shells { shards: 1 },
        login_timeout,
    ),
];

fn max_clients(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_client_connections", "20")])?;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(Raw::login(&front.endpoint)?);
    }
    for _ in 0..5 {
        let Err(error) = Raw::login(&front.endpoint) else {
            bail!("client 21 logged in")
        };
        ensure!(format!("{error:#}").starts_with("53300: "), "{error:#}");
    }
    for client in &mut clients {
        client.run("SELECT 1")?;
    }
    clients.pop();
    until("one who left makes room", Duration::from_secs(2), || {
        let again = Raw::login(&front.endpoint);
        Ok((
            again.is_ok(),
            again.err().map(|e| e.to_string()).unwrap_or_default(),
        ))
    })?;
    Ok(())
}

fn idle_clients(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("idle_client_timeout", "2")])?;
    let (mut idle, mut busy) = (Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?);
    let begin = Instant::now();
    busy.send_query("SELECT pg_sleep(4)")?;
    idle.run("SELECT 1")?;
    let message = idle.message()?;
    let took = begin.elapsed();
    ensure!(
        message.tag == b'E' && message.error().starts_with("57P05"),
        "{}",
        message.error()
    );
    ensure!(
        took > Duration::from_millis(1900) && took < Duration::from_millis(3500),
        "after {took:?}"
    );
    ensure!(
        idle.ends_within(Duration::from_secs(1))?,
        "the connection stays open"
    );
    ensure!(
        busy.answer()?.error.is_none(),
        "a client whose query runs is not idle"
    );
    Ok(())
}

fn idle_in_transaction(setting: &Setting) -> Result<()> {
    let front = setting.front(&[
        ("idle_client_timeout", "2"),
        ("max_connection_pool_size", "1"),
    ])?;
    let mut idle = Raw::login(&front.endpoint)?;
    idle.run("DROP TABLE IF EXISTS cut_off; BEGIN; CREATE TABLE cut_off ()")?;
    let mut other = Raw::login(&front.endpoint)?;
    let begin = Instant::now();
    let left = other.value("SELECT count(*) FROM pg_class WHERE relname = 'cut_off'")?;
    ensure!(left == "0", "the transaction was not rolled back");
    ensure!(
        begin.elapsed() < Duration::from_secs(4),
        "the connection came back after {:?}",
        begin.elapsed()
    );
    ensure!(
        idle.ends_within(Duration::from_secs(1))?,
        "the idle client is still connected"
    );
    Ok(())
}

fn login_timeout(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("login_timeout", "2")])?;
    let mut silent = Raw::tcp(front.endpoint.port)?;
    let mut halfway = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
    halfway.startup(crate::raw::V3_0, &front.endpoint, &[])?;
    let begin = Instant::now();
    for raw in [&mut silent, &mut halfway] {
        ensure!(
            raw.ends_within(Duration::from_secs(4))?,
            "a login that does not go on stays connected"
        );
        ensure!(
            begin.elapsed() > Duration::from_millis(1800),
            "ended after {:?}",
            begin.elapsed()
        );
    }
    Raw::login(&front.endpoint)?.run("SELECT 1")?;
    Ok(())
}
