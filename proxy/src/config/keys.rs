//! The table of configuration keys: name, kind, default, range, meaning, and whether a reload can change it.
//!
//! Checks ([`super::read`]), the text of `weir init` and `docs/configuration.md` ([`super::text`]) are all made from
//! it, so that none of them can say something else than the others. Ranges and defaults come from
//! [`weir_core::limits`].

use core::time::Duration;
use weir_core::limits as l;

mod users;

pub use super::key::{Default, Key, Kind};
use super::key::{count, seconds, text, word};
pub use users::*;

/// One table of the configuration file.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Section {
    /// `[proxy]`.
    Proxy,
    /// `[[listeners]]`.
    Listeners,
    /// `[[target_groups]]`.
    TargetGroups,
    /// `[[users]]`.
    Users,
}

impl Section {
    /// All of them, in the order of the documentation.
    pub const ALL: [Section; 4] = [
        Section::Proxy,
        Section::Listeners,
        Section::TargetGroups,
        Section::Users,
    ];

    /// The table's name.
    pub const fn name(self) -> &'static str {
        match self {
            Section::Proxy => "proxy",
            Section::Listeners => "listeners",
            Section::TargetGroups => "target_groups",
            Section::Users => "users",
        }
    }

    /// The table's header as it is written in the file.
    pub const fn header(self) -> &'static str {
        match self {
            Section::Proxy => "[proxy]",
            Section::Listeners => "[[listeners]]",
            Section::TargetGroups => "[[target_groups]]",
            Section::Users => "[[users]]",
        }
    }

    /// Most entries that the table may have.
    pub const fn entries_max(self) -> usize {
        match self {
            Section::Proxy => 1,
            Section::Listeners => l::LISTENERS_MAX,
            Section::TargetGroups => l::TARGET_GROUPS_MAX,
            Section::Users => l::USERS_MAX,
        }
    }

    /// What the table is about, one sentence.
    pub const fn about(self) -> &'static str {
        match self {
            Section::Proxy => "What holds for the whole process.",
            Section::Listeners => "Where clients come in; one entry for each address.",
            Section::TargetGroups => {
                "A database server and how its connections are lent; one entry for each server."
            }
            Section::Users => {
                "Who may log in. The same name and password prove weir to the database server. Each entry has exactly one of \
                 `password`, `password_file`, `password_env` and `scram_verifier`."
            }
        }
    }

    /// The keys of the table.
    pub const fn keys(self) -> &'static [&'static Key] {
        match self {
            Section::Proxy => PROXY,
            Section::Listeners => LISTENER,
            Section::TargetGroups => GROUP,
            Section::Users => users::USER,
        }
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);
const TINY: Duration = Duration::from_millis(1);
const _: () = assert!(l::CONNECTION_LIFETIME_DEFAULT.as_secs() == DAY.as_secs());

/// `io`.
pub static IO: Key = word(
    "io",
    &["auto", "io_uring", "epoll"],
    "auto",
    "How sockets are driven. `auto` takes io_uring where a self-test at start shows that it works, else epoll with a warning.",
)
.at_start();
/// `shards`.
pub static SHARDS: Key = count(
    "shards",
    (0, l::SHARDS_MAX as u32),
    "threads",
    0,
    "Threads that serve clients.",
)
.zero("one for each core")
.at_start();
/// `max_client_connections`.
pub static MAX_CLIENT_CONNECTIONS: Key = count(
    "max_client_connections",
    (1, l::MAX_CLIENT_CONNECTIONS_MAX),
    "clients",
    l::MAX_CLIENT_CONNECTIONS_DEFAULT,
    "Clients at most, over all listeners. One more is refused with 53300.",
);
/// `idle_client_timeout`.
pub static IDLE_CLIENT_TIMEOUT: Key = seconds(
    "idle_client_timeout",
    (Duration::from_secs(1), l::IDLE_CLIENT_TIMEOUT_MAX),
    l::IDLE_CLIENT_TIMEOUT_DEFAULT,
    "A client that sends nothing for this long is closed, inside a transaction too.",
)
.zero("never");
/// `transaction_timeout` of `[proxy]`.
pub static TRANSACTION_TIMEOUT: Key = seconds(
    "transaction_timeout",
    (l::TRANSACTION_TIMEOUT_MIN, l::DURATION_MAX),
    l::TRANSACTION_TIMEOUT_DEFAULT,
    "How long a transaction may last, a statement of its own included, from when its client gets a server connection. Past it the \
     statement that runs is cancelled: the client gets the server's 57014, and the transaction has failed. If it has not ended 2 s \
     later, or nothing runs that could be cancelled, it is rolled back and the client is closed with 25P04.",
)
.zero("no limit");
/// `idle_in_transaction_timeout` of `[proxy]`.
pub static IDLE_IN_TRANSACTION_TIMEOUT: Key = seconds(
    "idle_in_transaction_timeout",
    (l::TRANSACTION_TIMEOUT_MIN, l::DURATION_MAX),
    l::TRANSACTION_TIMEOUT_DEFAULT,
    "How long a client may say nothing in the middle of a transaction. Past it the transaction is rolled back, the server connection \
     goes to the next client, and this one is closed with 25P03.",
)
.zero("no limit");
/// `login_timeout`.
pub static LOGIN_TIMEOUT: Key = seconds(
    "login_timeout",
    (l::TIMEOUT_MIN, l::DURATION_MAX),
    l::LOGIN_TIMEOUT_DEFAULT,
    "From a client's connect to the end of its login, waiting for a server connection included.",
);
/// `drain_timeout`.
pub static DRAIN_TIMEOUT: Key = seconds(
    "drain_timeout",
    (TINY, l::DURATION_MAX),
    l::DRAIN_TIMEOUT_DEFAULT,
    "How long a stop (SIGTERM) waits for transactions to end before it closes what is left.",
)
.zero("do not wait");
/// `log_format`.
pub static LOG_FORMAT: Key = word(
    "log_format",
    &["text", "json"],
    "text",
    "How log lines on standard error look.",
);
/// `log_level`.
pub static LOG_LEVEL: Key = word(
    "log_level",
    &["error", "warn", "info", "debug"],
    "info",
    "The least important lines that are still logged.",
);
/// `metrics_listen`.
pub static METRICS_LISTEN: Key = text(
    "metrics_listen",
    Kind::Address,
    Default::Absent("no metrics page"),
    "\"127.0.0.1:9432\"",
    "Address of the metrics page (`GET /metrics`, Prometheus text) and of `GET /health`. Plain HTTP without a login: keep it on \
     an address that only monitoring can reach.",
)
.at_start();

static PROXY: &[&Key] = &[
    &IO,
    &SHARDS,
    &MAX_CLIENT_CONNECTIONS,
    &IDLE_CLIENT_TIMEOUT,
    &TRANSACTION_TIMEOUT,
    &IDLE_IN_TRANSACTION_TIMEOUT,
    &LOGIN_TIMEOUT,
    &DRAIN_TIMEOUT,
    &LOG_FORMAT,
    &LOG_LEVEL,
    &METRICS_LISTEN,
];

/// `listen`.
pub static LISTEN: Key = text(
    "listen",
    Kind::Address,
    Default::Required,
    "\"127.0.0.1:6432\"",
    "Address and port that clients connect to.",
)
.at_start();
/// `target_group`.
pub static TARGET_GROUP: Key = text(
    "target_group",
    Kind::Name,
    Default::Absent("the only target group; needed when there are several"),
    "\"default\"",
    "The `name` of the target group that serves this listener's clients.",
)
.at_start();
/// `client_tls`.
pub static CLIENT_TLS: Key = word(
    "client_tls",
    &["required", "off"],
    "required",
    "Whether clients must use TLS. `off` is for benchmarks: it is allowed on loopback addresses only, and warns.",
);
/// `tls_certificate`.
pub static TLS_CERTIFICATE: Key = text(
    "tls_certificate",
    Kind::Path,
    Default::Absent(
        "a self-signed certificate is made at every start and its fingerprint is logged",
    ),
    "\"/etc/weir/server.crt\"",
    "PEM file with the certificate for clients, then its intermediates.",
);
/// `tls_key`.
pub static TLS_KEY: Key = text(
    "tls_key",
    Kind::Path,
    Default::Absent("none; needed with `tls_certificate`"),
    "\"/etc/weir/server.key\"",
    "PEM file with the certificate's private key, without a passphrase.",
);
/// `client_auth`.
pub static CLIENT_AUTH: Key = word(
    "client_auth",
    &["scram-sha-256", "md5", "cleartext"],
    "scram-sha-256",
    "How clients prove their password. `cleartext` needs `client_tls = \"required\"`; `md5` and `cleartext` need the password \
     itself in every user's entry: a `scram_verifier` is refused beside them.",
);

static LISTENER: &[&Key] = &[
    &LISTEN,
    &TARGET_GROUP,
    &CLIENT_TLS,
    &TLS_CERTIFICATE,
    &TLS_KEY,
    &CLIENT_AUTH,
];

/// `name` of a target group.
pub static GROUP_NAME: Key = text(
    "name",
    Kind::Name,
    Default::Text("default"),
    "",
    "The group's name in listeners, logs and metrics.",
)
.at_start();
/// `engine`.
pub static ENGINE: Key = word(
    "engine",
    &["postgresql"],
    "postgresql",
    "The database engine. MySQL is not supported yet.",
)
.at_start();
/// `host`.
pub static HOST: Key = text(
    "host",
    Kind::Host,
    Default::Required,
    "\"127.0.0.1\"",
    "Host name or IP address of the server. Names are looked up again while weir runs.",
)
.at_start();
/// `port`.
pub static PORT: Key =
    count("port", (1, 65_535), "TCP port", 5432, "The server's port.").at_start();
/// `database`.
pub static DATABASE: Key = text(
    "database",
    Kind::Name,
    Default::Text("postgres"),
    "",
    "Database of the warm connections. Clients name their own.",
);
/// `target_tls`.
pub static TARGET_TLS: Key = word(
    "target_tls",
    &["verify-full", "require", "off"],
    "verify-full",
    "TLS towards the server: `verify-full` checks its certificate and host name, `require` encrypts without checking whom it \
     talks to, `off` sends everything in plain text. The last two warn.",
);
/// `target_ca`.
pub static TARGET_CA: Key = text(
    "target_ca",
    Kind::Path,
    Default::Absent("the system's certificate authorities"),
    "\"/etc/weir/server-ca.crt\"",
    "PEM file with the certificate authorities that `target_tls = \"verify-full\"` trusts.",
);
/// `warm_user`.
pub static WARM_USER: Key = text(
    "warm_user",
    Kind::Name,
    Default::Absent("the first user in the file that has a password"),
    "\"app\"",
    "User of the connections that are opened before any client asks.",
);
/// `min_connection_pool_size`.
pub static MIN_POOL: Key = count(
    "min_connection_pool_size",
    (0, l::MAX_CONNECTION_POOL_SIZE_MAX),
    "connections",
    l::MIN_CONNECTION_POOL_SIZE_DEFAULT,
    "Server connections that are kept open with no client at all.",
);
/// `max_connection_pool_size`.
pub static MAX_POOL: Key = count(
    "max_connection_pool_size",
    (1, l::MAX_CONNECTION_POOL_SIZE_MAX),
    "connections",
    l::MAX_CONNECTION_POOL_SIZE_DEFAULT,
    "Server connections at most, over all shards. Keep it below the server's own `max_connections`.",
);
/// `idle_timeout`.
pub static IDLE_TIMEOUT: Key = seconds(
    "idle_timeout",
    (l::IDLE_TIMEOUT_MIN, l::DURATION_MAX),
    l::IDLE_TIMEOUT_DEFAULT,
    "A server connection above the minimum that nobody used for this long is closed.",
);
/// `borrow_timeout`.
pub static BORROW_TIMEOUT: Key = seconds(
    "borrow_timeout",
    (TINY, l::DURATION_MAX),
    l::BORROW_TIMEOUT_DEFAULT,
    "How long a client waits for a server connection before its query is answered with an error.",
)
.zero("wait for ever");
/// `max_borrowed_connections`.
pub static MAX_BORROWED: Key = count(
    "max_borrowed_connections",
    (0, l::MAX_CONNECTION_POOL_SIZE_MAX),
    "connections",
    l::MAX_BORROWED_CONNECTIONS_DEFAULT,
    "Server connections that one user from one address may hold at a time.",
)
.zero("unlimited");
/// `connection_lifetime`.
pub static CONNECTION_LIFETIME: Key = seconds(
    "connection_lifetime",
    (Duration::from_secs(1), l::DURATION_MAX),
    l::CONNECTION_LIFETIME_DEFAULT,
    "A server connection older than this is closed when it is next given back.",
)
.zero("never");
/// `connect_timeout`.
pub static CONNECT_TIMEOUT: Key = seconds(
    "connect_timeout",
    (l::TIMEOUT_MIN, l::DURATION_MAX),
    l::CONNECT_TIMEOUT_DEFAULT,
    "TCP connect, TLS and login at the server together.",
);

/// `init_query`.
pub static INIT_QUERY: Key = text(
    "init_query",
    Kind::Query,
    Default::Absent("none"),
    "\"SET statement_timeout = '30s'\"",
    "Statements that every new server connection runs before it is lent, and again after every reset. What they set holds for clients \
     that set nothing else. If they fail, the connection is closed, and the clients that wait for it get FATAL F0000. For clients that \
     SET something themselves a server connection is reset whenever it comes back.",
);
/// `reset_query`.
pub static RESET_QUERY: Key = text(
    "reset_query",
    Kind::Query,
    Default::Absent("none: weir knows what a session leaves, and resets what is left"),
    "\"DISCARD ALL\"",
    "Statements that a server connection runs whenever a client gives it back, which costs a round trip before the next client has it. A \
     connection on which they fail is closed.",
);
/// `server_idle_check`.
pub static SERVER_IDLE_CHECK: Key = seconds(
    "server_idle_check",
    (l::SERVER_IDLE_CHECK_MIN, l::DURATION_MAX),
    l::SERVER_IDLE_CHECK_DEFAULT,
    "A server connection of which nothing was heard for this long is asked for a sign of life before it is lent. One that does not answer \
     within 2 s is replaced, and so are those that were silent as long.",
)
.zero("never");
/// `session_pinning_filters`.
pub static PINNING_FILTERS: Key = text(
    "session_pinning_filters",
    Kind::List {
        of: "names of filters",
    },
    Default::Absent("none: everything pins that has to"),
    "[\"EXCLUDE_VARIABLE_SETS\"]",
    "Reasons for which sessions are not pinned although they leave something that weir can't give back to them; see below.",
);

static GROUP: &[&Key] = &[
    &GROUP_NAME,
    &ENGINE,
    &HOST,
    &PORT,
    &DATABASE,
    &TARGET_TLS,
    &TARGET_CA,
    &WARM_USER,
    &MIN_POOL,
    &MAX_POOL,
    &IDLE_TIMEOUT,
    &BORROW_TIMEOUT,
    &MAX_BORROWED,
    &CONNECTION_LIFETIME,
    &CONNECT_TIMEOUT,
    &INIT_QUERY,
    &RESET_QUERY,
    &SERVER_IDLE_CHECK,
    &PINNING_FILTERS,
];

#[cfg(test)]
mod tests;
