//! The model PostgreSQL server: sessions at the byte level, shared rows and locks, and the watch over who uses whose state.
//!
//! It knows nothing of weir. Statements carry the mark of the client that made them (`c<client>_<number>`), wherever in
//! the text; a statement without a mark is the proxy's own. So the server sees at once when one client meets what
//! another one left behind.

mod copy;
mod exec;
mod extended;
mod login;
mod parts;
mod session;
mod simple;
mod state;

use std::collections::{BTreeMap, BTreeSet};

use crate::rng::Rng;
use session::Session;

/// How the server asks a user to prove itself.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AuthKind {
    /// Not at all.
    Trust,
    /// The password itself.
    Cleartext,
    /// md5.
    Md5,
    /// SCRAM-SHA-256; -PLUS too where TLS is up.
    Scram,
}

/// What kind of server it is.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// User and password.
    pub users: BTreeMap<String, String>,
    /// Databases that exist.
    pub databases: Vec<String>,
    /// How users prove themselves.
    pub auth: AuthKind,
    /// Whether TLS is offered.
    pub tls: bool,
    /// Channel binding data of its certificate.
    pub end_point: Vec<u8>,
    /// Newest minor protocol version: 0 or 2.
    pub max_minor: u32,
    /// Sessions at most.
    pub max_connections: usize,
    /// Longest time that an ordinary statement takes, nanoseconds.
    pub statement_time: u64,
    /// A deliberate defect: `DISCARD ALL` says it is done and does nothing.
    pub deaf_discard: bool,
    /// Percent of weir's own SET and RESET that are refused.
    pub fickle: u64,
}

/// What the server does to a connection.
#[derive(Debug, PartialEq, Eq)]
pub enum ServerOut {
    /// Sends.
    Bytes(Vec<u8>),
    /// Closes after what was sent.
    Close,
}

/// What is known of a client by its mark.
#[derive(Clone, Debug, Default)]
pub struct ClientRecord {
    /// Login name.
    pub user: String,
    /// Database.
    pub database: String,
    /// It has asked for a cancel.
    pub cancels: bool,
    /// It has gone away: whatever hits its statements now hits nobody.
    pub gone: bool,
    /// Statements it has started.
    pub started: u64,
    /// The mark of a message that it left unfinished: it must never run.
    pub torn: Option<u64>,
}

/// What sessions share.
pub struct Shared {
    /// The kind of server.
    pub config: ServerConfig,
    /// Clients by mark.
    pub clients: BTreeMap<u32, ClientRecord>,
    /// Statements that were hit by a cancel, as client and count of its statements.
    pub cancelled: BTreeSet<(u32, u64)>,
    /// Statements to be cancelled when they start: for the run alone.
    pub forced: BTreeSet<(u32, u64)>,
    /// The settings that each statement has seen, by client and count of its statements.
    pub seen: BTreeMap<(u32, u64), BTreeMap<String, String>>,
    /// What must not be.
    pub violations: Vec<String>,
    rows: BTreeMap<u32, Vec<String>>,
    sequences: BTreeMap<String, u64>,
    locks: BTreeMap<u64, u32>,
    now: u64,
    rng: Rng,
    out: Vec<(u32, ServerOut)>,
}

impl Shared {
    fn violation(&mut self, text: String) {
        if self.violations.len() < 10 {
            self.violations.push(text);
        }
    }
}

/// The server.
pub struct Server {
    /// What sessions share.
    pub shared: Shared,
    sessions: BTreeMap<u32, Session>,
    next_pid: u32,
    timezone: String,
}

impl Server {
    /// A server without sessions.
    #[must_use]
    pub fn new(config: ServerConfig, rng: Rng) -> Server {
        let shared = Shared {
            config,
            clients: BTreeMap::new(),
            cancelled: BTreeSet::new(),
            forced: BTreeSet::new(),
            seen: BTreeMap::new(),
            violations: Vec::new(),
            rows: BTreeMap::new(),
            sequences: BTreeMap::new(),
            locks: BTreeMap::new(),
            now: 0,
            rng,
            out: Vec::new(),
        };
        Server {
            shared,
            sessions: BTreeMap::new(),
            next_pid: 1000,
            timezone: "UTC".to_owned(),
        }
    }

    /// A connection has come in.
    pub fn connect(&mut self, sock: u32) {
        self.next_pid += 1;
        let key = self.shared.rng.bytes::<32>();
        let session = Session::new(sock, self.next_pid, key, &self.timezone);
        self.sessions.insert(sock, session);
    }

    /// Bytes have come.
    pub fn receive(&mut self, now: u64, sock: u32, bytes: &[u8]) {
        self.shared.now = now;
        let others = self.open();
        let Some(session) = self.sessions.get_mut(&sock) else {
            return;
        };
        session.input.extend_from_slice(bytes);
        session.run(&mut self.shared, others);
        if let Some((pid, secret)) = session.cancel_request.take() {
            self.cancel(pid, &secret);
        }
        self.sweep();
    }

    /// TLS is up on a connection.
    pub fn tls_up(&mut self, sock: u32) {
        if let Some(session) = self.sessions.get_mut(&sock) {
            session.tls = true;
        }
    }

    /// The other side has finished sending, or is gone.
    pub fn gone(&mut self, now: u64, sock: u32) {
        self.shared.now = now;
        if let Some(session) = self.sessions.get_mut(&sock) {
            // A server notices when it reads next: what runs, runs to its end.
            session.input_ended = true;
            session.run(&mut self.shared, 0);
        }
        self.sweep();
    }

    /// The instant at which something that runs is done.
    #[must_use]
    pub fn deadline(&self) -> Option<u64> {
        self.sessions.values().filter_map(|s| s.busy_until).min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now: u64) {
        self.shared.now = now;
        for session in self.sessions.values_mut() {
            if session.busy_until.is_some_and(|at| at <= now) {
                session.run(&mut self.shared, 0);
            }
        }
        self.sweep();
    }

    /// What is to be done to connections.
    pub fn take_out(&mut self) -> Vec<(u32, ServerOut)> {
        core::mem::take(&mut self.shared.out)
    }

    fn cancel(&mut self, pid: u32, secret: &[u8]) {
        let found = self
            .sessions
            .values_mut()
            .find(|s| s.pid == pid && s.key() == secret && s.ready());
        if let Some(session) = found {
            session.cancelled(&mut self.shared);
            session.run(&mut self.shared, 0);
        }
    }

    /// The key of a session that is at work, for sabotage.
    #[must_use]
    pub fn some_running_key(&self) -> Option<(u32, Vec<u8>)> {
        let running = self.sessions.values().find(|s| s.running.is_some());
        running.map(|s| (s.pid, s.key().to_vec()))
    }

    /// Ends a session as an administrator does.
    pub fn terminate(&mut self, sock: u32) {
        if let Some(session) = self.sessions.get_mut(&sock) {
            session.fatal(
                &mut self.shared,
                "57P01",
                "terminating connection due to administrator command",
            );
        }
        self.sweep();
    }

    /// Sessions that have logged in, by connection.
    #[must_use]
    pub fn logged_in(&self) -> Vec<u32> {
        let ready = self.sessions.values().filter(|s| s.ready());
        ready.map(|s| s.sock).collect()
    }

    /// Connections that have sent a startup packet: what counts against a limit.
    #[must_use]
    pub fn open(&self) -> usize {
        self.sessions.values().filter(|s| s.counted).count()
    }

    /// The configuration file was read again: a reported setting changes in every session.
    pub fn reload_timezone(&mut self, zone: &str) {
        zone.clone_into(&mut self.timezone);
        for session in self.sessions.values_mut() {
            session.default_changed(&mut self.shared, "TimeZone", zone);
        }
    }

    /// What sessions still hold of anybody; empty when all is clean.
    #[must_use]
    pub fn dirt(&self) -> Vec<String> {
        let ready = self.sessions.values().filter(|s| s.ready());
        ready.filter_map(Session::dirt).collect()
    }

    fn sweep(&mut self) {
        let locks = &mut self.shared.locks;
        self.sessions.retain(|sock, session| {
            if session.closed {
                locks.retain(|_, holder| holder != sock);
            }
            !session.closed
        });
    }
}

/// The mark in a text: client and number.
#[must_use]
pub fn mark(text: &str) -> Option<(u32, u64)> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes[at..].iter().position(|b| *b == b'c') {
        let start = at + found;
        at = start + 1;
        if start > 0 && bytes[start - 1].is_ascii_alphanumeric() {
            continue;
        }
        let Some((client, rest)) = number(&bytes[at..]) else {
            continue;
        };
        if rest.first() == Some(&b'_')
            && let Some((number, _)) = number(&rest[1..])
        {
            return Some((client as u32, number));
        }
    }
    None
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let digits = bytes.iter().take_while(|b| b.is_ascii_digit()).count();
    let text = core::str::from_utf8(&bytes[..digits]).ok()?;
    Some((text.parse().ok()?, &bytes[digits..]))
}

#[cfg(test)]
mod tests {
    use super::mark;

    #[test]
    fn marks_are_found_anywhere() {
        assert_eq!(mark("select 'c12_34'"), Some((12, 34)));
        assert_eq!(mark("begin /* c1_2 */"), Some((1, 2)));
        assert_eq!(mark("create temp table tt_c3_4 (a int)"), Some((3, 4)));
        assert_eq!(mark("discard all"), None);
        assert_eq!(mark("abc1_2 c_3 c4"), None);
    }
}
