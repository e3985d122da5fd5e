//! `[[users]]`: who may log in, and the secrets, wherever they are kept.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use subtle::ConstantTimeEq;
use weir_core::auth::{ClientAuthMethod, UserSecret};
use weir_core::limits;
use weir_core::settings::{TimeLimits, User};
use zeroize::Zeroizing;

use super::files;
use super::keep::{Keep, unless_zero};
use super::keys::{self, Key};
use super::listeners::Listening;
use super::problem::{Place, Problems};
use super::read::Entry;
use super::value::quoted;

/// The users, and what target groups need to know of them.
pub struct Users {
    /// By name.
    pub map: HashMap<Arc<str>, User>,
    /// The first one in the file that has a password.
    pub first_with_password: Option<Arc<str>>,
    /// Whether every entry could be used; if not, messages about missing users would be wrong.
    pub complete: bool,
}

/// Where a secret may come from.
const SOURCES: [&Key; 4] = [
    &keys::PASSWORD,
    &keys::PASSWORD_FILE,
    &keys::PASSWORD_ENV,
    &keys::SCRAM_VERIFIER,
];

/// A secret as it is given.
enum Secret {
    Password(Zeroizing<String>),
    Verifier(Zeroizing<String>),
}

/// Reads every user's secret.
pub fn build(
    entries: &[Entry],
    proxy: &Entry,
    home: &Path,
    keep: &Keep,
    problems: &mut Problems,
) -> Users {
    let mut users = Users {
        map: HashMap::new(),
        first_with_password: None,
        complete: true,
    };
    let mut seen = HashMap::new();
    for entry in entries {
        let user = user(entry, home, keep, problems);
        let Some(user) = user else {
            users.complete = false;
            continue;
        };
        if let Some(first) = seen.insert(user.name.clone(), &entry.place) {
            let text = format!(
                "{} is there already ({first}); a name may have one entry",
                quoted(&user.name)
            );
            problems.error(
                entry.place_of(&keys::USER_NAME),
                entry.full_name(&keys::USER_NAME),
                text,
            );
            continue;
        }
        if user.secret.password().is_some() && users.first_with_password.is_none() {
            users.first_with_password = Some(user.name.clone());
        }
        let limits = limits(entry, proxy);
        users.map.insert(user.name.clone(), User { limits, ..user });
    }
    users
}

/// The user's own limits, else the proxy's.
fn limits(user: &Entry, proxy: &Entry) -> TimeLimits {
    let limit = |own: &Key, general: &Key| {
        unless_zero(if user.has(own) {
            user.seconds(own)
        } else {
            proxy.seconds(general)
        })
    };
    TimeLimits {
        transaction: limit(&keys::USER_TRANSACTION_TIMEOUT, &keys::TRANSACTION_TIMEOUT),
        idle_in_transaction: limit(
            &keys::USER_IDLE_IN_TRANSACTION_TIMEOUT,
            &keys::IDLE_IN_TRANSACTION_TIMEOUT,
        ),
    }
}

fn user(entry: &Entry, home: &Path, keep: &Keep, problems: &mut Problems) -> Option<User> {
    let given: Vec<&Key> = SOURCES.into_iter().filter(|k| entry.has(k)).collect();
    let names = match entry.place {
        Place::File { .. } => SOURCES.map(|k| k.name).join(", "),
        Place::Option(_) => "--password-file and --password-env".to_owned(),
    };
    let source = match given.as_slice() {
        [one] => *one,
        [] => {
            problems.error(
                &entry.place,
                "users",
                format!("the user has no secret; give exactly one of {names}"),
            );
            return None;
        }
        [_, second, ..] => {
            let found = given
                .iter()
                .map(|k| k.name)
                .collect::<Vec<_>>()
                .join(" and ");
            let text = format!("the user has {found}; give exactly one of {names}");
            problems.error(entry.place_of(second), entry.full_name(second), text);
            return None;
        }
    };
    let name: Arc<str> = entry.text(&keys::USER_NAME)?.into();
    let found = match read_secret(entry, source, home, problems) {
        Ok(secret) => secret?,
        Err(text) => {
            problems.error(entry.place_of(source), entry.full_name(source), text);
            return None;
        }
    };
    match secret(&name, found, keep) {
        Ok(secret) => Some(User {
            name,
            secret,
            limits: TimeLimits::default(),
        }),
        Err(text) => {
            problems.error(entry.place_of(source), entry.full_name(source), text);
            None
        }
    }
}

/// `Ok(None)`: the value was not allowed, which has been reported.
fn read_secret(
    entry: &Entry,
    source: &Key,
    home: &Path,
    problems: &mut Problems,
) -> Result<Option<Secret>, String> {
    match source.name {
        "password" => Ok(entry.secret(source).cloned().map(Secret::Password)),
        "scram_verifier" => Ok(entry.secret(source).cloned().map(Secret::Verifier)),
        "password_file" => {
            let Some(file) = entry.text(source) else {
                return Ok(None);
            };
            let path = home.join(file);
            let password = files::password(&path)?;
            if let Some(text) = files::readable_by_others(&path) {
                problems.warn(entry.place_of(source), entry.full_name(source), text);
            }
            Ok(Some(Secret::Password(password)))
        }
        _ => {
            let Some(variable) = entry.text(source) else {
                return Ok(None);
            };
            from_environment(variable).map(|p| Some(Secret::Password(p)))
        }
    }
}

fn from_environment(variable: &str) -> Result<Zeroizing<String>, String> {
    let value = std::env::var_os(variable)
        .ok_or_else(|| format!("the environment variable {} is not set", quoted(variable)))?;
    let value = value
        .into_string()
        .map_err(|_| format!("the environment variable {} is not UTF-8", quoted(variable)))?;
    let value = Zeroizing::new(value);
    if value.is_empty() {
        return Err(format!(
            "the environment variable {} is empty",
            quoted(variable)
        ));
    }
    if value.len() > limits::PASSWORD_MAX {
        let most = limits::PASSWORD_MAX;
        return Err(format!(
            "the password in {} is longer than {most} bytes",
            quoted(variable)
        ));
    }
    Ok(value)
}

/// The secret of the last load, if nothing has changed: its hashes are done.
fn secret(name: &str, found: Secret, keep: &Keep) -> Result<Arc<UserSecret>, String> {
    let last = keep.secrets.get(name);
    match found {
        Secret::Password(password) => {
            let same = |s: &&Arc<UserSecret>| {
                s.password()
                    .is_some_and(|p| bool::from(p.as_bytes().ct_eq(password.as_bytes())))
            };
            if let Some(last) = last.filter(same) {
                return Ok(last.clone());
            }
            Ok(Arc::new(UserSecret::from_password(
                password.as_str(),
                keep.salt(name),
            )))
        }
        Secret::Verifier(text) => {
            let new = UserSecret::from_verifier(&text)?;
            let wanted = Zeroizing::new(new.verifier().to_text());
            let same = |s: &&Arc<UserSecret>| {
                let text = Zeroizing::new(s.verifier().to_text());
                s.password().is_none() && bool::from(text.as_bytes().ct_eq(wanted.as_bytes()))
            };
            Ok(last.filter(same).cloned().unwrap_or_else(|| Arc::new(new)))
        }
    }
}

/// Warns of users who have only a verifier, and refuses them where a listener asks for the password itself: nobody could
/// log in as them there, which had better show before the first client comes.
pub fn check_methods(
    entries: &[Entry],
    users: &Users,
    listeners: &[Listening],
    problems: &mut Problems,
) {
    let asks_password = listeners
        .iter()
        .find(|l| l.core.client_auth != ClientAuthMethod::ScramSha256);
    for entry in entries {
        let user = entry
            .text(&keys::USER_NAME)
            .and_then(|name| users.map.get(name));
        let Some(user) = user.filter(|u| u.secret.password().is_none()) else {
            continue;
        };
        let (place, key) = (
            entry.place_of(&keys::SCRAM_VERIFIER),
            entry.full_name(&keys::SCRAM_VERIFIER),
        );
        problems.warn(
            place,
            &key,
            format!(
                "weir does not know the password of {}: it can log in to the server for this user only after a client has logged in \
                 with scram-sha-256, and only if the server keeps the very same verifier",
                quoted(&user.name)
            ),
        );
        if let Some(listener) = asks_password {
            let text = format!(
                "{} can't log in at {}, whose client_auth needs the password itself; give the password, or use client_auth = \
                 \"scram-sha-256\" there",
                quoted(&user.name),
                listener.part.address
            );
            problems.error(place, &key, text);
        }
    }
}
