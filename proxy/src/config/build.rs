//! From checked values to a configuration: whether the values go together, and the files that they name.

use std::collections::HashMap;
use std::path::Path;

use weir_core::limits;
use weir_core::settings::Settings;

use super::keep::{Keep, unless_zero};
use super::keys::{self, Key};
use super::problem::Problems;
use super::read::{Entry, Tables};
use super::{Config, LogFormat, LogLevel, Process, groups, listeners, users};
use crate::shell::IoChoice;
use crate::tls::TlsContexts;

/// Everything checked, or `None` and the reasons in `problems`.
pub fn build(
    tables: &Tables,
    home: &Path,
    keep: &mut Keep,
    problems: &mut Problems,
) -> Option<Config> {
    let users = users::build(&tables.users, &tables.proxy, home, keep, problems);
    let groups = groups::build(&tables.groups, &users, home, problems);
    let listeners = listeners::build(&tables.listeners, &groups, home, keep, problems);
    let process = process(&tables.proxy);
    check_addresses(tables, problems);
    users::check_methods(&tables.users, &users, &listeners, problems);
    if !problems.errors.is_empty() {
        return None;
    }
    keep.generation += 1;
    keep.secrets = users
        .map
        .iter()
        .map(|(name, user)| (name.clone(), user.secret.clone()))
        .collect();
    let settings = Settings {
        generation: keep.generation,
        listeners: listeners.iter().map(|l| l.core.clone()).collect(),
        groups: groups.iter().map(|g| g.core.clone()).collect(),
        users: users.map,
        max_client_connections: tables.proxy.count(&keys::MAX_CLIENT_CONNECTIONS),
        idle_client_timeout: unless_zero(tables.proxy.seconds(&keys::IDLE_CLIENT_TIMEOUT)),
        login_timeout: tables.proxy.seconds(&keys::LOGIN_TIMEOUT),
    };
    let tls = TlsContexts {
        listeners: listeners.iter().map(|l| l.tls.clone()).collect(),
        groups: groups.iter().map(|g| g.tls.clone()).collect(),
    };
    Some(Config {
        settings,
        process,
        listeners: listeners.into_iter().map(|l| l.part).collect(),
        groups: groups.into_iter().map(|g| g.part).collect(),
        tls,
    })
}

fn process(proxy: &Entry) -> Process {
    let cores = std::thread::available_parallelism()
        .map_or(1, |n| u16::try_from(n.get()).unwrap_or(u16::MAX));
    let shards = match proxy.count(&keys::SHARDS) {
        0 => cores.min(limits::SHARDS_MAX),
        n => u16::try_from(n).unwrap_or(limits::SHARDS_MAX),
    };
    Process {
        io: match proxy.word(&keys::IO) {
            "io_uring" => IoChoice::Uring,
            "epoll" => IoChoice::Epoll,
            _ => IoChoice::Auto,
        },
        shards,
        drain_timeout: proxy.seconds(&keys::DRAIN_TIMEOUT),
        log_format: if proxy.word(&keys::LOG_FORMAT) == "json" {
            LogFormat::Json
        } else {
            LogFormat::Text
        },
        log_level: match proxy.word(&keys::LOG_LEVEL) {
            "error" => LogLevel::Error,
            "warn" => LogLevel::Warn,
            "debug" => LogLevel::Debug,
            _ => LogLevel::Info,
        },
        metrics_listen: proxy.address(&keys::METRICS_LISTEN),
    }
}

/// Every address is listened on once, and has a port.
fn check_addresses(tables: &Tables, problems: &mut Problems) {
    let listeners = tables
        .listeners
        .iter()
        .map(|entry| (entry, &keys::LISTEN as &Key));
    let all = listeners.chain([(&tables.proxy, &keys::METRICS_LISTEN as &Key)]);
    let mut seen = HashMap::new();
    for (entry, key) in all {
        let Some(address) = entry.address(key) else {
            continue;
        };
        let place = entry.place_of(key);
        if address.port() == 0 {
            problems.error(
                place,
                entry.full_name(key),
                "port 0 is not allowed: a port from 1 to 65535",
            );
        } else if let Some(first) = seen.insert(address, place) {
            let text = format!(
                "{address} is listened on already ({first}); give each listener its own address or port"
            );
            problems.error(place, entry.full_name(key), text);
        }
    }
}
