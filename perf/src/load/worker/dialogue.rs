//! What is said on one connection: connect, TLS, login, prepare, transaction after transaction.

use std::mem;

use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;

use super::{RECONNECT, Why, Worker};
use crate::load::conn::State;
use crate::load::run::nanos;
use crate::load::{plan, socket};
use crate::wire::{self, Malformed};

/// Messages whose bodies matter: Authentication, BackendKeyData, CopyInResponse, ErrorResponse, ReadyForQuery.
fn wanted(kind: u8) -> bool {
    matches!(kind, b'R' | b'K' | b'G' | b'E' | b'Z')
}

impl Worker<'_> {
    /// Starts to connect; `due` is when it was to.
    pub(super) fn connect(&mut self, i: usize, due: u64) {
        let conn = &mut self.conns[i];
        conn.connect_due = due;
        conn.heard = self.now;
        conn.state = State::Connecting;
        let token = (u64::from(conn.life) << 32) | i as u64;
        let opened = socket::connect(self.run.spec.to, self.run.spec.read_rate.is_some());
        let added = opened.and_then(|socket| {
            let flags = EventFlags::IN | EventFlags::OUT | EventFlags::ET | EventFlags::RDHUP;
            epoll::add(&self.epoll, &socket, EventData::new_u64(token), flags)?;
            Ok(socket)
        });
        match added {
            Ok(socket) => conn.socket = Some(socket),
            Err(e) => self.fail(i, socket::code(e), &e.to_string()),
        }
    }

    /// The system has something to say about a connect.
    pub(super) fn on_connected(&mut self, i: usize) {
        let Some(socket) = &self.conns[i].socket else {
            return;
        };
        if let Err(e) = socket::connected(socket) {
            return self.fail(i, socket::code(e), &e.to_string());
        }
        if self.run.tls.is_none() {
            return self.start_up(i);
        }
        self.conns[i].state = State::AskedTls;
        self.request.clear();
        wire::untyped(&mut self.request, |b| {
            b.extend_from_slice(&wire::SSL_REQUEST.to_be_bytes())
        });
        self.send_request(i);
    }

    fn start_up(&mut self, i: usize) {
        self.conns[i].state = State::Login;
        self.request.clear();
        self.request.extend_from_slice(&self.run.logins.startup);
        self.send_request(i);
    }

    /// Bytes have come from the socket.
    pub(super) fn on_bytes(&mut self, i: usize, bytes: &[u8]) {
        match self.conns[i].state {
            State::AskedTls => self.on_tls_answer(i, bytes),
            _ if self.conns[i].tls.is_some() => self.on_records(i, bytes),
            _ => self.on_plain(i, bytes),
        }
    }

    fn on_tls_answer(&mut self, i: usize, bytes: &[u8]) {
        let Some(clients) = self.run.tls.as_ref().filter(|_| bytes == b"S") else {
            let why = "the server does not offer TLS";
            return self.fail(i, "no-tls", why);
        };
        match clients.session() {
            Ok(session) => {
                self.conns[i].tls = Some(Box::new(session));
                self.conns[i].state = State::Handshake;
                let sent = self.conns[i].send_records(&mut self.scratch);
                self.check_sent(i, sent);
            }
            Err(e) => self.fail(i, "tls", &e.to_string()),
        }
    }

    fn on_records(&mut self, i: usize, bytes: &[u8]) {
        let mut plain = mem::take(&mut self.plain);
        plain.clear();
        let life = self.conns[i].life;
        let received = match &mut self.conns[i].tls {
            Some(tls) => tls.receive(bytes, &mut plain),
            None => Ok(()),
        };
        if self.conns[i].state == State::Handshake || received.is_err() {
            // Also the alert that says what is wrong.
            let sent = self.conns[i].send_records(&mut self.scratch);
            if received.is_ok() {
                self.check_sent(i, sent);
            }
        }
        match received {
            Err(e) => self.fail(i, "tls", &e.to_string()),
            Ok(()) if self.conns[i].life == life => {
                let shaking = self.conns[i]
                    .tls
                    .as_ref()
                    .is_some_and(|t| t.shaking_hands());
                if self.conns[i].state == State::Handshake && !shaking {
                    self.start_up(i);
                }
                self.on_plain(i, &plain);
            }
            Ok(()) => {}
        }
        self.plain = plain;
    }

    fn on_plain(&mut self, i: usize, bytes: &[u8]) {
        if self.tally.measured(self.now) {
            self.tally.bytes_in += bytes.len() as u64;
        }
        let life = self.conns[i].life;
        let mut splitter = mem::take(&mut self.conns[i].splitter);
        let mut rest = bytes;
        loop {
            match splitter.next(&mut rest, wanted) {
                Ok(Some((kind, body))) => self.on_message(i, kind, body),
                Ok(None) => break,
                Err(Malformed) => {
                    let why = "the server does not speak PostgreSQL's protocol";
                    return self.fail(i, "protocol", why);
                }
            }
            if self.conns[i].life != life {
                return;
            }
        }
        self.conns[i].splitter = splitter;
    }

    fn on_message(&mut self, i: usize, kind: u8, body: &[u8]) {
        match (self.conns[i].state, kind) {
            (State::Login, b'R') => self.on_authentication(i, body),
            (State::Login, b'Z') => {
                let took = self.now.saturating_sub(self.conns[i].connect_due);
                self.tally.connect.saturating_record(took);
                self.prepare(i);
            }
            (State::Login, b'K') if self.run.plan.cancels() => self.conns[i].key = body.into(),
            (State::Preparing, b'Z') => self.prepare(i),
            (State::Busy, b'E') => self.on_error(i, body),
            (State::Busy, b'G') => {
                self.conns[i].copy_left = self.run.plan.transaction(self.conns[i].kind).copy;
                self.send_copy(i);
            }
            (State::Busy, b'Z') => self.on_ready(i, body.first().copied().unwrap_or(b'I')),
            (_, b'E') => {
                let why = wire::error_field(body, b'M').to_owned();
                self.fail(i, wire::error_field(body, b'C'), &why);
            }
            _ => {}
        }
    }

    fn on_authentication(&mut self, i: usize, body: &[u8]) {
        let conn = &mut self.conns[i];
        let end_point = match (&conn.tls, body.get(..4)) {
            // Only where SASL starts is it asked for.
            (Some(tls), Some([0, 0, 0, 10])) => tls.end_point(),
            _ => None,
        };
        self.request.clear();
        let answered = self.run.logins.answer(
            body,
            &mut conn.exchange,
            end_point.as_deref(),
            &mut self.random,
            &mut self.request,
        );
        match answered {
            Err(why) => self.fail(i, "login", &why),
            Ok(()) if self.request.is_empty() => {}
            Ok(()) => self.send_request(i),
        }
    }

    /// Says the next thing that goes before its transactions, or is up.
    fn prepare(&mut self, i: usize) {
        let (step, client) = (self.conns[i].step, i * self.run.threads + self.index);
        self.request.clear();
        if self.sends(i) && self.run.plan.introduce(step, client, &mut self.request) {
            self.conns[i].state = State::Preparing;
            self.conns[i].step += 1;
            return self.send_request(i);
        }
        self.came_up(i);
        self.became_idle(i);
    }

    /// Starts a transaction that was due at `scheduled`.
    pub(super) fn start(&mut self, i: usize, scheduled: u64) {
        let kind = self.run.plan.draw(&mut self.random);
        self.now = self.run.now();
        let conn = &mut self.conns[i];
        conn.state = State::Busy;
        conn.kind = kind;
        conn.step = 0;
        conn.failed = false;
        conn.rolling_back = false;
        conn.scheduled = scheduled;
        let free = conn.free;
        self.sent_late(scheduled, free);
        if let Some(after) = self.run.plan.transaction(kind).cancel_after {
            self.timer(self.now + nanos(after), i, Why::Cancel);
        }
        self.send_step(i);
    }

    /// Has the statement under way cancelled, if it is one that is to be.
    pub(super) fn cancel(&mut self, i: usize) {
        let conn = &self.conns[i];
        let meant = self.run.plan.transaction(conn.kind).cancel_after.is_some();
        if meant && self.run.cancel.send(conn.key.clone()).is_ok() {
            self.tally.cancels += 1;
        }
    }

    fn send_step(&mut self, i: usize) {
        let conn = &mut self.conns[i];
        self.request.clear();
        if let Some(step) = self.run.plan.transaction(conn.kind).steps.get(conn.step) {
            step.append(&mut self.request, &mut self.random);
        }
        self.send_request(i);
    }

    fn on_error(&mut self, i: usize, body: &[u8]) {
        let code = wire::error_field(body, b'C');
        let severity = wire::error_field(body, b'V');
        if matches!(severity, "FATAL" | "PANIC") {
            let why = wire::error_field(body, b'M').to_owned();
            return self.fail(i, code, &why);
        }
        self.tally.error(code);
        self.conns[i].failed = true;
        self.conns[i].copy_left = 0;
    }

    fn on_ready(&mut self, i: usize, status: u8) {
        let conn = &mut self.conns[i];
        let steps = self.run.plan.transaction(conn.kind).steps.len();
        if conn.failed && status != b'I' && !conn.rolling_back {
            conn.rolling_back = true;
            self.request.clear();
            wire::query(&mut self.request, "ROLLBACK");
            return self.send_request(i);
        }
        conn.step += 1;
        if conn.step < steps && !conn.failed {
            return self.send_step(i);
        }
        self.now = self.run.now();
        let (scheduled, failed) = (conn.scheduled, conn.failed);
        if !failed {
            self.tally.finished(scheduled, self.now, steps as u64);
        }
        self.ended(i);
    }

    /// The socket has room again.
    pub(super) fn on_writable(&mut self, i: usize) {
        let flushed = self.conns[i].flush();
        if self.check_sent(i, flushed) && self.conns[i].copy_left > 0 {
            self.send_copy(i);
        }
    }

    /// Sends COPY data until the socket is full or all is said.
    fn send_copy(&mut self, i: usize) {
        let whole = &self.run.plan.copy_data;
        let chunk = (whole.len() - 5) as u64;
        loop {
            let left = self.conns[i].copy_left;
            let (sent, size) = if left >= chunk {
                (self.conns[i].send(whole, &mut self.scratch), chunk)
            } else {
                self.request.clear();
                if left > 0 {
                    self.request
                        .extend_from_slice(&plan::copy_data(left as usize));
                }
                self.request.extend_from_slice(wire::COPY_DONE);
                (self.conns[i].send(&self.request, &mut self.scratch), left)
            };
            self.conns[i].copy_left = left - size;
            self.conns[i].heard = self.now;
            if self.tally.measured(self.now) {
                self.tally.bytes_out += size;
            }
            if !self.check_sent(i, sent) || left < chunk || !self.conns[i].all_written() {
                return;
            }
        }
    }

    fn send_request(&mut self, i: usize) {
        self.conns[i].heard = self.now;
        if self.tally.measured(self.now) {
            self.tally.bytes_out += self.request.len() as u64;
        }
        let sent = self.conns[i].send(&self.request, &mut self.scratch);
        self.check_sent(i, sent);
    }

    /// False: the connection is no more.
    fn check_sent(&mut self, i: usize, sent: Result<(), Errno>) -> bool {
        if let Err(e) = sent {
            self.fail(i, socket::code(e), &e.to_string());
            return false;
        }
        true
    }

    /// Says goodbye and closes.
    pub(super) fn leave(&mut self, i: usize) {
        let conn = &mut self.conns[i];
        // The server may be gone already; nobody waits for an answer.
        if let Some(tls) = &mut conn.tls {
            tls.say(wire::TERMINATE);
            tls.close();
            let _ = conn.send_records(&mut self.scratch);
        } else {
            let _ = conn.send(wire::TERMINATE, &mut self.scratch);
        }
        self.close(i);
    }

    /// Counts the end of a connection that should have lived, and sees to the next.
    pub(super) fn fail(&mut self, i: usize, code: &str, why: &str) {
        if !self.conns[i].up {
            self.run.note_failure(&format!("{code}: {why}"));
        }
        self.tally.error(code);
        self.close(i);
        if !self.storm_slot_is_free(i) {
            self.timer(self.now + RECONNECT, i, Why::Reconnect);
        }
    }
}
