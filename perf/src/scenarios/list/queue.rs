//! Many clients on few connections, and more than one shard.

use std::time::Duration;

use super::super::figures::{
    Cells, Figure, Value, Verdicts, at, cpu, ideal_queue, longest, p50, p99,
};
use super::super::plan::{Behind, Plan, Shape, Variant, simple};
use super::{DIRECT, Scale, WEIR};
use crate::model::{Cell, Verdict};
use crate::subjects::Kind;

/// Of `fairness`.
pub const TITLE: &str = "64 clients on 8 connections, queries of 1 ms";
/// Of `scaling`.
pub const SCALING_TITLE: &str = "CPU time per query and throughput with more shards";

const CLIENTS: u32 = 64;
const CONNECTIONS: u32 = 8;
const SERVICE: Duration = Duration::from_millis(1);
/// How far from the ideal queue the median may be: scheduling on both sides of the proxy is in it.
const MEDIAN: f64 = 1.05;

/// `fairness`.
pub fn plan(scale: &Scale) -> Plan {
    let behind = Behind::Null(SERVICE);
    let shape = |clients: u32| Shape::closed(clients as usize, simple(), scale.cell);
    let service = Variant {
        behind,
        pool: CONNECTIONS,
        ..Variant::new("8 clients, no queue", shape(CONNECTIONS), &[Kind::Direct])
    };
    let queue = |shards: usize, subjects: &[Kind]| Variant {
        behind,
        pool: CONNECTIONS,
        shards,
        ..Variant::new(&shards_name(shards), shape(CLIENTS), subjects)
    };
    Plan {
        name: "fairness",
        title: TITLE,
        says: format!(
            "{CLIENTS} clients in a closed loop over {CONNECTIONS} server connections; the null server takes 1 ms for a \
             query. The ideal queue keeps every connection busy and serves in order: each query takes {CLIENTS} / \
             {CONNECTIONS} times what a query takes without a queue, which is measured in the same round."
        ),
        variants: vec![
            service,
            queue(1, &[Kind::Weir, Kind::WeirEpoll, Kind::PgBouncer]),
            queue(2, &[Kind::Weir, Kind::WeirEpoll]),
        ],
        rounds: scale.rounds,
        judge,
        prepare: None,
        generic: false,
    }
}

fn shards_name(shards: usize) -> String {
    format!("{shards} shard{}", if shards == 1 { "" } else { "s" })
}

fn mean(cell: &Cell) -> Option<f64> {
    (cell.load.latency.count > 0).then_some(cell.load.latency.mean)
}

fn judge(cells: &[Cell]) -> Vec<Verdict> {
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    let values: [(&str, Value, f64); 3] = [
        ("p50", p50, MEDIAN),
        ("p99", p99, 1.3),
        ("longest", longest, 1.5),
    ];
    for variant in [shards_name(1), shards_name(2)] {
        for (name, value, bound) in values {
            let ratio = to_ideal(cells, &variant, value);
            let figure = format!("{name}, {variant}: weir / ideal queue");
            out.at_most(&figure, ratio, bound, "ratio");
        }
    }
    out.0
}

fn to_ideal(cells: Cells<'_>, variant: &str, value: Value) -> Option<Figure> {
    cells.over(|round| {
        let service = cells.in_round(round, at("8 clients, no queue", DIRECT), mean)?;
        let ideal = ideal_queue(CLIENTS, CONNECTIONS, service);
        Some(cells.in_round(round, at(variant, WEIR), value)? / ideal)
    })
}

/// `scaling`.
pub fn scaling(scale: &Scale) -> Plan {
    let steps = [1, 2, 4, 8, 16, 32];
    let most = scale.cpus.saturating_sub(2).max(2);
    let variants = steps
        .into_iter()
        .filter(|n| *n <= most)
        .map(|shards| Variant {
            shards,
            ..Variant::new(
                &shards_name(shards),
                Shape::closed(64, simple(), scale.cell),
                &[Kind::Weir, Kind::WeirEpoll],
            )
        });
    Plan {
        name: "scaling",
        title: SCALING_TITLE,
        says: "64 clients in a closed loop of `SELECT 1` over 32 server connections to the null server; each shard has a \
               CPU while there are enough (on two CPUs the second shard shares one with load generator and server)."
            .to_owned(),
        variants: variants.collect(),
        rounds: scale.rounds,
        judge: judge_scaling,
        prepare: None,
        generic: false,
    }
}

fn judge_scaling(cells: &[Cell]) -> Vec<Verdict> {
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    let ratio = cells.ratio(at(&shards_name(2), WEIR), at(&shards_name(1), WEIR), cpu);
    out.at_most("CPU per query: two shards / one", ratio, 1.05, "ratio");
    out.0
}
