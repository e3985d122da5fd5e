//! What a proxy adds to the latency of a query when there is little to do.

use super::super::figures::{Cells, Figure, Value, Verdicts, at, cpu, p50, p99};
use super::super::plan::{Plan, Resume, Shape, Variant, simple};
use super::{BOUNCER, DIRECT, EVERYBODY, SIDE_BY_SIDE, Scale, WEIR};
use crate::model::{Cell, Verdict};

/// Of `added-latency`.
pub const TITLE: &str = "Latency that a proxy adds at 1,000 queries a second over 16 clients";

const CLIENTS: usize = 16;
const RATE: f64 = 1000.0;

/// The scenario.
pub fn plan(scale: &Scale) -> Plan {
    let subjects = if scale.quick { SIDE_BY_SIDE } else { EVERYBODY };
    let shape = Shape::closed(CLIENTS, simple(), scale.cell).at_rate(RATE);
    let mut variants = vec![Variant::new("plain", shape.clone(), subjects)];
    if !scale.quick {
        let tls = Variant::new("client tls", shape, subjects);
        variants.push(tls.tls(Some(Resume::No), false));
    }
    Plan {
        name: "added-latency",
        title: TITLE,
        says: format!(
            "`SELECT 1` by schedule, {RATE} a second evenly over {CLIENTS} clients, to the null server; latency counts \
             from the scheduled time. Added: through the proxy less direct, in the same round."
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
    for variant in ["plain", "client tls"] {
        let ratio = added_ratio(cells, variant, p50);
        out.at_most(
            &format!("added p50, {variant}: weir / pgbouncer"),
            ratio,
            0.85,
            "ratio",
        );
        let ratio = cells.ratio(at(variant, WEIR), at(variant, BOUNCER), cpu);
        out.at_most(
            &format!("CPU per query, {variant}: weir / pgbouncer"),
            ratio,
            0.85,
            "ratio",
        );
        let ratio = cells.ratio(at(variant, WEIR), at(variant, BOUNCER), p99);
        out.at_most(
            &format!("p99, {variant}: weir / pgbouncer"),
            ratio,
            1.0,
            "ratio",
        );
    }
    out.0
}

/// What weir adds over what PgBouncer adds, in each round.
fn added_ratio(cells: Cells<'_>, variant: &str, value: Value) -> Option<Figure> {
    cells.over(|round| {
        let of = |subject| cells.in_round(round, at(variant, subject), value);
        let direct = of(DIRECT)?;
        let peer = of(BOUNCER)? - direct;
        (peer > 0.0).then_some((of(WEIR)? - direct) / peer)
    })
}
