//! Clients that are not logged in yet, a few messages per loop turn: a storm of logins must not hold up the queries of those who are.
//!
//! Where more clients wait for a backend than have one, newcomers get less: letting them in faster than those inside are served only
//! makes the queue longer, and the turns, in which backends come free, too.
//!
//! What comes of a newcomer beyond a turn's measure is copied and waits its turn, and nothing more is read of it until then.

use weir_core::ids::ConnId;
use weir_core::limits::{
    ACCEPTS_CROWDED, ACCEPTS_PER_TURN, LOGIN_STEPS_CROWDED, LOGIN_STEPS_PER_TURN,
};

use super::Driver;
use super::machine::Machine;
use crate::io::{Io, Key, Lent};

impl<M: Machine, I: Io> Driver<M, I> {
    /// What newcomers get of the turn that begins.
    pub(super) fn pace_newcomers(&mut self) {
        let crowded = self.machine.crowded();
        self.login_steps = if crowded {
            LOGIN_STEPS_CROWDED
        } else {
            LOGIN_STEPS_PER_TURN
        };
        self.io.accept_at_most(if crowded {
            ACCEPTS_CROWDED
        } else {
            ACCEPTS_PER_TURN
        });
    }

    /// Something of a newcomer: at once while there is measure left and nobody waits, else later.
    pub(super) fn newcomer_received(&mut self, key: Key, conn: ConnId, lent: Lent) {
        if self.login_steps > 0 && self.newcomers.is_empty() {
            self.login_steps -= 1;
            return self.deliver(key, conn, lent);
        }
        let bytes = self.io.bytes(&lent).to_vec();
        self.io.give_back(lent);
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.later += 1;
            self.newcomers.push_back((key, bytes));
            self.io.read(key, false);
        }
    }

    /// The newcomers' turn, behind everyone else's.
    pub(super) fn serve_newcomers(&mut self) {
        while self.login_steps > 0
            && let Some((key, bytes)) = self.newcomers.pop_front()
        {
            self.login_steps -= 1;
            self.newcomer_step(key, bytes);
        }
    }

    fn newcomer_step(&mut self, key: Key, mut bytes: Vec<u8>) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.later = socket.later.saturating_sub(1);
        let last = socket.later == 0;
        match socket.conn {
            Some(_) if socket.told_end => {}
            Some(conn) if socket.tls.is_none() => {
                self.plain.clone_from(&bytes);
                self.deliver_own(conn);
            }
            Some(conn) => self.decrypt_bytes(key, conn, &mut bytes),
            None => {}
        }
        if !last {
            return;
        }
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        match socket.ended {
            _ if socket.releasing => {}
            Some(how) => self.ended(key, how),
            None => {
                // One that the core has closed is read for its end to be seen.
                let read = socket.read || socket.conn.is_none();
                self.io.read(key, read);
            }
        }
    }
}
