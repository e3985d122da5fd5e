//! What got better or worse from one report to another, beyond noise.
//!
//! Noise is what the rounds of one run say it is: two figures differ when the ranges of their rounds do not touch.

use std::fmt::Write;

use super::format::change;
use super::summary::{Figure, Metric, Row, rows};
use crate::model::{Machine, Report, Scenario};

/// With a single round there is no spread to go by; a change below this share is then taken for noise, because single
/// rounds on a machine with neighbours differ by as much.
const SINGLE_ROUND_NOISE: f64 = 0.10;

/// Changes smaller than this share are not worth a line, however quiet the machine.
const SMALLEST: f64 = 0.01;

/// Two reports compared.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// For people.
    pub text: String,
    /// The worst change of weir beyond noise: 0.07 is 7 % worse; 0 if nothing got worse.
    pub worst: f64,
}

#[derive(Clone, Copy, PartialEq, Debug)]
enum Change {
    Noise,
    /// By this share.
    Better(f64),
    /// By this share.
    Worse(f64),
}

/// Compares every figure that both reports have.
#[must_use]
pub fn compare(old: &Report, new: &Report) -> Comparison {
    let mut text = format!(
        "old: {} of {}, new: {} of {}\n",
        old.revision, old.started, new.revision, new.started
    );
    text.push_str(&machines(&old.machine, &new.machine));
    let (mut worst, mut quiet, mut found) = (0.0_f64, 0_usize, 0_usize);
    for scenario in &new.scenarios {
        let Some(before) = old.scenarios.iter().find(|s| s.name == scenario.name) else {
            let _ = writeln!(text, "{}: not in the old report", scenario.name);
            continue;
        };
        let lines = changes(before, scenario);
        found += lines.len();
        for line in &lines {
            match line.change {
                Change::Noise => quiet += 1,
                Change::Worse(by) if line.is_weir() => worst = worst.max(by),
                _ => {}
            }
            if line.change != Change::Noise {
                let _ = writeln!(text, "{}", line.told(&scenario.name));
            }
        }
        text.push_str(&verdicts(before, scenario));
    }
    for gone in old
        .scenarios
        .iter()
        .filter(|s| new.scenarios.iter().all(|n| n.name != s.name))
    {
        let _ = writeln!(text, "{}: not in the new report", gone.name);
    }
    let _ = writeln!(text, "{quiet} of {found} figures within noise");
    Comparison { text, worst }
}

fn machines(old: &Machine, new: &Machine) -> String {
    let name = |m: &Machine| format!("{}, {} CPUs, Linux {}", m.cpu, m.cpus, m.kernel);
    let (old, new) = (name(old), name(new));
    if old == new {
        return String::new();
    }
    format!("note: the machines differ ({old}; then {new}); compare ratios, not times\n")
}

struct Line {
    subject: String,
    variant: String,
    metric: Metric,
    old: Figure,
    new: Figure,
    change: Change,
}

impl Line {
    fn is_weir(&self) -> bool {
        self.subject.starts_with("weir")
    }

    fn told(&self, scenario: &str) -> String {
        let word = match self.change {
            Change::Better(_) => "better",
            Change::Worse(_) => "WORSE",
            Change::Noise => "within noise",
        };
        // A peer that moved tells about the machine, not about weir.
        let whose = if self.is_weir() {
            ""
        } else {
            " (not weir: the machine, or its version)"
        };
        format!(
            "{word:<7} {scenario}, {}, {}: {} {} -> {} ({}){whose}",
            self.variant,
            self.subject,
            self.metric.name(),
            self.metric.show(self.old.median),
            self.metric.show(self.new.median),
            change(self.new.median / self.old.median),
        )
    }
}

fn changes(old: &Scenario, new: &Scenario) -> Vec<Line> {
    let before = rows(old);
    let mut lines = Vec::new();
    for row in rows(new) {
        let twin = before
            .iter()
            .find(|r| r.subject == row.subject && r.variant == row.variant);
        if let Some(twin) = twin {
            lines.extend(Metric::ALL.iter().filter_map(|m| line(twin, &row, *m)));
        }
    }
    lines
}

fn line(old: &Row<'_>, new: &Row<'_>, metric: Metric) -> Option<Line> {
    let (before, after) = (old.figure(metric)?, new.figure(metric)?);
    Some(Line {
        subject: new.subject.to_owned(),
        variant: new.variant.to_owned(),
        metric,
        old: before,
        new: after,
        change: judge(before, after, metric.more_is_better()),
    })
}

fn judge(old: Figure, new: Figure, more_is_better: bool) -> Change {
    let by = new.median / old.median - 1.0;
    let single = old.rounds < 2 || new.rounds < 2;
    let least = if single { SINGLE_ROUND_NOISE } else { SMALLEST };
    let apart = new.low > old.high || new.high < old.low;
    if !by.is_finite() || by.abs() < least || !apart {
        return Change::Noise;
    }
    if (by > 0.0) == more_is_better {
        Change::Better(by.abs())
    } else {
        Change::Worse(by.abs())
    }
}

/// Figures that were reached and are not any more, and the other way round.
fn verdicts(old: &Scenario, new: &Scenario) -> String {
    let mut out = String::new();
    for verdict in &new.verdicts {
        let before = old.verdicts.iter().find(|v| v.figure == verdict.figure);
        match before {
            Some(v) if v.held && !verdict.held => {
                let _ = writeln!(out, "✗ {}: {}: no longer reached", new.name, verdict.figure);
            }
            Some(v) if !v.held && verdict.held => {
                let _ = writeln!(out, "✓ {}: {}: now reached", new.name, verdict.figure);
            }
            _ => {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_report_equals_itself() {
        let report = fixture::report(1.0);
        let same = compare(&report, &report);
        assert_eq!(same.worst, 0.0);
        assert_eq!(same.text.lines().count(), 2, "{}", same.text);
        assert!(same.text.contains("within noise"));
    }

    #[test]
    fn worse_is_said_and_counted_and_peers_are_not_blamed_on_weir() {
        let (old, mut new) = (fixture::report(1.0), fixture::report(1.3));
        for cell in new.scenarios[0]
            .cells
            .iter_mut()
            .filter(|c| c.subject == "haproxy")
        {
            cell.usage.as_mut().unwrap().cpu_us_per_query *= 3.0;
        }
        let worse = compare(&old, &new);
        assert!((worse.worst - 0.3).abs() < 0.02, "{}", worse.worst);
        assert!(
            worse.text.contains(
                "WORSE   throughput, simple, weir: CPU µs/query 11.6 -> 15.1 (+30.0 %)\n"
            )
        );
        assert!(
            worse
                .text
                .contains("haproxy: CPU µs/query 16.2 -> 48.6 (+200 %) (not weir")
        );
        assert!(worse.text.contains(
            "✗ throughput: CPU per simple query: at most 0.9 of PgBouncer's: no longer reached"
        ));
        let better = compare(&new, &old);
        assert!(better.worst == 0.0, "{}", better.text);
        assert!(
            better
                .text
                .contains("better  throughput, simple, weir: CPU")
        );
    }

    #[test]
    fn noise_is_what_the_rounds_say() {
        let figure = |median: f64, spread: f64, rounds| Figure {
            median,
            low: median - spread,
            high: median + spread,
            rounds,
        };
        let judge = |old, new| judge(old, new, false);
        assert_eq!(
            judge(figure(10.0, 0.6, 3), figure(11.0, 0.6, 3)),
            Change::Noise
        );
        assert!(matches!(
            judge(figure(10.0, 0.3, 3), figure(11.0, 0.3, 3)),
            Change::Worse(_)
        ));
        assert!(matches!(
            judge(figure(10.0, 0.3, 3), figure(9.0, 0.3, 3)),
            Change::Better(_)
        ));
        assert_eq!(
            judge(figure(10.0, 0.0, 3), figure(10.05, 0.0, 3)),
            Change::Noise
        );
        assert_eq!(
            judge(figure(10.0, 0.0, 1), figure(10.8, 0.0, 3)),
            Change::Noise
        );
        assert!(matches!(
            judge(figure(10.0, 0.0, 1), figure(11.8, 0.0, 1)),
            Change::Worse(_)
        ));
        assert_eq!(
            judge(figure(0.0, 0.0, 3), figure(1.0, 0.0, 3)),
            Change::Noise
        );
    }

    #[test]
    fn another_machine_and_missing_scenarios_are_named() {
        let (old, mut new) = (fixture::report(1.0), fixture::report(1.0));
        new.machine.cpus = 4;
        new.scenarios.remove(0);
        let text = compare(&old, &new).text;
        assert!(text.contains("the machines differ"), "{text}");
        assert!(text.contains("throughput: not in the new report"), "{text}");
    }
}
