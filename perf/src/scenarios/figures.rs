//! From cells to figures: medians over rounds, ratios paired within a round, verdicts.

use crate::model::{Cell, Verdict};

/// A figure over the rounds.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Figure {
    /// Median.
    pub median: f64,
    /// Smallest.
    pub low: f64,
    /// Largest.
    pub high: f64,
}

impl Figure {
    /// Of one value for each round; `None` without any.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Figure> {
        let mut values: Vec<f64> = values.into_iter().filter(|v| v.is_finite()).collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = (*values.first()?, *values.last()?);
        let upper = values[values.len() / 2];
        let lower = values[(values.len() - 1) / 2];
        Some(Figure {
            median: f64::midpoint(lower, upper),
            low,
            high,
        })
    }
}

/// A cell's value, where it has one.
pub type Value = fn(&Cell) -> Option<f64>;

/// CPU time of the proxy per query (per client in a storm), µs.
pub fn cpu(cell: &Cell) -> Option<f64> {
    cell.usage.as_ref().map(|u| u.cpu_us_per_query)
}

/// System calls of the proxy per query.
pub fn calls(cell: &Cell) -> Option<f64> {
    cell.usage.as_ref()?.system_calls_per_query
}

/// Memory of the proxy for each connected client, KiB.
pub fn memory(cell: &Cell) -> Option<f64> {
    cell.usage.as_ref().map(|u| u.kib_per_client)
}

/// Median latency, µs.
pub fn p50(cell: &Cell) -> Option<f64> {
    (cell.load.latency.count > 0).then_some(cell.load.latency.p50)
}

/// 99th percentile of latency, µs.
pub fn p99(cell: &Cell) -> Option<f64> {
    (cell.load.latency.count > 0).then_some(cell.load.latency.p99)
}

/// The longest latency, µs.
pub fn longest(cell: &Cell) -> Option<f64> {
    (cell.load.latency.count > 0).then_some(cell.load.latency.max)
}

/// Transactions a second.
pub fn rate(cell: &Cell) -> Option<f64> {
    (cell.load.seconds > 0.0).then(|| cell.load.done as f64 / cell.load.seconds)
}

/// Payload both ways, MiB a second.
pub fn throughput(cell: &Cell) -> Option<f64> {
    let bytes = (cell.load.bytes_in + cell.load.bytes_out) as f64;
    (cell.load.seconds > 0.0).then(|| bytes / 1_048_576.0 / cell.load.seconds)
}

/// Errors that clients saw.
pub fn errors(cell: &Cell) -> Option<f64> {
    Some(cell.load.errors.values().sum::<u64>() as f64)
}

/// The cells of a scenario, asked by variant and subject.
#[derive(Clone, Copy, Debug)]
pub struct Cells<'a>(pub &'a [Cell]);

/// One subject in one variant.
#[derive(Clone, Copy, Debug)]
pub struct At<'a> {
    /// [`Cell::variant`].
    pub variant: &'a str,
    /// [`Cell::subject`].
    pub subject: &'a str,
}

/// Names a subject in a variant.
pub fn at<'a>(variant: &'a str, subject: &'a str) -> At<'a> {
    At { variant, subject }
}

impl Cells<'_> {
    fn rounds(&self) -> u32 {
        self.0.iter().map(|cell| cell.round + 1).max().unwrap_or(0)
    }

    /// The value in one round.
    pub fn in_round(&self, round: u32, place: At<'_>, value: Value) -> Option<f64> {
        let here = |cell: &&Cell| {
            cell.round == round && cell.variant == place.variant && cell.subject == place.subject
        };
        self.0.iter().find(here).and_then(value)
    }

    /// Over rounds, what `of` makes of each.
    pub fn over(&self, of: impl Fn(u32) -> Option<f64>) -> Option<Figure> {
        Figure::of((0..self.rounds()).filter_map(of))
    }

    /// The value over rounds.
    pub fn value(&self, place: At<'_>, value: Value) -> Option<Figure> {
        self.over(|round| self.in_round(round, place, value))
    }

    /// One place's value divided by another's, paired within each round.
    pub fn ratio(&self, upper: At<'_>, lower: At<'_>, value: Value) -> Option<Figure> {
        self.over(|round| {
            let below = self.in_round(round, lower, value)?;
            (below > 0.0).then_some(self.in_round(round, upper, value)? / below)
        })
    }

    /// One place's value less another's, paired within each round.
    pub fn difference(&self, more: At<'_>, less: At<'_>, value: Value) -> Option<Figure> {
        self.over(|round| {
            Some(self.in_round(round, more, value)? - self.in_round(round, less, value)?)
        })
    }
}

/// Collects verdicts; a figure that was not measured gives none.
#[derive(Default, Debug)]
pub struct Verdicts(pub Vec<Verdict>);

impl Verdicts {
    /// The value must be at most this.
    pub fn at_most(&mut self, figure: &str, value: Option<Figure>, bound: f64, unit: &str) {
        self.push(figure, value, bound, unit, false);
    }

    /// The value must be at least this.
    pub fn at_least(&mut self, figure: &str, value: Option<Figure>, bound: f64, unit: &str) {
        self.push(figure, value, bound, unit, true);
    }

    fn push(&mut self, figure: &str, value: Option<Figure>, bound: f64, unit: &str, least: bool) {
        let Some(value) = value else { return };
        self.0.push(Verdict {
            figure: figure.to_owned(),
            value: value.median,
            spread: (value.low, value.high),
            bound,
            unit: unit.to_owned(),
            at_least: least,
            held: if least {
                value.median >= bound
            } else {
                value.median <= bound
            },
        });
    }
}

/// The latency of each client in an ideal queue: `clients` that never think, `connections` that are never idle while
/// anybody waits, served in order. By Little's law it is exact, whatever the service times are.
pub fn ideal_queue(clients: u32, connections: u32, service_us: f64) -> f64 {
    service_us * f64::from(clients.max(connections)) / f64::from(connections.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Curve, Load, Usage};

    fn cell(subject: &str, round: u32, cpu: f64) -> Cell {
        Cell {
            subject: subject.to_owned(),
            variant: "simple".to_owned(),
            round,
            load: Load {
                latency: Curve {
                    count: 1,
                    p50: cpu * 10.0,
                    ..Curve::default()
                },
                ..Load::default()
            },
            usage: Some(Usage {
                cpu_us_per_query: cpu,
                ..Usage::default()
            }),
        }
    }

    #[test]
    fn medians_are_of_the_middle() {
        let of = |values: &[f64]| Figure::of(values.iter().copied()).unwrap();
        assert_eq!(of(&[3.0, 1.0, 2.0]).median, 2.0);
        assert_eq!(of(&[4.0, 1.0, 2.0, 3.0]).median, 2.5);
        assert_eq!((of(&[5.0, 1.0]).low, of(&[5.0, 1.0]).high), (1.0, 5.0));
        assert_eq!(Figure::of([]), None);
        assert_eq!(Figure::of([f64::NAN]), None);
    }

    #[test]
    fn ratios_are_paired_within_a_round() {
        // The machine is twice as slow in round 1: ratios of medians would show it, paired ones don't.
        let cells = [
            cell("weir", 0, 8.0),
            cell("pgbouncer", 0, 10.0),
            cell("weir", 1, 16.0),
            cell("pgbouncer", 1, 20.0),
            cell("weir", 2, 5.0),
        ];
        let cells = Cells(&cells);
        let ratio = cells
            .ratio(at("simple", "weir"), at("simple", "pgbouncer"), cpu)
            .unwrap();
        assert_eq!((ratio.median, ratio.low, ratio.high), (0.8, 0.8, 0.8));
        let added = cells
            .difference(at("simple", "pgbouncer"), at("simple", "weir"), p50)
            .unwrap();
        assert_eq!((added.low, added.high), (20.0, 40.0));
        assert_eq!(
            cells.ratio(at("simple", "weir"), at("other", "weir"), cpu),
            None
        );
    }

    #[test]
    fn verdicts_go_by_the_median() {
        let figure = Figure::of([0.8, 0.9, 1.2]);
        let mut verdicts = Verdicts::default();
        verdicts.at_most("most", figure, 0.9, "ratio");
        verdicts.at_least("least", figure, 1.0, "ratio");
        verdicts.at_most("unknown", None, 1.0, "ratio");
        let held: Vec<bool> = verdicts.0.iter().map(|v| v.held).collect();
        assert_eq!(held, [true, false]);
        assert_eq!(verdicts.0[0].spread, (0.8, 1.2));
    }

    #[test]
    fn an_ideal_queue_shares_its_connections() {
        assert_eq!(ideal_queue(64, 8, 1000.0), 8000.0);
        assert_eq!(ideal_queue(4, 8, 1000.0), 1000.0);
    }
}
