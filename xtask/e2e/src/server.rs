//! A PostgreSQL server of a run: its data folder, TLS, users, and how it is asked about itself.
//!
//! Where its programs come from is the business of [`crate::install`].

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::endpoint::{Endpoint, value};
use crate::install::Programs;
use crate::pki::{Pair, Pki};
use crate::process::{self, Process};
use crate::{block, place};

/// The usual login, and others beside it. Names, passwords and how the server keeps them.
pub const USER: &str = "app";
/// Password of [`USER`]: with characters that a careless proxy would mangle.
pub const PASSWORD: &str = "s3cret, pässwörd'\"\\ of app";
/// The usual database.
pub const DATABASE: &str = "app";
/// Users and passwords, the usual login first.
pub const LOGINS: &[(&str, &str)] = &[
    (USER, PASSWORD),
    ("other", "other's"),
    ("cleartext", "clear"),
    ("trusted", "never asked for"),
    ("md5user", "md5's"),
];
/// Password of the superuser `postgres`.
const SUPERUSER_PASSWORD: &str = "only for the tests";

const SETUP: &str = "
CREATE ROLE app LOGIN PASSWORD 's3cret, pässwörd''\"\\ of app';
CREATE ROLE other LOGIN PASSWORD 'other''s';
CREATE ROLE cleartext LOGIN PASSWORD 'clear';
CREATE ROLE trusted LOGIN;
SET password_encryption = 'md5';
CREATE ROLE md5user LOGIN PASSWORD 'md5''s';
RESET password_encryption;
";

/// A running server; dropping it stops it.
#[derive(Debug)]
pub struct Server {
    /// 10, 13, 15, 18.
    pub major: u32,
    /// Port on 127.0.0.1.
    pub port: u16,
    /// Authority of its certificate.
    pub ca: PathBuf,
    dir: PathBuf,
    process: Mutex<Process>,
}

impl Server {
    /// Makes a data folder, starts the server and creates users and databases.
    pub fn start(programs: &Programs, pki: &Pki, max_connections: u32) -> Result<Server> {
        Server::start_with(programs, pki, max_connections, "server")
    }

    /// The same with another certificate of the authority; one for another host leaves the server without its users.
    pub fn start_with(
        programs: &Programs,
        pki: &Pki,
        max_connections: u32,
        certificate: &str,
    ) -> Result<Server> {
        let dir = place::run_dir()?.join(format!("pg{}-{}", programs.major, process::number()));
        std::fs::create_dir_all(&dir)?;
        let data = dir.join("data");
        process::give(&dir)?;
        init(programs, &dir, &data)?;
        let port = place::free_port()?;
        configure(&data, &dir, port, &pki.pair(certificate), max_connections)?;
        let process = Mutex::new(launch(programs, &dir)?);
        let server = Server {
            major: programs.major,
            port,
            ca: pki.ca.clone(),
            dir,
            process,
        };
        if certificate == "server" {
            server.wait_ready()?;
            server.set_up()?;
        }
        Ok(server)
    }

    /// Stops the server, does something meanwhile, and starts it again on the same data and port.
    pub fn restart(
        &self,
        programs: &Programs,
        meanwhile: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        self.process().stop(libc::SIGINT, Duration::from_secs(20))?;
        meanwhile()?;
        *self.process() = launch(programs, &self.dir)?;
        self.wait_ready()
    }

    fn process(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The usual login at the server itself.
    pub fn endpoint(&self) -> Result<Endpoint> {
        Endpoint::new(self.port, self.ca.clone(), USER, PASSWORD, DATABASE)
    }

    /// The superuser at the server itself.
    pub fn superuser(&self) -> Result<Endpoint> {
        Endpoint::new(
            self.port,
            self.ca.clone(),
            "postgres",
            SUPERUSER_PASSWORD,
            "postgres",
        )
    }

    /// One value, asked by the superuser on a connection of its own.
    pub fn ask(&self, sql: &str) -> Result<String> {
        let endpoint = self.superuser()?;
        block(async move { value(&endpoint.connect().await?, sql).await })
    }

    /// How many connections of clients the server has now, the asking one and its own workers not counted.
    pub fn connections(&self) -> Result<u64> {
        let sql = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND usename <> 'postgres'";
        Ok(self.ask(sql)?.parse()?)
    }

    /// The server's last log lines.
    pub fn log_tail(&self) -> String {
        let text = std::fs::read(self.dir.join("log"))
            .map(|b| String::from_utf8_lossy(&b).into_owned())
            .unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines
            .get(lines.len().saturating_sub(40)..)
            .unwrap_or_default()
            .join("\n")
    }

    fn wait_ready(&self) -> Result<()> {
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            self.process()
                .check_running()
                .with_context(|| self.log_tail())?;
            match self.ask("SELECT 1") {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => {
                    bail!(
                        "PostgreSQL {} is not ready after a minute: {error:#}\n{}",
                        self.major,
                        self.log_tail()
                    )
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }

    fn set_up(&self) -> Result<()> {
        let endpoint = self.superuser()?;
        let schema = "GRANT ALL ON SCHEMA public TO app; GRANT ALL ON SCHEMA public TO other;";
        block(async move {
            let client = endpoint.connect().await?;
            client.batch_execute(SETUP).await?;
            for database in ["app", "second"] {
                client
                    .batch_execute(&format!("CREATE DATABASE {database} OWNER app"))
                    .await?;
                let inside = endpoint.with_login(&endpoint.user, &endpoint.password, database);
                inside.connect().await?.batch_execute(schema).await?;
            }
            Ok(())
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // SIGINT: the server's fast shutdown.
        let _ = self.process().stop(libc::SIGINT, Duration::from_secs(5));
    }
}

fn launch(programs: &Programs, dir: &Path) -> Result<Process> {
    let output = std::fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))?;
    let mut command = programs.command("postgres")?;
    command
        .arg("-D")
        .arg(dir.join("data"))
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output);
    command.current_dir(dir);
    Process::start(&format!("PostgreSQL {}", programs.major), &mut command)
}

fn init(programs: &Programs, dir: &Path, data: &Path) -> Result<()> {
    let password = dir.join("password");
    std::fs::write(&password, SUPERUSER_PASSWORD)?;
    process::give(&password)?;
    let mut command = programs.command("initdb")?;
    command.arg("-D").arg(data).args([
        "-U",
        "postgres",
        "-A",
        "scram-sha-256",
        "-E",
        "UTF8",
        "--no-sync",
    ]);
    command
        .args(["--locale=C"])
        .arg(format!("--pwfile={}", password.display()))
        .current_dir(dir);
    let (status, output) = process::run_to_end("initdb", &mut command, Duration::from_secs(120))?;
    if !status.success() {
        bail!("initdb of PostgreSQL {} failed: {output}", programs.major);
    }
    Ok(())
}

fn configure(data: &Path, dir: &Path, port: u16, pair: &Pair, max_connections: u32) -> Result<()> {
    for (from, to) in [(&pair.cert, "server.crt"), (&pair.key, "server.key")] {
        let to = data.join(to);
        std::fs::copy(from, &to)?;
        std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600))?;
        process::give(&to)?;
    }
    let settings = format!(
        "\nlisten_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{}'\nssl = on\n\
         max_connections = {max_connections}\nsuperuser_reserved_connections = 3\npassword_encryption = 'scram-sha-256'\n\
         fsync = off\nsynchronous_commit = off\nfull_page_writes = off\nshared_buffers = '32MB'\n\
         log_line_prefix = '%m [%p] %u@%d '\nmax_prepared_transactions = 4\n",
        dir.display()
    );
    let path = data.join("postgresql.conf");
    let old = std::fs::read_to_string(&path)?;
    std::fs::write(&path, old + &settings)?;
    let rules = "host all md5user 127.0.0.1/32 md5\nhost all cleartext 127.0.0.1/32 password\n\
                 host all trusted 127.0.0.1/32 trust\nhost all all 127.0.0.0/8 scram-sha-256\n";
    std::fs::write(data.join("pg_hba.conf"), rules)?;
    Ok(())
}
