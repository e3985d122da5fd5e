//! What `valgrind --tool=callgrind` writes, read: instructions by function and calls of allocators.
//!
//! The format: <https://valgrind.org/docs/manual/cl-format.html>, written without compression of names and positions.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

/// Options with which [`Counts::read`] can read what comes out.
const OPTIONS: [&str; 5] = [
    "--tool=callgrind",
    "--compress-strings=no",
    "--compress-pos=no",
    "--dump-instr=no",
    "--combine-dumps=no",
];

/// Entries of the allocators in use: libc's and mimalloc's. Calls from one of these to another are not counted again.
const ALLOCATORS: [&str; 13] = [
    "malloc",
    "calloc",
    "realloc",
    "posix_memalign",
    "aligned_alloc",
    "memalign",
    "mi_malloc",
    "mi_malloc_aligned",
    "mi_calloc",
    "mi_zalloc",
    "mi_zalloc_aligned",
    "mi_realloc",
    "mi_realloc_aligned",
];

/// What one run, or one dump of a run, has cost.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Instructions in all.
    pub instructions: u64,
    /// Calls of an allocator in all.
    pub allocations: u64,
    /// Instructions in the function itself, without what it calls.
    pub functions: HashMap<String, u64>,
}

impl Counts {
    /// Reads a file of callgrind's.
    ///
    /// # Errors
    /// When it can't be read or is another kind of file; names it.
    pub fn read(path: &Path) -> Result<Counts> {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("can't read {}", path.display()))?;
        Counts::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Counts> {
        ensure!(
            text.lines().any(|l| l == "events: Ir"),
            "not a callgrind file that counts instructions alone"
        );
        let mut counts = Counts::default();
        let mut function = String::new();
        let mut callee = "";
        let mut inclusive = false;
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("fn=") {
                function = name.to_owned();
            } else if let Some(name) = line.strip_prefix("cfn=") {
                callee = name;
            } else if let Some(calls) = line.strip_prefix("calls=") {
                counts.called(&function, callee, calls)?;
                inclusive = true;
            } else if line.starts_with(|c: char| c.is_ascii_digit()) {
                // The line after `calls=` is what the callee cost; it stands under the callee's own name too.
                if !std::mem::take(&mut inclusive) {
                    counts.cost(&function, line)?;
                }
            }
        }
        Ok(counts)
    }

    fn called(&mut self, caller: &str, callee: &str, calls: &str) -> Result<()> {
        let count = calls.split(' ').next().and_then(|n| n.parse::<u64>().ok());
        let count = count.with_context(|| format!("calls={calls}"))?;
        if ALLOCATORS.contains(&plain(callee)) && !is_allocator(plain(caller)) {
            self.allocations += count;
        }
        Ok(())
    }

    fn cost(&mut self, function: &str, line: &str) -> Result<()> {
        let cost = line.split(' ').nth(1).unwrap_or("0");
        let cost: u64 = cost.parse().with_context(|| line.to_owned())?;
        self.instructions += cost;
        *self
            .functions
            .entry(plain(function).to_owned())
            .or_default() += cost;
        Ok(())
    }

    /// What came on top of another run of the same program.
    pub fn since(&self, before: &Counts) -> Counts {
        let mut functions = self.functions.clone();
        for (name, cost) in &before.functions {
            if let Some(own) = functions.get_mut(name) {
                *own = own.saturating_sub(*cost);
            }
        }
        functions.retain(|_, cost| *cost > 0);
        Counts {
            instructions: self.instructions.saturating_sub(before.instructions),
            allocations: self.allocations.saturating_sub(before.allocations),
            functions,
        }
    }
}

/// A function's name without the mark of a recursion (`'2`) and of a symbol's version (`@@GLIBC…`).
fn plain(name: &str) -> &str {
    let name = name.split('@').next().unwrap_or(name);
    match name.rsplit_once('\'') {
        Some((plain, number)) if number.parse::<u32>().is_ok() => plain,
        _ => name,
    }
}

fn is_allocator(name: &str) -> bool {
    ALLOCATORS.contains(&name) || name.starts_with("mi_") || name.starts_with("_mi_")
}

/// Whether valgrind is here.
#[must_use]
pub fn present() -> bool {
    Command::new("valgrind")
        .arg("--version")
        .output()
        .is_ok_and(|o| o.status.success())
}

/// The command behind which a program is counted; what it counted goes to `out`, dumps to `out.1`, `out.2` …
#[must_use]
pub fn behind(out: &Path) -> Vec<String> {
    let mut words = vec!["valgrind".to_owned()];
    words.extend(OPTIONS.map(str::to_owned));
    words.push(format!("--callgrind-out-file={}", out.display()));
    words
}

/// Makes callgrind write what it counted since the last dump, and reads it.
///
/// # Errors
/// When callgrind can't be asked, or does not answer within ten seconds.
pub fn dump(pid: u32, out: &Path, number: u32) -> Result<Counts> {
    quiet(
        Command::new("callgrind_control")
            .arg("--dump")
            .arg(pid.to_string()),
    )?;
    let file = PathBuf::from(format!("{}.{number}", out.display()));
    let deadline = Instant::now() + Duration::from_secs(10);
    // The file is whole when its last line is there.
    loop {
        let text = std::fs::read_to_string(&file).unwrap_or_default();
        if text.lines().any(|l| l.starts_with("totals: ")) {
            return Counts::read(&file);
        }
        ensure!(
            Instant::now() < deadline,
            "callgrind wrote no {}",
            file.display()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Runs a command; its output is shown only if it fails.
///
/// # Errors
/// When it can't be started or fails; with what it said.
pub fn quiet(command: &mut Command) -> Result<()> {
    let name = command.get_program().display().to_string();
    let out = command
        .output()
        .with_context(|| format!("can't start {name}"))?;
    ensure!(
        out.status.success(),
        "{name} ended with {}:\n{}{}",
        out.status,
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "# callgrind format\nversion: 1\ncreator: callgrind-3.19.0\npositions: line\nevents: Ir\nsummary: 1500\n\n\
        ob=/bin/x\nfl=main.rs\nfn=main\n10 100\ncob=/lib/libc.so\ncfi=malloc.c\ncfn=malloc\ncalls=3 0\n12 900\n13 50\n\
        \nfl=lib.rs\nfn=work'2\n7 400\n\nfl=malloc.c\nfn=malloc\n0 850\ncfn=mi_malloc\ncalls=9 0\n0 50\n\
        fn=mi_malloc_aligned\n1 100\ncfn=malloc\ncalls=2 1\n1 20\n\ntotals: 1500\n";

    #[test]
    fn self_costs_and_allocations_are_added_up() {
        let counts = Counts::parse(FILE).unwrap();
        assert_eq!(counts.instructions, 1500);
        assert_eq!(counts.allocations, 3);
        assert_eq!(counts.functions["main"], 150);
        assert_eq!(counts.functions["work"], 400);
        assert_eq!(counts.functions["malloc"], 850);
    }

    #[test]
    fn a_difference_leaves_what_came_on_top() {
        let before = Counts::parse(FILE).unwrap();
        let after =
            Counts::parse(&FILE.replace("7 400", "7 900").replace("calls=3", "calls=5")).unwrap();
        let more = after.since(&before);
        assert_eq!((more.instructions, more.allocations), (500, 2));
        assert_eq!(more.functions.len(), 1);
        assert_eq!(more.functions["work"], 500);
    }

    #[test]
    fn another_file_is_refused() {
        assert!(Counts::parse("events: Ir Dr\n").is_err());
        assert!(Counts::parse("events: Ir\nfn=x\n10 many\n").is_err());
    }
}
