//! New backends: when to open one, its login, and what its failure means to those who wait.

use std::sync::Arc;

use super::{Conn, Shard};
use crate::backend::{Backend, Link, State};
use crate::ids::{ConnId, GroupId, Now};
use crate::limits::EVICT_AFTER;
use crate::profile::{Known, Profile};
use crate::seam::{Close, HashJob, Op, TlsRole, Trace};
use crate::session::Phase;
use crate::wire::{BackendIdentity, BackendLogin, BackendStep, Parameters, errors};

impl Shard {
    /// Waiters are left that no idle backend can serve: open backends for them as far as permits go, make room where idle ones of
    /// another profile stand in the way, and ask for more permits.
    pub(super) fn find_more(&mut self, now: Now, group: GroupId) {
        let Some(pool) = self.pool(group) else { return };
        if pool.waiting == 0 {
            self.report_demand(now, group, false);
            return;
        }
        if pool.retry_at.is_some_and(|at| at > now) {
            let at = pool.retry_at;
            self.wake(at);
            return;
        }
        if pool.spare() > 0 || !pool.idle.is_empty() {
            self.open_for_waiters(now, group);
        }
        self.report_demand(now, group, false);
    }

    fn open_for_waiters(&mut self, now: Now, group: GroupId) {
        let Some(pool) = self.pool(group) else { return };
        let mut under_way: Vec<Arc<Profile>> =
            pool.opening.iter().map(|(_, p)| Arc::clone(p)).collect();
        if pool.failures > 0 && !under_way.is_empty() {
            // A target that has just failed is tried with one connection, not with a crowd.
            return;
        }
        // Permits of backends that are being closed.
        let mut coming = pool.leaving;
        let mut at = 0;
        while let Some(waiter) = self.pool(group).and_then(|p| p.queue.get(at).copied()) {
            at += 1;
            if !self.is_waiting(waiter) {
                continue;
            }
            let Some(profile) = self.client(waiter.client).and_then(|c| c.profile.clone()) else {
                continue;
            };
            if let Some(covered) = under_way.iter().position(|p| Arc::ptr_eq(p, &profile)) {
                under_way.swap_remove(covered);
                continue;
            }
            let Some(pool) = self.pool(group) else { return };
            if pool.spare() == 0 && coming > 0 {
                coming -= 1;
                continue;
            }
            if pool.spare() == 0 && !self.make_room(now, group) {
                return;
            }
            if self.pool(group).is_none_or(|p| p.spare() == 0) {
                // The permit comes when the server has closed.
                continue;
            }
            let careful = self.pool(group).is_some_and(|p| p.failures > 0);
            if !self.open_backend(now, group, profile) || careful {
                return;
            }
        }
    }

    /// Closes an idle backend of another profile; false: there is none, or there may be a permit without that. Its permit is spare
    /// when the server has closed it.
    fn make_room(&mut self, now: Now, group: GroupId) -> bool {
        let alone = self.shards == 1;
        let Some(pool) = self.pool(group) else {
            return false;
        };
        let due = pool.unanswered_since.map(|since| since.after(EVICT_AFTER));
        if !alone && due.is_none_or(|due| due > now) {
            // `report_demand` asks for a permit and sees to it that there is a next time.
            return false;
        }
        let Some(cold) = pool.take_coldest() else {
            return false;
        };
        self.close_backend_quietly(now, cold, "room for another profile");
        true
    }

    /// Opens a backend; a permit must be spare.
    pub(super) fn open_backend(&mut self, now: Now, group: GroupId, profile: Arc<Profile>) -> bool {
        let settings = Arc::clone(&self.settings);
        let Some(target) = settings.groups.get(usize::from(group.0)) else {
            return false;
        };
        let Some(user) = settings.users.get(&profile.user) else {
            let reason = format!(
                "user {:?} is not in the configuration any more",
                profile.user
            );
            self.trace(Trace::BackendFailed { group, reason });
            self.fail_waiters(now, group, &profile, None);
            return false;
        };
        let identity = BackendIdentity {
            user: Arc::clone(&profile.user),
            database: Arc::clone(&profile.database),
            parameters: Arc::clone(&profile.parameters),
            secret: Arc::clone(&user.secret),
            learned: self.learned.get(&profile.user).copied(),
            cached: self.cached.get(&profile.user).cloned(),
            init_query: target.lending.upkeep.init_query.clone(),
        };
        let login = BackendLogin::new(identity, target.tls, self.random());
        let deadline = now.after(target.lending.connect_timeout);
        let backend = Backend::opening(group, Arc::clone(&profile), login, now, deadline);
        let id = self.table.insert(Conn::Backend(Box::new(backend)));
        if let Some(pool) = self.pool(group) {
            pool.open += 1;
            pool.unanswered_since = None;
            pool.opening.push((id, profile));
        }
        self.op(Op::Connect { conn: id, group });
        self.arm_backend(now, id);
        true
    }

    fn login_of(&mut self, id: ConnId) -> Option<&mut BackendLogin> {
        match &mut self.backend(id)?.state {
            State::Opening(login) => Some(login),
            _ => None,
        }
    }

    pub(super) fn backend_connected(&mut self, now: Now, id: ConnId) {
        if let Some(backend) = self.backend(id) {
            backend.link = Link::Up;
        }
        let Some(step) = self.login_of(id).map(BackendLogin::start) else {
            return;
        };
        self.opening_step(now, id, step);
    }

    pub(super) fn backend_tls_ready(&mut self, now: Now, id: ConnId, end_point: Option<Vec<u8>>) {
        let Some(step) = self.login_of(id).map(|l| l.tls_ready(end_point)) else {
            return;
        };
        self.opening_step(now, id, step);
    }

    pub(super) fn backend_hashed(&mut self, now: Now, id: ConnId, salted: [u8; 32]) {
        let Some(step) = self.login_of(id).map(|l| l.hashed(&salted)) else {
            return;
        };
        self.opening_step(now, id, step);
        // Bytes that came while the hash was computed are inside the login machine.
        self.opening_received(now, id, &[]);
    }

    /// Bytes of a backend that is not logged in yet.
    pub(super) fn opening_received(&mut self, now: Now, id: ConnId, bytes: &[u8]) {
        let mut used = 0;
        while let Some(login) = self.login_of(id) {
            let step = login.next(bytes, &mut used);
            if matches!(step, BackendStep::NeedMore) {
                return;
            }
            self.opening_step(now, id, step);
        }
        // Whatever follows the login's end in the same buffer is said by an idle or lent backend.
        if let Some(rest) = bytes.get(used..)
            && !rest.is_empty()
        {
            self.base = used;
            self.backend_received(now, id, rest);
            self.base = 0;
        }
    }

    fn opening_step(&mut self, now: Now, id: ConnId, step: BackendStep) {
        match step {
            BackendStep::NeedMore => {}
            BackendStep::Send(bytes) => self.send(id, bytes),
            BackendStep::StartTls => {
                let Some(group) = self.backend(id).map(|b| b.group) else {
                    return;
                };
                self.op(Op::StartTls {
                    conn: id,
                    role: TlsRole::Client(group),
                    early: None,
                });
            }
            BackendStep::Hash(job) => self.hash(id, job),
            BackendStep::Ready(hello) => self.opened(now, id, hello.params, hello.key),
            BackendStep::Failed {
                server_error,
                code,
                reason,
            } => {
                self.opening_failed(
                    now,
                    id,
                    server_error.map(|raw| (raw, code.unwrap_or_default())),
                    reason,
                );
            }
        }
    }

    fn hash(&mut self, id: ConnId, job: HashJob) {
        self.op(Op::Hash { conn: id, job });
    }

    fn opened(&mut self, now: Now, id: ConnId, params: Parameters, key: Option<(u32, Vec<u8>)>) {
        let Some(keys) = self.login_of(id).map(|l| l.keys_used()) else {
            return;
        };
        let Some(backend) = self.backend(id) else {
            return;
        };
        let (group, profile) = (backend.group, Arc::clone(&backend.profile));
        if let Some(keys) = keys {
            self.cached.insert(Arc::clone(&profile.user), keys);
        }
        let (known, news) = self.profiles.learn(&profile, Known { parameters: params });
        let Some(backend) = self.backend(id) else {
            return;
        };
        backend.state = State::Idle;
        backend.known = Arc::clone(&known);
        backend.key = key;
        self.stats.backends_opened += 1;
        if let Some(pool) = self.pool(group) {
            pool.forget_opening(id);
            pool.recovered();
        }
        self.trace(Trace::BackendReady { conn: id, group });
        if news {
            self.spread_news(&profile, &known);
        }
        self.arrived(now, id);
    }

    /// A backend could not be opened. What the server says against this very client (its database, a parameter, its role) is told to
    /// those who wait for such a backend; anything else may pass, so they go on waiting.
    pub(super) fn opening_failed(
        &mut self,
        now: Now,
        id: ConnId,
        said: Option<(Vec<u8>, String)>,
        reason: String,
    ) {
        if self.login_of(id).is_none() {
            return;
        }
        let Some(backend) = self.backend(id) else {
            return;
        };
        let (group, profile) = (backend.group, Arc::clone(&backend.profile));
        self.stats.backend_failures += 1;
        self.trace(Trace::BackendFailed {
            group,
            reason: reason.clone(),
        });
        self.close_backend_quietly(now, id, "login failed");
        match said {
            Some((raw, code)) if errors::is_against_client(&code) => {
                self.fail_waiters(now, group, &profile, Some(&raw))
            }
            _ => {
                if let Some(pool) = self.pool(group) {
                    pool.back_off(now, reason);
                    let at = pool.retry_at;
                    self.wake(at);
                }
            }
        }
        self.return_spare(group);
        self.serve(now, group);
    }

    /// What can't be cured by waiting: those who wait for a backend of this profile are told so, in the server's own words (`raw`) where
    /// there are any.
    pub(super) fn fail_waiters(
        &mut self,
        now: Now,
        group: GroupId,
        profile: &Arc<Profile>,
        raw: Option<&[u8]>,
    ) {
        let name = self
            .group(group)
            .map(|g| Arc::clone(&g.name))
            .unwrap_or_default();
        let waiters: Vec<_> = self
            .pool(group)
            .map(|p| p.queue.iter().map(|w| w.client).collect())
            .unwrap_or_default();
        for id in waiters {
            let Some(client) = self.client(id) else {
                continue;
            };
            let same = client
                .profile
                .as_ref()
                .is_some_and(|p| Arc::ptr_eq(p, profile));
            if !same || client.wait.is_none() {
                continue;
            }
            let joining = matches!(client.phase, Phase::Joining);
            let why = if joining {
                "refused by the server"
            } else {
                "the server refuses to serve this client any more"
            };
            let farewell = raw.map_or_else(
                || errors::server_unreachable(&name).to_bytes(),
                <[u8]>::to_vec,
            );
            self.send(id, farewell);
            self.op(Op::Close {
                conn: id,
                how: Close::Flush,
            });
            self.stats.refused += u64::from(joining);
            self.bury_client(now, id, why);
        }
    }
}
