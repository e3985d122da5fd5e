//! `max_borrowed_connections`: how many backends one client identity holds at a time.
//!
//! An identity has one home shard, found from its hash, which counts for all shards; the others ask it by mail. Without the
//! limit nobody comes here.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use crate::ids::{ConnId, GroupId, ShardId};

/// Who counts as one client: same user from the same address (at the same group).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Identity {
    /// The group borrowed from.
    pub group: GroupId,
    /// Login name.
    pub user: Arc<str>,
    /// Source address.
    pub peer: IpAddr,
}

impl Identity {
    /// The shard that counts for this identity; the same on all shards (FNV-1a, not secret: it only spreads work).
    #[must_use]
    pub fn home(&self, shards: u16) -> ShardId {
        let mut hash: u32 = 0x811c_9dc5;
        let mut eat = |byte: u8| hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
        self.user.bytes().for_each(&mut eat);
        match self.peer {
            IpAddr::V4(v4) => v4.octets().into_iter().for_each(&mut eat),
            IpAddr::V6(v6) => v6.octets().into_iter().for_each(&mut eat),
        }
        ShardId(u16::try_from(hash % u32::from(shards.max(1))).unwrap_or(0))
    }
}

/// One client's wish to borrow.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Asker {
    /// Its shard.
    pub shard: ShardId,
    /// Its connection there.
    pub client: ConnId,
    /// Its number for this wish.
    pub ticket: u32,
}

/// What shards say to each other about gates.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum GateWord {
    /// May this client borrow?
    Ask(Asker),
    /// It may.
    Open(Asker),
    /// It does not want to any more.
    Leave(Asker),
    /// A client that might has given its backend back, or left.
    Release,
}

#[derive(Default)]
struct Count {
    held: u32,
    queue: VecDeque<Asker>,
}

/// The counts of the identities whose home is here.
#[derive(Default)]
pub struct Gate {
    counts: HashMap<Identity, Count>,
}

impl Gate {
    /// May it borrow now? If not, it is remembered and opened later, first come first served.
    pub fn ask(&mut self, identity: &Identity, asker: Asker, limit: Option<u32>) -> bool {
        let count = self.counts.entry(identity.clone()).or_default();
        if limit.is_none_or(|limit| count.held < limit) {
            count.held += 1;
            return true;
        }
        count.queue.push_back(asker);
        false
    }

    /// Someone is done. Answers who may now.
    pub fn release(&mut self, identity: &Identity, limit: Option<u32>) -> Option<Asker> {
        let count = self.counts.get_mut(identity)?;
        count.held = count.held.saturating_sub(1);
        let next = if limit.is_none_or(|limit| count.held < limit) {
            count.queue.pop_front()
        } else {
            None
        };
        if next.is_some() {
            count.held += 1;
        } else if count.held == 0 && count.queue.is_empty() {
            self.counts.remove(identity);
        }
        next
    }

    /// A waiting one has gone. Whether it was still waiting; if not, its permission is on its way and will be released.
    pub fn leave(&mut self, identity: &Identity, asker: Asker) -> bool {
        let Some(count) = self.counts.get_mut(identity) else {
            return false;
        };
        let Some(at) = count.queue.iter().position(|a| *a == asker) else {
            return false;
        };
        count.queue.remove(at);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker(slot: u32) -> Asker {
        Asker {
            shard: ShardId(0),
            client: ConnId {
                slot,
                generation: 0,
            },
            ticket: 1,
        }
    }

    #[test]
    fn the_third_of_two_waits_its_turn() {
        let id = Identity {
            group: GroupId(0),
            user: "u".into(),
            peer: IpAddr::from([127, 0, 0, 1]),
        };
        let mut gate = Gate::default();
        assert!(gate.ask(&id, asker(1), Some(2)));
        assert!(gate.ask(&id, asker(2), Some(2)));
        assert!(!gate.ask(&id, asker(3), Some(2)));
        assert!(!gate.ask(&id, asker(4), Some(2)));
        assert!(gate.leave(&id, asker(3)));
        assert_eq!(gate.release(&id, Some(2)), Some(asker(4)));
        assert_eq!(gate.release(&id, Some(2)), None);
        assert_eq!(gate.release(&id, Some(2)), None);
        assert!(gate.counts.is_empty());
    }
}
