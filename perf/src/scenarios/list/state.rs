//! Clients with settings of their own on few connections: what it costs that each finds them again.

use super::super::figures::{Cells, Verdicts, at, cpu};
use super::super::plan::{Behind, Plan, Shape, Variant, simple};
use super::{BOUNCER, Scale, WEIR};
use crate::model::{Cell, Verdict};
use crate::subjects::Kind;

/// Of `state`.
pub const TITLE: &str = "Clients with settings of their own on 8 connections";

const CLIENTS: usize = 32;
const CONNECTIONS: u32 = 8;
const NONE: &str = "no settings";
const ALIKE: &str = "all the same settings";
const FOUR: &str = "4 kinds of clients";
const OWN: &str = "each client its own";
/// How much more a query may cost when its client has settings and a connection that has them is free as a rule.
const MOST: f64 = 1.1;

/// The scenario.
pub fn plan(scale: &Scale) -> Plan {
    let variant = |name: &str, setup: Vec<String>| {
        let shape = Shape {
            setup,
            ..Shape::closed(CLIENTS, simple(), scale.cell)
        };
        Variant {
            behind: Behind::Postgres,
            pool: CONNECTIONS,
            ..Variant::new(name, shape, &[Kind::Weir, Kind::PgBouncer])
        }
    };
    Plan {
        name: "state",
        title: TITLE,
        says: format!(
            "{CLIENTS} clients in a closed loop of `SELECT 1` over {CONNECTIONS} connections to PostgreSQL. Each has set its \
             `application_name` and `TimeZone` at its start: all the same ones, one of 4, or each its own, so that nearly every \
             query finds a connection with the settings of somebody else."
        ),
        variants: vec![
            variant(NONE, Vec::new()),
            variant(ALIKE, settings(1)),
            variant(FOUR, settings(4)),
            variant(OWN, settings(CLIENTS)),
        ],
        rounds: scale.rounds,
        judge,
        prepare: None,
        generic: false,
    }
}

/// What clients of so many kinds set; PgBouncer follows these two, too.
fn settings(kinds: usize) -> Vec<String> {
    vec![
        format!("SET application_name TO 'client {{client%{kinds}}}'"),
        format!("SET TimeZone TO 'Etc/GMT-{{client%{}}}'", kinds.min(12)),
    ]
}

fn judge(cells: &[Cell]) -> Vec<Verdict> {
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    let ratio = cells.ratio(at(ALIKE, WEIR), at(NONE, WEIR), cpu);
    out.at_most(
        "CPU per query: all the same settings / none",
        ratio,
        MOST,
        "ratio",
    );
    for variant in [FOUR, OWN] {
        let ratio = cells.ratio(at(variant, WEIR), at(variant, BOUNCER), cpu);
        let figure = format!("CPU per query, {variant}: weir / pgbouncer");
        out.at_most(&figure, ratio, 1.0, "ratio");
    }
    out.0
}
