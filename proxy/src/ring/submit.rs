//! Handing operations to the kernel, and settling what the batch of silent sends came to.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, IntoRawFd};
use std::time::{Duration, Instant};

use io_uring::{opcode, squeue, types};
use socket2::SockAddr;

use super::Ring;
use super::buffers::GROUP;
use super::complete::Completion;
use super::data::{Kind, pack, unpack};
use super::socket::{NONE, Socket};
use crate::io::{Backlog, Happened, Key, Piece};
use weir_core::limits::BACKLOG_MAX;

/// How long the last operations may take to end before their memory is leaked instead.
const QUIESCE: Duration = Duration::from_millis(500);

impl Ring {
    /// Queues one operation. What it points to must live until it is complete (or, for the batch, submitted).
    pub(super) fn push(&mut self, entry: &squeue::Entry) {
        loop {
            // SAFETY: every operation pushed in this module points to memory that outlives it: the batch, buffers and arena
            // until settled; backlogs and addresses until their socket has nothing in flight; see also `Drop for Ring`.
            if unsafe { self.ring.submission().push(entry) }.is_ok() {
                return;
            }
            self.enter(None);
        }
    }

    /// Submits everything, without waiting, and settles the batch: afterwards nothing is pinned.
    pub(super) fn flush(&mut self) {
        self.prepare_batch();
        if !self.ring.submission().is_empty() {
            self.enter(None);
        }
        self.settle();
    }

    pub(super) fn submit_and_wait(&mut self, at_most: Duration) {
        self.prepare_batch();
        self.enter(Some(at_most));
        self.settle();
    }

    fn prepare_batch(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        let mut prepared = std::mem::take(&mut self.prepared);
        self.batch
            .prepare(&self.buffers, &self.arena, &mut prepared);
        for entry in prepared.drain(..) {
            self.push(&entry);
        }
        self.prepared = prepared;
    }

    /// Enters the kernel until it has taken every queued operation.
    fn enter(&mut self, wait: Option<Duration>) {
        let mut wait = wait;
        loop {
            let entries = self.ring.submission().len() as u32;
            self.stats.system_calls += 1;
            let done = match wait {
                Some(at_most) => self.enter.submit_and_wait(entries, at_most),
                None => {
                    let overflow = self.ring.submission().cq_overflow();
                    self.enter.submit(entries, overflow)
                }
            };
            self.drain();
            match done.as_ref().map_err(io::Error::raw_os_error) {
                Ok(_) | Err(Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => {}
                Err(Some(libc::EAGAIN)) => std::thread::yield_now(),
                Err(_) => panic!("io_uring_enter failed: {done:?}"),
            }
            if self.ring.submission().is_empty() {
                return;
            }
            wait = None;
        }
    }

    /// Takes every completion out of the ring, so that it can't overflow. Silent sends that spoke up are dealt with at once,
    /// because their bytes are about to be overwritten.
    fn drain(&mut self) {
        let mut short: Vec<(Key, i32)> = Vec::new();
        for cqe in self.ring.completion() {
            let Some((kind, key)) = unpack(cqe.user_data()) else {
                continue;
            };
            if kind == Kind::QuickSend {
                short.push((key, cqe.result()));
                continue;
            }
            self.completions.push_back(Completion {
                kind,
                key,
                result: cqe.result(),
                flags: cqe.flags(),
            });
        }
        for (key, result) in short {
            self.came_up_short(key, result);
        }
    }

    fn came_up_short(&mut self, key: Key, result: i32) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let sent = match result {
            0.. => usize::try_from(result).unwrap_or(0),
            _ if result == -libc::EAGAIN || result == -libc::EINTR => 0,
            _ => {
                socket.broken = true;
                self.ready.push_back(Happened::SendFailed { key });
                return;
            }
        };
        let mut backlog = Box::<Backlog>::default();
        self.batch
            .rest(socket.batched, sent, &self.buffers, &self.arena, |bytes| {
                backlog.push(bytes);
            });
        if backlog.len() == 0 {
            return;
        }
        socket.backlog = Some(backlog);
        self.stats.congested += 1;
        self.ready.push_back(Happened::Congested { key });
    }

    /// After the kernel has taken the batch: forgets it, frees what it pinned, and lets sockets that came up short wait.
    fn settle(&mut self) {
        if self.batch.is_empty() {
            self.arena.clear();
            self.buffers.unpark();
            return;
        }
        self.stats.bytes_out += self.batch.total();
        let batch = std::mem::take(&mut self.batch);
        for key in batch.keys() {
            let Some(socket) = self.sockets.get_mut(key) else {
                continue;
            };
            socket.batched = NONE;
            if socket.backlog.is_some() {
                self.send_backlog(key);
            }
        }
        self.batch = batch;
        self.batch.clear();
        self.arena.clear();
        self.buffers.unpark();
        while let Some(key) = self.finishing.pop() {
            self.finish_if_out(key);
        }
    }

    /// Keeps a piece behind what already waits.
    pub(super) fn keep(&mut self, key: Key, piece: &Piece) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let Some(backlog) = socket.backlog.as_mut() else {
            return;
        };
        match piece {
            Piece::Lent { buffer, start, end } => {
                backlog.push(self.buffers.part(*buffer, *start, *end));
            }
            Piece::Arena { start, end } => backlog.push(self.arena.get(*start, *end)),
            Piece::Owned(bytes) => backlog.push(bytes),
        }
        if backlog.len() > BACKLOG_MAX {
            socket.broken = true;
            self.ready.push_back(Happened::SendFailed { key });
        }
    }

    /// Sends the front of a backlog and waits for room as long as it takes.
    pub(super) fn send_backlog(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let fd = types::Fd(socket.raw_fd());
        let Some(backlog) = socket.backlog.as_mut() else {
            return;
        };
        let front = backlog.front();
        let len = u32::try_from(front.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(fd, front.as_ptr(), len)
            .flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL)
            .build()
            .user_data(pack(Kind::Send, key));
        self.count(key);
        self.push(&entry);
    }

    /// One more operation of this socket will complete.
    fn count(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.in_flight += 1;
            self.in_flight += 1;
        }
    }

    pub(super) fn arm_receive(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.armed = true;
        let entry = opcode::RecvMulti::new(types::Fd(socket.raw_fd()), GROUP)
            .build()
            .user_data(pack(Kind::Receive, key));
        self.count(key);
        self.push(&entry);
    }

    /// Arms receives that had no buffer, as far as there are buffers now.
    pub(super) fn feed_starved(&mut self) {
        if !self.buffers.any_offered() {
            return;
        }
        for key in std::mem::take(&mut self.starved) {
            let socket = self.sockets.get(key);
            if socket.is_some_and(|s| s.want && !s.armed && !s.ended && !s.releasing) {
                self.arm_receive(key);
            }
        }
    }

    pub(super) fn start_connect(&mut self, key: Key, to: SocketAddr) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let address = socket.address.insert(Box::new(SockAddr::from(to)));
        let (pointer, len) = (address.as_ptr(), address.len());
        let entry = opcode::Connect::new(types::Fd(socket.raw_fd()), pointer.cast(), len)
            .build()
            .user_data(pack(Kind::Connect, key));
        self.count(key);
        self.push(&entry);
    }

    pub(super) fn arm_wake(&mut self) {
        let fd = types::Fd(std::os::fd::AsRawFd::as_raw_fd(&*self.waker));
        let entry = opcode::Read::new(fd, self.wake_count.as_mut_ptr(), 8)
            .build()
            .user_data(pack(Kind::Wake, NO_KEY));
        self.in_flight += 1;
        self.push(&entry);
    }

    pub(super) fn cancel(&mut self, kind: Kind, key: Key) {
        let entry = opcode::AsyncCancel::new(pack(kind, key))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(pack(Kind::Other, key));
        self.push(&entry);
    }

    pub(super) fn finish_if_out(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if !socket.finishing || socket.backlog.is_some() || socket.batched != NONE {
            return;
        }
        socket.finishing = false;
        if !socket.broken {
            crate::sys::shutdown(socket.fd.as_fd(), Shutdown::Write);
        }
        self.ready.push_back(Happened::Finished { key });
    }

    pub(super) fn start_release(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        self.batch.kill(socket.batched);
        socket.batched = NONE;
        socket.want = false;
        socket.releasing = true;
        socket.finishing = false;
        if socket.in_flight == 0 {
            self.close(key);
            return;
        }
        // Closing would not end an armed receive; a shutdown does, and the waiting send too.
        crate::sys::shutdown(socket.fd.as_fd(), Shutdown::Both);
        if socket.address.is_some() {
            self.cancel(Kind::Connect, key);
        }
    }

    pub(super) fn close(&mut self, key: Key) {
        let Some(Socket { fd, .. }) = self.sockets.remove(key) else {
            return;
        };
        let entry = opcode::Close::new(types::Fd(fd.into_raw_fd()))
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(pack(Kind::Other, key));
        self.push(&entry);
        self.ready.push_back(Happened::Released { key });
    }

    pub(super) fn start_detach(&mut self, key: Key) {
        self.flush();
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.want = false;
        socket.detaching = true;
        socket.tainted |= socket.ended || socket.broken || socket.backlog.is_some();
        if socket.tainted {
            crate::sys::shutdown(socket.fd.as_fd(), Shutdown::Both);
        }
        if socket.armed && !socket.cancelling {
            socket.cancelling = true;
            self.cancel(Kind::Receive, key);
        }
        self.detach_if_idle(key);
    }

    pub(super) fn detach_if_idle(&mut self, key: Key) {
        let idle = self.sockets.get(key).is_some_and(|s| s.in_flight == 0);
        if !idle {
            return;
        }
        if let Some(mut socket) = self.sockets.remove(key) {
            // What arrived just before the receive was cancelled is still in the socket.
            let peeked = crate::sys::receive(socket.raw_fd(), &mut [0], libc::MSG_PEEK);
            let quiet = |error: io::Error| error.kind() == io::ErrorKind::WouldBlock;
            socket.tainted |= !peeked.is_err_and(quiet);
            let fd = (!socket.tainted).then_some(socket.fd);
            self.ready.push_back(Happened::Detached { key, fd });
        }
    }

    /// Ends everything under way and waits for it, with a bound.
    pub(super) fn quiesce(&mut self) {
        self.cancel_accepts();
        for key in self.sockets.keys() {
            self.start_release(key);
        }
        self.waker.wake();
        let end = Instant::now() + QUIESCE;
        self.stopping = true;
        while self.in_flight > 0 && Instant::now() < end {
            self.submit_and_wait(Duration::from_millis(10));
            while let Some(completion) = self.completions.pop_front() {
                if let Some(Happened::Received { lent, .. }) = self.complete(completion) {
                    self.buffers.give_back(lent);
                }
            }
        }
        self.flush();
    }
}

const NO_KEY: Key = Key {
    index: 0,
    generation: 0,
};
