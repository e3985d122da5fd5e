//! The real binary against real servers and real drivers: the end-to-end suite and the demo.
//!
//! Called by `cargo xtask e2e | demo | install`, which build this program and the proxy together.

mod case;
mod cases;
mod demo;
mod raw;
mod regress;
mod suite;
mod suites;
mod watch;

use clap::{Parser, Subcommand};
use weir_e2e::{block, endpoint, install, pki, place, process, runtime, server, weir};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the end-to-end suite.
    #[command(name = "run", display_name = "e2e")]
    Run(suite::RunArgs),
    /// Run drivers' own test suites, direct and through weir, and compare them test by test.
    Suites(suites::SuitesArgs),
    /// Start PostgreSQL and weir, send a storm of short-lived clients through five connections, report figures.
    Demo(demo::DemoArgs),
    /// Fetch what the tests need and this machine lacks.
    Install,
}

fn main() -> std::process::ExitCode {
    let outcome = process::stop_all_on_signals().and_then(|()| match Cli::parse().command {
        Command::Run(args) => suite::run(&args),
        Command::Suites(args) => suites::run(&args),
        Command::Demo(args) => demo::run(&args),
        Command::Install => install::all(),
    });
    place::remove_run_dir();
    match outcome {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            std::process::ExitCode::FAILURE
        }
    }
}
