//! The seam between the core and a shell: events in, operations out.
//!
//! The contract, for whoever writes a shell (ring, epoll, simulator, fuzzer):
//!
//! - One [`crate::shard::Shard`] belongs to one thread. After every call of `accept`, `adopt`, `handle` or `tick` the shell takes all
//!   operations with `next_op` *before* the next call: [`Op::Forward`] names bytes of the event just handled.
//! - Operations on one connection take effect in the order in which they were given out.
//! - The core allocates every [`ConnId`]. After [`Op::Close`] the shell gives no more events for that id, and the slot may be
//!   used again at once under a new generation, also while the shell still flushes the old connection.
//! - [`Event::Closed`] says that a connection is over; the core answers it with [`Op::Close`], which frees the shell's side.
//! - TLS is the shell's: the core sees plain text only, and says when TLS starts.
//! - Sending never fails towards the core: what the socket does not take at once the shell keeps, says
//!   [`Event::Congested`] once, and [`Event::Drained`] when all of it is gone. The core then stops reading the other side.
//! - An event for an id that the core does not know any more is ignored, never a panic.

use std::sync::Arc;

use crate::backend::MovedBackend;
use crate::ids::{ConnId, GroupId, ShardId};
use crate::pins::PinReason;
use crate::pool::gate::{GateWord, Identity};
use crate::profile::{Profile, ProfileNews};
use crate::settings::Settings;

/// What happened.
#[derive(Debug)]
pub enum Event<'a> {
    /// Plain text arrived. Lent for this call and the operations that follow it. Never empty.
    Received {
        /// On which connection.
        conn: ConnId,
        /// The bytes, where they landed.
        bytes: &'a [u8],
    },
    /// The connection is over for reading: end of file, reset, or a TLS failure.
    Closed {
        /// Which connection.
        conn: ConnId,
        /// How it ended.
        why: Lost,
    },
    /// A connect that the core asked for has succeeded (TCP only).
    Connected {
        /// Which connection.
        conn: ConnId,
    },
    /// A connect that the core asked for has failed.
    ConnectFailed {
        /// Which connection.
        conn: ConnId,
        /// One line for the operator: what failed, at which address.
        error: String,
    },
    /// The TLS handshake that the core asked for is done.
    TlsReady {
        /// Which connection.
        conn: ConnId,
        /// tls-server-end-point data of the *server's* certificate on a backend connection; `None` on a client's.
        peer_end_point: Option<Vec<u8>>,
        /// The negotiated ALPN protocol was `postgresql`.
        alpn_postgresql: bool,
    },
    /// Bytes for this connection wait in the shell because its socket is full.
    Congested {
        /// Which connection.
        conn: ConnId,
    },
    /// Nothing waits any more.
    Drained {
        /// Which connection.
        conn: ConnId,
    },
    /// A [`Op::Hash`] is done.
    Hashed {
        /// Which backend asked for it.
        conn: ConnId,
        /// The salted password (PBKDF2-HMAC-SHA-256 of password, salt, iterations).
        salted_password: [u8; 32],
    },
    /// Mail from another shard (or from this one).
    Mail {
        /// The sender.
        from: ShardId,
        /// What it says.
        body: Mail,
    },
    /// A new configuration.
    Config(Arc<Settings>),
    /// Stop gracefully: accept no one, close clients as they become idle. `Shard::drained` tells when it is done.
    Drain,
}

/// How a connection ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lost {
    /// The peer finished sending (FIN or close_notify).
    Eof,
    /// Reset or another socket error.
    Reset,
    /// TLS could not be agreed on, or was violated; the shell has logged the cause.
    Tls,
}

/// What the shell is to do.
#[derive(Debug)]
pub enum Op {
    /// Send bytes `start..end` of the [`Event::Received`] being handled to `to`, without copying where possible.
    Forward {
        /// The receiver.
        to: ConnId,
        /// First byte.
        start: usize,
        /// One past the last byte.
        end: usize,
    },
    /// Send bytes that the core made or kept.
    Send {
        /// The receiver.
        to: ConnId,
        /// What to send.
        bytes: Vec<u8>,
    },
    /// Send bytes `start..end` of [`crate::shard::Shard::draft`], which the core makes anew for every event.
    SendDraft {
        /// The receiver.
        to: ConnId,
        /// First byte.
        start: usize,
        /// One past the last byte.
        end: usize,
    },
    /// Open a TCP connection to the group's target and report under `conn`.
    Connect {
        /// The id that the connection gets.
        conn: ConnId,
        /// Whose target.
        group: GroupId,
    },
    /// Start TLS after everything sent so far has gone out. On a client connection weir is the server.
    StartTls {
        /// Which connection.
        conn: ConnId,
        /// As server (client connections) or as client (backends, with the group's trust and host name).
        role: TlsRole,
        /// Bytes of the [`Event::Received`] being handled, from here to its end, are the first of the handshake (direct TLS).
        early: Option<usize>,
    },
    /// Switch reading on or off. New connections are being read.
    Read {
        /// Which connection.
        conn: ConnId,
        /// Read from now on, or not.
        on: bool,
    },
    /// Say that nothing more will be sent, behind everything sent so far: close_notify where TLS is up, then FIN. The connection is
    /// read on until [`Event::Closed`], and is then, or when it has taken too long, closed with [`Close::Now`].
    Finish {
        /// Which connection.
        conn: ConnId,
    },
    /// End a connection.
    Close {
        /// Which connection.
        conn: ConnId,
        /// With or without sending what waits.
        how: Close,
    },
    /// Compute PBKDF2-HMAC-SHA-256 away from the shard and answer with [`Event::Hashed`].
    Hash {
        /// Which backend asks.
        conn: ConnId,
        /// What to compute.
        job: HashJob,
    },
    /// Deliver a value to a shard (also to the sender itself).
    Mail {
        /// The receiver.
        to: ShardId,
        /// What it says.
        body: Mail,
    },
    /// Hand an idle backend connection, socket and TLS state and all, to another shard, which calls `adopt` with `body`; if
    /// bytes or an end arrived meanwhile the shell closes the socket and the receiver calls `adopt_failed` instead.
    Move {
        /// Which connection; the id ends with this.
        conn: ConnId,
        /// The receiver.
        to: ShardId,
        /// The core's side of it.
        body: Box<MovedBackend>,
    },
    /// Something to log and count.
    Trace(Trace),
}

/// Which side of TLS weir is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsRole {
    /// Towards a client.
    Server,
    /// Towards a group's target.
    Client(GroupId),
}

/// How to close.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Close {
    /// Send what waits (bounded in time by the shell), close_notify where TLS is up, then FIN.
    Flush,
    /// Drop what waits.
    Now,
}

pub use crate::auth::HashJob;

/// A value from shard to shard.
#[derive(Debug)]
pub enum Mail {
    /// To the permit owner: how much this shard could use. Sent when it changes, at most every [`crate::limits::DEMAND_INTERVAL`].
    Demand {
        /// Which group.
        group: GroupId,
        /// Clients waiting for a backend.
        waiting: u32,
        /// Permits held: backends open or being opened.
        held: u32,
        /// Of those, idle ones above what it must keep.
        idle: u32,
        /// How many recalls this shard has answered in all; tells the owner how fresh this is.
        recalls: u64,
    },
    /// From the permit owner: you may open this many more.
    Grant {
        /// Which group.
        group: GroupId,
        /// How many.
        permits: u32,
    },
    /// To the permit owner: permits no longer used.
    Return {
        /// Which group.
        group: GroupId,
        /// How many.
        permits: u32,
    },
    /// From the permit owner: hand over unused permits or idle backends; answered with [`Mail::Demand`].
    Recall {
        /// Which group.
        group: GroupId,
        /// How many.
        permits: u32,
        /// Who waits for them; `None`: nobody, close them, the limit has shrunk.
        to: Option<ShardId>,
        /// Only what is idle now; else also the next ones that come free.
        idle_only: bool,
    },
    /// A cancel request for a client of the receiver.
    Cancel {
        /// The connection of the sender that it came on.
        asker: ConnId,
        /// The number given to the client as process id.
        key: u32,
        /// The secret given with it.
        secret: Vec<u8>,
    },
    /// A cancel request has reached the server, or found nothing to cancel: the connection that it came on may be closed.
    CancelDone {
        /// The connection, of the receiver.
        asker: ConnId,
    },
    /// What one shard has learned and the others need.
    Profile(Box<ProfileNews>),
    /// A word about `max_borrowed_connections`.
    Gate(Identity, GateWord),
}

/// Something to log and count. Text fields hold no secrets; of statements their shape alone.
#[derive(Clone, PartialEq, Debug)]
pub enum Trace {
    /// A client is logged in.
    ClientReady {
        /// Its connection.
        conn: ConnId,
        /// Login name.
        user: Arc<str>,
        /// Database.
        database: Arc<str>,
    },
    /// A client has left or was closed.
    ClientClosed {
        /// Its connection.
        conn: ConnId,
        /// Why; one of a fixed set of words.
        reason: &'static str,
    },
    /// A client was refused before it was ready.
    Refused {
        /// Its connection.
        conn: ConnId,
        /// The code it was given.
        code: &'static str,
        /// Why, for the operator (may say more than the client was told; never a secret).
        reason: String,
    },
    /// A session was pinned.
    Pinned {
        /// The client.
        conn: ConnId,
        /// Why.
        reason: PinReason,
        /// Its user and database.
        profile: Option<Arc<Profile>>,
        /// What it asked for, without its literals; `None`: it was seen on its server, or could not be read.
        statement: Option<Box<str>>,
    },
    /// A pin has ended while its session goes on.
    Unpinned {
        /// The client.
        conn: ConnId,
        /// Why it was pinned.
        reason: PinReason,
        /// Its user and database.
        profile: Option<Arc<Profile>>,
        /// For how long.
        held: core::time::Duration,
    },
    /// A client has been over a time limit.
    OverLimit {
        /// The client.
        conn: ConnId,
        /// The limit's name in the configuration.
        limit: &'static str,
        /// Its statement is being cancelled; else it is closed.
        cancelled: bool,
    },
    /// A backend is logged in.
    BackendReady {
        /// Its connection.
        conn: ConnId,
        /// Whose target.
        group: GroupId,
    },
    /// A backend was closed.
    BackendClosed {
        /// Its connection.
        conn: ConnId,
        /// Whose target.
        group: GroupId,
        /// Why; for the operator.
        reason: String,
    },
    /// A backend could not be opened.
    BackendFailed {
        /// Whose target.
        group: GroupId,
        /// What the connect or the server said; for the operator.
        reason: String,
    },
    /// A query was cancelled, or a cancel request matched nobody.
    Cancel {
        /// Whether it reached a running query.
        matched: bool,
    },
}
