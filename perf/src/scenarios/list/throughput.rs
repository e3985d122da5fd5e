//! Closed loops: what a query costs, in CPU time and in system calls.

use std::time::Duration;

use super::super::figures::{Cells, Verdicts, at, calls, cpu, p99, rate};
use super::super::plan::{Behind, Plan, Resume, Shape, Variant, extended, prepared, simple};
use super::{BOUNCER, EPOLL, EVERYBODY, HAPROXY, RELAY, SIDE_BY_SIDE, Scale, WEIR};
use crate::load::{Statement, Weighted, Work};
use crate::model::{Cell, Verdict};
use crate::subjects::Kind;

/// Of `throughput`.
pub const TITLE: &str = "CPU time per query, 32 clients in a closed loop";
/// Of `syscalls`.
pub const SYSCALLS_TITLE: &str = "System calls per query with 1, 32 and 1,000 in flight";
/// Of `pgbench-like`.
pub const PGBENCH_TITLE: &str = "Select by key on a real PostgreSQL, as `pgbench -S`";
/// Of `smoke`.
pub const SMOKE_TITLE: &str = "Short cells that show that the harness works";

const CLIENTS: usize = 32;
/// Rows of the table that `pgbench-like` asks.
const ROWS: u64 = 100_000;
/// Different texts of the simple protocol's select by key.
const KEYS: u64 = 64;

/// The scenario.
pub fn plan(scale: &Scale) -> Plan {
    let works: &[(&str, Work)] = &[
        ("simple", simple()),
        ("prepared", prepared()),
        ("extended", extended()),
    ];
    let works = if scale.quick { &works[..2] } else { works };
    let subjects: &[Kind] = if scale.quick {
        &[
            Kind::Direct,
            Kind::Weir,
            Kind::PgBouncer,
            Kind::HaProxy,
            Kind::BareRelay,
        ]
    } else {
        EVERYBODY
    };
    let mut variants = Vec::new();
    for (name, work) in works {
        let shape = Shape::closed(CLIENTS, work.clone(), scale.cell);
        let variant =
            |suffix: &str| Variant::new(&format!("{name}{suffix}"), shape.clone(), subjects);
        variants.push(variant(""));
        variants.push(variant(" client tls").tls(Some(Resume::No), false));
        if !scale.quick {
            variants.push(variant(" both tls").tls(Some(Resume::No), true));
        }
    }
    variants.iter_mut().for_each(|v| v.calls = !scale.quick);
    Plan {
        name: "throughput",
        title: TITLE,
        says: format!(
            "{CLIENTS} clients, each sends the next `SELECT 1` when the last is answered, over 32 server connections \
             to the null server: simple protocol, named prepared statement, unnamed statement; plain, TLS towards \
             clients, TLS on both sides."
        ),
        variants,
        rounds: scale.rounds,
        judge,
        prepare: None,
        generic: true,
    }
}

fn judge(cells: &[Cell]) -> Vec<Verdict> {
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    let ratio = |variant: &str, peer: &str| cells.ratio(at(variant, WEIR), at(variant, peer), cpu);
    for (variant, words, bound) in [
        ("simple", "simple query", 0.9),
        ("prepared", "prepared statement", 0.8),
        (
            "simple client tls",
            "simple query, TLS towards clients",
            0.8,
        ),
        (
            "prepared client tls",
            "prepared statement, TLS towards clients",
            0.8,
        ),
        ("simple both tls", "simple query, TLS on both sides", 0.8),
        (
            "prepared both tls",
            "prepared statement, TLS on both sides",
            0.8,
        ),
    ] {
        let figure = format!("CPU per {words}: weir / pgbouncer");
        out.at_most(&figure, ratio(variant, BOUNCER), bound, "ratio");
    }
    out.at_most(
        "CPU per simple query: weir / haproxy (TCP)",
        ratio("simple", HAPROXY),
        1.0,
        "ratio",
    );
    out.at_most(
        "CPU per simple query: weir / bare relay",
        ratio("simple", RELAY),
        1.15,
        "ratio",
    );
    out.at_most(
        "TLS on both sides adds to the CPU of a simple query",
        cells.difference(at("simple both tls", WEIR), at("simple", WEIR), cpu),
        2.5,
        "µs",
    );
    out.0
}

/// `syscalls`.
pub fn syscalls(scale: &Scale) -> Plan {
    let subjects = &[
        Kind::Weir,
        Kind::WeirEpoll,
        Kind::PgBouncer,
        Kind::HaProxy,
        Kind::BareRelay,
    ];
    let variant = |clients: usize, name: &str| Variant {
        calls: true,
        ..Variant::new(name, Shape::closed(clients, simple(), scale.cell), subjects)
    };
    Plan {
        name: "syscalls",
        title: SYSCALLS_TITLE,
        says: "1, 32 and 1,000 clients in a closed loop of `SELECT 1` over 32 server connections to the null server; \
               system calls are counted by `perf stat` in a short load of their own right after the timed one."
            .to_owned(),
        variants: vec![
            variant(1, "1 in flight"),
            variant(32, "32 in flight"),
            variant(1000, "1,000 in flight"),
        ],
        rounds: scale.rounds,
        judge: judge_syscalls,
        prepare: None,
        generic: false,
    }
}

fn judge_syscalls(cells: &[Cell]) -> Vec<Verdict> {
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    for (variant, bound) in [
        ("1 in flight", 2.1),
        ("32 in flight", 0.8),
        ("1,000 in flight", 0.2),
    ] {
        let figure = format!("system calls per query, {variant}");
        out.at_most(
            &figure,
            cells.value(at(variant, WEIR), calls),
            bound,
            "calls",
        );
    }
    for variant in ["32 in flight", "1,000 in flight"] {
        let ratio = cells.ratio(at(variant, WEIR), at(variant, EPOLL), cpu);
        let figure = format!("CPU per query, {variant}: io_uring / epoll shell");
        out.at_most(&figure, ratio, 0.9, "ratio");
    }
    out.0
}

/// `pgbench-like`.
pub fn pgbench(scale: &Scale) -> Plan {
    let by_key = Work::Prepared(Statement {
        sql: "SELECT abalance FROM accounts WHERE aid = $1".to_owned(),
        parameters: vec![format!("{{random:{ROWS}}}")],
    });
    // A text of the simple protocol can't draw its key: many texts, drawn from, come to the same.
    let texts = (0..KEYS).map(|n| {
        let aid = 1 + n * (ROWS / KEYS);
        let text = format!("SELECT abalance FROM accounts WHERE aid = {aid}");
        Weighted {
            weight: 1,
            work: Work::Simple(vec![text]),
        }
    });
    let simple = Shape {
        work: texts.collect(),
        ..Shape::closed(CLIENTS, by_key.clone(), scale.cell)
    };
    let prepared = Shape::closed(CLIENTS, by_key, scale.cell);
    let variant = |name: &str, shape: &Shape, server_tls: bool| {
        let subjects: &[Kind] = if server_tls {
            SIDE_BY_SIDE
        } else {
            // Pgpool-II asks more of a server than the null server answers, so it is only here.
            &[Kind::Direct, Kind::Weir, Kind::PgBouncer, Kind::PgPool]
        };
        let variant = Variant::new(name, shape.clone(), subjects);
        let client = server_tls.then_some(Resume::No);
        Variant {
            behind: Behind::Postgres,
            ..variant.tls(client, server_tls)
        }
    };
    Plan {
        name: "pgbench-like",
        title: PGBENCH_TITLE,
        says: format!(
            "{CLIENTS} clients in a closed loop select one row of {ROWS} by its key, over 32 server connections to \
             PostgreSQL: simple protocol and named prepared statement, plain and with TLS on both sides."
        ),
        variants: vec![
            variant("simple", &simple, false),
            variant("prepared", &prepared, false),
            variant("simple both tls", &simple, true),
            variant("prepared both tls", &prepared, true),
        ],
        rounds: scale.rounds,
        judge: judge_pgbench,
        prepare: None,
        generic: false,
    }
}

fn judge_pgbench(cells: &[Cell]) -> Vec<Verdict> {
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    for variant in ["simple", "prepared", "simple both tls", "prepared both tls"] {
        let ratio = |value| cells.ratio(at(variant, WEIR), at(variant, BOUNCER), value);
        let figure = format!("transactions a second, {variant}: weir / pgbouncer");
        out.at_least(&figure, ratio(rate), 1.0, "ratio");
        let figure = format!("p99, {variant}: weir / pgbouncer");
        out.at_most(&figure, ratio(p99), 1.0, "ratio");
    }
    out.0
}

/// `smoke`: who runs it wants to know whether the harness works, not what it measures.
pub fn smoke(scale: &Scale) -> Plan {
    let cell = scale.cell.min(Duration::from_secs(1));
    let subjects = &[Kind::Direct, Kind::Weir, Kind::WeirEpoll];
    let closed = |work| Shape::closed(8, work, cell);
    let storm = Shape::storm(20, 0.0, simple(), cell);
    Plan {
        name: "smoke",
        title: SMOKE_TITLE,
        says: "A second of each kind of load.".to_owned(),
        variants: vec![
            Variant::new("simple", closed(simple()), subjects),
            Variant::new("prepared both tls", closed(prepared()), &subjects[..2])
                .tls(Some(Resume::No), true),
            Variant::new("storm tls", storm, &subjects[1..2]).tls(Some(Resume::Yes), false),
        ],
        rounds: 1,
        judge: judge_smoke,
        prepare: None,
        generic: false,
    }
}

fn judge_smoke(cells: &[Cell]) -> Vec<Verdict> {
    use super::super::figures::errors;
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    for (variant, subject) in [
        ("simple", "direct"),
        ("simple", WEIR),
        ("simple", EPOLL),
        ("prepared both tls", WEIR),
        ("storm tls", WEIR),
    ] {
        let place = at(variant, subject);
        let done = cells.value(place, rate);
        out.at_least(
            &format!("{variant}, {subject}: answered"),
            done,
            100.0,
            "a second",
        );
        let failed = cells.value(place, errors);
        out.at_most(
            &format!("{variant}, {subject}: errors"),
            failed,
            0.0,
            "errors",
        );
    }
    out.0
}
