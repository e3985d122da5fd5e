//! What the operator has done to server connections: `init_query`, `reset_query`, `server_idle_check`, `session_pinning_filters`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::until;
use crate::case::{Case, Plan, Setting, case};
use crate::process::kill;
use crate::raw::Raw;
use crate::weir::Weir;

/// The cases.
pub const CASES: &[Case] = &[
    case("upkeep/init_query", Plan::Matrix, init_query),
    case(
        "upkeep/init_query_that_fails",
        Plan::Shells { shards: 1 },
        init_query_fails,
    ),
    case("upkeep/reset_query", Plan::Matrix, reset_query),
    case(
        "upkeep/server_idle_check",
        Plan::Shells { shards: 1 },
        idle_check,
    ),
    case(
        "upkeep/session_pinning_filters",
        Plan::Matrix,
        pinning_filters,
    ),
    case(
        "pins/seen_with_shape_and_tenant",
        Plan::Shells { shards: 2 },
        pins_seen,
    ),
];

/// Lines are written a little later than what they tell of.
fn is_logged(weir: &Weir, text: &str) -> Result<()> {
    until("a line in the log", Duration::from_secs(2), || {
        let log = weir.log();
        Ok((log.contains(text), log))
    })?;
    Ok(())
}

/// Counters are published some times a second.
fn counts(weir: &Weir, metric: &str, least: f64) -> Result<()> {
    until(metric, Duration::from_secs(2), || {
        let count = weir.metric(metric)?;
        Ok((count >= least, count.to_string()))
    })?;
    Ok(())
}

fn init_query(setting: &Setting) -> Result<()> {
    let front = setting.front(&[
        (
            "init_query",
            "\"SET statement_timeout = '33s'; SELECT set_config('weir.mine', 'x', false)\"",
        ),
        ("max_connection_pool_size", "1"),
    ])?;
    let (mut a, mut b) = (Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?);
    for round in 0..5 {
        let own = a.value("SHOW statement_timeout")?;
        ensure!(own == "33s", "round {round}: {own}");
        // However the session leaves it, the next one finds what init_query has made.
        a.run(match round {
            0 => "SET statement_timeout = '5s'",
            1 => "RESET statement_timeout",
            2 => "RESET ALL",
            3 => "BEGIN; SET LOCAL statement_timeout = '1s'; COMMIT",
            _ => "CREATE TEMP TABLE t (); DROP TABLE t",
        })?;
        if round == 0 {
            ensure!(a.value("SHOW statement_timeout")? == "5s");
            a.run("RESET statement_timeout")?;
        }
        let (timeout, mine) = (
            b.value("SHOW statement_timeout")?,
            b.value("SHOW weir.mine")?,
        );
        ensure!(
            timeout == "33s" && mine == "x",
            "round {round}: {timeout}, {mine}"
        );
    }
    Ok(())
}

fn init_query_fails(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[
        ("init_query", "\"SELECT 1/0\""),
        ("min_connection_pool_size", "0"),
    ])?;
    let Err(error) = Raw::login(&front.endpoint) else {
        anyhow::bail!("a client logged in although init_query fails")
    };
    let text = format!("{error:#}");
    ensure!(
        text.starts_with("F0000") && text.contains("init_query"),
        "{text}"
    );
    is_logged(front.weir()?, "init_query has failed")
}

fn reset_query(setting: &Setting) -> Result<()> {
    for query in ["\"DISCARD ALL\"", "\"DEALLOCATE ALL; SELECT 1\""] {
        let front = setting.front(&[("reset_query", query), ("max_connection_pool_size", "1")])?;
        let (mut a, mut b) = (Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?);
        a.run("SET search_path = 'mine'")?;
        for _ in 0..5 {
            ensure!(a.value("SHOW search_path")? == "mine");
            ensure!(b.value("SHOW search_path")? == "\"$user\", public");
            ensure!(b.value("SELECT 1")? == "1");
        }
    }
    Ok(())
}

fn idle_check(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[
        ("server_idle_check", "1"),
        ("max_connection_pool_size", "1"),
    ])?;
    let mut client = Raw::login(&front.endpoint)?;
    let stopped: i32 = client.value("SELECT pg_backend_pid()")?.parse()?;
    kill(stopped, libc::SIGSTOP);
    std::thread::sleep(Duration::from_millis(1500));
    let begin = Instant::now();
    let now = client.value("SELECT pg_backend_pid()");
    let took = begin.elapsed();
    kill(stopped, libc::SIGCONT);
    ensure!(
        now? != stopped.to_string(),
        "served by a process that sleeps"
    );
    ensure!(took < Duration::from_secs(6), "after {took:?}");
    is_logged(front.weir()?, "no answer to server_idle_check")?;
    // One that is well is kept.
    let pid = client.value("SELECT pg_backend_pid()")?;
    std::thread::sleep(Duration::from_millis(1500));
    ensure!(client.value("SELECT pg_backend_pid()")? == pid);
    counts(front.weir()?, "weir_server_idle_checks_total", 2.0)
}

fn pinning_filters(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[
        (
            "session_pinning_filters",
            "[\"EXCLUDE_VARIABLE_SETS\", \"EXCLUDE_LISTEN\", \"EXCLUDE_ADVISORY_LOCK\", \"EXCLUDE_SEQUENCE\", \
             \"EXCLUDE_TEMPORARY_OBJECT\", \"EXCLUDE_UNKNOWN_CODE\"]",
        ),
        ("max_connection_pool_size", "1"),
    ])?;
    let (mut a, mut b) = (Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?);
    a.run("DROP SEQUENCE IF EXISTS unpinned; CREATE SEQUENCE unpinned")?;
    for statement in [
        "LISTEN x",
        "SELECT pg_advisory_lock(7)",
        "SELECT nextval('unpinned')",
        "CREATE TEMP TABLE unpinned_table ()",
        "DO $$ BEGIN PERFORM set_config('weir.mine', 'x', false); END $$",
        "SELECT set_config('work_mem', '7' || 'MB', false)",
    ] {
        a.run(statement)?;
        // Nobody waits for the connection, and what was left on it is not there.
        let left = b.value(
            "SELECT concat((SELECT count(*) FROM pg_listening_channels()), \
             (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
             (SELECT count(*) FROM pg_class WHERE relname = 'unpinned_table'), \
             coalesce(nullif(current_setting('weir.mine', true), ''), '0'), \
             (SELECT count(*) FROM pg_settings WHERE name = 'work_mem' AND source = 'session'))",
        )?;
        ensure!(left == "00000", "{statement} leaves {left}");
    }
    let last = b.query("SELECT lastval()")?.error;
    ensure!(
        last.as_deref().is_some_and(|e| e.starts_with("55000")),
        "{last:?}"
    );
    let weir = front.weir()?;
    let text = weir.log();
    ensure!(!text.contains("client_pinned"), "{text}");
    counts(weir, "weir_pins_excused_total", 5.0)
}

fn pins_seen(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_connection_pool_size", "2")])?;
    let mut client = Raw::login(&front.endpoint)?;
    client.run("SELECT pg_advisory_lock(918273645), 'very secret'")?;
    std::thread::sleep(Duration::from_millis(1100));
    client.run("SELECT pg_advisory_unlock_all()")?;
    client.run("SELECT 1")?;
    let weir = front.weir()?;
    // Counters are read some tenths of a second later.
    std::thread::sleep(Duration::from_millis(500));
    let (log, page) = (weir.log(), weir.metrics()?);
    let find = |text: &str, event: &str| {
        let line = text.lines().find(|l| l.contains(event)).map(str::to_owned);
        line.ok_or_else(|| anyhow::anyhow!("no {event} in\n{text}"))
    };
    let pinned = find(&log, "client_pinned")?;
    ensure!(
        pinned.contains("reason=advisory_lock") && pinned.contains("pg_advisory_lock(?), ?"),
        "{pinned}"
    );
    ensure!(
        !log.contains("secret") && !log.contains("918273645"),
        "{log}"
    );
    let ended = find(&log, "client_unpinned")?;
    ensure!(ended.contains("held=1."), "{ended}");
    let tenant = find(&page, "weir_tenant_pins_total{user=")?;
    ensure!(tenant.ends_with("reason=\"advisory_lock\"} 1"), "{tenant}");
    let seconds = find(&page, "weir_pinned_seconds_total{reason=\"advisory_lock\"}")?;
    ensure!(!seconds.ends_with(" 0.000"), "{seconds}");
    Ok(())
}
