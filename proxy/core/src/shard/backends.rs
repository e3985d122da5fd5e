//! Backends at work: what they say, and their end.

use std::sync::Arc;

use super::login::key_number;
use super::{Conn, Shard};
use crate::backend::{Backend, Link, Parameter, State};
use crate::ids::{ConnId, GroupId, Now, ShardId};
use crate::limits::LEAVE_TIMEOUT;
use crate::pins::PinReason;
use crate::pool::Waiter;
use crate::seam::{Close, Lost, Op, Trace};
use crate::wire::{FromServer, Heard, Lent, Pids, errors, goodbye};

impl Shard {
    pub(super) fn backend_received(&mut self, now: Now, id: ConnId, bytes: &[u8]) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        match &backend.state {
            State::Lent(client) => {
                let client = *client;
                self.answers(now, id, client, bytes);
            }
            State::Opening(_) => self.opening_received(now, id, bytes),
            State::Idle | State::Parked => self.idle_words(now, id, bytes),
            State::Breaking(_) => self.breaking_received(now, id, bytes),
            State::Mending(_) => self.mending_received(now, id, bytes),
            State::Leaving => {}
        }
    }

    /// The way of all answers: followed, and forwarded as they are.
    fn answers(&mut self, now: Now, id: ConnId, client_id: ConnId, bytes: &[u8]) {
        let shard = self.id;
        let Some((Conn::Backend(backend), Conn::Client(client))) =
            self.table.pair_mut(id, client_id)
        else {
            return;
        };
        if client.conversation.replaying() {
            return self.answers_to_replay(now, id, client_id, bytes);
        }
        let mut held = core::mem::take(&mut backend.held);
        let pids = pids(backend, shard, client_id);
        let mut lent = Lent {
            held: &mut held,
            on_parameter: &mut |name, value| backend.reported(name, value),
            pids,
        };
        let read = client.conversation.server(bytes, &mut lent);
        backend.held = held;
        self.pass_answers(now, id, client_id, read);
    }

    /// What came of a backend's bytes goes to its client.
    pub(super) fn pass_answers(
        &mut self,
        now: Now,
        id: ConnId,
        client_id: ConnId,
        read: FromServer,
    ) {
        let Some(client) = self.client(client_id) else {
            return;
        };
        if read.rested {
            client.began_at = now;
            client.overran_at = None;
        }
        let lost = client.conversation.settings_lost() && !client.pins.has(PinReason::Setting);
        let discarded = client.conversation.take_discarded();
        if read.stale_plan {
            self.retire_statements(client_id);
        }
        if read.redefined {
            self.catalog.renew();
        }
        self.tell_era();
        self.stats.cycles += u64::from(read.cycles);
        self.send(client_id, read.head);
        let mut from = 0;
        for edit in read.edits {
            self.forward(client_id, from, edit.from);
            self.send(client_id, edit.instead);
            from = edit.to;
        }
        self.forward(client_id, from, read.end);
        if let Some(what) = read.violation {
            self.server_broke(now, id, client_id, what);
            return;
        }
        if read.fatal
            && let Some(client) = self.client(client_id)
        {
            client.bereaved = true;
        }
        if lost {
            self.pin_for(client_id, PinReason::Setting);
        }
        if !discarded.is_empty() {
            self.pins_discarded(now, client_id, discarded);
        }
        if let Some(still) = read.still {
            self.pins_answered(now, client_id, id, still);
        }
        if read.resume_client {
            // What was kept back until this answer can go on.
            self.requests(now, client_id, &[]);
        }
        if read.cycles > 0 || read.resume_client {
            self.unhush_if_owing_less(client_id);
        }
        self.maybe_release(now, client_id);
    }

    fn retire_statements(&mut self, client: ConnId) {
        if let Some(Conn::Client(client)) = self.table.get(client) {
            client.conversation.retire_statements(&mut self.catalog);
        }
    }

    /// Forwards a part of the bytes at hand.
    pub(super) fn forward(&mut self, to: ConnId, start: usize, end: usize) {
        if start < end {
            let base = self.base;
            self.op(Op::Forward {
                to,
                start: base + start,
                end: base + end,
            });
        }
    }

    fn server_broke(&mut self, now: Now, id: ConnId, client: ConnId, what: &'static str) {
        let reason = format!("the server broke the protocol: {what}");
        self.close_backend(now, id, &reason);
        self.end_client(
            now,
            client,
            Some(&errors::server_protocol_violation()),
            "the server broke the protocol",
        );
    }

    /// What a backend says while nobody has it.
    fn idle_words(&mut self, now: Now, id: ConnId, bytes: &[u8]) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        let mut quiet = core::mem::take(&mut backend.quiet);
        let heard = quiet.feed(bytes, &mut |name, value| backend.reported(name, value));
        backend.quiet = quiet;
        match heard {
            Heard::Nothing => {
                self.settle_drift(id);
                self.keep_whole(now, id);
            }
            Heard::Ending(why) => self.close_backend(now, id, &why),
        }
    }

    /// Half a message stands in an idle backend's stream: nobody may have it before the rest has come.
    fn keep_whole(&mut self, now: Now, id: ConnId) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        if !matches!(backend.state, State::Idle) {
            return;
        }
        let (group, whole) = (backend.group, backend.quiet.at_boundary());
        let Some(pool) = self.pool(group) else { return };
        if !whole {
            pool.forget_idle(id);
        } else if !pool.idle.iter().any(|idle| idle.backend == id) {
            self.give_back(now, id);
        }
    }

    /// A backend's parameters have changed that its session has not set: that is what its server says from now on, to everyone of its
    /// profile.
    pub(super) fn settle_drift(&mut self, id: ConnId) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        if backend.drift.is_empty() {
            return;
        }
        let sets = |name: &[u8]| backend.holds.as_ref().is_some_and(|s| s.sets(name));
        let (own, drift) = core::mem::take(&mut backend.drift)
            .into_iter()
            .partition(|(name, _)| sets(name));
        backend.drift = own;
        let drift: Vec<Parameter> = drift;
        if drift.is_empty() {
            return;
        }
        let (profile, changed) = (Arc::clone(&backend.profile), backend.known.with(&drift));
        let (known, news) = self.profiles.learn(&profile, changed);
        if let Some(backend) = self.backend(id) {
            backend.known = Arc::clone(&known);
        }
        if news {
            self.spread_news(&profile, &known);
        }
    }

    pub(super) fn backend_lost(&mut self, now: Now, id: ConnId, why: Lost) {
        let text = match why {
            Lost::Eof => "the server closed the connection",
            Lost::Reset => "connection to the server reset",
            Lost::Tls => "TLS with the server failed",
        };
        let Some(backend) = self.backend(id) else {
            return;
        };
        if why == Lost::Tls {
            // Weir's side of it has failed: the server may not have noticed.
            backend.link = Link::Closed;
            self.op(Op::Close {
                conn: id,
                how: Close::Now,
            });
        } else {
            backend.link = Link::Ended;
        }
        let Some(backend) = self.backend(id) else {
            return;
        };
        match backend.state {
            State::Opening(_) if why == Lost::Tls => self.tls_refused(now, id),
            State::Opening(_) => self.opening_failed(now, id, None, format!("{text} during login")),
            State::Lent(client) => {
                self.close_backend(now, id, text);
                self.bereave(now, client);
            }
            State::Leaving => self.left(now, id),
            State::Idle | State::Parked | State::Breaking(_) | State::Mending(_) => {
                self.close_backend(now, id, text)
            }
        }
    }

    /// The client's server is gone, and with it its transaction: it is told so, never that all is well.
    fn bereave(&mut self, now: Now, client: ConnId) {
        let told = self.client(client).is_none_or(|c| c.bereaved);
        let farewell = if told {
            None
        } else {
            Some(errors::server_lost())
        };
        self.end_client(now, client, farewell.as_ref(), "server connection lost");
    }

    /// TLS that can't be agreed on will not be cured by waiting.
    fn tls_refused(&mut self, now: Now, id: ConnId) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        let (group, profile) = (backend.group, Arc::clone(&backend.profile));
        let reason =
            "TLS with the server failed: its certificate or protocol is not accepted (see the log)";
        self.opening_failed(now, id, None, reason.to_owned());
        self.fail_waiters(now, group, &profile, None);
    }

    /// Closes a backend and looks for another one for those who wait. A client that has it must be told by the caller.
    pub(super) fn close_backend(&mut self, now: Now, id: ConnId, reason: &str) {
        let Some(group) = self.backend(id).map(|b| b.group) else {
            return;
        };
        self.close_backend_quietly(now, id, reason);
        self.return_spare(group);
        self.serve(now, group);
        self.keep_warm(now);
    }

    /// Closes a backend. Its permit is spare here when the server has closed it too, or has had its time: until then it counts it.
    pub(super) fn close_backend_quietly(&mut self, now: Now, id: ConnId, reason: &str) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        let polite =
            matches!(backend.state, State::Idle | State::Parked) && backend.quiet.at_boundary();
        let (group, link) = (backend.group, backend.link);
        let counted = !matches!(backend.state, State::Opening(_) | State::Leaving);
        let uncounted_by_server = matches!(link, Link::Connecting | Link::Ended)
            || matches!(backend.state, State::Leaving);
        if counted {
            self.counted_close(id, group, reason);
        }
        if uncounted_by_server {
            return self.drop_backend(now, id, group);
        }
        match link {
            Link::Up if polite => self.send(id, goodbye()),
            // It would be read as the rest of a message, or not at all.
            Link::Up => self.op(Op::Finish { conn: id }),
            _ => {}
        }
        self.leave(now, id, group);
    }

    /// The end has been said; the server's answer is the end of the connection.
    fn leave(&mut self, now: Now, id: ConnId, group: GroupId) {
        self.part(id);
        let Some(backend) = self.backend(id) else {
            return;
        };
        backend.state = State::Leaving;
        backend.deadline = Some(now.after(LEAVE_TIMEOUT));
        let (errand, reserved) = (backend.errand.take(), backend.reserved.take());
        self.arm_backend(now, id);
        if let Some(pool) = self.pool(group) {
            pool.leaving += 1;
            pool.forget_idle(id);
            pool.forget_opening(id);
        }
        self.let_go(now, group, errand, reserved);
    }

    /// A backend that is lent is so no more.
    fn part(&mut self, id: ConnId) {
        let Some(client) = self.backend(id).and_then(|b| b.client()) else {
            return;
        };
        self.unlend(id);
        if let Some(client) = self.client(client) {
            client.lent = None;
        }
    }

    /// The server has closed a backend that is leaving, or has had its time.
    pub(super) fn left(&mut self, now: Now, id: ConnId) {
        let Some(group) = self.backend(id).map(|b| b.group) else {
            return;
        };
        self.drop_backend(now, id, group);
        self.return_spare(group);
        self.serve(now, group);
        self.keep_warm(now);
    }

    fn drop_backend(&mut self, now: Now, id: ConnId, group: GroupId) {
        self.part(id);
        let Some(Conn::Backend(mut backend)) = self.table.remove(id) else {
            return;
        };
        self.timers.disarm(id, &mut backend.timer);
        if backend.link != Link::Closed {
            self.op(Op::Close {
                conn: id,
                how: Close::Now,
            });
        }
        let leaving = matches!(backend.state, State::Leaving);
        if let Some(pool) = self.pool(group) {
            pool.open = pool.open.saturating_sub(1);
            pool.leaving = pool.leaving.saturating_sub(u32::from(leaving));
            pool.forget_idle(id);
            pool.forget_opening(id);
        }
        self.let_go(now, group, backend.errand, backend.reserved);
    }

    /// Who else was concerned with a backend that is no more.
    fn let_go(
        &mut self,
        now: Now,
        group: GroupId,
        errand: Option<ConnId>,
        reserved: Option<Waiter>,
    ) {
        if let Some(waiter) = reserved {
            self.unreserve(group, waiter);
        }
        if let Some(errand) = errand {
            self.errand_over(now, errand);
        }
    }

    fn counted_close(&mut self, id: ConnId, group: GroupId, reason: &str) {
        self.stats.backends_closed += 1;
        self.trace(Trace::BackendClosed {
            conn: id,
            group,
            reason: reason.to_owned(),
        });
    }
}

/// What a backend's process is called by its server, and by the client that has it.
pub(super) fn pids(backend: &Backend, shard: ShardId, client: ConnId) -> Option<Pids> {
    backend.key.as_ref().map(|(real, _)| Pids {
        real: *real,
        shown: key_number(shard, client),
    })
}
