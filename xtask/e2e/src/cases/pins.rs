//! Pins that end with what they are for, and what does not pin at all: the one connection there is goes on to others, and they
//! find nothing.

use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{nobody_is_pinned, until};
use crate::case::{Case, Plan, Setting, case};
use crate::raw::Raw;

/// The cases.
pub const CASES: &[Case] = &[
    case("pins/end_with_what_they_are_for", Plan::Matrix, ends),
    case("pins/of_what_is_rolled_back", Plan::Matrix, rolled_back),
    case("pins/stay_while_it_is_there", Plan::Matrix, stays),
    case("pins/end_with_discard", Plan::Matrix, discarded),
    case("pins/not_for_what_is_followed", Plan::Matrix, followed),
];

const ONE: &[(&str, &str)] = &[("max_connection_pool_size", "1")];

/// All that can be asked for, in one row.
const LOOK: &str = "SELECT concat_ws(' ', (SELECT count(*) FROM pg_class WHERE relnamespace = pg_my_temp_schema()), \
     (SELECT count(*) FROM pg_proc WHERE pronamespace = pg_my_temp_schema()), \
     (SELECT count(*) FROM pg_type WHERE typnamespace = pg_my_temp_schema()), \
     (SELECT count(*) FROM pg_listening_channels()), (SELECT count(*) FROM pg_cursors), \
     (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()), \
     current_setting('work_mem'), current_setting('search_path'), current_user, session_user)";

/// What begins a pin, why, and what ends it.
const ENDS: &[(&str, &str, &str)] = &[
    (
        "CREATE TEMP TABLE t (n serial)",
        "temporary_object",
        "DROP TABLE t",
    ),
    (
        "CREATE TABLE pg_temp.t (n int)",
        "temporary_object",
        "DROP TABLE pg_temp.t",
    ),
    (
        "CREATE TEMP TABLE a (n int); CREATE TEMP VIEW v AS SELECT * FROM a",
        "temporary_object",
        "DROP TABLE a CASCADE",
    ),
    (
        "CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "temporary_object",
        "DROP FUNCTION pg_temp.f()",
    ),
    (
        "CREATE TYPE pg_temp.y AS (n int)",
        "temporary_object",
        "DROP TYPE pg_temp.y",
    ),
    ("CREATE TEMP SEQUENCE s", "temporary_object", "DISCARD TEMP"),
    (
        "BEGIN; CREATE TEMP TABLE t ON COMMIT DROP AS SELECT 1",
        "temporary_object",
        "COMMIT",
    ),
    ("LISTEN a", "listen", "UNLISTEN a"),
    ("LISTEN a; LISTEN b", "listen", "UNLISTEN *"),
    (
        "SELECT pg_advisory_lock(1)",
        "advisory_lock",
        "SELECT pg_advisory_unlock(1)",
    ),
    (
        "SELECT pg_try_advisory_lock_shared(1, 2), pg_advisory_lock(3)",
        "advisory_lock",
        "SELECT pg_advisory_unlock_all()",
    ),
    (
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "hold_cursor",
        "CLOSE c",
    ),
    (
        "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT",
        "hold_cursor",
        "CLOSE ALL",
    ),
];

fn ended(text: &str, family: &str, reason: &str) -> u64 {
    let start = format!("weir_{family}{{reason=\"{reason}\"}} ");
    let number = text.lines().find_map(|line| line.strip_prefix(&start));
    number.and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// Also where nothing is found by a name that is not qualified.
fn ends(setting: &Setting) -> Result<()> {
    let mut front = setting.front(ONE)?;
    let (mut one, mut two) = (Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?);
    let clean = two.value(LOOK)?;
    for (round, (begin, reason, end)) in ENDS.iter().enumerate() {
        let odd = round % 3 == 2;
        if odd {
            one.run("SET search_path = nowhere, pg_catalog")?;
        }
        one.run(begin)?;
        let pid = one.value("SELECT pg_backend_pid()")?;
        let had = one.value(LOOK)?;
        ensure!(had != clean, "{begin} has left nothing");
        two.send_query("SELECT pg_backend_pid()")?;
        one.run(end)?;
        let answer = two.answer()?;
        ensure!(answer.value()? == pid, "{answer:?} after {end}");
        let seen = two.value(LOOK)?;
        ensure!(seen == clean, "after {end}: {seen}");
        let times = ENDS[..=round].iter().filter(|e| e.1 == *reason).count();
        until(end, Duration::from_secs(10), || {
            let text = front.weir()?.metrics()?;
            let count = ended(&text, "pins_ended_total", reason);
            Ok((count == times as u64, count.to_string()))
        })?;
        if odd {
            one.run("RESET search_path")?;
        }
    }
    Ok(())
}

fn rolled_back(setting: &Setting) -> Result<()> {
    let front = setting.front(ONE)?;
    let (mut one, mut two) = (Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?);
    let clean = two.value(LOOK)?;
    for text in [
        "BEGIN; CREATE TEMP TABLE t (n int); ROLLBACK",
        "BEGIN; LISTEN a; ROLLBACK",
        "BEGIN; DECLARE c CURSOR WITH HOLD FOR SELECT 1; ROLLBACK",
        "BEGIN; SAVEPOINT s; CREATE TEMP TABLE t (n int); ROLLBACK TO s; COMMIT",
        "CREATE TEMP TABLE t (n nonsense)",
        "CREATE TEMP TABLE t (n int); SELECT 1/0",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1/0",
        "SELECT pg_advisory_lock('x')",
    ] {
        one.query(text)?;
        let seen = two.value(LOOK)?;
        ensure!(seen == clean, "after {text}: {seen}");
    }
    Ok(())
}

/// Whose state is not gone keeps its connection, whatever it tries to end; nobody else gets in between.
fn stays(setting: &Setting) -> Result<()> {
    let front = setting.front(ONE)?;
    let (mut one, mut two) = (Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?);
    one.run("CREATE TEMP TABLE kept (n int)")?;
    one.run("LISTEN a")?;
    one.run("SELECT pg_advisory_lock(1)")?;
    two.send_query(LOOK)?;
    for text in [
        "DROP TABLE IF EXISTS other",
        "UNLISTEN b",
        "SELECT pg_advisory_unlock(2)",
        "BEGIN; UNLISTEN a; ROLLBACK",
        "BEGIN; DROP TABLE kept; ROLLBACK",
        "UNLISTEN *",
        "SELECT pg_advisory_unlock(1)",
    ] {
        one.run(text)?;
        ensure!(one.value("SELECT count(*) FROM kept")? == "0", "{text}");
    }
    one.run("DROP TABLE kept")?;
    let seen = two.answer()?;
    ensure!(seen.value()?.starts_with("0 0 0 0 0 0 "), "{seen:?}");
    Ok(())
}

fn discarded(setting: &Setting) -> Result<()> {
    let front = setting.front(ONE)?;
    let (mut one, mut two) = (Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?);
    two.run("CREATE SEQUENCE IF NOT EXISTS discarded_sequence")?;
    let clean = two.value(LOOK)?;
    for (begin, end) in [
        ("SELECT nextval('discarded_sequence')", "DISCARD SEQUENCES"),
        ("SELECT nextval('discarded_sequence')", "DISCARD ALL"),
        ("PREPARE p AS SELECT 1", "DISCARD ALL"),
        ("SET temp_buffers = 100", "DISCARD ALL"),
        ("SET work_mem = '5MB'", "DISCARD ALL"),
        (
            "CREATE TEMP TABLE t (n int); LISTEN a; SELECT pg_advisory_lock(1)",
            "DISCARD ALL",
        ),
    ] {
        one.run(begin)?;
        one.run(end)?;
        let seen = two.value(LOOK).with_context(|| begin.to_owned())?;
        ensure!(seen == clean, "after {begin} and {end}: {seen}");
        ensure!(one.value(LOOK)? == clean, "the session itself");
    }
    // Refused, it ends nothing.
    one.run("CREATE TEMP TABLE t (n int)")?;
    one.query("BEGIN; DISCARD ALL")?;
    one.run("ROLLBACK")?;
    ensure!(one.value("SELECT count(*) FROM t")? == "0");
    Ok(())
}

/// What changes settings, how that is seen, and what takes it back.
const FOLLOWED: &[(&str, &str, &str, &str)] = &[
    (
        "SELECT set_config('work_mem', '5MB', false)",
        "SHOW work_mem",
        "5MB",
        "RESET work_mem",
    ),
    (
        "SELECT pg_catalog.set_config('search_path', 'a, b', false), set_config('work_mem', '6MB', true)",
        "SHOW search_path",
        "a, b",
        "RESET search_path",
    ),
    (
        "SET ROLE pins_role",
        "SELECT current_user",
        "pins_role",
        "RESET ROLE",
    ),
    (
        "SET ROLE pins_role; SET work_mem = '5MB'",
        "SELECT concat(current_user, current_setting('work_mem'))",
        "pins_role5MB",
        "RESET ALL; SET ROLE NONE",
    ),
    (
        "SET work_mem = '5MB'; SET work_mem = '7MB'; SELECT 1",
        "SHOW work_mem",
        "7MB",
        "SELECT 1; RESET work_mem",
    ),
    (
        "SET work_mem = '5MB'; SELECT 1/0",
        "SHOW work_mem",
        "4MB",
        "SELECT 1",
    ),
    (
        "SET work_mem = '5MB'; BEGIN; SET work_mem = '6MB'; ROLLBACK; SELECT 1",
        "SHOW work_mem",
        "4MB",
        "SELECT 1",
    ),
    (
        "BEGIN; SET ROLE pins_role; ROLLBACK",
        "SELECT current_user",
        "app",
        "SELECT 1",
    ),
];

/// Settings by other ways than SET: each client sees its own, on the one connection, and nothing pins.
fn followed(setting: &Setting) -> Result<()> {
    let mut front = setting.front(ONE)?;
    {
        let mut admin = Raw::login(&setting.server.superuser()?)?;
        admin.query("CREATE ROLE pins_role; GRANT pins_role TO app")?;
    }
    let (mut one, mut two) = (Raw::login(&front.endpoint)?, Raw::login(&front.endpoint)?);
    let clean = two.value(LOOK)?;
    for (text, ask, value, undo) in FOLLOWED {
        one.query(text)?;
        ensure!(two.value(LOOK)? == clean, "another, after {text}");
        let seen = one.value(ask)?;
        ensure!(seen == *value, "{ask} after {text}: {seen}");
        ensure!(two.value(LOOK)? == clean, "another, after {text}");
        one.run(undo)?;
        ensure!(one.value(LOOK)? == clean, "after {undo}");
    }
    nobody_is_pinned(front.weir()?)
}
