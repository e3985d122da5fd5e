//! What one shard has of one target group: idle backends, waiting clients, permits.
//!
//! This room keeps the books; who is lent what is decided in [`crate::shard`], which can see clients and backends. The
//! sum of permits over all shards is the business of [`owner`].

pub mod gate;
pub mod owner;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::{ConnId, Now, ShardId};
use crate::limits::{
    CONNECT_BACKOFF_MAX, CONNECT_BACKOFF_MIN, DEMAND_INTERVAL, DEMAND_INTERVAL_MAX,
};
use crate::profile::Profile;

/// A client in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waiter {
    /// Who waits.
    pub client: ConnId,
    /// The client's own number for this wait; an entry whose number is not the client's any more is stale.
    pub ticket: u32,
}

/// A promise to another shard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// Who gets it; `None`: nobody.
    pub to: Option<ShardId>,
    /// How many are still to go.
    pub permits: u32,
}

/// A backend that nobody has.
#[derive(Debug)]
pub struct Idle {
    /// Which one.
    pub backend: ConnId,
    /// Whom it can serve.
    pub profile: Arc<Profile>,
    /// Tells the settings apart that its session has; 0: those of a new one.
    pub mark: u64,
}

/// One shard's books for one group.
#[derive(Default)]
pub struct Pool {
    /// Backends that this shard may have open.
    pub permits: u32,
    /// Backends open, being opened or being mended; never more than [`Pool::permits`].
    pub open: u32,
    /// Idle backends, the one used last at the end: it is the warmest, and the others may age away.
    pub idle: Vec<Idle>,
    /// Backends being opened, with their profiles.
    pub opening: Vec<(ConnId, Arc<Profile>)>,
    /// Backends that the server is about to close; still counted in [`Pool::open`].
    pub leaving: u32,
    /// Clients that wait, first come first.
    pub queue: VecDeque<Waiter>,
    /// Entries of [`Pool::queue`] that are not stale.
    pub waiting: u32,
    /// How often the first waiter has been passed over.
    pub skips: u32,
    /// What the permit owner has called back and nobody has handed over yet.
    pub recalled: VecDeque<Recalled>,
    /// How many recalls have been answered.
    pub recalls: u64,
    /// When demand was last reported to the owner.
    pub reported_at: Option<Now>,
    /// The last report said that clients wait.
    pub reported_waiting: bool,
    /// Permits held at the last report.
    reported_permits: u32,
    /// Reports in a row that have changed nothing; see [`Pool::report_pause`].
    idle_reports: u32,
    /// Since when reports have said so and neither the first waiter has been served nor a backend been opened.
    pub unanswered_since: Option<Now>,
    /// No connect before this instant, after failures.
    pub retry_at: Option<Now>,
    /// Consecutive failures.
    pub failures: u32,
    /// What the last failure said; for clients whose login times out, and operators.
    pub last_failure: Option<String>,
}

impl Pool {
    /// A report is being made. A shard that serves its waiters with what it has tells the owner nothing new by it.
    pub fn note_report(&mut self, waiting: bool) {
        let starving = self.unanswered_since.is_some();
        let was_waiting = core::mem::replace(&mut self.reported_waiting, waiting);
        let changed = self.permits != self.reported_permits || !waiting || !was_waiting;
        self.reported_permits = self.permits;
        self.idle_reports = if starving || changed {
            0
        } else {
            self.idle_reports.saturating_add(1).min(16)
        };
    }

    /// How long after a report the next one may come.
    #[must_use]
    pub fn report_pause(&self) -> Duration {
        (DEMAND_INTERVAL * (1 << self.idle_reports)).min(DEMAND_INTERVAL_MAX)
    }

    /// Adds a client to the end of the queue.
    pub fn enqueue(&mut self, waiter: Waiter) {
        if self.waiting == 0 {
            self.idle_reports = 0;
        }
        self.queue.push_back(waiter);
        self.waiting += 1;
    }

    /// A waiter has gone without being served; its entry stays behind as a stale one. `stale` tells stale entries.
    pub fn leave(&mut self, stale: impl Fn(&Waiter) -> bool) {
        self.waiting = self.waiting.saturating_sub(1);
        // Sweeping when more than half is stale keeps the queue within twice the waiters at constant cost for each.
        if self.queue.len() > 32 && self.queue.len() > 2 * self.waiting as usize {
            self.queue.retain(|w| !stale(w));
        }
    }

    /// Takes the warmest idle backend of that profile whose settings have that mark, else the warmest one of the profile.
    pub fn take_idle(&mut self, profile: &Arc<Profile>, mark: u64) -> Option<ConnId> {
        let mut found = None;
        for (at, idle) in self.idle.iter().enumerate().rev() {
            if !Arc::ptr_eq(&idle.profile, profile) {
                continue;
            }
            if idle.mark == mark {
                found = Some(at);
                break;
            }
            found = found.or(Some(at));
        }
        Some(self.idle.remove(found?).backend)
    }

    /// The first in the queue has got what it waited for.
    pub fn first_is_served(&mut self) {
        self.skips = 0;
        self.unanswered_since = None;
    }

    /// Takes the coldest idle backend of any profile.
    pub fn take_coldest(&mut self) -> Option<ConnId> {
        if self.idle.is_empty() {
            None
        } else {
            Some(self.idle.remove(0).backend)
        }
    }

    /// Strikes one backend from the idle ones; whether it was there.
    pub fn forget_idle(&mut self, backend: ConnId) -> bool {
        let at = self.idle.iter().position(|i| i.backend == backend);
        at.map(|at| self.idle.remove(at)).is_some()
    }

    /// Strikes one backend from those being opened; whether it was there.
    pub fn forget_opening(&mut self, backend: ConnId) -> bool {
        let at = self.opening.iter().position(|(id, _)| *id == backend);
        at.map(|at| self.opening.remove(at)).is_some()
    }

    /// What has been promised to `to`.
    #[must_use]
    pub fn promised(&self, to: Option<ShardId>) -> u32 {
        let its = self.recalled.iter().filter(|r| r.to == to);
        its.map(|r| r.permits).sum()
    }

    /// Promises `permits` more of the next ones that come free to `to`.
    pub fn promise(&mut self, to: Option<ShardId>, permits: u32) {
        match self.recalled.iter_mut().find(|r| r.to == to) {
            _ if permits == 0 => {}
            Some(recalled) => recalled.permits += permits,
            None => self.recalled.push_back(Recalled { to, permits }),
        }
    }

    /// Permits that no backend uses.
    #[must_use]
    pub fn spare(&self) -> u32 {
        self.permits.saturating_sub(self.open)
    }

    /// A connect or login has failed in a way that says nothing against the client: wait before the next one.
    pub fn back_off(&mut self, now: Now, reason: String) {
        let pause = CONNECT_BACKOFF_MIN
            .saturating_mul(1 << self.failures.min(16))
            .min(CONNECT_BACKOFF_MAX);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = Some(now.after(pause));
        self.last_failure = Some(reason);
    }

    /// A login at the target has worked.
    pub fn recovered(&mut self) {
        self.failures = 0;
        self.retry_at = None;
        self.last_failure = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::GroupId;

    fn conn(slot: u32) -> ConnId {
        ConnId {
            slot,
            generation: 0,
        }
    }
    fn idle(slot: u32, profile: &Arc<Profile>, mark: u64) -> Idle {
        Idle {
            backend: conn(slot),
            profile: Arc::clone(profile),
            mark,
        }
    }
    fn profile(user: &str) -> Arc<Profile> {
        Arc::new(Profile {
            group: GroupId(0),
            user: user.into(),
            database: "d".into(),
            parameters: Arc::default(),
        })
    }

    #[test]
    fn the_warmest_backend_of_the_profile_is_lent_and_the_coldest_evicted() {
        let (a, b) = (profile("a"), profile("b"));
        let idle = vec![
            idle(1, &a, 0),
            idle(2, &a, 0),
            idle(3, &a, 7),
            idle(4, &b, 9),
        ];
        let mut pool = Pool {
            idle,
            ..Pool::default()
        };
        assert_eq!(pool.take_idle(&a, 0), Some(conn(2)));
        assert_eq!(pool.take_idle(&a, 9), Some(conn(3)));
        assert_eq!(pool.take_coldest(), Some(conn(1)));
        assert_eq!(pool.take_idle(&a, 0), None);
    }

    #[test]
    fn waiters_that_leave_do_not_fill_the_queue() {
        let mut pool = Pool::default();
        pool.enqueue(Waiter {
            client: conn(0),
            ticket: 0,
        });
        for i in 1..10_000 {
            pool.enqueue(Waiter {
                client: conn(i),
                ticket: 0,
            });
            pool.leave(|w| w.client.slot != 0);
        }
        assert!(pool.queue.len() <= 34, "{}", pool.queue.len());
        assert_eq!(pool.queue[0].client, conn(0));
    }

    #[test]
    fn promises_are_one_entry_for_each_who_has_them() {
        let (a, b) = (Some(ShardId(1)), Some(ShardId(2)));
        let mut pool = Pool::default();
        for permits in [1, 0, 2] {
            pool.promise(a, permits);
        }
        pool.promise(b, 1);
        assert_eq!(pool.promised(a), 3);
        pool.promise(None, 2);
        let promised: Vec<_> = pool.recalled.iter().map(|r| (r.to, r.permits)).collect();
        assert_eq!(promised, [(a, 3), (b, 1), (None, 2)]);
    }

    #[test]
    fn pauses_between_connects_grow_to_a_bound() {
        let mut pool = Pool::default();
        let mut last = 0;
        for _ in 0..40 {
            pool.back_off(Now(0), "refused".to_owned());
            let at = pool.retry_at.unwrap().0;
            assert!(at >= last && at <= CONNECT_BACKOFF_MAX.as_nanos() as u64);
            last = at;
        }
        pool.recovered();
        assert_eq!(pool.retry_at, None);
    }
}
