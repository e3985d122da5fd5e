//! The simple protocol: query strings of several statements, and how results are given.

use std::collections::VecDeque;

use super::Shared;
use super::parts::{CopyIn, Failure, Outcome, Running, Way};
use super::session::Session;
use super::state::Tx;
use crate::wire;

impl Session {
    pub(super) fn query(&mut self, shared: &mut Shared, body: &[u8]) {
        self.unnamed = None;
        let Some((sql, _)) = wire::cstr(body) else {
            return self.fatal(shared, "08P01", "invalid string in message");
        };
        let parts: VecDeque<String> = if sql.starts_with("do ") {
            VecDeque::from([sql.to_owned()])
        } else {
            let parts = sql.split(';').map(str::trim).filter(|s| !s.is_empty());
            parts.map(str::to_owned).collect()
        };
        if parts.is_empty() {
            self.say(&wire::message(b'I', b""));
        }
        self.script = Some(parts);
    }

    pub(super) fn next_of_script(&mut self, shared: &mut Shared) {
        match self.script.as_mut().and_then(VecDeque::pop_front) {
            Some(sql) => {
                self.state.enter();
                self.start(shared, &sql, Vec::new(), Way::Simple);
            }
            None => {
                self.script = None;
                self.sync(shared);
            }
        }
    }

    /// Gives the result of a statement.
    pub(super) fn give(&mut self, shared: &mut Shared, running: Running, outcome: Outcome) {
        match (running.way.clone(), outcome) {
            (_, Outcome::CopyIn) => self.copy_begins(shared, running),
            (_, Outcome::CopyOut(rows)) => {
                self.say(&wire::copy_response(b'H'));
                for row in &rows {
                    self.say(&wire::copy_data(format!("{row}\n").as_bytes()));
                }
                self.say(&wire::copy_done());
                self.say(&wire::complete(&format!("COPY {}", rows.len())));
            }
            (Way::Call, Outcome::Rows { mut rows, .. }) => {
                let value = rows.pop_front().unwrap_or_default();
                let length = (value.len() as u32).to_be_bytes();
                self.say(&wire::message(
                    b'V',
                    &wire::cat(&[&length, value.as_bytes()]),
                ));
                self.sync(shared);
            }
            (Way::Portal(name, max), Outcome::Rows { rows, tag, .. }) => {
                if let Some(portal) = self.portals.get_mut(&name) {
                    portal.rows = Some(rows);
                    portal.tag = tag;
                    self.give_rows(&name, max);
                }
            }
            (_, Outcome::Rows { column, rows, tag }) => {
                self.say(&wire::row_description(&[&column]));
                self.say_rows(&rows);
                let tag = tag.replace('#', &rows.len().to_string());
                self.say(&wire::complete(&tag));
            }
            (way, Outcome::Tag(tag)) => {
                self.say(&wire::complete(&tag));
                if way == Way::Call {
                    self.sync(shared);
                }
            }
        }
    }

    fn copy_begins(&mut self, shared: &mut Shared, running: Running) {
        self.say(&wire::copy_response(b'G'));
        self.flush(shared);
        let key = (running.owner.unwrap_or_default(), running.number);
        let hit = running.owner.is_some() && shared.forced.contains(&key);
        self.copy = Some(CopyIn {
            running,
            data: Vec::new(),
        });
        if hit {
            self.cancelled(shared);
        }
    }

    fn say_rows(&mut self, rows: &VecDeque<String>) {
        for row in rows {
            self.say(&wire::data_row(&[row]));
        }
    }

    /// Gives up to `max` rows of a portal.
    pub(super) fn give_rows(&mut self, name: &str, max: u32) {
        let Some(portal) = self.portals.get_mut(name) else {
            return;
        };
        let Some(rows) = &mut portal.rows else { return };
        let limit = if max == 0 { usize::MAX } else { max as usize };
        let now: VecDeque<String> = rows.drain(..limit.min(rows.len())).collect();
        let suspended = now.len() == limit;
        let tag = portal.tag.replace('#', &now.len().to_string());
        self.say_rows(&now);
        if suspended {
            self.say(&wire::message(b's', b""));
        } else {
            self.say(&wire::complete(&tag));
        }
    }

    /// What a failed transaction still accepts.
    pub(super) fn check_failed(&self, sql: &str) -> Result<(), Failure> {
        let sql = sql.trim_start().to_ascii_lowercase();
        let ending = ["rollback", "commit", "end"]
            .iter()
            .any(|w| sql.starts_with(w));
        if self.state.tx == Tx::Failed && !ending {
            return Err(Failure::new(
                "25P02",
                "current transaction is aborted, commands ignored until end of transaction block",
            ));
        }
        Ok(())
    }
}
