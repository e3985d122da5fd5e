//! The simulator's command line: runs seeds on all cores, replays one, and smoke-runs the fuzz entry points.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use weir_sim::rng::Rng;
use weir_sim::{Sabotage, fuzz, run_seed};

const HELP: &str = "weir-sim: deterministic simulator of weir's core

  weir-sim --seeds N [--start S] [--sabotage NAME]   run N seeds from S (default 0) on all cores
  weir-sim fuzz [--seconds N] [--seed S]             feed the fuzz entry points for N seconds each (default 10)
  weir-sim --seed X [--verbose] [--last N]           replay one seed, with its steps (the last N)
";

struct Options {
    seeds: u64,
    start: u64,
    seed: Option<u64>,
    verbose: bool,
    last: usize,
    sabotage: Option<Sabotage>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "fuzz") {
        return smoke(&args[1..]);
    }
    match options(&args) {
        Ok(options) => match options.seed {
            Some(seed) => replay(seed, &options),
            None => many(&options),
        },
        Err(text) => {
            eprintln!("{text}\n\n{HELP}");
            ExitCode::from(2)
        }
    }
}

fn options(args: &[String]) -> Result<Options, String> {
    let mut o = Options {
        seeds: 1000,
        start: 0,
        seed: None,
        verbose: false,
        last: 60,
        sabotage: None,
    };
    let mut rest = args.iter();
    while let Some(arg) = rest.next() {
        let mut number = || -> Result<u64, String> {
            let text = rest.next().ok_or(format!("{arg} needs a number"))?;
            text.parse()
                .map_err(|_| format!("{arg}: {text:?} is not a number"))
        };
        match arg.as_str() {
            "--seeds" => o.seeds = number()?,
            "--start" => o.start = number()?,
            "--seed" => o.seed = Some(number()?),
            "--last" => o.last = number()? as usize,
            "--verbose" => {
                o.verbose = true;
                o.last = usize::MAX;
            }
            "--sabotage" => {
                let name = rest.next().cloned().unwrap_or_default();
                let found = Sabotage::ALL.iter().find(|s| format!("{s:?}") == name);
                o.sabotage =
                    Some(*found.ok_or(format!("no such sabotage; there are {:?}", Sabotage::ALL))?);
            }
            "--help" | "-h" => return Err(String::new()),
            other => return Err(format!("unknown argument {other:?}")),
        }
    }
    Ok(o)
}

/// Feeds every fuzz entry point with made-up inputs for a while.
fn smoke(args: &[String]) -> ExitCode {
    let number = |name: &str, default: u64| {
        let at = args.iter().position(|a| a == name);
        at.map_or(Some(default), |at| args.get(at + 1)?.parse().ok())
    };
    let (Some(seconds), Some(seed)) = (number("--seconds", 10), number("--seed", 0)) else {
        eprintln!("{HELP}");
        return ExitCode::from(2);
    };
    for (name, target) in fuzz::TARGETS {
        let began = Instant::now();
        let mut count = 0;
        while began.elapsed().as_secs() < seconds {
            let input = fuzz::make_input(&mut Rng::new(seed + count), name);
            let started = Instant::now();
            if catch_unwind(AssertUnwindSafe(|| target(&input))).is_err() {
                println!(
                    "{name}: input {} (--seed {} repeats it): {}",
                    count,
                    seed + count,
                    input.escape_ascii()
                );
                return ExitCode::FAILURE;
            }
            if started.elapsed().as_secs() > 2 {
                println!(
                    "{name}: input {count} takes {:?}: {}",
                    started.elapsed(),
                    input.escape_ascii()
                );
                return ExitCode::FAILURE;
            }
            count += 1;
        }
        println!("{name}: {count} inputs in {seconds} s");
    }
    ExitCode::SUCCESS
}

fn replay(seed: u64, options: &Options) -> ExitCode {
    let outcome = run_seed(seed, options.sabotage, true);
    let skip = outcome.log.len().saturating_sub(options.last);
    for line in &outcome.log[skip..] {
        println!("{line}");
    }
    println!(
        "seed {seed}: {} steps, {} cycles, {} clients finished, digest {:016x}",
        outcome.steps, outcome.cycles, outcome.finished, outcome.digest
    );
    for text in &outcome.violations {
        println!("seed {seed}: {text}");
    }
    if outcome.violations.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn many(options: &Options) -> ExitCode {
    let began = Instant::now();
    std::panic::set_hook(Box::new(|_| {}));
    let (next, failed) = (AtomicU64::new(0), AtomicU64::new(0));
    let (steps, cycles, finished) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
    let enough = AtomicBool::new(false);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        while !enough.load(Ordering::Relaxed) {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= options.seeds {
                return;
            }
            let seed = options.start + i;
            let outcome = run_seed(seed, options.sabotage, false);
            steps.fetch_add(outcome.steps, Ordering::Relaxed);
            cycles.fetch_add(outcome.cycles, Ordering::Relaxed);
            finished.fetch_add(outcome.finished, Ordering::Relaxed);
            if let Some(text) = outcome.violations.first() {
                println!("seed {seed}: {text}");
                if failed.fetch_add(1, Ordering::Relaxed) + 1 >= 20 {
                    enough.store(true, Ordering::Relaxed);
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(work);
        }
    });
    let failed = failed.load(Ordering::Relaxed);
    println!(
        "{} seeds from {} in {:.1} s: {} steps, {} request cycles, {} clients to their end, {failed} seeds failed",
        options.seeds,
        options.start,
        began.elapsed().as_secs_f64(),
        steps.load(Ordering::Relaxed),
        cycles.load(Ordering::Relaxed),
        finished.load(Ordering::Relaxed),
    );
    if failed == 0 {
        return ExitCode::SUCCESS;
    }
    println!("replay one with: cargo xtask sim -- --seed X --verbose");
    ExitCode::FAILURE
}
