//! Carries plans out: every round runs every variant with every subject, the order of the subjects turned from round to
//! round, so that a machine that gets slower hits all alike.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::cell;
use super::list::{ALL, Entry, Scale, When};
use super::machine;
use super::plan::{self, Plan, Variant};
use super::progress::{Progress, about};
use super::stage::{Own, Stage};
use crate::model::{Cell, FORMAT, Report, Scenario};
use crate::net::raise_descriptors;
use crate::sample;
use crate::subjects::{Cpus, Kind, Wanted};

/// How the note of a cell begins that could not be measured.
const FAILED: &str = "FAILED:";

/// What to run.
#[derive(Clone, Default, Debug)]
pub struct Options {
    /// Scenarios by name; none: those of the quick or the long run.
    pub names: Vec<String>,
    /// About two minutes.
    pub quick: bool,
    /// Rounds instead of the usual.
    pub rounds: Option<u32>,
    /// Measured part of a cell instead of the usual.
    pub seconds: Option<f64>,
    /// Length of the soak.
    pub soak: Duration,
    /// Subjects; none: all.
    pub only: Vec<Kind>,
    /// Another PgBouncer than the one in PATH.
    pub pgbouncer: Option<std::path::PathBuf>,
    /// Whether missing peers may be installed.
    pub install: bool,
    /// The user's own proxy and database.
    pub own: Option<Own>,
    /// For the report.
    pub command: String,
}

/// Runs and gives the report.
///
/// # Errors
/// When a name is unknown, weir is missing, or nothing could be measured. A cell that fails is a note of its scenario.
pub fn run(options: &Options) -> Result<Report> {
    let entries = chosen(options)?;
    let mut stage = stage(options, &entries)?;
    if stage.lacks_weir() {
        bail!("{}", stage.notes().join("; "));
    }
    let scale = scale(options, stage.cpus());
    let mut plans: Vec<Plan> = entries.iter().map(|entry| (entry.plan)(&scale)).collect();
    plans.iter_mut().for_each(|plan| fit(plan, options, &stage));
    let started = machine::now();
    let begin = Instant::now();
    let count = |v: &Variant| stage.cast(v).0.len();
    let cells: usize = plans
        .iter()
        .map(|p| p.variants.iter().map(count).sum::<usize>() * p.rounds as usize)
        .sum();
    let length: Duration = plans.iter().map(|p| plan::length(p, count)).sum();
    let mut progress = Progress::new(cells);
    progress.say(&format!("{cells} cells, about {}", about(length)));
    stage
        .notes()
        .iter()
        .for_each(|note| progress.say(&format!("note: {note}")));
    let calls = sample::calls_unavailable();
    let mut scenarios = Vec::new();
    for plan in plans {
        scenarios.push(scenario(&mut stage, plan, calls.as_deref(), &mut progress)?);
    }
    Ok(Report {
        format: FORMAT,
        started,
        seconds: begin.elapsed().as_secs_f64(),
        machine: machine::machine(stage.cpus().all.len()),
        command: options.command.clone(),
        revision: machine::revision(),
        subjects: stage.subjects(),
        scenarios,
    })
}

/// Whether a cell of weir could not be measured.
#[must_use]
pub fn weir_failed(report: &Report) -> bool {
    let notes = report.scenarios.iter().flat_map(|s| &s.notes);
    notes
        .filter_map(|note| note.strip_prefix(FAILED))
        .any(|rest| rest.starts_with(" weir"))
}

fn chosen(options: &Options) -> Result<Vec<&'static Entry>> {
    for name in &options.names {
        if !ALL.iter().any(|entry| entry.name == name) {
            let names: Vec<&str> = ALL.iter().map(|entry| entry.name).collect();
            bail!("no scenario {name:?}; there are {}", names.join(", "));
        }
    }
    let named = |entry: &&Entry| options.names.iter().any(|name| name == entry.name);
    let usual = |entry: &&Entry| match entry.when {
        When::Always => true,
        When::Long => !options.quick,
        When::Named => false,
    };
    let by_name = !options.names.is_empty();
    Ok(ALL
        .iter()
        .filter(|entry| if by_name { named(entry) } else { usual(entry) })
        .collect())
}

/// Finds (and installs) the subjects that these scenarios need.
fn stage(options: &Options, entries: &[&Entry]) -> Result<Stage> {
    if let Some(own) = &options.own {
        return Stage::own(own.clone());
    }
    let scale = scale(options, &Cpus::of_machine()?);
    let plans = entries.iter().map(|entry| (entry.plan)(&scale));
    let mut kinds: Vec<Kind> = plans
        .flat_map(|plan| plan.variants)
        .flat_map(|variant| variant.subjects)
        .filter(|kind| options.only.is_empty() || options.only.contains(kind))
        .collect();
    kinds.sort_unstable();
    kinds.dedup();
    Stage::ours(&Wanted {
        kinds,
        pgbouncer: options.pgbouncer.clone(),
        install: options.install,
    })
}

fn scale(options: &Options, cpus: &Cpus) -> Scale {
    let (rounds, seconds) = if options.quick { (2, 2.0) } else { (5, 5.0) };
    Scale {
        quick: options.quick,
        rounds: options.rounds.unwrap_or(rounds).max(1),
        cell: Duration::from_secs_f64(options.seconds.unwrap_or(seconds).clamp(0.2, 86_400.0)),
        soak: options.soak,
        cpus: cpus.all.len(),
        descriptors: raise_descriptors(),
    }
}

/// Leaves out what was not asked for or makes no sense here.
fn fit(plan: &mut Plan, options: &Options, stage: &Stage) {
    if options.own.is_some() && !plan.generic {
        plan.variants.clear();
    }
    for variant in &mut plan.variants {
        variant
            .subjects
            .retain(|kind| options.only.is_empty() || options.only.contains(kind));
    }
    plan.variants
        .retain(|variant| !variant.subjects.is_empty() && stage.takes(variant));
}

fn scenario(
    stage: &mut Stage,
    mut plan: Plan,
    no_calls: Option<&str>,
    progress: &mut Progress,
) -> Result<Scenario> {
    let mut notes = stage.notes();
    if plan.variants.is_empty() {
        notes.push("nothing of it can be asked here".to_owned());
    } else if let Some(prepare) = plan.prepare {
        let before = plan.variants.len();
        notes.extend(prepare(&mut plan, &mut |variant| {
            cell::probe(stage, variant)
        })?);
        let added = plan.variants.iter().skip(before);
        let cells: usize = added.map(|v| stage.cast(v).0.len()).sum();
        progress.more(cells * plan.rounds as usize);
    }
    if let (Some(why), true) = (no_calls, plan.variants.iter().any(|v| v.calls)) {
        notes.push(format!("system calls were not counted: {why}"));
    }
    let mut cells = Vec::new();
    for round in 0..plan.rounds {
        for variant in &plan.variants {
            stage.prepare(variant.behind)?;
            let (cast, left_out) = stage.cast(variant);
            notes.extend(left_out);
            let place = Place {
                scenario: plan.name,
                variant,
                round,
                count_calls: no_calls.is_none(),
            };
            measure_all(stage, &place, cast, progress, (&mut cells, &mut notes));
        }
    }
    notes.extend(told_errors(&cells));
    Ok(Scenario {
        name: plan.name.to_owned(),
        title: plan.title.to_owned(),
        says: plan.says,
        verdicts: (plan.judge)(&cells),
        cells,
        notes: once_each(notes),
    })
}

/// Where in a run its cells are.
struct Place<'a> {
    scenario: &'a str,
    variant: &'a Variant,
    round: u32,
    count_calls: bool,
}

/// One variant in one round.
fn measure_all(
    stage: &Stage,
    place: &Place<'_>,
    mut cast: Vec<Kind>,
    progress: &mut Progress,
    (cells, notes): (&mut Vec<Cell>, &mut Vec<String>),
) {
    let turn = place.round as usize % cast.len().max(1);
    cast.rotate_left(turn);
    for kind in cast {
        let (variant, round) = (place.variant, place.round);
        progress.begin(place.scenario, &variant.name, kind.name(), round);
        match cell::measure(stage, variant, kind, round, place.count_calls, progress) {
            Ok(measured) => {
                measured.iter().for_each(|cell| progress.end(cell));
                cells.extend(measured);
            }
            Err(error) => {
                progress.failed(&error);
                let (name, round) = (&variant.name, round + 1);
                notes.push(format!(
                    "{FAILED} {} in `{name}`, round {round}: {error:#}",
                    kind.name()
                ));
            }
        }
    }
}

fn once_each(mut notes: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    notes.retain(|note| seen.insert(note.clone()));
    notes
}

/// What went wrong for clients, by variant and subject.
fn told_errors(cells: &[Cell]) -> Vec<String> {
    let mut sums: BTreeMap<(&str, &str, &str), u64> = BTreeMap::new();
    for cell in cells {
        for (code, count) in &cell.load.errors {
            *sums
                .entry((&cell.variant, &cell.subject, code))
                .or_default() += count;
        }
    }
    sums.iter()
        .map(|((variant, subject, code), count)| {
            format!("errors of {subject} in `{variant}`: {code} ×{count}")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_choose_and_wrong_ones_are_told() {
        let of = |names: &[&str], quick: bool| {
            chosen(&Options {
                names: names.iter().map(|n| (*n).to_owned()).collect(),
                quick,
                ..Options::default()
            })
        };
        let names = |entries: Vec<&Entry>| entries.iter().map(|e| e.name).collect::<Vec<_>>();
        assert_eq!(
            names(of(&["storm", "soak"], false).unwrap()),
            ["storm", "soak"]
        );
        assert_eq!(
            names(of(&[], true).unwrap()),
            ["throughput", "added-latency", "ten-thousand", "storm"]
        );
        assert!(!names(of(&[], false).unwrap()).contains(&"soak"));
        let error = of(&["through"], false).err().unwrap().to_string();
        assert!(error.contains("\"through\"") && error.contains("throughput"));
    }

    #[test]
    fn errors_are_summed_over_rounds() {
        let cell = |round| Cell {
            subject: "weir".to_owned(),
            variant: "plain".to_owned(),
            round,
            load: crate::model::Load {
                errors: BTreeMap::from([("53300".to_owned(), 2)]),
                ..Default::default()
            },
            usage: None,
        };
        assert_eq!(
            told_errors(&[cell(0), cell(1)]),
            ["errors of weir in `plain`: 53300 ×4"]
        );
    }
}
