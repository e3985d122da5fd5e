//! A running weir: how it is started, asked and stopped.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::endpoint::Endpoint;
use crate::place;
use crate::process::Process;

/// What went wrong with a weir that nobody was looking at: it ended by itself, or panicked.
static PROBLEMS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Takes the problems noted since the last call.
pub fn take_problems() -> Vec<String> {
    std::mem::take(
        &mut *PROBLEMS
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner),
    )
}

/// A running weir; dropping it stops it and notes if it had ended by itself.
#[derive(Debug)]
pub struct Weir {
    /// Where clients connect.
    pub port: u16,
    /// Where its metrics are.
    pub metrics_port: u16,
    log: PathBuf,
    process: Process,
    /// It was told to stop, or is expected to end.
    stopping: bool,
}

/// What every weir of a run gets on its command line.
#[derive(Debug)]
pub struct Start<'a> {
    /// `auto`, `io_uring` or `epoll`.
    pub io: &'a str,
    /// Threads.
    pub shards: u16,
    /// The server and login it uses.
    pub target: &'a Endpoint,
    /// Certificate for clients, PEM.
    pub cert: &'a Path,
    /// Its key, PEM.
    pub key: &'a Path,
    /// Where its log and password file go.
    pub dir: &'a Path,
    /// Further options; one that is named here replaces the usual one.
    pub options: &'a [&'a str],
}

impl Weir {
    /// Starts `weir run --target …` and waits until it listens.
    pub fn start(start: &Start) -> Result<Weir> {
        let (port, metrics_port) = (place::free_port()?, place::free_port()?);
        let password = start.dir.join("password");
        std::fs::write(&password, &start.target.password)?;
        let target = start.target;
        let mut options = vec![
            (
                "--target",
                format!(
                    "postgres://{}@127.0.0.1:{}/{}",
                    target.user, target.port, target.database
                ),
            ),
            ("--password-file", password.display().to_string()),
            ("--listen", format!("127.0.0.1:{port}")),
            ("--metrics-listen", format!("127.0.0.1:{metrics_port}")),
            ("--target-ca", target.ca.display().to_string()),
            ("--tls-cert", start.cert.display().to_string()),
            ("--tls-key", start.key.display().to_string()),
            ("--io", start.io.to_owned()),
            ("--shards", start.shards.to_string()),
        ];
        options.retain(|(name, _)| !start.options.contains(name));
        let mut command = Command::new(place::weir_binary());
        command.arg("run").args(
            options
                .iter()
                .flat_map(|(name, value)| [*name, value.as_str()]),
        );
        command.args(start.options);
        Weir::launch(command, port, metrics_port, start.dir)
    }

    /// Starts `weir run --config FILE`. The ports are those that the file names.
    pub fn start_with_config(
        config: &Path,
        port: u16,
        metrics_port: u16,
        dir: &Path,
    ) -> Result<Weir> {
        let mut command = Command::new(place::weir_binary());
        command.args(["run", "--config"]).arg(config);
        Weir::launch(command, port, metrics_port, dir)
    }

    /// Starts a prepared command and waits until the port answers.
    pub fn launch(mut command: Command, port: u16, metrics_port: u16, dir: &Path) -> Result<Weir> {
        let log = dir.join(format!("weir-{port}.log"));
        let output = std::fs::File::create(&log)?;
        command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output);
        let process = Process::start("weir", &mut command)?;
        let mut weir = Weir {
            port,
            metrics_port,
            log,
            process,
            stopping: false,
        };
        let deadline = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if let Err(error) = weir.process.check_running() {
                weir.stopping = true;
                bail!("{error:#}; it said:\n{}", weir.log());
            }
            if Instant::now() > deadline {
                bail!("weir does not listen after 20 s; it said:\n{}", weir.log());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(weir)
    }

    /// Everything that it has logged.
    pub fn log(&self) -> String {
        std::fs::read(&self.log)
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default()
    }

    /// Resident memory, bytes.
    pub fn memory(&self) -> Result<u64> {
        self.process.memory()
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Sends a signal.
    pub fn signal(&mut self, signal: i32) {
        self.stopping |= signal == libc::SIGTERM || signal == libc::SIGINT;
        self.process.signal(signal);
    }

    /// Waits for its end after a signal.
    pub fn wait(&mut self, most: Duration) -> Result<ExitStatus> {
        self.process.wait(most)
    }

    /// Whether it has ended.
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.process.try_wait()?.is_some())
    }

    /// The metrics page.
    pub fn metrics(&self) -> Result<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics_port))?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream
            .write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        ensure!(
            text.starts_with("HTTP/1.1 200"),
            "the metrics page answers {:?}",
            text.lines().next()
        );
        Ok(text)
    }

    /// A metric's value, all its labels added up.
    pub fn metric(&self, name: &str) -> Result<f64> {
        let text = self.metrics()?;
        let mut sum = None;
        for line in text.lines().filter(|l| !l.starts_with('#')) {
            let Some((key, value)) = line.rsplit_once(' ') else {
                continue;
            };
            if key.split('{').next() == Some(name) {
                sum = Some(sum.unwrap_or(0.0) + value.parse::<f64>().context(line.to_owned())?);
            }
        }
        sum.with_context(|| format!("no metric {name}"))
    }
}

impl Drop for Weir {
    fn drop(&mut self) {
        let mut problems = Vec::new();
        if !self.stopping
            && let Ok(Some(status)) = self.process.try_wait()
        {
            problems.push(format!("weir ended by itself: {status}"));
        }
        let log = self.log();
        problems.extend(
            log.lines()
                .filter(|l| l.contains("panicked at"))
                .map(|l| format!("weir: {l}")),
        );
        let _ = self.process.stop(libc::SIGKILL, Duration::from_secs(5));
        PROBLEMS
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .extend(problems);
    }
}
