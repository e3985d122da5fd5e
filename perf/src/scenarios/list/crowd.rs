//! Ten thousand clients that are connected, of which few ask at a time.

use std::time::Duration;

use anyhow::Result;

use super::super::figures::{Cells, Verdicts, at, memory, p50, p99};
use super::super::plan::{Plan, Probe, Resume, Shape, Variant, simple};
use super::{DIRECT, SIDE_BY_SIDE, Scale, WEIR};
use crate::model::{Cell, Verdict};
use crate::subjects::Kind;

/// Of `ten-thousand`.
pub const TITLE: &str = "10,000 connected clients, 5,000 queries a second over 500 of them";

/// How many of the fleet ask.
const ACTIVE: usize = 500;
/// Queries a second.
const RATE: f64 = 5000.0;
/// Rates at which a machine is asked whether its own direct p99 is clean.
const STEPS: [f64; 5] = [5000.0, 2500.0, 1000.0, 500.0, 250.0];
/// Clean is a direct p99 of at most this, µs.
const CLEAN: f64 = 1000.0;

/// The scenario.
pub fn plan(scale: &Scale) -> Plan {
    let (rounds, variants) = if scale.quick {
        (1, quick(scale))
    } else {
        (scale.rounds, long(scale))
    };
    Plan {
        name: "ten-thousand",
        title: TITLE,
        says: format!(
            "A fleet of clients logs in and stays; {ACTIVE} of them (fewer in the quick run) ask `SELECT 1` by schedule, {RATE} a second in \
             all, over 32 server connections to the null server. Memory per client is resident memory with all of \
             them connected less that before the first, divided by their number. Where the machine's own direct p99 is \
             above 1 ms at this rate, the same fleet is also asked at the highest rate at which it is not. The largest \
             fleet is 20,000, or what the limit of descriptors allows."
        ),
        variants,
        rounds,
        judge,
        prepare: (!scale.quick).then_some(add_clean_rate),
        generic: true,
    }
}

fn fleet(clients: usize, active: usize, rate: f64, duration: Duration) -> Shape {
    let shape = Shape {
        active,
        ..Shape::closed(clients, simple(), duration)
    };
    shape.at_rate(rate)
}

fn quick(scale: &Scale) -> Vec<Variant> {
    let subjects = &[Kind::Weir, Kind::PgBouncer];
    let shape = fleet(2000, 100, 1000.0, scale.cell);
    let plain = Variant::new("2,000 plain", shape.clone(), subjects);
    let tls = Variant::new("2,000 tls", shape, subjects).tls(Some(Resume::No), false);
    vec![plain, tls]
}

fn long(scale: &Scale) -> Vec<Variant> {
    let tls = |v: Variant| v.tls(Some(Resume::No), false);
    let shape = fleet(10_000, ACTIVE, RATE, scale.cell);
    let most = most(scale.descriptors);
    let most_shape = fleet(most * 1000, ACTIVE, RATE, scale.cell);
    let small = fleet(1000, ACTIVE, RATE, scale.cell);
    vec![
        tls(Variant::new("1,000 tls", small, SIDE_BY_SIDE)),
        Variant::new("10,000 plain", shape.clone(), SIDE_BY_SIDE),
        tls(Variant::new("10,000 tls", shape, SIDE_BY_SIDE)),
        tls(Variant::new(
            &format!("{most},000 tls"),
            most_shape,
            &[Kind::Weir],
        )),
    ]
}

/// Thousands of clients that this machine's limit of descriptors lets connect: 20 if it can be had, and more than the
/// usual fleet in any case, so that a limit that is too low is told as such.
fn most(descriptors: usize) -> usize {
    (descriptors.saturating_sub(500) / 1000).clamp(11, 20)
}

/// Finds the rate at which load and server alone keep a p99 of 1 ms, and adds the fleet at that rate.
fn add_clean_rate(plan: &mut Plan, probe: Probe<'_>) -> Result<Option<String>> {
    let Some(tls) = plan.variants.iter().find(|v| v.name == "10,000 tls") else {
        return Ok(None);
    };
    let mut at_clean = tls.clone();
    let mut seen = 0.0;
    for rate in STEPS {
        seen = probe(&Variant {
            shape: fleet(ACTIVE, ACTIVE, rate, Duration::from_secs(2)),
            ..tls.clone()
        })?
        .latency
        .p99;
        if seen > CLEAN {
            continue;
        }
        if (rate - RATE).abs() < 1.0 {
            return Ok(None);
        }
        at_clean.name = format!("10,000 tls at {rate}/s");
        at_clean.shape = at_clean.shape.at_rate(rate);
        plan.variants.push(at_clean);
        return Ok(Some(format!(
            "direct p99 is above 1 ms at {RATE}/s here; it is clean from {rate}/s down"
        )));
    }
    Ok(Some(format!(
        "direct p99 is above 1 ms at every rate that was tried ({seen:.0} µs at {}/s): added p99 shows the machine",
        STEPS[STEPS.len() - 1]
    )))
}

fn judge(cells: &[Cell]) -> Vec<Verdict> {
    let mut out = Verdicts::default();
    let mut variants: Vec<&str> = cells.iter().map(|c| c.variant.as_str()).collect();
    variants.dedup();
    variants.sort_unstable();
    variants.dedup();
    let cells = Cells(cells);
    // In a small fleet what a proxy holds in any case would be counted as its clients'.
    let large = |v: &&&str| !v.starts_with("1,000") && !v.starts_with("2,000");
    for variant in variants.iter().filter(large) {
        let place = at(variant, WEIR);
        let direct = at(variant, DIRECT);
        if variant.starts_with("10,000 tls") {
            let added = cells.difference(place, direct, p50);
            out.at_most(&format!("added p50, {variant}"), added, 200.0, "µs");
            let added = cells.difference(place, direct, p99);
            out.at_most(&format!("added p99, {variant}"), added, 1000.0, "µs");
        }
        let bound = if variant.contains("tls") { 5.0 } else { 1.0 };
        let each = cells.value(place, memory);
        out.at_most(&format!("memory per client, {variant}"), each, bound, "KiB");
    }
    out.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_fleet_fits_the_descriptors() {
        assert_eq!(most(65_536), 20);
        assert_eq!(most(20_000), 19);
        assert_eq!(most(1024), 11);
    }
}
