//! The choice between io_uring and epoll, and the command line.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::case::{Case, Plan, Setting, case};
use crate::endpoint::Endpoint;
use crate::place;
use crate::process::run_to_end;
use crate::raw::Raw;
use crate::weir::Weir;

/// The cases.
pub const CASES: &[Case] = &[
    case(
        "shells/denied_io_uring_falls_back_with_one_warning",
        Plan::Once,
        falls_back,
    ),
    case(
        "shells/denied_io_uring_is_an_error_when_asked_for",
        Plan::Once,
        asked_for_but_denied,
    ),
    case(
        "shells/auto_takes_io_uring_where_it_works",
        Plan::Once,
        auto_takes_io_uring,
    ),
    case("front/one_line", Plan::Shells { shards: 1 }, one_line),
    case(
        "front/self_made_certificate",
        Plan::Once,
        self_made_certificate,
    ),
    case("front/no_secret_in_any_log", Plan::Once, no_secret),
];

/// A weir that may not use io_uring, by a filter of system calls as containers have it.
fn denied(setting: &Setting, io: &str) -> Result<Weir> {
    let target = setting.server.endpoint()?;
    let mut start = setting.start(&target);
    start.option("io", &format!("\"{io}\""));
    start.deny_io_uring = true;
    Weir::start(&start)
}

fn falls_back(setting: &Setting) -> Result<()> {
    let weir = denied(setting, "auto")?;
    let target = setting.server.endpoint()?;
    let endpoint = Endpoint::new(
        weir.port,
        setting.pki.ca.clone(),
        &target.user,
        &target.password,
        &target.database,
    )?;
    for n in 0..20 {
        ensure!(Raw::login(&endpoint)?.value(&format!("SELECT {n}"))? == n.to_string());
    }
    let log = weir.log();
    let warnings: Vec<&str> = log
        .lines()
        .filter(|l| l.to_lowercase().contains("warn") && l.contains("io_uring"))
        .collect();
    ensure!(
        warnings.len() == 1,
        "{} warnings: {warnings:?}",
        warnings.len()
    );
    ensure!(
        weir.metrics()?.contains("epoll"),
        "no metric says that epoll is used"
    );
    Ok(())
}

fn asked_for_but_denied(setting: &Setting) -> Result<()> {
    let Err(error) = denied(setting, "io_uring") else {
        bail!("weir started without io_uring")
    };
    let text = format!("{error:#}");
    ensure!(
        text.contains("has ended") && text.contains("io_uring"),
        "{text}"
    );
    Ok(())
}

fn auto_takes_io_uring(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("io", "\"auto\"")])?;
    Raw::login(&front.endpoint)?.run("SELECT 1")?;
    let pid = front.weir()?.pid();
    let descriptors = std::fs::read_dir(format!("/proc/{pid}/fd"))?;
    let rings = descriptors
        .flatten()
        .filter_map(|e| std::fs::read_link(e.path()).ok());
    let ring = rings
        .into_iter()
        .any(|link| link.to_string_lossy().contains("io_uring"));
    ensure!(ring, "weir has no ring: {}", front.weir()?.log());
    Ok(())
}

/// The command line of the README, without a file.
fn one_line(setting: &Setting) -> Result<()> {
    let target = setting.server.endpoint()?;
    let (port, metrics) = (place::free_port()?, place::free_port()?);
    let password = setting.dir.join("password");
    std::fs::write(&password, format!("{}\n", target.password))?;
    let pair = setting.pki.pair("weir");
    let mut command = Command::new(place::weir_binary());
    command.args([
        "run",
        "--target",
        &format!("postgres://app@127.0.0.1:{}/app", target.port),
        "--password-file",
    ]);
    command.arg(&password).args([
        "--listen",
        &format!("127.0.0.1:{port}"),
        "--io",
        setting.io,
        "--shards",
        "1",
    ]);
    command.args([
        "--metrics-listen",
        &format!("127.0.0.1:{metrics}"),
        "--max-connection-pool-size",
        "2",
    ]);
    command.args([
        "--min-connection-pool-size",
        "2",
        "--borrow-timeout",
        "1.5",
        "--max-client-connections",
        "50",
    ]);
    command
        .args(["--log-format", "json"])
        .arg("--target-ca")
        .arg(&target.ca);
    command
        .arg("--tls-cert")
        .arg(&pair.cert)
        .arg("--tls-key")
        .arg(&pair.key);
    let weir = Weir::launch(command, port, metrics, &setting.dir)?;
    let endpoint = Endpoint::new(
        port,
        setting.pki.ca.clone(),
        &target.user,
        &target.password,
        &target.database,
    )?;
    let mut clients = (0..3)
        .map(|_| Raw::login(&endpoint))
        .collect::<Result<Vec<_>>>()?;
    for raw in clients.iter_mut().take(2) {
        raw.run("BEGIN")?;
    }
    let error = clients[2].query("SELECT 1")?.error.unwrap_or_default();
    ensure!(error.starts_with("08000"), "{error}");
    for line in weir.log().lines() {
        ensure!(
            line.starts_with('{') && line.ends_with('}'),
            "not a line of JSON: {line}"
        );
    }
    Ok(())
}

fn self_made_certificate(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("tls_certificate", ""), ("tls_key", "")])?;
    let weir = front.weir_if_any().context("no weir")?;
    super::until("the fingerprint is logged", Duration::from_secs(3), || {
        let log = weir.log();
        Ok((log.to_lowercase().contains("fingerprint"), log))
    })?;
    if place_has_psql() {
        let mut psql = Command::new("psql");
        psql.args(["-X", "-A", "-t", "-c", "SELECT 'over TLS'"])
            .envs(front.endpoint.environment())
            .env("PGSSLMODE", "require");
        psql.env_remove("PGSSLROOTCERT");
        let (status, output) = run_to_end("psql", &mut psql, Duration::from_secs(20))?;
        ensure!(status.success() && output.contains("over TLS"), "{output}");
    }
    Ok(())
}

fn place_has_psql() -> bool {
    crate::install::in_path("psql")
}

/// Whatever happens, no password, verifier or statement's text is in a log, an argument or the environment.
fn no_secret(setting: &Setting) -> Result<()> {
    let mut front =
        setting.front(&[("log_level", "\"debug\""), ("client_auth", "\"cleartext\"")])?;
    let mut raw = Raw::login(&front.endpoint)?;
    raw.query("SELECT 'statement_text_marker'; SET work_mem = '5MB'")?;
    let wrong = front
        .endpoint
        .with_login("app", "wrong_password_marker", "app");
    ensure!(Raw::login(&wrong).is_err());
    drop(raw);
    std::thread::sleep(Duration::from_millis(200));
    let weir = front.weir()?;
    let arguments = std::fs::read(format!("/proc/{}/cmdline", weir.pid()))?;
    let everything = format!(
        "{}{}{}",
        weir.log(),
        weir.metrics()?,
        String::from_utf8_lossy(&arguments)
    );
    for secret in [
        "s3cret",
        "other's",
        "clear\"",
        "wrong_password_marker",
        "statement_text_marker",
        "PRIVATE KEY",
    ] {
        ensure!(
            !everything.contains(secret),
            "{secret:?} is in the log or on the command line"
        );
    }
    Ok(())
}
