//! What sessions are made of: statements, portals, what runs, what comes of it.

use std::collections::VecDeque;

use super::state::Owner;
use crate::scram::ScramServer;

/// A prepared statement.
#[derive(Clone, Debug)]
pub(super) struct Statement {
    pub sql: String,
    pub owner: Owner,
}

/// A portal.
#[derive(Clone, Debug)]
pub(super) struct Portal {
    pub sql: String,
    pub parameters: Vec<String>,
    /// Rows still to be given, once it has started.
    pub rows: Option<VecDeque<String>>,
    pub tag: String,
}

/// How the statement that runs was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Way {
    Simple,
    Portal(String, u32),
    Call,
}

/// The statement that runs.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub sql: String,
    pub parameters: Vec<String>,
    pub way: Way,
    pub owner: Owner,
    pub number: u64,
}

/// A COPY in.
#[derive(Clone, Debug)]
pub(super) struct CopyIn {
    pub running: Running,
    pub data: Vec<u8>,
}

/// An error.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub code: &'static str,
    pub text: String,
}

impl Failure {
    pub fn new(code: &'static str, text: impl Into<String>) -> Failure {
        Failure {
            code,
            text: text.into(),
        }
    }
}

/// A result of one column. In `tag`, `#` stands for the number of rows.
#[derive(Clone, Debug)]
pub(super) enum Outcome {
    Rows {
        column: String,
        rows: VecDeque<String>,
        tag: String,
    },
    Tag(String),
    CopyIn,
    CopyOut(Vec<String>),
}

/// Where a login is.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub waits_for_password: bool,
    pub md5_salt: [u8; 4],
    pub scram: Option<ScramServer>,
}

/// How long a statement sleeps at most, nanoseconds.
pub(super) fn sleep_time(sql: &str) -> Option<u64> {
    let rest = sql.strip_prefix("select pg_sleep(0.")?;
    let milliseconds: u64 = rest.split(')').next()?.parse().ok()?;
    Some(milliseconds * 1_000_000)
}

/// One of those that weir brings a session to its client's settings with.
pub(super) fn is_replay(sql: &str) -> bool {
    sql.starts_with("SET ") || sql.starts_with("RESET ")
}
