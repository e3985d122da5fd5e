//! Whole shards fed with events that the input chooses.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use weir_core::auth::ClientAuthMethod;
use weir_core::backend::MovedBackend;
use weir_core::ids::{ConnId, ListenerId, Now, ShardId};
use weir_core::seam::{Event, Lost, Mail, Op};
use weir_core::settings::{ClientTls, Settings, TargetTls};
use weir_core::shard::{Shard, ShardSetup, Shared};

use super::input::Input;
use crate::rng::Rng;
use crate::{wire, world};

/// Messages that lead deep into the machine; `#` the input can also make by itself, but rarely does.
fn client_message(which: u8) -> Vec<u8> {
    let batch = wire::cat(&[
        &wire::parse("", "select 1"),
        &wire::bind("", "", &[]),
        &wire::execute("", 0),
    ]);
    match which % 16 {
        0 => wire::query("select 1"),
        1 => wire::query("begin"),
        2 => wire::query("commit"),
        3 => wire::query("set a = 1"),
        4 => batch,
        5 => wire::sync(),
        6 => wire::flush(),
        7 => wire::parse("s", "select 1"),
        8 => wire::query("copy t from stdin"),
        9 => wire::copy_data(b"x\n"),
        10 => wire::copy_done(),
        11 => wire::copy_fail("no"),
        12 => wire::function_call(1, "x"),
        13 => wire::terminate(),
        14 => wire::bind("", "", &[]),
        _ => wire::query("select currval('s')"),
    }
}

fn server_message(which: u8) -> Vec<u8> {
    match which % 16 {
        0 => wire::ready(b'I'),
        1 => wire::ready(b'T'),
        2 => wire::ready(b'E'),
        3 => wire::complete("SELECT 1"),
        4 => wire::error(b'E', "ERROR", "22012", "no"),
        5 => wire::error(b'E', "FATAL", "57P01", "bye"),
        6 => wire::error(b'N', "NOTICE", "00000", "hm"),
        7 => wire::parameter_status("TimeZone", "CET"),
        8 => wire::copy_response(b'G'),
        9 => wire::copy_response(b'H'),
        10 => wire::message(b'1', b""),
        11 => wire::message(b'2', b""),
        12 => wire::cat(&[&wire::row_description(&["a"]), &wire::data_row(&["1"])]),
        13 => wire::notification(1, "ch", "x"),
        14 => wire::complete("DISCARD ALL"),
        _ => wire::cat(&[&wire::message(b'V', &[0xff; 4]), &wire::ready(b'I')]),
    }
}

/// A server's end of a login.
fn hello() -> Vec<u8> {
    let zone = wire::parameter_status("TimeZone", "UTC");
    let key = wire::backend_key_data(7, &[1, 2, 3, 4]);
    wire::cat(&[
        &wire::authentication(0, b""),
        &zone,
        &key,
        &wire::ready(b'I'),
    ])
}

/// What the fuzzed world knows of a connection.
#[derive(Clone, Copy)]
struct Known {
    shard: usize,
    conn: ConnId,
    backend: bool,
}

struct World {
    shards: Vec<Shard>,
    settings: Arc<Settings>,
    known: Vec<Known>,
    mail: VecDeque<(usize, usize, Mail)>,
    moves: VecDeque<(usize, Box<MovedBackend>)>,
    now: u64,
    /// The text that mending asks for, so that it can be answered.
    proof: Vec<u8>,
    /// The salt of the last md5 request.
    salt: Option<[u8; 4]>,
    spoken: usize,
}

impl World {
    fn new(first: u8) -> World {
        let mut rng = Rng::new(u64::from(first));
        let mut settings = world::make(&mut rng).settings;
        settings.listeners[0].tls = ClientTls::Off;
        settings.listeners[0].server_end_point = None;
        settings.listeners[0].client_auth = ClientAuthMethod::Md5;
        settings.groups[0].tls = TargetTls::Off;
        let settings = Arc::new(settings);
        let shared = Arc::new(Shared::default());
        let count = 1 + u16::from(first % 2);
        let setup = |id| ShardSetup {
            id: ShardId(id),
            shards: count,
            settings: Arc::clone(&settings),
            seed: [1; 32],
            mock_secret: [2; 32],
            shared: Arc::clone(&shared),
        };
        let shards = (0..count).map(|id| Shard::new(setup(id), Now(0))).collect();
        World {
            shards,
            settings,
            known: Vec::new(),
            mail: VecDeque::new(),
            moves: VecDeque::new(),
            now: 0,
            proof: Vec::new(),
            salt: None,
            spoken: 0,
        }
    }

    fn handle(&mut self, shard: usize, event: Event<'_>) {
        let bytes: &[u8] = if let Event::Received { bytes, .. } = event {
            bytes
        } else {
            b""
        };
        self.shards[shard].handle(Now(self.now), event);
        self.obey(shard, bytes.len());
    }

    fn obey(&mut self, shard: usize, lent: usize) {
        let mut count = 0;
        while let Some(op) = self.shards[shard].next_op() {
            count += 1;
            assert!(count < 10_000, "operations do not end");
            match op {
                Op::Forward { to, start, end } => {
                    assert!(start < end && end <= lent, "a range outside the bytes");
                    self.must_know(shard, to);
                    self.spoken += end - start;
                }
                Op::Send { to, bytes } => {
                    self.must_know(shard, to);
                    self.spoken += bytes.len();
                    if bytes.starts_with(&[b'R', 0, 0, 0, 12, 0, 0, 0, 5]) {
                        self.salt = bytes.get(9..13).and_then(|s| s.try_into().ok());
                    }
                    if let Some(at) = bytes.windows(8).position(|w| w == b"SELECT '") {
                        self.proof = bytes[at + 8..].iter().take(16).copied().collect();
                    }
                }
                Op::SendDraft { to, start, end } => {
                    let length = self.shards[shard].draft().len();
                    assert!(start < end && end <= length, "a range outside the draft");
                    self.must_know(shard, to);
                    self.spoken += end - start;
                }
                Op::Connect { conn, .. } => self.known.push(Known {
                    shard,
                    conn,
                    backend: true,
                }),
                Op::Close { conn, .. } => {
                    self.must_know(shard, conn);
                    self.known.retain(|k| k.shard != shard || k.conn != conn);
                }
                Op::Finish { conn } => self.must_know(shard, conn),
                Op::Mail { to, body } => self.mail.push_back((shard, usize::from(to.0), body)),
                Op::Move { conn, to, body } => {
                    self.must_know(shard, conn);
                    self.known.retain(|k| k.shard != shard || k.conn != conn);
                    self.moves.push_back((usize::from(to.0), body));
                }
                Op::StartTls { .. } | Op::Read { .. } | Op::Hash { .. } | Op::Trace(_) => {}
            }
        }
    }

    fn must_know(&self, shard: usize, conn: ConnId) {
        let known = self
            .known
            .iter()
            .any(|k| k.shard == shard && k.conn == conn);
        assert!(
            known,
            "shard {shard} names {conn:?}, which is closed or never was"
        );
    }

    fn pick(&self, which: u8, backend: bool) -> Option<Known> {
        let fitting: Vec<Known> = self
            .known
            .iter()
            .filter(|k| k.backend == backend)
            .copied()
            .collect();
        fitting
            .get(usize::from(which) % fitting.len().max(1))
            .copied()
    }

    fn receive(&mut self, to: Option<Known>, bytes: &[u8]) {
        if let Some(Known { shard, conn, .. }) = to
            && !bytes.is_empty()
        {
            self.handle(shard, Event::Received { conn, bytes });
        }
    }

    fn accept(&mut self, which: u8) {
        let shard = usize::from(which) % self.shards.len();
        let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, which % 3));
        if let Some(conn) = self.shards[shard].accept(Now(self.now), ListenerId(0), peer) {
            self.known.push(Known {
                shard,
                conn,
                backend: false,
            });
        }
        self.obey(shard, 0);
        assert!(self.known.len() < 100_000);
    }

    fn deliver(&mut self) {
        if let Some((from, to, body)) = self.mail.pop_front() {
            let from = ShardId(from as u16);
            self.handle(to, Event::Mail { from, body });
        } else if let Some((to, body)) = self.moves.pop_front() {
            let conn = self.shards[to].adopt(Now(self.now), body);
            self.known.push(Known {
                shard: to,
                conn,
                backend: true,
            });
            self.obey(to, 0);
        }
    }

    fn pass_time(&mut self, which: u8) {
        self.now += 1u64 << (which % 38);
        for shard in 0..self.shards.len() {
            let mut ticks = 0;
            while self.shards[shard]
                .deadline()
                .is_some_and(|at| at.0 <= self.now)
            {
                ticks += 1;
                assert!(ticks < 1000, "ticks do not end");
                self.shards[shard].tick(Now(self.now));
                self.obey(shard, 0);
            }
        }
    }

    /// A client whose login is right needs the salt, which the fuzzer can't know: it logs in with what it gets.
    fn log_in_client(&mut self, which: u8) {
        let Some(Known { shard, conn, .. }) = self.pick(which, false) else {
            return;
        };
        let parameters = [
            ("user".to_owned(), "app".to_owned()),
            ("database".to_owned(), "db1".to_owned()),
        ];
        let bytes = wire::startup(wire::V3_0, &parameters);
        self.salt = None;
        self.handle(
            shard,
            Event::Received {
                conn,
                bytes: &bytes,
            },
        );
        if let Some(salt) = self.salt.take() {
            let bytes = wire::password(&crate::scram::md5_answer("app", "app-secret", &salt));
            self.handle(
                shard,
                Event::Received {
                    conn,
                    bytes: &bytes,
                },
            );
        }
    }

    fn event(&mut self, input: &mut Input<'_>, what: u8, which: u8) {
        let (client, backend) = (self.pick(which, false), self.pick(which, true));
        let either = if what > 128 { client } else { backend };
        match what % 16 {
            0 => self.accept(which),
            1 => self.receive(client, input.bytes(usize::from(what >> 4))),
            2 | 3 => self.receive(client, &client_message(what >> 4)),
            4 => self.log_in_client(which),
            5 | 6 => self.connected(backend, what >> 4 == 15),
            7 => self.receive(backend, input.bytes(usize::from(what >> 4))),
            8 | 9 => self.receive(backend, &server_message(what >> 4)),
            10 => self.receive(backend, &hello()),
            11 => self.closed(either, which & 1 == 0),
            12 => self.pass_time(which),
            13 => self.signal(either, which & 1 == 0),
            14 => self.deliver(),
            _ if what > 200 => {
                let proof = String::from_utf8_lossy(&self.proof).into_owned();
                let row = wire::data_row(&[&proof]);
                let end = wire::cat(&[&wire::complete("SELECT 1"), &wire::ready(b'I')]);
                self.receive(backend, &wire::cat(&[&row, &end]));
            }
            _ => self.other(which),
        }
    }

    fn connected(&mut self, which: Option<Known>, failed: bool) {
        let Some(Known { shard, conn, .. }) = which else {
            return;
        };
        if failed {
            let error = "no".to_owned();
            self.handle(shard, Event::ConnectFailed { conn, error });
        } else {
            self.handle(shard, Event::Connected { conn });
        }
    }

    fn closed(&mut self, which: Option<Known>, politely: bool) {
        let Some(Known { shard, conn, .. }) = which else {
            return;
        };
        let why = if politely { Lost::Eof } else { Lost::Reset };
        self.handle(shard, Event::Closed { conn, why });
    }

    fn signal(&mut self, which: Option<Known>, full: bool) {
        let Some(Known { shard, conn, .. }) = which else {
            return;
        };
        let full = if full {
            Event::Congested { conn }
        } else {
            Event::Drained { conn }
        };
        self.handle(shard, full);
    }

    fn other(&mut self, which: u8) {
        match which % 4 {
            0 => {
                let mut settings = (*self.settings).clone();
                settings.generation += 1;
                settings.groups[0].lending.max_connection_pool_size = 1 + u32::from(which) % 5;
                self.settings = Arc::new(settings);
                for shard in 0..self.shards.len() {
                    let settings = Arc::clone(&self.settings);
                    self.handle(shard, Event::Config(settings));
                }
            }
            1 if which > 240 => {
                for shard in 0..self.shards.len() {
                    self.handle(shard, Event::Drain);
                }
            }
            2 => {
                let conn = ConnId {
                    slot: u32::from(which),
                    generation: 7,
                };
                self.handle(
                    0,
                    Event::Received {
                        conn,
                        bytes: b"stale",
                    },
                );
            }
            _ => {
                if let Some((to, body)) = self.moves.pop_front() {
                    self.shards[to].adopt_failed(Now(self.now), body);
                    self.obey(to, 0);
                }
            }
        }
    }
}

/// Whole shards fed with events that the input chooses.
///
/// # Panics
/// When a shard breaks the contract of the seam, grows or does not end.
pub fn session(data: &[u8]) {
    let mut input = Input(data);
    let Some(first) = input.byte() else { return };
    let mut world = World::new(first);
    for shard in 0..world.shards.len() {
        world.obey(shard, 0);
    }
    while let (Some(what), Some(which)) = (input.byte(), input.byte()) {
        world.event(&mut input, what, which);
    }
    let per_event = 70_000;
    assert!(
        world.spoken <= (data.len() + 2) * per_event,
        "far more is said than was asked for"
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_through_the_fuzzers_world() {
        let mut world = World::new(0);
        world.obey(0, 0);
        world.accept(0);
        world.log_in_client(0);
        assert!(
            world.shards[0].stats().clients_in_login == 0 && world.shards[0].stats().clients == 1
        );
    }
}
