//! System calls of a process, counted by `perf stat` on the tracepoint of every call's entry.
//!
//! Counting costs time, so it is done in a load of its own, after the one that is timed.

use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use weir_e2e::process::{self, Process};
use weir_e2e::{install, place};

use crate::load::Moment;

/// The tracepoint.
const EVENT: &str = "raw_syscalls:sys_enter";
/// SIGINT makes perf print what it has counted.
const INTERRUPT: i32 = 2;

/// Why system calls can't be counted on this machine, if they can't.
#[must_use]
pub fn unavailable() -> Option<String> {
    if !install::in_path("perf") {
        return Some("`perf` is not in PATH (Debian's package is linux-perf)".to_owned());
    }
    let tried = Command::new("perf")
        .args(["stat", "-x,", "-e", EVENT, "true"])
        .stdin(Stdio::null())
        .output();
    match tried {
        Ok(output) if counted(&String::from_utf8_lossy(&output.stderr)).is_some() => None,
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stderr).into_owned();
            let line = text.lines().next().unwrap_or_default();
            Some(format!("`perf stat -e {EVENT}` does not work here: {line}"))
        }
        Err(error) => Some(format!("can't start perf: {error}")),
    }
}

/// A perf that is attached and counts between two moments of a load.
pub struct Calls {
    process: Process,
    control: File,
    answers: BufReader<File>,
    output: PathBuf,
    problem: Option<anyhow::Error>,
}

impl Calls {
    /// Attaches to all threads of a process; nothing is counted yet.
    ///
    /// # Errors
    /// When perf does not start.
    pub fn attach(pid: u32) -> Result<Calls> {
        let dir = place::run_dir()?.join(format!("perf-{}", process::number()));
        std::fs::create_dir_all(&dir)?;
        let (control, answers) = (dir.join("control"), dir.join("answers"));
        for fifo in [&control, &answers] {
            let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
            rustix::fs::mknodat(rustix::fs::CWD, fifo, rustix::fs::FileType::Fifo, mode, 0)?;
        }
        let output = dir.join("counts");
        let mut command = Command::new("perf");
        command
            .args([
                "stat",
                "-x,",
                "-e",
                EVENT,
                "-D",
                "-1",
                "-p",
                &pid.to_string(),
            ])
            .arg(format!(
                "--control=fifo:{},{}",
                control.display(),
                answers.display()
            ))
            .arg("-o")
            .arg(&output)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let process = Process::start("perf stat", &mut command)?;
        // Opened for both directions, so that opening waits for nobody.
        let open = |path| File::options().read(true).write(true).open(path);
        Ok(Calls {
            process,
            control: open(&control)?,
            answers: BufReader::new(open(&answers)?),
            output,
            problem: None,
        })
    }

    /// To be called at each of the load's moments.
    pub fn at(&mut self, moment: Moment) {
        let said = match moment {
            Moment::Measuring => self.say("enable"),
            Moment::Measured => self.say("disable"),
            _ => Ok(()),
        };
        if let Err(error) = said {
            self.problem.get_or_insert(error);
        }
    }

    fn say(&mut self, word: &str) -> Result<()> {
        // A perf that has ended would never answer.
        self.process.check_running()?;
        writeln!(self.control, "{word}")?;
        let mut line = String::new();
        self.answers.read_line(&mut line)?;
        if !line.contains("ack") {
            bail!("perf answers {line:?} to {word}");
        }
        Ok(())
    }

    /// What was counted.
    ///
    /// # Errors
    /// When perf failed.
    pub fn finish(mut self) -> Result<u64> {
        if let Some(problem) = self.problem.take() {
            return Err(problem);
        }
        self.process.stop(INTERRUPT, Duration::from_secs(5))?;
        let text = std::fs::read_to_string(&self.output).context("perf wrote nothing")?;
        counted(&text).with_context(|| format!("perf says {text:?}"))
    }
}

/// The count in perf's comma-separated output.
fn counted(text: &str) -> Option<u64> {
    let line = text.lines().find(|line| line.contains(EVENT))?;
    line.split(',').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        let text = "# started on Tue\n\n12345,,raw_syscalls:sys_enter,1000,100.00,,\n";
        assert_eq!(counted(text), Some(12_345));
        assert_eq!(
            counted("<not counted>,,raw_syscalls:sys_enter,0,0.00,,\n"),
            None
        );
        assert_eq!(counted(""), None);
    }
}
