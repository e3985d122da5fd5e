//! Plays a transcript against one shard and writes down all that happened, in the transcript's own notation.

mod setup;
mod voice;

use core::time::Duration;
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use setup::Setup;
use voice::Voice;
use weir_core::ids::{ConnId, ListenerId, Now, ShardId};
use weir_core::seam::{Close, Event, Lost, Mail, Op, TlsRole, Trace};
use weir_core::shard::{Shard, ShardSetup, Shared};
use weir_sim::notation::{Token, Way, encode, tokens};
use weir_sim::{scram, wire};

/// One transcript under way.
struct Play {
    setup: Setup,
    shard: Option<Shard>,
    now: u64,
    voices: BTreeMap<String, Voice>,
    servers: usize,
    /// The text that a mending asks for.
    proof: Option<String>,
    lines: Vec<String>,
}

/// Plays it; answers the transcript as it must be.
pub fn play(text: &str) -> Result<String, String> {
    let mut play = Play {
        setup: Setup::default(),
        shard: None,
        now: 1_000_000_000,
        voices: BTreeMap::new(),
        servers: 0,
        proof: None,
        lines: Vec::new(),
    };
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with('#') {
            play.lines.push(line.to_owned());
        } else if is_ours(line) {
            play.lines.push(line.to_owned());
            play.line(line)
                .map_err(|e| format!("line {}: {line}: {e}", at + 1))?;
        }
    }
    Ok(play.lines.join("\n") + "\n")
}

/// Whether a line is the outside world's. All others are weir's and are written anew.
fn is_ours(line: &str) -> bool {
    let mut words = line.split(' ');
    let (first, second) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    first.ends_with('>')
        || ["settings", "client", "login", "serve", "wait", "drain"].contains(&first)
        || [
            "tls",
            "eof",
            "reset",
            "congested",
            "drained",
            "connected",
            "fails",
        ]
        .contains(&second)
}

impl Play {
    fn line(&mut self, line: &str) -> Result<(), String> {
        let words: Vec<&str> = line.split(' ').collect();
        let rest = line.split_once(' ').map_or("", |l| l.1);
        match (words[0], words.get(1).copied().unwrap_or("")) {
            ("settings", _) => self.settings(&words[1..]),
            ("client", name) => self.client(name),
            ("login", name) => self.login(name, &words[2..]),
            ("serve", name) => self.serve(name),
            ("wait", _) => self.wait(&words[1..]),
            ("drain", _) => self.handle(Event::Drain),
            (name, "connected") => {
                let conn = self.conn(name)?;
                self.handle(Event::Connected { conn })
            }
            (name, "fails") => {
                let (conn, error) = (self.conn(name)?, "connection refused".to_owned());
                self.handle(Event::ConnectFailed { conn, error })
            }
            (name, "eof") => self.closed(name, Lost::Eof),
            (name, "reset") => self.closed(name, Lost::Reset),
            (name, "congested") => {
                let conn = self.conn(name)?;
                self.handle(Event::Congested { conn })
            }
            (name, "drained") => {
                let conn = self.conn(name)?;
                self.handle(Event::Drained { conn })
            }
            (name, "tls") => self.tls(name, words.contains(&"alpn")),
            (speaker, _) => self.speak(speaker.trim_end_matches('>'), rest),
        }
    }

    fn shard(&mut self) -> &mut Shard {
        let (settings, now) = (&self.setup, Now(self.now));
        self.shard.get_or_insert_with(|| {
            let setup = ShardSetup {
                id: ShardId(0),
                shards: settings.shards(),
                settings: Arc::new(settings.settings()),
                seed: [7; 32],
                mock_secret: [8; 32],
                shared: Arc::new(Shared::default()),
            };
            Shard::new(setup, now)
        })
    }

    fn settings(&mut self, words: &[&str]) -> Result<(), String> {
        self.setup.apply(words)?;
        if self.shard.is_some() {
            let settings = Arc::new(self.setup.settings());
            return self.handle(Event::Config(settings));
        }
        self.shard();
        self.obey(b"")
    }

    fn client(&mut self, name: &str) -> Result<(), String> {
        let (now, peer) = (Now(self.now), IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)));
        match self.shard().accept(now, ListenerId(0), peer) {
            Some(conn) => {
                self.voices
                    .insert(name.to_owned(), Voice::new(conn, Way::Back));
            }
            None => self.lines.push(format!("{name} is not accepted")),
        }
        self.obey(b"")
    }

    fn conn(&self, name: &str) -> Result<ConnId, String> {
        let voice = self.voices.get(name).ok_or("no such connection")?;
        voice.conn.ok_or("it is closed".to_owned())
    }

    fn closed(&mut self, name: &str, why: Lost) -> Result<(), String> {
        let conn = self.conn(name)?;
        self.handle(Event::Closed { conn, why })
    }

    fn tls(&mut self, name: &str, alpn_postgresql: bool) -> Result<(), String> {
        let conn = self.conn(name)?;
        let server = self.voices.get(name).is_some_and(|v| v.way == Way::Front);
        let peer_end_point = server.then(|| setup::SERVER_END_POINT.to_vec());
        self.handle(Event::TlsReady {
            conn,
            peer_end_point,
            alpn_postgresql,
        })
    }

    fn wait(&mut self, words: &[&str]) -> Result<(), String> {
        let number: u64 = words
            .first()
            .and_then(|w| w.parse().ok())
            .ok_or("wait N s|ms")?;
        let unit = if words.get(1) == Some(&"ms") {
            Duration::from_millis(1)
        } else {
            Duration::from_secs(1)
        };
        let end = self.now + number * unit.as_nanos() as u64;
        while let Some(at) = self.shard().deadline()
            && at.0 <= end
        {
            self.now = self.now.max(at.0);
            let now = Now(self.now);
            self.shard().tick(now);
            self.obey(b"")?;
        }
        self.now = end;
        Ok(())
    }

    /// A client's whole login with md5, which is not of interest here.
    fn login(&mut self, name: &str, words: &[&str]) -> Result<(), String> {
        let of = |key: &str, otherwise: &str| {
            let found = words
                .iter()
                .find_map(|w| w.strip_prefix(key)?.strip_prefix('='));
            found.unwrap_or(otherwise).to_owned()
        };
        let (user, database) = (of("user", "app"), of("database", "db1"));
        let mut startup = format!("Startup 3.0 user \"{user}\" database \"{database}\"");
        if let Some(value) = words
            .iter()
            .find_map(|w| w.strip_prefix("application_name="))
        {
            startup += &format!(" application_name \"{value}\"");
        }
        let seen = self.lines.len();
        self.speak(name, &startup)?;
        self.speak(name, &format!("Md5 {user} {user}-secret"))?;
        let heard: Vec<String> = self.lines.drain(seen..).collect();
        let wanted = [
            format!("{name}< AuthenticationMD5Password $salt"),
            format!("{name}< AuthenticationOk"),
        ];
        if heard.get(..2) != Some(&wanted) {
            return Err(format!("the login goes another way: {heard:?}"));
        }
        self.lines.extend(heard.into_iter().skip(2));
        Ok(())
    }

    /// A server connection's whole login, which is not of interest here.
    fn serve(&mut self, name: &str) -> Result<(), String> {
        let conn = self.conn(name)?;
        let seen = self.lines.len();
        self.handle(Event::Connected { conn })?;
        let heard: Vec<String> = self.lines.drain(seen..).collect();
        if heard.len() != 1 || !heard[0].starts_with(&format!("{name}< Startup 3.0 ")) {
            return Err(format!("the login goes another way: {heard:?}"));
        }
        let pid = name.trim_start_matches(char::is_alphabetic);
        self.speak(
            name,
            &format!(
                "AuthenticationOk; ParameterStatus \"server_version\" \"17.0\"; ParameterStatus \"TimeZone\" \"UTC\"; \
                 BackendKeyData {pid} \"key{pid}\"; ReadyForQuery I"
            ),
        )
    }

    fn speak(&mut self, name: &str, text: &str) -> Result<(), String> {
        let conn = self.conn(name)?;
        let words = tokens(text)?;
        let mut bytes = Vec::new();
        for message in words.split(|t| *t == Token::Next) {
            bytes.extend(self.message(name, message)?);
        }
        self.handle(Event::Received {
            conn,
            bytes: &bytes,
        })
    }

    /// A message of the outside world; those that need to know what weir said are made here.
    fn message(&mut self, name: &str, message: &[Token]) -> Result<Vec<u8>, String> {
        let word = |at: usize| match message.get(at) {
            Some(Token::Word(word)) => word.as_str(),
            _ => "",
        };
        let proof = self.proof.clone().unwrap_or_default();
        let keys: BTreeMap<String, (u32, Vec<u8>)> = self
            .voices
            .iter()
            .filter_map(|(n, v)| Some((n.clone(), v.key.clone()?)))
            .collect();
        let voice = self.voices.get_mut(name).ok_or("no such connection")?;
        match word(0) {
            "CancelRequest" if keys.contains_key(word(1)) => {
                let (pid, secret) = &keys[word(1)];
                Ok(wire::cancel_request(*pid, secret))
            }
            "DataRow" if word(1) == "$proof" => Ok(wire::data_row(&[&proof])),
            "Md5" => Ok(wire::password(&scram::md5_answer(
                word(1),
                word(2),
                &voice.salt,
            ))),
            "ScramFirst" => Ok(voice.scram_first(word(1))),
            "ScramFinal" => voice.scram_final(word(1)),
            "ScramContinue" => voice.scram_continue(),
            "ScramVerified" => voice.scram_verified(word(1)),
            _ => encode(
                if voice.way == Way::Back {
                    Way::Front
                } else {
                    Way::Back
                },
                message,
            ),
        }
    }

    fn handle(&mut self, event: Event<'_>) -> Result<(), String> {
        let bytes: &[u8] = if let Event::Received { bytes, .. } = event {
            bytes
        } else {
            b""
        };
        let now = Now(self.now);
        self.shard().handle(now, event);
        self.obey(bytes)
    }

    fn obey(&mut self, bytes: &[u8]) -> Result<(), String> {
        while let Some(op) = self.shard().next_op() {
            self.operation(op, bytes)?;
        }
        for (name, voice) in &mut self.voices {
            if let Some(rest) = voice.rest() {
                self.lines.push(format!("{name}< {rest}"));
            }
        }
        Ok(())
    }

    fn name_of(&self, conn: ConnId) -> Result<String, String> {
        let found = self.voices.iter().find(|(_, v)| v.conn == Some(conn));
        found
            .map(|(n, _)| n.clone())
            .ok_or(format!("weir names {conn:?}, which is not there"))
    }

    fn operation(&mut self, op: Op, bytes: &[u8]) -> Result<(), String> {
        match op {
            Op::Forward { to, start, end } => {
                let part = bytes.get(start..end).ok_or("a range outside the bytes")?;
                self.emit(to, part)
            }
            Op::Send { to, bytes } => self.emit(to, &bytes),
            Op::SendDraft { to, start, end } => {
                let draft = self.shard().draft();
                let part = draft.get(start..end).ok_or("a range outside the draft")?;
                let part = part.to_vec();
                self.emit(to, &part)
            }
            Op::Connect { conn, .. } => {
                self.servers += 1;
                let name = format!("s{}", self.servers);
                self.lines.push(format!("weir connects {name}"));
                self.voices.insert(name, Voice::new(conn, Way::Front));
                Ok(())
            }
            Op::StartTls { conn, role, early } => {
                let name = self.name_of(conn)?;
                let side = if role == TlsRole::Server {
                    "as server"
                } else {
                    "as client"
                };
                let early = early.map_or(String::new(), |at| format!(" with the bytes from {at}"));
                self.lines.push(format!("{name}< starts TLS {side}{early}"));
                Ok(())
            }
            Op::Read { conn, on } => {
                let name = self.name_of(conn)?;
                self.lines
                    .push(format!("{name} is {}read", if on { "" } else { "not " }));
                Ok(())
            }
            Op::Finish { conn } => {
                let name = self.name_of(conn)?;
                self.lines.push(format!("{name}< finished"));
                Ok(())
            }
            Op::Close { conn, how } => self.close(conn, how),
            Op::Hash { conn, job } => {
                let salted_password =
                    scram::salted_password(&job.password, &job.salt, job.iterations);
                self.lines
                    .push(format!("{} has a hash computed", self.name_of(conn)?));
                self.handle(Event::Hashed {
                    conn,
                    salted_password,
                })
            }
            Op::Mail { to, body } => self.mail(to, body),
            Op::Move { .. } => Err("a move with one shard".to_owned()),
            Op::Trace(trace) => {
                self.trace(&trace);
                Ok(())
            }
        }
    }

    fn close(&mut self, conn: ConnId, how: Close) -> Result<(), String> {
        let name = self.name_of(conn)?;
        let how = if how == Close::Flush {
            "closed"
        } else {
            "closed at once"
        };
        if let Some(voice) = self.voices.get_mut(&name) {
            if let Some(rest) = voice.rest() {
                self.lines.push(format!("{name}< {rest}"));
            }
            voice.conn = None;
        }
        self.lines.push(format!("{name}< {how}"));
        Ok(())
    }

    /// Mail to this shard is delivered at once; of mail to others only what is asked of them is of interest.
    fn mail(&mut self, to: ShardId, body: Mail) -> Result<(), String> {
        if to == ShardId(0) {
            let from = ShardId(0);
            return self.handle(Event::Mail { from, body });
        }
        if let Mail::Recall {
            permits, idle_only, ..
        } = body
        {
            let what = if idle_only { " idle" } else { "" };
            let line = format!("weir asks shard {} for {permits}{what}", to.0);
            self.lines.push(line);
        }
        Ok(())
    }

    fn trace(&mut self, trace: &Trace) {
        let line = match trace {
            Trace::Pinned { conn, reason, .. } => {
                let name = self.name_of(*conn).unwrap_or_default();
                format!("{name} is pinned: {}", reason.name())
            }
            Trace::Unpinned {
                conn, reason, held, ..
            } => {
                let name = self.name_of(*conn).unwrap_or_default();
                let after = format!("{} s", held.as_secs());
                format!("{name} is pinned no more: {} after {after}", reason.name())
            }
            Trace::Refused { code, reason, .. } => format!("weir refuses: {code} {reason}"),
            Trace::ClientClosed { reason, .. } => format!("weir has closed a client: {reason}"),
            Trace::BackendClosed { reason, .. } => format!("weir has closed a backend: {reason}"),
            Trace::BackendFailed { reason, .. } => {
                format!("weir could not open a backend: {reason}")
            }
            Trace::Cancel { matched } => format!(
                "weir has a cancel request: {}",
                if *matched { "matched" } else { "nobody's" }
            ),
            Trace::OverLimit {
                conn,
                limit,
                cancelled,
            } => {
                let name = self.name_of(*conn).unwrap_or_default();
                let how = if *cancelled { "cancelled" } else { "ended" };
                format!("{name} is over its {limit} and {how}")
            }
            Trace::ClientReady { .. } | Trace::BackendReady { .. } => return,
        };
        self.lines.push(line);
    }

    fn emit(&mut self, to: ConnId, bytes: &[u8]) -> Result<(), String> {
        let name = self.name_of(to)?;
        let Some(voice) = self.voices.get_mut(&name) else {
            return Ok(());
        };
        for text in voice.hear(bytes) {
            if let Some(at) = text.strip_prefix("Query \"SELECT '")
                && voice.way == Way::Front
            {
                self.proof = Some(at.chars().take(16).collect());
                self.lines
                    .push(format!("{name}< Query \"SELECT '$proof'\""));
            } else {
                self.lines.push(format!("{name}< {text}"));
            }
        }
        Ok(())
    }
}
