//! Test suites of drivers, run direct and through weir, and compared test by test.
//!
//! A suite's own code is fetched at run time (see [`sources`]) and never kept in the repository. What may differ stands in
//! `expected.toml`, with its reason; anything else that passes direct and fails through weir is a failure of weir, and an expected
//! difference that no longer shows is one of the list.

mod compare;
mod expected;
mod run;
mod sources;

use std::collections::BTreeMap;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::install::{self, servers};
use crate::pki::Pki;
use crate::{place, process};
pub use compare::Comparison;
pub use expected::Expected;
pub use run::Outcome;
use run::{Place, Runner};
use sources::{SUITES, Suite};

/// Drivers' own test suites, direct against through weir.
#[derive(Args)]
pub struct SuitesArgs {
    /// Only these suites (comma-separated): asyncpg, psycopg2, psycopg, sqlalchemy.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Only tests that pytest's -k selects.
    #[arg(long, default_value = "")]
    filter: String,
    /// The shell of weir: io_uring, epoll.
    #[arg(long, default_value = "io_uring")]
    io: String,
    /// Threads of weir.
    #[arg(long, default_value_t = 2)]
    shards: u16,
    /// PostgreSQL's major version.
    #[arg(long, default_value_t = 15)]
    server: u32,
    /// How often a test that fails through weir alone is run again before it counts.
    #[arg(long, default_value_t = 2)]
    retries: u32,
}

#[derive(Default)]
struct Tally {
    passed: usize,
    failed: usize,
    skipped: usize,
}

/// Runs the suites; ends the program with 1 when something differs that is not expected to.
pub fn run(args: &SuitesArgs) -> Result<()> {
    if let Some(wrong) = args
        .only
        .iter()
        .find(|n| !SUITES.iter().any(|s| s.name == **n))
    {
        bail!("no suite {wrong:?}");
    }
    process::raise_descriptor_limit()?;
    let expected = Expected::read()?;
    let pki = Pki::make(&place::run_dir()?.join("pki"))?;
    let programs = servers::find(args.server)?;
    let interpreter = sources::python()?;
    let mut tally = Tally::default();
    let chosen = |name: &str| args.only.is_empty() || args.only.iter().any(|n| n == name);
    for suite in SUITES.iter().filter(|s| chosen(s.name)) {
        let dir = place::target_dir().join("suites").join(suite.name);
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir)?;
        let source = match sources::fetch(suite) {
            Ok(source) => source,
            Err(error) if suite.may_be_missing || !install::may_change_system(false) => {
                println!("SKIPPED {}: {error:#}", suite.name);
                tally.skipped += 1;
                continue;
            }
            Err(error) => return Err(error),
        };
        let runner = Runner {
            suite,
            source,
            interpreter: interpreter.clone(),
            programs: programs.clone(),
            pki: pki.clone(),
            io: args.io.clone(),
            shards: args.shards,
            filter: args.filter.clone(),
            dir,
        };
        run_suite(&runner, args, &expected, &mut tally)?;
    }
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed, tally.failed, tally.skipped
    );
    place::remove_run_dir();
    if tally.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

fn run_suite(
    runner: &Runner,
    args: &SuitesArgs,
    expected: &Expected,
    tally: &mut Tally,
) -> Result<()> {
    let start = Instant::now();
    let suite = runner.suite;
    let (direct, mut through) = both(runner)?;
    let least = if args.filter.is_empty() {
        suite.at_least
    } else {
        1
    };
    if passed(&direct) < least {
        let log = runner.dir.join("direct.log");
        let (count, name) = (passed(&direct), suite.name);
        bail!(
            "{count} tests of {name} pass direct and not at least {least}; see {}",
            log.display()
        );
    }
    let retries = args.retries;
    for _ in 0..retries {
        let again = Comparison::new(&direct, &through, expected.of(suite.name)).unexpected;
        if again.is_empty() {
            break;
        }
        // Alone, in case that the machine was too busy for the test's own times.
        through.extend(runner.run(Place::Again, &again)?);
    }
    let comparison = Comparison::new(&direct, &through, expected.of(suite.name));
    tell(
        suite,
        &direct,
        &through,
        &comparison,
        start.elapsed().as_secs_f64(),
    );
    tally.passed += comparison.equal;
    tally.failed += comparison.unexpected.len();
    if args.filter.is_empty() {
        tally.failed += comparison.stale.len();
    }
    tally.skipped += comparison.expected.len();
    Ok(())
}

/// Direct and through weir at the same time: most of a suite's time is waiting.
fn both(runner: &Runner) -> Result<(BTreeMap<String, Outcome>, BTreeMap<String, Outcome>)> {
    std::thread::scope(|scope| {
        let through = scope.spawn(|| runner.run(Place::Weir, &[]));
        let direct = runner.run(Place::Direct, &[]);
        let through = through.join();
        let through = through.unwrap_or_else(|_| bail!("the run through weir panicked"));
        Ok((direct?, through?))
    })
}

fn tell(
    suite: &Suite,
    direct: &BTreeMap<String, Outcome>,
    through: &BTreeMap<String, Outcome>,
    comparison: &Comparison,
    seconds: f64,
) {
    println!(
        "{} {}: {} pass direct, {} through weir; {} differ as expected, {} differ unexpectedly ({seconds:.0} s)",
        suite.name,
        suite.version,
        passed(direct),
        passed(through),
        comparison.expected.len(),
        comparison.unexpected.len(),
    );
    for test in &comparison.unexpected {
        println!("FAILED {}: {test} passes direct only", suite.name);
    }
    for test in &comparison.stale {
        println!(
            "FAILED {}: {test} stands in expected.toml and does not differ",
            suite.name
        );
    }
    let unexpected = comparison.unexpected.len();
    if unexpected > 0 {
        println!(
            "        logs in {}",
            place::target_dir()
                .join("suites")
                .join(suite.name)
                .display()
        );
    }
}

fn passed(outcomes: &BTreeMap<String, Outcome>) -> usize {
    let all = outcomes.values();
    all.filter(|o| **o == Outcome::Passed).count()
}
