//! What shards report, as log lines: a line with a reason for every close, refusal and pin.

use weir_core::ids::{ConnId, GroupId};
use weir_core::seam::Trace;

use super::log::{Log, Value};
use crate::config::LogLevel;
use crate::shell::{Level, Sink};

/// Turns reports of shards into log lines.
pub struct LogSink {
    log: Log,
    /// Names of the groups, by [`GroupId`]; a group keeps its place and name while weir runs.
    groups: Vec<String>,
}

impl LogSink {
    /// `groups` are the names by place.
    pub fn new(log: Log, groups: Vec<String>) -> LogSink {
        LogSink { log, groups }
    }

    fn group(&self, group: GroupId) -> &str {
        self.groups
            .get(usize::from(group.0))
            .map_or("?", String::as_str)
    }
}

/// `shard.slot.generation`: one name for a connection in all its lines.
fn name(shard: u16, conn: ConnId) -> String {
    format!("{shard}.{}.{}", conn.slot, conn.generation)
}

impl LogSink {
    /// What concerns backends, and the errands to them.
    fn backend_trace(&self, shard: u16, trace: &Trace) {
        let say = |level, event, fields: &[(&str, Value<'_>)]| self.log.say(level, event, fields);
        match trace {
            Trace::BackendReady { conn, group } => say(
                LogLevel::Info,
                "backend_ready",
                &[
                    ("backend", (&name(shard, *conn)).into()),
                    ("group", self.group(*group).into()),
                ],
            ),
            Trace::BackendClosed {
                conn,
                group,
                reason,
            } => say(
                LogLevel::Info,
                "backend_closed",
                &[
                    ("backend", (&name(shard, *conn)).into()),
                    ("group", self.group(*group).into()),
                    ("reason", reason.into()),
                ],
            ),
            Trace::BackendFailed { group, reason } => say(
                LogLevel::Warn,
                "backend_failed",
                &[
                    ("group", self.group(*group).into()),
                    ("reason", reason.into()),
                ],
            ),
            Trace::Cancel { matched } => say(
                LogLevel::Info,
                "cancel",
                &[
                    ("shard", shard.into()),
                    (
                        "result",
                        if *matched { "sent" } else { "no_such_query" }.into(),
                    ),
                ],
            ),
            _ => {}
        }
    }
}

impl Sink for LogSink {
    fn trace(&self, shard: u16, trace: &Trace) {
        let say = |level, event, fields: &[(&str, Value<'_>)]| self.log.say(level, event, fields);
        match trace {
            Trace::ClientReady {
                conn,
                user,
                database,
            } => say(
                LogLevel::Info,
                "client_ready",
                &[
                    ("client", (&name(shard, *conn)).into()),
                    ("user", (&**user).into()),
                    ("database", (&**database).into()),
                ],
            ),
            Trace::ClientClosed { conn, reason } => say(
                LogLevel::Info,
                "client_closed",
                &[
                    ("client", (&name(shard, *conn)).into()),
                    ("reason", (*reason).into()),
                ],
            ),
            Trace::Refused { conn, code, reason } => say(
                LogLevel::Warn,
                "client_refused",
                &[
                    ("client", (&name(shard, *conn)).into()),
                    ("code", (*code).into()),
                    ("reason", reason.into()),
                ],
            ),
            Trace::Pinned { conn, reason } => say(
                LogLevel::Info,
                "client_pinned",
                &[
                    ("client", (&name(shard, *conn)).into()),
                    ("reason", reason.name().into()),
                ],
            ),
            Trace::BackendReady { .. }
            | Trace::BackendClosed { .. }
            | Trace::BackendFailed { .. }
            | Trace::Cancel { .. } => self.backend_trace(shard, trace),
        }
    }

    fn note(&self, level: Level, event: &'static str, text: String) {
        let level = match level {
            Level::Info => LogLevel::Info,
            Level::Warn => LogLevel::Warn,
            Level::Error => LogLevel::Error,
        };
        self.log.say(level, event, &[("reason", (&text).into())]);
    }
}
