//! The server's side: whom weir trusts, and what happens when the server closes connections or is not there.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::until;
use crate::case::{Case, Plan, Setting, case};
use crate::raw::Raw;
use crate::weir::quoted;
use crate::{install, server::Server};

/// The cases.
pub const CASES: &[Case] = &[
    case(
        "targets/wrong_authority_is_refused",
        Plan::Once,
        wrong_authority,
    ),
    case(
        "targets/wrong_host_name_is_refused",
        Plan::Once,
        wrong_host_name,
    ),
    case(
        "targets/require_and_off",
        Plan::Shells { shards: 1 },
        require_and_off,
    ),
    case(
        "targets/closed_connections_are_replaced",
        Plan::Shells { shards: 1 },
        closed_are_replaced,
    ),
    case(
        "targets/terminated_in_a_query",
        Plan::Shells { shards: 1 },
        terminated_in_a_query,
    ),
    case(
        "targets/server_restarts",
        Plan::Shells { shards: 2 },
        server_restarts,
    ),
    case(
        "targets/too_few_server_connections",
        Plan::Shells { shards: 1 },
        too_few,
    ),
    case("targets/no_server_there", Plan::Once, no_server),
];

/// A login that must fail within some seconds, with a connection error, and what weir logged of it.
fn refused(setting: &Setting, options: &[(&str, &str)]) -> Result<String> {
    let options = [options, &[("borrow_timeout", "3")]].concat();
    let front = setting.front(&options)?;
    let begin = Instant::now();
    let outcome = Raw::login(&front.endpoint).and_then(|mut raw| raw.run("SELECT 1").map(|_| ()));
    let Err(error) = outcome else {
        bail!("a server that must not be trusted was used")
    };
    ensure!(format!("{error:#}").contains("08"), "{error:#}");
    ensure!(
        begin.elapsed() < Duration::from_secs(15),
        "after {:?}",
        begin.elapsed()
    );
    Ok(front.weir_if_any().context("no weir")?.log())
}

fn wrong_authority(setting: &Setting) -> Result<()> {
    let log = refused(setting, &[("target_ca", &quoted(&setting.pki.wrong_ca))])?;
    ensure!(
        log.contains("certificate"),
        "the log does not say why: {log}"
    );
    // Without `target_ca` the system's authorities are trusted, and ours is none of them.
    let log = refused(setting, &[("target_ca", "")])?;
    ensure!(
        log.contains("certificate"),
        "the log does not say why: {log}"
    );
    Ok(())
}

fn wrong_host_name(setting: &Setting) -> Result<()> {
    // 127.0.0.2 leads to a server only if it listens there; the certificate names 127.0.0.1 and localhost alone.
    let pki = crate::pki::Pki {
        dir: setting.pki.dir.clone(),
        ..setting.pki.clone()
    };
    let programs = install::servers::find(setting.server.major)?;
    let elsewhere = Server::start_with(&programs, &pki, 20, "elsewhere")?;
    let log = refused(setting, &[("port", &elsewhere.port.to_string())])?;
    ensure!(
        log.contains("certificate"),
        "the log does not say why: {log}"
    );
    Ok(())
}

fn require_and_off(setting: &Setting) -> Result<()> {
    let encrypted = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()";
    let wrong = quoted(&setting.pki.wrong_ca);
    for (mode, ca, expected) in [("require", wrong.as_str(), "t"), ("off", "", "f")] {
        let front = setting.front(&[("target_tls", &format!("\"{mode}\"")), ("target_ca", ca)])?;
        let mut raw = Raw::login(&front.endpoint)?;
        ensure!(raw.value(encrypted)? == expected, "target_tls = {mode}");
        let log = front.weir_if_any().context("no weir")?.log().to_lowercase();
        ensure!(
            log.contains("warn"),
            "target_tls = {mode} without a warning: {log}"
        );
    }
    let front = setting.front(&[])?;
    ensure!(Raw::login(&front.endpoint)?.value(encrypted)? == "t");
    Ok(())
}

const TERMINATE: &str =
    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'app'";

fn closed_are_replaced(setting: &Setting) -> Result<()> {
    let front = setting.front(&[
        ("min_connection_pool_size", "3"),
        ("max_connection_pool_size", "3"),
    ])?;
    let mut clients = (0..6)
        .map(|_| Raw::login(&front.endpoint))
        .collect::<Result<Vec<_>>>()?;
    for round in 0..5 {
        for raw in &mut clients {
            ensure!(raw.value("SELECT 1")? == "1");
        }
        setting.server.ask(TERMINATE)?;
        // weir needs a moment to hear of it; after that nobody notices anything.
        std::thread::sleep(Duration::from_millis(100));
        for (n, raw) in clients.iter_mut().enumerate() {
            raw.value("SELECT 1")
                .with_context(|| format!("round {round}, client {n}"))?;
        }
    }
    Ok(())
}

fn terminated_in_a_query(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "2")])?;
    for sql in ["SELECT pg_sleep(20)", "BEGIN; SELECT pg_sleep(20)"] {
        let mut raw = Raw::login(&front.endpoint)?;
        raw.send_query(sql)?;
        std::thread::sleep(Duration::from_millis(200));
        setting.server.ask(TERMINATE)?;
        // The client hears of it at once, with the server's own words, and is not left hanging.
        raw.patience(Duration::from_secs(3))?;
        let message = raw.messages_until(b'E')?.pop().context("no message")?;
        ensure!(message.error().starts_with("57P01"), "{}", message.error());
        let mut next = Raw::login(&front.endpoint)?;
        ensure!(next.value("SELECT 2")? == "2");
    }
    Ok(())
}

fn server_restarts(setting: &Setting) -> Result<()> {
    let programs = install::servers::find(setting.server.major)?;
    let server = Server::start(&programs, &setting.pki, 20)?;
    let own = Setting {
        server: Arc::new(server),
        ..setting.clone()
    };
    let front = own.front(&[("max_connection_pool_size", "3")])?;
    let mut raw = Raw::login(&front.endpoint)?;
    ensure!(raw.value("SELECT 1")? == "1");
    own.server.restart(&programs, || {
        // While it is away a client waits or is told; it does not bring weir down.
        let _ = raw.send_query("SELECT 2");
        std::thread::sleep(Duration::from_secs(2));
        Ok(())
    })?;
    until("weir is back", Duration::from_secs(10), || {
        let again = Raw::login(&front.endpoint).and_then(|mut raw| raw.value("SELECT 3"));
        Ok((again.as_ref().is_ok_and(|v| v == "3"), format!("{again:?}")))
    })?;
    Ok(())
}

/// The server allows fewer connections than the pool may have: clients queue instead of seeing the server's refusal.
fn too_few(setting: &Setting) -> Result<()> {
    let programs = install::servers::find(setting.server.major)?;
    let server = Server::start(&programs, &setting.pki, 10)?;
    let own = Setting {
        server: Arc::new(server),
        ..setting.clone()
    };
    let front = own.front(&[("max_connection_pool_size", "50")])?;
    let clients = (0..30).map(|_| {
        let endpoint = front.endpoint.clone();
        std::thread::spawn(move || -> Result<()> {
            let mut raw = Raw::login(&endpoint)?;
            for _ in 0..3 {
                raw.run("SELECT pg_sleep(0.05)")?;
            }
            Ok(())
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client
            .join()
            .map_err(|_| anyhow::anyhow!("a client panicked"))??;
    }
    Ok(())
}

fn no_server(setting: &Setting) -> Result<()> {
    let port = crate::place::free_port()?;
    let log = refused(setting, &[("port", &port.to_string())])?;
    ensure!(
        log.contains(&format!("127.0.0.1:{port}")),
        "the log does not name the address: {log}"
    );
    Ok(())
}
