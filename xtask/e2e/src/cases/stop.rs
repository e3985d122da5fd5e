//! Stopping and reloading: SIGTERM lets transactions end, SIGHUP drops nobody.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::until;
use crate::case::{Case, Front, Plan, Setting, case};
use crate::raw::Raw;
use crate::weir::quoted;

/// The cases.
pub const CASES: &[Case] = &[
    case(
        "stop/sigterm_lets_transactions_end",
        Plan::Shells { shards: 2 },
        drains,
    ),
    case(
        "stop/drain_has_a_bound",
        Plan::Shells { shards: 1 },
        drain_is_bounded,
    ),
    case(
        "stop/sigterm_with_nobody_there",
        Plan::Shells { shards: 2 },
        stops_at_once,
    ),
    case(
        "reload/certificate",
        Plan::Shells { shards: 2 },
        certificate,
    ),
    case("reload/users", Plan::Shells { shards: 1 }, users),
    case("reload/sizes", Plan::Shells { shards: 2 }, sizes),
    case(
        "reload/a_wrong_config_changes_nothing",
        Plan::Once,
        wrong_config,
    ),
];

fn drains(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("drain_timeout", "10")])?;
    let mut idle = Raw::login(&front.endpoint)?;
    idle.run("SELECT 1")?;
    let mut busy = Raw::login(&front.endpoint)?;
    busy.run("DROP TABLE IF EXISTS drained; CREATE TABLE drained (n int); BEGIN; INSERT INTO drained VALUES (1)")?;
    let mut query = Raw::login(&front.endpoint)?;
    query.send_query("SELECT pg_sleep(1), 7")?;
    std::thread::sleep(Duration::from_millis(100));
    front.weir()?.signal(libc::SIGTERM);
    let message = idle.message()?;
    ensure!(
        message.tag == b'E' && message.error().starts_with("57P01"),
        "{}",
        message.error()
    );
    ensure!(
        idle.ends_within(Duration::from_secs(2))?,
        "an idle client stays connected"
    );
    std::thread::sleep(Duration::from_millis(300));
    ensure!(
        Raw::login(&front.endpoint).is_err(),
        "a new client was let in"
    );
    ensure!(
        !front.weir()?.has_ended()?,
        "weir left while a transaction was open"
    );
    busy.run("INSERT INTO drained VALUES (2)")?;
    ensure!(busy.run("COMMIT")?.tags == ["COMMIT"]);
    ensure!(
        query.answer()?.error.is_none(),
        "a running query was cut off"
    );
    let status = front.weir()?.wait(Duration::from_secs(5))?;
    ensure!(status.success(), "weir ended with {status}");
    ensure!(Raw::login(&setting.server.endpoint()?)?.value("SELECT count(*) FROM drained")? == "2");
    ensure!(
        setting.server.connections()? == 0,
        "connections to the server were left"
    );
    Ok(())
}

fn drain_is_bounded(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("drain_timeout", "2")])?;
    let mut stays = Raw::login(&front.endpoint)?;
    stays.run("BEGIN")?;
    let begin = Instant::now();
    front.weir()?.signal(libc::SIGTERM);
    front.weir()?.wait(Duration::from_secs(8))?;
    let took = begin.elapsed();
    ensure!(
        took > Duration::from_millis(1900) && took < Duration::from_millis(4500),
        "ended after {took:?}"
    );
    Ok(())
}

fn stops_at_once(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[])?;
    Raw::login(&front.endpoint)?.run("SELECT 1")?;
    let begin = Instant::now();
    front.weir()?.signal(libc::SIGTERM);
    let status = front.weir()?.wait(Duration::from_secs(5))?;
    ensure!(status.success(), "weir ended with {status}");
    ensure!(
        begin.elapsed() < Duration::from_secs(2),
        "ended after {:?}",
        begin.elapsed()
    );
    Ok(())
}

fn peer(front: &Front) -> Result<Vec<u8>> {
    let raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
    let certificates = raw
        .tls_state()
        .and_then(|t| t.peer_certificates())
        .context("no certificate")?;
    Ok(certificates.first().context("no certificate")?.to_vec())
}

/// The certificate a client sees when it knows nothing of the server yet (a resumed session shows the old one).
fn fresh_peer(front: &Front) -> Result<Vec<u8>> {
    let endpoint = crate::endpoint::Endpoint::new(
        front.endpoint.port,
        front.endpoint.ca.clone(),
        "app",
        "",
        "app",
    )?;
    let raw = Raw::tls(endpoint.port, endpoint.tls())?;
    let certificates = raw
        .tls_state()
        .and_then(|t| t.peer_certificates())
        .context("no certificate")?;
    Ok(certificates.first().context("no certificate")?.to_vec())
}

fn certificate(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_connection_pool_size", "2")])?;
    let mut stays = Raw::login(&front.endpoint)?;
    stays.run("BEGIN")?;
    let before = peer(&front)?;
    let renewed = setting.pki.pair("renewed");
    front.weir()?.reload(|start| {
        start.option("tls_certificate", &quoted(&renewed.cert));
        start.option("tls_key", &quoted(&renewed.key));
    })?;
    until(
        "the new certificate is shown",
        Duration::from_secs(5),
        || Ok((fresh_peer(&front)? != before, "the old one".to_owned())),
    )?;
    // With channel binding, which is tied to the certificate, new logins work as well.
    let mut config = front.endpoint.config();
    config.channel_binding(tokio_postgres::config::ChannelBinding::Require);
    let fresh = crate::endpoint::Endpoint::new(
        front.endpoint.port,
        front.endpoint.ca.clone(),
        &front.endpoint.user,
        &front.endpoint.password,
        &front.endpoint.database,
    )?;
    crate::block(async move {
        fresh
            .connect_with(&config)
            .await?
            .batch_execute("SELECT 1")
            .await
            .map_err(Into::into)
    })
    .map_err(|e: anyhow::Error| e.context("a login with channel binding after the reload"))?;
    ensure!(
        stays.run("COMMIT")?.tags == ["COMMIT"],
        "the reload disturbed a client"
    );
    Ok(())
}

fn logs_in(front: &Front, user: &str, password: &str) -> Result<(bool, String)> {
    match Raw::login(&front.endpoint.with_login(user, password, "app")) {
        Ok(mut raw) => Ok((true, raw.value("SELECT current_user")?)),
        Err(error) => Ok((false, format!("{error:#}"))),
    }
}

fn users(setting: &Setting) -> Result<()> {
    let mut front =
        setting.front_with(&[], |start| start.users.retain(|(name, _)| name != "other"))?;
    let mut stays = Raw::login(&front.endpoint)?;
    stays.run("BEGIN")?;
    ensure!(!logs_in(&front, "other", "other's")?.0);
    front
        .weir()?
        .reload(|start| start.users.push(("other".to_owned(), "other's".to_owned())))?;
    until("the new user logs in", Duration::from_secs(5), || {
        logs_in(&front, "other", "other's")
    })?;
    front
        .weir()?
        .reload(|start| start.users.retain(|(name, _)| name != "md5user"))?;
    until(
        "the removed user is refused",
        Duration::from_secs(5),
        || {
            let (in_, seen) = logs_in(&front, "md5user", "md5's")?;
            Ok((!in_ && seen.starts_with("28P01"), seen))
        },
    )?;
    ensure!(
        stays.run("COMMIT")?.tags == ["COMMIT"],
        "the reload disturbed a client"
    );
    // A changed password: at the server first, then at weir.
    setting
        .server
        .ask("SELECT set_config('password_encryption', 'scram-sha-256', false)")?;
    let change = |password: &str| {
        let mut raw = Raw::login(&setting.server.superuser()?)?;
        raw.run(&format!("ALTER ROLE other PASSWORD '{password}'"))
            .map(|_| ())
    };
    change("newer")?;
    front.weir()?.reload(|start| {
        start.users.retain(|(name, _)| name != "other");
        start.users.push(("other".to_owned(), "newer".to_owned()));
    })?;
    let changed = until("the new password is known", Duration::from_secs(5), || {
        logs_in(&front, "other", "newer")
    });
    let old = logs_in(&front, "other", "other's");
    change("other''s")?;
    changed?;
    ensure!(!old?.0, "the old password is still accepted");
    Ok(())
}

fn sizes(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[("max_connection_pool_size", "2")])?;
    let hold = |count: usize| -> Result<Vec<Raw>> {
        let mut holders = Vec::new();
        for _ in 0..count {
            let mut raw = Raw::login(&front.endpoint)?;
            raw.send_query("BEGIN")?;
            holders.push(raw);
        }
        Ok(holders)
    };
    let mut holders = hold(4)?;
    std::thread::sleep(Duration::from_millis(300));
    ensure!(setting.server.connections()? == 2);
    front
        .weir()?
        .reload(|start| start.option("max_connection_pool_size", "4"))?;
    for raw in &mut holders {
        raw.patience(Duration::from_secs(5))?;
        raw.answer()
            .context("a larger pool lets those who wait go on")?;
    }
    ensure!(setting.server.connections()? == 4);
    front
        .weir()?
        .reload(|start| start.option("max_connection_pool_size", "1"))?;
    std::thread::sleep(Duration::from_millis(300));
    for raw in &mut holders {
        ensure!(
            raw.run("COMMIT")?.tags == ["COMMIT"],
            "the reload disturbed a transaction"
        );
    }
    until("the pool has shrunk", Duration::from_secs(5), || {
        let now = setting.server.connections()?;
        Ok((now == 1, now.to_string()))
    })?;
    for raw in &mut holders {
        raw.run("SELECT 1")?;
    }
    Ok(())
}

fn wrong_config(setting: &Setting) -> Result<()> {
    let mut front = setting.front(&[])?;
    let mut stays = Raw::login(&front.endpoint)?;
    front
        .weir()?
        .reload(|start| start.extra = "\n[no_such_table]\n".to_owned())?;
    until("the mistake is logged", Duration::from_secs(5), || {
        let log = front.weir()?.log();
        Ok((log.contains("no_such_table"), log))
    })?;
    ensure!(stays.value("SELECT 1")? == "1");
    let Ok(mut raw) = Raw::login(&front.endpoint) else {
        bail!("nobody can log in any more")
    };
    raw.run("SELECT 1")?;
    Ok(())
}
