//! Doing what the core says.

use std::sync::PoisonError;

use weir_core::ids::{ConnId, GroupId, ShardId};
use weir_core::limits::LINGER_FLUSH;
use weir_core::seam::{Close, Event, Lost, Op, TlsRole, Trace};

use super::hash::Request;
use super::machine::{Machine, Todo};
use super::mailbox::Letter;
use super::sockets::Target;
use super::{Driver, Later, Source};
use crate::io::{Arena, Ended, Io, Key, Piece};
use crate::report::Level;
use crate::tls::session::Session;

impl<M: Machine, I: Io> Driver<M, I> {
    /// Takes and does all operations, then tells the core what came of them, until there is nothing left.
    pub(super) fn do_ops(&mut self) {
        loop {
            while let Some(op) = self.machine.next_op() {
                self.do_todo(op);
            }
            let Some(later) = self.later.pop_front() else {
                return;
            };
            // What follows has no bytes of its own.
            let source = std::mem::replace(&mut self.source, Source::Nowhere);
            match later {
                Later::ConnectFailed(conn, error) => self
                    .machine
                    .handle(self.now, Event::ConnectFailed { conn, error }),
                Later::Lost(conn, why) => {
                    self.machine.handle(self.now, Event::Closed { conn, why })
                }
            }
            while let Some(op) = self.machine.next_op() {
                self.do_todo(op);
            }
            self.source = source;
        }
    }

    fn do_todo(&mut self, todo: Todo<M::Moved>) {
        match todo {
            Todo::Op(op) => self.do_op(op),
            Todo::Move { conn, to, body } => self.start_move(conn, to, body),
        }
    }

    fn do_op(&mut self, op: Op) {
        match op {
            Op::Forward { to, start, end } => self.forward(to, start, end),
            Op::Send { to, bytes } => self.send(to, bytes),
            Op::SendDraft { to, start, end } => self.send_draft(to, start, end),
            Op::Connect { conn, group } => self.connect(conn, group),
            Op::StartTls { conn, role, early } => self.start_tls(conn, role, early),
            Op::Read { conn, on } => self.set_reading(conn, on),
            Op::Finish { conn } => self.finish(conn),
            Op::Close { conn, how } => self.close(conn, how),
            Op::Hash { conn, job } => {
                if let Some(answer_to) = self.mailboxes.get(usize::from(self.number)).cloned() {
                    // Fails only when the process is ending.
                    let _ = self.hasher.send(Request {
                        conn,
                        job,
                        answer_to,
                    });
                }
            }
            Op::Mail { to, body } => {
                let from = ShardId(self.number);
                self.put_letter(to, Letter::Mail { from, body });
            }
            // `Machine::next_op` has made a `Todo::Move` of it.
            Op::Move { .. } => debug_assert!(false, "a move that is not a Todo::Move"),
            Op::Trace(trace) => {
                if let Trace::ClientReady { conn, .. } = &trace
                    && let Some(key) = self.sockets.key_of(*conn)
                    && let Some(socket) = self.sockets.get_mut(key)
                {
                    socket.newcomer = false;
                }
                self.sink.trace(self.number, &trace);
            }
        }
    }

    /// Gives a connection up for another shard.
    fn start_move(&mut self, conn: ConnId, to: ShardId, body: M::Moved) {
        let Some(key) = self.sockets.key_of(conn) else {
            self.put_letter(to, Letter::MoveFailed { body });
            return;
        };
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.conn = None;
        if socket.told_end || socket.failed || socket.connecting || socket.ended.is_some() {
            self.release(key);
            self.put_letter(to, Letter::MoveFailed { body });
            return;
        }
        socket.moving = Some(Box::new((to, body)));
        self.io.detach(key);
    }

    pub(super) fn put_letter(&self, to: ShardId, letter: Letter<M::Moved>) {
        if let Some(mailbox) = self.mailboxes.get(usize::from(to.0)) {
            mailbox.put(letter);
        }
    }

    /// From where the bytes landed straight to the socket; through encryption where the receiver has TLS.
    fn forward(&mut self, to: ConnId, start: usize, end: usize) {
        let Some(key) = self.sockets.key_of(to) else {
            return;
        };
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if socket.tls.is_none()
            && let Source::Lent(lent) = &self.source
        {
            let buffer = lent.buffer;
            return self.io.send(key, Piece::Lent { buffer, start, end });
        }
        let (bytes, arena) = match &self.source {
            Source::Lent(lent) => {
                let (bytes, arena) = self.io.bytes_and_arena(lent);
                (&*bytes, arena)
            }
            Source::Plain => (&*self.plain, self.io.arena()),
            Source::Nowhere => return,
        };
        let bytes = bytes.get(start..end).unwrap_or_default();
        let (done, piece) = put(socket.tls.as_deref_mut(), bytes, arena);
        self.send_put(key, to, done, piece);
    }

    fn send(&mut self, to: ConnId, bytes: Vec<u8>) {
        let Some(key) = self.sockets.key_of(to) else {
            return;
        };
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        if socket.tls.is_none() {
            return self.io.send(key, Piece::Owned(bytes));
        }
        let (done, piece) = put(socket.tls.as_deref_mut(), &bytes, self.io.arena());
        self.send_put(key, to, done, piece);
    }

    /// What the core has put together in its own buffer.
    fn send_draft(&mut self, to: ConnId, start: usize, end: usize) {
        let Some(key) = self.sockets.key_of(to) else {
            return;
        };
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let bytes = self.machine.draft().get(start..end).unwrap_or_default();
        let (done, piece) = put(socket.tls.as_deref_mut(), bytes, self.io.arena());
        self.send_put(key, to, done, piece);
    }

    fn send_put(&mut self, key: Key, to: ConnId, done: Result<(), rustls::Error>, piece: Piece) {
        match done {
            Ok(()) => self.io.send(key, piece),
            Err(error) => {
                self.sink.note(
                    Level::Warn,
                    "tls_error",
                    format!("encrypting failed: {error}"),
                );
                self.later.push_back(Later::Lost(to, Lost::Tls));
            }
        }
    }

    fn connect(&mut self, conn: ConnId, group: GroupId) {
        let mut addresses = {
            let targets = self.targets.read().unwrap_or_else(PoisonError::into_inner);
            targets
                .get(usize::from(group.0))
                .cloned()
                .unwrap_or_default()
        };
        addresses.reverse();
        let key = self.sockets.insert(conn);
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.target = Some(Box::new(Target {
                address: None,
                others: addresses,
            }));
        }
        self.connect_next(key, "its host name has no address (yet); check the target group's host and the name service");
    }

    /// Tries the next address of a target; `problem` is what to say when there is none.
    pub(super) fn connect_next(&mut self, key: Key, problem: &str) {
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let Some(conn) = socket.conn else {
            self.sockets.remove(key);
            return;
        };
        let Some(address) = socket.target.as_mut().and_then(|t| t.others.pop()) else {
            self.sockets.remove(key);
            self.later.push_back(Later::ConnectFailed(
                conn,
                format!("can't connect to the target: {problem}"),
            ));
            return;
        };
        match crate::sys::stream_socket(&address) {
            Ok(fd) => {
                if let Some(socket) = self.sockets.get_mut(key) {
                    socket.target.get_or_insert_default().address = Some(address);
                    socket.connecting = true;
                }
                self.io.connect(key, fd, address);
            }
            Err(error) => self.connect_next(key, &format!("{address}: {error}")),
        }
    }

    fn start_tls(&mut self, conn: ConnId, role: TlsRole, early: Option<usize>) {
        let Some(key) = self.sockets.key_of(conn) else {
            return;
        };
        let listener = self.sockets.get_mut(key).map_or(0, |s| s.listener);
        let session = match role {
            TlsRole::Server => self.server_session(listener),
            TlsRole::Client(group) => match self
                .tls
                .groups
                .get(usize::from(group.0))
                .and_then(Option::as_ref)
            {
                Some(target) => Session::client(target),
                None => Err(rustls::Error::General(
                    "no TLS is configured for this target".to_owned(),
                )),
            },
        };
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        let kept = session.and_then(|mut session| {
            if let Some(at) = early {
                let bytes = match &self.source {
                    Source::Lent(lent) => self.io.bytes(lent),
                    Source::Plain | Source::Nowhere => &self.plain,
                };
                session.keep(bytes.get(at..).unwrap_or_default())?;
            }
            Ok(session)
        });
        match kept {
            Ok(session) => {
                socket.tls = Some(Box::new(session));
                socket.handshaking = true;
                if early.is_some() || matches!(role, TlsRole::Client(_)) {
                    self.queue_handshake(key);
                }
            }
            Err(error) => {
                self.sink.note(
                    Level::Warn,
                    "tls_error",
                    format!("TLS can't be started: {error}"),
                );
                self.later.push_back(Later::Lost(conn, Lost::Tls));
            }
        }
    }

    fn server_session(&self, listener: u16) -> Result<Session, rustls::Error> {
        match self
            .tls
            .listeners
            .get(usize::from(listener))
            .and_then(Option::as_ref)
        {
            Some(config) => Session::server(config.clone()),
            None => Err(rustls::Error::General(
                "this listener has no certificate".to_owned(),
            )),
        }
    }

    fn set_reading(&mut self, conn: ConnId, on: bool) {
        let Some(key) = self.sockets.key_of(conn) else {
            return;
        };
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.read = on;
            // A connection that is not up yet is read from when it is.
            if !socket.connecting {
                let wanted = (on || socket.handshaking) && socket.later == 0;
                self.io.read(key, wanted);
            }
        }
    }

    /// Half a close: the peer's end is still to come, and is told to the core.
    fn finish(&mut self, conn: ConnId) {
        let Some(key) = self.sockets.key_of(conn) else {
            return;
        };
        let up = self
            .sockets
            .get_mut(key)
            .is_some_and(|s| !s.failed && !s.connecting && s.ended.is_none());
        if up {
            self.say_end(key);
        }
    }

    /// Sends close_notify where TLS is up, then FIN.
    fn say_end(&mut self, key: Key) {
        if let Some(tls) = self.sockets.get_mut(key).and_then(|s| s.tls.as_mut()) {
            let arena = self.io.arena();
            let from = arena.end();
            tls.close_notify(arena);
            let end = arena.end();
            if end > from {
                self.io.send(key, Piece::Arena { start: from, end });
            }
        }
        self.io.finish(key);
    }

    fn close(&mut self, conn: ConnId, how: Close) {
        let Some(key) = self.sockets.key_of(conn) else {
            return;
        };
        let Some(socket) = self.sockets.get_mut(key) else {
            return;
        };
        socket.conn = None;
        let dead = socket.failed || socket.connecting || socket.ended == Some(Ended::Reset);
        if how == Close::Now || dead {
            self.release(key);
            return;
        }
        if socket.ended.is_none() {
            // Also where the core had stopped reading: the peer's end must be seen, and what it still sends taken away.
            self.io.read(key, true);
        }
        self.say_end(key);
        self.flushing.push_back((self.now.after(LINGER_FLUSH), key));
    }

    /// Closes at once.
    pub(super) fn release(&mut self, key: Key) {
        if let Some(socket) = self.sockets.get_mut(key) {
            socket.releasing = true;
            self.io.release(key);
        }
    }
}

/// Puts bytes into the arena, encrypted where the receiver has TLS.
fn put(
    tls: Option<&mut Session>,
    bytes: &[u8],
    arena: &mut Arena,
) -> (Result<(), rustls::Error>, Piece) {
    let start = arena.end();
    let done = match tls {
        Some(tls) => tls.encrypt(bytes, arena),
        None => {
            arena.copy(bytes);
            Ok(())
        }
    };
    let end = arena.end();
    (done, Piece::Arena { start, end })
}
