//! Clients that vanish, in every way and at every moment: their connection comes back rolled back and clean, at once.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::until;
use crate::case::{Case, Front, Missing, Plan, Setting, both, case};
use crate::process::Process;
use crate::raw::{Raw, frame};

/// The cases.
pub const CASES: &[Case] = &[
    case(
        "vanish/in_a_transaction",
        Plan::Shells { shards: 1 },
        in_a_transaction,
    ),
    case(
        "vanish/while_a_query_runs",
        Plan::Shells { shards: 1 },
        while_a_query_runs,
    ),
    case("vanish/in_copy_in", Plan::Shells { shards: 1 }, in_copy_in),
    case(
        "vanish/in_a_big_result",
        Plan::Shells { shards: 1 },
        in_a_big_result,
    ),
    case(
        "vanish/in_copy_out",
        Plan::Shells { shards: 1 },
        in_copy_out,
    ),
    case(
        "vanish/in_the_middle_of_a_message",
        Plan::Shells { shards: 1 },
        in_a_message,
    ),
    case(
        "vanish/with_a_pinned_session",
        Plan::Shells { shards: 1 },
        with_a_pin,
    ),
    case(
        "vanish/half_closed_client_ends",
        Plan::Shells { shards: 1 },
        half_closed,
    ),
    case(
        "vanish/many_at_random_moments",
        Plan::Shells { shards: 2 },
        many_at_random,
    ),
    both(
        "vanish/killed_psql",
        Plan::Shells { shards: 1 },
        killed_psql,
    ),
];

/// One connection, so that whoever comes next needs the one that the vanished client had.
const ONE: &[(&str, &str)] = &[("max_connection_pool_size", "1")];

/// The ways to go.
#[derive(Clone, Copy, Debug)]
enum Way {
    Reset,
    Fin,
    HalfClose,
}

const WAYS: [Way; 3] = [Way::Reset, Way::Fin, Way::HalfClose];

/// Goes, in one of the ways. What is given back must be kept alive for the way to be what it says.
fn go(raw: Raw, way: Way) -> Result<Option<Raw>> {
    match way {
        Way::Reset => raw.reset().map(|()| None),
        Way::Fin => {
            drop(raw);
            Ok(None)
        }
        Way::HalfClose => {
            raw.half_close()?;
            Ok(Some(raw))
        }
    }
}

/// The next client gets the connection within a second, and finds it as new.
fn next_is_served(front: &Front, what: &str) -> Result<()> {
    let begin = Instant::now();
    let mut next = Raw::login(&front.endpoint).with_context(|| what.to_owned())?;
    next.patience(Duration::from_secs(8))?;
    let left = next
        .value("SELECT count(*) FROM vanish")
        .with_context(|| what.to_owned())?;
    let took = begin.elapsed();
    ensure!(
        left == "0",
        "{what}: {left} rows of the vanished client were left"
    );
    ensure!(
        took < Duration::from_secs(1),
        "{what}: the next client waited {took:?}"
    );
    let state = next.value(
        "SELECT current_setting('work_mem') || (SELECT count(*) FROM pg_prepared_statements)",
    )?;
    ensure!(state == "4MB0", "{what}: the next client sees {state}");
    ensure!(
        next.query("SELECT 1")?.status == b'I',
        "{what}: the next client is in a transaction"
    );
    Ok(())
}

fn front(setting: &Setting) -> Result<Front> {
    let front = setting.front(ONE)?;
    let mut raw = Raw::login(&setting.server.endpoint()?)?;
    raw.run("DROP TABLE IF EXISTS vanish; CREATE TABLE vanish (n int, t text)")?;
    Ok(front)
}

fn in_a_transaction(setting: &Setting) -> Result<()> {
    let front = front(setting)?;
    for way in WAYS {
        for failed in [false, true] {
            let mut raw = Raw::login(&front.endpoint)?;
            raw.run("BEGIN")?;
            raw.run("INSERT INTO vanish VALUES (1)")?;
            if failed {
                raw.query("SELECT 1/0")?;
            }
            let _kept = go(raw, way)?;
            next_is_served(&front, &format!("{way:?}, failed {failed}"))?;
        }
    }
    Ok(())
}

fn while_a_query_runs(setting: &Setting) -> Result<()> {
    let front = front(setting)?;
    for way in [Way::Reset, Way::Fin] {
        let mut raw = Raw::login(&front.endpoint)?;
        raw.run("BEGIN")?;
        raw.run("INSERT INTO vanish VALUES (1)")?;
        raw.send_query("SELECT pg_sleep(30)")?;
        std::thread::sleep(Duration::from_millis(100));
        let _kept = go(raw, way)?;
        next_is_served(&front, &format!("{way:?}"))?;
    }
    let running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND state = 'active' AND usename = 'app'";
    ensure!(
        setting.server.ask(running)? == "0",
        "a query without a client still runs"
    );
    Ok(())
}

fn in_copy_in(setting: &Setting) -> Result<()> {
    let front = front(setting)?;
    for way in WAYS {
        let mut raw = Raw::login(&front.endpoint)?;
        raw.send_query("COPY vanish FROM STDIN")?;
        raw.messages_until(b'G')?;
        for n in 0..100 {
            raw.send(&frame(b'd', format!("{n}\tx\n").as_bytes()))?;
        }
        let _kept = go(raw, way)?;
        next_is_served(&front, &format!("{way:?}"))?;
    }
    Ok(())
}

fn in_a_big_result(setting: &Setting) -> Result<()> {
    let front = front(setting)?;
    for way in [Way::Reset, Way::Fin] {
        let mut raw = Raw::login(&front.endpoint)?;
        raw.send_query("SELECT n, repeat('x', 1000) FROM generate_series(1, 2000000) n")?;
        raw.bytes(300_000)?;
        let _kept = go(raw, way)?;
        next_is_served(&front, &format!("{way:?}"))?;
    }
    Ok(())
}

fn in_copy_out(setting: &Setting) -> Result<()> {
    let front = front(setting)?;
    for way in [Way::Reset, Way::Fin] {
        let mut raw = Raw::login(&front.endpoint)?;
        raw.send_query(
            "COPY (SELECT n, repeat('x', 1000) FROM generate_series(1, 2000000) n) TO STDOUT",
        )?;
        raw.bytes(300_000)?;
        let _kept = go(raw, way)?;
        next_is_served(&front, &format!("{way:?}"))?;
    }
    Ok(())
}

fn in_a_message(setting: &Setting) -> Result<()> {
    let front = front(setting)?;
    let whole = crate::raw::query(&format!(
        "INSERT INTO vanish VALUES (1, '{}')",
        "x".repeat(100_000)
    ));
    for way in WAYS {
        for cut in [1, 4, 5, 6, 1000, 70_000, whole.len() - 1] {
            let mut raw = Raw::login(&front.endpoint)?;
            raw.send(whole.get(..cut).context("cut")?)?;
            let _kept = go(raw, way)?;
            next_is_served(&front, &format!("{way:?} after {cut} bytes"))?;
        }
    }
    Ok(())
}

fn with_a_pin(setting: &Setting) -> Result<()> {
    let front = front(setting)?;
    let litter = [
        "SET work_mem = '5MB'",
        "PREPARE p AS SELECT 1",
        "CREATE TEMP TABLE vanish (n int)",
        "LISTEN c",
        "SELECT pg_advisory_lock(1)",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
    ];
    for way in WAYS {
        for sql in litter {
            let mut raw = Raw::login(&front.endpoint)?;
            raw.run(sql)?;
            let _kept = go(raw, way)?;
            next_is_served(&front, &format!("{way:?} after {sql}"))?;
        }
    }
    ensure!(
        setting
            .server
            .ask("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'")?
            == "0"
    );
    Ok(())
}

/// A client may close its sending side and still read, as `psql < file` through some tunnels does: PostgreSQL then
/// ends the session at the next read. Nothing may hang, whatever is answered.
fn half_closed(setting: &Setting) -> Result<()> {
    let front = front(setting)?;
    let mut raw = Raw::login(&front.endpoint)?;
    raw.send_query("SELECT 42")?;
    raw.half_close()?;
    ensure!(
        raw.ends_within(Duration::from_secs(2))?,
        "the connection of a half-closed client stays open"
    );
    next_is_served(&front, "half-closed with a query")
}

fn many_at_random(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_connection_pool_size", "3")])?;
    let mut raw = Raw::login(&setting.server.endpoint()?)?;
    raw.run("DROP TABLE IF EXISTS vanish; CREATE TABLE vanish (n int, t text)")?;
    let rounds = if setting.long { 200 } else { 30 };
    let clients = (0..12_u64).map(|client| {
        let endpoint = front.endpoint.clone();
        std::thread::spawn(move || -> Result<()> {
            for round in 0..rounds {
                let random = super::mix(client << 32 | round);
                let mut raw = Raw::login(&endpoint)?;
                let sql = [
                    "BEGIN; INSERT INTO vanish VALUES (1)",
                    "SELECT repeat('x', 500000)",
                    "COPY vanish FROM STDIN",
                    "SELECT pg_sleep(5)",
                ];
                raw.send_query(sql[random as usize % sql.len()])?;
                std::thread::sleep(Duration::from_micros(random >> 20 & 0x1fff));
                go(raw, WAYS[(random >> 40) as usize % 2])?;
            }
            Ok(())
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    next_is_served(&front, "after all of them")?;
    until("all is given back", Duration::from_secs(6), || {
        let weir = front.weir()?;
        let lent = weir.metric("weir_backend_lent")? + weir.metric("weir_clients_waiting")?;
        Ok((lent == 0.0, lent.to_string()))
    })?;
    Ok(())
}

/// A real program, killed with its transaction open.
fn killed_psql(setting: &Setting) -> Result<()> {
    setting.drivers.programs.clone().map_err(Missing)?;
    let front = front(setting)?;
    let mut command = Command::new("psql");
    command.args([
        "-X",
        "-c",
        "BEGIN",
        "-c",
        "INSERT INTO vanish VALUES (1)",
        "-c",
        "SELECT pg_sleep(60)",
    ]);
    command
        .envs(front.endpoint.environment())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    let mut psql = Process::start("psql", &mut command)?;
    let sleeping = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(60)%' AND usename = 'app'";
    until("psql sleeps", Duration::from_secs(5), || {
        let seen = setting.server.ask(sleeping)?;
        Ok((seen == "1", seen))
    })?;
    psql.stop(libc::SIGKILL, Duration::from_secs(1))?;
    if setting.direct {
        // A server alone notices only when the query ends: that is what weir is for.
        return Ok(());
    }
    next_is_served(&front, "psql killed")
}
