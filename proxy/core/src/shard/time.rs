//! Time: what is due, what is next, and the two events that concern everyone: a new configuration and the end.

use std::sync::Arc;

use super::overtime::{self, Overtime};
use super::{Conn, Shard};
use crate::backend::State;
use crate::ids::{ConnId, GroupId, Now, ShardId};
use crate::session::{AtGate, Client, Phase};
use crate::settings::Settings;
use crate::wire::{ClientError, errors};

/// How often shard 0 looks whether the warm connections are all there.
const WARM_CHECK: core::time::Duration = core::time::Duration::from_secs(1);

impl Shard {
    /// Time has passed: call at or after [`Shard::deadline`].
    pub fn tick(&mut self, now: Now) {
        while let Some(id) = self.timers.pop(now) {
            match self.table.get_mut(id) {
                Some(Conn::Client(client)) => {
                    client.timer.fired();
                    self.client_due(now, id);
                }
                Some(Conn::Backend(backend)) => {
                    backend.timer.fired();
                    self.backend_due(now, id);
                }
                Some(Conn::Errand(run)) => {
                    run.timer.fired();
                    self.errand_over(now, id);
                }
                None => {}
            }
        }
        if self.wake_at.is_some_and(|at| at <= now) {
            self.wake_at = None;
            for group in self.groups() {
                self.serve(now, group);
            }
            self.keep_warm(now);
            self.wake_for_warm(now);
        }
    }

    /// When `tick` must be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        match (self.timers.next(), self.wake_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        }
    }

    fn groups(&self) -> impl Iterator<Item = GroupId> + use<> {
        (0..u16::try_from(self.pools.len()).unwrap_or(u16::MAX)).map(GroupId)
    }

    /// Makes sure that `tick` does group-wide work at `at` or before.
    pub(super) fn wake(&mut self, at: Option<Now>) {
        if let Some(at) = at
            && self.wake_at.is_none_or(|old| old > at)
        {
            self.wake_at = Some(at);
        }
    }

    pub(super) fn wake_for_warm(&mut self, now: Now) {
        if self.id == ShardId(0) && !self.draining {
            self.wake(Some(now.after(WARM_CHECK)));
        }
    }

    /// When a client has waited, or been waited for, too long, and what it is told then.
    fn client_deadline(&self, now: Now, client: &Client) -> Option<(Now, Overdue)> {
        let login = client.accepted_at.after(self.settings.login_timeout);
        let borrow = |client: &Client| {
            let limit = self.group(client.group)?.lending.borrow_timeout?;
            Some((client.wait?.since.after(limit), Overdue::Borrow))
        };
        match client.phase {
            Phase::Login(_) => Some((login, Overdue::Login)),
            Phase::Joining => match borrow(client) {
                Some((at, what)) if at < login => Some((at, what)),
                _ => Some((login, Overdue::Login)),
            },
            Phase::Ready if client.wait.is_some() => borrow(client),
            Phase::Ready => {
                let overtime = overtime::deadline(now, client);
                let overtime = overtime.map(|(at, what)| (at, Overdue::Overtime(what)));
                let idle = self.settings.idle_client_timeout.map(|idle| {
                    let from = client.silent_since(now);
                    (from.after(idle), Overdue::Idle)
                });
                [overtime, idle]
                    .into_iter()
                    .flatten()
                    .min_by_key(|(at, _)| *at)
            }
        }
    }

    pub(super) fn arm_client(&mut self, now: Now, id: ConnId) {
        let Some(Conn::Client(client)) = self.table.get(id) else {
            return;
        };
        let Some((at, _)) = self.client_deadline(now, client) else {
            return;
        };
        if let Some(Conn::Client(client)) = self.table.get_mut(id) {
            self.timers.arm(id, &mut client.timer, at);
        }
    }

    fn client_due(&mut self, now: Now, id: ConnId) {
        let Some(Conn::Client(client)) = self.table.get(id) else {
            return;
        };
        let in_transaction = !client.conversation.idle();
        let joining = matches!(client.phase, Phase::Joining);
        match self.client_deadline(now, client) {
            Some((at, what)) if at <= now => match what {
                Overdue::Login => self.login_overdue(now, id, joining),
                Overdue::Borrow => self.borrow_overdue(now, id, joining),
                Overdue::Idle => {
                    self.end_client(
                        now,
                        id,
                        Some(&errors::idle_timeout(in_transaction)),
                        "idle_client_timeout reached",
                    );
                }
                Overdue::Overtime(what) => self.overtime(now, id, what),
            },
            _ => self.arm_client(now, id),
        }
    }

    /// A silent connection is closed as PostgreSQL closes it, without a word; a proven client is told what it waited for.
    fn login_overdue(&mut self, now: Now, id: ConnId, joining: bool) {
        self.stats.refused += 1;
        let farewell = if joining { self.unreachable(id) } else { None };
        self.end_client(now, id, farewell.as_ref(), "login_timeout reached");
    }

    fn unreachable(&mut self, id: ConnId) -> Option<ClientError> {
        let group = self.client(id)?.group;
        Some(errors::server_unreachable(&self.group(group)?.name))
    }

    fn borrow_overdue(&mut self, now: Now, id: ConnId, joining: bool) {
        self.stats.borrow_timeouts += 1;
        let Some(Conn::Client(client)) = self.table.get(id) else {
            return;
        };
        let Some(lending) = self.group(client.group).map(|g| &g.lending) else {
            return;
        };
        let limit = lending.borrow_timeout.unwrap_or_default();
        let error = match lending.max_borrowed_connections {
            Some(most) if client.gate == AtGate::Asked => {
                errors::borrow_timeout_of_one(limit, most)
            }
            _ => errors::borrow_timeout(limit, lending.max_connection_pool_size),
        };
        if joining {
            self.end_client(now, id, Some(&error), "borrow_timeout reached at login");
        } else {
            self.fail_wait(now, id, &error.as_error());
        }
    }

    /// What a client waits to have done is answered with an error instead; the client stays.
    pub(super) fn fail_wait(&mut self, now: Now, id: ConnId, error: &ClientError) {
        let Some(Conn::Client(client)) = self.table.get(id) else {
            return;
        };
        let (group, wait) = (client.group, client.wait);
        if wait.is_none() {
            return;
        }
        // The same books as when a waiter leaves, then a client that wants nothing.
        if let Some(Conn::Client(mut client)) = self.table.take(id) {
            self.leave_gate(now, id, &client);
            client.gate = crate::session::AtGate::Outside;
            client.wait = None;
            client.cancel_when_lent = false;
            let answer = client.conversation.fail_pending(&error.to_bytes());
            client.pending = Vec::new();
            client.pending_by_name = false;
            client.active_at = now;
            self.table.put_back(id, Conn::Client(client));
            self.send(id, answer);
        }
        if let Some(wait) = wait
            && wait.queued
        {
            self.strike_waiter(
                group,
                crate::pool::Waiter {
                    client: id,
                    ticket: wait.ticket,
                },
            );
        }
        self.unhush(id, crate::session::hush::WAITING);
        if self.client(id).is_some_and(|c| c.conversation.resumable()) {
            // Messages that were kept back for an answer to what has just failed.
            self.requests(now, id, &[]);
        }
        self.arm_client(now, id);
        self.maybe_drain_client(now, id);
    }

    pub(super) fn arm_backend(&mut self, now: Now, id: ConnId) {
        let Some(at) = self.backend_deadline(id) else {
            return;
        };
        let _ = now;
        if let Some(Conn::Backend(backend)) = self.table.get_mut(id) {
            self.timers.arm(id, &mut backend.timer, at);
        }
    }

    fn backend_deadline(&self, id: ConnId) -> Option<Now> {
        let Some(Conn::Backend(backend)) = self.table.get(id) else {
            return None;
        };
        let lending = &self.group(backend.group)?.lending;
        match backend.state {
            State::Opening(_) | State::Breaking(_) | State::Mending(_) | State::Leaving => {
                backend.deadline
            }
            State::Idle => {
                let idle = backend.idle_since.after(lending.idle_timeout);
                Some(
                    lending
                        .connection_lifetime
                        .map_or(idle, |life| idle.min(backend.opened_at.after(life))),
                )
            }
            State::Lent(_) | State::Parked => None,
        }
    }

    fn backend_due(&mut self, now: Now, id: ConnId) {
        match self.backend_deadline(id) {
            Some(at) if at <= now => {}
            _ => return self.arm_backend(now, id),
        }
        let Some(backend) = self.backend(id) else {
            return;
        };
        match backend.state {
            State::Opening(_) => self.opening_failed(
                now,
                id,
                None,
                "connect_timeout reached before the login was done".to_owned(),
            ),
            State::Leaving => self.left(now, id),
            State::Mending(ref mend) if mend.is_check() => self.no_sign_of_life(now, id),
            State::Breaking(_) | State::Mending(_) => {
                self.close_backend(now, id, "could not be mended in time")
            }
            State::Idle => self.idle_due(now, id),
            State::Lent(_) | State::Parked => {}
        }
    }

    /// An idle backend has aged: closed if there are more than the minimum. Other shards send theirs home to shard 0, which counts.
    fn idle_due(&mut self, now: Now, id: ConnId) {
        let Some(backend) = self.backend(id) else {
            return;
        };
        let (group, opened_at) = (backend.group, backend.opened_at);
        let Some(lending) = self.group(group).map(|g| g.lending.clone()) else {
            return;
        };
        if lending
            .connection_lifetime
            .is_some_and(|life| now.since(opened_at) >= life)
        {
            self.close_backend(now, id, "connection_lifetime reached");
        } else if self.id != ShardId(0) {
            if self.pool(group).is_some_and(|p| p.forget_idle(id)) {
                self.hand_over(now, id, Some(ShardId(0)));
            }
        } else if self.opened_in_all(group) > lending.min_connection_pool_size {
            self.close_backend(now, id, "idle_timeout reached");
        } else {
            if let Some(backend) = self.backend(id) {
                backend.idle_since = now;
            }
            self.arm_backend(now, id);
        }
    }

    pub(super) fn reconfigure(&mut self, now: Now, settings: Arc<Settings>) {
        self.settings = settings;
        // Secrets may have changed; what was learned with the old ones is learned again.
        self.learned.clear();
        self.cached.clear();
        self.open_books();
        for group in self.groups() {
            self.resize(now, group);
        }
        let ids: Vec<ConnId> = self.table.ids().collect();
        for id in ids {
            self.renew_limits(id);
            self.arm_client(now, id);
            self.arm_backend(now, id);
        }
        self.keep_warm(now);
        self.wake_for_warm(now);
    }

    pub(super) fn drain(&mut self, now: Now) {
        self.draining = true;
        let ids: Vec<ConnId> = self.table.ids().collect();
        for id in ids {
            let Some(client) = self.client(id) else {
                continue;
            };
            if client.proven() {
                self.maybe_drain_client(now, id);
            } else {
                self.end_client(now, id, None, "draining");
            }
        }
    }

    /// While draining, a client goes as soon as nothing of it is under way.
    pub(super) fn maybe_drain_client(&mut self, now: Now, id: ConnId) {
        if !self.draining {
            return;
        }
        let Some(client) = self.client(id) else {
            return;
        };
        if client.quiet() && client.conversation.settled() && client.conversation.idle() {
            self.end_client(now, id, Some(&errors::shutting_down()), "draining");
        }
    }
}

/// What a client has not done, or not got, in time.
enum Overdue {
    Login,
    Borrow,
    Idle,
    Overtime(Overtime),
}
