//! The permit owner of one target group: shard 0 keeps one for each.
//!
//! It knows exactly one thing, how many permits are out, and that number never exceeds the limit: permits are out from the grant
//! until they come back by mail, whether they travel between shards or not. What shards say of their demand is only used
//! to decide whom to ask; it may be stale without harm.

use crate::ids::ShardId;

/// What a shard said of itself.
#[derive(Clone, Copy, Default, Debug)]
struct Report {
    waiting: u32,
    held: u32,
    idle: u32,
    /// Recalls answered at the time of the report.
    recalls: u64,
    /// Recalls sent to it.
    asked: u64,
}

impl Report {
    /// Asks this shard, which is `from`.
    fn recall(
        &mut self,
        from: ShardId,
        permits: u32,
        to: Option<ShardId>,
        idle_only: bool,
    ) -> Order {
        self.asked += 1;
        Order::Recall {
            from,
            permits,
            to,
            idle_only,
        }
    }
}

/// What is to be sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Give a shard new permits.
    Grant {
        /// Whom.
        to: ShardId,
        /// How many.
        permits: u32,
    },
    /// Call permits back from a shard.
    Recall {
        /// From whom.
        from: ShardId,
        /// How many.
        permits: u32,
        /// For whom.
        to: Option<ShardId>,
        /// Only idle ones.
        idle_only: bool,
    },
}

/// The owner's books for one group.
pub struct Owner {
    limit: u32,
    out: u32,
    shards: Vec<Report>,
}

impl Owner {
    /// An owner of `limit` permits for that many shards.
    #[must_use]
    pub fn new(limit: u32, shards: u16) -> Owner {
        Owner {
            limit,
            out: 0,
            shards: vec![Report::default(); usize::from(shards)],
        }
    }

    /// Permits given out and not returned.
    #[must_use]
    pub fn out(&self) -> u32 {
        self.out
    }

    /// A new limit. When it is lower, what is too much is called back.
    pub fn set_limit(&mut self, limit: u32, orders: &mut Vec<Order>) {
        self.limit = limit;
        let mut excess = self.out.saturating_sub(limit);
        let mut by_held: Vec<usize> = (0..self.shards.len()).collect();
        by_held.sort_by_key(|i| core::cmp::Reverse(self.shards.get(*i).map_or(0, |s| s.held)));
        for at in by_held {
            let Some(shard) = self.shards.get_mut(at) else {
                continue;
            };
            let permits = excess.min(shard.held);
            if permits > 0 {
                excess -= permits;
                orders.push(shard.recall(name(at), permits, None, false));
            }
        }
    }

    /// One permit for the owner's own shard to keep a connection warm with.
    pub fn take_warm(&mut self) -> bool {
        if self.out >= self.limit {
            return false;
        }
        self.out += 1;
        if let Some(own) = self.shards.first_mut() {
            own.held += 1;
        }
        true
    }

    /// Permits have come back.
    pub fn returned(&mut self, from: ShardId, permits: u32, orders: &mut Vec<Order>) {
        self.out = self.out.saturating_sub(permits);
        if let Some(shard) = self.shards.get_mut(usize::from(from.0)) {
            shard.held = shard.held.saturating_sub(permits);
        }
        self.grant_free(orders);
    }

    /// A shard has said how much it could use.
    pub fn demand(
        &mut self,
        from: ShardId,
        waiting: u32,
        held: u32,
        idle: u32,
        recalls: u64,
        orders: &mut Vec<Order>,
    ) {
        let Some(shard) = self.shards.get_mut(usize::from(from.0)) else {
            return;
        };
        shard.waiting = waiting;
        shard.recalls = recalls;
        if recalls >= shard.asked {
            let come = held > shard.held;
            shard.held = held;
            shard.idle = idle;
            let excess = self.out.saturating_sub(self.limit).min(held);
            if come && excess > 0 {
                // Permits have moved here from a shard that was to give them up: called back where they are now. What comes back twice
                // is granted again.
                orders.push(shard.recall(from, excess, None, false));
            }
        }
        self.grant_free(orders);
        if waiting > 0 && self.out >= self.limit {
            self.ask_for_idle(from, orders);
            self.balance(from, orders);
        }
    }

    /// Free permits go to those who wait, most waiters first.
    fn grant_free(&mut self, orders: &mut Vec<Order>) {
        while self.out < self.limit {
            let neediest =
                (0..self.shards.len()).max_by_key(|i| self.shards.get(*i).map_or(0, |s| s.waiting));
            let Some(at) = neediest else { return };
            let Some(shard) = self.shards.get_mut(at) else {
                return;
            };
            let permits = shard.waiting.min(self.limit - self.out);
            if permits == 0 {
                return;
            }
            shard.waiting -= permits;
            shard.held += permits;
            self.out += permits;
            orders.push(Order::Grant {
                to: name(at),
                permits,
            });
        }
    }

    /// Everyone else is asked once for what lies idle; the answers bring fresh reports.
    fn ask_for_idle(&mut self, wanting: ShardId, orders: &mut Vec<Order>) {
        let permits = self
            .shards
            .get(usize::from(wanting.0))
            .map_or(0, |s| s.waiting);
        if permits == 0 {
            return;
        }
        for (at, shard) in self.shards.iter_mut().enumerate() {
            // What a shard holds is not asked for here: backends move without the owner's knowing.
            if name(at) != wanting && shard.waiting == 0 && shard.recalls >= shard.asked {
                orders.push(shard.recall(name(at), permits, Some(wanting), true));
            }
        }
    }

    /// Where two shards wait, permits follow the number of clients: two queues shall feel like one.
    fn balance(&mut self, wanting: ShardId, orders: &mut Vec<Order>) {
        let load = |s: &Report| u64::from(s.waiting) + u64::from(s.held.saturating_sub(s.idle));
        let total: u64 = self.shards.iter().map(load).sum();
        let Some(me) = self.shards.get(usize::from(wanting.0)).copied() else {
            return;
        };
        let share = |s: &Report| u64::from(self.limit) * load(s) / total.max(1);
        let missing = share(&me).saturating_sub(u64::from(me.held));
        if me.held == 0 {
            self.recall_one(wanting, orders);
            return;
        }
        let surplus: Vec<u64> = self
            .shards
            .iter()
            .map(|s| u64::from(s.held).saturating_sub(share(s).max(1)))
            .collect();
        let mut missing = missing;
        for (at, over) in surplus.into_iter().enumerate() {
            let Some(shard) = self.shards.get_mut(at) else {
                continue;
            };
            let permits = u32::try_from(over.min(missing)).unwrap_or(0);
            if name(at) == wanting || permits == 0 || shard.recalls < shard.asked {
                continue;
            }
            missing -= u64::from(permits);
            shard.held = shard.held.saturating_sub(permits);
            orders.push(shard.recall(name(at), permits, Some(wanting), false));
        }
    }

    /// A shard that waits and has nothing at all gets one from whoever holds most, be it that one's only one: with fewer permits
    /// than shards they take turns.
    fn recall_one(&mut self, wanting: ShardId, orders: &mut Vec<Order>) {
        let richest = (0..self.shards.len())
            .filter(|at| name(*at) != wanting)
            .filter(|at| {
                self.shards
                    .get(*at)
                    .is_some_and(|s| s.held > 0 && s.recalls >= s.asked)
            })
            .max_by_key(|at| self.shards.get(*at).map_or(0, |s| s.held));
        if let Some(at) = richest
            && let Some(shard) = self.shards.get_mut(at)
        {
            shard.held = shard.held.saturating_sub(1);
            orders.push(shard.recall(name(at), 1, Some(wanting), false));
        }
    }
}

fn name(at: usize) -> ShardId {
    ShardId(u16::try_from(at).unwrap_or(u16::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: ShardId = ShardId(0);
    const B: ShardId = ShardId(1);

    #[test]
    fn grants_never_exceed_the_limit() {
        let (mut owner, mut orders) = (Owner::new(3, 2), Vec::new());
        owner.demand(A, 2, 0, 0, 0, &mut orders);
        owner.demand(B, 5, 0, 0, 0, &mut orders);
        assert_eq!(
            orders[..2],
            [
                Order::Grant { to: A, permits: 2 },
                Order::Grant { to: B, permits: 1 }
            ]
        );
        assert_eq!(owner.out(), 3);
        assert!(!owner.take_warm());
        orders.clear();
        owner.returned(A, 1, &mut orders);
        assert_eq!(orders, [Order::Grant { to: B, permits: 1 }]);
        assert_eq!(owner.out(), 3);
    }

    #[test]
    fn an_idle_shard_is_asked_for_what_it_sits_on() {
        let (mut owner, mut orders) = (Owner::new(2, 2), Vec::new());
        owner.demand(A, 2, 0, 0, 0, &mut orders);
        owner.demand(A, 0, 2, 2, 0, &mut orders);
        orders.clear();
        owner.demand(B, 1, 0, 0, 0, &mut orders);
        assert!(
            orders.contains(&Order::Recall {
                from: A,
                permits: 1,
                to: Some(B),
                idle_only: true
            }),
            "{orders:?}"
        );
        orders.clear();
        owner.demand(B, 1, 0, 0, 0, &mut orders);
        assert_eq!(orders, [], "asked again before it has answered");
    }

    #[test]
    fn a_shard_is_asked_even_if_the_owner_does_not_know_that_it_has_anything() {
        let (mut owner, mut orders) = (Owner::new(1, 2), Vec::new());
        assert!(owner.take_warm());
        owner.demand(B, 1, 0, 0, 0, &mut orders);
        let recall = Order::Recall {
            from: A,
            permits: 1,
            to: Some(B),
            idle_only: true,
        };
        assert_eq!(orders, [recall]);
    }

    #[test]
    fn permits_follow_the_clients_and_no_shard_is_left_with_none() {
        let (mut owner, mut orders) = (Owner::new(8, 2), Vec::new());
        owner.demand(A, 32, 0, 0, 0, &mut orders);
        owner.demand(A, 24, 8, 0, 0, &mut orders);
        orders.clear();
        owner.demand(B, 32, 0, 0, 1, &mut orders);
        assert_eq!(
            orders,
            [Order::Recall {
                from: A,
                permits: 1,
                to: Some(B),
                idle_only: false
            }]
        );
        orders.clear();
        owner.demand(A, 25, 7, 0, 1, &mut orders);
        owner.demand(B, 31, 1, 0, 1, &mut orders);
        assert_eq!(
            orders,
            [Order::Recall {
                from: A,
                permits: 3,
                to: Some(B),
                idle_only: false
            }]
        );
    }

    #[test]
    fn two_shards_take_turns_with_one_permit() {
        let (mut owner, mut orders) = (Owner::new(1, 2), Vec::new());
        owner.demand(A, 9, 0, 0, 0, &mut orders);
        orders.clear();
        owner.demand(A, 8, 1, 0, 0, &mut orders);
        owner.demand(B, 9, 0, 0, 0, &mut orders);
        assert_eq!(
            orders,
            [Order::Recall {
                from: A,
                permits: 1,
                to: Some(B),
                idle_only: false
            }]
        );
    }

    #[test]
    fn a_lower_limit_calls_back_what_is_too_much() {
        let (mut owner, mut orders) = (Owner::new(4, 1), Vec::new());
        owner.demand(A, 4, 0, 0, 0, &mut orders);
        orders.clear();
        owner.set_limit(1, &mut orders);
        assert_eq!(
            orders,
            [Order::Recall {
                from: A,
                permits: 3,
                to: None,
                idle_only: false
            }]
        );
        orders.clear();
        owner.returned(A, 3, &mut orders);
        assert_eq!(owner.out(), 1);
        assert_eq!(orders, []);
    }
}
