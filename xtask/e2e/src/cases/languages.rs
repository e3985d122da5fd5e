//! Clients of other languages and what is built on them, each with a script of its own in `xtask/clients`: JDBC, Django, ruby's pg,
//! postgres.js. Each has more sessions than there are connections.

use std::process::Command;

use anyhow::Result;

use super::drivers::{SHARED, check};
use crate::case::{Case, Missing, Plan, Setting, both};
use crate::install::{self, drivers};
use crate::place;

/// The cases.
pub const CASES: &[Case] = &[
    client("client/jdbc", 10, jdbc),
    // It refuses servers before 14 itself.
    client("client/django", 15, django),
    client("client/ruby_pg", 10, ruby),
    client("client/postgres_js", 10, postgres_js),
];

/// Three sessions of one thread may each have a cursor open outside of transactions, while eight more threads want connections.
const FOR_CURSORS: &[(&str, &str)] = &[("max_connection_pool_size", "6")];

/// The first one in a fresh checkout fetches what it needs.
const fn client(name: &'static str, since: u32, run: fn(&Setting) -> Result<()>) -> Case {
    Case {
        seconds: 300,
        ..both(name, Plan::Servers { since }, run)
    }
}

/// What is missing is a reason to skip where it can't be installed, and a failure elsewhere.
fn need<T>(found: Result<T>) -> Result<T> {
    found.map_err(|error| {
        if install::may_change_system(false) {
            error
        } else {
            Missing(format!("{error:#}")).into()
        }
    })
}

fn run(setting: &Setting, name: &str, command: &mut Command) -> Result<()> {
    run_on(setting, SHARED, name, command)
}

fn run_on(
    setting: &Setting,
    options: &[(&str, &str)],
    name: &str,
    command: &mut Command,
) -> Result<()> {
    let front = setting.front(options)?;
    check(&front, name, command)?;
    Ok(())
}

fn script(name: &str) -> std::path::PathBuf {
    place::checkout().join("xtask/clients").join(name)
}

fn jdbc(setting: &Setting) -> Result<()> {
    let archive = need(drivers::jdbc())?;
    let mut java = Command::new("java");
    java.arg("-cp").arg(archive).arg(script("JdbcSession.java"));
    run(setting, "jdbc", &mut java)
}

fn django(setting: &Setting) -> Result<()> {
    let mut python = Command::new(need(drivers::django())?);
    python.arg("-B").arg(script("django_session.py"));
    run_on(setting, FOR_CURSORS, "django", &mut python)
}

fn ruby(setting: &Setting) -> Result<()> {
    need(drivers::ruby())?;
    run(
        setting,
        "ruby",
        Command::new("ruby").arg(script("ruby_session.rb")),
    )
}

fn postgres_js(setting: &Setting) -> Result<()> {
    let home = need(drivers::postgres_js())?;
    let mut node = Command::new("node");
    node.arg(script("postgres_js_session.js"))
        .env("NODE_PATH", home.join("node_modules"));
    run(setting, "postgres-js", &mut node)
}
