//! The machine of one shard: `handle(Event)`, `tick(now)`, `next_op()`, `deadline()`.

use std::net::IpAddr;
use std::sync::Arc;

use crate::ids::{ConnId, ListenerId, Now, ShardId};
use crate::seam::{Event, Op};
use crate::settings::Settings;

/// A backend on its way to another shard: the core's side of it. Opaque to shells.
#[derive(Debug)]
pub struct MovedBackend {}

/// What shards tell each other of servers' settings. Opaque to shells.
#[derive(Debug)]
pub struct ProfileNews {}

/// Counters and gauges of one shard, for metrics; read by the shell between events.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Gauge: client connections, those in login included.
    pub clients: u64,
    /// Gauge: of those, still in login.
    pub clients_in_login: u64,
    /// Gauge: clients waiting for a backend.
    pub clients_waiting: u64,
    /// Gauge: backends open or being opened.
    pub backends: u64,
    /// Gauge: backends lent.
    pub backends_lent: u64,
    /// Gauge: backends idle.
    pub backends_idle: u64,
    /// Gauge: sessions pinned.
    pub pinned: u64,
    /// Logins that succeeded.
    pub logins: u64,
    /// Clients refused.
    pub refused: u64,
    /// Queries and other request cycles that ended with ReadyForQuery.
    pub cycles: u64,
    /// Times a backend was lent.
    pub borrows: u64,
    /// Sum of the time borrows waited, nanoseconds.
    pub borrow_wait_ns: u64,
    /// Borrows that timed out.
    pub borrow_timeouts: u64,
    /// Backends opened.
    pub backends_opened: u64,
    /// Backends closed.
    pub backends_closed: u64,
    /// Connects or logins at a target that failed.
    pub backend_failures: u64,
    /// Backends that went to another shard.
    pub backends_moved: u64,
    /// Cancel requests that reached a running query.
    pub cancels: u64,
    /// Sessions that were pinned, by [`crate::pins::PinReason`] number.
    pub pins: [u64; 32],
}

/// What a shard is made from.
pub struct ShardSetup {
    /// Its number.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// The configuration in force.
    pub settings: Arc<Settings>,
    /// A secret seed of its own, for cancel keys and nonces.
    pub seed: [u8; 32],
    /// The process's secret from which the SCRAM salts of unknown users are made; the same for all shards and over reloads.
    pub mock_secret: [u8; 32],
    /// The one thing that shards share.
    pub shared: Arc<Shared>,
}

/// The one thing that shards share: a count, touched at login and leave only, never per query. A limit on clients over all
/// shards must be exact and its refusal must not wait for mail.
#[derive(Default, Debug)]
pub struct Shared {
    /// Clients that are logged in, over all shards.
    pub clients: core::sync::atomic::AtomicU32,
}

/// One shard's whole state.
pub struct Shard {}

impl Shard {
    /// A new shard. Shard 0 also owns the permits and keeps the warm connections. Operations are waiting right after this.
    #[must_use]
    pub fn new(_setup: ShardSetup, _now: Now) -> Shard {
        Shard {}
    }

    /// A client has connected. `None`: close it at once, there is no room even to refuse it politely.
    pub fn accept(&mut self, _now: Now, _listener: ListenerId, _peer: IpAddr) -> Option<ConnId> {
        None
    }

    /// A backend has come from another shard; its socket is to be known as the answered id.
    pub fn adopt(&mut self, _now: Now, _moved: Box<MovedBackend>) -> ConnId {
        ConnId {
            slot: 0,
            generation: 0,
        }
    }

    /// A backend that another shard sent has been lost on the way; its permit arrives all the same.
    pub fn adopt_failed(&mut self, _now: Now, _moved: Box<MovedBackend>) {}

    /// Something happened.
    pub fn handle(&mut self, _now: Now, _event: Event<'_>) {}

    /// Time has passed: call at or after [`Shard::deadline`].
    pub fn tick(&mut self, _now: Now) {}

    /// The next thing to do; `None` when there is nothing more until the next event.
    pub fn next_op(&mut self) -> Option<Op> {
        None
    }

    /// When `tick` must be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Now> {
        None
    }

    /// After [`Event::Drain`]: no client is left.
    #[must_use]
    pub fn drained(&self) -> bool {
        true
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats::default()
    }
}
