//! Every bound and default of weir, each with its unit and its reason. A limit that is not here does not exist.
//!
//! Names ending in `_DEFAULT`, `_MIN`, `_MAX` are of a configuration key of the same name; the others are fixed.

use core::time::Duration;

// ---- lending -----------------------------------------------------------------------------------------------------

/// `min_connection_pool_size`, connections: one warm connection makes the first client fast and shows a wrong target at start.
pub const MIN_CONNECTION_POOL_SIZE_DEFAULT: u32 = 1;
/// `max_connection_pool_size`, connections: PostgreSQL's own `max_connections` default is 100.
pub const MAX_CONNECTION_POOL_SIZE_DEFAULT: u32 = 100;
/// Largest `max_connection_pool_size`: what the promise names; a server is rarely well with more.
pub const MAX_CONNECTION_POOL_SIZE_MAX: u32 = 1000;
/// `idle_timeout`: an idle backend above the minimum is closed after this.
pub const IDLE_TIMEOUT_DEFAULT: Duration = Duration::from_secs(600);
/// Shortest `idle_timeout`: below a second connections churn.
pub const IDLE_TIMEOUT_MIN: Duration = Duration::from_secs(1);
/// `borrow_timeout`: zero waits for ever.
pub const BORROW_TIMEOUT_DEFAULT: Duration = Duration::ZERO;
/// `max_borrowed_connections` of one client identity (user and source address) at a time: 0 is unlimited.
pub const MAX_BORROWED_CONNECTIONS_DEFAULT: u32 = 0;
/// `connection_lifetime`: a backend older than this is closed at its next return; a day, as RDS Proxy does.
pub const CONNECTION_LIFETIME_DEFAULT: Duration = Duration::from_secs(24 * 3600);
/// `connect_timeout`: TCP, TLS and login of a backend together.
pub const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// Pause after a failed connect to a target before the next try; doubles up to [`CONNECT_BACKOFF_MAX`].
pub const CONNECT_BACKOFF_MIN: Duration = Duration::from_millis(50);
/// Longest pause between connects to a target that refuses them.
pub const CONNECT_BACKOFF_MAX: Duration = Duration::from_secs(2);
/// How long mending a backend (rollback, reset) or a cancel errand may take before the backend is closed instead.
pub const MEND_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a server may take to end a session that weir has said goodbye to or hung up on. Its permit is used again only then, so
/// that the server never counts more connections than there are permits.
pub const LEAVE_TIMEOUT: Duration = Duration::from_secs(1);
/// `server_idle_check`: half a minute, as poolers commonly do: firewalls and load balancers forget idle connections after minutes.
pub const SERVER_IDLE_CHECK_DEFAULT: Duration = Duration::from_secs(30);
/// Shortest `server_idle_check`.
pub const SERVER_IDLE_CHECK_MIN: Duration = Duration::from_millis(1);
/// How long a server may take to answer `server_idle_check`: a round trip around the world takes a third of a second.
pub const SERVER_IDLE_CHECK_TIMEOUT: Duration = Duration::from_secs(2);
/// `session_pinning_filters`, entries: there are not so many names.
pub const PINNING_FILTERS_MAX: usize = 32;
/// How many later waiters may be served before the first one because a backend of just their kind came free: more would
/// starve it, none would close and reopen connections all the time.
pub const QUEUE_SKIPS_MAX: u32 = 8;
/// How often at least: reports that change nothing come further and further apart, up to this, since each wakes two threads.
pub const DEMAND_INTERVAL_MAX: Duration = Duration::from_millis(8);
/// How often shards that have waiters tell the permit owner: often enough that two queues feel like one.
pub const DEMAND_INTERVAL: Duration = Duration::from_millis(1);
/// How long the permit owner may leave a demand unanswered before a shard closes an idle backend of one profile to open one of
/// another: a free permit, or another shard's idle backend, has come by then, and to close a backend costs a login later on.
pub const EVICT_AFTER: Duration = DEMAND_INTERVAL.saturating_mul(2);

// ---- clients -----------------------------------------------------------------------------------------------------

/// `max_client_connections`, over all shards.
pub const MAX_CLIENT_CONNECTIONS_DEFAULT: u32 = 1000;
/// Largest `max_client_connections`: descriptors and memory of one machine.
pub const MAX_CLIENT_CONNECTIONS_MAX: u32 = 100_000;
/// `idle_client_timeout`: as RDS Proxy. Counts while weir waits for the client's next message, inside a
/// transaction too.
pub const IDLE_CLIENT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(1800);
/// Longest `idle_client_timeout`, as RDS Proxy.
pub const IDLE_CLIENT_TIMEOUT_MAX: Duration = Duration::from_secs(28_800);
/// `transaction_timeout` and `idle_in_transaction_timeout`: zero is no limit, as at the server. How long a transaction may last is
/// the application's business until its owner says so.
pub const TRANSACTION_TIMEOUT_DEFAULT: Duration = Duration::ZERO;
/// Shortest of the two.
pub const TRANSACTION_TIMEOUT_MIN: Duration = Duration::from_millis(1);
/// How long a client has to end a transaction whose statement has been cancelled for `transaction_timeout`, the cancel itself
/// included: drivers roll back at once.
pub const TRANSACTION_GRACE: Duration = Duration::from_secs(2);
/// `login_timeout`: from accept to the first ReadyForQuery, waiting for a backend included; PostgreSQL's `authentication_timeout`.
pub const LOGIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(60);
/// `drain_timeout`: how long a graceful stop waits for transactions to end.
pub const DRAIN_TIMEOUT_DEFAULT: Duration = Duration::from_secs(30);
/// Connections in login that one shard holds at least; above the larger of this and `max_client_connections` the oldest
/// one in login is closed, so that silent connections can't shut the door.
pub const PENDING_LOGINS_MIN: u32 = 1024;

// ---- wire --------------------------------------------------------------------------------------------------------

/// A PostgreSQL startup packet, bytes: the server's own MAX_STARTUP_PACKET_LENGTH.
pub const STARTUP_PACKET_MAX: usize = 10_000;
/// Startup parameters of one client, pairs: PostgreSQL has about 400 settings, drivers send a dozen.
pub const STARTUP_PARAMETERS_MAX: usize = 128;
/// A password, SASL or token message, bytes: the server's PG_MAX_AUTH_TOKEN_LENGTH is 65,535.
pub const AUTH_MESSAGE_MAX: usize = 65_535;
/// Statement text that is read before it goes on to see what it leaves on the session, bytes: RDS Proxy's bound for what does not pin.
/// Longer ones are read as they go, see [`LONG_STATEMENT_MAX`].
pub const STATEMENT_INSPECT_MAX: usize = 16_384;
/// The longest statement message that is read after it has gone on, bytes: what inserts many rows at a time, or lists many keys, and
/// a shard reads in some milliseconds. Longer ones pin.
pub const LONG_STATEMENT_MAX: usize = 256 << 10;
/// Of which one shard collects so many at a time (16 MiB). One more pins.
pub const LONG_STATEMENTS_MAX: usize = 64;
/// Statement texts of which a shard remembers that they leave nothing on a session, so that they are not read again: more than the
/// statements of a busy application. A power of two.
pub const FAMILIAR_TEXTS: usize = 256;
/// The longest of them, bytes; `FAMILIAR_TEXTS` times this is what a shard keeps for it (128 KiB, fits a core's cache). Most
/// statements that object-relational mappers make are shorter.
pub const FAMILIAR_TEXT_MAX: usize = 512;
/// Name of a portal or statement that is read through to see what follows it, bytes: PostgreSQL tells names apart by their first
/// 63 bytes (NAMEDATALEN), drivers send up to some dozens.
pub const NAME_INSPECT_MAX: usize = 256;
/// Contents (text and parameter types) of prepared statements that the sessions of one shard share, bytes: a thousand services
/// with a thousand statements of 64 bytes each. Beyond it sessions are pinned instead.
pub const STATEMENT_CONTENTS_BYTES_MAX: usize = 64 << 20;
/// Contents below this, bytes, are not searched for unused ones.
pub const STATEMENT_CONTENTS_SWEEP: usize = 1 << 20;
/// Named statements of one session, by number: beyond it the session is pinned and its server keeps them.
pub const STATEMENTS_PER_SESSION_MAX: usize = 1024;
/// The same, bytes of their contents.
pub const STATEMENTS_PER_SESSION_BYTES_MAX: usize = 1 << 20;
/// Shared statements that one backend holds: each costs its server some ten KiB of plan. The least recently used goes.
pub const STATEMENTS_PER_BACKEND_MAX: usize = 500;
/// A setting's name that is followed, bytes: PostgreSQL's longest has some 40, names of one's own have two parts of 63 at most.
pub const SETTING_NAME_MAX: usize = 128;
/// A setting's value that is followed, bytes as written in SQL: a `search_path` of some dozens of schemas.
pub const SETTING_VALUE_MAX: usize = 1024;
/// Settings that one session has made and that are replayed, by number; drivers make a handful. Beyond it the session is pinned.
pub const SETTINGS_PER_SESSION_MAX: usize = 64;
/// The same, bytes of names and values: they are sent again with a request when another session has used the backend.
pub const SETTINGS_PER_SESSION_BYTES_MAX: usize = 4096;
/// Changes of settings and savepoints of one session that are not settled yet (unanswered, or in an open transaction); beyond it
/// the session is pinned.
pub const SETTING_CHANGES_MAX: usize = 256;
/// Longest message either side may announce, bytes: PostgreSQL's MaxAllocSize − 1.
pub const MESSAGE_MAX: u32 = 0x3fff_ffff;
/// Messages that may be under way from one client and unanswered: one byte each; past it the client is not read.
pub const REPLIES_OWED_MAX: usize = 65_536;
/// Server messages that weir itself must read whole (errors, parameters, authentication), bytes.
pub const SERVER_INSPECT_MAX: usize = 65_536;
/// Bytes of a waiting client that are kept before it is not read any more. Until then it is read, so that it is seen when it
/// leaves, or says that it does.
pub const PENDING_BYTES_ENOUGH: usize = 16 * 1024;
/// Bytes of a waiting client that are kept at most: what may still be under way in a shell when reading is switched off.
pub const PENDING_BYTES_MAX: usize = 256 * 1024;
/// Bytes in front of a client's message that are sent out of the shard's own buffer, without an allocation; more are rare.
pub const DRAFT_MAX: usize = 16 * 1024;
/// Bytes of a client's message that are copied behind what goes in front of it: below this a copy is cheaper than a second
/// piece.
pub const DRAFT_MERGE: usize = 2048;
/// Protocol 3.2 cancel key that weir gives out, bytes (the manual allows 4 to 256).
pub const CANCEL_KEY_LONG: usize = 32;
/// A server's cancel key, bytes at most.
pub const SERVER_CANCEL_KEY_MAX: usize = 256;

// ---- tables ------------------------------------------------------------------------------------------------------

/// Shards of a process.
pub const SHARDS_MAX: u16 = 256;
/// Kinds of backend (user, database, startup parameters) that one shard remembers the server's settings for.
pub const PROFILES_MAX: usize = 4096;
/// SCRAM iterations that weir computes for a client's secret: the server's own default.
pub const SCRAM_ITERATIONS_DEFAULT: u32 = 4096;
/// SCRAM iterations that weir accepts from a server: above it a hostile server could burn a core.
pub const SCRAM_ITERATIONS_MAX: u32 = 1_000_000;

// ---- configuration -----------------------------------------------------------------------------------------------

/// Longest of any duration key without a bound of its own: thirty days; more is a slip of the pen.
pub const DURATION_MAX: Duration = Duration::from_secs(30 * 24 * 3600);
/// Shortest `connect_timeout` and `login_timeout`: below it an ordinary TLS login over a network fails.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(100);
/// `[[listeners]]`, entries: each has a socket on every shard.
pub const LISTENERS_MAX: usize = 64;
/// `[[target_groups]]`, entries.
pub const TARGET_GROUPS_MAX: usize = 64;
/// `[[users]]`, entries: each costs a SCRAM hash at start.
pub const USERS_MAX: usize = 10_000;
/// User and database names, bytes: PostgreSQL cuts longer ones off (NAMEDATALEN − 1).
pub const NAME_MAX: usize = 63;
/// Other text values of the configuration (host names, paths), bytes.
pub const TEXT_MAX: usize = 4096;
/// The configuration file, a certificate file, bytes: larger is some other file.
pub const CONFIG_FILE_MAX: u64 = 4 << 20;
/// A password, bytes: what fits a password message with room for its frame.
pub const PASSWORD_MAX: usize = 4096;
/// How often the names of targets are looked up again.
pub const DNS_REFRESH: Duration = Duration::from_secs(15);
/// Addresses of one target that are remembered.
pub const TARGET_ADDRESSES_MAX: usize = 32;

// ---- logs and metrics --------------------------------------------------------------------------------------------

/// Lines of one event kind a second; the rest is counted and told as one line, so that a storm can't fill the disk.
pub const LOG_LINES_PER_SECOND: u32 = 50;
/// Bytes of a statement's shape in a log line.
pub const STATEMENT_SHAPE_MAX: usize = 160;
/// Users with databases that pins are counted for by name; those that come later are counted together.
pub const PIN_TENANTS_MAX: usize = 200;
/// Lines that wait for the log writer; more are dropped and counted, because a shard never waits.
pub const LOG_QUEUE_MAX: usize = 4096;
/// Bytes of one value in a log line; the rest is cut off.
pub const LOG_VALUE_MAX: usize = 1024;
/// Descriptors that weir needs besides clients and backends, per shard and once more: rings, listeners, logs, cancels.
pub const DESCRIPTORS_SPARE: u32 = 64;
/// Metrics connections at a time.
pub const METRICS_CONNECTIONS_MAX: usize = 16;
/// Bytes of a metrics request's head.
pub const METRICS_REQUEST_MAX: usize = 8192;
/// How long one metrics request may take.
pub const METRICS_TIMEOUT: Duration = Duration::from_secs(5);

const _: () = assert!(MAX_CONNECTION_POOL_SIZE_DEFAULT <= MAX_CONNECTION_POOL_SIZE_MAX);
const _: () = assert!(FAMILIAR_TEXTS.is_power_of_two() && FAMILIAR_TEXT_MAX <= u16::MAX as usize);
const _: () = assert!(CANCEL_KEY_LONG >= 4 && CANCEL_KEY_LONG <= 256);
const _: () = assert!(PENDING_BYTES_ENOUGH + STATEMENT_INSPECT_MAX < PENDING_BYTES_MAX);

// ---- shell -------------------------------------------------------------------------------------------------------

/// How long a closed connection's last bytes may take to leave.
pub const LINGER_FLUSH: Duration = Duration::from_secs(5);
/// How long weir waits for the peer's own end after its last bytes have left: closing earlier with bytes unread would send a
/// reset that can overtake the last message.
pub const LINGER_PEER: Duration = Duration::from_secs(1);
/// Bytes that wait for one full socket: several times what one loop turn can receive. Past it the connection is cut, because
/// the other side was not stopped in time.
pub const BACKLOG_MAX: usize = 16 * 1024 * 1024;
/// Bytes of TLS that are kept until a record or handshake message is whole: a message of 64 KiB and a record.
pub const TLS_CARRY_MAX: usize = 96 * 1024;
/// Handshake steps of one loop turn: each is about 0.1 ms of blocked loop.
pub const HANDSHAKE_STEPS_PER_TURN: usize = 2;
/// Messages of clients that are not logged in yet that are looked at in one loop turn: some 10 µs each.
pub const LOGIN_STEPS_PER_TURN: usize = 16;
/// The same while more clients wait for a backend than have one.
pub const LOGIN_STEPS_CROWDED: usize = 2;
/// Clients accepted from one listener in one loop turn: each costs some 20 µs.
pub const ACCEPTS_PER_TURN: u32 = 16;
/// The same while more clients wait for a backend than have one.
pub const ACCEPTS_CROWDED: u32 = 2;
/// Pause of accepting when descriptors have run out.
pub const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Longest sleep of a shard: its heartbeat must be seen.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How often a busy shard publishes its counters.
pub const STATS_INTERVAL: Duration = Duration::from_millis(100);
const _: () = assert!(BACKLOG_MAX > 4 * PENDING_BYTES_MAX);
