//! What a shard needs of the operating system, as one trait: `ring` and `epoll` implement it, `shards` drives it.
//!
//! Ordered bytes out, lent bytes in. Nothing here knows of TLS or of the core. What a socket does not take at once is kept
//! by the implementation ([`Backlog`]) and reported as [`Happened::Congested`] and [`Happened::Drained`].

mod arena;
mod backlog;

use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::time::Duration;

pub(crate) use arena::Arena;
pub(crate) use backlog::Backlog;

/// A socket, by the driver's own index. The generation tells apart users of one index.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Hash)]
pub(crate) struct Key {
    pub(crate) index: u32,
    /// 24 bits are used; see the ring's user data.
    pub(crate) generation: u32,
}

/// Received bytes, where they landed; to be given back with [`Io::give_back`].
#[derive(Debug)]
pub(crate) struct Lent {
    pub(crate) buffer: u16,
    pub(crate) len: u32,
}

/// Bytes to send.
#[derive(Debug)]
pub(crate) enum Piece {
    /// Part of a lent buffer.
    Lent {
        buffer: u16,
        start: usize,
        end: usize,
    },
    /// Part of [`Io::arena`].
    Arena { start: usize, end: usize },
    /// Bytes of one's own.
    Owned(Vec<u8>),
}

/// How reading ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ended {
    Eof,
    Reset,
}

/// What the operating system reports.
#[derive(Debug)]
pub(crate) enum Happened {
    /// A client has connected.
    Accepted { listener: u16, fd: OwnedFd },
    /// Accepting has failed and stands still until [`Io::resume_accepting`].
    AcceptFailed { listener: u16, errno: i32 },
    /// A connect has ended, well or with an error.
    Connected {
        key: Key,
        result: Result<(), std::io::Error>,
    },
    /// Bytes have arrived.
    Received { key: Key, lent: Lent },
    /// Nothing more will arrive.
    Ended { key: Key, how: Ended },
    /// The socket did not take everything.
    Congested { key: Key },
    /// Everything kept back has been taken.
    Drained { key: Key },
    /// Bytes can't be sent any more; what waited is dropped.
    SendFailed { key: Key },
    /// After [`Io::finish`]: everything is out, FIN too.
    Finished { key: Key },
    /// After [`Io::release`]: the socket is closed, the key is free.
    Released { key: Key },
    /// After [`Io::detach`]: the socket, or `None` when something arrived meanwhile; the key is free.
    Detached { key: Key, fd: Option<OwnedFd> },
    /// Someone has called [`Waker::wake`].
    Woken,
}

/// Wakes a shard from another thread.
pub(crate) type Waker = std::sync::Arc<crate::sys::EventFd>;

/// Counters of an implementation.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct IoStats {
    /// Times the kernel was entered to wait, submit or send.
    pub system_calls: u64,
    /// Bytes received.
    pub bytes_in: u64,
    /// Bytes handed to sockets.
    pub bytes_out: u64,
    /// Times no receive buffer was free.
    pub buffers_exhausted: u64,
    /// Times a socket did not take everything at once.
    pub congested: u64,
    /// Gauge: sockets of clients and backends, those included that are being closed.
    pub sockets: u64,
}

/// The operating system's side of one shard. All calls come from the shard's own thread.
pub(crate) trait Io {
    /// Accepts on a listening socket until [`Io::stop_accepting`].
    fn listen(&mut self, listener: u16, socket: TcpListener);

    /// How many clients may be accepted from each listener in one turn, from now on.
    fn accept_at_most(&mut self, clients: u32);

    /// Accepts again after [`Happened::AcceptFailed`].
    fn resume_accepting(&mut self);

    /// Takes what the backlog of every listener still holds, then closes the listeners.
    fn stop_accepting(&mut self);

    /// Takes over a connected socket; it is not read yet.
    fn attach(&mut self, key: Key, fd: OwnedFd);

    /// Takes over a fresh socket and connects it.
    fn connect(&mut self, key: Key, fd: OwnedFd, to: SocketAddr);

    /// Reads, or stops to. Bytes that arrived before it took effect are still reported.
    fn read(&mut self, key: Key, on: bool);

    /// Sends after everything sent before. Never fails here; see [`Happened`].
    fn send(&mut self, key: Key, piece: Piece);

    /// Sends FIN after everything sent before, then reports [`Happened::Finished`] or [`Happened::SendFailed`].
    fn finish(&mut self, key: Key);

    /// Ends both directions at once; reading ends soon after, what had arrived is still reported.
    fn abort(&mut self, key: Key);

    /// Closes at once; what waits is dropped. Reports [`Happened::Released`] and nothing else of this key.
    fn release(&mut self, key: Key);

    /// Gives the socket up without closing it.
    fn detach(&mut self, key: Key);

    /// Waits for something to happen, at most this long.
    fn wait(&mut self, at_most: Duration);

    /// The next thing that happened. A lent buffer must be given back before the next call.
    fn next(&mut self) -> Option<Happened>;

    /// The bytes of a lent buffer.
    fn bytes(&self, lent: &Lent) -> &[u8];

    /// The bytes of a lent buffer to work in, and where to put what comes out.
    fn bytes_and_arena(&mut self, lent: &Lent) -> (&mut [u8], &mut Arena);

    /// Room for bytes to send; what is written must be sent before the next call of `next` or `wait`.
    fn arena(&mut self) -> &mut Arena;

    /// A lent buffer is not needed any more, except for what was sent from it.
    fn give_back(&mut self, lent: Lent);

    /// Wakes this shard's [`Io::wait`].
    fn waker(&self) -> Waker;

    fn stats(&self) -> IoStats;
}
