//! The short table on the terminal: one aligned table per scenario, then its verdicts.

use std::fmt::Write;

use super::format::{change, number};
use super::summary::{Metric, Row, rows};
use crate::model::{Report, Scenario, Verdict};

/// The report as text for a terminal of some 120 columns.
#[must_use]
pub fn terminal(report: &Report) -> String {
    let mut out = String::new();
    for scenario in &report.scenarios {
        let _ = writeln!(out, "{}: {}", scenario.name, scenario.title);
        out.push_str(&indented(&table(scenario)));
        for verdict in &scenario.verdicts {
            let _ = writeln!(out, "  {}", told(verdict));
        }
        for note in bottlenecks(scenario).chain(scenario.notes.iter().cloned()) {
            let _ = writeln!(out, "  note: {note}");
        }
        out.push('\n');
    }
    out.push_str(&closing(report));
    out
}

/// The last line: how many figures were reached.
fn closing(report: &Report) -> String {
    let verdicts: Vec<&Verdict> = report.scenarios.iter().flat_map(|s| &s.verdicts).collect();
    let held = verdicts.iter().filter(|v| v.held).count();
    format!(
        "{held} of {} figures reached, in {} s, revision {}\n",
        verdicts.len(),
        number(report.seconds),
        report.revision
    )
}

/// What the table's `weir ÷ it` columns compare; the first subject called weir stands for weir.
const RATIOS: [(Metric, &str); 2] = [(Metric::Cpu, "weir÷it CPU"), (Metric::P99, "weir÷it p99")];

fn table(scenario: &Scenario) -> Vec<Vec<String>> {
    let rows = rows(scenario);
    let mut head = vec!["variant".to_owned(), "subject".to_owned()];
    head.extend(Metric::ALL.map(|m| m.name().to_owned()));
    head.extend(RATIOS.map(|(_, name)| name.to_owned()));
    head.push("errors".to_owned());
    let mut lines = vec![head];
    let mut variant = "";
    for row in &rows {
        let weir = rows
            .iter()
            .find(|r| r.subject == "weir" && r.variant == row.variant);
        let mut line = line(row, weir);
        if row.variant == variant {
            line[0].clear();
        }
        variant = row.variant;
        lines.push(line);
    }
    lines
}

fn line(row: &Row<'_>, weir: Option<&Row<'_>>) -> Vec<String> {
    let mut line = vec![row.variant.to_owned(), row.subject.to_owned()];
    line.extend(Metric::ALL.map(|metric| {
        row.figure(metric)
            .map_or_else(|| "–".to_owned(), |f| metric.show(f.median))
    }));
    line.extend(RATIOS.map(|(metric, _)| {
        let ratio = weir
            .filter(|w| w.subject != row.subject)
            .and_then(|w| w.ratio_to(row, metric));
        ratio.map_or_else(|| "–".to_owned(), |r| number(r.median))
    }));
    line.push(match row.errors() {
        0 => "0".to_owned(),
        n => format!("{n} !"),
    });
    line
}

/// Columns as wide as their widest cell; the first two to the left, numbers to the right.
fn indented(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|l| l.get(column));
        cells.map(|c| c.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut out = String::new();
    for line in lines {
        let cells = line.iter().zip(&widths).enumerate();
        let text: Vec<String> = cells
            .map(|(column, (cell, width))| {
                if column < 2 {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        let _ = writeln!(out, "  {}", text.join("  ").trim_end());
    }
    out
}

/// A verdict in one line.
fn told(verdict: &Verdict) -> String {
    let mark = if verdict.held { '✓' } else { '✗' };
    let limit = if verdict.at_least {
        "at least"
    } else {
        "at most"
    };
    let distance = if verdict.held {
        String::new()
    } else {
        format!(", off by {}", change(verdict.value / verdict.bound))
    };
    format!(
        "{mark} {}: {} {} ({} to {}), {limit} {}{distance}",
        verdict.figure,
        number(verdict.value),
        verdict.unit,
        number(verdict.spread.0),
        number(verdict.spread.1),
        number(verdict.bound),
    )
}

/// Where the generator was measured instead of the subject, named.
fn bottlenecks(scenario: &Scenario) -> impl Iterator<Item = String> {
    rows(scenario).into_iter().filter_map(|row| {
        let why = row.bottleneck()?;
        Some(format!("{} {}: {why}", row.subject, row.variant))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn the_table_is_aligned_and_says_who_won() {
        let mut report = fixture::report(1.0);
        report.scenarios[0].cells[0].load.bottleneck = Some("its thread was busy".into());
        let text = terminal(&report);
        let lines: Vec<&str> = text
            .lines()
            .take_while(|l| !l.contains('✓'))
            .skip(1)
            .collect();
        assert_eq!(lines.len(), 1 + 3 * 5);
        let ends: Vec<usize> = lines.iter().map(|l| l.chars().count()).collect();
        assert!(ends.iter().all(|e| *e == ends[0]), "{ends:?}\n{text}");
        assert!(text.contains("✓ CPU per simple query: at most 0.9 of PgBouncer's: 0.79 ratio"));
        assert!(text.contains("✗ CPU per prepared query"));
        assert!(text.contains("off by +5.0 %"), "{text}");
        assert!(text.contains("note: direct simple: its thread was busy"));
        assert!(text.contains("123 !"), "{text}");
        assert!(
            text.ends_with("5 of 6 figures reached, in 118 s, revision deb0484c1d2e\n"),
            "{text}"
        );
    }
}
