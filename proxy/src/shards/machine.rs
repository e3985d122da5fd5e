//! What the driver needs of the core.

use std::net::IpAddr;

use weir_core::backend::MovedBackend;
use weir_core::ids::{ConnId, ListenerId, Now, ShardId};
use weir_core::seam::{Event, Op};
use weir_core::shard::{Shard, Stats};

/// A machine that turns events into operations; see [`weir_core::seam`] for the contract.
pub(crate) trait Machine: 'static {
    /// The machine's side of a connection on its way to another shard.
    type Moved: Send + 'static;
    /// Its clients log in, and it says so with `Trace::ClientReady`.
    const LOGS_IN: bool;

    fn accept(&mut self, now: Now, listener: ListenerId, peer: IpAddr) -> Option<ConnId>;
    fn adopt(&mut self, now: Now, moved: Self::Moved) -> ConnId;
    fn adopt_failed(&mut self, now: Now, moved: Self::Moved);
    fn handle(&mut self, now: Now, event: Event<'_>);
    fn tick(&mut self, now: Now);
    fn next_op(&mut self) -> Option<Todo<Self::Moved>>;
    /// What [`Op::SendDraft`] names.
    fn draft(&self) -> &[u8];
    fn deadline(&self) -> Option<Now>;
    fn drained(&self) -> bool;
    /// More clients wait than are served.
    fn crowded(&self) -> bool;
    fn stats(&self) -> Stats;
}

/// An operation.
pub(crate) enum Todo<B> {
    /// Any but [`Op::Move`].
    Op(Op),
    /// [`Op::Move`], with the machine's own type of body.
    Move { conn: ConnId, to: ShardId, body: B },
}

impl Machine for Shard {
    type Moved = Box<MovedBackend>;
    const LOGS_IN: bool = true;

    fn accept(&mut self, now: Now, listener: ListenerId, peer: IpAddr) -> Option<ConnId> {
        Shard::accept(self, now, listener, peer)
    }

    fn adopt(&mut self, now: Now, moved: Self::Moved) -> ConnId {
        Shard::adopt(self, now, moved)
    }

    fn adopt_failed(&mut self, now: Now, moved: Self::Moved) {
        Shard::adopt_failed(self, now, moved);
    }

    fn handle(&mut self, now: Now, event: Event<'_>) {
        Shard::handle(self, now, event);
    }

    fn tick(&mut self, now: Now) {
        Shard::tick(self, now);
    }

    fn next_op(&mut self) -> Option<Todo<Self::Moved>> {
        Some(match Shard::next_op(self)? {
            Op::Move { conn, to, body } => Todo::Move { conn, to, body },
            op => Todo::Op(op),
        })
    }

    fn draft(&self) -> &[u8] {
        Shard::draft(self)
    }

    fn deadline(&self) -> Option<Now> {
        Shard::deadline(self)
    }

    fn drained(&self) -> bool {
        Shard::drained(self)
    }

    fn crowded(&self) -> bool {
        Shard::crowded(self)
    }

    fn stats(&self) -> Stats {
        Shard::stats(self)
    }
}
