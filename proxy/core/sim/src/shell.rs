//! The model shell's half that does what the core asks for.

use std::sync::Arc;

use weir_core::ids::{ConnId, Now, ShardId};
use weir_core::seam::{Close, Event, Mail, Op, TlsRole};

use crate::Sabotage;
use crate::net::{Item, Kind, Sock, Use};
use crate::run::{Ev, Letter, Run};
use crate::scram;

fn brief(conn: ConnId) -> String {
    format!("{}.{}", conn.slot, conn.generation)
}

impl Run {
    /// Hands an event to a shard and does all that it asks for.
    pub(crate) fn handle(&mut self, shard: usize, event: Event<'_>) {
        let bytes: &[u8] = if let Event::Received { bytes, .. } = event {
            bytes
        } else {
            b""
        };
        let now = Now(self.now);
        if self.verbose {
            let text = match &event {
                Event::Received { conn, bytes } => {
                    format!("Received {} {}", brief(*conn), bytes.escape_ascii())
                }
                other => format!("{other:?}").chars().take(200).collect(),
            };
            self.say(format!("shard {shard} <- {text}"));
        }
        self.shards[shard].handle(now, event);
        self.obey(shard, bytes);
    }

    /// Takes all operations of a shard.
    pub(crate) fn obey(&mut self, shard: usize, bytes: &[u8]) {
        let mut count = 0;
        while let Some(op) = self.shards[shard].next_op() {
            count += 1;
            if count > 100_000 {
                return self.violation("a shard's operations do not end".to_owned());
            }
            if self.verbose {
                let text = match &op {
                    Op::Send { to, bytes } => {
                        format!("Send {} {}", brief(*to), bytes.escape_ascii())
                    }
                    Op::Forward { to, start, end } => {
                        format!("Forward {} {start}..{end}", brief(*to))
                    }
                    Op::SendDraft { to, start, end } => {
                        let part = self.shards[shard].draft().get(*start..*end);
                        let part = part.unwrap_or_default().escape_ascii();
                        format!("SendDraft {} {part}", brief(*to))
                    }
                    other => format!("{other:?}").chars().take(200).collect(),
                };
                self.say(format!("shard {shard} -> {text}"));
            }
            self.digest_op(&op);
            self.operation(shard, op, bytes);
        }
        self.check_books();
    }

    fn digest_op(&mut self, op: &Op) {
        let (kind, size) = match op {
            Op::Forward { start, end, .. } => (1, end.wrapping_sub(*start)),
            Op::Send { bytes, .. } => (2, bytes.len()),
            Op::SendDraft { start, end, .. } => (8, end.wrapping_sub(*start)),
            Op::Connect { .. } => (3, 0),
            Op::Close { .. } => (4, 0),
            Op::Mail { .. } => (5, 0),
            Op::Move { .. } => (6, 0),
            _ => (7, 0),
        };
        let mixed = self.digest ^ (kind * 0x1_0000_0000 + size as u64) ^ self.now.rotate_left(17);
        self.digest = mixed.wrapping_mul(0x0000_0100_0000_01b3).rotate_left(5);
    }

    fn operation(&mut self, shard: usize, op: Op, bytes: &[u8]) {
        match op {
            Op::Forward { to, start, end } => match bytes.get(start..end) {
                Some(part) => self.emit(shard, to, part.to_vec()),
                None => self.violation(format!("Forward {start}..{end} of {} bytes", bytes.len())),
            },
            Op::Send { to, bytes } => self.emit(shard, to, bytes),
            Op::SendDraft { to, start, end } => {
                let draft = self.shards[shard].draft();
                match draft.get(start..end).map(<[u8]>::to_vec) {
                    Some(part) => self.emit(shard, to, part),
                    None => self.violation(format!("SendDraft {start}..{end} is not there")),
                }
            }
            Op::Connect { conn, .. } => self.connect(shard, conn),
            Op::StartTls { conn, role, early } => {
                self.start_tls(shard, conn, role, early.is_some())
            }
            Op::Read { conn, on } => self.reading(shard, conn, on),
            Op::Finish { conn } => self.finish(shard, conn),
            Op::Close { conn, how } => self.close(shard, conn, how),
            Op::Hash { conn, job } => {
                if let Some(sock) = self.known(shard, conn) {
                    let salted = scram::salted_password(&job.password, &job.salt, job.iterations);
                    let at = self.now + self.rng.below(2_000_000);
                    self.at(at, Ev::Hashed(sock, conn, shard, salted));
                }
            }
            Op::Mail { to, body } => self.mail(shard, to, body),
            Op::Move { conn, to, body } => {
                let Some(sock) = self.known(shard, conn) else {
                    return;
                };
                self.by_conn.remove(&(shard, conn));
                let disturbed = self.rng.chance(10);
                if let Some(s) = self.socks.get_mut(&sock) {
                    s.conn = None;
                    s.moving = true;
                    // What the shell has read already, or what it meets while it hands the socket over.
                    s.disturbed = disturbed || s.stalled > 0;
                }
                self.post(shard, usize::from(to.0), Letter::Backend(sock, body));
            }
            Op::Trace(_) => {}
        }
    }

    fn known(&mut self, shard: usize, conn: ConnId) -> Option<u32> {
        let found = self.by_conn.get(&(shard, conn)).copied();
        if found.is_none() {
            self.violation(format!(
                "shard {shard} names {conn:?}, which is closed or never was"
            ));
        }
        found
    }

    fn emit(&mut self, shard: usize, to: ConnId, bytes: Vec<u8>) {
        let Some(mut sock) = self.known(shard, to) else {
            return;
        };
        if bytes.is_empty() {
            return self.violation("nothing is sent".to_owned());
        }
        let mut bytes = bytes;
        self.note_purpose(sock, &bytes);
        if self.sabotage.is_some() {
            let Some((to, kept)) = self.spoil(sock, bytes) else {
                return;
            };
            (sock, bytes) = (to, kept);
        }
        self.note_service(sock, &bytes);
        let Some(s) = self.socks.get_mut(&sock) else {
            return;
        };
        s.backlog_bytes += bytes.len();
        s.backlog.push_back(Item::Bytes(bytes));
        if s.told_congested && s.backlog_bytes > s.bytes_when_told + 100_000 {
            let text = format!(
                "{:?} is congested and gets {} bytes all the same",
                s.kind, s.backlog_bytes
            );
            self.violation(text);
        }
        self.pump(sock);
    }

    /// Defects that are made on purpose.
    fn spoil(&mut self, sock: u32, mut bytes: Vec<u8>) -> Option<(u32, Vec<u8>)> {
        let kind = self.socks.get(&sock).map(|s| s.kind)?;
        let to_client = matches!(kind, Kind::Client(_)) && bytes.first() == Some(&b'T');
        match self.sabotage {
            Some(Sabotage::Misroute) if to_client && self.rng.chance(10) => {
                let other = self.socks.iter().find(|(n, s)| {
                    **n != sock
                        && s.conn.is_some()
                        && matches!(s.kind, Kind::Client(i) if self.clients[i].logged_in)
                });
                return Some((other.map_or(sock, |(n, _)| *n), bytes));
            }
            Some(Sabotage::Drop) if to_client && self.rng.chance(10) => return None,
            Some(Sabotage::Duplicate) if to_client && self.rng.chance(10) => {
                bytes.extend(bytes.clone())
            }
            Some(Sabotage::CancelOther)
                if bytes.len() >= 16 && bytes[4..8] == 80_877_102u32.to_be_bytes() =>
            {
                if let Some(key) = self.server.some_running_key() {
                    bytes = crate::wire::cancel_request(key.0, &key.1);
                }
            }
            _ => {}
        }
        Some((sock, bytes))
    }

    /// A connection to the server shows by its first packet whether it is a session.
    fn note_purpose(&mut self, sock: u32, bytes: &[u8]) {
        let Some(s) = self.socks.get_mut(&sock) else {
            return;
        };
        if s.kind != Kind::Backend || s.purpose != Use::Unknown {
            return;
        }
        let code = bytes
            .get(4..8)
            .and_then(|b| b.try_into().ok())
            .map_or(0, u32::from_be_bytes);
        s.purpose = match code {
            80_877_102 => Use::Errand,
            80_877_103 => Use::Unknown,
            _ => Use::Session,
        };
    }

    fn connect(&mut self, shard: usize, conn: ConnId) {
        let sock = self.open(Kind::Backend, shard);
        self.name(sock, shard, conn);
        let at = self.now + self.rng.below(self.latency * 3);
        self.at(at, Ev::Connected(sock));
    }

    fn start_tls(&mut self, shard: usize, conn: ConnId, role: TlsRole, early: bool) {
        let Some(sock) = self.known(shard, conn) else {
            return;
        };
        let at = self.now + self.rng.below(self.latency * 4);
        if role == TlsRole::Server {
            if let Some(s) = self.socks.get_mut(&sock) {
                s.handshake = true;
            }
            self.at(at, Ev::ClientTls(sock, early));
        } else {
            self.at(at, Ev::ServerTls(sock));
        }
    }

    fn reading(&mut self, shard: usize, conn: ConnId, on: bool) {
        let Some(sock) = self.known(shard, conn) else {
            return;
        };
        let deaf = self.sabotage == Some(Sabotage::DeafRead);
        let Some(s) = self.socks.get_mut(&sock) else {
            return;
        };
        if on && deaf && s.stalled > 0 {
            return;
        }
        s.read = on;
        if on {
            let at = self.now + 1;
            for _ in 0..core::mem::take(&mut s.stalled) {
                self.at(at, Ev::ToWeir(sock));
            }
        }
    }

    fn finish(&mut self, shard: usize, conn: ConnId) {
        let Some(sock) = self.known(shard, conn) else {
            return;
        };
        if let Some(s) = self.socks.get_mut(&sock) {
            s.backlog.push_back(Item::Fin);
        }
        self.pump(sock);
    }

    fn close(&mut self, shard: usize, conn: ConnId, how: Close) {
        let Some(sock) = self.known(shard, conn) else {
            return;
        };
        self.by_conn.remove(&(shard, conn));
        let Some(s) = self.socks.get_mut(&sock) else {
            return;
        };
        s.conn = None;
        if how == Close::Now {
            s.backlog.clear();
            s.backlog_bytes = 0;
            s.backlog.push_back(Item::Rst);
        } else {
            s.backlog.push_back(Item::Fin);
        }
        self.pump(sock);
    }

    fn mail(&mut self, from: usize, to: ShardId, mut body: Mail) {
        if let (Some(Sabotage::ExtraGrant), Mail::Grant { permits, .. }) =
            (self.sabotage, &mut body)
        {
            *permits += 1;
        }
        self.post(from, usize::from(to.0), Letter::Mail(body));
    }

    /// Mail is in order between two shards, and takes its time.
    pub(crate) fn post(&mut self, from: usize, to: usize, letter: Letter) {
        if to >= self.shards.len() {
            return self.violation(format!("mail to shard {to}, which is not there"));
        }
        let at = (self.now + self.rng.below(self.latency)).max(self.mail_at[from][to] + 1);
        self.mail_at[from][to] = at;
        self.letters[from][to].push_back(letter);
        self.at(at, Ev::Mail(from, to));
    }

    pub(crate) fn deliver_mail(&mut self, from: usize, to: usize) {
        let Some(letter) = self.letters[from][to].pop_front() else {
            return;
        };
        let (sock, body) = match letter {
            Letter::Mail(body) => {
                let from = ShardId(from as u16);
                return self.handle(to, Event::Mail { from, body });
            }
            Letter::Backend(sock, body) => (sock, body),
        };
        let now = Now(self.now);
        let alive = self.socks.get(&sock).is_some_and(|s| !s.disturbed);
        if alive {
            let conn = self.shards[to].adopt(now, body);
            self.name(sock, to, conn);
            self.obey(to, b"");
        } else {
            self.shards[to].adopt_failed(now, body);
            if let Some(s) = self.socks.get_mut(&sock) {
                s.moving = false;
                s.backlog.push_back(Item::Rst);
            }
            self.pump(sock);
            self.obey(to, b"");
        }
    }

    /// A connection gets weir's name.
    pub(crate) fn name(&mut self, sock: u32, shard: usize, conn: ConnId) {
        if self.by_conn.insert((shard, conn), sock).is_some() {
            self.violation(format!("shard {shard} gives out {conn:?} twice"));
        }
        if let Some(s) = self.socks.get_mut(&sock) {
            s.shard = shard;
            s.conn = Some(conn);
            s.moving = false;
            s.read = true;
        }
    }

    pub(crate) fn open(&mut self, kind: Kind, shard: usize) -> u32 {
        self.next_sock += 1;
        let window = self.window;
        self.socks
            .insert(self.next_sock, Sock::new(kind, shard, window));
        self.next_sock
    }

    /// New settings for all shards, as a reload gives them.
    pub(crate) fn reconfigure(&mut self) {
        let mut settings = (*self.settings).clone();
        settings.generation += 1;
        let max = self.rng.range(1, 5) as u32;
        settings.groups[0].lending.max_connection_pool_size = max;
        self.pool_bound = self.pool_bound.max(u64::from(max));
        self.settings = Arc::new(settings);
        for shard in 0..self.shards.len() {
            let settings = Arc::clone(&self.settings);
            self.handle(shard, Event::Config(settings));
        }
    }
}
