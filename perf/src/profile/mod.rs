//! Where the time goes: what the weir process does while a load runs, as a flame graph and as a table of functions.
//!
//! Samples come from `perf record` by the CPU clock, which needs no hardware counters; instruction counts from callgrind.
//! Which load runs is the caller's business.

pub mod callgrind;
mod flame;
pub mod sample;
mod stacks;
mod table;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub use callgrind::Counts;
pub use sample::Sampling;
pub use stacks::Stacks;

/// Writes `flame.svg` and `functions.txt` into `dir`, which is made if it is missing; gives both paths.
///
/// # Errors
/// When the folder or a file can't be written; names it.
pub fn write(stacks: &Stacks, title: &str, dir: &Path) -> Result<(PathBuf, PathBuf)> {
    std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    let (svg, text) = (dir.join("flame.svg"), dir.join("functions.txt"));
    for (path, content) in [
        (&svg, flame::svg(stacks, title)),
        (&text, format!("{title}\n\n{}", samples(stacks, usize::MAX))),
    ] {
        std::fs::write(path, content).with_context(|| format!("can't write {}", path.display()))?;
    }
    Ok((svg, text))
}

/// The functions with the most samples: in themselves, and with what they call.
#[must_use]
pub fn samples(stacks: &Stacks, most: usize) -> String {
    table::of_stacks(stacks, most)
}

/// The functions with the most instructions in themselves.
#[must_use]
pub fn instructions(counts: &Counts, queries: f64, most: usize) -> String {
    table::of_counts(counts, queries, most)
}
