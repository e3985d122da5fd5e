//! What the operating system reports, on its way to the core.

use std::os::fd::{AsFd, OwnedFd};

use weir_core::ids::{ConnId, ListenerId};
use weir_core::limits::LINGER_PEER;
use weir_core::seam::{Event, Lost};

use super::machine::Machine;
use super::mailbox::Letter;
use super::{Driver, Source};
use crate::io::{Ended, Happened, Io, Key, Lent, Piece};

impl<M: Machine, I: Io> Driver<M, I> {
    pub(super) fn happened(&mut self, happened: Happened) {
        match happened {
            Happened::Accepted { listener, fd } => self.accepted(listener, fd),
            Happened::AcceptFailed { listener, errno } => self.pause_accepting(listener, errno),
            Happened::Connected { key, result } => self.connected(key, result),
            Happened::Received { key, lent } => self.received(key, lent),
            Happened::Ended { key, how } => self.ended(key, how),
            Happened::Congested { key } => {
                if let Some(conn) = self.sockets.conn_of(key) {
                    self.tell(Event::Congested { conn });
                }
            }
            Happened::Drained { key } => {
                if let Some(conn) = self.sockets.conn_of(key) {
                    self.tell(Event::Drained { conn });
                }
            }
            Happened::SendFailed { key } => self.send_failed(key),
            Happened::Finished { key } => self.finished(key),
            Happened::Released { key } => {
                self.sockets.remove(key);
            }
            Happened::Detached { key, fd } => self.detached(key, fd),
            Happened::Woken => self.read_letters(),
        }
    }

    fn accepted(&mut self, listener: u16, fd: OwnedFd) {
        // A client that has no address any more has gone.
        let Some(peer) = crate::sys::peer_of(fd.as_fd()) else {
            return;
        };
        let listening = ListenerId(listener);
        let Some(conn) = self.machine.accept(self.now, listening, peer.ip()) else {
            return;
        };
        let key = self.sockets.insert(conn);
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.listener = listener;
            socket.newcomer = M::LOGS_IN;
        }
        self.io.attach(key, fd);
        self.io.read(key, true);
        self.do_ops();
    }

    fn connected(&mut self, key: Key, result: Result<(), std::io::Error>) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let Some(conn) = socket.conn else { return };
        socket.connecting = false;
        match result {
            Ok(()) => {
                if let Some(target) = socket.target.as_mut() {
                    target.others = Vec::new();
                }
                let read = socket.read;
                self.io.read(key, read);
                self.tell(Event::Connected { conn });
            }
            Err(error) => {
                let target = socket.target.take().unwrap_or_default();
                let address = target.address.map_or_else(String::new, |a| a.to_string());
                socket.conn = None;
                self.release(key);
                // The next address needs a socket, and so a key, of its own.
                let next = self.sockets.insert(conn);
                if let Some(socket) = self.sockets.get_mut(next) {
                    socket.target = Some(target);
                }
                self.connect_next(next, &format!("{address}: {error}"));
                self.do_ops();
            }
        }
    }

    fn received(&mut self, key: Key, lent: Lent) {
        let Some(socket) = self.sockets.get_mut(key) else {
            self.io.give_back(lent);
            return;
        };
        match socket.conn {
            Some(_) if socket.told_end => self.io.give_back(lent),
            Some(conn) if socket.handshaking => self.keep_for_handshake(key, conn, lent),
            Some(conn) if socket.newcomer || socket.later > 0 => {
                self.newcomer_received(key, conn, lent)
            }
            Some(conn) => self.deliver(key, conn, lent),
            // On its way out: nobody wants it, but it must be read for the end to be seen.
            None => self.io.give_back(lent),
        }
    }

    pub(super) fn deliver(&mut self, key: Key, conn: ConnId, lent: Lent) {
        let plain = self.sockets.get_mut(key).is_none_or(|s| s.tls.is_none());
        if plain {
            self.deliver_plain(conn, lent);
        } else {
            self.decrypt(key, conn, lent);
        }
    }

    fn deliver_plain(&mut self, conn: ConnId, lent: Lent) {
        let bytes = self.io.bytes(&lent);
        self.machine
            .handle(self.now, Event::Received { conn, bytes });
        self.source = Source::Lent(lent);
        self.do_ops();
        if let Source::Lent(lent) = std::mem::replace(&mut self.source, Source::Nowhere) {
            self.io.give_back(lent);
        }
    }

    fn decrypt(&mut self, key: Key, conn: ConnId, lent: Lent) {
        let Some(tls) = self.sockets.get_mut(key).and_then(|s| s.tls.as_mut()) else {
            self.io.give_back(lent);
            return;
        };
        self.plain.clear();
        let (bytes, arena) = self.io.bytes_and_arena(&lent);
        let from = arena.end();
        let done = tls.read(bytes, &mut self.plain, arena);
        self.io.give_back(lent);
        self.decrypted(key, conn, from, done);
    }

    /// The same with bytes of one's own.
    pub(super) fn decrypt_bytes(&mut self, key: Key, conn: ConnId, bytes: &mut [u8]) {
        let Some(tls) = self.sockets.get_mut(key).and_then(|s| s.tls.as_mut()) else {
            return;
        };
        self.plain.clear();
        let arena = self.io.arena();
        let from = arena.end();
        let done = tls.read(bytes, &mut self.plain, arena);
        self.decrypted(key, conn, from, done);
    }

    fn decrypted(&mut self, key: Key, conn: ConnId, from: usize, done: Result<(), rustls::Error>) {
        let end = self.io.arena().end();
        if end > from {
            self.io.send(key, Piece::Arena { start: from, end });
        }
        let over = self
            .sockets
            .get_mut(key)
            .and_then(|s| s.tls.as_ref())
            .is_some_and(|tls| tls.peer_closed());
        self.deliver_own(conn);
        match done {
            Err(error) => self.tls_failed(key, &error),
            Ok(()) if over => self.lost(key, Lost::Eof),
            Ok(()) => {}
        }
    }

    /// Hands [`Driver::plain`] to the core.
    pub(super) fn deliver_own(&mut self, conn: ConnId) {
        if self.plain.is_empty() {
            return;
        }
        let bytes = &self.plain;
        self.machine
            .handle(self.now, Event::Received { conn, bytes });
        self.source = Source::Plain;
        self.do_ops();
        self.source = Source::Nowhere;
    }

    pub(super) fn ended(&mut self, key: Key, how: Ended) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.ended = Some(how);
        if socket.conn.is_none() {
            // A peer that has only finished sending may still be reading what is on its way to it.
            if socket.moving.is_none() && (how == Ended::Reset || socket.finished) {
                self.release(key);
            }
            return;
        }
        if socket.queued || socket.later > 0 {
            // What came before is looked at first.
            return;
        }
        let why = match how {
            Ended::Eof => Lost::Eof,
            Ended::Reset => Lost::Reset,
        };
        self.lost(key, why);
    }

    /// Tells the core, or ends at last what is on its way out.
    pub(super) fn lost(&mut self, key: Key, why: Lost) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        match socket.conn {
            Some(conn) if !socket.told_end => {
                socket.told_end = true;
                let why = if socket.failed && why == Lost::Eof {
                    Lost::Reset
                } else {
                    why
                };
                self.tell(Event::Closed { conn, why });
            }
            None if socket.moving.is_none() => self.release(key),
            _ => {}
        }
    }

    /// What is sent does not arrive any more. What the peer had sent before may say why, and is still read.
    fn send_failed(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.failed = true;
        let read = socket.conn.is_some() && socket.read && socket.ended.is_none();
        if read {
            // The end of reading follows soon, and tells the core.
            self.io.abort(key);
        } else {
            self.lost(key, Lost::Reset);
        }
    }

    /// All bytes and FIN are out. Closing at once could reset what the peer has not read yet.
    fn finished(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.finished = true;
        if socket.conn.is_some() {
            // The core has only finished it, and waits for the peer's end.
            return;
        }
        if socket.ended.is_some() || socket.failed {
            self.release(key);
            return;
        }
        self.leaving.push_back((self.now.after(LINGER_PEER), key));
    }

    fn detached(&mut self, key: Key, fd: Option<OwnedFd>) {
        let Some(socket) = self.sockets.remove(key) else {
            return;
        };
        let Some((to, body)) = socket.moving.map(|moving| *moving) else {
            return;
        };
        let whole = socket
            .tls
            .as_ref()
            .is_none_or(|t| t.is_between_records() && !t.peer_closed());
        let letter = match fd {
            Some(fd) if whole => Letter::Moved {
                body,
                fd,
                tls: socket.tls,
            },
            _ => Letter::MoveFailed { body },
        };
        self.put_letter(to, letter);
    }
}
