//! Connections between the world and the shell: pieces of bytes under way, in order, each arriving when chance says.

use std::collections::VecDeque;

use weir_core::ids::ConnId;

/// What arrives.
#[derive(Debug)]
pub(crate) enum Item {
    Bytes(Vec<u8>),
    Fin,
    Rst,
    Tls,
}

/// Who is at the far end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// A client, by index.
    Client(usize),
    /// A cancel request of a client, by index in the list of requests.
    Canceller(usize),
    /// Somebody who sends noise.
    Noise,
    /// The server.
    Backend,
}

/// What a backend connection has turned out to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Use {
    Unknown,
    Session,
    Errand,
}

/// One connection.
pub(crate) struct Sock {
    pub kind: Kind,
    pub shard: usize,
    /// weir's name of it; `None` once weir has closed it, or while it moves.
    pub conn: Option<ConnId>,
    pub purpose: Use,
    /// On its way to another shard; something may arrive meanwhile.
    pub moving: bool,
    pub disturbed: bool,
    pub read: bool,
    /// Pieces that have arrived while it was not read.
    pub stalled: u32,
    /// To weir, under way.
    pub inward: VecDeque<Item>,
    pub inward_at: u64,
    /// From weir, not taken by the socket yet.
    pub backlog: VecDeque<Item>,
    pub backlog_bytes: usize,
    /// From weir, under way.
    pub outward: VecDeque<Item>,
    pub outward_bytes: usize,
    pub outward_at: u64,
    pub window: usize,
    pub told_congested: bool,
    pub bytes_when_told: usize,
    pub signal_due: bool,
    /// TLS is being agreed on: what comes is the handshake's and never seen by the core.
    pub handshake: bool,
}

impl Sock {
    pub fn new(kind: Kind, shard: usize, window: usize) -> Sock {
        Sock {
            kind,
            shard,
            conn: None,
            purpose: Use::Unknown,
            moving: false,
            disturbed: false,
            read: true,
            stalled: 0,
            inward: VecDeque::new(),
            inward_at: 0,
            backlog: VecDeque::new(),
            backlog_bytes: 0,
            outward: VecDeque::new(),
            outward_bytes: 0,
            outward_at: 0,
            window,
            told_congested: false,
            bytes_when_told: 0,
            signal_due: false,
            handshake: false,
        }
    }

    /// What the socket takes next, at most `most` bytes of it; `None` when it is full or nothing waits.
    pub fn take_backlog(&mut self, most: usize) -> Option<Item> {
        let free = self.window.saturating_sub(self.outward_bytes);
        match self.backlog.pop_front()? {
            Item::Bytes(bytes) if free == 0 => {
                self.backlog.push_front(Item::Bytes(bytes));
                None
            }
            Item::Bytes(mut bytes) => {
                let n = bytes.len().min(most.max(1)).min(free);
                let rest = bytes.split_off(n);
                if !rest.is_empty() {
                    self.backlog.push_front(Item::Bytes(rest));
                }
                self.backlog_bytes -= n;
                self.outward_bytes += n;
                Some(Item::Bytes(bytes))
            }
            other => Some(other),
        }
    }
}

/// A client that has sent something and not been served yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub since: u64,
    pub shard: usize,
    pub skips: u32,
    /// How many waited before it.
    pub ahead: u32,
}
