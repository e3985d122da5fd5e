//! What kind of world a seed makes: sizes, limits, habits, faults.

use core::time::Duration;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use weir_core::auth::{ClientAuthMethod, UserSecret};
use weir_core::ids::GroupId;
use weir_core::settings::{
    ClientTls, Engine, Lending, Listener, Settings, TargetGroup, TargetTls, TimeLimits, Upkeep,
    User,
};

use crate::client::{Client, ClientSecurity, Identity, script};
use crate::rng::Rng;
use crate::server::{AuthKind, ServerConfig};
use crate::wire::{V3_0, V3_2};

const USERS: &[(&str, &str)] = &[
    ("app", "app-secret"),
    ("bob", "bob-secret"),
    ("eve", "eve-secret"),
];
const CLIENT_END_POINT: &[u8] = b"weir's own certificate";
const SERVER_END_POINT: &[u8] = b"the server's certificate";

/// How often which fault happens, nanoseconds between two; 0: never.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub kills: u64,
    pub refusals: u64,
    pub reloads: u64,
    pub resizes: u64,
    pub drain_at: u64,
}

/// A world before it starts.
pub(crate) struct World {
    pub shards: usize,
    pub settings: Settings,
    pub server: ServerConfig,
    pub clients: Vec<Client>,
    pub starts: Vec<u64>,
    pub noise: Vec<Vec<u8>>,
    pub latency: u64,
    pub window: u64,
    /// Bytes of a piece at most.
    pub piece: usize,
    pub faults: Faults,
}

/// Users with their secrets; made once, for PBKDF2 takes its time.
fn users() -> HashMap<Arc<str>, User> {
    static MADE: OnceLock<HashMap<Arc<str>, User>> = OnceLock::new();
    let make = |(name, password): &(&str, &str)| {
        let name: Arc<str> = (*name).into();
        let secret = Arc::new(UserSecret::from_password(*password, [9; 16]));
        let limits = TimeLimits::default();
        (
            Arc::clone(&name),
            User {
                name,
                secret,
                limits,
            },
        )
    };
    MADE.get_or_init(|| USERS.iter().map(make).collect())
        .clone()
}

/// Makes the world of a seed.
pub(crate) fn make(rng: &mut Rng) -> World {
    let tls = rng.chance(40);
    let target_tls = *rng.pick(&[
        TargetTls::Off,
        TargetTls::Off,
        TargetTls::Require,
        TargetTls::VerifyFull,
    ]);
    let settings = settings(rng, tls, target_tls);
    let server = server(rng, target_tls != TargetTls::Off);
    let count = *rng.pick(&[2, 3, 4, 6, 8, 12, 16, 24]);
    let count = if rng.chance(3) { 60 } else { count };
    let pinning = *rng.pick(&[0, 10, 30, 60]);
    let habits = if count > 12 { 4 } else { 8 };
    let spread = *rng.pick(&[0, 1_000_000, 20_000_000]);
    let mut clients = Vec::new();
    let mut starts = Vec::new();
    for id in 0..count {
        let who = identity(rng, id as u32 + 1, tls);
        let number = rng.range(1, habits);
        let steps = script::write(rng.fork(), who.id, number, pinning);
        clients.push(Client::new(who, steps));
        starts.push(rng.below(spread + 1));
    }
    let shards = *rng.pick(&[1, 1, 2, 3]);
    World {
        shards,
        settings,
        server,
        clients,
        starts,
        noise: noise(rng),
        latency: *rng.pick(&[1_000, 20_000, 300_000]),
        window: *rng.pick(&[65_536, 65_536, 4096, 100]),
        piece: *rng.pick(&[4096, 4096, 100, 7]),
        faults: faults(rng),
    }
}

fn settings(rng: &mut Rng, tls: bool, target_tls: TargetTls) -> Settings {
    let max = rng.range(1, 5) as u32;
    let ms = Duration::from_millis;
    let lending = Lending {
        min_connection_pool_size: rng.range(0, 1) as u32,
        max_connection_pool_size: max,
        idle_timeout: *rng.pick(&[ms(600_000), ms(1000)]),
        borrow_timeout: *rng.pick(&[None, None, None, None, Some(ms(1000)), Some(ms(3))]),
        max_borrowed_connections: *rng.pick(&[None, None, None, Some(1), Some(2)]),
        connection_lifetime: *rng.pick(&[None, None, Some(ms(5)), Some(ms(1000))]),
        connect_timeout: ms(10_000),
        upkeep: Upkeep::default(),
    };
    let group = TargetGroup {
        name: "main".into(),
        engine: Engine::Postgres,
        address: "db.test:5432".into(),
        tls: target_tls,
        database: "db1".into(),
        warm_user: Some("app".into()),
        lending,
    };
    let listener = Listener {
        group: GroupId(0),
        engine: Engine::Postgres,
        tls: if tls {
            ClientTls::Required
        } else {
            ClientTls::Off
        },
        client_auth: *rng.pick(if tls {
            &[
                ClientAuthMethod::ScramSha256,
                ClientAuthMethod::Md5,
                ClientAuthMethod::Cleartext,
            ]
        } else {
            &[ClientAuthMethod::ScramSha256, ClientAuthMethod::Md5]
        }),
        server_end_point: tls.then(|| CLIENT_END_POINT.into()),
    };
    Settings {
        generation: 1,
        listeners: vec![listener],
        groups: vec![group],
        users: users(),
        max_client_connections: *rng.pick(&[1000, 1000, 1000, 6]),
        idle_client_timeout: *rng.pick(&[None, None, None, Some(ms(20)), Some(ms(2))]),
        login_timeout: ms(60_000),
    }
}

fn server(rng: &mut Rng, tls: bool) -> ServerConfig {
    let kinds: &[AuthKind] = if tls {
        &[
            AuthKind::Trust,
            AuthKind::Md5,
            AuthKind::Scram,
            AuthKind::Scram,
            AuthKind::Cleartext,
        ]
    } else {
        &[AuthKind::Trust, AuthKind::Md5, AuthKind::Scram]
    };
    ServerConfig {
        users: USERS
            .iter()
            .map(|(n, p)| ((*n).to_owned(), (*p).to_owned()))
            .collect::<BTreeMap<_, _>>(),
        databases: vec!["db1".to_owned(), "db2".to_owned()],
        auth: *rng.pick(kinds),
        tls,
        end_point: SERVER_END_POINT.to_vec(),
        max_minor: *rng.pick(&[0, 2]),
        max_connections: 100,
        statement_time: *rng.pick(&[0, 10_000, 500_000]),
        deaf_discard: false,
        fickle: *rng.pick(&[0, 0, 0, 0, 5, 30]),
    }
}

fn identity(rng: &mut Rng, id: u32, tls: bool) -> Identity {
    let (user, password) = *rng.pick(&USERS[..rng.clone().range(1, 3) as usize]);
    let (mut user, mut password) = (user.to_owned(), password.to_owned());
    let mut database = (*rng.pick(&["db1", "db1", "db1", "db2"])).to_owned();
    match rng.below(60) {
        0 => "wrong".clone_into(&mut password),
        1 => "nobody".clone_into(&mut user),
        2 => "nowhere".clone_into(&mut database),
        _ => {}
    }
    let mut parameters = Vec::new();
    if rng.chance(15) {
        parameters.push((
            "application_name".to_owned(),
            format!("name{}", rng.below(2)),
        ));
    }
    if rng.chance(10) {
        parameters.push(("options".to_owned(), "-c work_mem=7MB".to_owned()));
    }
    let securities = if tls {
        [ClientSecurity::SslRequest, ClientSecurity::Direct]
    } else {
        [ClientSecurity::Plain; 2]
    };
    Identity {
        id,
        user,
        password,
        database,
        parameters,
        version: *rng.pick(&[V3_0, V3_2]),
        security: *rng.pick(&securities),
        end_point: tls.then(|| CLIENT_END_POINT.to_vec()),
    }
}

fn noise(rng: &mut Rng) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while rng.chance(20) {
        let mut bytes: Vec<u8> = (0..rng.below(60)).map(|_| rng.next_u64() as u8).collect();
        if rng.chance(50) {
            let mut head = crate::wire::startup(V3_0, &[("user".to_owned(), "app".to_owned())]);
            head.extend(bytes);
            bytes = head;
        }
        all.push(bytes);
    }
    all
}

fn faults(rng: &mut Rng) -> Faults {
    let mut every = |percent, time| if rng.chance(percent) { time } else { 0 };
    Faults {
        kills: every(15, 4_000_000),
        refusals: every(10, 3_000_000),
        reloads: every(15, 3_000_000),
        resizes: every(15, 5_000_000),
        drain_at: every(6, 10_000_000),
    }
}

/// The channel binding data that weir sees of the server.
pub(crate) fn server_end_point() -> Vec<u8> {
    SERVER_END_POINT.to_vec()
}
