//! The run of one world: what happens next, to whom, and when it is over.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use weir_core::backend::MovedBackend;
use weir_core::ids::{ConnId, ListenerId, Now, ShardId};
use weir_core::seam::{Event, Mail};
use weir_core::settings::Settings;
use weir_core::shard::{Shard, ShardSetup, Shared};

use crate::client::{Client, ClientOut, End};
use crate::net::{Item, Kind, Sock, Waiting};
use crate::rng::Rng;
use crate::server::{ClientRecord, Server, ServerOut};
use crate::world::{self, Faults};
use crate::{Outcome, Sabotage, wire};

/// Simulated time in which everything must have ended: far above any timeout of a world.
const PATIENCE: u64 = 400_000_000_000;
/// How long after its last client a world is watched: long enough for mending and errands to end.
const REST: u64 = 20_000_000_000;
/// Time in which faults happen.
const TROUBLE: u64 = 60_000_000;

/// Something that will happen.
#[derive(PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Ev {
    Start(usize),
    Noise(usize),
    Wake(usize),
    ToPeer(u32),
    ToWeir(u32),
    Signal(u32),
    Connected(u32),
    ClientTls(u32, bool),
    ServerTls(u32),
    Hashed(u32, ConnId, usize, [u8; 32]),
    Mail(usize, usize),
    Kill,
    Refuse,
    Reload,
    Resize,
    Drain,
}

/// What goes from shard to shard.
pub(crate) enum Letter {
    Mail(Mail),
    Backend(u32, Box<MovedBackend>),
}

/// One world at work.
pub(crate) struct Run {
    pub now: u64,
    pub rng: Rng,
    pub verbose: bool,
    pub sabotage: Option<Sabotage>,
    pub shards: Vec<Shard>,
    pub settings: Arc<Settings>,
    pub pool_bound: u64,
    pub server: Server,
    pub clients: Vec<Client>,
    pub socks: BTreeMap<u32, Sock>,
    pub by_conn: BTreeMap<(usize, ConnId), u32>,
    pub next_sock: u32,
    pub letters: Vec<Vec<VecDeque<Letter>>>,
    pub mail_at: Vec<Vec<u64>>,
    pub latency: u64,
    pub window: usize,
    pub digest: u64,
    pub faults: Faults,
    /// Who waits for service, since when, and how often others went first: by mark.
    pub waiting: BTreeMap<u32, Waiting>,
    starts: Vec<u64>,
    noise: Vec<Vec<u8>>,
    pub cancels: Vec<(u32, Vec<u8>)>,
    pub piece: usize,
    pub refusing: bool,
    events: BinaryHeap<Reverse<(u64, u64, Ev)>>,
    count: u64,
    steps: u64,
    idle_ticks: u32,
    over_since: Option<u64>,
    violations: Vec<String>,
    log: VecDeque<String>,
}

impl Run {
    pub fn new(seed: u64, sabotage: Option<Sabotage>, verbose: bool) -> Run {
        let mut rng = Rng::new(seed);
        let mut world = world::make(&mut rng);
        world.server.deaf_discard = sabotage == Some(Sabotage::DeafDiscard);
        let settings = Arc::new(world.settings);
        let shared = Arc::new(Shared::default());
        let shards = (0..world.shards).map(|id| {
            let setup = ShardSetup {
                id: ShardId(id as u16),
                shards: world.shards as u16,
                settings: Arc::clone(&settings),
                seed: rng.bytes(),
                mock_secret: [3; 32],
                shared: Arc::clone(&shared),
            };
            Shard::new(setup, Now(0))
        });
        let shards: Vec<Shard> = shards.collect();
        let pool_bound = u64::from(settings.groups[0].lending.max_connection_pool_size);
        let n = shards.len();
        Run {
            now: 0,
            verbose,
            sabotage,
            shards,
            settings,
            pool_bound,
            server: Server::new(world.server, rng.fork()),
            rng,
            clients: world.clients,
            socks: BTreeMap::new(),
            by_conn: BTreeMap::new(),
            next_sock: 0,
            letters: (0..n)
                .map(|_| (0..n).map(|_| VecDeque::new()).collect())
                .collect(),
            mail_at: vec![vec![0; n]; n],
            latency: world.latency,
            window: world.window as usize,
            digest: seed,
            faults: world.faults,
            waiting: BTreeMap::new(),
            starts: world.starts,
            noise: world.noise,
            cancels: Vec::new(),
            piece: world.piece,
            refusing: false,
            events: BinaryHeap::new(),
            count: 0,
            steps: 0,
            idle_ticks: 0,
            over_since: None,
            violations: Vec::new(),
            log: VecDeque::new(),
        }
    }

    /// Runs until the world has come to rest, or something is wrong.
    pub fn go(&mut self) {
        self.begin();
        while self.sound() && self.step() {}
        self.violations.append(&mut self.server.shared.violations);
    }

    /// Nothing wrong so far.
    pub fn sound(&self) -> bool {
        self.violations.is_empty() && self.server.shared.violations.is_empty()
    }

    /// How it went.
    pub fn outcome(self) -> Outcome {
        let cycles = self.shards.iter().map(|s| s.stats().cycles).sum();
        let done = self.clients.iter().filter(|c| c.end == Some(End::Done));
        Outcome {
            violations: self.violations,
            log: self.log.into(),
            steps: self.steps,
            digest: self.digest,
            cycles,
            finished: done.count() as u64,
        }
    }

    pub fn say(&mut self, text: String) {
        if self.verbose {
            self.log
                .push_back(format!("{:>12.3} ms {text}", self.now as f64 / 1e6));
        }
    }

    pub fn violation(&mut self, text: String) {
        self.say(format!("VIOLATION {text}"));
        self.violations
            .push(format!("at {:.3} ms: {text}", self.now as f64 / 1e6));
    }

    pub fn at(&mut self, at: u64, event: Ev) {
        self.count += 1;
        self.events.push(Reverse((at, self.count, event)));
    }

    fn begin(&mut self) {
        for (i, client) in self.clients.iter().enumerate() {
            let who = &client.who;
            let record = ClientRecord {
                user: who.user.clone(),
                database: who.database.clone(),
                torn: client.torn(),
                ..ClientRecord::default()
            };
            self.server.shared.clients.insert(who.id, record);
            self.events
                .push(Reverse((self.starts[i], i as u64, Ev::Start(i))));
        }
        self.count = 1000;
        for i in 0..self.noise.len() {
            self.at(0, Ev::Noise(i));
        }
        let f = self.faults;
        for (every, event) in [
            (f.kills, Ev::Kill),
            (f.refusals, Ev::Refuse),
            (f.reloads, Ev::Reload),
            (f.resizes, Ev::Resize),
            (f.drain_at, Ev::Drain),
        ] {
            if every > 0 {
                let at = self.rng.below(every);
                self.at(at, event);
            }
        }
        for shard in 0..self.shards.len() {
            self.obey(shard, b"");
        }
    }

    /// Does the next thing; false when the world has come to rest.
    fn step(&mut self) -> bool {
        self.steps += 1;
        if self.steps > 3_000_000 {
            self.violation("the world does not come to rest".to_owned());
            return false;
        }
        let event = self.events.peek().map(|Reverse((at, _, _))| *at);
        let served = self.server.deadline();
        let mut ticks: Vec<(u64, usize)> = Vec::new();
        for (i, shard) in self.shards.iter().enumerate() {
            ticks.extend(shard.deadline().map(|at| (at.0.max(self.now), i)));
        }
        let tick = ticks.into_iter().min();
        let next = [event, served, tick.map(|t| t.0)]
            .into_iter()
            .flatten()
            .min();
        let Some(next) = next else { return false };
        if !self.over() {
            self.over_since = None;
        } else if *self.over_since.get_or_insert(self.now) + REST < next && event.is_none() {
            return false;
        }
        if next > PATIENCE {
            let mut stuck: Vec<String> = self
                .clients
                .iter()
                .filter(|c| c.end.is_none())
                .map(Client::standing)
                .collect();
            let held = self
                .socks
                .values()
                .filter(|s| s.kind != Kind::Backend && s.conn.is_some());
            stuck.extend(held.map(|s| format!("{:?} is still held by weir", s.kind)));
            self.violation(format!("not all has ended: {stuck:?}"));
            return false;
        }
        if next > self.now {
            self.idle_ticks = 0;
        }
        self.now = self.now.max(next);
        if let Some((at, shard)) = tick
            && at <= next
            && event.is_none_or(|e| at <= e)
        {
            self.tick(shard);
        } else if event.is_some_and(|e| e <= next) {
            self.idle_ticks = 0;
            if let Some(Reverse((_, _, event))) = self.events.pop() {
                self.happen(event);
            }
        } else {
            self.server.tick(self.now);
            self.server_out();
        }
        true
    }

    fn tick(&mut self, shard: usize) {
        self.idle_ticks += 1;
        if self.idle_ticks > 1000 {
            self.violation(format!("shard {shard} ticks on and on"));
        }
        self.shards[shard].tick(Now(self.now));
        self.obey(shard, b"");
    }

    /// Whether every client is done and weir has let go of them.
    fn over(&self) -> bool {
        let clients = self.clients.iter().all(|c| c.end.is_some());
        clients
            && self
                .socks
                .values()
                .all(|s| s.kind == Kind::Backend || s.conn.is_none())
    }

    fn happen(&mut self, event: Ev) {
        match event {
            Ev::Start(client) => self.start(Kind::Client(client)),
            Ev::Noise(i) => {
                let bytes = self.noise[i].clone();
                self.start(Kind::Noise);
                let sock = self.next_sock;
                if self.socks.contains_key(&sock) && !bytes.is_empty() {
                    self.inward(sock, Item::Bytes(bytes));
                }
            }
            Ev::Wake(client) => {
                self.clients[client].advance(self.now);
                self.client_out(client);
            }
            Ev::ToPeer(sock) => self.arrive_at_peer(sock),
            Ev::ToWeir(sock) => self.arrive_at_weir(sock),
            Ev::Signal(sock) => self.signal(sock),
            Ev::Connected(sock) => self.connected(sock),
            Ev::ClientTls(sock, direct) => self.client_tls(sock, direct),
            Ev::ServerTls(sock) => {
                self.server.tls_up(sock);
                if let Some((shard, conn)) = self.weir_side(sock) {
                    let peer_end_point = Some(world::server_end_point());
                    self.handle(
                        shard,
                        Event::TlsReady {
                            conn,
                            peer_end_point,
                            alpn_postgresql: false,
                        },
                    );
                }
            }
            Ev::Hashed(sock, conn, shard, salted_password) => {
                if self.weir_side(sock) == Some((shard, conn)) {
                    self.handle(
                        shard,
                        Event::Hashed {
                            conn,
                            salted_password,
                        },
                    );
                }
            }
            Ev::Mail(from, to) => self.deliver_mail(from, to),
            Ev::Kill | Ev::Refuse | Ev::Reload | Ev::Resize | Ev::Drain => self.trouble(event),
        }
    }

    fn trouble(&mut self, event: Ev) {
        if self.verbose {
            self.say(format!("trouble: {event:?}"));
        }
        let every = match event {
            Ev::Kill => {
                let sessions = self.server.logged_in();
                if !sessions.is_empty() {
                    let sock = *self.rng.pick(&sessions);
                    self.server.terminate(sock);
                    self.server_out();
                }
                self.faults.kills
            }
            Ev::Refuse => {
                self.refusing = !self.refusing;
                self.faults.refusals
            }
            Ev::Reload => {
                let zone = *self.rng.pick(&["UTC", "CET", "Asia/Tokyo"]);
                self.server.reload_timezone(zone);
                self.server_out();
                self.faults.reloads
            }
            Ev::Resize => {
                self.reconfigure();
                self.faults.resizes
            }
            _ => {
                for shard in 0..self.shards.len() {
                    self.handle(shard, Event::Drain);
                }
                return;
            }
        };
        if self.now < TROUBLE {
            let at = self.now + self.rng.range(every / 4, every * 2);
            self.at(at, event);
        } else {
            self.refusing = false;
        }
    }

    pub(crate) fn weir_side(&self, sock: u32) -> Option<(usize, ConnId)> {
        let s = self.socks.get(&sock)?;
        Some((s.shard, s.conn?))
    }

    fn start(&mut self, kind: Kind) {
        let shard = self.rng.index(self.shards.len());
        let peer = IpAddr::V4(Ipv4Addr::new(10, 0, 0, self.rng.range(1, 2) as u8));
        let accepted = self.shards[shard].accept(Now(self.now), ListenerId(0), peer);
        let sock = self.open(kind, shard);
        match accepted {
            Some(conn) => {
                self.name(sock, shard, conn);
                if self.verbose {
                    self.say(format!("shard {shard} accepts {kind:?} as {conn:?}"));
                }
            }
            None => self.inward_refused(sock),
        }
        self.obey(shard, b"");
        match kind {
            Kind::Client(i) => {
                self.clients[i].begin();
                self.client_out(i);
            }
            Kind::Canceller(i) => {
                let first = if self.settings.listeners[0].server_end_point.is_some() {
                    wire::ssl_request()
                } else {
                    wire::cancel_request(self.cancels[i].0, &self.cancels[i].1)
                };
                self.inward(sock, Item::Bytes(first));
            }
            Kind::Noise | Kind::Backend => {}
        }
    }

    fn inward_refused(&mut self, sock: u32) {
        if let Some(s) = self.socks.get_mut(&sock) {
            s.backlog.push_back(Item::Rst);
        }
        self.pump(sock);
    }

    fn client_sock(&self, client: usize) -> Option<u32> {
        let found = self
            .socks
            .iter()
            .find(|(_, s)| s.kind == Kind::Client(client));
        found.map(|(n, _)| *n)
    }

    /// What a client does now.
    pub(crate) fn client_out(&mut self, client: usize) {
        let Some(sock) = self.client_sock(client) else {
            return;
        };
        for out in self.clients[client].take_out() {
            match out {
                ClientOut::Bytes(bytes) => self.inward(sock, Item::Bytes(bytes)),
                ClientOut::Fin => {
                    self.client_gone(client);
                    self.inward(sock, Item::Fin);
                }
                ClientOut::Rst => {
                    self.client_gone(client);
                    self.inward(sock, Item::Rst);
                }
                ClientOut::Cancel(pid, secret, honest) => {
                    let id = self.clients[client].who.id;
                    if let Some(record) = self.server.shared.clients.get_mut(&id) {
                        record.cancels |= honest;
                    }
                    self.cancels.push((pid, secret));
                    self.start(Kind::Canceller(self.cancels.len() - 1));
                }
                ClientOut::WakeAt(at) => self.at(at, Ev::Wake(client)),
            }
        }
    }

    fn client_gone(&mut self, client: usize) {
        let id = self.clients[client].who.id;
        if let Some(record) = self.server.shared.clients.get_mut(&id) {
            record.gone = true;
        }
    }

    pub(crate) fn server_out(&mut self) {
        for (sock, out) in self.server.take_out() {
            match out {
                ServerOut::Bytes(bytes) => self.inward(sock, Item::Bytes(bytes)),
                ServerOut::Close => self.inward(sock, Item::Fin),
            }
        }
    }
}
