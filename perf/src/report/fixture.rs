//! A report made by code, for the tests of tables, pages and comparisons: figures of the right size, none of them measured.

use crate::model::{Cell, Curve, FORMAT, Load, Machine, Report, Scenario, Subject, Usage, Verdict};

/// Subject, CPU µs per query, KiB per client with TLS, added latency µs.
const SUBJECTS: [(&str, f64, f64, f64); 5] = [
    ("direct", 0.0, 0.0, 0.0),
    ("weir", 11.6, 4.4, 34.0),
    ("weir-epoll", 14.1, 4.5, 41.0),
    ("pgbouncer", 14.6, 14.6, 46.0),
    ("haproxy", 16.2, 22.0, 52.0),
];

/// A report of all kinds of scenario; `weight` multiplies what weir uses.
pub fn report(weight: f64) -> Report {
    Report {
        format: FORMAT,
        started: "2026-11-24T12:00:00Z".into(),
        seconds: 118.4,
        machine: Machine {
            cpu: "AMD EPYC".into(),
            cpus: 2,
            memory_mib: 24_064,
            kernel: "6.18.44".into(),
            system: "Debian GNU/Linux 12 (bookworm)".into(),
        },
        command: "cargo xtask perf --quick".into(),
        revision: "deb0484c1d2e".into(),
        subjects: SUBJECTS.iter().map(|s| subject(s.0)).collect(),
        scenarios: vec![
            throughput(weight),
            added(weight),
            storm(weight),
            ten_thousand(weight),
            soak(),
        ],
    }
}

fn subject(name: &str) -> Subject {
    let (version, settings) = match name {
        "direct" => ("PostgreSQL 15.18", "max_connections = 200, fsync = off"),
        "pgbouncer" => (
            "PgBouncer 1.25.0",
            "pool_mode = transaction, max_prepared_statements = 200, default_pool_size = 32",
        ),
        "haproxy" => ("HAProxy 2.6.12", "mode tcp, nbthread 1"),
        "weir-epoll" => (
            "weir 0.1.0",
            "io = \"epoll\", shards = 1, max_connection_pool_size = 32",
        ),
        _ => (
            "weir 0.1.0",
            "io = \"io_uring\", shards = 1, max_connection_pool_size = 32",
        ),
    };
    Subject {
        name: name.into(),
        version: version.into(),
        settings: settings.into(),
    }
}

/// A latency curve: a body around `p50` and a tail that grows with the quantile; noise differs by round.
pub fn curve(p50: f64, count: u64, round: u32) -> Curve {
    let noise = 1.0 + f64::from(round) * 0.03;
    let at = |q: f64| {
        let nines = -(1.0 - q).max(1.0 / count as f64).log10();
        p50 * noise * (0.45 + 0.62 * nines.max(0.0) + 0.33 * nines.powi(3))
    };
    let quantiles = (0..).map(|k| 1.0 - 0.5_f64.powf(f64::from(k) / 4.0));
    let mut points: Vec<_> = quantiles
        .take_while(|q| (1.0 - q) * count as f64 > 1.0)
        .map(|q| (q, at(q)))
        .collect();
    points.push((1.0, at(1.0)));
    Curve {
        count,
        mean: p50 * 1.2,
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        p999: at(0.999),
        max: at(1.0),
        points,
    }
}

fn weight_of(name: &str, weight: f64) -> f64 {
    if name.starts_with("weir") {
        weight
    } else {
        1.0
    }
}

fn cell(subject: &str, variant: &str, round: u32, queries: u64, latency: Curve) -> Cell {
    Cell {
        subject: subject.into(),
        variant: variant.into(),
        round,
        load: Load {
            seconds: 5.0,
            connections: 32,
            done: queries,
            queries,
            latency,
            generator_busy: 0.61,
            ..Load::default()
        },
        usage: None,
    }
}

fn usage(cpu: f64, queries: u64, round: u32) -> Usage {
    let cpu = cpu * (1.0 + f64::from(round) * 0.02 - 0.02);
    Usage {
        cpu_us: cpu * queries as f64,
        cpu_us_per_query: cpu,
        system_calls_per_query: Some(0.6),
        rss_before_kib: 9_000,
        rss_kib: 9_400,
        rss_peak_kib: 9_500,
        kib_per_client: 12.5,
        descriptors: 80,
        ..Usage::default()
    }
}

fn scenario(
    name: &str,
    title: &str,
    says: &str,
    cells: Vec<Cell>,
    verdicts: Vec<Verdict>,
) -> Scenario {
    Scenario {
        name: name.into(),
        title: title.into(),
        says: says.into(),
        cells,
        verdicts,
        notes: vec![],
    }
}

/// Every subject in three interleaved rounds.
fn each(weight: f64, mut make: impl FnMut(&str, f64, f64, f64, u32) -> Cell) -> Vec<Cell> {
    let rounds = (0..3).flat_map(|round| SUBJECTS.iter().map(move |s| (round, s)));
    rounds
        .map(|(round, s)| {
            let weight = weight_of(s.0, weight);
            make(s.0, s.1 * weight, s.2 * weight, s.3 * weight, round)
        })
        .collect()
}

fn throughput(weight: f64) -> Scenario {
    let mut cells = Vec::new();
    for (variant, more) in [("simple", 1.0), ("prepared", 1.25), ("simple tls", 1.32)] {
        cells.extend(each(weight, |name, cpu, _, added, round| {
            let queries = (400_000.0 / (more * (1.0 + cpu / 14.0))) as u64;
            let latency = curve(200.0 + added * 9.0 * more, queries, round);
            let mut cell = cell(name, variant, round, queries, latency);
            cell.usage = (name != "direct").then(|| usage(cpu * more, queries, round));
            cell
        }));
    }
    let verdicts = vec![
        verdict(
            "CPU per simple query: at most 0.9 of PgBouncer's",
            0.79 * weight,
            0.9,
            "ratio",
        ),
        verdict(
            "CPU per prepared query: at most 0.8 of PgBouncer's",
            0.84 * weight,
            0.8,
            "ratio",
        ),
    ];
    let mut scenario = scenario(
        "throughput",
        "Closed loop, 32 clients, null server",
        "32 clients send `select 1` as fast as answers come; 32 server connections.",
        cells,
        verdicts,
    );
    scenario
        .notes
        .push("odyssey: not packaged for this system, left out.".into());
    scenario
}

fn verdict(figure: &str, value: f64, bound: f64, unit: &str) -> Verdict {
    Verdict {
        figure: figure.into(),
        value,
        spread: (value * 0.97, value * 1.04),
        bound,
        unit: unit.into(),
        at_least: false,
        held: value <= bound,
    }
}

fn added(weight: f64) -> Scenario {
    let cells = each(weight, |name, cpu, _, added, round| {
        let mut cell = cell(
            name,
            "simple",
            round,
            5_000,
            curve(40.0 + added * 1.6, 5_000, round),
        );
        cell.load.connections = 16;
        cell.usage = (name != "direct").then(|| usage(cpu * 2.8, 5_000, round));
        cell
    });
    let verdicts = vec![verdict(
        "p50 added: at most 0.85 of PgBouncer's",
        0.74 * weight,
        0.85,
        "ratio",
    )];
    scenario(
        "added-latency",
        "1,000 queries/s over 16 clients",
        "Open loop at a fixed low rate.",
        cells,
        verdicts,
    )
}

fn storm(weight: f64) -> Scenario {
    let cells = each(weight, |name, cpu, _, added, round| {
        let mut cell = cell(
            name,
            "scram tls",
            round,
            4_000,
            curve(4_000.0 + added * 60.0, 4_000, round),
        );
        cell.load.connect = curve(3_200.0 + added * 50.0, 4_000, round);
        if name == "haproxy" {
            cell.load.errors.insert("53300".into(), 41);
        }
        cell.usage = (name != "direct").then(|| usage(cpu * 14.0, 4_000, round));
        cell
    });
    scenario(
        "storm",
        "2,000 clients connect, run one transaction, leave",
        "SCRAM over TLS; 64 alive at a time.",
        cells,
        vec![verdict(
            "CPU per client: at most a third of PgBouncer's",
            0.31 * weight,
            0.333,
            "ratio",
        )],
    )
}

fn ten_thousand(weight: f64) -> Scenario {
    let mut cells = Vec::new();
    for clients in [1_000_u32, 5_000, 10_000] {
        cells.extend(each(weight, |name, cpu, memory, added, round| {
            let mut cell = cell(
                name,
                &format!("{clients} tls"),
                round,
                25_000,
                curve(140.0 + added, 25_000, round),
            );
            cell.load.connections = u64::from(clients);
            let rss = 9_000 + (memory * f64::from(clients)) as u64;
            cell.usage = (name != "direct").then(|| Usage {
                kib_per_client: memory,
                rss_kib: rss,
                rss_peak_kib: rss + 300,
                ..usage(cpu * 2.6, 25_000, round)
            });
            cell
        }));
    }
    let verdicts = vec![
        verdict("memory per client with TLS", 4.4 * weight, 5.0, "KiB"),
        verdict("p99 added", 0.38 * weight, 1.0, "ms"),
    ];
    scenario(
        "ten-thousand",
        "10,000 TLS clients, 5,000 queries/s over 500 of them",
        "Clients connect and stay; 500 of them send by schedule.",
        cells,
        verdicts,
    )
}

fn soak() -> Scenario {
    let mut cell = cell("weir", "mixed", 0, 900_000, curve(210.0, 900_000, 0));
    let memory = (0..120_u32).map(|i| (f64::from(i) * 30.0, 52_000 + u64::from(i % 7) * 90));
    cell.load.seconds = 3600.0;
    cell.usage = Some(Usage {
        rss_over_time: memory.collect(),
        ..usage(14.0, 900_000, 1)
    });
    scenario(
        "soak",
        "An hour of connects, errors, pins and cancels",
        "Memory and descriptors must be flat.",
        vec![cell],
        vec![],
    )
}
