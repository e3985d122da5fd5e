//! The front door for every chore: `cargo xtask <chore>`.
//!
//! This crate stays small, so that a fresh checkout reaches its first chore in seconds: what needs TLS, drivers or
//! servers is in `weir-e2e`, which is built together with the proxy and called from here.

mod chores;
mod shell;
mod steps;
mod tidy;

use clap::{Parser, Subcommand};

/// Chores of the weir repository.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Start PostgreSQL and weir, send a storm of short-lived clients through five connections, report figures.
    #[command(disable_help_flag = true)]
    Demo {
        /// Passed on; see `cargo xtask demo --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Every check, from formatting to real servers; ends with one line of counts.
    Test(steps::TestArgs),
    /// The end-to-end suite alone: real servers, real drivers, TLS.
    #[command(disable_help_flag = true)]
    E2e {
        /// Passed on; see `cargo xtask e2e --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Drivers' own test suites, direct and through weir, compared test by test.
    #[command(disable_help_flag = true)]
    Suites {
        /// Passed on; see `cargo xtask suites --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The load harness: measures weir next to a direct connection and next to its peers.
    #[command(disable_help_flag = true)]
    Perf {
        /// Passed on; see `cargo xtask perf --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// The simulator: many clients, model servers, faults, one seed each.
    Sim(chores::SimArgs),
    /// The fuzz targets, for a while.
    Fuzz(chores::FuzzArgs),
    /// House rules: lengths, imports, words, links, the parity table.
    Tidy,
    /// Fetch what the tests need and this machine lacks: servers, drivers.
    #[command(disable_help_flag = true)]
    Install {
        /// Passed on; see `cargo xtask install --help`.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
}

fn main() -> std::process::ExitCode {
    match run(Cli::parse().chore) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}

fn run(chore: Chore) -> anyhow::Result<()> {
    match chore {
        Chore::Demo { args } => chores::end_to_end("demo", &args),
        Chore::E2e { args } => chores::end_to_end("run", &args),
        Chore::Suites { args } => chores::end_to_end("suites", &args),
        Chore::Install { args } => chores::end_to_end("install", &args),
        Chore::Perf { args } => chores::perf(&args),
        Chore::Test(args) => steps::run(&args),
        Chore::Sim(args) => chores::sim(&args),
        Chore::Fuzz(args) => chores::fuzz(&args),
        Chore::Tidy => tidy::run(),
    }
}
