//! What shards report, as log lines: a line with a reason for every close, refusal and pin.

use std::fmt;

use weir_core::ids::{ConnId, GroupId};
use weir_core::profile::Profile;
use weir_core::seam::Trace;

use super::log::{Log, Value};
use super::pins::PinBook;
use crate::config::LogLevel;
use crate::report::{Level, Sink};

/// Turns reports of shards into log lines.
pub struct LogSink {
    log: Log,
    pins: PinBook,
    /// Names of the groups, by [`GroupId`]; a group keeps its place and name while weir runs.
    groups: Vec<String>,
}

/// `shard.slot.generation`: one name for a connection in all its lines.
struct Name(u16, ConnId);

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.0, self.1.slot, self.1.generation)
    }
}

fn tenant(profile: &Profile) -> [(&'static str, Value<'_>); 2] {
    [
        ("user", (&*profile.user).into()),
        ("database", (&*profile.database).into()),
    ]
}

impl LogSink {
    /// `groups` are the names by place.
    pub fn new(log: Log, pins: PinBook, groups: Vec<String>) -> LogSink {
        LogSink { log, pins, groups }
    }

    fn client(
        &self,
        level: LogLevel,
        event: &'static str,
        name: &Name,
        more: &[(&str, Value<'_>)],
    ) {
        let client = [("client", Value::Shown(name))];
        self.log.say(level, event, &[&client, more].concat());
    }

    /// What a client keeps its server connection for.
    fn holds(&self, shard: u16, trace: &Trace) {
        use LogLevel::{Info, Warn};
        let name = |conn: &ConnId| Name(shard, *conn);
        match trace {
            Trace::Pinned {
                conn,
                reason,
                profile,
                statement,
            } => {
                let mut more = vec![("reason", reason.name().into())];
                if let Some(profile) = profile {
                    self.pins.count(profile, *reason);
                    more.extend(tenant(profile));
                }
                if let Some(statement) = statement {
                    more.push(("statement", (&**statement).into()));
                }
                self.client(Info, "client_pinned", &name(conn), &more);
            }
            Trace::Unpinned {
                conn,
                reason,
                profile,
                held,
            } => {
                let held = format!("{:.3}s", held.as_secs_f64());
                let mut more = vec![("reason", reason.name().into()), ("held", (&held).into())];
                more.extend(profile.iter().flat_map(|p| tenant(p)));
                self.client(Info, "client_unpinned", &name(conn), &more);
            }
            Trace::OverLimit {
                conn,
                limit,
                cancelled,
            } => {
                let action = if *cancelled { "cancelled" } else { "closed" };
                let more = [("limit", (*limit).into()), ("action", action.into())];
                self.client(Warn, "client_over_limit", &name(conn), &more);
            }
            _ => {}
        }
    }

    fn backend(
        &self,
        level: LogLevel,
        event: &'static str,
        name: Option<&Name>,
        group: GroupId,
        reason: Option<&str>,
    ) {
        let group = self
            .groups
            .get(usize::from(group.0))
            .map_or("?", String::as_str);
        let fields = [
            name.map(|n| ("backend", Value::Shown(n))),
            Some(("group", group.into())),
            reason.map(|r| ("reason", r.into())),
        ];
        let fields: Vec<_> = fields.into_iter().flatten().collect();
        self.log.say(level, event, &fields);
    }
}

impl Sink for LogSink {
    fn trace(&self, shard: u16, trace: &Trace) {
        use LogLevel::{Info, Warn};
        let name = |conn: &ConnId| Name(shard, *conn);
        match trace {
            Trace::ClientReady {
                conn,
                user,
                database,
            } => {
                let more = [
                    ("user", (&**user).into()),
                    ("database", (&**database).into()),
                ];
                self.client(Info, "client_ready", &name(conn), &more);
            }
            Trace::ClientClosed { conn, reason } => {
                self.client(
                    Info,
                    "client_closed",
                    &name(conn),
                    &[("reason", (*reason).into())],
                );
            }
            Trace::Refused { conn, code, reason } => {
                let more = [("code", (*code).into()), ("reason", reason.into())];
                self.client(Warn, "client_refused", &name(conn), &more);
            }
            Trace::Pinned { .. } | Trace::Unpinned { .. } | Trace::OverLimit { .. } => {
                self.holds(shard, trace);
            }
            Trace::BackendReady { conn, group } => {
                self.backend(Info, "backend_ready", Some(&name(conn)), *group, None);
            }
            Trace::BackendClosed {
                conn,
                group,
                reason,
            } => {
                self.backend(
                    Info,
                    "backend_closed",
                    Some(&name(conn)),
                    *group,
                    Some(reason),
                );
            }
            Trace::BackendFailed { group, reason } => {
                self.backend(Warn, "backend_failed", None, *group, Some(reason));
            }
            Trace::Cancel { matched } => {
                let result = if *matched { "sent" } else { "no_such_query" };
                let fields = [("shard", shard.into()), ("result", result.into())];
                self.log.say(Info, "cancel", &fields);
            }
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

#[cfg(test)]
mod tests {
    use weir_core::pins::PinReason;

    use super::super::log::Captured;
    use super::*;
    use crate::config::LogFormat;

    const CONN: ConnId = ConnId {
        slot: 5,
        generation: 1,
    };

    fn profile() -> std::sync::Arc<Profile> {
        std::sync::Arc::new(Profile {
            group: GroupId(0),
            user: "u".into(),
            database: "d".into(),
            parameters: std::sync::Arc::default(),
        })
    }

    fn line(trace: &Trace) -> String {
        let captured = Captured::new(LogFormat::Text);
        LogSink::new(
            captured.log.clone(),
            PinBook::default(),
            vec!["main".to_owned()],
        )
        .trace(2, trace);
        captured.said()
    }

    #[test]
    fn every_close_and_refusal_has_a_line_with_its_reason() {
        let group = GroupId(0);
        let reason = || "for a reason".to_owned();
        for (trace, text) in [
            (
                Trace::ClientClosed {
                    conn: CONN,
                    reason: "drained",
                },
                "INFO client_closed client=2.5.1 reason=drained\n",
            ),
            (
                Trace::Refused {
                    conn: CONN,
                    code: "28P01",
                    reason: reason(),
                },
                "WARN client_refused client=2.5.1 code=28P01 reason=\"for a reason\"\n",
            ),
            (
                Trace::BackendReady { conn: CONN, group },
                "INFO backend_ready backend=2.5.1 group=main\n",
            ),
            (
                Trace::BackendClosed {
                    conn: CONN,
                    group: GroupId(9),
                    reason: reason(),
                },
                "INFO backend_closed backend=2.5.1 group=\"?\" reason=\"for a reason\"\n",
            ),
            (
                Trace::BackendFailed {
                    group,
                    reason: reason(),
                },
                "WARN backend_failed group=main reason=\"for a reason\"\n",
            ),
            (
                Trace::Cancel { matched: false },
                "INFO cancel shard=2 result=no_such_query\n",
            ),
        ] {
            assert_eq!(line(&trace), text);
        }
    }

    #[test]
    fn every_pin_and_its_end_has_a_line_with_reason_tenant_and_shape() {
        for (trace, text) in [
            (
                Trace::Pinned {
                    conn: CONN,
                    reason: PinReason::Setting,
                    profile: Some(profile()),
                    statement: Some("set role ?".into()),
                },
                "INFO client_pinned client=2.5.1 reason=setting user=u database=d statement=\"set role ?\"\n",
            ),
            (
                Trace::Unpinned {
                    conn: CONN,
                    reason: PinReason::Listen,
                    profile: Some(profile()),
                    held: std::time::Duration::from_millis(1500),
                },
                "INFO client_unpinned client=2.5.1 reason=listen held=1.500s user=u database=d\n",
            ),
            (
                Trace::OverLimit {
                    conn: CONN,
                    limit: "transaction_timeout",
                    cancelled: true,
                },
                "WARN client_over_limit client=2.5.1 limit=transaction_timeout action=cancelled\n",
            ),
        ] {
            assert_eq!(line(&trace), text);
        }
    }

    #[test]
    fn a_user_name_can_not_forge_a_line() {
        let user = "app\n2026-01-01T00:00:00Z INFO client_ready user=root\u{1b}[2K";
        let text = line(&Trace::ClientReady {
            conn: CONN,
            user: user.into(),
            database: "a b".into(),
        });
        assert_eq!(
            text,
            "INFO client_ready client=2.5.1 user=\"app\\n2026-01-01T00:00:00Z INFO client_ready \
             user=root\\u{1b}[2K\" database=\"a b\"\n"
        );
    }
}
