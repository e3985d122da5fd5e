//! The lending rules of the configuration, one case each, as the server itself sees them.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};

use super::until;
use crate::case::{Case, Front, Plan, Setting, case};
use crate::raw::Raw;
use crate::watch::PeakWatch;

/// The cases.
pub const CASES: &[Case] = &[
    case(
        "lending/min_connection_pool_size",
        Plan::Shells { shards: 2 },
        minimum,
    ),
    case(
        "lending/one_warm_connection_by_default",
        Plan::Once,
        warm_by_default,
    ),
    case(
        "lending/a_warm_connection_saves_a_login",
        Plan::Once,
        warm_saves_login,
    ),
    case(
        "lending/max_connection_pool_size",
        Plan::Shells { shards: 2 },
        maximum,
    ),
    case(
        "lending/sequential_clients_use_one_connection",
        Plan::Shells { shards: 1 },
        sequential_use_one,
    ),
    case(
        "lending/idle_timeout",
        Plan::Shells { shards: 1 },
        idle_timeout,
    ),
    case(
        "lending/borrow_timeout",
        Plan::Shells { shards: 1 },
        borrow_timeout,
    ),
    case(
        "lending/no_borrow_timeout_waits",
        Plan::Once,
        waits_without_timeout,
    ),
    case(
        "lending/a_waiter_that_leaves_is_forgotten",
        Plan::Shells { shards: 1 },
        leaving_waiter,
    ),
    case(
        "lending/max_borrowed_connections",
        Plan::Shells { shards: 1 },
        max_borrowed,
    ),
    case(
        "lending/connection_lifetime",
        Plan::Shells { shards: 1 },
        lifetime,
    ),
    case(
        "lending/metrics_agree_with_the_server",
        Plan::Shells { shards: 2 },
        metrics_agree,
    ),
    case(
        "lending/pool_size_out_of_range_is_refused",
        Plan::Once,
        out_of_range,
    ),
];

/// Waits until the server has exactly this many connections from weir, and sees that it stays so.
fn settles(setting: &Setting, connections: u64, most: Duration) -> Result<()> {
    until(
        &format!("{connections} connections at the server"),
        most,
        || {
            let now = setting.server.connections()?;
            Ok((now == connections, now.to_string()))
        },
    )?;
    std::thread::sleep(Duration::from_millis(200));
    let later = setting.server.connections()?;
    ensure!(
        later == connections,
        "{connections} connections became {later}"
    );
    Ok(())
}

fn minimum(setting: &Setting) -> Result<()> {
    let _front = setting.front(&[("min_connection_pool_size", "5")])?;
    settles(setting, 5, Duration::from_secs(5))?;
    setting.server.ask(
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'",
    )?;
    settles(setting, 5, Duration::from_secs(10))
}

fn warm_by_default(setting: &Setting) -> Result<()> {
    let _front = setting.front(&[])?;
    settles(setting, 1, Duration::from_secs(5))
}

fn warm_saves_login(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    settles(setting, 1, Duration::from_secs(5))?;
    let started = "SELECT string_agg(pid::text || backend_start::text, ',') FROM pg_stat_activity WHERE usename = 'app'";
    let before = setting.server.ask(started)?;
    Raw::login(&front.endpoint)?.run("SELECT 1")?;
    let after = setting.server.ask(started)?;
    ensure!(
        before == after,
        "the first query opened a connection: {before}, then {after}"
    );
    Ok(())
}

/// Starts that many clients, each with a query of this many seconds.
fn sleepers(front: &Front, count: usize, seconds: f64) -> Result<Vec<Raw>> {
    let mut clients = Vec::new();
    for _ in 0..count {
        let mut raw = Raw::login(&front.endpoint)?;
        raw.send_query(&format!("SELECT pg_sleep({seconds})"))?;
        clients.push(raw);
    }
    Ok(clients)
}

fn maximum(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "3")])?;
    let watch = PeakWatch::start(&setting.server)?;
    let begin = Instant::now();
    for mut client in sleepers(&front, 12, 0.3)? {
        ensure!(client.answer()?.error.is_none());
    }
    let took = begin.elapsed();
    let peak = watch.stop()?;
    ensure!(peak == 3, "the server had {peak} connections at most");
    // 12 sleeps of 0.3 s, 3 at a time; all of the three must have been used.
    ensure!(
        took >= Duration::from_millis(1200) && took < Duration::from_millis(2600),
        "took {took:?}"
    );
    Ok(())
}

fn sequential_use_one(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let mut pids = BTreeSet::new();
    for _ in 0..50 {
        pids.insert(Raw::login(&front.endpoint)?.value("SELECT pg_backend_pid()")?);
    }
    ensure!(
        pids.len() == 1,
        "one after the other they used {} connections",
        pids.len()
    );
    Ok(())
}

fn idle_timeout(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("idle_timeout", "2")])?;
    for mut client in sleepers(&front, 4, 0.2)? {
        client.answer()?;
    }
    ensure!(setting.server.connections()? == 4);
    // A busy connection outlives the time, the idle ones go down to the minimum of 1.
    let mut busy = Raw::login(&front.endpoint)?;
    busy.send_query("SELECT pg_sleep(5)")?;
    std::thread::sleep(Duration::from_millis(1000));
    ensure!(setting.server.connections()? == 4, "closed too early");
    until(
        "idle connections are closed",
        Duration::from_secs(3),
        || {
            let now = setting.server.connections()?;
            Ok((now <= 2, now.to_string()))
        },
    )?;
    ensure!(
        busy.answer()?.error.is_none(),
        "the busy connection was closed"
    );
    settles(setting, 1, Duration::from_secs(4))
}

fn borrow_timeout(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "1"), ("borrow_timeout", "2")])?;
    let mut holder = Raw::login(&front.endpoint)?;
    let mut waiter = Raw::login(&front.endpoint)?;
    holder.run("BEGIN")?;
    for _ in 0..2 {
        let begin = Instant::now();
        let answer = waiter.query("SELECT 1")?;
        let took = begin.elapsed();
        let error = answer.error.unwrap_or_default() + " " + &answer.more;
        ensure!(
            error.starts_with("08000: ") && error.contains("borrow_timeout"),
            "{error}"
        );
        ensure!(
            took >= Duration::from_millis(2000) && took < Duration::from_millis(2500),
            "after {took:?}"
        );
        ensure!(answer.status == b'I');
    }
    // The extended protocol gets one error and one ReadyForQuery too.
    let parse = [
        crate::raw::frame(b'P', b"\0SELECT 2\0\0\0"),
        crate::raw::frame(b'B', &[0; 8]),
    ];
    let rest = [
        crate::raw::frame(b'E', &[0; 5]),
        crate::raw::frame(b'S', &[]),
    ];
    waiter.send(&[parse.concat(), rest.concat()].concat())?;
    let error = waiter.answer()?.error.unwrap_or_default();
    ensure!(error.starts_with("08000: "), "{error}");
    holder.run("COMMIT")?;
    ensure!(
        waiter.value("SELECT 3")? == "3",
        "the client's connection is not usable after its borrow timed out"
    );
    Ok(())
}

fn waits_without_timeout(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "1")])?;
    let mut holder = Raw::login(&front.endpoint)?;
    holder.run("BEGIN")?;
    let mut waiter = Raw::login(&front.endpoint)?;
    waiter.send_query("SELECT 1")?;
    waiter.patience(Duration::from_secs(if setting.long { 130 } else { 8 }))?;
    ensure!(
        waiter.message().is_err_and(|e| crate::raw::timed_out(&e)),
        "the waiter got an answer"
    );
    holder.run("COMMIT")?;
    waiter.patience(Duration::from_secs(5))?;
    ensure!(waiter.answer()?.value()? == "1");
    Ok(())
}

fn leaving_waiter(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_connection_pool_size", "1")])?;
    let mut holder = Raw::login(&front.endpoint)?;
    holder.run("BEGIN")?;
    let mut leaving = Vec::new();
    for n in 0..5 {
        let mut raw = Raw::login(&front.endpoint)?;
        raw.send_query(&format!("CREATE TABLE left_by_{n} ()"))?;
        leaving.push(raw);
    }
    until("five wait", Duration::from_secs(3), || {
        let waiting = front.weir()?.metric("weir_clients_waiting")?;
        Ok((waiting == 5.0, waiting.to_string()))
    })?;
    for raw in leaving {
        raw.reset()?;
    }
    until("nobody waits", Duration::from_secs(3), || {
        let waiting = front.weir()?.metric("weir_clients_waiting")?;
        Ok((waiting == 0.0, waiting.to_string()))
    })?;
    holder.run("COMMIT")?;
    ensure!(holder.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'left_by_%'")? == "0");
    Ok(())
}

fn max_borrowed(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_borrowed_connections", "2"), ("borrow_timeout", "2")])?;
    let mut holders = Vec::new();
    for _ in 0..2 {
        let mut raw = Raw::login(&front.endpoint)?;
        raw.run("BEGIN")?;
        holders.push(raw);
    }
    let mut third = Raw::login(&front.endpoint)?;
    let answer = third.query("SELECT 1")?;
    let error = answer.error.unwrap_or_default() + " " + &answer.more;
    ensure!(
        error.starts_with("08000: ") && error.contains("max_borrowed_connections"),
        "{error}"
    );
    // Another user is another identity.
    let mut other = Raw::login(&front.endpoint.with_login("other", "other's", "app"))?;
    ensure!(other.value("SELECT 1")? == "1");
    third.send_query("SELECT 2")?;
    std::thread::sleep(Duration::from_millis(200));
    holders.pop();
    ensure!(
        third.answer()?.value()? == "2",
        "a freed connection does not reach who waited for it"
    );
    Ok(())
}

fn lifetime(setting: &Setting) -> Result<()> {
    let front = setting.front(&[
        ("connection_lifetime", "2"),
        ("max_connection_pool_size", "1"),
    ])?;
    let mut raw = Raw::login(&front.endpoint)?;
    let first = raw.value("SELECT pg_backend_pid()")?;
    let begin = Instant::now();
    // Never closed in a transaction, only when given back.
    raw.run("BEGIN")?;
    while begin.elapsed() < Duration::from_secs(3) {
        ensure!(
            raw.value("SELECT pg_backend_pid()")? == first,
            "the connection changed inside a transaction"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    raw.run("COMMIT")?;
    let second = raw.value("SELECT pg_backend_pid()")?;
    ensure!(
        second != first,
        "a connection older than its lifetime was lent again"
    );
    Ok(())
}

fn metrics_agree(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_connection_pool_size", "4")])?;
    let mut clients = sleepers(&front, 6, 1.0)?;
    let idle = Raw::login(&front.endpoint)?;
    let expected = [
        ("weir_client_connections", 7.0),
        ("weir_backend_connections", 4.0),
        ("weir_backend_lent", 4.0),
        ("weir_clients_waiting", 2.0),
    ];
    until("metrics", Duration::from_millis(800), || {
        let weir = front.weir()?;
        let seen: Vec<f64> = expected
            .iter()
            .map(|(name, _)| weir.metric(name))
            .collect::<Result<_>>()?;
        Ok((
            expected.iter().zip(&seen).all(|((_, e), s)| e == s),
            format!("{seen:?}"),
        ))
    })?;
    ensure!(setting.server.connections()? == 4);
    for client in &mut clients {
        client.answer()?;
    }
    ensure!(front.weir()?.metric("weir_borrows_total")? >= 6.0);
    clients[0].run("LISTEN somebody")?;
    until("a pin is counted", Duration::from_secs(2), || {
        let pinned = front.weir()?.metric("weir_pinned_sessions")?;
        Ok((pinned == 1.0, pinned.to_string()))
    })?;
    clients.clear();
    drop(idle);
    until("everybody has left", Duration::from_secs(3), || {
        let weir = front.weir()?;
        let now = weir.metric("weir_client_connections")? + weir.metric("weir_backend_lent")?;
        Ok((now == 0.0, now.to_string()))
    })?;
    Ok(())
}

fn out_of_range(setting: &Setting) -> Result<()> {
    let Err(error) = setting.front(&[("max_connection_pool_size", "1001")]) else {
        bail!("1001 was accepted")
    };
    let text = format!("{error:#}");
    ensure!(
        text.contains("max_connection_pool_size") && text.contains("1000"),
        "{text}"
    );
    setting.front(&[("max_connection_pool_size", "1000")])?;
    Ok(())
}
