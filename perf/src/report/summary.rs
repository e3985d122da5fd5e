//! Rounds brought together: per scenario, variant and subject the median of each figure and its spread.

use crate::model::{Cell, Scenario};

/// A figure over the rounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figure {
    /// Median.
    pub median: f64,
    /// Smallest.
    pub low: f64,
    /// Largest.
    pub high: f64,
    /// Rounds that have it.
    pub rounds: usize,
}

impl Figure {
    /// Of values, one a round; `None` without any.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Figure> {
        let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            *values.get(middle)?
        } else {
            let below = values.get(middle.checked_sub(1)?)?;
            (below + values.get(middle)?) / 2.0
        };
        Some(Figure {
            median,
            low: *values.first()?,
            high: *values.last()?,
            rounds: values.len(),
        })
    }
}

/// One subject in one variant.
#[derive(Clone, Debug)]
pub struct Row<'a> {
    /// [`Cell::subject`].
    pub subject: &'a str,
    /// [`Cell::variant`].
    pub variant: &'a str,
    /// Its rounds.
    pub cells: Vec<&'a Cell>,
}

/// What is compared and plotted of a cell; `None` where it was not measured or means nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Metric {
    /// Queries a second.
    Rate,
    /// Median latency, µs.
    P50,
    /// 99th percentile of latency, µs.
    P99,
    /// CPU time of the proxy per query, µs.
    Cpu,
    /// System calls of the proxy per query.
    Calls,
    /// Resident memory per client, KiB.
    Memory,
}

impl Metric {
    /// All of them, in the order in which tables show them.
    pub const ALL: [Metric; 6] = [
        Metric::Rate,
        Metric::P50,
        Metric::P99,
        Metric::Cpu,
        Metric::Calls,
        Metric::Memory,
    ];

    /// The figure of a cell.
    pub fn of(self, cell: &Cell) -> Option<f64> {
        let usage = cell.usage.as_ref();
        let load = &cell.load;
        let latency = (load.latency.count > 0).then_some(&load.latency);
        match self {
            Metric::Rate => (load.seconds > 0.0).then(|| load.queries as f64 / load.seconds),
            Metric::P50 => latency.map(|l| l.p50),
            Metric::P99 => latency.map(|l| l.p99),
            Metric::Cpu => usage.map(|u| u.cpu_us_per_query),
            Metric::Calls => usage.and_then(|u| u.system_calls_per_query),
            Metric::Memory => usage.map(|u| u.kib_per_client),
        }
    }

    /// Its name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Metric::Rate => "queries/s",
            Metric::P50 => "p50",
            Metric::P99 => "p99",
            Metric::Cpu => "CPU µs/query",
            Metric::Calls => "syscalls/query",
            Metric::Memory => "KiB/client",
        }
    }

    /// Its value for people.
    pub fn show(self, value: f64) -> String {
        match self {
            Metric::P50 | Metric::P99 => super::format::time(value),
            _ => super::format::number(value),
        }
    }

    /// Whether more is better.
    pub fn more_is_better(self) -> bool {
        self == Metric::Rate
    }
}

impl Row<'_> {
    /// A metric over the rounds.
    pub fn figure(&self, metric: Metric) -> Option<Figure> {
        Figure::of(self.cells.iter().filter_map(|c| metric.of(c)))
    }

    /// This row's metric divided by another's, paired within each round.
    pub fn ratio_to(&self, other: &Row<'_>, metric: Metric) -> Option<Figure> {
        Figure::of(self.cells.iter().filter_map(|cell| {
            let twin = other.cells.iter().find(|c| c.round == cell.round)?;
            let below = metric.of(twin)?;
            (below > 0.0).then_some(metric.of(cell)? / below)
        }))
    }

    /// Errors of all rounds.
    pub fn errors(&self) -> u64 {
        self.cells.iter().flat_map(|c| c.load.errors.values()).sum()
    }

    /// Why the generator, not the subject, was measured.
    pub fn bottleneck(&self) -> Option<&str> {
        self.cells.iter().find_map(|c| c.load.bottleneck.as_deref())
    }
}

/// The rows of a scenario: variants in the order of their first cell, subjects likewise within each.
pub fn rows(scenario: &Scenario) -> Vec<Row<'_>> {
    let mut rows: Vec<Row<'_>> = Vec::new();
    for variant in variants(scenario) {
        let first = rows.len();
        for cell in scenario.cells.iter().filter(|c| c.variant == variant) {
            let known = rows[first..].iter_mut().find(|r| r.subject == cell.subject);
            match known {
                Some(row) => row.cells.push(cell),
                None => rows.push(Row {
                    subject: &cell.subject,
                    variant,
                    cells: vec![cell],
                }),
            }
        }
    }
    rows
}

/// The variants of a scenario in the order of their first cell.
pub fn variants(scenario: &Scenario) -> Vec<&str> {
    let mut variants: Vec<&str> = Vec::new();
    for cell in &scenario.cells {
        if !variants.contains(&cell.variant.as_str()) {
            variants.push(&cell.variant);
        }
    }
    variants
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn medians_and_spreads() {
        let figure = Figure::of([3.0, 1.0, 2.0, f64::NAN]).unwrap();
        assert_eq!((figure.median, figure.low, figure.high), (2.0, 1.0, 3.0));
        assert_eq!(figure.rounds, 3);
        assert_eq!(Figure::of([1.0, 2.0]).unwrap().median, 1.5);
        assert_eq!(Figure::of([]), None);
    }

    #[test]
    fn rows_are_grouped_by_variant_and_ratios_paired_by_round() {
        let report = fixture::report(1.0);
        let scenario = &report.scenarios[0];
        let rows = rows(scenario);
        let variants: Vec<_> = rows.iter().map(|r| r.variant).collect();
        assert!(
            variants.is_sorted_by_key(|v| super::variants(scenario).iter().position(|w| w == v))
        );
        let of = |name| rows.iter().find(|r| r.subject == name).unwrap();
        let ratio = of("weir").ratio_to(of("pgbouncer"), Metric::Cpu).unwrap();
        assert_eq!(ratio.rounds, 3);
        assert!(ratio.median > 0.7 && ratio.median < 0.9, "{ratio:?}");
        assert!(of("weir").ratio_to(of("direct"), Metric::Cpu).is_none());
    }
}
