//! Accepting clients.

use std::net::TcpListener;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use io_uring::{cqueue, opcode, types};

use super::Ring;
use super::data::{Kind, pack};
use crate::io::{Happened, Key};

/// A listening socket.
pub(super) struct Listening {
    id: u16,
    /// `None` once accepting has been stopped.
    socket: Option<TcpListener>,
    armed: bool,
    stopping: bool,
}

impl Listening {
    pub(super) fn new(id: u16, socket: TcpListener) -> Listening {
        Listening {
            id,
            socket: Some(socket),
            armed: false,
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
    pub(super) fn arm_accept(&mut self, place: usize) {
        let Some(listening) = self.listeners.get_mut(place) else {
            return;
        };
        let Some(socket) = &listening.socket else {
            return;
        };
        if listening.armed || listening.stopping {
            return;
        }
        listening.armed = true;
        let entry = opcode::AcceptMulti::new(types::Fd(socket.as_raw_fd()))
            .flags(libc::SOCK_CLOEXEC)
            .build()
            .user_data(pack(Kind::Accept, key_of(place)));
        self.in_flight += 1;
        self.push(&entry);
    }

    pub(super) fn rearm_accepts(&mut self) {
        for place in 0..self.listeners.len() {
            self.arm_accept(place);
        }
    }

    pub(super) fn cancel_accepts(&mut self) {
        for place in 0..self.listeners.len() {
            let Some(listening) = self.listeners.get_mut(place) else {
                continue;
            };
            listening.stopping = true;
            if listening.armed {
                self.cancel(Kind::Accept, key_of(place));
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

    pub(super) fn complete_accept(
        &mut self,
        key: Key,
        result: i32,
        flags: u32,
    ) -> Option<Happened> {
        let place = key.index as usize;
        let listening = self.listeners.get_mut(place)?;
        let listener = listening.id;
        let over = !cqueue::more(flags);
        let stopping = listening.stopping;
        if over {
            listening.armed = false;
            self.in_flight = self.in_flight.saturating_sub(1);
        }
        if result >= 0 {
            // SAFETY: the kernel has just given us this descriptor; nobody else owns it.
            let fd = unsafe { OwnedFd::from_raw_fd(result) };
            self.ready.push_back(Happened::Accepted { listener, fd });
        }
        if over && stopping {
            self.close_listener(place);
        } else if over && (result >= 0 || result == -libc::ECONNABORTED) {
            self.arm_accept(place);
        } else if result < 0 && !stopping {
            let errno = -result;
            return Some(Happened::AcceptFailed { listener, errno });
        }
        None
    }
}
