//! One value of one key: is it what the key's definition allows?

use core::time::Duration;
use std::net::SocketAddr;

use weir_core::limits;
use zeroize::Zeroizing;

use super::keys::{Key, Kind};
use super::suggest::nearest;

/// A value as it stands in the file or on the command line. Strings may be secrets: owned, zeroized, never shown before
/// the key says that it is none.
pub enum Raw {
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(Zeroizing<String>),
    /// A list of strings.
    List(Vec<String>),
    /// Something that no key takes; its TOML type's name.
    Other(&'static str),
}

/// A value that its key allows.
#[derive(Clone, PartialEq)]
pub enum Value {
    /// Of [`Kind::Count`].
    Count(u32),
    /// Of [`Kind::Seconds`].
    Seconds(Duration),
    /// Of [`Kind::Word`].
    Word(&'static str),
    /// Of names, hosts, paths and variables.
    Text(String),
    /// Of [`Kind::Address`].
    Address(SocketAddr),
    /// Of [`Kind::Secret`].
    Secret(Zeroizing<String>),
    /// Of [`Kind::List`].
    List(Vec<String>),
}

/// `raw` as a value of `key`, or what is wrong with it and what is allowed.
pub fn check(key: &Key, raw: Raw) -> Result<Value, String> {
    match key.kind {
        Kind::Count { .. } => check_count(key, &raw),
        Kind::Seconds { .. } => check_seconds(key, &raw),
        Kind::List { .. } => check_list(key, raw),
        _ => match raw {
            Raw::Text(text) => check_text(key, text),
            other => Err(format!(
                "{} is not allowed: {}",
                shown(&other),
                allowed(key)
            )),
        },
    }
}

fn check_count(key: &Key, raw: &Raw) -> Result<Value, String> {
    let Kind::Count { min, max, zero, .. } = key.kind else {
        return Err(allowed(key));
    };
    let refuse = || format!("{} is not allowed: {}", shown(raw), allowed(key));
    let Raw::Integer(number) = raw else {
        return Err(refuse());
    };
    let number = u32::try_from(*number).map_err(|_| refuse())?;
    if (min..=max).contains(&number) || (number == 0 && zero.is_some()) {
        return Ok(Value::Count(number));
    }
    Err(refuse())
}

fn check_seconds(key: &Key, raw: &Raw) -> Result<Value, String> {
    let Kind::Seconds { min, max, zero } = key.kind else {
        return Err(allowed(key));
    };
    let refuse = || format!("{} is not allowed: {}", shown(raw), allowed(key));
    let duration = match raw {
        Raw::Integer(n) => Duration::from_secs(u64::try_from(*n).map_err(|_| refuse())?),
        Raw::Float(f) => Duration::try_from_secs_f64(*f).map_err(|_| refuse())?,
        _ => return Err(refuse()),
    };
    if (min..=max).contains(&duration) || (duration.is_zero() && zero.is_some()) {
        return Ok(Value::Seconds(duration));
    }
    Err(refuse())
}

/// Which names there are is the business of whoever asks for the list.
fn check_list(key: &Key, raw: Raw) -> Result<Value, String> {
    match raw {
        Raw::List(names) if names.len() <= limits::PINNING_FILTERS_MAX => Ok(Value::List(names)),
        other => Err(format!(
            "{} is not allowed: {}",
            shown(&other),
            allowed(key)
        )),
    }
}

fn check_query(key: &Key, text: &str) -> Result<Value, String> {
    if text.trim().is_empty() || text.len() > limits::TEXT_MAX || text.contains('\0') {
        return Err(format!("{} is not allowed: {}", quoted(text), allowed(key)));
    }
    Ok(Value::Text(text.to_owned()))
}

fn check_text(key: &Key, text: Zeroizing<String>) -> Result<Value, String> {
    if key.kind == Kind::Secret {
        return check_secret(key, text);
    }
    if key.kind == Kind::Query {
        return check_query(key, &text);
    }
    let refuse = || format!("{} is not allowed: {}", quoted(&text), allowed(key));
    if text.is_empty() || text.chars().any(char::is_control) || text.len() > limits::TEXT_MAX {
        return Err(refuse());
    }
    match key.kind {
        Kind::Word(words) => check_word(key, words, &text),
        Kind::Address => text
            .parse()
            .map(Value::Address)
            .map_err(|_| refuse_address(&text, key)),
        Kind::Name if text.len() > limits::NAME_MAX => Err(refuse()),
        Kind::Host if !is_host(&text) => Err(refuse()),
        Kind::Variable if text.contains('=') => Err(refuse()),
        _ => Ok(Value::Text(text.to_string())),
    }
}

fn check_word(key: &Key, words: &'static [&'static str], text: &str) -> Result<Value, String> {
    if let Some(word) = words.iter().find(|w| **w == text) {
        return Ok(Value::Word(word));
    }
    if key.name == "engine" && ["mysql", "mariadb"].contains(&text.to_ascii_lowercase().as_str()) {
        return Err("MySQL is not supported yet; the only engine is \"postgresql\"".to_owned());
    }
    let hint =
        nearest(text, words.iter().copied()).map(|w| format!("; did you mean {}?", quoted(w)));
    Err(format!(
        "{} is not allowed: {}{}",
        quoted(text),
        allowed(key),
        hint.unwrap_or_default()
    ))
}

fn refuse_address(text: &str, key: &Key) -> String {
    let port = text
        .rsplit_once(':')
        .and_then(|(_, p)| p.parse::<u16>().ok());
    let hint = match (text.parse::<std::net::IpAddr>().is_ok(), port) {
        (true, None) => "; the port is missing",
        (_, Some(_)) if text.starts_with("localhost:") => {
            "; write 127.0.0.1 or [::1] instead of a name"
        }
        (_, Some(_)) if text.starts_with(':') || text.starts_with('*') => {
            "; write 0.0.0.0 or [::] for every address"
        }
        (_, Some(_)) => "; a listen address is an IP address, not a name",
        _ => "",
    };
    format!("{} is not allowed: {}{hint}", quoted(text), allowed(key))
}

/// Secrets are never repeated in the message.
fn check_secret(key: &Key, text: Zeroizing<String>) -> Result<Value, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.len() > limits::PASSWORD_MAX || text.contains('\0') {
        return Err(format!("the value is not allowed: {}", allowed(key)));
    }
    Ok(Value::Secret(text))
}

/// A host name (letters, digits, `-`, `_`, `.`) or an IP address without brackets. Unix sockets are no hosts.
fn is_host(text: &str) -> bool {
    let name = text.len() <= 253
        && !text.starts_with(['.', '-'])
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    name || text.parse::<std::net::IpAddr>().is_ok()
}

/// What `key` allows, in words.
pub fn allowed(key: &Key) -> String {
    let zero = |zero: Option<&str>| {
        zero.map(|z| format!(", or 0 for \"{z}\""))
            .unwrap_or_default()
    };
    match key.kind {
        Kind::Count {
            min,
            max,
            unit,
            zero: z,
        } if z.is_some() => {
            format!(
                "a whole number of {unit} from {} to {max}{}",
                min.max(1),
                zero(z)
            )
        }
        Kind::Count {
            min,
            max,
            unit: "TCP port",
            ..
        } => format!("a port number from {min} to {max}"),
        Kind::Count { min, max, unit, .. } => {
            format!("a whole number of {unit} from {min} to {max}")
        }
        Kind::Seconds { min, max, zero: z } => {
            format!(
                "a number of seconds from {} to {}{}",
                min.as_secs_f64(),
                max.as_secs_f64(),
                zero(z)
            )
        }
        Kind::Word(words) => {
            let words: Vec<_> = words.iter().map(|w| quoted(w)).collect();
            match words.as_slice() {
                [one] => format!("only {one}"),
                [all @ .., last] => format!("{} or {last}", all.join(", ")),
                [] => String::new(),
            }
        }
        Kind::Name => format!(
            "a name of 1 to {} bytes without control characters",
            limits::NAME_MAX
        ),
        Kind::Host => "a host name or an IP address".to_owned(),
        Kind::Address => {
            "an IP address and a port, as \"127.0.0.1:6432\" or \"[::1]:6432\"".to_owned()
        }
        Kind::Query => format!(
            "SQL statements of 1 to {} bytes without NUL",
            limits::TEXT_MAX
        ),
        Kind::List { of } => format!("a list of at most {} {of}", limits::PINNING_FILTERS_MAX),
        Kind::Path => "the path of a file".to_owned(),
        Kind::Variable => "the name of an environment variable".to_owned(),
        Kind::Secret => format!(
            "a string of 1 to {} bytes without NUL",
            limits::PASSWORD_MAX
        ),
    }
}

fn shown(raw: &Raw) -> String {
    match raw {
        Raw::Integer(n) => n.to_string(),
        Raw::Float(f) => f.to_string(),
        // A text where a number belongs may still be a slip that pasted a secret: its type says enough.
        Raw::Text(_) => "a string".to_owned(),
        Raw::List(_) => "a list".to_owned(),
        Raw::Other(kind) => with_article(kind),
    }
}

fn with_article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    };
    format!("{article} {kind}")
}

/// `text` in quotes, control characters escaped, cut off where it would fill the screen.
pub fn quoted(text: &str) -> String {
    const SHOWN: usize = 80;
    let short: String = text
        .chars()
        .take(SHOWN)
        .flat_map(char::escape_debug)
        .collect();
    let more = if text.chars().nth(SHOWN).is_some() {
        "…"
    } else {
        ""
    };
    format!("\"{short}{more}\"")
}
