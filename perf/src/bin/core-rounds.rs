//! Drives the core through its seam for a fixed number of round trips, with nothing around it: what callgrind counts here
//! is the core's own work. The guard runs it with N and with 2N round trips and takes the difference.
//!
//! `core-rounds N simple|extended`. Measures nothing itself.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use weir_core::auth::{ClientAuthMethod, UserSecret, md5};
use weir_core::ids::{ConnId, GroupId, ListenerId, Now, ShardId};
use weir_core::seam::{Event, Op};
use weir_core::settings::{
    ClientTls, Engine, Lending, Listener, Settings, TargetGroup, TargetTls, TimeLimits, Upkeep,
    User,
};
use weir_core::shard::{Shard, ShardSetup};

/// A query and its answer, with the simple protocol.
const SIMPLE: (&[u8], &[u8]) = (
    b"Q\0\0\0\x1bselect 1 from accounts\0",
    b"T\0\0\0\x06\0\0D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
);

/// The same with Parse, Bind, Execute and Sync of the unnamed statement.
const EXTENDED: (&[u8], &[u8]) = (
    b"P\0\0\0\x10\0select 1\0\0\0B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0S\0\0\0\x04",
    b"1\0\0\0\x042\0\0\0\x04D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I",
);

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    let rounds: u64 = args.next().context("how many round trips?")?.parse()?;
    let (request, answer) = match args.next().as_deref() {
        Some("simple") => SIMPLE,
        Some("extended") => EXTENDED,
        other => bail!("simple or extended, not {other:?}"),
    };
    let mut rig = Rig::new()?;
    for _ in 0..rounds {
        rig.round(request, answer)?;
    }
    let forwarded = rounds * (request.len() + answer.len()) as u64;
    ensure!(rig.forwarded == forwarded, "not everything was forwarded");
    Ok(())
}

/// One client and one backend of a shard.
struct Rig {
    shard: Shard,
    now: u64,
    client: ConnId,
    backend: ConnId,
    forwarded: u64,
}

impl Rig {
    /// The client is logged in, the backend idle.
    fn new() -> Result<Rig> {
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
        let backend = backend.context("no warm connection was asked for")?;
        let client = shard
            .accept(Now(1), ListenerId(0), IpAddr::from([127, 0, 0, 1]))
            .context("there is no room for a client")?;
        let mut rig = Rig {
            shard,
            now: 1,
            client,
            backend,
            forwarded: 0,
        };
        rig.greet_backend();
        rig.log_in()?;
        Ok(rig)
    }

    fn event(&mut self, event: Event<'_>) {
        self.now += 1000;
        self.shard.handle(Now(self.now), event);
    }

    fn received(&mut self, conn: ConnId, bytes: &[u8]) -> Vec<u8> {
        self.event(Event::Received { conn, bytes });
        self.sent()
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

    fn greet_backend(&mut self) {
        let conn = self.backend;
        self.event(Event::Connected { conn });
        self.sent();
        self.received(conn, b"R\0\0\0\x08\0\0\0\0S\0\0\0\x11TimeZone\0UTC\0K\0\0\0\x0c\0\0\0\x07\0\0\0\x09Z\0\0\0\x05I");
    }

    fn log_in(&mut self) -> Result<()> {
        let mut startup = b"\0\0\0\0\0\x03\0\0user\0app\0database\0app\0\0".to_vec();
        startup[3] = u8::try_from(startup.len())?;
        let asked = self.received(self.client, &startup);
        let salt = asked.get(9..13).context("no md5 request")?.try_into()?;
        let mut answer = b"p\0\0\0\x28".to_vec();
        answer.extend_from_slice(&md5::answer(b"secret", b"app", salt));
        answer.push(0);
        let greeted = self.received(self.client, &answer);
        ensure!(greeted.ends_with(b"Z\0\0\0\x05I"), "the login failed");
        Ok(())
    }

    fn round(&mut self, request: &[u8], answer: &[u8]) -> Result<()> {
        for (conn, bytes) in [(self.client, request), (self.backend, answer)] {
            self.event(Event::Received { conn, bytes });
            while let Some(op) = self.shard.next_op() {
                match op {
                    Op::Forward { start, end, .. } => self.forwarded += (end - start) as u64,
                    other => bail!("not forwarded in place: {other:?}"),
                }
            }
        }
        Ok(())
    }
}

fn settings() -> Settings {
    let name: Arc<str> = "app".into();
    let user = User {
        name: Arc::clone(&name),
        secret: Arc::new(UserSecret::from_password("secret", [1; 16])),
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
                max_connection_pool_size: 1,
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
