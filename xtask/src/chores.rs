//! Chores that build something and run it: the end-to-end program, the simulator, the fuzz targets.
//!
//! What these programs do is their own business; only how they are built and called is decided here.

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::shell;

/// Builds the proxy and a program that runs it (they share their dependencies), optimised.
fn build_with_weir(program: &str, besides: &[&str]) -> Result<PathBuf> {
    eprintln!("building weir and {program} (release)");
    let mut build = shell::cargo(&["build", "--release", "--locked"]);
    for package in ["weir", program].iter().chain(besides) {
        build.args(["-p", package]);
    }
    shell::run(&mut build)?;
    Ok(shell::target_dir().join("release").join(program))
}

/// Builds proxy and end-to-end program.
pub fn build_end_to_end() -> Result<PathBuf> {
    build_with_weir("weir-e2e", &[])
}

/// Builds proxy, load harness, and the bare relay that it compares with.
pub fn build_perf() -> Result<PathBuf> {
    build_with_weir("weir-perf", &["weir-perf-relay"])
}

/// A program that runs the proxy, its binaries and folders named.
fn command_of(program: PathBuf) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(shell::root())
        .env("WEIR_CHECKOUT", shell::root())
        .env("WEIR_TARGET_DIR", shell::target_dir());
    command
}

/// The end-to-end program with a subcommand.
pub fn end_to_end_command(program: PathBuf, subcommand: &str) -> Command {
    let mut command = command_of(program);
    command.arg(subcommand);
    command
}

/// Becomes the program, so that signals from the terminal reach it directly.
fn become_it(mut command: Command) -> Result<()> {
    let error = command.exec();
    Err(error).with_context(|| format!("can't start {}", command.get_program().display()))
}

/// Builds, then becomes the end-to-end program.
pub fn end_to_end(subcommand: &str, args: &[String]) -> Result<()> {
    let mut command = end_to_end_command(build_end_to_end()?, subcommand);
    command.args(args);
    become_it(command)
}

/// Builds, then becomes the load harness.
pub fn perf(args: &[String]) -> Result<()> {
    let mut command = command_of(build_perf()?);
    command.args(args);
    become_it(command)
}

/// A second of each kind of load through the proxy: shows that the harness works, not what it measures.
pub fn perf_smoke_command(program: PathBuf) -> Command {
    let mut command = command_of(program);
    command.args(["run", "smoke", "--seconds", "1", "--no-install", "--strict"]);
    command
}

/// Builds proxy and load harness, optimised, and gives the guard's command.
pub fn guard_command() -> Result<Command> {
    let mut command = command_of(build_perf()?);
    command.arg("guard");
    Ok(command)
}

/// The tests of the proxy's library with the address sanitizer in it, or why this machine can't run them. Stable compilers have the
/// sanitizer but call it unstable, hence the variable.
pub fn sanitizer_command() -> Result<Result<Command, String>> {
    let said = shell::output(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|l| l.strip_prefix("host: "));
    let host = host.context("`rustc -vV` names no host")?;
    let sysroot = shell::output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let folder = PathBuf::from(sysroot.trim()).join(format!("lib/rustlib/{host}/lib"));
    let runtime = std::fs::read_dir(&folder)
        .with_context(|| format!("can't read {}", folder.display()))?
        .filter_map(Result::ok)
        .any(|e| e.file_name().to_string_lossy().ends_with("_rt.asan.a"));
    if !runtime {
        let where_to = folder.display();
        return Ok(Err(format!(
            "the compiler has no address sanitizer for {host} (librustc*_rt.asan.a in {where_to})"
        )));
    }
    let mut command = shell::cargo(&["test", "--locked", "-p", "weir", "--lib"]);
    command
        .args(["--target", host, "--target-dir"])
        .arg(shell::target_dir().join("sanitizer"))
        .env("RUSTC_BOOTSTRAP", "1")
        .env("RUSTFLAGS", "-Zsanitizer=address");
    Ok(Ok(command))
}

/// What the simulator is to run.
#[derive(Args)]
pub struct SimArgs {
    /// How many seeds to run.
    #[arg(long, default_value_t = 1000)]
    seeds: u64,
    /// Passed on to the simulator.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    args: Vec<String>,
}

/// The simulator's command, optimised.
pub fn sim_command(seeds: u64, args: &[String]) -> Command {
    let mut command = shell::cargo(&[
        "run",
        "--quiet",
        "--release",
        "--locked",
        "-p",
        "weir-sim",
        "--",
    ]);
    command.args(["--seeds", &seeds.to_string()]).args(args);
    command
}

/// Runs the simulator.
pub fn sim(args: &SimArgs) -> Result<()> {
    shell::run(&mut sim_command(args.seeds, &args.args))
}

/// What to fuzz and for how long.
#[derive(Args)]
pub struct FuzzArgs {
    /// One target; all of them without it.
    #[arg(long)]
    target: Option<String>,
    /// Seconds for each target.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

/// Compiler flags that make coverage visible to libFuzzer. They need no nightly compiler, which is why `cargo fuzz`
/// itself is not needed. The core has no unsafe code for the address sanitizer to watch.
const COVERAGE_FLAGS: &str = "--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Cdebug-assertions";

/// Names of the fuzz targets; empty when there are none.
pub fn fuzz_targets() -> Result<Vec<String>> {
    let folder = shell::root().join("proxy/core/fuzz/fuzz_targets");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        return Ok(Vec::new());
    };
    let mut names = Vec::new();
    for entry in entries {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "rs") {
            names.extend(path.file_stem().map(|s| s.to_string_lossy().into_owned()));
        }
    }
    names.sort();
    Ok(names)
}

/// Builds every fuzz target with coverage and gives the folder of the programs.
pub fn build_fuzz() -> Result<PathBuf> {
    let target_dir = shell::target_dir().join("fuzz");
    let mut build = shell::cargo(&["build", "--release", "--target", "x86_64-unknown-linux-gnu"]);
    build
        .args([
            "--manifest-path",
            "proxy/core/fuzz/Cargo.toml",
            "--target-dir",
        ])
        .arg(&target_dir);
    shell::run(build.env("RUSTFLAGS", COVERAGE_FLAGS))?;
    Ok(target_dir.join("x86_64-unknown-linux-gnu/release"))
}

/// Runs one fuzz target for a while on its kept corpus.
pub fn fuzz_one(programs: &std::path::Path, name: &str, seconds: u64) -> Result<()> {
    let folder = shell::root().join("proxy/core/fuzz");
    let corpus = folder.join("corpus").join(name);
    let artifacts = folder.join("artifacts").join(name);
    std::fs::create_dir_all(&corpus)?;
    std::fs::create_dir_all(&artifacts)?;
    let mut command = Command::new(programs.join(name));
    command.arg(&corpus);
    let seeds = folder.join("seeds").join(name);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg("-timeout=10")
        .arg("-rss_limit_mb=2048");
    command
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    shell::run(&mut command).with_context(|| {
        format!(
            "fuzz target {name}; the input is in {}",
            artifacts.display()
        )
    })
}

/// Fuzzes one target or all of them.
pub fn fuzz(args: &FuzzArgs) -> Result<()> {
    let names = fuzz_targets()?;
    let chosen: Vec<&String> = names
        .iter()
        .filter(|n| args.target.as_ref().is_none_or(|t| t == *n))
        .collect();
    if chosen.is_empty() {
        bail!("no such fuzz target; there are: {}", names.join(", "));
    }
    let programs = build_fuzz()?;
    for name in chosen {
        fuzz_one(&programs, name, args.seconds)?;
    }
    Ok(())
}
