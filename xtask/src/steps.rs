//! `cargo xtask test`: every check in order, from cheap to dear, with the time of each and one closing line of counts.
//!
//! A step that can't run here is skipped by name and counted; it never passes for a step that held.

use std::process::Command;
use std::time::Instant;

use anyhow::{Result, bail};
use clap::Args;

use crate::shell::{Counts, cargo, run_counting};
use crate::{chores, shell, tidy};

/// Which checks to run.
#[derive(Args)]
pub struct TestArgs {
    /// Run these steps only (comma-separated): fmt, clippy, tidy, deny, unit, sanitizer, sim, fuzz, e2e, suites, perf,
    /// guard.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// Leave these steps out (comma-separated).
    #[arg(long, value_delimiter = ',')]
    except: Vec<String>,
    /// PostgreSQL majors of the end-to-end suite (comma-separated): 10, 13, 15, 18.
    #[arg(long, value_delimiter = ',')]
    server: Vec<String>,
    /// Shells of the end-to-end suite (comma-separated): io_uring, epoll.
    #[arg(long, value_delimiter = ',')]
    io: Vec<String>,
    /// Seeds of the simulator.
    #[arg(long, default_value_t = 20_000)]
    seeds: u64,
    /// Seconds for each fuzz target.
    #[arg(long, default_value_t = 20)]
    fuzz_seconds: u64,
}

/// How a step ended, and what it counted.
type Outcome = Result<Counts>;

struct Step {
    name: &'static str,
    run: fn(&TestArgs) -> Outcome,
}

const STEPS: &[Step] = &[
    Step {
        name: "fmt",
        run: |_| plain(&mut cargo(&["fmt", "--all", "--check"])),
    },
    Step {
        name: "tidy",
        run: |_| tidy::run().map(|()| Counts::ONE_PASSED),
    },
    Step {
        name: "clippy",
        run: |_| plain(&mut clippy()),
    },
    Step {
        name: "deny",
        run: |_| deny(),
    },
    Step {
        name: "unit",
        run: |_| counted(&mut cargo(&["test", "--workspace", "--locked"])),
    },
    Step {
        name: "sanitizer",
        run: |_| sanitizer(),
    },
    Step {
        name: "sim",
        run: |args| plain(&mut chores::sim_command(args.seeds, &[])),
    },
    Step {
        name: "fuzz",
        run: fuzz,
    },
    Step {
        name: "e2e",
        run: end_to_end,
    },
    Step {
        name: "suites",
        run: |_| suites(),
    },
    Step {
        name: "perf",
        run: |_| plain(&mut chores::perf_smoke_command(chores::build_perf()?)),
    },
    Step {
        name: "guard",
        run: |_| guard(),
    },
];

/// Runs the steps; an error when one of them failed.
pub fn run(args: &TestArgs) -> Result<()> {
    check_names(args)?;
    let begin = Instant::now();
    let mut total = Counts::default();
    let mut lines = Vec::new();
    for step in STEPS.iter().filter(|s| chosen(args, s.name)) {
        println!("\n==> {}", step.name);
        let start = Instant::now();
        let outcome = (step.run)(args);
        let seconds = start.elapsed().as_secs_f64();
        let (word, counts) = judge(step.name, outcome);
        println!("<== {} {word} in {seconds:.1} s", step.name);
        lines.push(format!(
            "{:<9} {word:<8} {seconds:>7.1} s   {}",
            step.name,
            told(counts)
        ));
        total.add(counts);
    }
    if args.only.is_empty() {
        println!(
            "\nnot run, only on request (--only): {}",
            ON_REQUEST.join(", ")
        );
    }
    println!(
        "\n{}\ntotal {:.1} s\n",
        lines.join("\n"),
        begin.elapsed().as_secs_f64()
    );
    println!(
        "{} passed, {} failed, {} skipped",
        total.passed, total.failed, total.skipped
    );
    if total.failed > 0 {
        std::process::exit(1);
    }
    Ok(())
}

fn judge(name: &str, outcome: Outcome) -> (&'static str, Counts) {
    match outcome {
        Ok(counts) if counts.failed > 0 => ("FAILED", counts),
        Ok(counts) if counts.passed == 0 && counts.skipped > 0 => ("SKIPPED", counts),
        Ok(counts) => ("ok", counts),
        Err(error) => {
            println!("{name}: {error:#}");
            ("FAILED", Counts::ONE_FAILED)
        }
    }
}

fn told(counts: Counts) -> String {
    format!(
        "{} held, {} did not, {} left out",
        counts.passed, counts.failed, counts.skipped
    )
}

/// Steps that run only when they are asked for: other projects' tests, with their own ideas of time.
const ON_REQUEST: &[&str] = &["suites"];

fn chosen(args: &TestArgs, name: &str) -> bool {
    let named = |list: &[String]| list.iter().any(|n| n == name);
    let usual = args.only.is_empty() && !ON_REQUEST.contains(&name);
    (usual || named(&args.only)) && !named(&args.except)
}

fn check_names(args: &TestArgs) -> Result<()> {
    let known = |name: &String| STEPS.iter().any(|s| s.name == name);
    if let Some(wrong) = args.only.iter().chain(&args.except).find(|n| !known(n)) {
        let names: Vec<&str> = STEPS.iter().map(|s| s.name).collect();
        bail!("no step {wrong:?}; the steps are {}", names.join(", "));
    }
    Ok(())
}

/// A step that either holds or does not.
fn plain(command: &mut Command) -> Outcome {
    shell::run(command).map(|()| Counts::ONE_PASSED)
}

/// A step that counts its own tests. One that fails without counting a failure still fails.
fn counted(command: &mut Command) -> Outcome {
    let (success, mut counts) = run_counting(command)?;
    if !success && counts.failed == 0 {
        counts.add(Counts::ONE_FAILED);
    }
    Ok(counts)
}

fn clippy() -> Command {
    cargo(&[
        "clippy",
        "--workspace",
        "--all-targets",
        "--locked",
        "--",
        "-D",
        "warnings",
    ])
}

/// Licences, bans and sources of the dependencies. The list of advisories is fetched from outside, which not every
/// machine can do: that check is left out, and counted so.
fn deny() -> Outcome {
    if !has_deny() {
        if !on_ci() {
            println!(
                "SKIPPED deny: cargo-deny is not installed (`cargo install cargo-deny --locked`, some minutes)"
            );
            return Ok(Counts::ONE_SKIPPED);
        }
        shell::run(&mut cargo(&[
            "install",
            "cargo-deny",
            "--locked",
            "--quiet",
        ]))?;
    }
    let mut counts = plain(&mut cargo(&[
        "deny", "--locked", "check", "licenses", "bans", "sources",
    ]))?;
    println!(
        "SKIPPED deny: advisories (`cargo deny check advisories` where their list can be fetched)"
    );
    counts.add(Counts::ONE_SKIPPED);
    Ok(counts)
}

fn has_deny() -> bool {
    cargo(&["deny", "--version"])
        .output()
        .is_ok_and(|o| o.status.success())
}

fn on_ci() -> bool {
    std::env::var_os("CI").is_some_and(|v| v == "true")
}

/// The shell's own tests under the address sanitizer: the ring is the one place with unsafe code.
fn sanitizer() -> Outcome {
    match chores::sanitizer_command()? {
        Ok(mut command) => counted(&mut command),
        Err(missing) => {
            println!("SKIPPED sanitizer: {missing}");
            Ok(Counts::ONE_SKIPPED)
        }
    }
}

fn fuzz(args: &TestArgs) -> Outcome {
    let names = chores::fuzz_targets()?;
    if names.is_empty() {
        println!("SKIPPED fuzz: proxy/core/fuzz/fuzz_targets holds no target");
        return Ok(Counts::ONE_SKIPPED);
    }
    let programs = chores::build_fuzz()?;
    let mut counts = Counts::default();
    for name in &names {
        println!("fuzz {name}, {} s", args.fuzz_seconds);
        match chores::fuzz_one(&programs, name, args.fuzz_seconds) {
            Ok(()) => counts.add(Counts::ONE_PASSED),
            Err(error) => {
                println!("fuzz {name}: {error:#}");
                counts.add(Counts::ONE_FAILED);
            }
        }
    }
    Ok(counts)
}

fn end_to_end(args: &TestArgs) -> Outcome {
    let program = chores::build_end_to_end()?;
    let mut command = chores::end_to_end_command(program, "run");
    if !args.server.is_empty() {
        command.args(["--server", &args.server.join(",")]);
    }
    if !args.io.is_empty() {
        command.args(["--io", &args.io.join(",")]);
    }
    counted(&mut command)
}

/// Drivers' own test suites, direct against through weir.
fn suites() -> Outcome {
    let program = chores::build_end_to_end()?;
    counted(&mut chores::end_to_end_command(program, "suites"))
}

/// Counts per query against the committed ones. What no tool of this machine can count is skipped by name.
fn guard() -> Outcome {
    if on_ci() {
        install_counting_tools();
    }
    counted(&mut chores::guard_command()?)
}

/// On CI the tools may be missing; where they can't be had, the guard says what it leaves out.
fn install_counting_tools() {
    let present = |tool: &str| Command::new(tool).arg("--version").output().is_ok();
    if present("valgrind") && (present("perf") || present("strace")) {
        return;
    }
    let packages = ["valgrind", "linux-perf", "strace"];
    let quiet = ["--yes", "--quiet", "--no-install-recommends"];
    let mut install = Command::new("apt-get");
    install.arg("install").args(quiet).args(packages);
    if let Err(error) = shell::run(&mut install) {
        println!("guard: {error:#}");
    }
}
