//! Cancel requests: from the key to the client, from the client to the backend it has now, and to the server and back.
//!
//! A cancel must never hit another client's query: until the server has closed the errand's connection, the backend it
//! is for is not lent on.

use subtle::ConstantTimeEq;

use super::login::key_owner;
use super::{Conn, Shard};
use crate::backend::ErrandRun;
use crate::ids::{ConnId, Now, ShardId};
use crate::limits::MEND_TIMEOUT;
use crate::seam::{Close, Mail, Op, TlsRole, Trace};
use crate::session::Phase;
use crate::timers::Timer;
use crate::wire::{Errand, ErrandStep, errors};

/// A shard, and the connection of it that a cancel request came on.
type Asker = (ShardId, ConnId);

impl Shard {
    /// Finds the shard of a key.
    pub(super) fn route_cancel(&mut self, now: Now, asker: ConnId, key: u32, secret: Vec<u8>) {
        match key_owner(key) {
            Some((shard, _)) if shard != self.id && shard.0 < self.shards => {
                let body = Mail::Cancel { asker, key, secret };
                self.op(Op::Mail { to: shard, body });
            }
            Some((shard, _)) if shard != self.id => self.cancel_done(now, (self.id, asker)),
            _ => self.cancel(now, (self.id, asker), key, &secret),
        }
    }

    /// A cancel request is dealt with: the connection it came on is closed.
    pub(super) fn cancel_done(&mut self, now: Now, (shard, asker): Asker) {
        if shard == self.id {
            self.end_client(now, asker, None, "cancel request");
        } else {
            let body = Mail::CancelDone { asker };
            self.op(Op::Mail { to: shard, body });
        }
    }

    /// Finds the client of a key, if the secret is the client's.
    pub(super) fn cancel(&mut self, now: Now, asker: Asker, key: u32, secret: &[u8]) {
        let id = key_owner(key).and_then(|(_, slot)| self.table.at(slot));
        let matched = id.is_some_and(|id| {
            self.client(id).is_some_and(|c| {
                matches!(c.phase, Phase::Ready) && c.cancel_secret().ct_eq(secret).into()
            })
        });
        self.trace(Trace::Cancel { matched });
        let under_way = match id {
            Some(id) if matched => self.cancel_client(now, id),
            _ => None,
        };
        match under_way {
            Some(errand) => {
                if let Some(Conn::Errand(run)) = self.table.get_mut(errand) {
                    run.askers.push(asker);
                }
            }
            None => self.cancel_done(now, asker),
        }
    }

    /// Answers the errand that carries the request, if one is needed.
    pub(super) fn cancel_client(&mut self, now: Now, id: ConnId) -> Option<ConnId> {
        let client = self.client(id)?;
        match client.lent {
            Some(_) if client.conversation.replaying() => {
                // What is to be hit has not begun, and what has must not be hit.
                client.cancel_when_lent = true;
                None
            }
            Some(_) if client.conversation.asking() => {
                // The same; and if there is nothing behind it, there is nothing to be hit.
                client.cancel_when_lent = client.conversation.owed() > 1;
                None
            }
            Some(backend) if !client.conversation.owes_nothing() => {
                self.stats.cancels += 1;
                self.send_errand(now, backend);
                self.backend(backend)?.errand
            }
            None if client.wait.is_some() => {
                self.cancel_waiting(now, id);
                None
            }
            Some(_) | None => None,
        }
    }

    /// The query has not reached any server: it is answered here, as a server would. Of several pipelined requests only the first would
    /// have been hit, and it can't be taken out of the bytes kept; then the cancel is sent after them.
    fn cancel_waiting(&mut self, now: Now, id: ConnId) {
        let Some(client) = self.client(id) else {
            return;
        };
        if client.conversation.pending_segments() == 1 && !client.conversation.mid_request() {
            self.stats.cancels += 1;
            self.fail_wait(now, id, &errors::query_cancelled());
        } else {
            client.cancel_when_lent = true;
        }
    }

    /// Sends a cancel request for whatever runs on this backend. One at a time.
    pub(super) fn send_errand(&mut self, now: Now, backend_id: ConnId) {
        let Some(backend) = self.backend(backend_id) else {
            return;
        };
        if backend.errand.is_some() {
            return;
        }
        let group = backend.group;
        let Some(key) = backend.key.clone() else {
            self.after_errand(now, backend_id);
            return;
        };
        let run = ErrandRun {
            errand: Errand::new(key),
            backend: backend_id,
            group,
            askers: Vec::new(),
            deadline: now.after(MEND_TIMEOUT),
            timer: Timer::default(),
        };
        let deadline = run.deadline;
        let id = self.table.insert(Conn::Errand(Box::new(run)));
        if let Some(backend) = self.backend(backend_id) {
            backend.errand = Some(id);
        }
        if let Some(Conn::Errand(run)) = self.table.get_mut(id) {
            self.timers.arm(id, &mut run.timer, deadline);
        }
        self.op(Op::Connect { conn: id, group });
    }

    pub(super) fn errand_connected(&mut self, now: Now, id: ConnId) {
        let Some(Conn::Errand(run)) = self.table.get_mut(id) else {
            return;
        };
        let Some(tls) = self
            .settings
            .groups
            .get(usize::from(run.group.0))
            .map(|g| g.tls)
        else {
            return;
        };
        let step = run.errand.connected(tls);
        self.errand_step(now, id, step);
    }

    pub(super) fn errand_received(&mut self, now: Now, id: ConnId, bytes: &[u8]) {
        let Some(Conn::Errand(run)) = self.table.get_mut(id) else {
            return;
        };
        let step = run.errand.feed(bytes);
        self.errand_step(now, id, step);
    }

    pub(super) fn errand_tls_ready(&mut self, now: Now, id: ConnId) {
        let Some(Conn::Errand(run)) = self.table.get_mut(id) else {
            return;
        };
        let step = run.errand.tls_ready();
        self.errand_step(now, id, step);
    }

    fn errand_step(&mut self, now: Now, id: ConnId, step: ErrandStep) {
        match step {
            ErrandStep::Wait => {}
            ErrandStep::Send(bytes) => self.send(id, bytes),
            ErrandStep::StartTls => {
                let Some(Conn::Errand(run)) = self.table.get(id) else {
                    return;
                };
                let role = TlsRole::Client(run.group);
                self.op(Op::StartTls {
                    conn: id,
                    role,
                    early: None,
                });
            }
            ErrandStep::Failed(why) => {
                if let Some(Conn::Errand(run)) = self.table.get(id) {
                    let group = run.group;
                    self.trace(Trace::BackendFailed {
                        group,
                        reason: why.to_owned(),
                    });
                }
                self.errand_over(now, id);
            }
        }
    }

    /// The server has closed the errand's connection: the signal has been sent. Or it never will be.
    pub(super) fn errand_over(&mut self, now: Now, id: ConnId) {
        let Some(Conn::Errand(mut run)) = self.table.remove(id) else {
            return;
        };
        self.timers.disarm(id, &mut run.timer);
        self.op(Op::Close {
            conn: id,
            how: Close::Now,
        });
        for asker in core::mem::take(&mut run.askers) {
            self.cancel_done(now, asker);
        }
        self.after_errand(now, run.backend);
    }
}
