//! Clients that ask for what their session did to sequences (`currval`, `lastval`). They must not be answered with what somebody else
//! did: the backend that a session gets when it begins to remember sequences is reset first, if anyone else has used it.
//!
//! It follows that a client which has added a row in one transaction and asks for its number in the next may be told that there is
//! none: what it did is on another backend, or gone. That an `INSERT` advances a sequence can't be seen, and that somebody will
//! ask for it can't be foreseen, so the first time it comes out like this. But an application that does so once will do so again:
//! from then on its sessions (those of its profile) keep the backend that they add rows with.

use super::Shard;
use crate::backend::State;
use crate::ids::{ConnId, GroupId, Now};
use crate::pins::PinReason;
use crate::pool::Waiter;
use crate::wire::{Damage, Frames, FromClient};

impl Shard {
    /// Some of what a client has just asked for adds rows, or asks for what its session did to sequences.
    pub(super) fn mind_sequences(&mut self, id: ConnId, asked: &FromClient) {
        let Some(client) = self.client(id) else {
            return;
        };
        let (lent, remembers) = (client.lent.is_some(), client.pins.has(PinReason::Sequence));
        let Some(profile) = client.profile.clone() else {
            return;
        };
        if remembers {
            return;
        }
        if asked.feeds_sequence {
            if self.profiles.reads_sequences(&profile) {
                self.pin_for(id, PinReason::Sequence);
            }
        } else if !lent {
            // Not in the transaction of what it asks for. Whether that pins or not, it must not be another's.
            client.wants_fresh = true;
            self.learn_reader(&profile);
        }
    }

    /// The waiter has been struck from the queue and is to get this backend, which is neither idle nor lent now. Whether it is being
    /// made fresh, or asked for a sign of life, first.
    pub(super) fn freshen(
        &mut self,
        now: Now,
        group: GroupId,
        id: ConnId,
        backend_id: ConnId,
    ) -> bool {
        let wants = self.client(id).is_some_and(|c| c.wants_fresh);
        let used = self
            .backend(backend_id)
            .is_some_and(|b| !b.used.is_fresh_for(id));
        let reset = wants && used;
        if !reset && !self.is_silent(now, group, backend_id) {
            return false;
        }
        if let Some(pool) = self.pool(group) {
            pool.waiting = pool.waiting.saturating_sub(1);
        }
        let Some(wait) = self.client(id).and_then(|c| c.wait.as_mut()) else {
            return false;
        };
        wait.queued = false;
        let waiter = Waiter {
            client: id,
            ticket: wait.ticket,
        };
        if let Some(backend) = self.backend(backend_id) {
            backend.reserved = Some(waiter);
            backend.state = State::Parked;
        }
        let damage = Damage {
            state: reset,
            ..Damage::default()
        };
        self.start_mending(now, backend_id, damage, Frames::default());
        if !reset {
            self.expect_sign_of_life(now, backend_id);
        }
        true
    }

    /// A backend is clean: if it was made so for a client that still waits, the client gets it.
    pub(super) fn lend_reserved(&mut self, now: Now, backend_id: ConnId) -> bool {
        let Some(waiter) = self.backend(backend_id).and_then(|b| b.reserved.take()) else {
            return false;
        };
        if !self.still_reserved(waiter) {
            return false;
        }
        let Some(wait) = self.client(waiter.client).and_then(|c| c.wait.take()) else {
            return false;
        };
        self.lend(now, waiter.client, backend_id, wait.since);
        true
    }

    /// A backend that was being made fresh is lost: its client is the first in the queue again.
    pub(super) fn unreserve(&mut self, group: GroupId, waiter: Waiter) {
        if !self.still_reserved(waiter) {
            return;
        }
        if let Some(wait) = self.client(waiter.client).and_then(|c| c.wait.as_mut()) {
            wait.queued = true;
        }
        if let Some(pool) = self.pool(group) {
            pool.queue.push_front(waiter);
            pool.waiting += 1;
        }
    }

    fn still_reserved(&mut self, waiter: Waiter) -> bool {
        self.client(waiter.client)
            .and_then(|c| c.wait)
            .is_some_and(|w| w.ticket == waiter.ticket && !w.queued)
    }
}
