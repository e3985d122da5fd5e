//! The driver's table of sockets: what each is for, its TLS, and how far its end has come.

use std::net::SocketAddr;

use weir_core::ids::{ConnId, ShardId};

use crate::io::{Ended, Key};
use crate::tls::session::Session;

/// Generations of keys have 24 bits.
const GENERATION_MASK: u32 = 0x00ff_ffff;
/// No socket.
const NONE: u32 = u32::MAX;

/// One socket.
pub(super) struct Socket<B> {
    /// Who it is to the core; `None` once the core has closed it.
    pub(super) conn: Option<ConnId>,
    /// TLS state; none for plain connections.
    pub(super) tls: Option<Box<Session>>,
    /// The handshake is not done.
    pub(super) handshaking: bool,
    /// A client that has not logged in yet.
    pub(super) newcomer: bool,
    /// Pieces of a newcomer's bytes that wait for their turn.
    pub(super) later: u16,
    /// A handshake step is queued.
    pub(super) queued: bool,
    /// The core wants it read.
    pub(super) read: bool,
    /// Reading has ended; while `queued`, handshake bytes that came before still wait to be looked at.
    pub(super) ended: Option<Ended>,
    /// The core knows that it is over.
    pub(super) told_end: bool,
    /// Sending has failed.
    pub(super) failed: bool,
    /// A connect is under way.
    pub(super) connecting: bool,
    /// All bytes and FIN are out.
    pub(super) finished: bool,
    /// Being closed.
    pub(super) releasing: bool,
    /// The listener it came in by; of clients only.
    pub(super) listener: u16,
    /// Where it was connected to; of targets only. Apart, since there are many more clients.
    pub(super) target: Option<Box<Target>>,
    /// Where it goes, and the core's side of it.
    pub(super) moving: Option<Box<(ShardId, B)>>,
}

/// What is known of a target's addresses.
#[derive(Default)]
pub(super) struct Target {
    /// The address it was connected to.
    pub(super) address: Option<SocketAddr>,
    /// Addresses that have not been tried yet, the next one last.
    pub(super) others: Vec<SocketAddr>,
}

/// All sockets of a shard, by key and by the core's name.
pub(super) struct Sockets<B> {
    slots: Vec<(u32, Option<Socket<B>>)>,
    free: Vec<u32>,
    /// Index by the core's slot.
    by_conn: Vec<u32>,
}

impl<B> Default for Sockets<B> {
    fn default() -> Sockets<B> {
        Sockets {
            slots: Vec::new(),
            free: Vec::new(),
            by_conn: Vec::new(),
        }
    }
}

impl<B> Sockets<B> {
    /// A key for a new socket of `conn`.
    pub(super) fn insert(&mut self, conn: ConnId) -> Key {
        let socket = Socket {
            conn: Some(conn),
            tls: None,
            handshaking: false,
            newcomer: false,
            later: 0,
            queued: false,
            read: true,
            ended: None,
            told_end: false,
            failed: false,
            connecting: false,
            finished: false,
            releasing: false,
            listener: 0,
            target: None,
            moving: None,
        };
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.slots.push((0, None));
                u32::try_from(self.slots.len() - 1).unwrap_or(NONE)
            }
        };
        let mut generation = 0;
        if let Some(slot) = self.slots.get_mut(index as usize) {
            slot.1 = Some(socket);
            generation = slot.0;
        }
        let at = conn.slot as usize;
        if self.by_conn.len() <= at {
            self.by_conn.resize(at + 1, NONE);
        }
        if let Some(entry) = self.by_conn.get_mut(at) {
            *entry = index;
        }
        Key { index, generation }
    }

    pub(super) fn get_mut(&mut self, key: Key) -> Option<&mut Socket<B>> {
        let (generation, socket) = self.slots.get_mut(key.index as usize)?;
        if *generation == key.generation {
            socket.as_mut()
        } else {
            None
        }
    }

    /// The key of the core's connection.
    pub(super) fn key_of(&self, conn: ConnId) -> Option<Key> {
        let index = *self.by_conn.get(conn.slot as usize)?;
        let (generation, socket) = self.slots.get(index as usize)?;
        let same = socket.as_ref()?.conn == Some(conn);
        same.then_some(Key {
            index,
            generation: *generation,
        })
    }

    /// The core's name for a socket, as long as it has one.
    pub(super) fn conn_of(&mut self, key: Key) -> Option<ConnId> {
        self.get_mut(key)?.conn
    }

    /// Whether a socket that the core has closed still has bytes to send, or waits for its peer.
    pub(super) fn any_leaving(&self) -> bool {
        let mut sockets = self.slots.iter().filter_map(|(_, socket)| socket.as_ref());
        sockets.any(|s| s.conn.is_none() && !s.releasing && s.moving.is_none())
    }

    /// The socket is gone; its key is stale from here on.
    pub(super) fn remove(&mut self, key: Key) -> Option<Socket<B>> {
        let (generation, socket) = self.slots.get_mut(key.index as usize)?;
        if *generation != key.generation {
            return None;
        }
        let socket = socket.take()?;
        *generation = (*generation + 1) & GENERATION_MASK;
        self.free.push(key.index);
        Some(socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conn(slot: u32, generation: u32) -> ConnId {
        ConnId { slot, generation }
    }

    #[test]
    fn a_slot_used_again_does_not_lead_to_the_old_socket() {
        let mut sockets = Sockets::<()>::default();
        let old = sockets.insert(conn(3, 0));
        sockets.get_mut(old).unwrap().conn = None;
        let new = sockets.insert(conn(3, 1));
        assert_eq!(sockets.key_of(conn(3, 0)), None);
        assert_eq!(sockets.key_of(conn(3, 1)), Some(new));
        assert!(sockets.remove(old).is_some());
        assert!(sockets.get_mut(old).is_none());
        assert_eq!(sockets.conn_of(new), Some(conn(3, 1)));
    }
}
