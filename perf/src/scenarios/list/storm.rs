//! Clients that connect, log in, run one transaction and leave.

use super::super::figures::{At, Cells, Verdicts, at, cpu, errors, p99};
use super::super::plan::{Plan, Resume, Shape, Variant, simple};
use super::{BOUNCER, SIDE_BY_SIDE, Scale, WEIR};
use crate::model::{Cell, Verdict};
use crate::subjects::Kind;

/// Of `storm`.
pub const TITLE: &str = "Clients that connect, run one transaction and leave";

/// Clients that stay connected while others come and go, and their queries a second.
const SIDE: (usize, f64) = (16, 200.0);

/// The three kinds of connect: its name and its TLS.
const KINDS: [(&str, Option<Resume>); 3] = [
    ("plain", None),
    ("tls", Some(Resume::No)),
    ("tls resumed", Some(Resume::Yes)),
];

/// The scenario.
pub fn plan(scale: &Scale) -> Plan {
    let subjects: &[Kind] = if scale.quick {
        &[Kind::Weir, Kind::PgBouncer]
    } else {
        SIDE_BY_SIDE
    };
    let alive = if scale.quick { 200 } else { 2000 };
    let side = |duration| Shape::closed(SIDE.0, simple(), duration).at_rate(SIDE.1);
    let mut variants = Vec::new();
    for (kind, tls) in KINDS {
        if scale.quick && kind == "tls resumed" {
            continue;
        }
        let storm = Shape::storm(alive, 0.0, simple(), scale.cell);
        let variant = Variant::new(kind, storm.clone(), subjects).tls(tls, false);
        if scale.quick {
            variants.push(variant);
            continue;
        }
        let quiet = Variant::new(&quiet(kind), side(scale.cell), subjects);
        variants.push(quiet.tls(tls, false));
        variants.push(Variant {
            side: Some((beside(kind), side(storm.warmup + storm.duration))),
            ..variant
        });
    }
    if !scale.quick {
        let flood = Shape::storm(10_000, 0.0, simple(), scale.cell);
        variants.push(Variant::new("plain, 10,000 at a time", flood, subjects));
    }
    Plan {
        name: "storm",
        title: TITLE,
        says: format!(
            "{alive} clients at a time (10,000 in one variant), each logs in with SCRAM (the null server behind asks \
             for none), sends `SELECT 1` and leaves, and another comes; 32 server connections. Beside them {} clients \
             that were connected before ask {} queries a second, measured without and with the storm. Costs are for \
             each client that came.",
            SIDE.0, SIDE.1
        ),
        variants,
        rounds: scale.rounds,
        judge,
        prepare: None,
        generic: true,
    }
}

fn quiet(kind: &str) -> String {
    format!("connected before, quiet, {kind}")
}

fn beside(kind: &str) -> String {
    format!("connected before, in the storm, {kind}")
}

fn judge(cells: &[Cell]) -> Vec<Verdict> {
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    for (kind, _) in KINDS {
        let bound = if kind == "plain" { 0.8 } else { 1.0 / 3.0 };
        let ratio = cells.ratio(at(kind, WEIR), at(kind, BOUNCER), cpu);
        out.at_most(
            &format!("CPU per client, {kind}: weir / pgbouncer"),
            ratio,
            bound,
            "ratio",
        );
        let refused = cells.value(at(kind, WEIR), errors);
        out.at_most(
            &format!("clients that failed, {kind}"),
            refused,
            0.0,
            "clients",
        );
        let (before, during) = (quiet(kind), beside(kind));
        let place = |variant| At {
            variant,
            subject: WEIR,
        };
        let ratio = cells.ratio(place(&during), place(&before), p99);
        let figure = format!("p99 of clients connected before, {kind}: in the storm / quiet");
        out.at_most(&figure, ratio, 2.0, "ratio");
    }
    let flood = cells.value(at("plain, 10,000 at a time", WEIR), errors);
    out.at_most(
        "clients that failed, plain, 10,000 at a time",
        flood,
        0.0,
        "clients",
    );
    // The handshake itself, with the post-quantum key exchange that both sides prefer.
    let handshake = cells.difference(at("tls", WEIR), at("plain", WEIR), cpu);
    out.at_most("TLS adds to the CPU of a connect", handshake, 150.0, "µs");
    out.0
}
