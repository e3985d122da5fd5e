//! The steady state costs no allocation: neither a simple query nor an extended one, with a backend free.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weir_core::auth::{ClientAuthMethod, UserSecret, md5};
use weir_core::ids::{ConnId, GroupId, ListenerId, Now, ShardId};
use weir_core::seam::{Event, Op};
use weir_core::settings::{
    ClientTls, Engine, Lending, Listener, Settings, TargetGroup, TargetTls, TimeLimits, Upkeep,
    User,
};
use weir_core::shard::{Shard, ShardSetup};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

// SAFETY: hands every call on to the system's allocator unchanged; it only counts.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.with(|n| n.set(n.get() + 1));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

fn settings() -> Settings {
    let name: Arc<str> = "app".into();
    let secret = Arc::new(UserSecret::from_password("secret", [1; 16]));
    let user = User {
        name: Arc::clone(&name),
        secret,
        limits: TimeLimits::default(),
    };
    Settings {
        generation: 1,
        listeners: vec![Listener {
            group: GroupId(0),
            engine: Engine::Postgres,
            tls: ClientTls::Off,
            server_end_point: None,
            client_auth: ClientAuthMethod::Md5,
        }],
        groups: vec![TargetGroup {
            name: "default".into(),
            engine: Engine::Postgres,
            address: "db:5432".into(),
            tls: TargetTls::Off,
            database: "app".into(),
            warm_user: Some(Arc::clone(&name)),
            lending: Lending {
                min_connection_pool_size: 1,
                max_connection_pool_size: 2,
                idle_timeout: Duration::from_secs(600),
                borrow_timeout: Some(Duration::from_secs(5)),
                max_borrowed_connections: None,
                connection_lifetime: None,
                connect_timeout: Duration::from_secs(10),
                upkeep: Upkeep::default(),
            },
        }],
        users: HashMap::from([(name, user)]),
        max_client_connections: 10,
        idle_client_timeout: Some(Duration::from_secs(1800)),
        login_timeout: Duration::from_secs(60),
    }
}

struct Rig {
    shard: Shard,
    now: u64,
    client: ConnId,
    backend: ConnId,
    forwarded: usize,
    drafted: usize,
}

impl Rig {
    fn event(&mut self, event: Event<'_>) {
        self.now += 1000;
        self.shard.handle(Now(self.now), event);
    }

    fn sent(&mut self) -> Vec<u8> {
        let mut out = Vec::new();
        while let Some(op) = self.shard.next_op() {
            if let Op::Send { bytes, .. } = op {
                out.extend(bytes);
            }
        }
        out
    }

    /// A logged-in client and an idle backend.
    fn new() -> Rig {
        let setup = ShardSetup {
            id: ShardId(0),
            shards: 1,
            settings: Arc::new(settings()),
            seed: [1; 32],
            mock_secret: [2; 32],
            shared: Arc::default(),
        };
        let mut shard = Shard::new(setup, Now(0));
        let mut backend = None;
        while let Some(op) = shard.next_op() {
            if let Op::Connect { conn, .. } = op {
                backend = Some(conn);
            }
        }
        let backend = backend.expect("a warm connection is opened at start");
        let client = shard
            .accept(Now(1), ListenerId(0), IpAddr::from([127, 0, 0, 1]))
            .expect("there is room");
        let mut rig = Rig {
            shard,
            now: 1,
            client,
            backend,
            forwarded: 0,
            drafted: 0,
        };
        rig.event(Event::Connected { conn: backend });
        rig.sent();
        let hello = b"R\0\0\0\x08\0\0\0\0S\0\0\0\x11TimeZone\0UTC\0K\0\0\0\x0c\0\0\0\x07\0\0\0\x09Z\0\0\0\x05I";
        rig.event(Event::Received {
            conn: backend,
            bytes: hello,
        });
        rig.sent();
        rig.log_in();
        rig
    }

    fn log_in(&mut self) {
        let conn = self.client;
        let mut startup = b"\0\0\0\0\0\x03\0\0user\0app\0database\0app\0\0".to_vec();
        startup[3] = u8::try_from(startup.len()).expect("short");
        self.event(Event::Received {
            conn,
            bytes: &startup,
        });
        let asked = self.sent();
        let salt: [u8; 4] = asked[9..13].try_into().expect("md5 with a salt");
        let mut answer = b"p\0\0\0\x28".to_vec();
        answer.extend_from_slice(&md5::answer(b"secret", b"app", salt));
        answer.push(0);
        self.event(Event::Received {
            conn,
            bytes: &answer,
        });
        let greeted = self.sent();
        assert!(greeted.ends_with(b"Z\0\0\0\x05I"), "{greeted:?}");
    }

    fn round(&mut self, request: &[u8], answer: &[u8]) {
        for (conn, bytes) in [(self.client, request), (self.backend, answer)] {
            self.event(Event::Received { conn, bytes });
            while let Some(op) = self.shard.next_op() {
                match op {
                    Op::Forward { start, end, .. } => self.forwarded += end - start,
                    Op::SendDraft { start, end, .. } => self.drafted += end - start,
                    other => panic!("not forwarded in place: {other:?}"),
                }
            }
        }
    }
}

fn no_allocation(request: &[u8], answer: &[u8]) {
    let mut rig = Rig::new();
    for _ in 0..10 {
        rig.round(request, answer);
    }
    rig.forwarded = 0;
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..1000 {
        rig.round(request, answer);
    }
    let after = ALLOCATIONS.with(Cell::get);
    assert_eq!(rig.forwarded, 1000 * (request.len() + answer.len()));
    assert_eq!(after - before, 0, "allocations in 1000 round trips");
    assert_eq!(rig.shard.stats().borrows, 1010);
}

/// One named statement, used again and again: every Bind gets the shared name, in the shard's own buffer.
#[test]
fn a_named_statement_allocates_nothing() {
    let mut rig = Rig::new();
    rig.round(
        b"P\0\0\0\x15mine\0select $1\0\0\0S\0\0\0\x04",
        b"1\0\0\0\x04Z\0\0\0\x05I",
    );
    let request = b"B\0\0\0\x10\0mine\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04";
    let answer = b"2\0\0\0\x04D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";
    for _ in 0..10 {
        rig.round(request, answer);
    }
    (rig.forwarded, rig.drafted) = (0, 0);
    let before = ALLOCATIONS.with(Cell::get);
    for _ in 0..1000 {
        rig.round(request, answer);
    }
    let after = ALLOCATIONS.with(Cell::get);
    assert_eq!(rig.forwarded, 1000 * answer.len());
    assert_eq!(rig.drafted, 1000 * (request.len() + 37 - 4));
    assert_eq!(after - before, 0, "allocations in 1000 round trips");
    assert_eq!(rig.shard.stats().borrows, 1011);
    assert_eq!(rig.shard.stats().pinned, 0);
}

#[test]
fn a_simple_query_allocates_nothing() {
    no_allocation(
        b"Q\0\0\0\x1bselect 1 from accounts\0",
        b"T\0\0\0\x06\0\0D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
    );
}

#[test]
fn an_extended_query_allocates_nothing() {
    no_allocation(
        b"P\0\0\0\x10\0select 1\0\0\0B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04",
        b"1\0\0\0\x042\0\0\0\x04D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
    );
}
