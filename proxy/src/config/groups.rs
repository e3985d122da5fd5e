//! `[[target_groups]]`: the servers, how their connections are lent, and TLS towards them.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use weir_core::settings::{Engine, Lending, TargetGroup, TargetTls, Upkeep};

use super::GroupPart;
use super::filters;
use super::keep::unless_zero;
use super::keys;
use super::problem::Problems;
use super::read::Entry;
use super::users::Users;
use super::value::quoted;
use crate::tls::{TargetTls as TlsContext, Trust, client_config, server_name};

/// A group, each room's side of it.
pub struct Group {
    /// The core's.
    pub core: TargetGroup,
    /// The shell's.
    pub part: GroupPart,
    /// TLS's; `None` for plain text.
    pub tls: Option<TlsContext>,
}

/// Checks every group.
pub fn build(entries: &[Entry], users: &Users, home: &Path, problems: &mut Problems) -> Vec<Group> {
    let mut seen = HashMap::new();
    let mut groups = Vec::new();
    for entry in entries {
        let name = entry.text(&keys::GROUP_NAME).unwrap_or_default();
        if let Some(first) = seen.insert(name.to_owned(), &entry.place) {
            let text = format!(
                "{} is there already ({first}); every group needs a name of its own",
                quoted(name)
            );
            problems.error(
                entry.place_of(&keys::GROUP_NAME),
                entry.full_name(&keys::GROUP_NAME),
                text,
            );
        }
        check_sizes(entry, problems);
        let warm_user = warm_user(entry, users, problems);
        groups.push(group(entry, name, warm_user, home, problems));
    }
    groups
}

fn group(
    entry: &Entry,
    name: &str,
    warm_user: Option<Arc<str>>,
    home: &Path,
    problems: &mut Problems,
) -> Group {
    let host = entry.text(&keys::HOST).unwrap_or_default();
    let port = u16::try_from(entry.count(&keys::PORT)).unwrap_or(5432);
    let address = if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    };
    let tls = match entry.word(&keys::TARGET_TLS) {
        "off" => TargetTls::Off,
        "require" => TargetTls::Require,
        _ => TargetTls::VerifyFull,
    };
    warn_of_tls(entry, tls, problems);
    let core = TargetGroup {
        name: name.into(),
        engine: Engine::Postgres,
        address: address.into(),
        tls,
        database: entry.text(&keys::DATABASE).unwrap_or_default().into(),
        warm_user,
        lending: lending(entry, problems),
    };
    let context = if host.is_empty() {
        None
    } else {
        tls_context(entry, host, tls, home, problems)
    };
    Group {
        core,
        part: GroupPart {
            host: host.to_owned(),
            port,
        },
        tls: context,
    }
}

fn lending(entry: &Entry, problems: &mut Problems) -> Lending {
    let borrowed = entry.count(&keys::MAX_BORROWED);
    Lending {
        min_connection_pool_size: entry.count(&keys::MIN_POOL),
        max_connection_pool_size: entry.count(&keys::MAX_POOL),
        idle_timeout: entry.seconds(&keys::IDLE_TIMEOUT),
        borrow_timeout: unless_zero(entry.seconds(&keys::BORROW_TIMEOUT)),
        max_borrowed_connections: (borrowed != 0).then_some(borrowed),
        connection_lifetime: unless_zero(entry.seconds(&keys::CONNECTION_LIFETIME)),
        connect_timeout: entry.seconds(&keys::CONNECT_TIMEOUT),
        upkeep: Upkeep {
            init_query: entry.text(&keys::INIT_QUERY).map(Into::into),
            reset_query: entry.text(&keys::RESET_QUERY).map(Into::into),
            server_idle_check: unless_zero(entry.seconds(&keys::SERVER_IDLE_CHECK)),
            unpinned: filters::read(entry, problems),
        },
    }
}

fn check_sizes(entry: &Entry, problems: &mut Problems) {
    let (min, max) = (entry.count(&keys::MIN_POOL), entry.count(&keys::MAX_POOL));
    // A maximum that was not allowed has been reported; its default says nothing about the minimum.
    if min > max && max > 0 && !entry.is_bad(&keys::MAX_POOL) {
        let key = if entry.has(&keys::MIN_POOL) {
            &keys::MIN_POOL
        } else {
            &keys::MAX_POOL
        };
        let text = format!(
            "min_connection_pool_size {min} is above max_connection_pool_size {max}; it may be at most that"
        );
        problems.error(entry.place_of(key), entry.full_name(key), text);
    }
}

/// Whose connections are kept warm: the user named, else the first one with a password.
fn warm_user(entry: &Entry, users: &Users, problems: &mut Problems) -> Option<Arc<str>> {
    let (place, key) = (
        entry.place_of(&keys::WARM_USER).clone(),
        entry.full_name(&keys::WARM_USER),
    );
    let warm = entry.count(&keys::MIN_POOL) > 0;
    let Some(name) = entry.text(&keys::WARM_USER) else {
        if warm
            && users.first_with_password.is_none()
            && users.complete
            && !entry.has(&keys::WARM_USER)
        {
            let text = "no user has a password, so that no connection is opened before a client asks for one";
            problems.warn(&place, key, text);
        }
        return users.first_with_password.clone();
    };
    match users.map.get_key_value(name) {
        Some((name, user)) if user.secret.password().is_some() => return Some(name.clone()),
        Some(_) => {
            let text = format!(
                "{} has only a scram_verifier; warm connections need a user with a password",
                quoted(name)
            );
            problems.error(&place, key, text);
        }
        None if users.complete => {
            let near = super::suggest::nearest(name, users.map.keys().map(|k| &**k));
            let hint = near
                .map(|n| format!("; did you mean {}?", quoted(n)))
                .unwrap_or_default();
            problems.error(
                &place,
                key,
                format!("there is no user {} in [[users]]{hint}", quoted(name)),
            );
        }
        None => {}
    }
    None
}

fn warn_of_tls(entry: &Entry, tls: TargetTls, problems: &mut Problems) {
    let (place, key) = (
        entry.place_of(&keys::TARGET_TLS),
        entry.full_name(&keys::TARGET_TLS),
    );
    match tls {
        TargetTls::VerifyFull => {}
        TargetTls::Require => {
            let text = "the server's certificate is not checked: whoever can redirect the connection can read it; use \"verify-full\"";
            problems.warn(place, key, text);
        }
        TargetTls::Off => {
            let host = entry.text(&keys::HOST).unwrap_or_default();
            let local =
                host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
            let how = if local {
                "on this machine"
            } else {
                "over the network"
            };
            problems.warn(place, key, format!("password proofs and data go to the server in plain text {how}; use \"verify-full\""));
        }
    }
    if tls != TargetTls::VerifyFull && entry.has(&keys::TARGET_CA) {
        let text = "has no effect: only target_tls = \"verify-full\" checks certificates";
        problems.warn(
            entry.place_of(&keys::TARGET_CA),
            entry.full_name(&keys::TARGET_CA),
            text,
        );
    }
}

fn tls_context(
    entry: &Entry,
    host: &str,
    tls: TargetTls,
    home: &Path,
    problems: &mut Problems,
) -> Option<TlsContext> {
    let trust = match (tls, entry.text(&keys::TARGET_CA)) {
        (TargetTls::Off, _) => return None,
        (TargetTls::Require, _) => Trust::Unchecked,
        // A file name that was not allowed has been reported.
        (TargetTls::VerifyFull, None) if entry.has(&keys::TARGET_CA) => return None,
        (TargetTls::VerifyFull, None) => Trust::System,
        (TargetTls::VerifyFull, Some(file)) => Trust::File(home.join(file)),
    };
    let name = server_name(host).map_err(|error| (&keys::HOST, error));
    let config = client_config(&trust).map_err(|error| (&keys::TARGET_CA, error));
    match (name, config) {
        (Ok(name), Ok(config)) => return Some(TlsContext { config, name }),
        (name, config) => {
            for (key, error) in [name.err(), config.err()].into_iter().flatten() {
                problems.error(entry.place_of(key), entry.full_name(key), error.to_string());
            }
        }
    }
    None
}
