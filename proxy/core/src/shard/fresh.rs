//! Clients that ask for what the session did before (`currval`, `lastval`) without having a backend: they must not be answered with
//! what somebody else did. The backend that they get is reset first, if anyone has used it since its last reset.

use super::Shard;
use crate::backend::State;
use crate::ids::{ConnId, GroupId, Now};
use crate::pool::Waiter;
use crate::wire::{Damage, Frames};

impl Shard {
    /// The waiter has been struck from the queue and is to get this backend, which is neither idle nor lent now. Whether it is being
    /// made fresh first.
    pub(super) fn freshen(
        &mut self,
        now: Now,
        group: GroupId,
        id: ConnId,
        backend_id: ConnId,
    ) -> bool {
        let wants = self.client(id).is_some_and(|c| c.wants_fresh);
        let used = self.backend(backend_id).is_some_and(|b| b.used);
        if !wants || !used {
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
        self.start_mending(
            now,
            backend_id,
            Damage {
                state: true,
                ..Damage::default()
            },
            Frames::default(),
        );
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
