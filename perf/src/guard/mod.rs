//! The guard: counts per query that are repeatable where time is not, held against the committed values of `guard.toml`.
//!
//! - Instructions and allocations per query of the core alone, driven through its seam under callgrind.
//! - The same of the whole weir in user space (epoll shell: valgrind knows no io_uring), one query in flight.
//! - System calls per query of the real weir (io_uring shell), 1 and 32 in flight in lock step.

mod instructions;
pub mod lockstep;
mod reference;
pub mod started;
mod syscalls;

use std::path::PathBuf;

use anyhow::{Context, Result};
use weir_e2e::place;

/// A count per query.
#[derive(Clone, PartialEq, Debug)]
pub struct Count {
    /// What is counted; the key in `guard.toml`.
    pub name: String,
    /// Per query.
    pub value: f64,
}

/// What the tools of this machine could count, and what they could not.
#[derive(Default)]
pub struct Counted {
    counts: Vec<Count>,
    skipped: Vec<String>,
}

/// What to do with the counts.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Compare with the committed values.
    Check,
    /// Make them the committed values.
    Bless,
}

/// Counts, and checks or blesses. True if nothing got worse. Prints one line for each count, and a closing line of
/// what passed, failed and was skipped.
///
/// # Errors
/// When weir can't be started, a tool fails, or `guard.toml` can't be read or written.
pub fn run(mode: Mode) -> Result<bool> {
    let dir = place::run_dir()?.join("guard");
    let counted = count(&dir);
    let _ = std::fs::remove_dir_all(&dir);
    let counted = counted?;
    let path = reference_file();
    for skipped in &counted.skipped {
        println!("SKIPPED guard: {skipped}");
    }
    if mode == Mode::Bless {
        reference::write(&path, &counted.counts)?;
        println!("{} says now what was counted", path.display());
        return Ok(true);
    }
    let known = reference::read(&path)?;
    let (mut passed, mut failed) = (0, 0);
    for count in &counted.counts {
        let (held, line) = reference::judge(&known, count);
        println!("{line}");
        if held { passed += 1 } else { failed += 1 }
    }
    if failed > 0 {
        println!("if the change is wanted: `weir-perf guard --bless`, and say why in the commit");
    }
    println!(
        "{passed} passed, {failed} failed, {} skipped",
        counted.skipped.len()
    );
    Ok(failed == 0)
}

fn reference_file() -> PathBuf {
    place::checkout().join("perf/guard.toml")
}

fn count(dir: &std::path::Path) -> Result<Counted> {
    std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    let mut counted = Counted::default();
    instructions::core(dir, &mut counted)?;
    instructions::weir(dir, &mut counted)?;
    syscalls::count(dir, &mut counted)?;
    Ok(counted)
}

impl Counted {
    fn add(&mut self, name: String, value: f64) {
        self.counts.push(Count { name, value });
    }

    fn skip(&mut self, what: &str, why: &str) {
        self.skipped.push(format!("{what}: {why}"));
    }
}
