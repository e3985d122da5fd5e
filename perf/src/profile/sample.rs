//! Sampling a process with `perf record`, from outside, while something else makes it work.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::stacks::Stacks;

/// Samples a second and CPU: not a divisor of the timers that weir and the kernel have.
const FREQUENCY: &str = "997";

/// How long perf gets to attach.
const ATTACH: Duration = Duration::from_millis(700);

/// A process being sampled.
pub struct Sampling {
    recorder: Child,
    data: PathBuf,
}

impl Sampling {
    /// Starts sampling all threads of a process; `dir` is for perf's own file.
    ///
    /// # Errors
    /// When perf is missing or may not look at the process; says what to do.
    pub fn start(pid: u32, dir: &Path) -> Result<Sampling> {
        std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
        let data = dir.join("perf.data");
        let mut recorder = Command::new("perf")
            .args(["record", "--quiet", "--event", "cpu-clock", "--freq", FREQUENCY])
            // The release build has no frame pointers; a small part of the stack is enough, since weir's is shallow.
            .args(["--call-graph", "dwarf,8192", "--pid", &pid.to_string(), "--output"])
            .arg(&data)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("can't start perf (Debian's package linux-perf); `--callgrind` needs valgrind instead")?;
        std::thread::sleep(ATTACH);
        if recorder.try_wait()?.is_some() {
            let said = recorder.wait_with_output()?.stderr;
            bail!(
                "perf can't sample process {pid}: {}\nrun as root, or set kernel.perf_event_paranoid to 1; `--callgrind` needs neither",
                String::from_utf8_lossy(&said).trim()
            );
        }
        Ok(Sampling { recorder, data })
    }

    /// Stops sampling and reads what was seen.
    ///
    /// # Errors
    /// When perf can't be stopped or its output can't be read.
    pub fn finish(self) -> Result<Stacks> {
        let pid = self.recorder.id().to_string();
        let asked = Command::new("kill").args(["-INT", &pid]).status();
        ensure!(asked.is_ok_and(|s| s.success()), "can't interrupt perf");
        self.recorder.wait_with_output()?;
        let out = Command::new("perf")
            // Inlined frames would take minutes, and say little that lines do not.
            .args(["script", "--no-inline", "-F", "comm,tid,ip,sym,dso", "-i"])
            .arg(&self.data)
            .stdin(Stdio::null())
            .output()
            .context("can't start perf script")?;
        ensure!(
            out.status.success(),
            "perf script: {}",
            String::from_utf8_lossy(&out.stderr)
        );
        let stacks = Stacks::parse(&String::from_utf8_lossy(&out.stdout));
        ensure!(
            stacks.samples > 0,
            "perf took no sample: the process was idle"
        );
        Ok(stacks)
    }
}
