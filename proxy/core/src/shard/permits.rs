//! Permits: how many backends this shard may have, asking the owner for more, handing over what others wait for.
//!
//! On a single shard all permits are here from the start and nothing of this sends mail.

use std::sync::Arc;

use super::{Conn, Shard};
use crate::backend::MovedBackend;
use crate::ids::{ConnId, GroupId, Now, ShardId};
use crate::pool::Recalled;
use crate::pool::owner::{Order, Owner};
use crate::profile::Profile;
use crate::seam::{Mail, Op};

/// The permit owner.
pub(super) const OWNER: ShardId = ShardId(0);

impl Shard {
    /// Books for every group of the configuration that has none yet.
    pub(super) fn open_books(&mut self) {
        let settings = Arc::clone(&self.settings);
        for group in settings.groups.iter().skip(self.pools.len()) {
            let mut pool = crate::pool::Pool::default();
            if self.shards == 1 {
                pool.permits = group.lending.max_connection_pool_size;
            } else if self.id == OWNER {
                self.owners.push(Owner::new(
                    group.lending.max_connection_pool_size,
                    self.shards,
                ));
            }
            self.pools.push(pool);
        }
    }

    /// The limits of the configuration have changed.
    pub(super) fn resize(&mut self, now: Now, group: GroupId) {
        let Some(limit) = self
            .group(group)
            .map(|g| g.lending.max_connection_pool_size)
        else {
            return;
        };
        let at = usize::from(group.0);
        if self.shards > 1 {
            let mut orders = Vec::new();
            if let Some(owner) = self.owners.get_mut(at) {
                owner.set_limit(limit, &mut orders);
                owner.returned(OWNER, 0, &mut orders);
            }
            self.orders(group, orders);
            return;
        }
        let Some(pool) = self.pools.get_mut(at) else {
            return;
        };
        pool.recalled.clear();
        let excess = pool.permits.saturating_sub(limit);
        pool.permits = pool.permits.max(limit);
        if excess > 0 {
            self.recall(now, group, excess, None, false);
        }
        self.serve(now, group);
    }

    fn orders(&mut self, group: GroupId, orders: Vec<Order>) {
        for order in orders {
            let (to, body) = match order {
                Order::Grant { to, permits } => (to, Mail::Grant { group, permits }),
                Order::Recall {
                    from,
                    permits,
                    to,
                    idle_only,
                } => (
                    from,
                    Mail::Recall {
                        group,
                        permits,
                        to,
                        idle_only,
                    },
                ),
            };
            self.op(Op::Mail { to, body });
        }
    }

    /// Tells the owner how much this shard could use; `answer`: at once, because it asked.
    pub(super) fn report_demand(&mut self, now: Now, group: GroupId, answer: bool) {
        if self.shards == 1 {
            return;
        }
        let Some(pool) = self.pool(group) else { return };
        let waiting = pool
            .waiting
            .saturating_sub(pool.spare() + u32::try_from(pool.opening.len()).unwrap_or(u32::MAX));
        // That nobody waits any more is said once: the owner would count on old news for ever.
        if waiting == 0 && !answer && !pool.reported_waiting {
            return;
        }
        let due = pool.reported_at.map(|at| at.after(pool.report_pause()));
        if !answer && due.is_some_and(|due| due > now) {
            self.wake(due);
            return;
        }
        pool.reported_at = Some(now);
        pool.note_report(waiting > 0);
        pool.unanswered_since = if waiting > 0 {
            pool.unanswered_since.or(Some(now))
        } else {
            None
        };
        let pause = pool.report_pause();
        let (held, idle, recalls) = (
            pool.permits,
            u32::try_from(pool.idle.len()).unwrap_or(u32::MAX),
            pool.recalls,
        );
        self.op(Op::Mail {
            to: OWNER,
            body: Mail::Demand {
                group,
                waiting,
                held,
                idle,
                recalls,
            },
        });
        if waiting > 0 {
            self.wake(Some(now.after(pause)));
        }
    }

    /// To the owner: a shard reports.
    pub(super) fn demand_heard(
        &mut self,
        from: ShardId,
        group: GroupId,
        waiting: u32,
        held: u32,
        idle: u32,
        recalls: u64,
    ) {
        let mut orders = Vec::new();
        if let Some(owner) = self.owners.get_mut(usize::from(group.0)) {
            owner.demand(from, waiting, held, idle, recalls, &mut orders);
        }
        self.orders(group, orders);
    }

    /// To the owner: permits come back.
    pub(super) fn permits_returned(
        &mut self,
        now: Now,
        from: ShardId,
        group: GroupId,
        permits: u32,
    ) {
        self.credit(from, group, permits);
        self.keep_warm(now);
    }

    pub(super) fn permits_arrived(&mut self, now: Now, group: GroupId, permits: u32) {
        if let Some(pool) = self.pool(group) {
            pool.permits += permits;
        }
        self.serve(now, group);
        self.return_spare(group);
    }

    /// Permits that nobody here needs go back at once: another shard may wait for them.
    pub(super) fn return_spare(&mut self, group: GroupId) {
        self.settle_recalls_with_spare(group);
        if self.shards == 1 {
            return;
        }
        let Some(pool) = self.pool(group) else { return };
        let wanted = pool
            .waiting
            .saturating_sub(u32::try_from(pool.opening.len()).unwrap_or(u32::MAX));
        let permits = pool.spare().saturating_sub(wanted);
        if permits == 0 {
            return;
        }
        pool.permits -= permits;
        if self.id == OWNER {
            self.credit(OWNER, group, permits);
        } else {
            self.op(Op::Mail {
                to: OWNER,
                body: Mail::Return { group, permits },
            });
        }
    }

    /// The owner's books: permits have come back.
    fn credit(&mut self, from: ShardId, group: GroupId, permits: u32) {
        let mut orders = Vec::new();
        if let Some(owner) = self.owners.get_mut(usize::from(group.0)) {
            owner.returned(from, permits, &mut orders);
        }
        self.orders(group, orders);
    }

    /// What has been called back is taken from permits that no backend uses, before anything else.
    fn settle_recalls_with_spare(&mut self, group: GroupId) {
        while let Some(pool) = self.pool(group)
            && let Some(recalled) = pool.recalled.front_mut()
        {
            let permits = recalled.permits.min(pool.permits.saturating_sub(pool.open));
            let to = recalled.to;
            recalled.permits -= permits;
            let settled = recalled.permits == 0;
            pool.permits -= permits;
            if settled {
                pool.recalled.pop_front();
            }
            self.pass_on(group, permits, to);
            if !settled {
                return;
            }
        }
    }

    fn pass_on(&mut self, group: GroupId, permits: u32, to: Option<ShardId>) {
        if permits == 0 {
            return;
        }
        match to {
            Some(to) => self.op(Op::Mail {
                to,
                body: Mail::Grant { group, permits },
            }),
            None if self.shards > 1 => self.op(Op::Mail {
                to: OWNER,
                body: Mail::Return { group, permits },
            }),
            None => {}
        }
    }

    /// The owner calls permits back: unused ones and idle backends at once, and if need be the next backends that come free.
    pub(super) fn recall(
        &mut self,
        now: Now,
        group: GroupId,
        permits: u32,
        to: Option<ShardId>,
        idle_only: bool,
    ) {
        let mut left = permits;
        // The owner asks again, for all that it wants then, for as long as somebody waits: what has been promised is part of that.
        let standing = self.pool(group).map_or(0, |p| p.promised(to));
        if let Some(pool) = self.pool(group) {
            pool.recalls += 1;
            let needy = idle_only && pool.waiting > 0;
            let spare = if needy { 0 } else { pool.spare().min(left) };
            pool.permits -= spare;
            left -= spare;
            self.pass_on(group, spare, to);
            while left > 0
                && !needy
                && let Some(cold) = self.pool(group).and_then(crate::pool::Pool::take_coldest)
            {
                self.hand_over(now, cold, to);
                left -= 1;
            }
        }
        if left > 0
            && !idle_only
            && let Some(pool) = self.pool(group)
        {
            pool.promise(to, left.saturating_sub(standing));
        }
        self.report_demand(now, group, true);
    }

    /// A backend has come free: if it has been called back, it goes.
    pub(super) fn honour_recall(&mut self, now: Now, group: GroupId, id: ConnId) -> bool {
        let Some(pool) = self.pool(group) else {
            return false;
        };
        // What backends that are being closed will settle is not asked of this one.
        let promised: u32 = pool.recalled.iter().map(|r| r.permits).sum();
        if promised <= pool.leaving {
            return false;
        }
        let Some(recalled) = pool.recalled.front_mut() else {
            return false;
        };
        let to = recalled.to;
        recalled.permits = recalled.permits.saturating_sub(1);
        if recalled.permits == 0 {
            pool.recalled.pop_front();
        }
        self.hand_over(now, id, to);
        self.find_more(now, group);
        true
    }

    /// Gives an idle backend, with its permit, to another shard, or closes it and gives the permit back.
    pub(super) fn hand_over(&mut self, now: Now, id: ConnId, to: Option<ShardId>) {
        let Some(group) = self.backend(id).map(|b| b.group) else {
            return;
        };
        let movable = self
            .backend(id)
            .is_some_and(|b| b.quiet.at_boundary() && !b.congested);
        match to {
            Some(to) if movable => {
                let Some(Conn::Backend(mut backend)) = self.table.remove(id) else {
                    return;
                };
                self.timers.disarm(id, &mut backend.timer);
                self.stats.backends_moved += 1;
                if let Some(pool) = self.pool(group) {
                    pool.open -= 1;
                    pool.permits -= 1;
                    pool.forget_idle(id);
                }
                self.op(Op::Move {
                    conn: id,
                    to,
                    body: Box::new(MovedBackend::pack(*backend)),
                });
            }
            to => {
                // Its permit is passed on when it is spare.
                if let Some(pool) = self.pool(group) {
                    pool.recalled.push_front(Recalled { to, permits: 1 });
                }
                self.close_backend_quietly(now, id, "called back by the permit owner");
                self.settle_recalls_with_spare(group);
            }
        }
    }

    /// Shard 0 keeps `min_connection_pool_size` backends open, whoever has them.
    pub(super) fn keep_warm(&mut self, now: Now) {
        if self.id != OWNER || self.draining {
            return;
        }
        let settings = Arc::clone(&self.settings);
        for (at, target) in (0u16..).zip(&settings.groups) {
            let group = GroupId(at);
            let Some(user) = target.warm_user.clone() else {
                continue;
            };
            let profile = Profile {
                group,
                user,
                database: Arc::clone(&target.database),
                parameters: Arc::default(),
            };
            let min = target
                .lending
                .min_connection_pool_size
                .min(target.lending.max_connection_pool_size);
            while self.opened_in_all(group) < min && self.may_connect(now, group) {
                if !self.take_warm_permit(group) {
                    break;
                }
                let profile = self.profiles.adopt(&profile);
                if !self.open_backend(now, group, profile) {
                    break;
                }
            }
        }
    }

    fn may_connect(&mut self, now: Now, group: GroupId) -> bool {
        let Some(pool) = self.pool(group) else {
            return false;
        };
        if pool.retry_at.is_some_and(|at| at > now) {
            let at = pool.retry_at;
            self.wake(at);
            return false;
        }
        true
    }

    fn take_warm_permit(&mut self, group: GroupId) -> bool {
        let at = usize::from(group.0);
        let Some(pool) = self.pools.get_mut(at) else {
            return false;
        };
        if pool.spare() > 0 {
            return true;
        }
        if let Some(owner) = self.owners.get_mut(at)
            && owner.take_warm()
        {
            pool.permits += 1;
            return true;
        }
        false
    }

    /// Backends open over all shards, as far as shard 0 can know: permits out, each for a backend open or about to be.
    pub(super) fn opened_in_all(&mut self, group: GroupId) -> u32 {
        let at = usize::from(group.0);
        let Some(pool) = self.pools.get(at) else {
            return 0;
        };
        match self.owners.get(at) {
            Some(owner) => owner.out().saturating_sub(pool.spare() + pool.leaving),
            None => pool.open.saturating_sub(pool.leaving),
        }
    }
}
