//! What the core needs to know of the configuration: a checked, immutable snapshot, shared by `Arc`.
//!
//! Reading files, names and defaults is the shell's business (`proxy/src/config`); a snapshot that reaches the core is
//! valid.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use crate::auth::{ClientAuthMethod, UserSecret};
use crate::ids::GroupId;
use crate::pins::Pins;

/// The database engine that a listener and a target group speak.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Engine {
    /// PostgreSQL protocol 3.
    Postgres,
}

/// Whether clients must use TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientTls {
    /// Refuse a login without TLS (the default).
    Required,
    /// No TLS is offered; only by an explicit line in the config.
    Off,
}

/// How weir speaks to a target.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TargetTls {
    /// Plain text; only by an explicit line in the config.
    Off,
    /// TLS, certificate not checked.
    Require,
    /// TLS, chain and host name checked (the default).
    VerifyFull,
}

/// Where clients come in.
#[derive(Clone, Debug)]
pub struct Listener {
    /// The group that its clients are served by.
    pub group: GroupId,
    /// The protocol spoken.
    pub engine: Engine,
    /// Whether TLS is demanded.
    pub tls: ClientTls,
    /// How clients prove who they are.
    pub client_auth: ClientAuthMethod,
    /// tls-server-end-point channel binding data (RFC 5929) of the certificate in use; `None` without TLS.
    pub server_end_point: Option<Arc<[u8]>>,
}

/// How a group's backends are lent. All counts are over all shards.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lending {
    /// Backends kept open with no client at all.
    pub min_connection_pool_size: u32,
    /// Backends at most.
    pub max_connection_pool_size: u32,
    /// Idle backends above the minimum are closed after this.
    pub idle_timeout: Duration,
    /// How long a client waits for a backend; `None` for ever.
    pub borrow_timeout: Option<Duration>,
    /// Backends that one client identity (user and address) holds at a time; `None` unlimited.
    pub max_borrowed_connections: Option<u32>,
    /// A backend older than this is closed at its next return; `None` never.
    pub connection_lifetime: Option<Duration>,
    /// TCP, TLS and login of a backend together.
    pub connect_timeout: Duration,
    /// What is done to backends besides lending them.
    pub upkeep: Upkeep,
}

/// What is done to backends besides lending them; nothing of it unless the configuration says so.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Upkeep {
    /// Statements that every new or reset backend runs before it is lent.
    pub init_query: Option<Arc<str>>,
    /// Statements that a backend runs whenever it is given back.
    pub reset_query: Option<Arc<str>>,
    /// A backend that nobody has used for longer than this is asked for a sign of life before it is lent; `None` never.
    pub server_idle_check: Option<Duration>,
    /// What does not pin although it would have to.
    pub unpinned: Pins,
}

/// How long a client may keep a backend for one transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct TimeLimits {
    /// For a transaction in all; `None` for ever.
    pub transaction: Option<Duration>,
    /// For weir to wait for the client in the middle of a transaction; `None` for ever.
    pub idle_in_transaction: Option<Duration>,
}

impl TimeLimits {
    /// The shorter one; `None`: there is none.
    #[must_use]
    pub fn shorter(&self) -> Option<Duration> {
        let both = [self.transaction, self.idle_in_transaction];
        both.into_iter().flatten().min()
    }
}

/// One database server (later: several) and how its connections are lent.
#[derive(Clone, Debug)]
pub struct TargetGroup {
    /// Its name in config, logs and metrics.
    pub name: Arc<str>,
    /// The protocol spoken.
    pub engine: Engine,
    /// `host:port`, for messages only; the shell resolves and connects.
    pub address: Arc<str>,
    /// TLS towards the target.
    pub tls: TargetTls,
    /// Database of the warm connections.
    pub database: Arc<str>,
    /// User of the warm connections: a key of [`Settings::users`].
    pub warm_user: Option<Arc<str>>,
    /// Lending rules.
    pub lending: Lending,
}

/// A user that may log in, and what proves it on either side.
#[derive(Clone, Debug)]
pub struct User {
    /// The name clients give, and the name used at the database.
    pub name: Arc<str>,
    /// What the client must prove, and what weir proves to the server.
    pub secret: Arc<UserSecret>,
    /// How long its transactions may last.
    pub limits: TimeLimits,
}

/// Everything the core knows of the configuration.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Grows with every reload.
    pub generation: u64,
    /// By [`crate::ids::ListenerId`].
    pub listeners: Vec<Listener>,
    /// By [`GroupId`].
    pub groups: Vec<TargetGroup>,
    /// By name.
    pub users: HashMap<Arc<str>, User>,
    /// Clients at most, over all shards.
    pub max_client_connections: u32,
    /// Idle clients are closed after this; `None` never.
    pub idle_client_timeout: Option<Duration>,
    /// From accept to ready.
    pub login_timeout: Duration,
}
