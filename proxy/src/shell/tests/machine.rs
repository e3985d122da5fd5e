//! A machine that needs no protocol: echoes and relays, and does tricks on request.

use std::collections::VecDeque;
use std::net::IpAddr;

use weir_core::ids::{ConnId, GroupId, ListenerId, Now, ShardId};
use weir_core::seam::{Close, Event, HashJob, Mail, Op, TlsRole};
use weir_core::shard::Stats;
use zeroize::Zeroizing;

use crate::shards::machine::{Machine, Todo};

/// What a listener's connections do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    /// Sends everything back.
    Echo,
    /// Relays to group 0, plain text on both sides.
    Relay,
    /// TLS from the first byte, then as `Echo`.
    SecureEcho,
    /// TLS from the first byte, relayed to group 1 over TLS.
    SecureRelay,
    /// `S` is answered with `S`, then TLS, then as `Echo`.
    Upgrade,
    /// Obeys commands.
    Tricks,
}

impl Mode {
    pub(crate) const ALL: [Mode; 6] = [
        Mode::Echo,
        Mode::Relay,
        Mode::SecureEcho,
        Mode::SecureRelay,
        Mode::Upgrade,
        Mode::Tricks,
    ];
}

struct Conn {
    mode: Mode,
    peer: Option<ConnId>,
    /// For `SecureRelay` and `Relay`: the other side can be sent to.
    is_backend: bool,
    secure: bool,
    waiting: Vec<u8>,
    open: bool,
}

pub(crate) struct Puppet {
    id: ShardId,
    conns: Vec<(u32, Option<Conn>)>,
    free: Vec<u32>,
    ops: VecDeque<Todo<MovedPuppet>>,
    draining: bool,
    pub(crate) stats: Stats,
}

pub(crate) struct MovedPuppet {
    mode: Mode,
    secure: bool,
    reply_to: ShardId,
}

impl Puppet {
    pub(crate) fn new(id: ShardId) -> Puppet {
        Puppet {
            id,
            conns: Vec::new(),
            free: Vec::new(),
            ops: VecDeque::new(),
            draining: false,
            stats: Stats::default(),
        }
    }

    fn insert(&mut self, conn: Conn) -> ConnId {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.conns.push((0, None));
            (self.conns.len() - 1) as u32
        });
        let place = &mut self.conns[slot as usize];
        place.1 = Some(conn);
        self.stats.clients += 1;
        ConnId {
            slot,
            generation: place.0,
        }
    }

    fn get(&mut self, id: ConnId) -> Option<&mut Conn> {
        let (generation, conn) = self.conns.get_mut(id.slot as usize)?;
        conn.as_mut().filter(|_| *generation == id.generation)
    }

    fn remove(&mut self, id: ConnId) -> Option<Conn> {
        self.get(id)?;
        let place = &mut self.conns[id.slot as usize];
        place.0 += 1;
        self.free.push(id.slot);
        self.stats.clients -= 1;
        place.1.take()
    }

    fn op(&mut self, op: Op) {
        self.ops.push_back(Todo::Op(op));
    }

    fn send(&mut self, to: ConnId, bytes: impl Into<Vec<u8>>) {
        let bytes = bytes.into();
        self.op(Op::Send { to, bytes });
    }

    fn end(&mut self, id: ConnId, how: Close) {
        if let Some(conn) = self.remove(id) {
            self.op(Op::Close { conn: id, how });
            if let Some(peer) = conn.peer {
                self.end(peer, how);
            }
        }
    }

    fn start_tls(&mut self, conn: ConnId, role: TlsRole, early: Option<usize>) {
        self.op(Op::StartTls { conn, role, early });
    }

    fn received(&mut self, id: ConnId, bytes: &[u8]) {
        let Some(conn) = self.get(id) else { return };
        let (mode, secure, peer) = (conn.mode, conn.secure, conn.peer);
        let end = bytes.len();
        match mode {
            Mode::SecureEcho | Mode::SecureRelay if !secure => {
                conn.secure = true;
                self.start_tls(id, TlsRole::Server, Some(0));
            }
            Mode::Upgrade if !secure && bytes[0] == b'S' => {
                conn.secure = true;
                self.send(id, *b"S");
                let early = (end > 1).then_some(1);
                self.start_tls(id, TlsRole::Server, early);
            }
            Mode::Echo | Mode::SecureEcho | Mode::Upgrade => {
                self.op(Op::Forward {
                    to: id,
                    start: 0,
                    end,
                });
            }
            Mode::Relay | Mode::SecureRelay => {
                let Some(to) = peer else { return };
                if self.get(to).is_some_and(|p| p.open) {
                    self.op(Op::Forward { to, start: 0, end });
                } else if let Some(peer) = self.get(to) {
                    peer.waiting.extend_from_slice(bytes);
                }
            }
            Mode::Tricks => self.tricks(id, bytes),
        }
    }

    /// Commands end with a newline and may come several at a time, but not in parts.
    fn tricks(&mut self, id: ConnId, bytes: &[u8]) {
        let text = String::from_utf8_lossy(bytes).into_owned();
        for line in text.lines().filter(|line| !line.is_empty()) {
            self.trick(id, line);
        }
    }

    fn trick(&mut self, id: ConnId, line: &str) {
        let (command, rest) = line.split_at(1);
        let number: u64 = rest.parse().unwrap_or(0);
        match command {
            // Where am I?
            "W" => self.send(id, format!("{}\n", self.id.0)),
            // Move me.
            "M" => self.start_move(id, number as u16),
            // Send me a letter by way of another shard: it echoes, the echo names my slot.
            "P" => self.op(Op::Mail {
                to: ShardId(number as u16),
                body: Mail::Grant {
                    group: GroupId(0),
                    permits: id.slot,
                },
            }),
            // Send a lot and close.
            "C" => {
                let bytes = super::pattern(number as usize, 9);
                self.send(id, bytes);
                self.end(id, Close::Flush);
            }
            // Say goodbye and nothing more, but stay until the peer ends.
            "F" => {
                self.send(id, *b"bye");
                self.op(Op::Finish { conn: id });
            }
            // Close with nothing sent.
            "N" => {
                self.send(id, vec![b'x'; 100]);
                self.end(id, Close::Now);
            }
            "H" => self.op(Op::Hash {
                conn: id,
                job: HashJob {
                    password: std::sync::Arc::new(Zeroizing::new("pencil".to_owned())),
                    salt: b"salt".to_vec(),
                    iterations: number as u32,
                },
            }),
            // Stop reading; a letter to oneself starts it again.
            "R" => {
                self.op(Op::Read {
                    conn: id,
                    on: false,
                });
                self.op(Op::Mail {
                    to: self.id,
                    body: Mail::Return {
                        group: GroupId(0),
                        permits: id.slot,
                    },
                });
            }
            _ => self.send(id, *b"?\n"),
        }
    }

    fn start_move(&mut self, id: ConnId, to: u16) {
        let Some(conn) = self.remove(id) else { return };
        self.ops.push_back(Todo::Move {
            conn: id,
            to: ShardId(to),
            body: MovedPuppet {
                mode: conn.mode,
                secure: conn.secure,
                reply_to: self.id,
            },
        });
    }

    fn connected(&mut self, id: ConnId) {
        let Some(conn) = self.get(id) else { return };
        if conn.mode == Mode::SecureRelay {
            self.start_tls(id, TlsRole::Client(GroupId(1)), None);
        } else {
            self.opened(id);
        }
    }

    fn opened(&mut self, id: ConnId) {
        let Some(conn) = self.get(id) else { return };
        conn.open = true;
        let waiting = std::mem::take(&mut conn.waiting);
        if !waiting.is_empty() {
            self.send(id, waiting);
        }
    }

    fn read_peer(&mut self, id: ConnId, on: bool) {
        let Some(conn) = self.get(id) else { return };
        // An echo is its own peer.
        let conn = conn.peer.unwrap_or(id);
        self.op(Op::Read { conn, on });
    }

    fn mail(&mut self, from: ShardId, body: Mail) {
        match body {
            Mail::Grant { group, permits } => self.op(Op::Mail {
                to: from,
                body: Mail::Demand {
                    group,
                    waiting: permits,
                    held: u32::from(self.id.0),
                    idle: 0,
                    recalls: 0,
                },
            }),
            Mail::Demand {
                waiting: slot,
                held,
                ..
            } => {
                let generation = self.conns[slot as usize].0;
                self.send(ConnId { slot, generation }, format!("{held}\n"));
            }
            Mail::Return { permits: slot, .. } => {
                let generation = self.conns[slot as usize].0;
                self.op(Op::Read {
                    conn: ConnId { slot, generation },
                    on: true,
                });
            }
            _ => {}
        }
    }
}

impl Machine for Puppet {
    type Moved = MovedPuppet;
    const LOGS_IN: bool = false;

    fn accept(&mut self, _: Now, listener: ListenerId, _: IpAddr) -> Option<ConnId> {
        let mode = Mode::ALL[usize::from(listener.0)];
        let new = |is_backend, peer| Conn {
            mode,
            peer,
            is_backend,
            secure: false,
            waiting: Vec::new(),
            open: false,
        };
        let id = self.insert(new(false, None));
        if let Some(conn) = self.get(id) {
            conn.open = true;
        }
        let group = match mode {
            Mode::Relay => GroupId(0),
            Mode::SecureRelay => GroupId(1),
            _ => return Some(id),
        };
        let backend = self.insert(new(true, Some(id)));
        if let Some(conn) = self.get(backend) {
            conn.secure = true;
        }
        if let Some(conn) = self.get(id) {
            conn.peer = Some(backend);
        }
        self.op(Op::Connect {
            conn: backend,
            group,
        });
        Some(id)
    }

    fn adopt(&mut self, _: Now, moved: MovedPuppet) -> ConnId {
        self.stats.backends_moved += 1;
        let id = self.insert(Conn {
            mode: moved.mode,
            peer: None,
            is_backend: false,
            secure: moved.secure,
            waiting: Vec::new(),
            open: true,
        });
        self.send(id, format!("moved from {}\n", moved.reply_to.0));
        id
    }

    fn adopt_failed(&mut self, _: Now, _: MovedPuppet) {
        self.stats.backend_failures += 1;
    }

    fn handle(&mut self, _: Now, event: Event<'_>) {
        match event {
            Event::Received { conn, bytes } => self.received(conn, bytes),
            Event::Closed { conn, .. } => self.end(conn, Close::Flush),
            Event::Connected { conn } => self.connected(conn),
            Event::ConnectFailed { conn, error } => {
                if let Some(peer) = self.remove(conn).and_then(|c| c.peer) {
                    self.send(peer, error);
                    self.end(peer, Close::Flush);
                }
            }
            Event::TlsReady {
                conn,
                alpn_postgresql,
                ..
            } => {
                self.stats.cancels += u64::from(alpn_postgresql);
                if self.get(conn).is_some_and(|c| c.is_backend) {
                    self.opened(conn);
                }
            }
            Event::Congested { conn } => self.read_peer(conn, false),
            Event::Drained { conn } => self.read_peer(conn, true),
            Event::Hashed {
                conn,
                salted_password,
            } => {
                let hex: String = salted_password.iter().map(|b| format!("{b:02x}")).collect();
                self.send(conn, hex);
            }
            Event::Mail { from, body } => self.mail(from, body),
            Event::Config(settings) => self.stats.logins = settings.generation,
            Event::Drain => {
                self.draining = true;
                let live = self.conns.iter().enumerate().filter(|(_, c)| c.1.is_some());
                let live: Vec<ConnId> = live
                    .map(|(slot, c)| ConnId {
                        slot: slot as u32,
                        generation: c.0,
                    })
                    .collect();
                for id in live {
                    self.send(id, *b"bye");
                    self.end(id, Close::Flush);
                }
            }
        }
    }

    fn tick(&mut self, _: Now) {}

    fn next_op(&mut self) -> Option<Todo<MovedPuppet>> {
        self.ops.pop_front()
    }

    fn crowded(&self) -> bool {
        false
    }

    fn draft(&self) -> &[u8] {
        &[]
    }

    fn deadline(&self) -> Option<Now> {
        None
    }

    fn drained(&self) -> bool {
        self.draining && self.stats.clients == 0
    }

    fn stats(&self) -> Stats {
        self.stats
    }
}
