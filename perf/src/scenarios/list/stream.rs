//! Results and COPY data that are larger than any buffer, and clients that read slowly.

use std::time::Duration;

use super::super::figures::{Cells, Verdicts, at, p99, throughput};
use super::super::plan::{Behind, Plan, Resume, Shape, Variant, simple};
use super::{DIRECT, SIDE_BY_SIDE, Scale, WEIR};
use crate::load::Work;
use crate::model::{Cell, Verdict};
use crate::subjects::Kind;

/// Of `large`.
pub const TITLE: &str = "Results and COPY of 100 MB, 8 at once";
/// Of `slow-readers`.
pub const SLOW_TITLE: &str = "Clients that read large results slowly, beside quick ones";

const AT_ONCE: usize = 8;
const SLOW: usize = 20;
/// Bytes a second that a slow reader takes.
const SLOW_RATE: u64 = 512 << 10;
/// What a proxy may hold in all while eight streams pass, MiB: buffers that are shared by all connections included.
const HELD_MIB: f64 = 64.0;
/// What a proxy may hold for each slow reader, KiB.
const HELD_KIB: f64 = 1024.0;
const QUIET: &str = "quick clients, alone";
const BESIDE: &str = "quick clients, beside slow readers";
const READERS: &str = "slow readers";

fn result(megabytes: u32) -> String {
    format!("SELECT repeat('x', 1000) FROM generate_series(1, {megabytes}000)")
}

/// `large`.
pub fn plan(scale: &Scale) -> Plan {
    let works = [
        ("100 MB result", Work::Simple(vec![result(100)])),
        (
            "100 MB COPY out",
            Work::Simple(vec![format!("COPY ({}) TO STDOUT", result(100))]),
        ),
        (
            "100 MB COPY in",
            Work::CopyIn {
                sql: "COPY sink FROM STDIN".to_owned(),
                bytes: 100 << 20,
            },
        ),
    ];
    // Shorter than a few of these transactions, a cell would count none.
    let length = scale.cell.max(Duration::from_secs(8));
    let mut variants = Vec::new();
    for (name, work) in works {
        let shape = Shape::closed(AT_ONCE, work, length);
        let plain = Variant {
            behind: Behind::Postgres,
            ..Variant::new(name, shape, SIDE_BY_SIDE)
        };
        let tls = Variant {
            name: format!("{name} client tls"),
            ..plain.clone()
        };
        variants.push(plain);
        variants.push(tls.tls(Some(Resume::No), false));
    }
    Plan {
        name: "large",
        title: TITLE,
        says: format!(
            "{AT_ONCE} clients at once, each with one statement after the other that moves 100 MB, from and to PostgreSQL."
        ),
        variants,
        rounds: scale.rounds.min(2),
        judge,
        prepare: None,
        generic: false,
    }
}

/// What the proxy held at most more than before the first client, MiB.
fn held(cell: &Cell) -> Option<f64> {
    let usage = cell.usage.as_ref()?;
    Some(usage.rss_peak_kib.saturating_sub(usage.rss_before_kib) as f64 / 1024.0)
}

/// The same for each connection, KiB.
fn held_each(cell: &Cell) -> Option<f64> {
    Some(held(cell)? * 1024.0 / cell.load.connections.max(1) as f64)
}

fn judge(cells: &[Cell]) -> Vec<Verdict> {
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    for variant in ["100 MB result", "100 MB COPY out", "100 MB COPY in"] {
        let ratio = cells.ratio(at(variant, WEIR), at(variant, DIRECT), throughput);
        out.at_least(
            &format!("throughput, {variant}: weir / direct"),
            ratio,
            0.8,
            "ratio",
        );
        let most = cells.value(at(variant, WEIR), held);
        out.at_most(
            &format!("memory that {AT_ONCE} streams take at most, {variant}"),
            most,
            HELD_MIB,
            "MiB",
        );
    }
    out.0
}

/// `slow-readers`.
pub fn slow(scale: &Scale) -> Plan {
    let length = scale.cell.max(Duration::from_secs(5));
    let readers = Shape {
        read_rate: Some(SLOW_RATE),
        ..Shape::closed(SLOW, Work::Simple(vec![result(1)]), length)
    };
    let quick = Shape::closed(16, simple(), length).at_rate(200.0);
    let postgres = |variant| Variant {
        behind: Behind::Postgres,
        ..variant
    };
    let quiet = postgres(Variant::new(QUIET, quick.clone(), SIDE_BY_SIDE));
    let slow = Variant {
        side: Some((BESIDE.to_owned(), quick)),
        ..postgres(Variant::new(
            READERS,
            readers,
            &[Kind::Direct, Kind::Weir, Kind::PgBouncer],
        ))
    };
    Plan {
        name: "slow-readers",
        title: SLOW_TITLE,
        says: format!(
            "{SLOW} clients read results of 1 MB at 512 KiB a second each, over 32 server connections to PostgreSQL; \
             beside them 16 clients ask 200 small queries a second, measured without and with the slow readers."
        ),
        variants: vec![quiet, slow],
        rounds: scale.rounds.min(3),
        judge: judge_slow,
        prepare: None,
        generic: false,
    }
}

fn judge_slow(cells: &[Cell]) -> Vec<Verdict> {
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    let ratio = cells.ratio(at(BESIDE, WEIR), at(QUIET, WEIR), p99);
    out.at_most(
        "p99 of quick clients: beside slow readers / alone",
        ratio,
        2.0,
        "ratio",
    );
    let most = cells.value(at(READERS, WEIR), held_each);
    out.at_most("memory at most for each slow reader", most, HELD_KIB, "KiB");
    out.0
}
