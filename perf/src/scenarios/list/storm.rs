//! Clients that connect, log in, run one transaction and leave.

use std::time::Duration;

use super::super::figures::{Cells, Verdicts, at, cpu, errors, p99};
use super::super::plan::{Plan, Resume, Shape, Variant, simple};
use super::{BOUNCER, SIDE_BY_SIDE, Scale, WEIR};
use crate::model::{Cell, Verdict};
use crate::subjects::Kind;

/// Of `storm`.
pub const TITLE: &str = "Clients that connect, run one transaction and leave";

/// Clients that stay connected while others come and go, and their queries a second.
const SIDE: (usize, f64) = (16, 200.0);
/// Connects a second of the storm that leaves the machine room.
const PACED: f64 = 500.0;
/// A storm that is measured whole ends by then, whatever becomes of it.
const LONGEST: Duration = Duration::from_secs(60);
const FLOOD: &str = "plain, 10,000 at a time";

/// The kinds of connect: name and TLS.
const KINDS: [(&str, Option<Resume>); 3] = [
    ("plain", None),
    ("tls", Some(Resume::No)),
    ("tls resumed", Some(Resume::Yes)),
];

/// The scenario.
pub fn plan(scale: &Scale) -> Plan {
    let variants = if scale.quick { quick() } else { long(scale) };
    Plan {
        name: "storm",
        title: TITLE,
        says: format!(
            "Clients log in with SCRAM (the null server behind asks for none), send `SELECT 1` and leave, and others \
             come; 32 server connections. `plain`, `tls`, `tls resumed`: a storm measured whole, from its first client \
             to its last: 10,000 clients, 2,000 at a time (quick: 1,500, 200 at a time); {FLOOD}: 20,000 clients. Costs \
             are for each client. Then {} clients that were connected before ask {} queries a second: alone, beside \
             {PACED} connects a second, and beside an endless storm that takes all the CPU there is.",
            SIDE.0, SIDE.1
        ),
        variants,
        rounds: scale.rounds.min(3),
        judge,
        prepare: None,
        generic: true,
    }
}

fn whole(name: &str, tls: Option<Resume>, alive: usize, total: u64, subjects: &[Kind]) -> Variant {
    let shape = Shape::storm(alive, 0.0, simple(), LONGEST).until(total);
    Variant::new(name, shape, subjects).tls(tls, false)
}

fn quick() -> Vec<Variant> {
    let subjects = &[Kind::Weir, Kind::PgBouncer];
    let of = |(name, tls): (&str, Option<Resume>)| whole(name, tls, 200, 1500, subjects);
    KINDS[..2].iter().copied().map(of).collect()
}

fn long(scale: &Scale) -> Vec<Variant> {
    let mut variants = Vec::new();
    for (kind, tls) in KINDS {
        variants.push(whole(kind, tls, 2000, 10_000, SIDE_BY_SIDE));
    }
    variants.push(whole(FLOOD, None, 10_000, 20_000, SIDE_BY_SIDE));
    for (kind, tls) in &KINDS[..2] {
        variants.extend(beside(kind, *tls, scale));
    }
    variants
}

/// Clients that are connected before the storm: alone, and beside a storm of either strength.
fn beside(kind: &str, tls: Option<Resume>, scale: &Scale) -> Vec<Variant> {
    let side = |duration| Shape::closed(SIDE.0, simple(), duration).at_rate(SIDE.1);
    let storm = |name: String, rate: f64, reported: String| {
        let shape = Shape::storm(2000, rate, simple(), scale.cell);
        let length = shape.warmup + shape.duration;
        Variant {
            side: Some((reported, side(length))),
            ..Variant::new(&name, shape, SIDE_BY_SIDE).tls(tls, false)
        }
    };
    let paced = format!("{PACED} connects a second, {kind}");
    let endless = format!("endless storm, {kind}");
    vec![
        Variant::new(&before(kind, "alone"), side(scale.cell), SIDE_BY_SIDE).tls(tls, false),
        storm(paced, PACED, before(kind, "paced storm")),
        storm(endless, 0.0, before(kind, "endless storm")),
    ]
}

fn before(kind: &str, when: &str) -> String {
    format!("connected before, {when}, {kind}")
}

fn judge(cells: &[Cell]) -> Vec<Verdict> {
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    for (kind, _) in KINDS {
        let bound = if kind == "plain" { 0.8 } else { 1.0 / 3.0 };
        let ratio = cells.ratio(at(kind, WEIR), at(kind, BOUNCER), cpu);
        let figure = format!("CPU per client, {kind}: weir / pgbouncer");
        out.at_most(&figure, ratio, bound, "ratio");
    }
    for kind in KINDS.map(|k| k.0).iter().chain([&FLOOD]) {
        let failed = cells.value(at(kind, WEIR), errors);
        out.at_most(
            &format!("clients that failed, {kind}"),
            failed,
            0.0,
            "clients",
        );
    }
    for (kind, _) in KINDS {
        for when in ["paced storm", "endless storm"] {
            let (alone, storm) = (before(kind, "alone"), before(kind, when));
            let ratio = cells.ratio(at(&storm, WEIR), at(&alone, WEIR), p99);
            let figure = format!("p99 of clients connected before, {kind}: {when} / alone");
            out.at_most(&figure, ratio, 2.0, "ratio");
        }
    }
    // The handshake itself, with the post-quantum key exchange that both sides prefer.
    let handshake = cells.difference(at("tls", WEIR), at("plain", WEIR), cpu);
    out.at_most("TLS adds to the CPU of a connect", handshake, 150.0, "µs");
    out.0
}
