//! What completions mean.

use io_uring::cqueue;

use super::Ring;
use super::data::Kind;
use crate::io::{Ended, Happened, Key, Lent};

/// A completion, taken out of the ring.
pub(super) struct Completion {
    pub(super) kind: Kind,
    pub(super) key: Key,
    pub(super) result: i32,
    pub(super) flags: u32,
}

impl Ring {
    pub(super) fn complete(&mut self, completion: Completion) -> Option<Happened> {
        let Completion {
            kind,
            key,
            result,
            flags,
        } = completion;
        match kind {
            Kind::Receive => self.complete_receive(key, result, flags),
            Kind::Send => self.complete_send(key, result),
            Kind::Connect => self.complete_connect(key, result),
            Kind::Accept => self.complete_accept(key, result),
            Kind::Wake => self.complete_wake(),
            Kind::QuickSend | Kind::Other => None,
        }
    }

    fn complete_wake(&mut self) -> Option<Happened> {
        self.in_flight = self.in_flight.saturating_sub(1);
        if !self.stopping {
            self.arm_wake();
        }
        Some(Happened::Woken)
    }

    /// One operation of a socket is over.
    fn discount(&mut self, key: Key) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.in_flight = socket.in_flight.saturating_sub(1);
        }
    }

    fn complete_receive(&mut self, key: Key, result: i32, flags: u32) -> Option<Happened> {
        let len = u32::try_from(result).unwrap_or(0);
        let lent = cqueue::buffer_select(flags).map(|buffer| self.buffers.lend(buffer, len));
        let over = !cqueue::more(flags);
        if over {
            self.discount(key);
        }
        if let Some(socket) = self.sockets.get_mut(key) {
            if over {
                socket.armed = false;
                socket.cancelling = false;
            }
            socket.ended |= ends(result);
            if socket.releasing || socket.detaching {
                socket.tainted |= result > 0 || ends(result);
                self.drop_lent(lent);
                self.leave_if_idle(key);
                return None;
            }
        }
        match lent {
            Some(lent) if result > 0 => self.received(key, lent, over),
            lent => {
                self.drop_lent(lent);
                self.not_received(key, result)
            }
        }
    }

    fn received(&mut self, key: Key, lent: Lent, over: bool) -> Option<Happened> {
        let Some(socket) = self.sockets.get(key) else {
            self.buffers.give_back(lent);
            return None;
        };
        self.stats.bytes_in += u64::from(lent.len);
        if over && socket.want {
            self.arm_receive(key);
        }
        Some(Happened::Received { key, lent })
    }

    fn not_received(&mut self, key: Key, result: i32) -> Option<Happened> {
        let want = self.sockets.get(key)?.want;
        match -result {
            0 => {
                let how = Ended::Eof;
                Some(Happened::Ended { key, how })
            }
            libc::ENOBUFS => {
                self.stats.buffers_exhausted += 1;
                self.starved.push(key);
                None
            }
            libc::ECANCELED | libc::EINTR | libc::EAGAIN => {
                if want {
                    self.arm_receive(key);
                }
                None
            }
            _ => {
                let how = Ended::Reset;
                Some(Happened::Ended { key, how })
            }
        }
    }

    fn drop_lent(&mut self, lent: Option<Lent>) {
        if let Some(lent) = lent {
            self.buffers.give_back(lent);
        }
    }

    fn complete_send(&mut self, key: Key, result: i32) -> Option<Happened> {
        self.discount(key);
        let socket = self.sockets.get_mut(key)?;
        if socket.releasing || socket.detaching {
            self.leave_if_idle(key);
            return None;
        }
        let backlog = socket.backlog.as_mut()?;
        match result {
            1.. => backlog.advance(usize::try_from(result).unwrap_or(0)),
            _ if result == -libc::EINTR || result == -libc::EAGAIN => {}
            _ => {
                socket.backlog = None;
                let told = std::mem::replace(&mut socket.broken, true);
                return (!told).then_some(Happened::SendFailed { key });
            }
        }
        if socket.broken {
            socket.backlog = None;
            return None;
        }
        if !backlog.front().is_empty() {
            self.send_backlog(key);
            return None;
        }
        socket.backlog = None;
        self.finish_if_out(key);
        Some(Happened::Drained { key })
    }

    fn complete_connect(&mut self, key: Key, result: i32) -> Option<Happened> {
        self.discount(key);
        let socket = self.sockets.get_mut(key)?;
        socket.address = None;
        if socket.releasing {
            self.leave_if_idle(key);
            return None;
        }
        let result = match result {
            0 => Ok(()),
            _ => Err(std::io::Error::from_raw_os_error(-result)),
        };
        Some(Happened::Connected { key, result })
    }

    fn leave_if_idle(&mut self, key: Key) {
        let Some(socket) = self.sockets.get(key) else {
            return;
        };
        if socket.in_flight > 0 {
            return;
        }
        if socket.releasing {
            self.close(key);
        } else {
            self.detach_if_idle(key);
        }
    }
}

/// Whether a receive's result says that there will be no other.
fn ends(result: i32) -> bool {
    result <= 0
        && !matches!(
            -result,
            libc::ENOBUFS | libc::ECANCELED | libc::EINTR | libc::EAGAIN
        )
}
