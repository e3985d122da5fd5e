//! Clients that keep a server connection for too long: `transaction_timeout` and `idle_in_transaction_timeout`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use crate::case::{Case, Plan, Setting, case};
use crate::raw::Raw;

/// The cases.
pub const CASES: &[Case] = &[
    case(
        "overtime/idle_in_transaction_timeout",
        Plan::Matrix,
        idle_in_transaction,
    ),
    case(
        "overtime/transaction_timeout_cancels",
        Plan::Matrix,
        cancelled,
    ),
    case(
        "overtime/transaction_timeout_ends",
        Plan::Shells { shards: 1 },
        ended,
    ),
];

/// The client's next message is a FATAL error with this code, and then the end.
fn is_ended(raw: &mut Raw, code: &str, limit: &str) -> Result<()> {
    let last = raw.message()?;
    let text = last.error();
    ensure!(last.tag == b'E' && text.starts_with(code), "{text}");
    ensure!(last.field(b'S').as_deref() == Some("FATAL"), "{text}");
    let detail = last.field(b'D').unwrap_or_default();
    ensure!(detail.contains(limit), "the limit is not named: {detail}");
    ensure!(
        raw.ends_within(Duration::from_secs(2))?,
        "the connection stays open"
    );
    Ok(())
}

fn idle_in_transaction(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[
        ("idle_in_transaction_timeout", "1"),
        ("max_connection_pool_size", "1"),
    ])?;
    let mut stuck = Raw::login(&front.endpoint)?;
    stuck.run("DROP TABLE IF EXISTS stuck; BEGIN; CREATE TABLE stuck ()")?;
    let begin = Instant::now();
    let mut other = Raw::login(&front.endpoint)?;
    let left = other.value("SELECT count(*) FROM pg_class WHERE relname = 'stuck'")?;
    let took = begin.elapsed();
    ensure!(left == "0", "the transaction was not rolled back");
    ensure!(
        took > Duration::from_millis(900) && took < Duration::from_millis(2500),
        "the connection came free after {took:?}"
    );
    is_ended(&mut stuck, "25P03", "idle_in_transaction_timeout")?;
    // A statement that runs is not idle, and nor is a client outside of a transaction.
    other.run("BEGIN")?;
    other.run("SELECT pg_sleep(2)")?;
    other.run("COMMIT")?;
    std::thread::sleep(Duration::from_millis(1500));
    other.run("SELECT 1")?;
    let count = front
        .weir()?
        .metric("weir_idle_in_transaction_timeouts_total")?;
    ensure!(count == 1.0, "counted {count}");
    Ok(())
}

fn cancelled(setting: &Setting) -> Result<()> {
    let front = setting.front(&[
        ("transaction_timeout", "1"),
        ("max_connection_pool_size", "1"),
    ])?;
    let mut slow = Raw::login(&front.endpoint)?;
    let mut other = Raw::login(&front.endpoint)?;
    let begin = Instant::now();
    let error = slow.query("SELECT pg_sleep(20)")?.error;
    let took = begin.elapsed();
    ensure!(
        error.as_deref().is_some_and(|e| e.starts_with("57014")),
        "{error:?}"
    );
    ensure!(
        took > Duration::from_millis(900) && took < Duration::from_millis(4000),
        "after {took:?}"
    );
    // The session goes on, and the connection with it.
    slow.run("SELECT 1")?;
    other.run("SELECT 1")?;
    slow.run("BEGIN")?;
    let error = slow.query("SELECT pg_sleep(20)")?.error;
    ensure!(
        error.as_deref().is_some_and(|e| e.starts_with("57014")),
        "{error:?}"
    );
    slow.run("ROLLBACK")?;
    // Many short transactions together may take longer than one may.
    let end = Instant::now() + Duration::from_millis(1500);
    while Instant::now() < end {
        slow.run("BEGIN")?;
        slow.run("SELECT pg_sleep(0.1)")?;
        slow.run("COMMIT")?;
    }
    other.run("SELECT 1")?;
    Ok(())
}

fn ended(setting: &Setting) -> Result<()> {
    let front = setting.front(&[
        ("transaction_timeout", "1"),
        ("max_connection_pool_size", "1"),
    ])?;
    // One that does not end its failed transaction, one that is idle in its transaction, one that is silent in a COPY.
    let mut failed = Raw::login(&front.endpoint)?;
    failed.run("BEGIN")?;
    let error = failed.query("SELECT pg_sleep(20)")?.error;
    ensure!(
        error.as_deref().is_some_and(|e| e.starts_with("57014")),
        "{error:?}"
    );
    is_ended(&mut failed, "25P04", "transaction_timeout")?;
    let mut idle = Raw::login(&front.endpoint)?;
    idle.run("BEGIN")?;
    is_ended(&mut idle, "25P04", "transaction_timeout")?;
    let mut copying = Raw::login(&front.endpoint)?;
    copying.run("DROP TABLE IF EXISTS copied; CREATE TABLE copied (i int)")?;
    copying.send_query("COPY copied FROM STDIN")?;
    copying.messages_until(b'G')?;
    is_ended(&mut copying, "25P04", "transaction_timeout")?;
    let mut other = Raw::login(&front.endpoint)?;
    let rows = other.value("SELECT count(*) FROM copied")?;
    ensure!(rows == "0", "{rows} rows");
    Ok(())
}
