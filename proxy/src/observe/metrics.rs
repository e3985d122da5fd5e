//! The metrics page: Prometheus text format 0.0.4, made from the shards' counters.
//!
//! `weir_X` is the sum over all shards, `weir_shard_X{shard="n"}` the same number by shard.

use std::fmt::Write;

use weir_core::pins::PinReason;
use weir_core::shard::Stats;

use super::escape;
use super::pins::PinBook;
use crate::shell::IoStats;

/// What a page is made from.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    /// By shard.
    pub stats: Vec<Stats>,
    /// By shard.
    pub io_stats: Vec<IoStats>,
    /// `io_uring` or `epoll`.
    pub io: &'static str,
    /// Whether it goes down.
    pub draining: bool,
    /// Configuration loads so far.
    pub generation: u64,
    /// Reloads that were refused.
    pub reload_failures: u64,
    /// Addresses known by target group: name and how many.
    pub target_addresses: Vec<(String, usize)>,
    /// Limits by target group: name and `max_connection_pool_size`.
    pub pool_sizes: Vec<(String, u32)>,
    /// Pins by user and database.
    pub pins: PinBook,
    /// `max_client_connections`.
    pub max_clients: u32,
}

/// One number of a shard.
struct Metric<T> {
    /// Without `weir_`.
    name: &'static str,
    help: &'static str,
    /// `gauge` or `counter`.
    kind: &'static str,
    get: fn(&T) -> u64,
}

const fn gauge<T>(name: &'static str, help: &'static str, get: fn(&T) -> u64) -> Metric<T> {
    Metric {
        name,
        help,
        kind: "gauge",
        get,
    }
}

const fn counter<T>(name: &'static str, help: &'static str, get: fn(&T) -> u64) -> Metric<T> {
    Metric {
        name,
        help,
        kind: "counter",
        get,
    }
}

static CORE: &[Metric<Stats>] = &[
    gauge(
        "client_connections",
        "Clients connected, those in login included.",
        |s| s.clients,
    ),
    gauge(
        "clients_in_login",
        "Clients that have not logged in yet.",
        |s| s.clients_in_login,
    ),
    gauge(
        "clients_waiting",
        "Clients that wait for a server connection.",
        |s| s.clients_waiting,
    ),
    gauge(
        "backend_connections",
        "Server connections open or being opened.",
        |s| s.backends,
    ),
    gauge("backend_lent", "Server connections lent to clients.", |s| {
        s.backends_lent
    }),
    gauge(
        "backend_idle",
        "Server connections that nobody uses.",
        |s| s.backends_idle,
    ),
    gauge(
        "pinned_sessions",
        "Clients that keep their server connection after their transaction.",
        |s| s.pinned,
    ),
    counter("logins_total", "Logins that succeeded.", |s| s.logins),
    counter("refused_total", "Clients refused.", |s| s.refused),
    counter(
        "cycles_total",
        "Queries and other requests that ended.",
        |s| s.cycles,
    ),
    counter(
        "borrows_total",
        "Times a server connection was lent.",
        |s| s.borrows,
    ),
    counter(
        "borrow_timeouts_total",
        "Waits for a server connection that ended with an error.",
        |s| s.borrow_timeouts,
    ),
    counter(
        "transaction_timeouts_total",
        "Transactions that lasted longer than transaction_timeout.",
        |s| s.transaction_timeouts,
    ),
    counter(
        "idle_in_transaction_timeouts_total",
        "Clients closed for saying nothing for idle_in_transaction_timeout in a transaction.",
        |s| s.idle_in_transaction_timeouts,
    ),
    counter("backends_opened_total", "Server connections opened.", |s| {
        s.backends_opened
    }),
    counter("backends_closed_total", "Server connections closed.", |s| {
        s.backends_closed
    }),
    counter(
        "backend_failures_total",
        "Connects or logins at a server that failed.",
        |s| s.backend_failures,
    ),
    counter(
        "backends_moved_total",
        "Server connections handed to another shard.",
        |s| s.backends_moved,
    ),
    counter(
        "cancels_total",
        "Cancel requests that reached a running query.",
        |s| s.cancels,
    ),
    counter(
        "pins_excused_total",
        "Times that session_pinning_filters kept a session from being pinned.",
        |s| s.pins_excused,
    ),
    counter(
        "server_idle_checks_total",
        "Times an idle server connection was asked for a sign of life before it was lent.",
        |s| s.idle_checks,
    ),
    counter(
        "replays_total",
        "Times a server connection was brought to its client's settings.",
        |s| s.replays,
    ),
    counter(
        "replays_refused_total",
        "Of those, times that the server refused.",
        |s| s.replays_refused,
    ),
];

static IO: &[Metric<IoStats>] = &[
    counter(
        "system_calls_total",
        "Times the kernel was entered to wait, submit or send.",
        |s| s.system_calls,
    ),
    counter(
        "received_bytes_total",
        "Bytes received from clients and servers.",
        |s| s.bytes_in,
    ),
    counter("sent_bytes_total", "Bytes handed to sockets.", |s| {
        s.bytes_out
    }),
    counter(
        "buffers_exhausted_total",
        "Times no receive buffer was free.",
        |s| s.buffers_exhausted,
    ),
    counter(
        "congested_total",
        "Times a socket did not take everything at once.",
        |s| s.congested,
    ),
];

/// The whole page.
pub fn page(numbers: &Numbers) -> String {
    let mut page = String::with_capacity(16 * 1024);
    for metric in CORE {
        add(&mut page, metric, &numbers.stats);
    }
    for metric in IO {
        add(&mut page, metric, &numbers.io_stats);
    }
    add_borrow_wait(&mut page, &numbers.stats);
    add_pins(&mut page, &numbers.stats);
    add_pin_times(&mut page, &numbers.stats);
    numbers.pins.write(&mut page);
    add_process(&mut page, numbers);
    page
}

/// A short answer for load balancers: `ok` or `draining`.
pub fn health(numbers: &Numbers) -> (bool, &'static str) {
    if numbers.draining {
        (false, "draining\n")
    } else {
        (true, "ok\n")
    }
}

fn head(page: &mut String, name: &str, kind: &str, help: &str) {
    let _ = write!(
        page,
        "# HELP weir_{name} {help}\n# TYPE weir_{name} {kind}\n"
    );
}

fn add<T>(page: &mut String, metric: &Metric<T>, shards: &[T]) {
    let sum = shards
        .iter()
        .fold(0u64, |sum, s| sum.saturating_add((metric.get)(s)));
    head(page, metric.name, metric.kind, metric.help);
    let _ = writeln!(page, "weir_{} {sum}", metric.name);
    head(
        page,
        &format!("shard_{}", metric.name),
        metric.kind,
        metric.help,
    );
    for (number, shard) in shards.iter().enumerate() {
        let _ = writeln!(
            page,
            "weir_shard_{}{{shard=\"{number}\"}} {}",
            metric.name,
            (metric.get)(shard)
        );
    }
}

fn add_borrow_wait(page: &mut String, shards: &[Stats]) {
    let nanoseconds = shards
        .iter()
        .fold(0u64, |sum, s| sum.saturating_add(s.borrow_wait_ns));
    head(
        page,
        "borrow_wait_seconds_total",
        "counter",
        "Time that clients waited for server connections.",
    );
    let _ = writeln!(
        page,
        "weir_borrow_wait_seconds_total {}.{:09}",
        nanoseconds / 1_000_000_000,
        nanoseconds % 1_000_000_000
    );
}

/// Numbers by reason.
type Counts = fn(&Stats) -> &[u64; 32];

/// The sum over all shards, by reason.
fn by_reason(shards: &[Stats], counts: Counts) -> impl Iterator<Item = (PinReason, u64)> {
    PinReason::ALL.iter().map(move |reason| {
        let number = |s: &Stats| counts(s).get(*reason as usize).copied().unwrap_or(0);
        let sum = shards
            .iter()
            .fold(0u64, |sum, s| sum.saturating_add(number(s)));
        (*reason, sum)
    })
}

fn add_pins(page: &mut String, shards: &[Stats]) {
    let families: [(&str, &str, Counts); 2] = [
        ("pins_total", "Sessions that were pinned, by reason.", |s| {
            &s.pins
        }),
        (
            "pins_ended_total",
            "Pins that ended while their sessions went on, by reason.",
            |s| &s.pins_ended,
        ),
    ];
    for (name, help, counts) in families {
        head(page, name, "counter", help);
        for (reason, sum) in by_reason(shards, counts) {
            let _ = writeln!(page, "weir_{name}{{reason=\"{}\"}} {sum}", reason.name());
        }
    }
}

fn add_pin_times(page: &mut String, shards: &[Stats]) {
    head(
        page,
        "pinned_seconds_total",
        "counter",
        "Time that sessions were pinned, by reason; counted when a pin ends or its session does.",
    );
    for (reason, sum) in by_reason(shards, |s| &s.pins_held_ns) {
        let _ = writeln!(
            page,
            "weir_pinned_seconds_total{{reason=\"{}\"}} {}.{:03}",
            reason.name(),
            sum / 1_000_000_000,
            sum / 1_000_000 % 1000
        );
    }
}

fn add_process(page: &mut String, numbers: &Numbers) {
    head(
        page,
        "io_backend",
        "gauge",
        "Which I/O the shards use: the one with 1.",
    );
    let _ = writeln!(page, "weir_io_backend{{io=\"{}\"}} 1", numbers.io);
    head(page, "shards", "gauge", "Threads that serve clients.");
    let _ = writeln!(page, "weir_shards {}", numbers.stats.len());
    head(page, "draining", "gauge", "1 while weir goes down.");
    let _ = writeln!(page, "weir_draining {}", u8::from(numbers.draining));
    head(
        page,
        "config_generation",
        "gauge",
        "Configurations taken over since the start.",
    );
    let _ = writeln!(page, "weir_config_generation {}", numbers.generation);
    head(
        page,
        "reload_failures_total",
        "counter",
        "Reloads that were refused.",
    );
    let _ = writeln!(
        page,
        "weir_reload_failures_total {}",
        numbers.reload_failures
    );
    head(page, "max_client_connections", "gauge", "Clients at most.");
    let _ = writeln!(page, "weir_max_client_connections {}", numbers.max_clients);
    head(
        page,
        "max_connection_pool_size",
        "gauge",
        "Server connections at most.",
    );
    for (group, size) in &numbers.pool_sizes {
        page.push_str("weir_max_connection_pool_size{group=");
        escape::label(page, group);
        let _ = writeln!(page, "}} {size}");
    }
    head(
        page,
        "target_addresses",
        "gauge",
        "Addresses that the target's name stands for.",
    );
    for (group, count) in &numbers.target_addresses {
        page.push_str("weir_target_addresses{group=");
        escape::label(page, group);
        let _ = writeln!(page, "}} {count}");
    }
    head(page, "build_info", "gauge", "Always 1.");
    let _ = writeln!(
        page,
        "weir_build_info{{version=\"{}\"}} 1",
        env!("CARGO_PKG_VERSION")
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers() -> Numbers {
        let mut one = Stats {
            clients: 3,
            backends_lent: 1,
            borrow_wait_ns: 1_500_000_000,
            replays: 5,
            replays_refused: 1,
            ..Stats::default()
        };
        one.pins[PinReason::Setting as usize] = 2;
        one.pins_held_ns[PinReason::Listen as usize] = 61_002_000_000;
        let two = Stats {
            clients: 4,
            borrow_wait_ns: 1,
            ..Stats::default()
        };
        let pins = PinBook::default();
        let profile = weir_core::profile::Profile {
            group: weir_core::ids::GroupId(0),
            user: "u".into(),
            database: "d".into(),
            parameters: std::sync::Arc::default(),
        };
        pins.count(&profile, PinReason::Load);
        Numbers {
            pins,
            stats: vec![one, two],
            io_stats: vec![
                IoStats {
                    system_calls: 5,
                    ..IoStats::default()
                };
                2
            ],
            io: "epoll",
            pool_sizes: vec![("a\"b".to_owned(), 7)],
            ..Numbers::default()
        }
    }

    #[test]
    fn sums_and_shards() {
        let page = page(&numbers());
        for line in [
            "weir_client_connections 7",
            "weir_shard_client_connections{shard=\"0\"} 3",
            "weir_shard_client_connections{shard=\"1\"} 4",
            "weir_backend_lent 1",
            "weir_system_calls_total 10",
            "weir_borrow_wait_seconds_total 1.500000001",
            "weir_pins_total{reason=\"setting\"} 2",
            "weir_pins_total{reason=\"load\"} 0",
            "weir_pinned_seconds_total{reason=\"listen\"} 61.002",
            "weir_pinned_seconds_total{reason=\"load\"} 0.000",
            "weir_tenant_pins_total{user=\"u\",database=\"d\",reason=\"load\"} 1",
            "weir_replays_total 5",
            "weir_replays_refused_total 1",
            "weir_io_backend{io=\"epoll\"} 1",
            "weir_shards 2",
            "weir_max_connection_pool_size{group=\"a\\\"b\"} 7",
        ] {
            assert!(page.lines().any(|l| l == line), "{line} is not in\n{page}");
        }
    }

    #[test]
    fn every_sample_has_its_help_and_type_once_and_before_it() {
        let page = page(&numbers());
        let mut typed = std::collections::HashSet::new();
        for line in page.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                assert!(typed.insert(name.to_owned()), "{name} twice");
                assert_eq!(kind == "counter", name.ends_with("_total"), "{name}");
            } else if !line.starts_with('#') {
                let (name, value) = line.rsplit_once(' ').unwrap();
                assert!(typed.contains(name.split('{').next().unwrap()), "{line}");
                assert!(value.parse::<f64>().is_ok(), "{line}");
            }
        }
        assert!(page.ends_with('\n'));
    }

    #[test]
    fn health_says_whether_it_goes_down() {
        assert_eq!(health(&numbers()), (true, "ok\n"));
        assert_eq!(
            health(&Numbers {
                draining: true,
                ..numbers()
            }),
            (false, "draining\n")
        );
    }
}
