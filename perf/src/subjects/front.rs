//! A subject started in front of a server.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use weir_e2e::pki::Pki;
use weir_e2e::place;
use weir_e2e::process::{self, Process};
use weir_e2e::weir::{Start, Weir, quoted};

use super::backend::{Backend, wait_listening};
use super::config::{self, Parts};
use super::{Found, Kind, cpus};

/// SIGTERM to a peer, and how long it may take to end.
const STOP: (i32, Duration) = (15, Duration::from_millis(500));

/// How a subject is to be started.
#[derive(Clone, Debug)]
pub struct Setting<'a> {
    /// Certificates.
    pub pki: &'a Pki,
    /// TLS towards clients.
    pub client_tls: bool,
    /// TLS towards the server, its certificate checked.
    pub server_tls: bool,
    /// Server connections at most.
    pub pool: u32,
    /// Clients at most.
    pub clients: u32,
    /// Threads that serve.
    pub shards: usize,
    /// The CPUs it stays on.
    pub cpus: &'a [usize],
}

/// A running subject; dropping it stops it.
pub struct Front {
    /// Where clients connect.
    pub address: SocketAddr,
    /// Authority of the certificate it shows, where clients use TLS.
    pub ca: Option<PathBuf>,
    running: Running,
}

enum Running {
    Nothing,
    Weir(Box<Weir>),
    Peer(Process, PathBuf),
}

impl Front {
    /// Something that runs already.
    #[must_use]
    pub fn of_user(address: SocketAddr) -> Front {
        Front {
            address,
            ca: None,
            running: Running::Nothing,
        }
    }

    /// The process whose costs are counted, if it was started here.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        match &self.running {
            Running::Nothing => None,
            Running::Weir(weir) => Some(weir.pid()),
            Running::Peer(process, _) => Some(process.pid()),
        }
    }

    /// Stops it; an error when it had ended or panicked before that.
    ///
    /// # Errors
    /// Says what it said last.
    pub fn stop(self) -> Result<()> {
        match self.running {
            Running::Nothing => Ok(()),
            Running::Weir(weir) => {
                let log = weir.log();
                drop(weir);
                let problems = weir_e2e::weir::take_problems();
                if !problems.is_empty() {
                    bail!("{}; it said last: {}", problems.join("; "), last(&log));
                }
                Ok(())
            }
            Running::Peer(mut process, log) => {
                let text = std::fs::read(&log).unwrap_or_default();
                process
                    .check_running()
                    .with_context(|| last(&String::from_utf8_lossy(&text)))?;
                let _ = process.stop(STOP.0, STOP.1);
                Ok(())
            }
        }
    }
}

/// Starts a subject in front of a server.
///
/// # Errors
/// When it doesn't come up: with what it said.
pub fn start(found: &Found, setting: &Setting<'_>, backend: &Backend) -> Result<Front> {
    let ca = setting.client_tls.then(|| setting.pki.ca.clone());
    let (address, running) = match found.kind {
        Kind::Direct | Kind::Target => (backend.address, Running::Nothing),
        Kind::Weir => weir(found, setting, backend, "io_uring")?,
        Kind::WeirEpoll => weir(found, setting, backend, "epoll")?,
        kind => peer(kind, found, setting, backend)?,
    };
    Ok(Front {
        address,
        ca,
        running,
    })
}

/// A folder of its own for each start.
fn own_dir(kind: Kind) -> Result<PathBuf> {
    let name = format!("{}-{}", kind.name(), process::number());
    let dir = place::run_dir()?.join(name);
    std::fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    Ok(dir)
}

fn weir(
    found: &Found,
    setting: &Setting<'_>,
    backend: &Backend,
    io: &str,
) -> Result<(SocketAddr, Running)> {
    let word = |text: &str| format!("\"{text}\"");
    let pair = setting.pki.pair("weir");
    let mut options = vec![
        ("io", word(io)),
        ("shards", setting.shards.to_string()),
        ("max_client_connections", setting.clients.to_string()),
        ("host", word("127.0.0.1")),
        ("port", backend.address.port().to_string()),
        ("database", word(&backend.login.name)),
        ("max_connection_pool_size", setting.pool.to_string()),
    ];
    if setting.client_tls {
        options.push(("tls_certificate", quoted(&pair.cert)));
        options.push(("tls_key", quoted(&pair.key)));
    } else {
        options.push(("client_tls", word("off")));
    }
    if setting.server_tls {
        options.push(("target_ca", quoted(&backend.ca)));
    } else {
        options.push(("target_tls", word("off")));
    }
    let options = options
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value));
    let start = Start {
        program: found.program.clone(),
        dir: own_dir(found.kind)?,
        options: options.collect(),
        deny_io_uring: false,
        extra: String::new(),
        users: vec![(backend.login.name.clone(), backend.login.password.clone())],
    };
    let weir = cpus::on(setting.cpus, || Weir::start(&start))?;
    let address = SocketAddr::from(([127, 0, 0, 1], weir.port));
    Ok((address, Running::Weir(Box::new(weir))))
}

fn peer(
    kind: Kind,
    found: &Found,
    setting: &Setting<'_>,
    backend: &Backend,
) -> Result<(SocketAddr, Running)> {
    let dir = own_dir(kind)?;
    let port = place::free_port()?;
    let parts = Parts {
        dir: &dir,
        port,
        server_port: backend.address.port(),
        database: &backend.login.name,
        password: &backend.login.password,
        client_tls: setting.client_tls,
        server_ca: setting.server_tls.then_some(backend.ca.as_path()),
        pool: setting.pool,
        clients: setting.clients,
        threads: setting.shards,
    };
    if setting.client_tls {
        keys(setting.pki, &dir)?;
    }
    let mut command = command(kind, found, &parts, backend)?;
    process::give(&dir)?;
    let log = dir.join("said");
    let output = std::fs::File::create(&log)?;
    command
        .current_dir(&dir)
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut process = cpus::on(setting.cpus, || Process::start(kind.name(), &mut command))?;
    wait_listening(&mut process, address, kind.name()).with_context(|| {
        let text = std::fs::read(&log).unwrap_or_default();
        format!("it said: {}", last(&String::from_utf8_lossy(&text)))
    })?;
    Ok((address, Running::Peer(process, log)))
}

/// Writes the configuration and gives the command.
fn command(kind: Kind, found: &Found, parts: &Parts<'_>, backend: &Backend) -> Result<Command> {
    let mut command = Command::new(&found.program);
    // The relay may lie where only this user can reach it; none of the others needs root, and two refuse to run as root.
    if kind != Kind::BareRelay {
        command = process::as_unprivileged(command)?;
    }
    match kind {
        Kind::PgBouncer => {
            let login = &backend.login;
            let users = format!("\"{}\" \"{}\"\n", login.name, login.verifier);
            write(parts.dir, "users.txt", &users)?;
            let text = config::pgbouncer(parts, found.keeps_statements());
            command.arg(write(parts.dir, "pgbouncer.ini", &text)?);
        }
        Kind::HaProxy => {
            let path = write(parts.dir, "haproxy.cfg", &config::haproxy(parts))?;
            command.args(["-db", "-f"]).arg(path);
        }
        Kind::PgPool => {
            let path = write(parts.dir, "pgpool.conf", &config::pgpool(parts))?;
            let login = &backend.login;
            let users = format!("{}:TEXT{}\n", login.name, login.password);
            write(parts.dir, "pool_passwd", &users)?;
            let rules = "host all all 127.0.0.0/8 scram-sha-256\n";
            let rules = write(parts.dir, "pool_hba.conf", rules)?;
            command.args(["-n", "-f"]).arg(path).arg("-a").arg(rules);
        }
        Kind::Odyssey => {
            command.arg(write(parts.dir, "odyssey.conf", &config::odyssey(parts))?);
        }
        Kind::BareRelay => {
            command
                .args(["--listen", &format!("127.0.0.1:{}", parts.port)])
                .args(["--to", &backend.address.to_string()])
                .args(["--backends", &parts.pool.to_string()])
                .args(["--user", &backend.login.name]);
        }
        Kind::Direct | Kind::Weir | Kind::WeirEpoll | Kind::Target => {
            bail!("{} is not started from a text", kind.name())
        }
    }
    Ok(command)
}

fn write(dir: &Path, name: &str, text: &str) -> Result<PathBuf> {
    let path = dir.join(name);
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    process::give(&path)?;
    Ok(path)
}

/// The certificate that weir shows, in a place where the peer's user can read it.
fn keys(pki: &Pki, dir: &Path) -> Result<()> {
    let pair = pki.pair("weir");
    for (from, name) in [(&pair.cert, "weir.crt"), (&pair.key, "weir.key")] {
        let to = dir.join(name);
        std::fs::copy(from, &to).with_context(|| from.display().to_string())?;
        process::give(&to)?;
    }
    Ok(())
}

fn last(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(10)..].join("\n")
}
