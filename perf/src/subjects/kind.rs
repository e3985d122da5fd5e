//! The kinds of subject and their names.

/// One thing that clients can connect to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    /// The server itself.
    Direct,
    /// weir on io_uring.
    Weir,
    /// weir on epoll.
    WeirEpoll,
    /// PgBouncer.
    PgBouncer,
    /// HAProxy in TCP mode: forwards bytes, pools nothing.
    HaProxy,
    /// Pgpool-II.
    PgPool,
    /// Odyssey.
    Odyssey,
    /// The bare io_uring relay: a floor, not a proxy.
    BareRelay,
    /// What the user runs: nothing is started.
    Target,
}

impl Kind {
    /// What can be named on the command line.
    pub const NAMED: [Kind; 8] = [
        Kind::Direct,
        Kind::Weir,
        Kind::WeirEpoll,
        Kind::PgBouncer,
        Kind::HaProxy,
        Kind::PgPool,
        Kind::Odyssey,
        Kind::BareRelay,
    ];

    /// Its name in reports and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Kind::Direct => "direct",
            Kind::Weir => "weir",
            Kind::WeirEpoll => "weir-epoll",
            Kind::PgBouncer => "pgbouncer",
            Kind::HaProxy => "haproxy",
            Kind::PgPool => "pgpool2",
            Kind::Odyssey => "odyssey",
            Kind::BareRelay => "bare-relay",
            Kind::Target => "target",
        }
    }

    /// The kind of this name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Kind> {
        Kind::NAMED.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether it is weir.
    #[must_use]
    pub fn is_weir(self) -> bool {
        matches!(self, Kind::Weir | Kind::WeirEpoll)
    }

    /// Whether it ends TLS itself. HAProxy's TCP mode can't (PostgreSQL's TLS starts inside its own protocol), and the bare
    /// relay has none.
    #[must_use]
    pub fn ends_tls(self) -> bool {
        !matches!(self, Kind::HaProxy | Kind::BareRelay)
    }

    /// Its settings, for people.
    #[must_use]
    pub fn settings(self) -> &'static str {
        match self {
            Kind::Direct => "clients connect to the server itself",
            Kind::Weir => {
                "io = \"io_uring\", one shard unless the variant says otherwise; defaults otherwise"
            }
            Kind::WeirEpoll => {
                "io = \"epoll\", one shard unless the variant says otherwise; defaults otherwise"
            }
            Kind::PgBouncer => {
                "pool_mode = transaction, users as SCRAM verifiers (so that no login computes PBKDF2), \
                 max_prepared_statements = 200 where its version has it, log_connections and log_disconnections off, \
                 listen_backlog = 4096; \
                 defaults otherwise"
            }
            Kind::HaProxy => "mode tcp, one thread, no log: forwards bytes, pools nothing",
            Kind::PgPool => {
                "raw mode, one process for each client, one server connection for each process; no load balancing"
            }
            Kind::Odyssey => {
                "pool \"transaction\", one worker, prepared statements reserved; defaults otherwise"
            }
            Kind::BareRelay => {
                "io_uring, one thread; looks at nothing but where messages end: no passwords, no TLS, no state"
            }
            Kind::Target => "as it runs",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for kind in Kind::NAMED {
            assert_eq!(Kind::parse(kind.name()), Some(kind));
        }
        assert_eq!(Kind::parse("nginx"), None);
    }
}
