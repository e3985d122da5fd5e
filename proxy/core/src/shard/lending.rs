//! Lending: who gets which backend, and when it comes back.

use std::sync::Arc;

use super::{Conn, Shard};
use crate::backend::State;
use crate::ids::{ConnId, GroupId, Now};
use crate::limits::QUEUE_SKIPS_MAX;
use crate::pool::{Idle, Waiter};
use crate::profile::{Known, Profile};
use crate::session::{AtGate, Client, Phase, hush};
use crate::wire::{Damage, Frames};

/// How many later waiters are looked at for one that a free backend of another profile could serve.
const LOOK_AHEAD: usize = 64;

/// What a waiter gets.
enum Service {
    /// What it wanted to know to finish its login.
    Greeting(Arc<Known>),
    /// A backend of its profile.
    Backend(ConnId),
}

impl Shard {
    /// The way of almost all requests: nobody waits and a backend of the client's profile is free.
    pub(super) fn lend_at_once(&mut self, now: Now, id: ConnId) -> Option<ConnId> {
        let client = self.client(id)?;
        let (group, profile) = (client.group, client.profile.clone()?);
        let mark = mark_of(client);
        let fresh = client.wants_fresh;
        if fresh || self.gated(group) {
            return None;
        }
        let pool = self.pool(group)?;
        if pool.waiting > 0 {
            return None;
        }
        let backend = pool.take_idle(&profile, mark)?;
        if self.is_silent(now, group, backend) {
            self.shelve(backend);
            return None;
        }
        self.lend(now, id, backend, now);
        Some(backend)
    }

    /// Queues a client; it is served when its turn comes.
    pub(super) fn want_backend(&mut self, now: Now, id: ConnId) {
        let Some(client) = self.client(id) else {
            return;
        };
        if client.wait.is_some() {
            return;
        }
        let (group, joining) = (client.group, matches!(client.phase, Phase::Joining));
        client.begin_wait(now);
        self.arm_client(now, id);
        // A client that joins only asks what the server says to its kind; it borrows nothing.
        if joining || !self.gated(group) || self.ask_gate(now, id) {
            self.enqueue(now, id);
        }
    }

    /// Through the gate: to the end of the queue.
    pub(super) fn enqueue(&mut self, now: Now, id: ConnId) {
        let Some(client) = self.client(id) else {
            return;
        };
        let group = client.group;
        let Some(wait) = client.wait.as_mut() else {
            return;
        };
        wait.queued = true;
        let ticket = wait.ticket;
        if let Some(pool) = self.pool(group) {
            pool.enqueue(Waiter { client: id, ticket });
        }
        self.serve(now, group);
    }

    /// Serves waiters, first come first, for as long as there is anything to serve them with.
    pub(super) fn serve(&mut self, now: Now, group: GroupId) {
        while let Some(front) = self.first_waiter(group) {
            if !self.serve_one(now, group, front) && !self.serve_later_one(now, group) {
                break;
            }
        }
        self.find_more(now, group);
    }

    /// The first waiter that is still there.
    fn first_waiter(&mut self, group: GroupId) -> Option<ConnId> {
        loop {
            let front = *self.pool(group)?.queue.front()?;
            if self.is_waiting(front) {
                return Some(front.client);
            }
            self.pool(group)?.queue.pop_front();
        }
    }

    pub(super) fn is_waiting(&self, waiter: Waiter) -> bool {
        match self.table.get(waiter.client) {
            Some(Conn::Client(c)) => c
                .wait
                .is_some_and(|w| w.ticket == waiter.ticket && w.queued),
            _ => false,
        }
    }

    /// Serves the first waiter if a backend of its profile is free, or what it wants to know is known.
    fn serve_one(&mut self, now: Now, group: GroupId, id: ConnId) -> bool {
        let Some(service) = self.service_for(group, id) else {
            return false;
        };
        if let Some(pool) = self.pool(group) {
            pool.queue.pop_front();
            pool.first_is_served();
        }
        self.serve_client(now, group, id, service);
        true
    }

    /// A backend is free, but not of the first waiter's profile: a later waiter may have it, a bounded number of times.
    fn serve_later_one(&mut self, now: Now, group: GroupId) -> bool {
        let Some(pool) = self.pool(group) else {
            return false;
        };
        if pool.idle.is_empty() || pool.skips >= QUEUE_SKIPS_MAX {
            return false;
        }
        for at in 1..pool.queue.len().min(LOOK_AHEAD) {
            let Some(waiter) = self.pool(group).and_then(|p| p.queue.get(at).copied()) else {
                return false;
            };
            if !self.is_waiting(waiter) {
                continue;
            }
            if let Some(service) = self.service_for(group, waiter.client) {
                if let Some(pool) = self.pool(group) {
                    pool.queue.remove(at);
                    pool.skips += 1;
                }
                self.serve_client(now, group, waiter.client, service);
                return true;
            }
        }
        false
    }

    /// What a waiter can be served with now; a backend is taken from the idle ones. The caller strikes the waiter from the queue
    /// *before* it serves, since serving may lead back into the queue.
    fn service_for(&mut self, group: GroupId, id: ConnId) -> Option<Service> {
        let client = self.client(id)?;
        let profile = client.profile.clone()?;
        if matches!(client.phase, Phase::Joining) {
            return self.profiles.known(&profile).map(Service::Greeting);
        }
        let mark = mark_of(client);
        self.pool(group)?
            .take_idle(&profile, mark)
            .map(Service::Backend)
    }

    fn serve_client(&mut self, now: Now, group: GroupId, id: ConnId, service: Service) {
        match service {
            Service::Greeting(known) => {
                self.end_wait(now, group, id);
                self.greet(now, id, &known);
            }
            Service::Backend(backend) if self.freshen(now, group, id, backend) => {}
            Service::Backend(backend) => {
                let since = self.end_wait(now, group, id);
                self.lend(now, id, backend, since);
            }
        }
    }

    /// The client does not wait any more; since when it has.
    fn end_wait(&mut self, now: Now, group: GroupId, id: ConnId) -> Now {
        if let Some(pool) = self.pool(group) {
            pool.waiting = pool.waiting.saturating_sub(1);
        }
        self.client(id)
            .and_then(|c| c.wait.take())
            .map_or(now, |w| w.since)
    }

    /// Gives a free backend to a client and sends what it has been waiting to say.
    pub(super) fn lend(&mut self, now: Now, id: ConnId, backend_id: ConnId, since: Now) {
        self.stats.borrows += 1;
        self.stats.borrow_wait_ns += u64::try_from(now.since(since).as_nanos()).unwrap_or(u64::MAX);
        self.stats.backends_lent += 1;
        let Some(backend) = self.backend(backend_id) else {
            return;
        };
        backend.state = State::Lent(id);
        backend.used = backend.used.and_by(id);
        backend.soiled = true;
        let backend_full = backend.congested;
        let Some(client) = self.client(id) else {
            return;
        };
        client.lent = Some(backend_id);
        client.began_at = now;
        client.overran_at = None;
        let limited = client.limits.shorter().is_some();
        client.wants_fresh = false;
        client.conversation.start_lend();
        let mut pending = core::mem::take(&mut client.pending);
        let by_name = core::mem::take(&mut client.pending_by_name);
        let congested = client.congested;
        if limited {
            self.arm_limits(now, id);
        }
        self.bring_settings(id, backend_id);
        if by_name {
            self.send_again(backend_id, id, &pending);
        } else if !pending.is_empty() {
            self.with_replay(&mut pending);
            self.send(backend_id, pending);
        }
        if congested {
            self.pause(backend_id, true);
        }
        if backend_full {
            self.hush(id, hush::BACKEND_FULL);
        }
        self.unhush(id, hush::WAITING);
        // A cancel must not hit what brings the backend to the client's settings.
        if let Some(client) = self.client(id)
            && !client.conversation.replaying()
            && core::mem::take(&mut client.cancel_when_lent)
        {
            self.send_errand(now, backend_id);
        }
    }

    /// Something of the client's has been answered: if that was all, its backend may go.
    pub(super) fn maybe_release(&mut self, now: Now, id: ConnId) {
        let Some(client) = self.client(id) else {
            return;
        };
        client.active_at = now;
        if !client.conversation.releasable() {
            return;
        }
        let Some(backend_id) = client.lent else {
            return;
        };
        let held = !client.holds().is_empty();
        let doubtful = client.conversation.stray_ready();
        if held {
            self.ask_about_pins(id, backend_id);
        }
        if held || !self.settle_settings(id, backend_id) {
            return self.maybe_drain_client(now, id);
        }
        let state = self.release(now, id, backend_id);
        if doubtful || state {
            // A Sync may or may not have been read as part of a COPY, or something is left that is nobody else's business: nobody
            // gets this backend before that is settled.
            let damage = Damage {
                state,
                ..Damage::default()
            };
            self.start_mending(now, backend_id, damage, Frames::default());
        } else {
            self.give_back(now, backend_id);
        }
        self.maybe_drain_client(now, id);
    }

    /// Separates a client from its backend, which is not idle yet. Whether it must be reset before anyone else has it.
    fn release(&mut self, now: Now, id: ConnId, backend_id: ConnId) -> bool {
        let Some(client) = self.client(id) else {
            return false;
        };
        let left = core::mem::take(&mut client.left);
        let set = client.conversation.has_set();
        client.conversation.end_lend();
        client.lent = None;
        let gate = client.gate;
        let identity = if gate == AtGate::Inside {
            self.identity(id)
        } else {
            None
        };
        if let Some(client) = self.client(id) {
            client.gate = AtGate::Outside;
        }
        self.unhush(id, hush::BACKEND_FULL | hush::OWED);
        self.unlend(backend_id);
        if let Some(identity) = identity {
            self.release_gate(now, &identity);
        }
        (set || !left.is_empty()) && self.must_be_reset(backend_id, left, set)
    }

    /// The backend has no client any more.
    pub(super) fn unlend(&mut self, backend_id: ConnId) {
        self.stats.backends_lent = self.stats.backends_lent.saturating_sub(1);
        self.pause(backend_id, false);
    }

    /// A backend has just been opened. Before it goes where it may have been called to it serves one of those
    /// for whom it came: else shards that want other profiles would pass a last permit round for ever, and none would be served.
    pub(super) fn arrived(&mut self, now: Now, id: ConnId) {
        if !self.serve_with(now, id) {
            self.give_back(now, id);
        }
    }

    fn serve_with(&mut self, now: Now, id: ConnId) -> bool {
        let Some(backend) = self.backend(id) else {
            return false;
        };
        let (group, profile) = (backend.group, Arc::clone(&backend.profile));
        let Some(at) = self.waiter_of(group, &profile) else {
            return false;
        };
        let Some(waiter) = self.pool(group).and_then(|p| p.queue.remove(at)) else {
            return false;
        };
        if at == 0
            && let Some(pool) = self.pool(group)
        {
            pool.first_is_served();
        }
        // Which may want it fresh, or may not have it before it has shown that its server is there.
        self.serve_client(now, group, waiter.client, Service::Backend(id));
        true
    }

    /// The place in the queue of the first who waits for a backend of this profile.
    fn waiter_of(&self, group: GroupId, profile: &Arc<Profile>) -> Option<usize> {
        let queue = &self.pools.get(usize::from(group.0))?.queue;
        queue.iter().take(LOOK_AHEAD).position(|waiter| {
            let Some(Conn::Client(client)) = self.table.get(waiter.client) else {
                return false;
            };
            let same = client
                .profile
                .as_ref()
                .is_some_and(|p| Arc::ptr_eq(p, profile));
            same && matches!(client.phase, Phase::Ready) && self.is_waiting(*waiter)
        })
    }

    /// A clean backend that nobody has: to the next who waits, to another shard, or among the idle ones.
    pub(super) fn give_back(&mut self, now: Now, id: ConnId) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        if backend.errand.is_some() {
            backend.state = State::Parked;
            return;
        }
        backend.state = State::Idle;
        backend.idle_since = now;
        backend.heard_at = now;
        backend.deadline = None;
        let soiled = backend.soiled;
        let (group, opened_at) = (backend.group, backend.opened_at);
        let lifetime = self
            .group(group)
            .and_then(|g| g.lending.connection_lifetime);
        if lifetime.is_some_and(|life| now.since(opened_at) >= life) {
            self.close_backend(now, id, "connection_lifetime reached");
            return;
        }
        if self.backend(id).is_some_and(|b| !b.quiet.at_boundary()) {
            // It comes back here when the rest of the message is there.
            self.arm_backend(now, id);
            return;
        }
        if soiled && self.is_reset_at_return(group) {
            return self.start_mending(now, id, Damage::default(), Frames::default());
        }
        if self.lend_reserved(now, id) || self.honour_recall(now, group, id) {
            return;
        }
        self.shelve(id);
        self.arm_backend(now, id);
        self.serve(now, group);
    }
}

impl Shard {
    /// Puts a backend among the idle ones, as the warmest.
    fn shelve(&mut self, id: ConnId) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        let (group, profile) = (backend.group, Arc::clone(&backend.profile));
        let mark = backend.holds.as_ref().map_or(0, |s| s.mark());
        if let Some(pool) = self.pool(group) {
            pool.idle.push(Idle {
                backend: id,
                profile,
                mark,
            });
        }
    }
}

/// The mark of the settings that a client's session has.
fn mark_of(client: &Client) -> u64 {
    client.conversation.session_state().map_or(0, |s| s.mark())
}
