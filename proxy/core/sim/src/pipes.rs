//! Bytes under way: pieces to weir, pieces to the far ends, full sockets, TLS that comes up.

use weir_core::seam::{Event, Lost};

use crate::net::{Item, Kind};
use crate::run::{Ev, Run};
use crate::wire;

impl Run {
    /// Something goes to weir: in pieces, each in its time.
    pub(crate) fn inward(&mut self, sock: u32, item: Item) {
        let mut pieces = Vec::new();
        match item {
            Item::Bytes(bytes) => {
                let mut rest = &bytes[..];
                while !rest.is_empty() {
                    let most = if rest.len() > 5000 { 4096 } else { self.piece };
                    let n = rest.len().min(1 + self.rng.index(most));
                    pieces.push(Item::Bytes(rest[..n].to_vec()));
                    rest = &rest[n..];
                }
            }
            other => pieces.push(other),
        }
        for piece in pieces {
            let delay = self.rng.below(self.latency);
            let Some(s) = self.socks.get_mut(&sock) else {
                return;
            };
            let at = (self.now + delay).max(s.inward_at + 1);
            s.inward_at = at;
            s.inward.push_back(piece);
            self.at(at, Ev::ToWeir(sock));
        }
    }

    pub(crate) fn arrive_at_weir(&mut self, sock: u32) {
        let Some(s) = self.socks.get_mut(&sock) else {
            return;
        };
        if s.moving {
            s.disturbed = true;
        }
        let Some(conn) = s.conn else {
            s.inward.pop_front();
            return;
        };
        if !s.read {
            s.stalled += 1;
            return;
        }
        let shard = s.shard;
        let Some(item) = s.inward.pop_front() else {
            return;
        };
        match item {
            Item::Bytes(_) if s.handshake => {}
            Item::Bytes(bytes) => {
                self.note_request(sock, &bytes);
                self.handle(
                    shard,
                    Event::Received {
                        conn,
                        bytes: &bytes,
                    },
                );
            }
            Item::Fin => self.handle(
                shard,
                Event::Closed {
                    conn,
                    why: Lost::Eof,
                },
            ),
            Item::Rst => self.handle(
                shard,
                Event::Closed {
                    conn,
                    why: Lost::Reset,
                },
            ),
            Item::Tls => {}
        }
    }

    /// Moves what waits in the shell into the socket as far as that takes it.
    pub(crate) fn pump(&mut self, sock: u32) {
        loop {
            let most = if self.window > 60_000 {
                8192
            } else {
                self.piece * 4
            };
            let most = 1 + self.rng.index(most);
            let delay = self.rng.below(self.latency);
            let Some(s) = self.socks.get_mut(&sock) else {
                return;
            };
            let Some(item) = s.take_backlog(most) else {
                break;
            };
            let at = (self.now + delay).max(s.outward_at + 1);
            s.outward_at = at;
            s.outward.push_back(item);
            self.at(at, Ev::ToPeer(sock));
        }
        let Some(s) = self.socks.get_mut(&sock) else {
            return;
        };
        let full = s.backlog_bytes > 0;
        if full != s.told_congested && !s.signal_due && s.conn.is_some() {
            s.signal_due = true;
            let at = self.now + self.rng.below(20_000);
            self.at(at, Ev::Signal(sock));
        }
    }

    pub(crate) fn signal(&mut self, sock: u32) {
        let Some(s) = self.socks.get_mut(&sock) else {
            return;
        };
        s.signal_due = false;
        let full = s.backlog_bytes > 0;
        let (Some(conn), shard) = (s.conn, s.shard) else {
            return;
        };
        if full == s.told_congested {
            return;
        }
        s.told_congested = full;
        s.bytes_when_told = s.backlog_bytes;
        self.handle(
            shard,
            if full {
                Event::Congested { conn }
            } else {
                Event::Drained { conn }
            },
        );
    }

    pub(crate) fn arrive_at_peer(&mut self, sock: u32) {
        let Some(s) = self.socks.get_mut(&sock) else {
            return;
        };
        let Some(item) = s.outward.pop_front() else {
            return;
        };
        if let Item::Bytes(bytes) = &item {
            s.outward_bytes -= bytes.len();
        }
        let kind = s.kind;
        // A connection that weir has only finished lives on until weir closes it.
        let ended = match item {
            Item::Fin => s.conn.is_none(),
            Item::Rst => true,
            Item::Bytes(_) | Item::Tls => false,
        };
        match (kind, item) {
            (Kind::Client(i), Item::Bytes(bytes)) => self.clients[i].receive(self.now, &bytes),
            (Kind::Client(i), Item::Tls) => self.clients[i].tls_up(),
            (Kind::Client(i), _) => self.clients[i].lost(),
            (Kind::Backend, Item::Bytes(bytes)) => self.server.receive(self.now, sock, &bytes),
            (Kind::Backend, _) => self.server.gone(self.now, sock),
            (Kind::Canceller(i), Item::Tls) => {
                let bytes = wire::cancel_request(self.cancels[i].0, &self.cancels[i].1);
                self.inward(sock, Item::Bytes(bytes));
            }
            (Kind::Canceller(_) | Kind::Noise, _) => {}
        }
        if let Kind::Client(i) = kind {
            self.client_out(i);
        }
        self.server_out();
        self.pump(sock);
        if ended {
            self.socks.remove(&sock);
        }
    }

    pub(crate) fn connected(&mut self, sock: u32) {
        let Some((shard, conn)) = self.weir_side(sock) else {
            return;
        };
        if self.refusing {
            let error = "connection refused at db.test:5432".to_owned();
            return self.handle(shard, Event::ConnectFailed { conn, error });
        }
        self.server.connect(sock);
        self.handle(shard, Event::Connected { conn });
    }

    pub(crate) fn client_tls(&mut self, sock: u32, direct: bool) {
        let Some((shard, conn)) = self.weir_side(sock) else {
            return;
        };
        if let Some(s) = self.socks.get_mut(&sock) {
            if !s.inward.is_empty() {
                // The handshake is not there yet.
                let at = self.now + self.latency;
                return self.at(at, Ev::ClientTls(sock, direct));
            }
            s.handshake = false;
        }
        self.handle(
            shard,
            Event::TlsReady {
                conn,
                peer_end_point: None,
                alpn_postgresql: direct,
            },
        );
        let Some(s) = self.socks.get_mut(&sock) else {
            return;
        };
        s.backlog.push_back(Item::Tls);
        self.pump(sock);
    }
}
