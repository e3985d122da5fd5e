//! Accepting clients: a fixed number of single accepts, not a multishot one. The kernel runs a multishot accept until nobody
//! is waiting any more, so a flood of connects would fill one loop turn while other clients' queries wait behind it.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::{opcode, squeue, types};

use super::Ring;
use super::data::{Kind, pack};
use crate::io::{Happened, Key};

/// A listening socket.
pub(super) struct Listening {
    id: u16,
    /// `None` once accepting has been stopped.
    socket: Option<TcpListener>,
    /// Accepts under way.
    armed: u32,
    stopping: bool,
}

impl Listening {
    pub(super) fn new(id: u16, socket: TcpListener) -> Listening {
        Listening {
            id,
            socket: Some(socket),
            armed: 0,
            stopping: false,
        }
    }
}

fn key_of(place: usize) -> Key {
    Key {
        index: place as u32,
        generation: 0,
    }
}

impl Ring {
    /// Brings the accepts under way up to their number.
    pub(super) fn arm_accepts(&mut self, place: usize) {
        let Some(listening) = self.listeners.get_mut(place) else {
            return;
        };
        let Some(socket) = &listening.socket else {
            return;
        };
        if listening.stopping {
            return;
        }
        let fd = types::Fd(socket.as_raw_fd());
        let missing = self.accepts.saturating_sub(listening.armed);
        listening.armed += missing;
        let entry = opcode::Accept::new(fd, std::ptr::null_mut(), std::ptr::null_mut())
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(pack(Kind::Accept, key_of(place)));
        for _ in 0..missing {
            self.in_flight += 1;
            self.push(&entry);
        }
    }

    pub(super) fn rearm_accepts(&mut self) {
        for place in 0..self.listeners.len() {
            self.arm_accepts(place);
        }
    }

    pub(super) fn cancel_accepts(&mut self) {
        for place in 0..self.listeners.len() {
            let Some(listening) = self.listeners.get_mut(place) else {
                continue;
            };
            listening.stopping = true;
            if listening.armed > 0 {
                self.cancel_all_accepts(place);
            } else {
                self.close_listener(place);
            }
        }
    }

    /// Those who are in the kernel's queue have been told that they are connected: they are taken first.
    fn close_listener(&mut self, place: usize) {
        let Some(listening) = self.listeners.get_mut(place) else {
            return;
        };
        let Some(socket) = listening.socket.take() else {
            return;
        };
        if socket.set_nonblocking(true).is_err() {
            return;
        }
        while let Ok((stream, _)) = socket.accept() {
            self.ready.push_back(Happened::Accepted {
                listener: listening.id,
                fd: OwnedFd::from(stream),
            });
        }
    }

    fn cancel_all_accepts(&mut self, place: usize) {
        let which = types::CancelBuilder::user_data(pack(Kind::Accept, key_of(place))).all();
        let entry = opcode::AsyncCancel2::new(which)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS)
            .user_data(pack(Kind::Other, key_of(place)));
        self.push(&entry);
    }

    pub(super) fn complete_accept(&mut self, key: Key, result: i32) -> Option<Happened> {
        let place = key.index as usize;
        let listening = self.listeners.get_mut(place)?;
        let listener = listening.id;
        let stopping = listening.stopping;
        listening.armed = listening.armed.saturating_sub(1);
        let last = listening.armed == 0;
        self.in_flight = self.in_flight.saturating_sub(1);
        let happened = match result {
            // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
            0.. => Some(unsafe { OwnedFd::from_raw_fd(result) }),
            _ => None,
        }
        .map(|fd| Happened::Accepted { listener, fd });
        if stopping {
            if last {
                // In the order in which they came.
                self.ready.extend(happened);
                self.close_listener(place);
                return None;
            }
        } else if happened.is_some() || result == -libc::ECONNABORTED {
            self.arm_accepts(place);
        } else {
            let errno = -result;
            return Some(Happened::AcceptFailed { listener, errno });
        }
        happened
    }
}
