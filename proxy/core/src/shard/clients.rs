//! Clients at work: their requests on the way to a backend, and their end.

use std::sync::atomic::Ordering;

use super::{Conn, Shard};
use crate::ids::{ConnId, Now};
use crate::limits::{PENDING_BYTES_ENOUGH, PENDING_BYTES_MAX, REPLIES_OWED_MAX};
use crate::pins::{PinReason, Pins};
use crate::pool::Waiter;
use crate::seam::{Lost, Op, Trace};
use crate::session::{Client, Phase, hush};
use crate::wire::{ClientEnd, ClientError, FromClient, errors};

impl Shard {
    pub(super) fn client_received(&mut self, now: Now, id: ConnId, bytes: &[u8]) {
        let Some(client) = self.client(id) else {
            return;
        };
        client.active_at = now;
        let limited = client.lent.is_some() && client.limits.shorter().is_some();
        let login = matches!(client.phase, Phase::Login(_));
        if limited {
            self.note_begin(now, id);
        }
        if login {
            self.login_received(now, id, bytes);
        } else {
            self.requests(now, id, bytes);
        }
    }

    /// Requests: read as far as needed, then forwarded, or kept until there is a backend.
    pub(super) fn requests(&mut self, now: Now, id: ConnId, bytes: &[u8]) {
        let Some(mut read) = self.read_client(id, bytes) else {
            return;
        };
        if read.feeds_sequence || read.reads_sequence {
            self.mind_sequences(id, &read);
        }
        self.tell_era();
        self.note_pins(id, &read);
        let (end_of, answer) = (read.end_of, core::mem::take(&mut read.answer));
        let lent = self.client(id).and_then(|c| c.lent);
        match lent {
            Some(backend) => {
                self.send_on(backend, read, bytes, 0);
                self.hush_if_owing(id);
            }
            None => {
                self.request_backend(now, id, read, bytes);
            }
        }
        self.send(id, answer);
        match end_of {
            None => {}
            Some(ClientEnd::Terminate) => self.end_client(now, id, None, "client said goodbye"),
            Some(ClientEnd::Violation(what)) => {
                self.end_client(
                    now,
                    id,
                    Some(&errors::protocol_violation(what)),
                    "protocol violation",
                );
            }
        }
    }

    /// The client has no backend: lend it one on the spot when one is free, else keep what it said and queue it.
    fn request_backend(&mut self, now: Now, id: ConnId, read: FromClient, bytes: &[u8]) {
        let Some(client) = self.client(id) else {
            return;
        };
        let needs_server = read.needs_server && !(read.head.is_empty() && read.start == read.end);
        if !needs_server && client.pending.is_empty() {
            return;
        }
        let ready = matches!(client.phase, Phase::Ready);
        let wants_now = needs_server && ready && client.wait.is_none() && client.pending.is_empty();
        if wants_now && let Some(backend) = self.lend_at_once(now, id) {
            self.send_first(backend, id, read, bytes);
            self.hush_if_owing(id);
            return;
        }
        let body = bytes.get(read.start..read.end).unwrap_or(&[]);
        let Some(client) = self.client(id) else {
            return;
        };
        if client.pending.len() + read.head.len() + body.len() > PENDING_BYTES_MAX {
            // Reading was switched off with the first byte kept; a shell that goes on delivering is not playing by the rules.
            self.end_client(
                now,
                id,
                Some(&errors::protocol_violation("too much sent while waiting")),
                "too much sent while waiting",
            );
            return;
        }
        client.pending.extend_from_slice(&read.head);
        client.pending.extend_from_slice(body);
        client.pending_by_name |= read.by_name;
        let mut room = read.head;
        room.clear();
        let (kept, ready_to_wait) = (client.pending.len(), ready && needs_server);
        self.give_spare(room);
        if kept >= PENDING_BYTES_ENOUGH {
            self.hush(id, hush::WAITING);
        }
        if ready_to_wait {
            self.want_backend(now, id);
        }
    }

    /// What a client has said may pin its session, or end a pin.
    pub(super) fn note_pins(&mut self, id: ConnId, read: &FromClient) {
        self.pin_fresh(id, read.pins, read.shape.as_deref());
        if (read.discards || !read.ends.is_empty())
            && let Some(client) = self.client(id)
        {
            client.ends.doubt(read.ends);
            if read.discards {
                client.ends.discard(read.pins);
                // With it goes what an `init_query` has made.
                client.left.add(Pins::of(PinReason::Discard));
            }
        }
    }

    /// Pins a session for what is new to it.
    pub(super) fn pin_fresh(&mut self, id: ConnId, pins: Pins, statement: Option<&str>) {
        let Some(client) = self.client(id) else {
            return;
        };
        if !pins.is_empty() {
            client.ends.given(pins);
        }
        let fresh = pins.without(client.pins);
        if !fresh.is_empty() {
            self.pin(id, fresh, statement);
        }
    }

    fn pin(&mut self, id: ConnId, fresh: Pins, statement: Option<&str>) {
        let fresh = self.excuse(id, fresh);
        let Some(client) = self.client(id) else {
            return;
        };
        if fresh.is_empty() {
            return;
        }
        // Its session remembers sequences from now on: nobody else's shall be among them.
        client.wants_fresh |= client.lent.is_none() && fresh.has(PinReason::Sequence);
        let first = client.pins.is_empty();
        client.pins.add(fresh);
        let (now, profile) = (client.active_at, client.profile.clone());
        for reason in fresh.iter() {
            client.ends.begun(reason, now);
        }
        if first {
            self.stats.pinned += 1;
        }
        for reason in fresh.iter() {
            if let Some(count) = self.stats.pins.get_mut(reason as usize) {
                *count += 1;
            }
            self.trace(Trace::Pinned {
                conn: id,
                reason,
                profile: profile.clone(),
                statement: statement.map(Into::into),
            });
        }
    }

    /// Pins a session for something that was seen on its backend.
    pub(super) fn pin_for(&mut self, id: ConnId, reason: PinReason) {
        self.pin_fresh(id, Pins::of(reason), None);
    }

    fn hush_if_owing(&mut self, id: ConnId) {
        if self
            .client(id)
            .is_some_and(|c| c.conversation.owed() > REPLIES_OWED_MAX)
        {
            self.hush(id, hush::OWED);
        }
    }

    pub(super) fn unhush_if_owing_less(&mut self, id: ConnId) {
        if self
            .client(id)
            .is_some_and(|c| c.hush & hush::OWED != 0 && c.conversation.owed() <= REPLIES_OWED_MAX)
        {
            self.unhush(id, hush::OWED);
        }
    }

    /// Stops reading a client, for one more reason.
    pub(super) fn hush(&mut self, id: ConnId, why: u8) {
        let Some(client) = self.client(id) else {
            return;
        };
        let was_read = client.hush == 0;
        client.hush |= why;
        if was_read {
            self.op(Op::Read {
                conn: id,
                on: false,
            });
        }
    }

    /// Takes away one reason not to read a client.
    pub(super) fn unhush(&mut self, id: ConnId, why: u8) {
        let Some(client) = self.client(id) else {
            return;
        };
        if client.hush & why == 0 {
            return;
        }
        client.hush &= !why;
        if client.hush == 0 {
            self.op(Op::Read { conn: id, on: true });
        }
    }

    /// A socket is full, or has room again: who feeds it is not read meanwhile.
    pub(super) fn congestion(&mut self, id: ConnId, full: bool) {
        match self.table.get_mut(id) {
            Some(Conn::Client(client)) => {
                client.congested = full;
                if let Some(backend) = client.lent {
                    self.pause(backend, full);
                }
            }
            Some(Conn::Backend(backend)) => {
                backend.congested = full;
                match backend.client() {
                    Some(client) if full => self.hush(client, hush::BACKEND_FULL),
                    Some(client) => self.unhush(client, hush::BACKEND_FULL),
                    None => {}
                }
            }
            Some(Conn::Errand(_)) | None => {}
        }
    }

    /// Stops or goes on reading a backend.
    pub(super) fn pause(&mut self, id: ConnId, pause: bool) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        if backend.paused != pause {
            backend.paused = pause;
            self.op(Op::Read {
                conn: id,
                on: !pause,
            });
        }
    }

    pub(super) fn client_lost(&mut self, now: Now, id: ConnId, why: Lost) {
        let reason = match why {
            Lost::Eof => "client closed the connection",
            Lost::Reset => "client connection reset",
            Lost::Tls => "client TLS failure",
        };
        self.end_client(now, id, None, reason);
    }

    /// Ends a client, for whatever reason; its backend, place in the queue and permissions go back at once.
    pub(super) fn end_client(
        &mut self,
        now: Now,
        id: ConnId,
        farewell: Option<&ClientError>,
        reason: &'static str,
    ) {
        let Some(Conn::Client(client)) = self.table.get(id) else {
            return;
        };
        // Behind half a message of the server's a farewell would be read as the rest of it.
        let torn = client.conversation.mid_answer();
        self.say_goodbye(id, farewell.filter(|_| !torn));
        self.bury_client(now, id, reason);
    }

    /// The bookkeeping of a client's end; its goodbye has been said.
    pub(super) fn bury_client(&mut self, now: Now, id: ConnId, reason: &'static str) {
        let Some(Conn::Client(mut client)) = self.table.remove(id) else {
            return;
        };
        self.timers.disarm(id, &mut client.timer);
        self.stats.clients -= 1;
        if client.proven() {
            self.shared.clients.fetch_sub(1, Ordering::AcqRel);
        } else {
            self.stats.clients_in_login -= 1;
        }
        if !client.pins.is_empty() {
            self.stats.pinned -= 1;
        }
        for reason in client.pins.iter() {
            let since = client.ends.ended(reason).unwrap_or(now);
            self.count_held(reason, now.since(since));
        }
        self.trace(Trace::ClientClosed { conn: id, reason });
        self.leave_queue(id, &client);
        match client.lent {
            Some(id) => {
                if let Some(backend) = self.backend(id) {
                    client.conversation.abandon(&mut backend.held);
                }
                if client.conversation.may_have_redefined() {
                    self.catalog.renew();
                    self.tell_era();
                }
                self.break_off(now, id, &client);
            }
            None => self.leave_gate(now, id, &client),
        }
    }

    fn leave_queue(&mut self, id: ConnId, client: &Client) {
        if let Some(wait) = client.wait
            && wait.queued
        {
            self.strike_waiter(
                client.group,
                Waiter {
                    client: id,
                    ticket: wait.ticket,
                },
            );
        }
    }

    /// A waiter has gone; its entry in the queue is stale.
    pub(super) fn strike_waiter(&mut self, group: crate::ids::GroupId, waiter: Waiter) {
        let table = &self.table;
        let fresh = |w: &Waiter| match table.get(w.client) {
            Some(Conn::Client(c)) => c.wait.is_some_and(|wait| wait.ticket == w.ticket),
            _ => false,
        };
        if let Some(pool) = self.pools.get_mut(usize::from(group.0)) {
            pool.leave(|w| *w == waiter || !fresh(w));
        }
    }
}
