//! System calls per query of the real weir, counted by `perf stat`, or by `strace` where perf can't.
//!
//! weir and both its sides share one CPU, and weir does not preempt (SCHED_BATCH): it runs when everything for a round has
//! been written. So the batches it sees, and with them its calls, are the same every time.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::Counted;
use super::lockstep::SIMPLE;
use super::started::start;

/// Queries in flight, and rounds that are counted.
const RUNS: [(usize, usize); 2] = [(1, 5_000), (32, 500)];

/// Rounds before counting starts.
const WARM_UP: usize = 50;

/// How long the counting tool gets to attach.
const ATTACH: Duration = Duration::from_millis(500);

/// Counts; skips by name where no tool works.
pub fn count(dir: &Path, counted: &mut Counted) -> Result<()> {
    let Some(tool) = Tool::of_this_machine() else {
        counted.skip(
            "system calls of weir",
            "neither `perf stat -e raw_syscalls:sys_enter` (Debian's package linux-perf, as root) nor strace works here",
        );
        return Ok(());
    };
    let before = ["chrt", "--batch", "0", "taskset", "--cpu-list", "0"].map(str::to_owned);
    let _pinned = Pinned::to_first_cpu()?;
    for (width, rounds) in RUNS {
        let mut started = start(
            &dir.join(format!("wide-{width}")),
            &before,
            "io_uring",
            width,
        )?;
        started.steps.begin(&SIMPLE)?;
        started.steps.rounds(&SIMPLE, WARM_UP)?;
        let counting = tool.attach(started.weir.pid())?;
        std::thread::sleep(ATTACH);
        started.steps.rounds(&SIMPLE, rounds)?;
        let calls = tool.finish(counting)?;
        let queries = (width * rounds) as f64;
        counted.add(
            format!("weir with io_uring, {width} in flight: system calls"),
            calls as f64 / queries,
        );
    }
    Ok(())
}

/// This thread on the first CPU; dropping it gives the thread its CPUs back.
struct Pinned {
    thread: String,
    before: String,
}

impl Pinned {
    fn to_first_cpu() -> Result<Pinned> {
        let link = std::fs::read_link("/proc/thread-self")?;
        let thread = link.file_name().context("/proc/thread-self")?;
        let thread = thread.to_string_lossy().into_owned();
        let status = std::fs::read_to_string("/proc/thread-self/status")?;
        let before = status
            .lines()
            .find_map(|l| l.strip_prefix("Cpus_allowed_list:"))
            .context("Cpus_allowed_list")?
            .trim()
            .to_owned();
        let pinned = Pinned { thread, before };
        pinned.set("0")?;
        Ok(pinned)
    }

    fn set(&self, cpus: &str) -> Result<()> {
        let out = Command::new("taskset")
            .args(["--cpu-list", "--pid", cpus, &self.thread])
            .output()
            .context("can't start taskset (Debian's package util-linux)")?;
        if !out.status.success() {
            bail!("taskset: {}", String::from_utf8_lossy(&out.stderr));
        }
        Ok(())
    }
}

impl Drop for Pinned {
    fn drop(&mut self) {
        let _ = self.set(&self.before);
    }
}

/// What counts system calls here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tool {
    Perf,
    Strace,
}

impl Tool {
    fn of_this_machine() -> Option<Tool> {
        let works = |command: &mut Command| command.output().is_ok_and(|o| o.status.success());
        let perf = ["stat", "-e", "raw_syscalls:sys_enter", "true"];
        if works(Command::new("perf").args(perf)) {
            return Some(Tool::Perf);
        }
        works(Command::new("strace").args(["-c", "true"])).then_some(Tool::Strace)
    }

    fn attach(self, pid: u32) -> Result<Child> {
        let pid = pid.to_string();
        let mut command = match self {
            Tool::Perf => Command::new("perf"),
            Tool::Strace => Command::new("strace"),
        };
        match self {
            Tool::Perf => command.args([
                "stat",
                "-x",
                ";",
                "-e",
                "raw_syscalls:sys_enter",
                "-p",
                &pid,
            ]),
            Tool::Strace => command.args(["-c", "-f", "-p", &pid]),
        };
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("can't start the counting tool")
    }

    fn finish(self, counting: Child) -> Result<u64> {
        let pid = counting.id().to_string();
        let asked = Command::new("kill").args(["-INT", &pid]).status();
        if !asked.is_ok_and(|s| s.success()) {
            bail!("can't interrupt the counting tool");
        }
        let out = counting.wait_with_output()?;
        let text = String::from_utf8_lossy(&out.stderr);
        let calls = match self {
            Tool::Perf => perf_count(&text),
            Tool::Strace => strace_count(&text),
        };
        calls.with_context(|| format!("the counting tool said:\n{text}"))
    }
}

/// `25000;;raw_syscalls:sys_enter;…`
fn perf_count(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find(|l| l.contains("raw_syscalls:sys_enter"))?;
    line.split(';').next()?.trim().parse().ok()
}

/// The closing line of the summary: share, seconds, µs per call, calls, errors, `total`; a share may be missing.
fn strace_count(text: &str) -> Option<u64> {
    let line = text.lines().rfind(|l| l.trim_end().ends_with(" total"))?;
    line.split_whitespace().nth(3)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_tools() {
        assert_eq!(
            perf_count("25012;;raw_syscalls:sys_enter;812;100.00;;\n"),
            Some(25_012)
        );
        assert_eq!(
            perf_count("<not counted>;;raw_syscalls:sys_enter;0;100.00;;\n"),
            None
        );
        let strace = "strace: Process 7 attached\n% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.001000           0     10012         3 io_uring_enter\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.001000           0     10012         3 total\n";
        assert_eq!(strace_count(strace), Some(10_012));
    }
}
