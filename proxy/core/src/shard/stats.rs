//! Counters and gauges of one shard.

/// For metrics; read by the shell between events.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub struct Stats {
    /// Gauge: client connections, those in login included.
    pub clients: u64,
    /// Gauge: of those, still in login.
    pub clients_in_login: u64,
    /// Gauge: clients waiting for a backend.
    pub clients_waiting: u64,
    /// Gauge: backends open or being opened.
    pub backends: u64,
    /// Gauge: backends lent.
    pub backends_lent: u64,
    /// Gauge: backends idle.
    pub backends_idle: u64,
    /// Gauge: sessions pinned.
    pub pinned: u64,
    /// Logins that succeeded.
    pub logins: u64,
    /// Clients refused.
    pub refused: u64,
    /// Queries and other request cycles that ended with ReadyForQuery.
    pub cycles: u64,
    /// Times a backend was lent.
    pub borrows: u64,
    /// Sum of the time borrows waited, nanoseconds.
    pub borrow_wait_ns: u64,
    /// Borrows that timed out.
    pub borrow_timeouts: u64,
    /// Transactions that were over `transaction_timeout`.
    pub transaction_timeouts: u64,
    /// Clients closed for being over `idle_in_transaction_timeout`.
    pub idle_in_transaction_timeouts: u64,
    /// Backends opened.
    pub backends_opened: u64,
    /// Backends closed.
    pub backends_closed: u64,
    /// Connects or logins at a target that failed.
    pub backend_failures: u64,
    /// Backends that went to another shard.
    pub backends_moved: u64,
    /// Cancel requests that reached a running query.
    pub cancels: u64,
    /// Times a backend was brought to its client's settings.
    pub replays: u64,
    /// Of those, times its server refused.
    pub replays_refused: u64,
    /// Sessions that were pinned, by [`crate::pins::PinReason`] number.
    pub pins: [u64; 32],
    /// Times that `session_pinning_filters` kept a session from being pinned.
    pub pins_excused: u64,
    /// Times an idle backend was asked for a sign of life.
    pub idle_checks: u64,
    /// Pins that ended while their sessions went on, by the same number.
    pub pins_ended: [u64; 32],
    /// How long sessions were pinned, nanoseconds, by the same number; counted when a pin ends or its session does.
    pub pins_held_ns: [u64; 32],
    /// Times a server was asked whether a session still has what it is pinned for.
    pub pin_questions: u64,
}
