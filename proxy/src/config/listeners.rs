//! `[[listeners]]`: where clients come in, and weir's certificates.

use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use weir_core::auth::ClientAuthMethod;
use weir_core::ids::GroupId;
use weir_core::settings::{ClientTls, Engine, Listener};

use super::ListenerPart;
use super::files;
use super::groups::Group;
use super::keep::Keep;
use super::keys;
use super::problem::Problems;
use super::read::Entry;
use super::value::quoted;
use crate::tls::{Identity, server_config};

/// A listener, each room's side of it.
pub struct Listening {
    /// The core's.
    pub core: Listener,
    /// The shell's.
    pub part: ListenerPart,
    /// TLS's; `None` for plain text.
    pub tls: Option<Arc<ServerConfig>>,
}

/// A certificate, and whether it was made here.
struct Certificate {
    identity: Arc<Identity>,
    self_made: bool,
}

/// Checks every listener.
pub fn build(
    entries: &[Entry],
    groups: &[Group],
    home: &Path,
    keep: &mut Keep,
    problems: &mut Problems,
) -> Vec<Listening> {
    let names = self_made_names(entries);
    let mut listeners = Vec::new();
    for entry in entries {
        let group = group_of(entry, groups, problems);
        let tls = if entry.word(&keys::CLIENT_TLS) == "off" {
            ClientTls::Off
        } else {
            ClientTls::Required
        };
        check_plain_text(entry, tls, problems);
        let certificate = match tls {
            ClientTls::Off => None,
            ClientTls::Required => certificate(entry, &names, home, keep, problems),
        };
        let built = group.zip(entry.address(&keys::LISTEN));
        let Some((group, address)) = built else {
            continue;
        };
        listeners.push(listener(
            entry,
            group,
            address,
            tls,
            certificate.as_ref(),
            keep,
            problems,
        ));
    }
    listeners
}

fn listener(
    entry: &Entry,
    group: GroupId,
    address: std::net::SocketAddr,
    tls: ClientTls,
    certificate: Option<&Certificate>,
    keep: &Keep,
    problems: &mut Problems,
) -> Listening {
    let context = certificate.and_then(|c| {
        let made = server_config(&c.identity, keep.tickets.clone());
        made.map_err(|e| {
            problems.error(
                &entry.place,
                entry.full_name(&keys::TLS_CERTIFICATE),
                e.to_string(),
            )
        })
        .ok()
    });
    let core = Listener {
        group,
        engine: Engine::Postgres,
        tls,
        server_end_point: certificate
            .and_then(|c| c.identity.end_point())
            .map(Into::into),
        client_auth: match entry.word(&keys::CLIENT_AUTH) {
            "md5" => ClientAuthMethod::Md5,
            "cleartext" => ClientAuthMethod::Cleartext,
            _ => ClientAuthMethod::ScramSha256,
        },
    };
    let self_made = certificate
        .filter(|c| c.self_made)
        .map(|c| c.identity.fingerprint());
    Listening {
        core,
        part: ListenerPart { address, self_made },
        tls: context,
    }
}

fn group_of(entry: &Entry, groups: &[Group], problems: &mut Problems) -> Option<GroupId> {
    let (place, key) = (
        entry.place_of(&keys::TARGET_GROUP),
        entry.full_name(&keys::TARGET_GROUP),
    );
    let names = || {
        groups
            .iter()
            .map(|g| quoted(&g.core.name))
            .collect::<Vec<_>>()
            .join(", ")
    };
    let found = match entry.text(&keys::TARGET_GROUP) {
        Some(name) => groups.iter().position(|g| *g.core.name == *name),
        None if entry.has(&keys::TARGET_GROUP) => return None,
        None if groups.len() == 1 => Some(0),
        None => {
            if !groups.is_empty() {
                problems.error(
                    place,
                    key,
                    format!(
                        "is missing, and there are several target groups; one of {}",
                        names()
                    ),
                );
            }
            return None;
        }
    };
    if found.is_none() && !groups.is_empty() {
        let name = entry.text(&keys::TARGET_GROUP).unwrap_or_default();
        problems.error(
            place,
            key,
            format!(
                "there is no target group {}; there are {}",
                quoted(name),
                names()
            ),
        );
    }
    found.and_then(|n| u16::try_from(n).ok()).map(GroupId)
}

/// Plain text stays on this machine, and cleartext passwords are never asked for in plain text.
fn check_plain_text(entry: &Entry, tls: ClientTls, problems: &mut Problems) {
    if tls != ClientTls::Off {
        return;
    }
    let (place, key) = (
        entry.place_of(&keys::CLIENT_TLS),
        entry.full_name(&keys::CLIENT_TLS),
    );
    match entry.address(&keys::LISTEN) {
        Some(address) if !address.ip().is_loopback() => {
            let text = format!(
                "\"off\" is allowed on loopback addresses only (127.0.0.1, [::1]), and {address} is none; use \"required\" (the default)"
            );
            problems.error(place, key, text);
        }
        Some(address) => {
            let text =
                format!("clients of {address} speak plain text; this is for benchmarks only");
            problems.warn(place, key, text);
        }
        None => {}
    }
    if entry.word(&keys::CLIENT_AUTH) == "cleartext" {
        let text = "\"cleartext\" is allowed inside TLS only; use client_tls = \"required\" or \"scram-sha-256\"";
        problems.error(
            entry.place_of(&keys::CLIENT_AUTH),
            entry.full_name(&keys::CLIENT_AUTH),
            text,
        );
    }
    for key in [&keys::TLS_CERTIFICATE, &keys::TLS_KEY] {
        if entry.has(key) {
            problems.warn(
                entry.place_of(key),
                entry.full_name(key),
                "has no effect with client_tls = \"off\"",
            );
        }
    }
}

fn certificate(
    entry: &Entry,
    names: &[String],
    home: &Path,
    keep: &mut Keep,
    problems: &mut Problems,
) -> Option<Certificate> {
    let (has_certificate, has_key) = (entry.has(&keys::TLS_CERTIFICATE), entry.has(&keys::TLS_KEY));
    if !has_certificate && !has_key {
        return self_made(entry, names, keep, problems);
    }
    if has_certificate != has_key {
        let (given, missing) = if has_certificate {
            (&keys::TLS_CERTIFICATE, &keys::TLS_KEY)
        } else {
            (&keys::TLS_KEY, &keys::TLS_CERTIFICATE)
        };
        let text = format!("needs {} too: give both or none", missing.name);
        problems.error(entry.place_of(given), entry.full_name(given), text);
        return None;
    }
    let (certificate, key) = (
        entry.text(&keys::TLS_CERTIFICATE)?,
        entry.text(&keys::TLS_KEY)?,
    );
    let (certificate, key) = (home.join(certificate), home.join(key));
    if let Some(text) = files::readable_by_others(&key) {
        problems.warn(
            entry.place_of(&keys::TLS_KEY),
            entry.full_name(&keys::TLS_KEY),
            text,
        );
    }
    match Identity::from_files(&certificate, &key) {
        Ok(identity) => Some(Certificate {
            identity: Arc::new(identity),
            self_made: false,
        }),
        Err(error) => {
            let text = error.to_string();
            // The message names the file that is wrong; so should the line.
            let wrong = if text.contains(&*key.to_string_lossy())
                && !text.contains(&*certificate.to_string_lossy())
                || text.contains("is not the key of")
            {
                &keys::TLS_KEY
            } else {
                &keys::TLS_CERTIFICATE
            };
            problems.error(entry.place_of(wrong), entry.full_name(wrong), text);
            None
        }
    }
}

/// One certificate for all listeners without their own, made once.
fn self_made(
    entry: &Entry,
    names: &[String],
    keep: &mut Keep,
    problems: &mut Problems,
) -> Option<Certificate> {
    if keep.self_made.is_none() {
        match Identity::self_made(names) {
            Ok(identity) => keep.self_made = Some(Arc::new(identity)),
            Err(error) => {
                problems.error(
                    &entry.place,
                    entry.full_name(&keys::TLS_CERTIFICATE),
                    error.to_string(),
                );
                return None;
            }
        }
    }
    keep.self_made.clone().map(|identity| Certificate {
        identity,
        self_made: true,
    })
}

/// What a certificate made here is for: this machine's name and the addresses that are listened on.
fn self_made_names(entries: &[Entry]) -> Vec<String> {
    let mut names = vec!["localhost".to_owned()];
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    if !host.is_empty()
        && host
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b))
    {
        names.push(host.to_owned());
    }
    for address in entries.iter().filter_map(|e| e.address(&keys::LISTEN)) {
        if !address.ip().is_unspecified() {
            names.push(address.ip().to_string());
        }
    }
    names.sort();
    names.dedup();
    names
}
