//! A running weir: how it is started, asked and stopped.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

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
    /// What it was started with, for a reload.
    start: Option<Start>,
}

/// What a weir of a run is made of.
#[derive(Clone, Debug)]
pub struct Start {
    /// The program.
    pub program: PathBuf,
    /// Where its config, log and password files go.
    pub dir: PathBuf,
    /// Keys and values of its config (values as TOML); a later one replaces an earlier one, an empty one takes it out.
    pub options: Vec<(String, String)>,
    /// Deny io_uring to it, as a container's system call filter does.
    pub deny_io_uring: bool,
    /// Text that is put at the end of the config as it is.
    pub extra: String,
    /// Users that may log in, each with its password.
    pub users: Vec<(String, String)>,
}

/// Keys of the config that are not of the target group.
const PROXY_KEYS: &[&str] = &[
    "io",
    "shards",
    "max_client_connections",
    "idle_client_timeout",
    "login_timeout",
    "transaction_timeout",
    "idle_in_transaction_timeout",
    "drain_timeout",
    "log_format",
    "log_level",
    "metrics_listen",
];
const LISTENER_KEYS: &[&str] = &[
    "listen",
    "client_tls",
    "tls_certificate",
    "tls_key",
    "client_auth",
];

impl Start {
    /// Adds or replaces an option.
    pub fn option(&mut self, key: &str, value: &str) {
        self.options.push((key.to_owned(), value.to_owned()));
    }

    /// The config's text.
    fn config(&self) -> Result<String> {
        let mut sections = [
            String::from("[proxy]\n"),
            String::from("[[listeners]]\n"),
            String::from("[[target_groups]]\n"),
        ];
        let values: std::collections::BTreeMap<_, _> = self.options.iter().cloned().collect();
        for (key, value) in values.iter().filter(|(_, value)| !value.is_empty()) {
            let section = match key.as_str() {
                key if PROXY_KEYS.contains(&key) => 0,
                key if LISTENER_KEYS.contains(&key) => 1,
                _ => 2,
            };
            sections[section].push_str(&format!("{key} = {value}\n"));
        }
        let mut text = sections.join("\n");
        for (number, (name, password)) in self.users.iter().enumerate() {
            let file = self.dir.join(format!("password-{number}"));
            std::fs::write(&file, password)?;
            std::fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
            text.push_str(&format!(
                "\n[[users]]\nname = \"{name}\"\npassword_file = {}\n",
                quoted(&file)
            ));
        }
        text.push_str(&self.extra);
        Ok(text)
    }

    fn write_config(&self) -> Result<PathBuf> {
        let path = self.dir.join("weir.toml");
        std::fs::write(&path, self.config()?)?;
        Ok(path)
    }
}

/// A path as TOML.
pub fn quoted(path: &Path) -> String {
    format!(
        "\"{}\"",
        path.display()
            .to_string()
            .replace('\\', "\\\\")
            .replace('"', "\\\"")
    )
}

impl Weir {
    /// Starts `weir run --config …` and waits until it listens.
    pub fn start(start: &Start) -> Result<Weir> {
        let (port, metrics_port) = (place::free_port()?, place::free_port()?);
        let mut whole = start.clone();
        whole
            .options
            .insert(0, ("listen".to_owned(), format!("\"127.0.0.1:{port}\"")));
        whole.options.insert(
            0,
            (
                "metrics_listen".to_owned(),
                format!("\"127.0.0.1:{metrics_port}\""),
            ),
        );
        let config = whole.write_config()?;
        let mut command = Command::new(&start.program);
        command.args(["run", "--config"]).arg(config);
        if start.deny_io_uring {
            crate::process::deny_io_uring(&mut command);
        }
        let mut weir = Weir::launch(command, port, metrics_port, &start.dir)?;
        weir.start = Some(whole);
        Ok(weir)
    }

    /// Changes options and users in the config and asks for a reload (SIGHUP).
    pub fn reload(&mut self, change: impl FnOnce(&mut Start)) -> Result<()> {
        let start = self.start.as_mut().context("not started with a config")?;
        change(start);
        start.write_config()?;
        self.process.signal(libc::SIGHUP);
        Ok(())
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
            start: None,
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
