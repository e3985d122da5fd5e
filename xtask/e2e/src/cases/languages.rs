//! Clients of other languages and what is built on them, each with a script of its own in `xtask/clients`: JDBC, Django, ruby's pg,
//! postgres.js. All of them share three connections with their own second and eighth selves.

use std::process::Command;

use anyhow::Result;

use super::drivers::{SHARED, check};
use crate::case::{Case, Missing, Plan, Setting, both};
use crate::install::{self, drivers};
use crate::place;

/// The cases.
pub const CASES: &[Case] = &[
    client("client/jdbc", jdbc),
    client("client/django", django),
    client("client/ruby_pg", ruby),
    client("client/postgres_js", postgres_js),
];

/// The first one in a fresh checkout fetches what it needs.
const fn client(name: &'static str, run: fn(&Setting) -> Result<()>) -> Case {
    Case {
        seconds: 300,
        ..both(name, Plan::Servers { since: 10 }, run)
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
    let front = setting.front(SHARED)?;
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
    run(setting, "django", &mut python)
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
