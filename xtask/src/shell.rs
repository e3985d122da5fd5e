//! Running other programs: where the checkout is, commands that echo, and counting what test runners print.
//!
//! Which programs to run is not decided here.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The checkout's top folder.
pub fn root() -> PathBuf {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    manifest
        .parent()
        .map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// A cargo command in the checkout.
pub fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args).current_dir(root());
    command
}

/// Runs a command to its end, its output shown as it comes; an error when it fails.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    let status = command
        .status()
        .with_context(|| format!("can't start `{shown}`"))?;
    if !status.success() {
        bail!("`{shown}` ended with {status}");
    }
    Ok(())
}

/// Runs a command to its end and gives its standard output; an error when it fails.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let out = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("can't start `{shown}`"))?;
    if !out.status.success() {
        bail!("`{shown}` ended with {}", out.status);
    }
    Ok(String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The command as a person would type it.
fn show(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy().into_owned()];
    words.extend(command.get_args().map(|a| a.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Tests passed, failed and skipped.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub struct Counts {
    /// Ran and held.
    pub passed: u64,
    /// Ran and did not hold.
    pub failed: u64,
    /// Did not run.
    pub skipped: u64,
}

impl Counts {
    /// One test that held.
    pub const ONE_PASSED: Counts = Counts {
        passed: 1,
        failed: 0,
        skipped: 0,
    };
    /// One test that did not.
    pub const ONE_FAILED: Counts = Counts {
        passed: 0,
        failed: 1,
        skipped: 0,
    };
    /// One test that could not run.
    pub const ONE_SKIPPED: Counts = Counts {
        passed: 0,
        failed: 0,
        skipped: 1,
    };

    /// Adds another count.
    pub fn add(&mut self, other: Counts) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }
}

/// Runs a command, shows its output, and adds up the counts that it prints: cargo's `test result:` lines and lines
/// of the form `N passed, N failed, N skipped`.
pub fn run_counting(command: &mut Command) -> Result<(bool, Counts)> {
    let shown = show(command);
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start `{shown}`"))?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        copy_counting(stdout, &mut counts)?;
    }
    let status = child.wait()?;
    Ok((status.success(), counts))
}

fn copy_counting(from: impl Read, counts: &mut Counts) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for line in BufReader::new(from).split(b'\n') {
        let line = line?;
        let text = String::from_utf8_lossy(&line);
        if let Some(more) = counts_of(&text) {
            counts.add(more);
        }
        // A count of a part must not be taken for the count of the whole: the closing line is ours.
        let lead = if text.contains(" passed, ") { "  " } else { "" };
        writeln!(out, "{lead}{text}")?;
    }
    Ok(())
}

/// The counts in a test runner's closing line, if it is one.
fn counts_of(line: &str) -> Option<Counts> {
    let cargo = line
        .strip_prefix("test result: ")
        .and_then(|rest| rest.split_once(". "))
        .map(|(_, numbers)| numbers);
    let numbers = cargo.or_else(|| line.contains(" passed, ").then_some(line))?;
    let separator = if cargo.is_some() { ';' } else { ',' };
    let mut counts = Counts::default();
    for part in numbers.split(separator).take(3) {
        let (number, word) = part.trim().split_once(' ')?;
        let number = number.parse().ok()?;
        match word.trim() {
            "passed" => counts.passed = number,
            "failed" => counts.failed = number,
            "skipped" | "ignored" => counts.skipped = number,
            _ => return None,
        }
    }
    Some(counts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_closing_lines() {
        let cargo = "test result: ok. 12 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in 0.01s";
        assert_eq!(
            counts_of(cargo),
            Some(Counts {
                passed: 12,
                failed: 1,
                skipped: 2
            })
        );
        assert_eq!(
            counts_of("3 passed, 0 failed, 4 skipped"),
            Some(Counts {
                passed: 3,
                failed: 0,
                skipped: 4
            })
        );
        assert_eq!(
            counts_of("3 passed, 1 failed"),
            Some(Counts {
                passed: 3,
                failed: 1,
                skipped: 0
            })
        );
        assert_eq!(counts_of("he passed, she failed"), None);
        assert_eq!(counts_of("running 3 tests"), None);
    }
}
