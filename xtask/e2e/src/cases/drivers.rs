//! Real clients: each runs its own script of everything that it can do (`xtask/clients`), unmodified and over TLS.

use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::case::{Case, Front, Missing, Plan, Setting, both};
use crate::{place, process};

/// The cases.
pub const CASES: &[Case] = &[
    both("drivers/psql", Plan::Matrix, psql),
    both("drivers/pgbench_simple", Plan::Matrix, |s| {
        pgbench(s, "simple")
    }),
    both("drivers/pgbench_extended", Plan::Matrix, |s| {
        pgbench(s, "extended")
    }),
    both("drivers/pgbench_prepared", Plan::Matrix, |s| {
        pgbench(s, "prepared")
    }),
    both("drivers/psycopg", Plan::Matrix, |s| {
        python(s, "psycopg_session.py")
    }),
    both("drivers/asyncpg", Plan::Matrix, |s| {
        python(s, "asyncpg_session.py")
    }),
    both("drivers/node_pg", Plan::Matrix, node),
];

/// More connections than clients: for drivers that prepare named statements on every connection, which pins them all.
const ENOUGH: &[(&str, &str)] = &[("max_connection_pool_size", "25")];
/// Weir with few connections, so that clients share them.
pub(super) const SHARED: &[(&str, &str)] = &[("max_connection_pool_size", "3")];

/// Runs a client at the front; an error with its output when it fails.
pub(super) fn check(front: &Front, name: &str, command: &mut Command) -> Result<String> {
    command.envs(front.endpoint.environment());
    let (status, output) = process::run_to_end(name, command, Duration::from_secs(100))?;
    if !status.success() {
        bail!("{name} ended with {status}:\n{output}");
    }
    Ok(output)
}

fn programs(setting: &Setting) -> Result<()> {
    setting
        .drivers
        .programs
        .clone()
        .map_err(|why| Missing(format!("psql and pgbench: {why}")).into())
}

fn psql(setting: &Setting) -> Result<()> {
    programs(setting)?;
    let front = setting.front(SHARED)?;
    let script = place::checkout().join("xtask/clients/psql_session.sql");
    let output = check(
        &front,
        "psql",
        Command::new("psql")
            .args(["-X", "-v", "ON_ERROR_STOP=1", "-f"])
            .arg(script),
    )?;
    for word in [
        "transfer kept the sum",
        "copied 1000 rows",
        "caught 22012",
        "notified by itself",
        "all of it done",
    ] {
        if !output.contains(word) {
            bail!("psql did not say {word:?}; it said:\n{output}");
        }
    }
    Ok(())
}

fn pgbench(setting: &Setting, mode: &str) -> Result<()> {
    programs(setting)?;
    let front = setting.front(if mode == "prepared" { ENOUGH } else { SHARED })?;
    check(
        &front,
        "pgbench-init",
        Command::new("pgbench").args(["-i", "-q", "-s", "1"]),
    )?;
    let run = ["-n", "-c", "8", "-j", "2", "-t", "100", "-M", mode];
    let output = check(&front, "pgbench", Command::new("pgbench").args(run))?;
    if !output.contains("transactions actually processed: 800/800") {
        bail!("pgbench did not process 800 transactions:\n{output}");
    }
    // Every short-lived connection is a login: -C connects anew for each transaction.
    let storm = [
        "-n", "-S", "-C", "-c", "8", "-j", "2", "-t", "20", "-M", mode,
    ];
    check(
        &front,
        "pgbench-connect",
        Command::new("pgbench").args(storm),
    )?;
    // The benchmark's own invariant: what accounts, tellers and branches gained is what the history says.
    let sums = "SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history) AND \
                (SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(bbalance) FROM pgbench_branches) AND \
                (SELECT count(*) FROM pgbench_history) = 800";
    let held = check(
        &front,
        "psql-sums",
        Command::new("psql").args(["-X", "-A", "-t", "-c", sums]),
    )?;
    if held.trim() != "t" {
        bail!("the sums do not agree: {held}");
    }
    Ok(())
}

fn python(setting: &Setting, script: &str) -> Result<()> {
    let interpreter = setting
        .drivers
        .python
        .clone()
        .map_err(|why| Missing(format!("Python drivers: {why}")))?;
    let front = setting.front(if script.starts_with("asyncpg") {
        ENOUGH
    } else {
        SHARED
    })?;
    let script_path = place::checkout().join("xtask/clients").join(script);
    let mut command = Command::new(interpreter);
    // PostgreSQL 10 itself knows no channel binding; weir offers it whatever the server is.
    let binding = if setting.direct && setting.server.major == 10 {
        "prefer"
    } else {
        "require"
    };
    command
        .arg("-B")
        .arg(script_path)
        .env("CHANNEL_BINDING", binding);
    check(&front, script, &mut command)?;
    Ok(())
}

fn node(setting: &Setting) -> Result<()> {
    let home = setting
        .drivers
        .node
        .clone()
        .map_err(|why| Missing(format!("node pg: {why}")))?;
    let front = setting.front(SHARED)?;
    let script = place::checkout().join("xtask/clients/node_session.js");
    let mut command = Command::new("node");
    command
        .arg(script)
        .env("NODE_PATH", home.join("node_modules"));
    check(&front, "node", &mut command)?;
    Ok(())
}
