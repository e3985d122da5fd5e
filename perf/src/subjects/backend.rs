//! The server that every subject of a cell stands in front of: the null server, or a real PostgreSQL.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use weir_e2e::pki::Pki;
use weir_e2e::process::Process;
use weir_e2e::server::Server;
use weir_e2e::{block, install, place};

use super::cpus::{self, Cpus};

/// User, database and password of every run: a plain word each, since every peer quotes in a way of its own.
const NAME: &str = "perf";

/// Connections that a real PostgreSQL takes.
const POSTGRES_CONNECTIONS: u32 = 300;

/// Rows of the table that is asked by its key.
pub const ROWS: u64 = 100_000;

/// What clients log in with.
#[derive(Clone, Debug)]
pub struct Login {
    /// Role, and the database by the same name.
    pub name: String,
    /// Password.
    pub password: String,
    /// The SCRAM verifier that the server keeps of it, for proxies that keep no password.
    pub verifier: String,
}

/// A running server; dropping it stops it.
pub struct Backend {
    /// Where it listens.
    pub address: SocketAddr,
    /// Authority of its certificate; it offers TLS to whoever asks.
    pub ca: PathBuf,
    /// Who may log in.
    pub login: Login,
    /// For people.
    pub version: String,
    /// Held for its end.
    _running: Running,
}

#[expect(dead_code, reason = "held until dropped: dropping stops the server")]
enum Running {
    Null(Process),
    Postgres(Box<Server>),
}

impl Backend {
    /// Starts the null server; a query takes `delay`.
    ///
    /// # Errors
    /// When it doesn't come up.
    pub fn null(pki: &Pki, cpus: &Cpus, delay: Duration, weir: &Path) -> Result<Backend> {
        let address = SocketAddr::from(([127, 0, 0, 1], place::free_port()?));
        let cpu = cpus.server.first().context("no CPU for the server")?;
        let pair = pki.pair("server");
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["null-server", "--listen", &address.to_string()])
            .args(["--cpu", &cpu.to_string()])
            .args(["--delay-us", &delay.as_micros().to_string()])
            .arg("--tls-cert")
            .arg(&pair.cert)
            .arg("--tls-key")
            .arg(&pair.key)
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let mut process = Process::start("the null server", &mut command)?;
        wait_listening(&mut process, address, "the null server")?;
        Ok(Backend {
            address,
            ca: pki.ca.clone(),
            login: Login {
                name: NAME.to_owned(),
                password: NAME.to_owned(),
                verifier: verifier(weir)?,
            },
            version: "null server".to_owned(),
            _running: Running::Null(process),
        })
    }

    /// Starts PostgreSQL with TLS and SCRAM, as the unprivileged user, with the tables of the scenarios.
    ///
    /// # Errors
    /// When there is none, or it doesn't come up.
    pub fn postgres(pki: &Pki, cpus: &Cpus) -> Result<Backend> {
        let programs = install::servers::find_any().context("no PostgreSQL server")?;
        let server = cpus::on(&cpus.server, || {
            Server::start(&programs, pki, POSTGRES_CONNECTIONS)
        })?;
        prepare(&server)?;
        let verifier = server.ask(&format!(
            "SELECT rolpassword FROM pg_authid WHERE rolname = '{NAME}'"
        ))?;
        Ok(Backend {
            address: SocketAddr::from(([127, 0, 0, 1], server.port)),
            ca: pki.ca.clone(),
            login: Login {
                name: NAME.to_owned(),
                password: NAME.to_owned(),
                verifier,
            },
            version: format!("PostgreSQL {}", server.ask("SHOW server_version")?),
            _running: Running::Postgres(Box::new(server)),
        })
    }
}

/// The role, the database and its tables.
fn prepare(server: &Server) -> Result<()> {
    let superuser = server.superuser()?;
    let owner = superuser.with_login(NAME, NAME, NAME);
    let tables = format!(
        "CREATE TABLE accounts (aid int PRIMARY KEY, abalance int NOT NULL);
         INSERT INTO accounts SELECT n, 0 FROM generate_series(1, {ROWS}) n;
         CREATE UNLOGGED TABLE sink (line text);
         CREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
         CREATE TRIGGER forget BEFORE INSERT ON sink FOR EACH ROW EXECUTE PROCEDURE forget();
         ANALYZE accounts;"
    );
    block(async move {
        let client = superuser.connect().await?;
        client
            .batch_execute(&format!("CREATE ROLE {NAME} LOGIN PASSWORD '{NAME}'"))
            .await?;
        client
            .batch_execute(&format!("CREATE DATABASE {NAME} OWNER {NAME}"))
            .await?;
        owner.connect().await?.batch_execute(&tables).await?;
        anyhow::Ok(())
    })
}

/// What weir makes of the password: the null server keeps none, and any salt will do.
fn verifier(weir: &Path) -> Result<String> {
    let mut child = Command::new(weir)
        .arg("scram-verifier")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("can't start {}", weir.display()))?;
    let mut stdin = child.stdin.take().context("no standard input")?;
    std::io::Write::write_all(&mut stdin, NAME.as_bytes())?;
    drop(stdin);
    let output = child.wait_with_output()?;
    let text = String::from_utf8(output.stdout)?.trim().to_owned();
    if !text.starts_with("SCRAM-SHA-256$") {
        bail!("weir scram-verifier says {text:?}");
    }
    Ok(text)
}

/// Waits until something listens there; an error when the process ends before that or ten seconds pass.
pub fn wait_listening(process: &mut Process, address: SocketAddr, name: &str) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_err() {
        process.check_running()?;
        if Instant::now() > deadline {
            bail!("{name} does not listen on {address} after 10 s");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}
