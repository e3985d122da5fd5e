//! Logging in: what is refused and how, TLS in all its forms, the ways to prove a password, protocol versions.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rustls::HandshakeKind;

use crate::case::{Case, Front, Plan, Setting, both, case};
use crate::endpoint::Endpoint;
use crate::pki::client_config;
use crate::raw::{Raw, V3_0, V3_2};

/// The cases.
pub const CASES: &[Case] = &[
    both(
        "login/wrong_password_and_unknown_user",
        Plan::Shells { shards: 1 },
        wrong_logins,
    ),
    both(
        "login/unknown_database",
        Plan::Shells { shards: 1 },
        unknown_database,
    ),
    both(
        "login/tls_1_2_and_1_3",
        Plan::Shells { shards: 1 },
        versions,
    ),
    both(
        "login/wrong_authority_is_noticed",
        Plan::Once,
        wrong_authority,
    ),
    case("login/direct_tls", Plan::Shells { shards: 1 }, direct_tls),
    case(
        "login/sessions_resume",
        Plan::Shells { shards: 2 },
        sessions_resume,
    ),
    case(
        "login/without_tls_is_refused",
        Plan::Shells { shards: 1 },
        without_tls,
    ),
    case(
        "login/protocol_3_2",
        Plan::Shells { shards: 1 },
        protocol_3_2,
    ),
    both(
        "login/unknown_protocol_version",
        Plan::Once,
        unknown_version,
    ),
    case("login/gssenc_is_declined", Plan::Once, gssenc),
    case("login/replication_is_refused", Plan::Once, replication),
    case(
        "login/every_client_method",
        Plan::Shells { shards: 1 },
        client_methods,
    ),
    case(
        "login/every_server_method",
        Plan::Shells { shards: 1 },
        server_methods,
    ),
    case("login/stored_verifier", Plan::Once, stored_verifier),
    both(
        "login/parameters_of_the_server",
        Plan::Shells { shards: 1 },
        parameters,
    ),
    both(
        "login/startup_options",
        Plan::Shells { shards: 1 },
        startup_options,
    ),
];

/// What a login with these names ends with.
fn refusal(front: &Front, user: &str, password: &str, database: &str) -> Result<String> {
    let endpoint = front.endpoint.with_login(user, password, database);
    match Raw::login(&endpoint) {
        Ok(_) => bail!("{user} logged in to {database}"),
        Err(error) => Ok(format!("{error:#}")),
    }
}

fn wrong_logins(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    for (user, password) in [("app", "wrong"), ("nobody_there", "wrong"), ("app", "")] {
        let error = refusal(&front, user, password, "app")?;
        ensure!(
            error == format!("28P01: password authentication failed for user \"{user}\""),
            "{user}: {error}"
        );
    }
    Raw::login(&front.endpoint)?.run("SELECT 1")?;
    Ok(())
}

fn unknown_database(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    for _ in 0..3 {
        let error = refusal(
            &front,
            &front.endpoint.user,
            &front.endpoint.password,
            "no_such_database",
        )?;
        ensure!(
            error == "3D000: database \"no_such_database\" does not exist",
            "{error}"
        );
    }
    // A wrong password does not tell whether the database exists.
    let error = refusal(&front, "app", "wrong", "no_such_database")?;
    ensure!(error.starts_with("28P01"), "{error}");
    let second =
        front
            .endpoint
            .with_login(&front.endpoint.user, &front.endpoint.password, "second");
    ensure!(Raw::login(&second)?.value("SELECT current_database()")? == "second");
    ensure!(Raw::login(&front.endpoint)?.value("SELECT current_database()")? == "app");
    Ok(())
}

fn versions(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    for (version, name) in [
        (&rustls::version::TLS12, "TLSv1_2"),
        (&rustls::version::TLS13, "TLSv1_3"),
    ] {
        let config = client_config(&front.endpoint.ca, &[version], false)?;
        let mut raw = Raw::tls(front.endpoint.port, Arc::new(config)).context(name)?;
        raw.log_in(&front.endpoint, &[])?;
        let spoken = raw
            .tls_state()
            .and_then(|t| t.protocol_version())
            .map(|v| format!("{v:?}"));
        ensure!(spoken.as_deref() == Some(name), "spoke {spoken:?}");
        ensure!(raw.value("SELECT repeat('x', 100000)")?.len() == 100_000);
    }
    Ok(())
}

fn wrong_authority(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let config = client_config(&setting.pki.wrong_ca, rustls::ALL_VERSIONS, false)?;
    let Err(error) = Raw::tls(front.endpoint.port, Arc::new(config)) else {
        bail!("the certificate was accepted")
    };
    ensure!(format!("{error:#}").contains("UnknownIssuer"), "{error:#}");
    Raw::login(&front.endpoint)?.run("SELECT 1")?;
    Ok(())
}

fn direct_tls(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let config = Arc::new(client_config(
        &front.endpoint.ca,
        rustls::ALL_VERSIONS,
        true,
    )?);
    let mut raw = Raw::direct_tls(front.endpoint.port, config.clone())?;
    let alpn = raw
        .tls_state()
        .and_then(|t| t.alpn_protocol())
        .map(<[u8]>::to_vec);
    ensure!(alpn.as_deref() == Some(b"postgresql"), "ALPN {alpn:?}");
    raw.log_in(&front.endpoint, &[])?;
    raw.run("SELECT 1")?;
    // After SSLRequest ALPN may be offered too, but need not be.
    Raw::tls(front.endpoint.port, config)?.log_in(&front.endpoint, &[])?;
    // Direct TLS without ALPN could be another protocol's client led astray: the server must not go on with it.
    let without = Arc::new(client_config(
        &front.endpoint.ca,
        rustls::ALL_VERSIONS,
        false,
    )?);
    let went_on = Raw::direct_tls(front.endpoint.port, without)
        .and_then(|mut raw| raw.log_in(&front.endpoint, &[]));
    ensure!(went_on.is_err(), "direct TLS without ALPN was accepted");
    Ok(())
}

fn sessions_resume(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let config = Arc::new(client_config(&front.endpoint.ca, &[version], false)?);
        let mut kinds = Vec::new();
        // The kernel spreads connections over the shards; a ticket of one must be good at the other.
        for _ in 0..8 {
            let mut raw = Raw::tls(front.endpoint.port, config.clone())?;
            raw.log_in(&front.endpoint, &[])?;
            raw.run("SELECT 1")?;
            kinds.push(raw.tls_state().and_then(|t| t.handshake_kind()));
        }
        let resumed = kinds
            .iter()
            .filter(|k| **k == Some(HandshakeKind::Resumed))
            .count();
        ensure!(
            resumed == 7,
            "{version:?}: of 8 handshakes {resumed} were resumed: {kinds:?}"
        );
    }
    Ok(())
}

fn without_tls(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let mut raw = Raw::tcp(front.endpoint.port)?;
    let Err(error) = raw.log_in(&front.endpoint, &[]) else {
        bail!("logged in without TLS")
    };
    ensure!(format!("{error:#}").starts_with("28000"), "{error:#}");
    // With the explicit line it works, and SSLRequest is declined.
    let off = setting.front(&[
        ("client_tls", "\"off\""),
        ("tls_certificate", ""),
        ("tls_key", ""),
    ])?;
    let mut raw = Raw::tcp(off.endpoint.port)?;
    raw.send(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])?;
    ensure!(raw.bytes(1)? == b"N");
    raw.log_in(&off.endpoint, &[])?;
    ensure!(raw.value("SELECT 1")? == "1");
    let log = off.weir_if_any().context("no weir")?.log();
    ensure!(
        log.to_lowercase().contains("warn"),
        "TLS is off without a warning: {log}"
    );
    Ok(())
}

fn protocol_3_2(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let mut raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
    raw.startup(V3_2, &front.endpoint, &[])?;
    raw.authenticate(&front.endpoint)?;
    let length = raw.key.as_ref().map(|k| k.1.len());
    ensure!(length == Some(32), "cancel key of {length:?} bytes");
    // The long key works.
    let key = raw.key.clone().context("no key")?;
    raw.send_query("SELECT pg_sleep(20)")?;
    std::thread::sleep(Duration::from_millis(200));
    crate::raw::cancel(Raw::tls(front.endpoint.port, front.endpoint.tls())?, &key)?;
    let error = raw.answer()?.error;
    ensure!(
        error.as_deref().is_some_and(|e| e.starts_with("57014")),
        "{error:?}"
    );
    // An option of the protocol that nobody knows is named in the answer and otherwise ignored.
    let mut raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
    raw.startup(V3_2, &front.endpoint, &[("_pq_.no_such_option", "1")])?;
    let first = raw.message()?;
    ensure!(
        first.tag == b'v' && first.body.ends_with(b"_pq_.no_such_option\0"),
        "{first:?}"
    );
    raw.authenticate(&front.endpoint)?;
    // A later minor version is answered with the latest that weir speaks.
    let mut raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
    raw.startup(V3_0 + 9, &front.endpoint, &[])?;
    let first = raw.message()?;
    ensure!(
        first.tag == b'v' && first.body.get(..4) == Some(&[0, 3, 0, 2]),
        "{first:?}"
    );
    raw.authenticate(&front.endpoint)?;
    Ok(())
}

fn unknown_version(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let mut raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
    raw.startup(4 << 16, &front.endpoint, &[])?;
    let message = raw.message()?;
    ensure!(
        message.tag == b'E' && message.error().starts_with("0A000"),
        "{}",
        message.error()
    );
    // A client of protocol 2 could not read that: it gets an error in its own form, or just the end.
    let mut raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
    raw.startup(2 << 16, &front.endpoint, &[])?;
    ensure!(raw.some(1)?.first().is_none_or(|b| *b == b'E'));
    ensure!(
        raw.ends_within(Duration::from_secs(2))?,
        "protocol 2 is let in"
    );
    Ok(())
}

fn gssenc(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let mut raw = Raw::tcp(front.endpoint.port)?;
    raw.send(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30])?;
    let answer = raw.bytes(1)?;
    ensure!(answer == b"N", "GSSENCRequest was answered {answer:?}");
    // TLS may be asked for on the same connection afterwards.
    raw.send(&[0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f])?;
    let answer = raw.bytes(1)?;
    ensure!(
        answer == b"S",
        "SSLRequest after GSSENCRequest was answered {answer:?}"
    );
    Ok(())
}

fn replication(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    for value in ["database", "true", "on", "1"] {
        let mut raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
        let Err(error) = raw.log_in(&front.endpoint, &[("replication", value)]) else {
            bail!("replication={value}")
        };
        ensure!(format!("{error:#}").starts_with("0A000"), "{error:#}");
    }
    let mut raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
    raw.log_in(&front.endpoint, &[("replication", "false")])
        .context("replication=false")?;
    Ok(())
}

/// Clients prove themselves by SCRAM, md5 and in clear text; weir proves the same user to the server its own way.
fn client_methods(setting: &Setting) -> Result<()> {
    for method in ["scram-sha-256", "md5", "cleartext"] {
        let front = setting.front(&[("client_auth", &format!("\"{method}\""))])?;
        let mut raw = Raw::login(&front.endpoint).context(method)?;
        ensure!(raw.value("SELECT current_user")? == "app");
        let error = refusal(&front, "app", "wrong", "app")?;
        ensure!(error.starts_with("28P01"), "{method}: {error}");
        let error = refusal(&front, "nobody_there", "wrong", "app")?;
        ensure!(error.starts_with("28P01"), "{method}: {error}");
    }
    Ok(())
}

/// The server asks for SCRAM (with channel binding), md5, clear text or nothing, each for its own user.
fn server_methods(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    for (user, password) in crate::server::LOGINS {
        let endpoint = front.endpoint.with_login(user, password, "app");
        let mut raw = Raw::login(&endpoint).with_context(|| (*user).to_owned())?;
        ensure!(raw.value("SELECT current_user")? == *user);
        ensure!(raw.value("SELECT session_user")? == *user);
    }
    Ok(())
}

/// A user given by a stored SCRAM verifier alone: weir logs in to the server with what the client's own login taught it.
fn stored_verifier(setting: &Setting) -> Result<()> {
    let verifier = setting
        .server
        .ask("SELECT rolpassword FROM pg_authid WHERE rolname = 'other'")?;
    ensure!(verifier.starts_with("SCRAM-SHA-256$"), "{verifier}");
    let mut front =
        setting.front_with(&[], |start| start.users.retain(|(name, _)| name != "other"))?;
    let config = setting.dir.join("weir.toml");
    front.weir()?.reload(|start| {
        start.extra = format!("\n[[users]]\nname = \"other\"\nscram_verifier = \"{verifier}\"\n")
    })?;
    let endpoint = front.endpoint.with_login("other", "other's", "app");
    super::until(
        "the new user is known",
        Duration::from_secs(5),
        || match Raw::login(&endpoint) {
            Ok(mut raw) => Ok((
                raw.value("SELECT current_user")? == "other",
                "another user".to_owned(),
            )),
            Err(error) => Ok((false, format!("{error:#}"))),
        },
    )
    .with_context(|| config.display().to_string())?;
    let error = refusal(&front, "other", "wrong", "app")?;
    ensure!(error.starts_with("28P01"), "{error}");
    Ok(())
}

/// What the server says of itself at login is what it says when asked.
fn parameters(setting: &Setting) -> Result<()> {
    let front = setting.front(&[])?;
    let direct: Endpoint = setting.server.endpoint()?;
    let expected = Raw::login(&direct)?.parameters;
    for _ in 0..3 {
        let mut raw = Raw::login(&front.endpoint)?;
        ensure!(
            raw.parameters == expected,
            "{:?} instead of {expected:?}",
            raw.parameters
        );
        ensure!(raw.key.is_some(), "no cancel key");
        ensure!(raw.value("SHOW server_version")? == expected["server_version"]);
    }
    Ok(())
}

/// Startup parameters and `options=-c …` hold for the whole session, and for this client only.
fn startup_options(setting: &Setting) -> Result<()> {
    let front = setting.front(&[("max_connection_pool_size", "2")])?;
    for n in 0..4 {
        let mut raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
        let name = format!("client {n}");
        let options = format!("-c work_mem={}MB -c search_path=pg_catalog\\ ", n + 5);
        raw.log_in(
            &front.endpoint,
            &[
                ("application_name", &name),
                ("options", options.trim_end_matches("\\ ")),
                ("DateStyle", "German"),
            ],
        )?;
        ensure!(
            raw.parameters.get("application_name") == Some(&name),
            "{:?}",
            raw.parameters
        );
        ensure!(
            raw.parameters
                .get("DateStyle")
                .is_some_and(|s| s.starts_with("German"))
        );
        for _ in 0..3 {
            ensure!(raw.value("SHOW work_mem")? == format!("{}MB", n + 5));
            ensure!(raw.value("SHOW application_name")? == name);
            ensure!(raw.value("SHOW DateStyle")?.starts_with("German"));
        }
        let mut plain = Raw::login(&front.endpoint)?;
        ensure!(
            plain.value("SHOW work_mem")? == "4MB"
                && plain.value("SHOW application_name")?.is_empty()
        );
        ensure!(plain.value("SHOW DateStyle")? == "ISO, MDY");
    }
    let mut raw = Raw::tls(front.endpoint.port, front.endpoint.tls())?;
    let Err(error) = raw.log_in(&front.endpoint, &[("no_such_setting", "1")]) else {
        bail!("accepted")
    };
    ensure!(format!("{error:#}").starts_with("42704"), "{error:#}");
    Ok(())
}
