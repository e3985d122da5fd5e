//! The configuration of a transcript.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use weir_core::auth::{ClientAuthMethod, UserSecret};
use weir_core::ids::GroupId;
use weir_core::pins::{PinReason, Pins};
use weir_core::settings::{
    ClientTls, Engine, Lending, Listener, Settings, TargetGroup, TargetTls, TimeLimits, Upkeep,
    User,
};

/// tls-server-end-point data of weir's certificate.
pub const CLIENT_END_POINT: &[u8] = b"weir's certificate";
/// The same of the server's.
pub const SERVER_END_POINT: &[u8] = b"the server's certificate";

/// What `settings` lines say. Without any: no TLS, md5 for clients, one connection, no limits in time.
#[derive(Default)]
pub struct Setup(HashMap<String, String>, u64);

impl Setup {
    /// Takes `key=value` words: `client_tls=on`, `client_auth=scram|md5|cleartext`, `target_tls=require|verify-full`, `pool`, `min`,
    /// `max_borrowed`, `max_clients`, `shards` (this is the first of them) as numbers, `borrow_timeout`, `idle_timeout`, `lifetime`, `connect_timeout`,
    /// `idle_client_timeout`, `login_timeout`, `transaction_timeout` and `idle_in_transaction_timeout` (of app, not of bob), `server_idle_check` in
    /// milliseconds, `stored=yes`: app's password is known by its verifier only, `init_query` and `reset_query` with `_` for blanks,
    /// `unpinned=listen,setting`: reasons that do not pin.
    pub fn apply(&mut self, words: &[&str]) -> Result<(), String> {
        const KEYS: &[&str] = &[
            "client_tls",
            "client_auth",
            "target_tls",
            "pool",
            "min",
            "max_borrowed",
            "max_clients",
            "shards",
            "borrow_timeout",
            "idle_timeout",
            "lifetime",
            "connect_timeout",
            "idle_client_timeout",
            "login_timeout",
            "stored",
            "transaction_timeout",
            "idle_in_transaction_timeout",
            "server_idle_check",
            "init_query",
            "reset_query",
            "unpinned",
        ];
        for word in words {
            let (key, value) = word.split_once('=').ok_or("key=value")?;
            if !KEYS.contains(&key) {
                return Err(format!("no such setting: {key}"));
            }
            self.0.insert(key.to_owned(), value.to_owned());
        }
        self.1 += 1;
        Ok(())
    }

    fn is(&self, key: &str, value: &str) -> bool {
        self.0.get(key).is_some_and(|v| v == value)
    }

    fn number(&self, key: &str) -> Option<u64> {
        self.0.get(key).map(|v| v.parse().expect("a number"))
    }

    /// How many shards there are.
    pub fn shards(&self) -> u16 {
        self.number("shards").unwrap_or(1) as u16
    }

    fn time(&self, key: &str) -> Option<Duration> {
        self.number(key).map(Duration::from_millis)
    }

    fn users(&self) -> HashMap<Arc<str>, User> {
        let limits = TimeLimits {
            transaction: self.time("transaction_timeout"),
            idle_in_transaction: self.time("idle_in_transaction_timeout"),
        };
        let make = |name: &str| {
            let made = UserSecret::from_password(format!("{name}-secret"), [5; 16]);
            let stored = self.is("stored", "yes") && name == "app";
            let secret = if stored {
                UserSecret::from_verifier(&made.verifier().to_text()).expect("a verifier")
            } else {
                made
            };
            let name: Arc<str> = name.into();
            (
                Arc::clone(&name),
                User {
                    secret: Arc::new(secret),
                    limits: if &*name == "app" {
                        limits
                    } else {
                        TimeLimits::default()
                    },
                    name,
                },
            )
        };
        ["app", "bob"].into_iter().map(make).collect()
    }

    fn upkeep(&self) -> Upkeep {
        let query = |key: &str| self.0.get(key).map(|text| text.replace('_', " ").into());
        let mut unpinned = Pins::NONE;
        for name in self.0.get("unpinned").iter().flat_map(|n| n.split(',')) {
            let reason = PinReason::ALL.iter().find(|r| r.name() == name);
            unpinned.add(Pins::of(*reason.expect("a pin reason")));
        }
        Upkeep {
            init_query: query("init_query"),
            reset_query: query("reset_query"),
            server_idle_check: self.time("server_idle_check"),
            unpinned,
        }
    }

    /// The settings.
    pub fn settings(&self) -> Settings {
        let client_tls = self.is("client_tls", "on");
        let group = TargetGroup {
            name: "main".into(),
            engine: Engine::Postgres,
            address: "db.test:5432".into(),
            tls: match self.0.get("target_tls").map(String::as_str) {
                Some("require") => TargetTls::Require,
                Some("verify-full") => TargetTls::VerifyFull,
                _ => TargetTls::Off,
            },
            database: "db1".into(),
            warm_user: Some("app".into()),
            lending: Lending {
                min_connection_pool_size: self.number("min").unwrap_or(0) as u32,
                max_connection_pool_size: self.number("pool").unwrap_or(1) as u32,
                idle_timeout: self
                    .time("idle_timeout")
                    .unwrap_or(Duration::from_secs(600)),
                borrow_timeout: self.time("borrow_timeout"),
                max_borrowed_connections: self.number("max_borrowed").map(|n| n as u32),
                connection_lifetime: self.time("lifetime"),
                connect_timeout: self
                    .time("connect_timeout")
                    .unwrap_or(Duration::from_secs(10)),
                upkeep: self.upkeep(),
            },
        };
        let listener = Listener {
            group: GroupId(0),
            engine: Engine::Postgres,
            tls: if client_tls {
                ClientTls::Required
            } else {
                ClientTls::Off
            },
            client_auth: match self.0.get("client_auth").map(String::as_str) {
                Some("scram") => ClientAuthMethod::ScramSha256,
                Some("cleartext") => ClientAuthMethod::Cleartext,
                _ => ClientAuthMethod::Md5,
            },
            server_end_point: client_tls.then(|| CLIENT_END_POINT.into()),
        };
        Settings {
            generation: self.1,
            listeners: vec![listener],
            groups: vec![group],
            users: self.users(),
            max_client_connections: self.number("max_clients").unwrap_or(1000) as u32,
            idle_client_timeout: self.time("idle_client_timeout"),
            login_timeout: self
                .time("login_timeout")
                .unwrap_or(Duration::from_secs(60)),
        }
    }
}
