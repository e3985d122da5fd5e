//! The oracles: books that must hold at every step, the state at the end, and what each client would have seen alone.

use std::collections::BTreeSet;

use weir_core::limits::QUEUE_SKIPS_MAX;

use crate::client::{Client, ClientOut, End};
use crate::net::{Kind, Use, Waiting};
use crate::rng::Rng;
use crate::run::Run;
use crate::server::{AuthKind, ClientRecord, Server, ServerConfig, ServerOut, mark};
use crate::wire;

impl Run {
    /// A client's bytes have reached a shard: it waits from now on, unless it has a backend already.
    pub(crate) fn note_request(&mut self, sock: u32, bytes: &[u8]) {
        let Some(s) = self.socks.get(&sock) else {
            return;
        };
        let Kind::Client(i) = s.kind else { return };
        let (shard, now) = (s.shard, self.now);
        let client = &self.clients[i];
        let id = client.who.id;
        if client.logged_in
            && wire::first_message(bytes).is_some_and(|m| m.0 == b'Q')
            && mark(&String::from_utf8_lossy(bytes)).is_some()
        {
            let ahead = self.waiting.values().filter(|w| w.shard == shard).count() as u32;
            let wait = Waiting {
                since: now,
                shard,
                skips: 0,
                ahead,
            };
            self.waiting.entry(id).or_insert(wait);
        }
    }

    /// A client's statement goes to the server: whoever of its shard has waited longer was passed over.
    pub(crate) fn note_service(&mut self, sock: u32, bytes: &[u8]) {
        match self.socks.get(&sock).map(|s| s.kind) {
            Some(Kind::Client(client)) => {
                // An answer, be it weir's own: its wait is over.
                self.waiting.remove(&self.clients[client].who.id);
                return;
            }
            Some(Kind::Backend) => {}
            _ => return,
        }
        let Some((id, _)) = mark(&String::from_utf8_lossy(bytes)) else {
            return;
        };
        let Some(served) = self.waiting.remove(&id) else {
            return;
        };
        if served.since == self.now {
            return;
        }
        // With a gate a waiter may be passed over for as long as its fellows hold what it may not have.
        let gated = self.settings.groups[0]
            .lending
            .max_borrowed_connections
            .is_some();
        let troubled = self.faults.kills + self.faults.refusals + self.faults.resizes > 0;
        let gone = |id: &u32| self.server.shared.clients.get(id).is_none_or(|c| c.gone);
        let mut starved = None;
        let alive: BTreeSet<u32> = self
            .waiting
            .keys()
            .filter(|id| !gone(id))
            .copied()
            .collect();
        for (other, wait) in &mut self.waiting {
            if wait.shard == served.shard && wait.since < served.since && alive.contains(other) {
                wait.skips += 1;
                if wait.skips > QUEUE_SKIPS_MAX * (wait.ahead + 2) && !gated && !troubled {
                    starved = Some(format!(
                        "client {other} has been passed over {} times",
                        wait.skips
                    ));
                }
            }
        }
        if let Some(text) = starved {
            self.violation(text);
        }
    }

    /// Limits and gauges, after every event.
    pub(crate) fn check_books(&mut self) {
        let mut backends = 0;
        for i in 0..self.shards.len() {
            let stats = self.shards[i].stats();
            backends += stats.backends;
            let named = |kind: fn(&Kind) -> bool| {
                self.by_conn
                    .iter()
                    .filter(|((s, _), sock)| {
                        *s == i && self.socks.get(sock).is_some_and(|s| kind(&s.kind))
                    })
                    .count() as u64
            };
            let clients = named(|k| *k != Kind::Backend);
            if stats.clients != clients {
                self.violation(format!(
                    "shard {i} counts {} clients, there are {clients}",
                    stats.clients
                ));
            }
            if stats.backends_lent + stats.backends_idle > stats.backends {
                self.violation(format!(
                    "shard {i}: more backends lent and idle than open: {stats:?}"
                ));
            }
        }
        let sessions = self.socks.values().filter(|s| {
            s.kind == Kind::Backend && s.purpose == Use::Session && (s.conn.is_some() || s.moving)
        });
        let sessions = sessions.count() as u64;
        let counted = self.server.open() as u64;
        if sessions.max(backends).max(counted) > self.pool_bound {
            let text = format!(
                "{sessions} sessions, {backends} by the books, {counted} by the server's count, where {} are allowed",
                self.pool_bound
            );
            self.violation(text);
        }
    }
}

/// When all is over: nobody holds anything.
pub(crate) fn final_state(run: &mut Run) {
    for i in 0..run.shards.len() {
        let stats = run.shards[i].stats();
        if stats.clients != 0
            || stats.backends_lent != 0
            || stats.clients_waiting != 0
            || stats.clients_in_login != 0
            || stats.pinned != 0
        {
            run.violation(format!("shard {i} is not at rest: {stats:?}"));
        }
        if stats.backends != stats.backends_idle {
            run.violation(format!(
                "shard {i} has backends that are not idle: {stats:?}"
            ));
        }
        if run.faults.drain_at > 0 && !run.shards[i].drained() {
            run.violation(format!("shard {i} has not drained"));
        }
    }
    for dirt in run.server.dirt() {
        run.violation(format!("dirty at the end: {dirt}"));
    }
    let bound = u64::from(run.settings.groups[0].lending.max_connection_pool_size);
    let open = run.server.open() as u64;
    if open > bound {
        run.violation(format!("{open} sessions at the end, {bound} are allowed"));
    }
}

/// What each client saw, against what it would have seen alone.
pub(crate) fn clients(run: &mut Run) {
    let mut found = Vec::new();
    for client in &run.clients {
        if let Err(text) = one_client(run, client) {
            found.push(format!(
                "client {} ({}@{}): {text}",
                client.who.id, client.who.user, client.who.database
            ));
        }
    }
    for text in found {
        run.violation(text);
    }
}

fn one_client(run: &Run, client: &Client) -> Result<(), String> {
    if !client.logged_in {
        return login(run, client);
    }
    let (alone, server) = alone(run, client);
    let zone = run.faults.reloads > 0;
    let (told, expected) = (reported(&client.told, zone), reported(&alone.told, zone));
    if told != expected {
        return Err(format!(
            "was told {told:?} at login, a server says {expected:?}"
        ));
    }
    let (saw, rest) = normalised(&client.seen, zone);
    let (should, _) = normalised(&alone.seen, zone);
    for (i, message) in saw.iter().enumerate() {
        if should.get(i) == Some(message) {
            continue;
        }
        if allowed(run, client, message, i + 1 == saw.len()) {
            // What came behind an error that it would not have met alone may differ in anything.
            let last = wire::error_field(&message[5..], b'V') == Some("FATAL");
            return if last {
                settings_seen(run, client, &server)
            } else {
                Ok(())
            };
        }
        let context: Vec<String> = saw[i.saturating_sub(3)..i]
            .iter()
            .map(|m| show(m))
            .collect();
        let other = should.get(i).map_or("nothing".to_owned(), |m| show(m));
        return Err(format!(
            "message {i} is {}, alone it is {other}; before: {context:?}",
            show(message)
        ));
    }
    let torn_zone = zone && rest.first() == Some(&b'S');
    // A farewell of weir's or the server's that the client did not stay for, or was cut off in by its own idle timeout.
    let torn_end = rest.first() == Some(&b'E')
        && (client.end != Some(End::Cut) || run.settings.idle_client_timeout.is_some());
    if !rest.is_empty()
        && !torn_zone
        && !torn_end
        && !should
            .get(saw.len())
            .is_some_and(|m| m.starts_with(&rest) || m[0] == rest[0])
    {
        return Err(format!(
            "ends with a torn {:?}",
            String::from_utf8_lossy(&rest)
        ));
    }
    if rest.is_empty()
        && client.end == Some(End::Cut)
        && alone.end != Some(End::Cut)
        && run.faults.kills == 0
    {
        return Err("was cut off without a word".to_owned());
    }
    settings_seen(run, client, &server)
}

/// Every statement has seen the settings that it would have seen alone.
fn settings_seen(run: &Run, client: &Client, alone: &Server) -> Result<(), String> {
    let zone = run.faults.reloads > 0;
    let id = client.who.id;
    for (at, seen) in run.server.shared.seen.range((id, 0)..=(id, u64::MAX)) {
        let Some(should) = alone.shared.seen.get(at) else {
            continue;
        };
        for (name, value) in seen {
            let expected = should.get(name);
            if expected != Some(value) && !(zone && name == "TimeZone") {
                let number = at.1;
                return Err(format!(
                    "statement {number} has seen {name} = {value:?}, alone it would have seen {expected:?}"
                ));
            }
        }
    }
    Ok(())
}

fn show(message: &[u8]) -> String {
    String::from_utf8_lossy(message)
        .chars()
        .filter(|c| !c.is_control())
        .take(100)
        .collect()
}

/// Errors that weir may give of its own accord, where this world gives it a reason.
fn allowed(run: &Run, client: &Client, message: &[u8], last: bool) -> bool {
    if message[0] != b'E' {
        return false;
    }
    let body = &message[5..];
    let code = wire::error_field(body, b'C').unwrap_or_default();
    let fatal = wire::error_field(body, b'V') == Some("FATAL");
    let lending = &run.settings.groups[0].lending;
    let troubled = run.faults.kills > 0 || run.faults.refusals > 0;
    let draining = run.faults.drain_at > 0;
    let cancels = run
        .server
        .shared
        .clients
        .get(&client.who.id)
        .is_some_and(|c| c.cancels);
    match code {
        "08000" => lending.borrow_timeout.is_some(),
        "57014" => cancels && !fatal,
        "57P01" => last && fatal && (run.faults.kills > 0 || draining),
        "08006" if run.server.shared.config.fickle > 0 => last && fatal,
        "08006" | "08001" | "08004" => last && fatal && troubled,
        "57P05" | "25P03" => last && fatal && run.settings.idle_client_timeout.is_some(),
        _ => false,
    }
}

fn login(run: &Run, client: &Client) -> Result<(), String> {
    let who = &client.who;
    let code = client
        .login_error
        .as_deref()
        .and_then(|e| wire::error_field(e.get(5..)?, b'C'))
        .unwrap_or_default();
    let should = match (
        who.user.as_str(),
        who.password.as_str(),
        who.database.as_str(),
    ) {
        ("nobody", _, _) | (_, "wrong", _) => "28P01",
        (_, _, "nowhere") => "3D000",
        _ => "",
    };
    if !should.is_empty() && code == should {
        return Ok(());
    }
    let lending = &run.settings.groups[0].lending;
    let draining = run.faults.drain_at > 0;
    let fine = match code {
        "53300" => run.settings.max_client_connections < 1000,
        "08000" => lending.borrow_timeout.is_some(),
        "57P01" => draining || run.faults.kills > 0,
        "08001" | "08004" | "08006" => run.faults.refusals + run.faults.kills > 0,
        "57014" => run.faults.refusals > 0,
        "" => draining || matches!(client.end, Some(End::Left)),
        _ => false,
    };
    if fine {
        return Ok(());
    }
    Err(format!(
        "could not log in: {code:?}; it should be {should:?}; {:?}, {}",
        client.end,
        client.standing()
    ))
}

/// Whole messages without what may differ, and the torn rest.
fn normalised(bytes: &[u8], without_zone: bool) -> (Vec<Vec<u8>>, Vec<u8>) {
    let (messages, used) = wire::split_messages(bytes);
    let mut kept = Vec::new();
    let mut zone_shown = false;
    for message in messages {
        let mut message = message.to_vec();
        if message[0] == b'T' {
            let name = &message[7..];
            zone_shown = name.to_ascii_lowercase().starts_with(b"timezone\0");
        }
        if message[0] == b'D' && zone_shown && without_zone {
            continue;
        }
        if message[0] == b'S' && without_zone && message[5..].starts_with(b"TimeZone\0") {
            continue;
        }
        if message[0] == b'A' && message.len() > 9 {
            message[5..9].fill(0);
        }
        kept.push(message);
    }
    (kept, bytes[used..].to_vec())
}

fn reported(told: &[Vec<u8>], without_zone: bool) -> BTreeSet<String> {
    let all = told
        .iter()
        .map(|m| String::from_utf8_lossy(&m[5..]).replace('\0', " "));
    all.filter(|m| !without_zone || !m.starts_with("TimeZone"))
        .collect()
}

/// Plays a client's script alone against a fresh server, with the same cancels.
fn alone(run: &Run, client: &Client) -> (Client, Server) {
    let config = ServerConfig {
        auth: AuthKind::Trust,
        tls: false,
        max_minor: 2,
        statement_time: 0,
        deaf_discard: false,
        fickle: 0,
        ..run.server.shared.config.clone()
    };
    let mut server = Server::new(config, Rng::new(1));
    let mut who = client.who.clone();
    who.security = crate::client::ClientSecurity::Plain;
    let record = ClientRecord {
        user: who.user.clone(),
        database: who.database.clone(),
        ..ClientRecord::default()
    };
    server.shared.clients.insert(who.id, record);
    server.shared.forced = run
        .server
        .shared
        .cancelled
        .iter()
        .filter(|(id, _)| *id == who.id)
        .copied()
        .collect();
    let mut twin = Client::new(who, client.script.clone());
    server.connect(1);
    twin.begin();
    let mut now = 0;
    loop {
        let mut quiet = true;
        for out in twin.take_out() {
            quiet = false;
            match out {
                ClientOut::Bytes(bytes) => server.receive(now, 1, &bytes),
                ClientOut::Fin | ClientOut::Rst => server.gone(now, 1),
                ClientOut::Cancel(..) => {}
                ClientOut::WakeAt(at) => {
                    now = now.max(at);
                    twin.advance(now);
                }
            }
        }
        if let Some(at) = server.deadline() {
            now = now.max(at);
            server.tick(now);
            quiet = false;
        }
        for (_, out) in server.take_out() {
            quiet = false;
            match out {
                ServerOut::Bytes(bytes) => twin.receive(now, &bytes),
                ServerOut::Close => twin.lost(),
            }
        }
        if quiet {
            return (twin, server);
        }
    }
}
