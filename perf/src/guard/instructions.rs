//! Instructions and allocations per query, counted by callgrind.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, ensure};

use super::Counted;
use super::lockstep::{PREPARED, SIMPLE, Talk};
use super::started::start;
use crate::profile::callgrind::{Counts, behind, dump, present, quiet};

/// Round trips of the shorter of two runs of the core.
const CORE_ROUNDS: u64 = 3_000;

/// Round trips of weir between two dumps.
const WEIR_ROUNDS: usize = 2_000;

/// Round trips before the first dump: pools and tables have their size then.
const WARM_UP: usize = 50;

/// The core alone.
pub fn core(dir: &Path, counted: &mut Counted) -> Result<()> {
    if !present() {
        counted.skip("instructions of the core", MISSING);
        return Ok(());
    }
    let program = beside("core-rounds")?;
    for kind in ["simple", "extended"] {
        let run = |rounds: u64| -> Result<Counts> {
            let out = dir.join(format!("core-{kind}-{rounds}"));
            let before = behind(&out);
            let mut command = Command::new(&before[0]);
            command.args(&before[1..]).arg(&program);
            quiet(command.args([&rounds.to_string(), kind]))?;
            Counts::read(&out)
        };
        let (once, twice) = (run(CORE_ROUNDS)?, run(2 * CORE_ROUNDS)?);
        sees_allocators(&once)?;
        add(
            counted,
            &format!("core, {kind}"),
            &twice.since(&once),
            CORE_ROUNDS as f64,
        );
    }
    Ok(())
}

/// The whole of weir in user space.
pub fn weir(dir: &Path, counted: &mut Counted) -> Result<()> {
    if !present() {
        counted.skip("instructions of weir", MISSING);
        return Ok(());
    }
    let mut talks: Vec<(&str, Talk)> = vec![("simple", SIMPLE), ("prepared", PREPARED)];
    for (kind, talk) in talks.drain(..) {
        let out = dir.join(format!("weir-{kind}"));
        let before = behind(&out);
        let mut started = start(&dir.join(kind), &before, "epoll", 1)?;
        let pid = started.weir.pid();
        started.steps.begin(&talk)?;
        started.steps.rounds(&talk, WARM_UP)?;
        sees_allocators(&dump(pid, &out, 1)?)?;
        started.steps.rounds(&talk, WEIR_ROUNDS)?;
        let counts = dump(pid, &out, 2)?;
        add(
            counted,
            &format!("weir with epoll, {kind}"),
            &counts,
            WEIR_ROUNDS as f64,
        );
    }
    Ok(())
}

/// A start allocates: where none is seen, the allocator has a name that is not counted, and "none per query" says nothing.
fn sees_allocators(start: &Counts) -> Result<()> {
    ensure!(
        start.allocations > 0,
        "callgrind saw no call of an allocator; ALLOCATORS in perf/src/profile/callgrind.rs lacks its name"
    );
    Ok(())
}

fn add(counted: &mut Counted, what: &str, counts: &Counts, queries: f64) {
    counted.add(
        format!("{what}: instructions"),
        counts.instructions as f64 / queries,
    );
    counted.add(
        format!("{what}: allocations"),
        counts.allocations as f64 / queries,
    );
}

const MISSING: &str = "valgrind is not installed (Debian's package valgrind)";

fn beside(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    ensure!(
        path.exists(),
        "{} is missing: `cargo build --release -p weir-perf`",
        path.display()
    );
    Ok(path)
}
