//! The ring's side of each socket.

use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use socket2::SockAddr;

use crate::io::{Backlog, Key};

/// No entry of the batch.
pub(super) const NONE: u32 = u32::MAX;

/// A socket that the ring works for.
pub(super) struct Socket {
    pub(super) fd: OwnedFd,
    pub(super) generation: u32,
    /// Operations on it that the kernel will still complete.
    pub(super) in_flight: u32,
    /// Its entry in the batch, or [`NONE`].
    pub(super) batched: u32,
    /// What it did not take; exists only then.
    pub(super) backlog: Option<Box<Backlog>>,
    /// Where it is connecting to; the kernel reads it.
    pub(super) address: Option<Box<SockAddr>>,
    /// The driver wants it read.
    pub(super) want: bool,
    /// A receive is armed.
    pub(super) armed: bool,
    /// The armed receive is being cancelled.
    pub(super) cancelling: bool,
    /// Nothing more can be received.
    pub(super) ended: bool,
    /// Nothing more can be sent.
    pub(super) broken: bool,
    /// FIN is due when everything is out.
    pub(super) finishing: bool,
    /// To be closed as soon as nothing is in flight.
    pub(super) releasing: bool,
    /// To be given up as soon as nothing is in flight.
    pub(super) detaching: bool,
    /// Something arrived while it was being given up.
    pub(super) tainted: bool,
}

impl Socket {
    fn new(fd: OwnedFd, generation: u32) -> Socket {
        Socket {
            fd,
            generation,
            in_flight: 0,
            batched: NONE,
            backlog: None,
            address: None,
            want: false,
            armed: false,
            cancelling: false,
            ended: false,
            broken: false,
            finishing: false,
            releasing: false,
            detaching: false,
            tainted: false,
        }
    }

    pub(super) fn raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// All sockets, by the driver's index.
#[derive(Default)]
pub(super) struct Sockets {
    table: Vec<Option<Socket>>,
    live: usize,
}

impl Sockets {
    pub(super) fn insert(&mut self, key: Key, fd: OwnedFd) {
        let index = key.index as usize;
        if self.table.len() <= index {
            self.table.resize_with(index + 1, || None);
        }
        if let Some(place) = self.table.get_mut(index) {
            self.live += usize::from(place.is_none());
            debug_assert!(place.as_ref().is_none_or(|s| s.in_flight == 0));
            *place = Some(Socket::new(fd, key.generation));
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

    pub(super) fn keys(&self) -> Vec<Key> {
        let places = self.table.iter().enumerate();
        let key = |(index, place): (usize, &Option<Socket>)| {
            let generation = place.as_ref()?.generation;
            let index = u32::try_from(index).ok()?;
            Some(Key { index, generation })
        };
        places.filter_map(key).collect()
    }
}
