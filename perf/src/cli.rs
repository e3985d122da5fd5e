//! The command line.

mod load;
mod null;
mod profile;
mod run;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, CommandFactory as _, Parser, Subcommand};

use crate::{guard, report};

/// Measures weir next to a direct connection and next to its peers.
#[derive(Parser)]
#[command(name = "weir-perf", version)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure: the scenarios that are named, else the quick or the long run.
    Run(Box<run::RunArgs>),
    /// The scenarios.
    List,
    /// What got better or worse from one report to another, beyond noise.
    Compare(CompareArgs),
    /// Counts per query (instructions, system calls, allocations) against the committed ones; fails over 5 %.
    Guard(GuardArgs),
    /// One run of the load generator against any server or proxy.
    Load(Box<load::LoadArgs>),
    /// A server that lets anybody in and answers canned results at next to no cost.
    NullServer(null::NullArgs),
    /// A flame graph and a table of functions of weir under a load; or instructions by function.
    Profile(profile::ProfileArgs),
}

/// What to do with the counts.
#[derive(Args)]
struct GuardArgs {
    /// Make what is counted now the committed values (perf/guard.toml).
    #[arg(long)]
    bless: bool,
}

/// Two reports.
#[derive(Args)]
struct CompareArgs {
    /// The JSON file of the earlier run.
    old: PathBuf,
    /// The JSON file of the later run.
    new: PathBuf,
    /// End with exit code 1 when a figure of weir got worse by more than this, beyond noise.
    #[arg(long, value_name = "PERCENT")]
    fail_over: Option<f64>,
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let done = match Cli::parse_from(with_run(std::env::args_os())).command {
        Command::Run(args) => run::run(&args),
        Command::List => run::list(),
        Command::Compare(args) => compare(&args),
        Command::Guard(args) => guarded(&args),
        Command::Load(args) => load::run(&args),
        Command::NullServer(args) => null::run(&args),
        Command::Profile(args) => profile::run(&args),
    };
    done.unwrap_or_else(|error| {
        eprintln!("weir-perf: {error:#}");
        ExitCode::from(2)
    })
}

/// Puts `run` in front where no command is named.
fn with_run(words: impl Iterator<Item = OsString>) -> Vec<OsString> {
    let mut words: Vec<OsString> = words.collect();
    let first = words.get(1).map(|w| w.to_string_lossy().into_owned());
    let first = first.unwrap_or_default();
    let help = ["-h", "--help", "-V", "--version", "help"].contains(&first.as_str());
    if !help && Cli::command().find_subcommand(&first).is_none() {
        words.insert(1.min(words.len()), "run".into());
    }
    words
}

fn compare(args: &CompareArgs) -> Result<ExitCode> {
    let compared = report::compare(&report::read(&args.old)?, &report::read(&args.new)?);
    print!("{}", compared.text);
    let limit = args.fail_over.unwrap_or(f64::INFINITY);
    Ok(if compared.worst * 100.0 > limit {
        println!("weir got worse by more than {limit} %");
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

fn guarded(args: &GuardArgs) -> Result<ExitCode> {
    let mode = if args.bless {
        guard::Mode::Bless
    } else {
        guard::Mode::Check
    };
    weir_e2e::process::stop_all_on_signals()?;
    let held = guard::run(mode);
    weir_e2e::place::remove_run_dir();
    Ok(ExitCode::from(u8::from(!held?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &str) -> Command {
        let words = std::iter::once("weir-perf").chain(words.split_whitespace());
        let parsed = Cli::try_parse_from(with_run(words.map(OsString::from)));
        parsed.unwrap().command
    }

    #[test]
    fn a_scenario_is_run_by_its_name_alone() {
        for words in [
            "throughput --rounds 3 --only weir,direct",
            "--quick",
            "",
            "run storm",
        ] {
            assert!(matches!(parsed(words), Command::Run(_)), "{words}");
        }
        assert!(matches!(parsed("compare a b"), Command::Compare(_)));
        assert!(matches!(parsed("list"), Command::List));
    }
}
