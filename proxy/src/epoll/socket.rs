//! The poller's side of each socket.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};

use super::waits;
use crate::io::{Backlog, Key};
use crate::sys::{receive, send};
use weir_core::limits::BACKLOG_MAX;

/// A socket that the poller works for.
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    generation: u32,
    /// What the epoll set has it for; 0: it is not in the set.
    pub(super) watched: u32,
    /// What it did not take; exists only then.
    pub(super) backlog: Option<Box<Backlog>>,
    /// The driver wants it read.
    pub(super) want: bool,
    /// A connect is under way.
    pub(super) connecting: bool,
    /// Nothing more can be received.
    pub(super) ended: bool,
    /// Nothing more can be sent.
    pub(super) broken: bool,
    /// FIN is due when everything is out.
    pub(super) finishing: bool,
}

impl Socket {
    pub(super) fn new(fd: OwnedFd, generation: u32) -> Socket {
        Socket {
            fd,
            generation,
            watched: 0,
            backlog: None,
            want: false,
            connecting: false,
            ended: false,
            broken: false,
            finishing: false,
        }
    }

    pub(super) fn interest(&self) -> u32 {
        let mut events = 0;
        if self.connecting {
            return libc::EPOLLOUT as u32;
        }
        if self.want && !self.ended {
            events |= libc::EPOLLIN;
        }
        if self.backlog.is_some() {
            events |= libc::EPOLLOUT;
        }
        events as u32
    }

    /// Sends behind what waits; keeps what the socket does not take. Answers how many bytes it took.
    pub(super) fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.broken {
            return Ok(0);
        }
        if let Some(backlog) = self.backlog.as_mut() {
            backlog.push(bytes);
            if backlog.len() > BACKLOG_MAX {
                return Err(io::ErrorKind::OutOfMemory.into());
            }
            return Ok(0);
        }
        let sent = match send(self.fd.as_raw_fd(), bytes) {
            Ok(sent) => sent,
            Err(error) if waits(&error) => 0,
            Err(error) => return Err(error),
        };
        let rest = bytes.get(sent..).unwrap_or_default();
        if !rest.is_empty() {
            self.backlog.get_or_insert_default().push(rest);
        }
        Ok(sent)
    }

    /// Nothing waits to be sent and nothing has arrived.
    pub(super) fn is_quiet(&mut self) -> bool {
        if self.ended || self.broken || self.backlog.is_some() {
            return false;
        }
        let peeked = receive(self.fd.as_raw_fd(), &mut [0], libc::MSG_PEEK);
        peeked.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }
}

/// All sockets, by the driver's index.
#[derive(Default)]
pub(super) struct Sockets {
    table: Vec<Option<Socket>>,
    live: usize,
}

impl Sockets {
    pub(super) fn insert(&mut self, key: Key, socket: Socket) {
        let index = key.index as usize;
        if self.table.len() <= index {
            self.table.resize_with(index + 1, || None);
        }
        if let Some(place) = self.table.get_mut(index) {
            self.live += usize::from(place.is_none());
            *place = Some(socket);
        }
    }

    pub(super) fn get(&self, key: Key) -> Option<&Socket> {
        let socket = self.table.get(key.index as usize)?.as_ref()?;
        (socket.generation == key.generation).then_some(socket)
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Socket> {
        let socket = self.table.get_mut(key.index as usize)?.as_mut()?;
        (socket.generation == key.generation).then_some(socket)
    }

    pub(super) fn len(&self) -> usize {
        self.live
    }

    pub(super) fn remove(&mut self, key: Key) -> Option<Socket> {
        self.get(key)?;
        let socket = self.table.get_mut(key.index as usize)?.take()?;
        self.live -= 1;
        Some(socket)
    }
}
