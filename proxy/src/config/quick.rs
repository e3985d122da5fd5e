//! A configuration of one target and one user, from command line options alone. It becomes the same tables as a file, so
//! that the same checks hold.

use zeroize::Zeroizing;

use super::keys::{self, Key, Kind, Section};
use super::problem::{Place, Problems};
use super::read::{Entry, Tables};
use super::value::{Raw, quoted};

/// An option of `weir run` that stands for one key.
pub struct QuickOption {
    /// With its dashes: `--listen`.
    pub option: &'static str,
    /// The key's table.
    pub section: Section,
    /// The key.
    pub key: &'static Key,
}

const fn option(option: &'static str, section: Section, key: &'static Key) -> QuickOption {
    QuickOption {
        option,
        section,
        key,
    }
}

/// Every such option. `--target` gives user, host, port and database in one.
pub static OPTIONS: &[QuickOption] = &[
    option("--listen", Section::Listeners, &keys::LISTEN),
    option("--client-tls", Section::Listeners, &keys::CLIENT_TLS),
    option("--client-auth", Section::Listeners, &keys::CLIENT_AUTH),
    option("--tls-cert", Section::Listeners, &keys::TLS_CERTIFICATE),
    option("--tls-key", Section::Listeners, &keys::TLS_KEY),
    option("--password-file", Section::Users, &keys::PASSWORD_FILE),
    option("--password-env", Section::Users, &keys::PASSWORD_ENV),
    option("--target-tls", Section::TargetGroups, &keys::TARGET_TLS),
    option("--target-ca", Section::TargetGroups, &keys::TARGET_CA),
    option(
        "--min-connection-pool-size",
        Section::TargetGroups,
        &keys::MIN_POOL,
    ),
    option(
        "--max-connection-pool-size",
        Section::TargetGroups,
        &keys::MAX_POOL,
    ),
    option(
        "--borrow-timeout",
        Section::TargetGroups,
        &keys::BORROW_TIMEOUT,
    ),
    option("--io", Section::Proxy, &keys::IO),
    option("--shards", Section::Proxy, &keys::SHARDS),
    option(
        "--max-client-connections",
        Section::Proxy,
        &keys::MAX_CLIENT_CONNECTIONS,
    ),
    option("--log-format", Section::Proxy, &keys::LOG_FORMAT),
    option("--log-level", Section::Proxy, &keys::LOG_LEVEL),
    option("--metrics-listen", Section::Proxy, &keys::METRICS_LISTEN),
];

/// What the command line gives.
#[derive(Clone, Debug)]
pub struct Quick {
    /// The value of `--target`; it holds no password, see [`target_problem`].
    pub target: String,
    /// Other options (names as in [`OPTIONS`]) and their values.
    pub given: Vec<(&'static str, String)>,
}

/// A target URL's parts.
#[derive(PartialEq, Eq, Debug)]
struct Target {
    user: String,
    host: String,
    port: Option<String>,
    database: String,
}

const TARGET: Place = Place::Option("--target");
const FORM: &str = "postgres://USER@HOST:PORT/DATABASE";

impl Quick {
    /// The tables that a file with the same content has.
    pub fn tables(&self, problems: &mut Problems) -> Tables {
        let mut tables = Tables::empty(&TARGET);
        let mut listener = Entry::new(Section::Listeners, Place::Option("--listen"));
        let mut group = Entry::new(Section::TargetGroups, TARGET);
        let mut user = Entry::new(Section::Users, Place::Option("--password-file"));
        match parse_target(&self.target) {
            Ok(target) => give_target(&target, &mut group, &mut user, problems),
            Err(text) => problems.error(&TARGET, "", text),
        }
        for (name, value) in &self.given {
            let Some(option) = OPTIONS.iter().find(|o| o.option == *name) else {
                continue;
            };
            let entry = match option.section {
                Section::Proxy => &mut tables.proxy,
                Section::Listeners => &mut listener,
                Section::TargetGroups => &mut group,
                Section::Users => &mut user,
            };
            entry.give(
                option.key,
                raw(option.key, value),
                Place::Option(option.option),
                problems,
            );
        }
        if !listener.has(&keys::LISTEN) {
            let text = format!("is missing; {}", super::value::allowed(&keys::LISTEN));
            problems.error(&listener.place, "", text);
        }
        tables.listeners.push(listener);
        tables.groups.push(group);
        tables.users.push(user);
        tables
    }
}

fn give_target(target: &Target, group: &mut Entry, user: &mut Entry, problems: &mut Problems) {
    let text = |value: &str| Raw::Text(Zeroizing::new(value.to_owned()));
    user.give(&keys::USER_NAME, text(&target.user), TARGET, problems);
    group.give(&keys::HOST, text(&target.host), TARGET, problems);
    group.give(&keys::DATABASE, text(&target.database), TARGET, problems);
    if let Some(port) = &target.port {
        group.give(&keys::PORT, raw(&keys::PORT, port), TARGET, problems);
    }
}

/// An option's text as the kind of value that its key takes.
fn raw(key: &Key, text: &str) -> Raw {
    match key.kind {
        Kind::Count { .. } => text
            .parse()
            .map(Raw::Integer)
            .unwrap_or_else(|_| as_text(text)),
        Kind::Seconds { .. } => match (text.parse(), text.parse()) {
            (Ok(whole), _) => Raw::Integer(whole),
            (_, Ok(number)) => Raw::Float(number),
            _ => as_text(text),
        },
        _ => as_text(text),
    }
}

fn as_text(text: &str) -> Raw {
    Raw::Text(Zeroizing::new(text.to_owned()))
}

fn parse_target(url: &str) -> Result<Target, String> {
    if let Some(problem) = target_problem(url) {
        return Err(problem);
    }
    let rest = url
        .strip_prefix("postgres://")
        .or_else(|| url.strip_prefix("postgresql://"))
        .ok_or_else(|| format!("{} is not allowed: {FORM}", quoted(url)))?;
    if url.contains(['?', '#']) {
        return Err(
            "a target takes no parameters; TLS is set by --target-tls and --target-ca".to_owned(),
        );
    }
    let (authority, database) = rest.split_once('/').unwrap_or((rest, ""));
    let (user, address) = authority.rsplit_once('@').unwrap_or(("", authority));
    if user.is_empty() {
        return Err(format!("the user is missing: {FORM}"));
    }
    let (host, port) = split_port(address);
    if host.is_empty() {
        return Err(format!("the host is missing: {FORM}"));
    }
    let user = decoded(user)?;
    // As every PostgreSQL client does.
    let database = if database.is_empty() {
        user.clone()
    } else {
        decoded(database)?
    };
    Ok(Target {
        user,
        host: decoded(host)?,
        port: port.map(str::to_owned),
        database,
    })
}

/// Why a target URL must not be used, without repeating it: it holds a password, and command lines can be read by
/// everyone on the machine.
pub fn target_problem(url: &str) -> Option<String> {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (user, _) = rest.rsplit_once('@')?;
    user.contains(':').then(|| {
        "a password does not belong into the target: every user of this machine can read command lines; give it with \
         --password-file FILE or --password-env NAME"
            .to_owned()
    })
}

fn split_port(address: &str) -> (&str, Option<&str>) {
    if let Some((host, rest)) = address.strip_prefix('[').and_then(|a| a.split_once(']')) {
        return (host, rest.strip_prefix(':'));
    }
    match address.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (address, None),
    }
}

/// Undoes `%20` and the like.
fn decoded(text: &str) -> Result<String, String> {
    let wrong = || {
        format!(
            "{} is not allowed: % must be followed by two hexadecimal digits of UTF-8 text",
            quoted(text)
        )
    };
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte != b'%' {
            bytes.push(byte);
            continue;
        }
        let mut digit = || {
            rest.next()
                .and_then(|b| char::from(b).to_digit(16))
                .and_then(|d| u8::try_from(d).ok())
        };
        let (high, low) = (digit().ok_or_else(wrong)?, digit().ok_or_else(wrong)?);
        bytes.push(high << 4 | low);
    }
    String::from_utf8(bytes).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(user: &str, host: &str, port: Option<&str>, database: &str) -> Target {
        Target {
            user: user.into(),
            host: host.into(),
            port: port.map(Into::into),
            database: database.into(),
        }
    }

    #[test]
    fn targets_are_read() {
        let read = |url| parse_target(url).unwrap();
        assert_eq!(
            read("postgres://app@127.0.0.1:5432/app"),
            target("app", "127.0.0.1", Some("5432"), "app")
        );
        assert_eq!(
            read("postgresql://app@db.example"),
            target("app", "db.example", None, "app")
        );
        assert_eq!(
            read("postgres://a%40b@[::1]:1/x%2Fy"),
            target("a@b", "::1", Some("1"), "x/y")
        );
    }

    #[test]
    fn wrong_targets_are_refused() {
        for (url, says) in [
            ("mysql://app@h/d", "postgres://USER@HOST"),
            ("app@h/d", "postgres://USER@HOST"),
            ("postgres://h/d", "user is missing"),
            ("postgres://app@/d", "host is missing"),
            ("postgres://app@h/d?sslmode=require", "--target-tls"),
            ("postgres://a%4@h/d", "hexadecimal"),
            ("postgres://a%ff@h/d", "UTF-8"),
        ] {
            let error = parse_target(url).unwrap_err();
            assert!(error.contains(says), "{url}: {error}");
        }
    }

    #[test]
    fn a_password_in_the_target_is_refused_and_not_repeated() {
        for url in [
            "postgres://app:hunter2@h/d",
            "postgres://app:@h/d",
            "app:hunter2@h",
            "postgres://app:p@ss@h/d",
        ] {
            let error = parse_target(url).unwrap_err();
            assert!(
                error.contains("--password-file") && error.contains("--password-env"),
                "{error}"
            );
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
