//! The machine of one shard: `handle(Event)`, `tick(now)`, `next_op()`, `deadline()`.
//!
//! This room joins the others: it finds the connection an event is about, asks the session, backend and pool concerned, and
//! puts out operations. It knows no engine (see [`crate::wire`]) and no socket (see [`crate::seam`]).

mod backends;
mod breaking;
mod cancel;
mod clients;
mod ending;
mod fresh;
mod gates;
mod lending;
mod login;
mod mailroom;
mod opening;
mod overtime;
mod permits;
mod states;
mod stats;
mod time;
mod upkeep;
mod words;

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use rand_chacha::ChaCha20Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::auth::scram::KeyEntry;
use crate::backend::{Backend, ErrandRun, MovedBackend};
use crate::ids::{ConnId, GroupId, ListenerId, Now, ShardId};
use crate::pool::Pool;
use crate::pool::gate::Gate;
use crate::pool::owner::Owner;
use crate::profile::Profiles;
use crate::seam::{Event, Op, Trace};
use crate::session::Client;
use crate::settings::{Settings, TargetGroup};
use crate::table::Table;
use crate::timers::Timers;
use crate::wire::{Catalog, Familiar};

pub use stats::Stats;

/// What a shard is made from.
pub struct ShardSetup {
    /// Its number.
    pub id: ShardId,
    /// How many there are.
    pub shards: u16,
    /// The configuration in force.
    pub settings: Arc<Settings>,
    /// A secret seed of its own, for cancel keys and nonces.
    pub seed: [u8; 32],
    /// The process's secret from which the SCRAM salts of unknown users are made; the same for all shards and over reloads.
    pub mock_secret: [u8; 32],
    /// The one thing that shards share.
    pub shared: Arc<Shared>,
}

/// The one thing that shards share: a count, touched at login and leave only, never per query. A limit on clients over all
/// shards must be exact and its refusal must not wait for mail.
#[derive(Default, Debug)]
pub struct Shared {
    /// Clients that are logged in, over all shards.
    pub clients: core::sync::atomic::AtomicU32,
}

enum Conn {
    Client(Box<Client>),
    Backend(Box<Backend>),
    Errand(Box<ErrandRun>),
}

/// One shard's whole state.
pub struct Shard {
    id: ShardId,
    shards: u16,
    settings: Arc<Settings>,
    shared: Arc<Shared>,
    rng: ChaCha20Rng,
    mock_secret: [u8; 32],
    table: Table<Conn>,
    timers: Timers,
    /// By [`GroupId`].
    pools: Vec<Pool>,
    /// By [`GroupId`]; only on shard 0 of several.
    owners: Vec<Owner>,
    gate: Gate,
    profiles: Profiles,
    /// SCRAM client keys seen at logins, by user, for users whose password weir does not have.
    learned: HashMap<Arc<str>, [u8; 32]>,
    /// Keys computed for a server's salt, by user, so that PBKDF2 runs once.
    cached: HashMap<Arc<str>, KeyEntry>,
    /// Connections in login, oldest first; may hold stale names.
    logins: VecDeque<ConnId>,
    /// When [`Shard::tick`] has group-wide work to do.
    wake_at: Option<Now>,
    draining: bool,
    /// Where the bytes being read begin in the buffer of the event: not 0 only behind a login.
    base: usize,
    /// Statements that sessions share.
    catalog: Catalog,
    /// Held once more for each long statement that is collected.
    long: Arc<()>,
    /// Texts that leave nothing on a session.
    familiar: Familiar,
    /// What the operations of this event name by range.
    draft: Vec<u8>,
    /// Room that conversations borrow.
    spare: Vec<u8>,
    made: Vec<u8>,
    /// What brings the backend that has just been lent to its client's settings.
    replay: Vec<u8>,
    ops: VecDeque<Op>,
    stats: Stats,
}

impl Shard {
    /// A new shard. Shard 0 also owns the permits and keeps the warm connections. Operations are waiting right after this.
    #[must_use]
    pub fn new(setup: ShardSetup, now: Now) -> Shard {
        let mut shard = Shard {
            id: setup.id,
            shards: setup.shards.max(1),
            settings: setup.settings,
            shared: setup.shared,
            rng: ChaCha20Rng::from_seed(setup.seed),
            mock_secret: setup.mock_secret,
            table: Table::default(),
            timers: Timers::default(),
            pools: Vec::new(),
            owners: Vec::new(),
            gate: Gate::default(),
            profiles: Profiles::default(),
            learned: HashMap::new(),
            cached: HashMap::new(),
            logins: VecDeque::new(),
            wake_at: None,
            draining: false,
            base: 0,
            catalog: Catalog::of_shard(setup.id.0),
            long: Arc::new(()),
            familiar: Familiar::default(),
            draft: Vec::new(),
            spare: Vec::new(),
            made: Vec::new(),
            replay: Vec::new(),
            ops: VecDeque::new(),
            stats: Stats::default(),
        };
        shard.open_books();
        shard.keep_warm(now);
        shard.wake_for_warm(now);
        shard
    }

    /// A client has connected. `None`: close it at once, there is no room even to refuse it politely.
    pub fn accept(&mut self, now: Now, listener: ListenerId, peer: IpAddr) -> Option<ConnId> {
        self.client_accepted(now, listener, peer)
    }

    /// A backend has come from another shard; its socket is to be known as the answered id.
    pub fn adopt(&mut self, now: Now, moved: Box<MovedBackend>) -> ConnId {
        self.backend_adopted(now, *moved)
    }

    /// A backend that another shard sent has been lost on the way; its permit arrives all the same.
    pub fn adopt_failed(&mut self, now: Now, moved: Box<MovedBackend>) {
        self.backend_lost_on_its_way(now, *moved);
    }

    /// Something happened.
    pub fn handle(&mut self, now: Now, event: Event<'_>) {
        self.draft.clear();
        match event {
            Event::Received { conn, bytes } => match self.table.get(conn) {
                Some(Conn::Client(_)) => self.client_received(now, conn, bytes),
                Some(Conn::Backend(_)) => self.backend_received(now, conn, bytes),
                Some(Conn::Errand(_)) => self.errand_received(now, conn, bytes),
                None => {}
            },
            Event::Closed { conn, why } => match self.table.get(conn) {
                Some(Conn::Client(_)) => self.client_lost(now, conn, why),
                Some(Conn::Backend(_)) => self.backend_lost(now, conn, why),
                Some(Conn::Errand(_)) => self.errand_over(now, conn),
                None => {}
            },
            Event::Connected { conn } => match self.table.get(conn) {
                Some(Conn::Backend(_)) => self.backend_connected(now, conn),
                Some(Conn::Errand(_)) => self.errand_connected(now, conn),
                Some(Conn::Client(_)) | None => {}
            },
            Event::ConnectFailed { conn, error } => match self.table.get(conn) {
                Some(Conn::Backend(_)) => self.opening_failed(now, conn, None, error),
                Some(Conn::Errand(_)) => self.errand_over(now, conn),
                Some(Conn::Client(_)) | None => {}
            },
            Event::TlsReady {
                conn,
                peer_end_point,
                alpn_postgresql,
            } => match self.table.get(conn) {
                Some(Conn::Client(_)) => self.client_tls_ready(conn, alpn_postgresql),
                Some(Conn::Backend(_)) => self.backend_tls_ready(now, conn, peer_end_point),
                Some(Conn::Errand(_)) => self.errand_tls_ready(now, conn),
                None => {}
            },
            Event::Hashed {
                conn,
                salted_password,
            } => self.backend_hashed(now, conn, salted_password),
            Event::Congested { conn } => self.congestion(conn, true),
            Event::Drained { conn } => self.congestion(conn, false),
            Event::Mail { from, body } => self.mail(now, from, body),
            Event::Config(settings) => self.reconfigure(now, settings),
            Event::Drain => self.drain(now),
        }
    }

    /// What [`Op::SendDraft`] names; valid until the next event.
    #[must_use]
    pub fn draft(&self) -> &[u8] {
        &self.draft
    }

    /// The next thing to do; `None` when there is nothing more until the next event.
    pub fn next_op(&mut self) -> Option<Op> {
        self.ops.pop_front()
    }

    /// After [`Event::Drain`]: no client is left.
    #[must_use]
    pub fn drained(&self) -> bool {
        self.draining && self.stats.clients == 0
    }

    /// More clients wait for a backend of some group than there are backends of it.
    #[must_use]
    pub fn crowded(&self) -> bool {
        self.pools.iter().any(|pool| pool.waiting > pool.open)
    }

    /// Counters and gauges.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let mut stats = self.stats;
        for pool in &self.pools {
            stats.clients_waiting += u64::from(pool.waiting);
            stats.backends += u64::from(pool.open);
            stats.backends_idle += pool.idle.len() as u64;
        }
        stats
    }

    fn op(&mut self, op: Op) {
        self.ops.push_back(op);
    }

    fn send(&mut self, to: ConnId, bytes: Vec<u8>) {
        if !bytes.is_empty() {
            self.ops.push_back(Op::Send { to, bytes });
        }
    }

    fn trace(&mut self, trace: Trace) {
        self.ops.push_back(Op::Trace(trace));
    }

    fn client(&mut self, id: ConnId) -> Option<&mut Client> {
        match self.table.get_mut(id) {
            Some(Conn::Client(client)) => Some(client),
            _ => None,
        }
    }

    fn backend(&mut self, id: ConnId) -> Option<&mut Backend> {
        match self.table.get_mut(id) {
            Some(Conn::Backend(backend)) => Some(backend),
            _ => None,
        }
    }

    fn pool(&mut self, group: GroupId) -> Option<&mut Pool> {
        self.pools.get_mut(usize::from(group.0))
    }

    fn group(&self, group: GroupId) -> Option<&TargetGroup> {
        self.settings.groups.get(usize::from(group.0))
    }

    fn random_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    fn random<const N: usize>(&mut self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.fill_bytes(&mut bytes);
        bytes
    }
}
