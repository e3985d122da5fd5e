//! TLS handshakes, a few steps per loop turn: each is about a tenth of a millisecond in which no query moves.

use weir_core::ids::ConnId;
use weir_core::limits::HANDSHAKE_STEPS_PER_TURN;
use weir_core::seam::{Event, Lost};

use super::Driver;
use super::machine::Machine;
use crate::io::{Ended, Io, Key, Lent, Piece};
use crate::report::Level;

impl<M: Machine, I: Io> Driver<M, I> {
    /// Keeps what came for a handshake until its turn comes.
    pub(super) fn keep_for_handshake(&mut self, key: Key, conn: ConnId, lent: Lent) {
        let bytes = self.io.bytes(&lent);
        let kept = match self.sockets.get_mut(key).and_then(|s| s.tls.as_mut()) {
            Some(tls) => tls.keep(bytes),
            None => Ok(()),
        };
        self.io.give_back(lent);
        match kept {
            Ok(()) => self.queue_handshake(key),
            Err(error) => {
                self.sink.note(
                    Level::Warn,
                    "tls_error",
                    format!("TLS handshake failed: {error}"),
                );
                self.tell(Event::Closed {
                    conn,
                    why: Lost::Tls,
                });
            }
        }
    }

    pub(super) fn queue_handshake(&mut self, key: Key) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if !socket.queued {
            socket.queued = true;
            self.handshakes.push_back(key);
        }
    }

    /// Does the steps of this turn.
    pub(super) fn shake_hands(&mut self) {
        let mut steps = 0;
        while steps < HANDSHAKE_STEPS_PER_TURN
            && let Some(key) = self.handshakes.pop_front()
        {
            steps += usize::from(self.handshake_step(key));
        }
    }

    /// One step; whether there was one to do.
    fn handshake_step(&mut self, key: Key) -> bool {
        let Some(socket) = self.sockets.get_mut(key) else {
            return false;
        };
        socket.queued = false;
        let (Some(conn), Some(tls)) = (socket.conn, socket.tls.as_mut()) else {
            return false;
        };
        self.plain.clear();
        let arena = self.io.arena();
        let from = arena.end();
        let done = tls.read(&mut [], &mut self.plain, arena);
        let end = arena.end();
        let finished = done.is_ok() && !tls.is_handshaking();
        let over = tls.peer_closed();
        if end > from {
            self.io.send(key, Piece::Arena { start: from, end });
        }
        if let Err(error) = done {
            self.tls_failed(key, &error);
            return true;
        }
        if finished {
            self.handshake_done(key, conn);
        }
        let ended = self.sockets.get_mut(key).and_then(|s| s.ended);
        match ended {
            Some(Ended::Reset) => self.lost(key, Lost::Reset),
            Some(Ended::Eof) => self.lost(key, Lost::Eof),
            None if over => self.lost(key, Lost::Eof),
            None => {}
        }
        true
    }

    fn handshake_done(&mut self, key: Key, conn: ConnId) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.handshaking = false;
        let read = socket.read;
        let Some(tls) = socket.tls.as_ref() else {
            return;
        };
        let event = Event::TlsReady {
            conn,
            peer_end_point: tls.peer_end_point(),
            alpn_postgresql: tls.alpn_postgresql(),
        };
        self.io.read(key, read);
        let plain = std::mem::take(&mut self.plain);
        self.tell(event);
        self.plain = plain;
        if self.sockets.conn_of(key) == Some(conn) {
            self.deliver_own(conn);
        }
    }

    /// The alert is on its way to the peer; the operator hears the cause.
    pub(super) fn tls_failed(&mut self, key: Key, error: &rustls::Error) {
        let side = match self.sockets.get_mut(key) {
            Some(socket) if socket.target.is_some() => "with the target",
            _ => "with a client",
        };
        self.sink.note(
            Level::Warn,
            "tls_error",
            format!("TLS {side} failed: {error}"),
        );
        self.lost(key, Lost::Tls);
    }
}
