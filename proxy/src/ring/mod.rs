//! A shard's io_uring: the query path's submissions, completions and buffers.
//!
//! Receives are multishot into provided buffers; sends are silent unless a socket does not take everything at once. One
//! entry into the kernel per loop turn submits and waits. What the bytes mean is nobody's business here.
//!
//! Sockets are blocking ones: on a non-blocking socket the ring answers EAGAIN instead of waiting.

mod accept;
mod batch;
mod buffers;
mod complete;
mod data;
mod enter;
mod probe;
mod socket;
mod submit;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::{Shutdown, SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use io_uring::{IoUring, squeue};

use crate::io::{Arena, Happened, Io, IoStats, Key, Lent, Piece, Waker};
use accept::Listening;
use batch::Batch;
use buffers::Buffers;
use complete::Completion;
use enter::Enter;
use socket::{NONE, Sockets};

pub(crate) use probe::self_test;

/// Submission entries; a submission is due long before they are used up.
const SUBMISSIONS: u32 = 1024;
/// Completion entries: an overflow would end multishot operations.
const COMPLETIONS: u32 = 16_384;

/// The ring of one shard. Lives on the shard's thread.
pub(crate) struct Ring {
    // Dropped first: what follows is memory that the kernel may use until then.
    ring: IoUring,
    enter: Enter,
    buffers: Buffers,
    arena: Arena,
    batch: Batch,
    prepared: Vec<squeue::Entry>,
    sockets: Sockets,
    listeners: Vec<Listening>,
    /// Accepts under way at each listener: the most clients that are accepted from it in one turn.
    accepts: u32,
    completions: VecDeque<Completion>,
    ready: VecDeque<Happened>,
    /// Receives that ended for want of a buffer.
    starved: Vec<Key>,
    /// Sockets whose FIN waits for the batch.
    finishing: Vec<Key>,
    waker: Waker,
    wake_count: Box<[u8; 8]>,
    /// Operations that the kernel will still complete.
    in_flight: usize,
    /// The ring is being dropped.
    stopping: bool,
    stats: IoStats,
}

impl Io for Ring {
    fn listen(&mut self, listener: u16, socket: TcpListener) {
        self.listeners.push(Listening::new(listener, socket));
        self.arm_accepts(self.listeners.len() - 1);
    }

    fn accept_at_most(&mut self, clients: u32) {
        let more = clients > self.accepts;
        self.accepts = clients;
        if more {
            self.rearm_accepts();
        }
    }

    fn resume_accepting(&mut self) {
        self.rearm_accepts();
    }

    fn stop_accepting(&mut self) {
        self.cancel_accepts();
    }

    fn attach(&mut self, key: Key, fd: OwnedFd) {
        self.sockets.insert(key, fd);
    }

    fn connect(&mut self, key: Key, fd: OwnedFd, to: SocketAddr) {
        self.sockets.insert(key, fd);
        self.start_connect(key, to);
    }

    fn read(&mut self, key: Key, on: bool) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.want = on;
        if on && !socket.armed && !socket.ended {
            self.arm_receive(key);
        } else if !on && socket.armed && !socket.cancelling {
            socket.cancelling = true;
            self.cancel(data::Kind::Receive, key);
        }
    }

    fn send(&mut self, key: Key, piece: Piece) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if socket.broken {
            return;
        }
        if socket.backlog.is_some() {
            self.keep(key, &piece);
            return;
        }
        if let Piece::Lent { buffer, .. } = &piece {
            self.buffers.pin(*buffer);
        }
        let entry = if socket.batched == NONE {
            socket.batched = self.batch.begin(key, socket.raw_fd(), piece);
            socket.batched
        } else {
            self.batch.extend(socket.batched, piece);
            socket.batched
        };
        if self.batch.is_full(entry) {
            self.flush();
        }
    }

    fn finish(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.finishing = true;
        if socket.batched == NONE {
            self.finish_if_out(key);
        } else {
            self.finishing.push(key);
        }
    }

    fn abort(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.broken = true;
            crate::sys::shutdown(socket.fd.as_fd(), Shutdown::Both);
        }
    }

    fn release(&mut self, key: Key) {
        self.start_release(key);
    }

    fn detach(&mut self, key: Key) {
        self.start_detach(key);
    }

    fn wait(&mut self, at_most: Duration) {
        if !self.finishing.is_empty() || !self.starved.is_empty() {
            self.flush();
            self.feed_starved();
        }
        let idle = self.ready.is_empty() && self.completions.is_empty();
        self.submit_and_wait(if idle { at_most } else { Duration::ZERO });
    }

    fn next(&mut self) -> Option<Happened> {
        loop {
            if let Some(happened) = self.ready.pop_front() {
                return Some(happened);
            }
            let completion = self.completions.pop_front()?;
            if let Some(happened) = self.complete(completion) {
                return Some(happened);
            }
        }
    }

    fn bytes(&self, lent: &Lent) -> &[u8] {
        self.buffers.bytes(lent)
    }

    fn bytes_and_arena(&mut self, lent: &Lent) -> (&mut [u8], &mut Arena) {
        (self.buffers.bytes_mut(lent), &mut self.arena)
    }

    fn arena(&mut self) -> &mut Arena {
        &mut self.arena
    }

    fn give_back(&mut self, lent: Lent) {
        self.buffers.give_back(lent);
    }

    fn waker(&self) -> Waker {
        Arc::clone(&self.waker)
    }

    fn stats(&self) -> IoStats {
        IoStats {
            sockets: self.sockets.len() as u64,
            ..self.stats
        }
    }
}

impl Drop for Ring {
    /// Ends everything that is under way before the memory that it uses is freed; leaks that memory where the kernel does
    /// not let go in time.
    fn drop(&mut self) {
        self.quiesce();
        if self.in_flight > 0 {
            self.buffers.leak();
            std::mem::forget(std::mem::take(&mut self.sockets));
            std::mem::forget(std::mem::take(&mut self.wake_count));
        }
    }
}
