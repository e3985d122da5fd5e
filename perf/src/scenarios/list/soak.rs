//! Memory and descriptors over a long time.

use std::time::Duration;

use super::super::figures::{Cells, Figure, Verdicts, at};
use super::super::plan::{Behind, Plan, Resume, Shape, Variant};
use super::{EPOLL, Scale, WEIR};
use crate::load::{Statement, Weighted, Work};
use crate::model::{Cell, Load, Verdict};
use crate::subjects::Kind;

/// Of `soak`.
pub const TITLE: &str = "Memory and descriptors over a long time of connects, errors and pins";

const NAME: &str = "soak";
/// Clients that come and go, at a time.
const STORM: usize = 50;
/// Connects a second.
const CONNECTS: f64 = 100.0;
/// Clients that stay.
const FLEET: usize = 100;
/// From a statement that would take ten seconds to the request to cancel it.
const CANCEL_AFTER: Duration = Duration::from_millis(20);
/// Descriptors beyond those of clients and server connections: listeners, rings, logs.
const SPARE: usize = 64;

/// The scenario.
pub fn plan(scale: &Scale) -> Plan {
    let weighted = |weight, work| Weighted { weight, work };
    let texts = |list: &[&str]| Work::Simple(list.iter().map(|t| (*t).to_owned()).collect());
    let by_key = Work::Prepared(Statement {
        sql: "SELECT abalance FROM accounts WHERE aid = $1".to_owned(),
        parameters: vec!["{random:100000}".to_owned()],
    });
    let pins = texts(&[
        "BEGIN",
        "CREATE TEMP TABLE t (a int) ON COMMIT DROP",
        "COMMIT",
    ]);
    let cancelled = Work::Cancelled {
        sql: "SELECT pg_sleep(10)".to_owned(),
        after: CANCEL_AFTER,
    };
    let settings = texts(&["SET work_mem = '8MB'", "SHOW work_mem"]);
    let work = vec![
        weighted(6, texts(&["SELECT 1"])),
        weighted(2, texts(&["BEGIN", "SELECT 1", "COMMIT"])),
        weighted(1, texts(&["SELECT 1/0"])),
        weighted(1, settings),
        weighted(1, pins),
        weighted(1, cancelled),
    ];
    let storm = Shape {
        work,
        ..Shape::storm(STORM, CONNECTS, by_key.clone(), scale.soak)
    };
    let fleet = Shape::closed(FLEET, by_key, storm.warmup + storm.duration).at_rate(500.0);
    let variant = Variant {
        behind: Behind::Postgres,
        side: Some(("the fleet beside it".to_owned(), fleet)),
        ..Variant::new(NAME, storm, &[Kind::Weir, Kind::WeirEpoll]).tls(Some(Resume::Yes), true)
    };
    Plan {
        name: "soak",
        title: TITLE,
        says: format!(
            "TLS on both sides, PostgreSQL. {CONNECTS} clients a second connect, run one transaction and leave: small \
             queries, transactions, errors (22012), settings, temporary tables, statements that are cancelled (57014). \
             Beside them {FLEET} clients stay and ask 500 prepared queries a second."
        ),
        variants: vec![variant],
        rounds: 1,
        judge,
        prepare: None,
        generic: false,
    }
}

fn judge(cells: &[Cell]) -> Vec<Verdict> {
    let cells = Cells(cells);
    let mut out = Verdicts::default();
    for subject in [WEIR, EPOLL] {
        flat(cells, subject, &mut out);
    }
    out.0
}

fn flat(cells: Cells<'_>, subject: &str, out: &mut Verdicts) {
    let place = at(NAME, subject);
    let growth = cells.value(place, |cell| growth(&cell.usage.as_ref()?.rss_over_time));
    out.at_most(
        &format!("resident memory, {subject}: last quarter / second quarter"),
        growth,
        1.05,
        "ratio",
    );
    let cancelled = cells.value(place, |cell| cancelled(&cell.load));
    out.at_least(
        &format!("statements that were cancelled of those that were to be, {subject}"),
        cancelled,
        0.95,
        "ratio",
    );
    let open = cells.value(place, |cell| {
        cell.usage.as_ref().map(|u| u.descriptors as f64)
    });
    let most = STORM + FLEET + super::super::plan::POOL as usize + SPARE;
    out.at_most(
        &format!("open descriptors at the end, {subject}"),
        open,
        most as f64,
        "descriptors",
    );
}

/// A request that reaches the server before its statement does nothing.
fn cancelled(load: &Load) -> Option<f64> {
    let hit = load.errors.get("57014").copied().unwrap_or(0);
    (load.cancels > 0).then(|| hit as f64 / load.cancels as f64)
}

/// Median of the last quarter over that of the second: the first one fills pools and caches.
fn growth(points: &[(f64, u64)]) -> Option<f64> {
    let quarter = points.len() / 4;
    let median =
        |part: &[(f64, u64)]| Figure::of(part.iter().map(|p| p.1 as f64)).map(|f| f.median);
    let second = median(points.get(quarter..2 * quarter)?)?;
    let last = median(points.get(points.len() - quarter..)?)?;
    (second > 0.0).then_some(last / second)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_leaves_the_start_out() {
        let flat: Vec<(f64, u64)> = (0..40)
            .map(|n| (f64::from(n), if n < 5 { 10 } else { 100 }))
            .collect();
        assert_eq!(growth(&flat), Some(1.0));
        let leak: Vec<(f64, u64)> = (0..40)
            .map(|n| (f64::from(n), 100 + 10 * n as u64))
            .collect();
        assert!(growth(&leak).unwrap() > 1.5);
        assert_eq!(growth(&[]), None);
    }
}
