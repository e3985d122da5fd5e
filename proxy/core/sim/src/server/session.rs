//! One session: the message loop, what runs, how it fails and ends.

use std::collections::{BTreeMap, VecDeque};

use super::parts::{CopyIn, Failure, Login, Portal, Running, Statement, Way};
use super::state::{Owner, State, Tx};
use super::{ServerOut, Shared, mark};
use crate::wire;

/// One session.
pub(super) struct Session {
    pub sock: u32,
    pub pid: u32,
    pub long_key: bool,
    pub tls: bool,
    pub counted: bool,
    pub closed: bool,
    pub input: Vec<u8>,
    pub input_ended: bool,
    pub cancel_request: Option<(u32, Vec<u8>)>,
    pub busy_until: Option<u64>,
    pub user: String,
    pub database: String,
    pub login: Option<Login>,
    pub state: State,
    pub statements: BTreeMap<String, Statement>,
    pub unnamed: Option<Statement>,
    pub portals: BTreeMap<String, Portal>,
    pub script: Option<VecDeque<String>>,
    pub running: Option<Running>,
    pub copy: Option<CopyIn>,
    pub skipping: bool,
    key: [u8; 32],
    out: Vec<u8>,
}

impl Session {
    pub fn new(sock: u32, pid: u32, key: [u8; 32], timezone: &str) -> Session {
        let mut state = State::default();
        for (name, value) in [
            ("TimeZone", timezone),
            ("application_name", ""),
            ("DateStyle", "ISO, MDY"),
            ("client_encoding", "UTF8"),
            ("statement_timeout", "0"),
            ("search_path", "\"$user\", public"),
            ("work_mem", "4MB"),
        ] {
            state.defaults.insert(name.to_owned(), value.to_owned());
        }
        Session {
            sock,
            pid,
            long_key: false,
            tls: false,
            counted: false,
            closed: false,
            input: Vec::new(),
            input_ended: false,
            cancel_request: None,
            busy_until: None,
            user: String::new(),
            database: String::new(),
            login: Some(Login::default()),
            state,
            statements: BTreeMap::new(),
            unnamed: None,
            portals: BTreeMap::new(),
            script: None,
            running: None,
            copy: None,
            skipping: false,
            key,
            out: Vec::new(),
        }
    }

    pub fn key(&self) -> &[u8] {
        if self.long_key {
            &self.key
        } else {
            &self.key[..4]
        }
    }

    pub fn ready(&self) -> bool {
        self.login.is_none() && !self.closed
    }

    pub fn say(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Replies wait here until the server would really send them.
    pub fn flush(&mut self, shared: &mut Shared) {
        if !self.out.is_empty() {
            let bytes = core::mem::take(&mut self.out);
            shared.out.push((self.sock, ServerOut::Bytes(bytes)));
        }
    }

    pub fn close(&mut self, shared: &mut Shared) {
        self.flush(shared);
        if !self.closed {
            self.closed = true;
            shared.out.push((self.sock, ServerOut::Close));
        }
    }

    pub fn fatal(&mut self, shared: &mut Shared, code: &str, text: &str) {
        self.say(&wire::error(b'E', "FATAL", code, text));
        self.close(shared);
    }

    /// Works until there is nothing more to do for now. `others`: sessions that count against `max_connections`.
    pub fn run(&mut self, shared: &mut Shared, others: usize) {
        while !self.closed {
            if self.busy_until.is_some_and(|at| shared.now < at) {
                return;
            }
            self.busy_until = None;
            let on = if self.running.is_some() {
                self.finish(shared);
                true
            } else if self.script.is_some() && self.copy.is_none() {
                self.next_of_script(shared);
                true
            } else if self.login.is_some() {
                self.login_step(shared, others)
            } else {
                self.next_message(shared)
            };
            if self.out.len() > 8192 {
                self.flush(shared);
            }
            if !on {
                if self.input_ended {
                    self.close(shared);
                }
                return;
            }
        }
    }

    fn next_message(&mut self, shared: &mut Shared) -> bool {
        let Some((kind, body, length)) = wire::first_message(&self.input) else {
            return false;
        };
        let body = body.to_vec();
        self.input.drain(..length);
        if self.copy.is_some() {
            self.copy_message(shared, kind, &body);
            return true;
        }
        if self.skipping && !matches!(kind, b'S' | b'X' | b'd' | b'c' | b'f') {
            return true;
        }
        match kind {
            b'Q' => self.query(shared, &body),
            b'X' => self.close(shared),
            b'S' => self.sync(shared),
            b'H' => self.flush(shared),
            b'd' | b'c' | b'f' => {}
            b'P' | b'B' | b'D' | b'E' | b'C' | b'F' => {
                if let Err(failure) = self.extended(shared, kind, &body) {
                    self.fail(shared, &failure);
                    self.skipping = true;
                    if kind == b'F' {
                        self.sync(shared);
                    }
                }
            }
            _ => self.fatal(shared, "08P01", "invalid frontend message type"),
        }
        true
    }

    /// Starts a statement: it takes some time, then [`Session::finish`] does it.
    pub fn start(&mut self, shared: &mut Shared, sql: &str, parameters: Vec<String>, way: Way) {
        let owner = mark(sql)
            .or_else(|| parameters.iter().find_map(|p| mark(p)))
            .filter(|_| !super::parts::is_replay(sql))
            .map(|m| m.0);
        self.watch(shared, owner, sql);
        // weir answers some of these itself, so they don't count and can't be hit.
        let uncounted = sql.starts_with("deallocate");
        let number = match owner.and_then(|o| shared.clients.get_mut(&o)) {
            Some(client) if !uncounted => {
                client.started += 1;
                client.started
            }
            _ => 0,
        };
        if let Some(owner) = owner
            && number > 0
            && self.state.tx != Tx::Failed
        {
            let seen = self.state.all_settings();
            shared.seen.insert((owner, number), seen);
        }
        let time = super::parts::sleep_time(sql).unwrap_or(shared.config.statement_time);
        let time = shared.rng.below(time + 1);
        self.busy_until = Some(shared.now + time);
        let sql = sql.to_owned();
        let copy = sql.starts_with("copy");
        self.running = Some(Running {
            sql,
            parameters,
            way,
            owner,
            number,
        });
        if owner.is_some_and(|o| shared.forced.contains(&(o, number))) && !copy {
            self.cancelled(shared);
        }
    }

    /// The oracle: nobody meets what somebody else has left, and nobody is on a session of another user.
    pub fn watch(&mut self, shared: &mut Shared, owner: Owner, sql: &str) {
        let Some(client) = owner else { return };
        let mut foreign = self.state.foreign(owner);
        if foreign.is_none() {
            let mut named = self.statements.iter().filter(|(n, _)| !is_shared(n));
            // A text that many have in common says nothing about its owner; whether it has leaked the answers tell.
            let named = named.find(|(_, s)| s.owner.is_some() && s.owner != owner);
            foreign = named.map(|(name, _)| format!("statement {name}"));
        }
        if let Some(what) = foreign {
            shared.violation(format!("client {client} meets a foreign {what} at {sql:?}"));
        }
        let torn = shared.clients.get(&client).and_then(|c| c.torn);
        if torn.is_some() && mark(sql).map(|m| m.1) == torn {
            shared.violation(format!(
                "client {client} left {sql:?} unfinished, and it runs"
            ));
        }
        match shared.clients.get(&client) {
            Some(c) if c.user == self.user && c.database == self.database => {}
            Some(_) => shared.violation(format!(
                "client {client} is on a session of {}@{}",
                self.user, self.database
            )),
            None => shared.violation(format!("nobody knows client {client}")),
        }
        if self.state.tx != Tx::Idle {
            self.state.tx_owner = owner;
        }
    }

    /// A cancel request has found this session.
    pub fn cancelled(&mut self, shared: &mut Shared) {
        let copying = self.copy.as_ref().filter(|c| c.running.way == Way::Simple);
        // A COPY is hit while it waits for data, so that it makes no difference when exactly it was hit.
        if self
            .running
            .as_ref()
            .is_some_and(|r| r.sql.starts_with("copy") || r.sql.starts_with("deallocate"))
        {
            return;
        }
        let Some(hit) = self
            .running
            .clone()
            .or_else(|| copying.map(|c| c.running.clone()))
        else {
            return;
        };
        if let Some(owner) = hit.owner {
            let allowed = shared
                .clients
                .get(&owner)
                .is_some_and(|c| c.cancels || c.gone)
                // weir gives up a session whose settings were refused: all that it would say now is that it refuses.
                || (shared.config.fickle > 0 && self.state.tx == Tx::Failed);
            if shared.cancelled.insert((owner, hit.number))
                && !allowed
                && !shared.forced.contains(&(owner, hit.number))
            {
                shared.violation(format!(
                    "a cancel has hit client {owner}, who asked for none, at {:?}",
                    hit.sql
                ));
            }
        }
        self.running = None;
        self.copy = None;
        self.busy_until = None;
        let failure = Failure::new("57014", "canceling statement due to user request");
        self.failed(shared, &hit.way, &failure);
    }

    fn finish(&mut self, shared: &mut Shared) {
        let Some(running) = self.running.take() else {
            return;
        };
        match self.execute(shared, &running) {
            Ok(outcome) => self.give(shared, running, outcome),
            Err(failure) => self.failed(shared, &running.way, &failure),
        }
    }

    /// A statement has failed: what that means depends on how it was asked for.
    pub fn failed(&mut self, shared: &mut Shared, way: &Way, failure: &Failure) {
        self.fail(shared, failure);
        match way {
            Way::Simple => self.script = Some(VecDeque::new()),
            Way::Portal(..) => self.skipping = true,
            Way::Call => self.sync(shared),
        }
    }

    fn fail(&mut self, shared: &mut Shared, failure: &Failure) {
        // Errors are flushed at once (`send_message_to_frontend` in elog.c).
        self.say(&wire::error(b'E', "ERROR", failure.code, &failure.text));
        self.flush(shared);
        match self.state.tx {
            Tx::Block => self.state.tx = Tx::Failed,
            Tx::Implicit => self.end_transaction(shared, false),
            Tx::Idle | Tx::Failed => {}
        }
    }

    /// Sync, and the end of whatever acts as one.
    pub fn sync(&mut self, shared: &mut Shared) {
        self.skipping = false;
        if self.state.tx == Tx::Implicit {
            self.end_transaction(shared, true);
        }
        self.say(&wire::ready(self.state.status()));
        self.flush(shared);
    }

    pub fn end_transaction(&mut self, shared: &mut Shared, commit: bool) {
        let (reported, done) = self.state.end(commit);
        self.say(&reported);
        self.portals.clear();
        for (owner, row) in done.pending {
            shared.rows.entry(owner).or_default().push(row);
        }
        for (channel, payload) in done.notes {
            if self.state.live.channels.contains_key(&channel) {
                self.say(&wire::notification(self.pid, &channel, &payload));
            }
        }
    }

    /// A default has changed under a session; it hears of it when it has not set the value itself.
    pub fn default_changed(&mut self, shared: &mut Shared, name: &str, value: &str) {
        let live = &self.state.live;
        let shown = !live.settings.contains_key(name) && !live.local.contains_key(name);
        self.state
            .defaults
            .insert(name.to_owned(), value.to_owned());
        if self.ready() && shown {
            self.say(&wire::parameter_status(name, value));
            if self.running.is_none() && self.input.is_empty() && self.copy.is_none() {
                self.flush(shared);
            }
        }
    }

    /// What this session holds of anybody.
    pub fn dirt(&self) -> Option<String> {
        let mut named = self.statements.keys().filter(|n| !is_shared(n));
        let named = named.next().map(|n| format!("statement {n}"));
        let open = (self.state.tx != Tx::Idle).then(|| "open transaction".to_owned());
        let what = self.state.foreign(None).or(named).or(open)?;
        Some(format!("session {} of {}: {what}", self.pid, self.user))
    }
}

/// A statement that weir has named after its content: everybody's, and nobody's state.
fn is_shared(name: &str) -> bool {
    name.starts_with("weir_")
}
