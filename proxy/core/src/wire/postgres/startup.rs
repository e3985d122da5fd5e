//! The first packet of a client: StartupMessage, SSLRequest, GSSENCRequest or CancelRequest (PostgreSQL manual, "Message
//! Formats"), read as the server reads it.
//!
//! What follows from a packet, and when one is allowed, is decided in [`super::client_login`].

use std::sync::Arc;

use super::errors::{self, ClientError};
use super::messages::{CANCEL_REQUEST, GSSENC_REQUEST, PROTOCOL_3_0, PROTOCOL_3_2, SSL_REQUEST};
use crate::limits::{SERVER_CANCEL_KEY_MAX, STARTUP_PARAMETERS_MAX};

/// Names and values of startup parameters, ordered by name, each name once: equal sets are equal. `options` comes first.
pub type Parameters = Vec<(Box<[u8]>, Box<[u8]>)>;

/// A StartupMessage that weir can serve.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Startup {
    /// The version word to speak: [`PROTOCOL_3_0`] or [`PROTOCOL_3_2`].
    pub version: u32,
    /// The client asked for something else than `version`, or for options that weir does not know.
    pub negotiate: bool,
    /// `_pq_.` options of the client, none of which weir knows.
    pub unknown_options: Vec<Box<[u8]>>,
    /// Login name. One that is not UTF-8 holds U+FFFD and is nobody's.
    pub user: Arc<str>,
    /// Database; the user's name if none is given.
    pub database: Arc<str>,
    /// Everything else, verbatim, `options` included.
    pub parameters: Parameters,
}

impl Startup {
    /// The protocol minor to speak: 0 or 2.
    #[must_use]
    pub fn minor(&self) -> u16 {
        if self.version == PROTOCOL_3_2 { 2 } else { 0 }
    }
}

/// A client's first packet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum First {
    /// SSLRequest.
    Ssl,
    /// GSSENCRequest.
    GssEnc,
    /// CancelRequest: key and secret as a BackendKeyData gave them; the secret has 4 to 256 bytes.
    Cancel {
        /// The number given as process id.
        key: u32,
        /// The secret.
        secret: Vec<u8>,
    },
    /// StartupMessage.
    Startup(Box<Startup>),
}

/// Why a first packet is not served.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Unserved {
    /// With an answer.
    Refuse(Box<ClientError>),
    /// Without one, as the server does where no client could read it.
    Hangup(&'static str),
}

impl From<ClientError> for Unserved {
    fn from(error: ClientError) -> Unserved {
        Unserved::Refuse(Box::new(error))
    }
}

/// Reads a packet without its length word. `plain_startup_ok`: a StartupMessage is welcome on this connection as it is;
/// otherwise it is refused for want of TLS before more of it is read.
///
/// # Errors
/// What the client is told, or that it is to be cut off.
pub fn parse(packet: &[u8], plain_startup_ok: bool) -> Result<First, Unserved> {
    let (word, rest) = word_of(packet).ok_or(Unserved::Hangup("startup packet too short"))?;
    match word {
        SSL_REQUEST => Ok(First::Ssl),
        GSSENC_REQUEST => Ok(First::GssEnc),
        CANCEL_REQUEST => parse_cancel(rest),
        _ => {
            let version = negotiable(word)?;
            if !plain_startup_ok {
                return Err(errors::tls_required().into());
            }
            parse_startup(word, version, rest).map(|s| First::Startup(Box::new(s)))
        }
    }
}

fn word_of(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (word, rest) = bytes.split_first_chunk::<4>()?;
    Some((u32::from_be_bytes(*word), rest))
}

fn parse_cancel(rest: &[u8]) -> Result<First, Unserved> {
    let wrong = Unserved::Hangup("cancel request of a wrong length");
    match word_of(rest) {
        Some((key, secret)) if (4..=SERVER_CANCEL_KEY_MAX).contains(&secret.len()) => {
            let secret = secret.to_vec();
            Ok(First::Cancel { key, secret })
        }
        _ => Err(wrong),
    }
}

/// The version to speak with a client that asks for `asked`. 3.1 never existed; what is newer than 3.2 gets 3.2.
fn negotiable(asked: u32) -> Result<u32, ClientError> {
    let (major, minor) = (asked >> 16, asked & 0xffff);
    match (major, minor) {
        (3, 0 | 1) => Ok(PROTOCOL_3_0),
        (3, _) => Ok(PROTOCOL_3_2),
        _ => Err(errors::unsupported_protocol(major, minor)),
    }
}

fn parse_startup(asked: u32, version: u32, rest: &[u8]) -> Result<Startup, Unserved> {
    let mut raw = RawStartup::default();
    for pair in split_pairs(rest)? {
        raw.take(pair);
    }
    if raw.parameters.len() > STARTUP_PARAMETERS_MAX || raw.unknown.len() > STARTUP_PARAMETERS_MAX {
        return Err(errors::too_many_startup_parameters(STARTUP_PARAMETERS_MAX).into());
    }
    check_replication(raw.replication)?;
    if raw.user.is_empty() {
        return Err(errors::no_user_name().into());
    }
    let database = if raw.database.is_empty() {
        raw.user
    } else {
        raw.database
    };
    let database = core::str::from_utf8(database).map_err(|_| errors::database_name_not_utf8())?;
    Ok(Startup {
        version,
        negotiate: asked != version || !raw.unknown.is_empty(),
        user: String::from_utf8_lossy(raw.user).into(),
        database: database.into(),
        unknown_options: raw.unknown.into_iter().map(Box::from).collect(),
        parameters: in_order(raw.parameters),
    })
}

type Pair<'a> = (&'a [u8], &'a [u8]);

/// The parameters of a StartupMessage, sorted into what weir looks at and what it passes on.
#[derive(Default)]
struct RawStartup<'a> {
    user: &'a [u8],
    database: &'a [u8],
    replication: &'a [u8],
    unknown: Vec<&'a [u8]>,
    parameters: Vec<Pair<'a>>,
}

impl<'a> RawStartup<'a> {
    fn take(&mut self, (name, value): Pair<'a>) {
        match name {
            b"user" => self.user = value,
            b"database" => self.database = value,
            b"replication" => self.replication = value,
            _ if name.starts_with(b"_pq_.") => self.unknown.push(name),
            _ => self.parameters.push((name, value)),
        }
    }
}

/// `name NUL value NUL … NUL`, and nothing behind.
fn split_pairs(bytes: &[u8]) -> Result<Vec<Pair<'_>>, ClientError> {
    let layout = "invalid startup packet layout: expected terminator as last byte";
    let mut pairs = Vec::new();
    let mut rest = bytes;
    loop {
        let bad = || errors::protocol_violation(layout);
        let (name, behind) = cstr(rest).ok_or_else(bad)?;
        if name.is_empty() {
            return if behind.is_empty() {
                Ok(pairs)
            } else {
                Err(bad())
            };
        }
        let (value, behind) = cstr(behind).ok_or_else(bad)?;
        pairs.push((name, value));
        rest = behind;
    }
}

fn cstr(bytes: &[u8]) -> Option<Pair<'_>> {
    let end = memchr::memchr(0, bytes)?;
    Some((bytes.get(..end)?, bytes.get(end + 1..)?))
}

/// Orders by name; of equal names the last one stays, as at the server. The server's settings are the same in upper and
/// lower case; `options` alone is not a setting and has to be spelled like that.
fn in_order(mut pairs: Vec<Pair<'_>>) -> Parameters {
    let key = |pair: &Pair<'_>| (pair.0 != b"options", pair.0.to_ascii_lowercase());
    pairs.reverse();
    pairs.sort_by_cached_key(key);
    pairs.dedup_by_key(|pair| key(pair));
    pairs
        .into_iter()
        .map(|(name, value)| (name.into(), value.into()))
        .collect()
}

/// No value and false values are fine: that is an ordinary session.
fn check_replication(value: &[u8]) -> Result<(), ClientError> {
    if value == b"database" {
        return Err(errors::replication_not_supported());
    }
    match parse_bool(value) {
        _ if value.is_empty() => Ok(()),
        Some(false) => Ok(()),
        Some(true) => Err(errors::replication_not_supported()),
        None => {
            let shown = String::from_utf8_lossy(value);
            Err(errors::invalid_replication_value(&shown))
        }
    }
}

/// A boolean as the server's `parse_bool` reads it: `true`, `false`, `yes`, `no` or a beginning of them, `on`, `off` or
/// `of`, `1`, `0`, in any case.
fn parse_bool(value: &[u8]) -> Option<bool> {
    let value = value.to_ascii_lowercase();
    let begins = |word: &str| !value.is_empty() && word.as_bytes().starts_with(&value);
    match value.as_slice() {
        b"1" | b"on" => Some(true),
        b"0" | b"of" | b"off" => Some(false),
        _ if begins("true") || begins("yes") => Some(true),
        _ if begins("false") || begins("no") => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(word: u32, pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut out = word.to_be_bytes().to_vec();
        for (name, value) in pairs {
            out.extend_from_slice(name.as_bytes());
            out.push(0);
            out.extend_from_slice(value.as_bytes());
            out.push(0);
        }
        out.push(0);
        out
    }

    fn startup(word: u32, pairs: &[(&str, &str)]) -> Startup {
        match parse(&packet(word, pairs), true) {
            Ok(First::Startup(startup)) => *startup,
            other => panic!("{other:?}"),
        }
    }

    fn refusal(packet: &[u8]) -> ClientError {
        match parse(packet, true) {
            Err(Unserved::Refuse(error)) => *error,
            other => panic!("{other:?}"),
        }
    }

    fn pairs(of: &[(&str, &str)]) -> Parameters {
        let bytes = |text: &str| Box::from(text.as_bytes());
        of.iter().map(|(n, v)| (bytes(n), bytes(v))).collect()
    }

    #[test]
    fn versions_are_negotiated() {
        for (asked, version, minor, negotiate) in [
            (PROTOCOL_3_0, PROTOCOL_3_0, 0, false),
            (PROTOCOL_3_2, PROTOCOL_3_2, 2, false),
            (PROTOCOL_3_0 + 1, PROTOCOL_3_0, 0, true),
            (PROTOCOL_3_0 + 3, PROTOCOL_3_2, 2, true),
            (PROTOCOL_3_0 + 9999, PROTOCOL_3_2, 2, true),
        ] {
            let got = startup(asked, &[("user", "u")]);
            assert_eq!(
                (got.version, got.minor(), got.negotiate),
                (version, minor, negotiate)
            );
        }
        for word in [2 << 16, 4 << 16, 0, u32::MAX, (1234 << 16) | 5681] {
            let error = refusal(&packet(word, &[("user", "u")]));
            assert_eq!(error.code, "0A000");
            let (major, minor) = (word >> 16, word & 0xffff);
            let words = format!(
                "unsupported frontend protocol {major}.{minor}: server supports 3.0 to 3.2"
            );
            assert_eq!(error.message, words);
        }
    }

    #[test]
    fn protocol_options_are_reported_and_dropped() {
        let got = startup(
            PROTOCOL_3_0,
            &[("user", "u"), ("_pq_.b", "1"), ("_pq_.a", "2")],
        );
        assert!(got.negotiate && got.parameters.is_empty());
        let names: [Box<[u8]>; 2] = [Box::from(&b"_pq_.b"[..]), Box::from(&b"_pq_.a"[..])];
        assert_eq!(got.unknown_options, names);
    }

    #[test]
    fn user_and_database() {
        let got = startup(PROTOCOL_3_0, &[("user", "u"), ("database", "d")]);
        assert_eq!((&*got.user, &*got.database), ("u", "d"));
        assert_eq!(&*startup(PROTOCOL_3_0, &[("user", "u")]).database, "u");
        assert_eq!(
            &*startup(PROTOCOL_3_0, &[("user", "u"), ("database", "")]).database,
            "u"
        );
        for none in [
            &[][..],
            &[("user", "")],
            &[("database", "d")],
            &[("USER", "u")],
        ] {
            let error = refusal(&packet(PROTOCOL_3_0, none));
            assert_eq!(error.code, "28000");
            assert_eq!(
                error.message,
                "no PostgreSQL user name specified in startup packet"
            );
        }
    }

    #[test]
    fn names_that_are_not_utf8() {
        let raw = b"\0\x03\0\0user\0\xff\0database\0d\0\0";
        assert!(matches!(parse(raw, true), Ok(First::Startup(s)) if &*s.user == "\u{fffd}"));
        let raw = b"\0\x03\0\0user\0u\0database\0\xff\0\0";
        assert_eq!(refusal(raw).code, "0A000");
        let raw = b"\0\x03\0\0user\0u\0application_name\0\xff\0\0";
        assert!(matches!(parse(raw, true), Ok(First::Startup(s)) if *s.parameters[0].1 == [0xff]));
    }

    #[test]
    fn equal_sets_of_parameters_are_equal() {
        let one = startup(
            PROTOCOL_3_0,
            &[
                ("TimeZone", "UTC"),
                ("user", "u"),
                ("options", "-c a=b"),
                ("client_encoding", "UTF8"),
            ],
        );
        let two = startup(
            PROTOCOL_3_0,
            &[
                ("client_encoding", "LATIN1"),
                ("options", "-c a=b"),
                ("client_encoding", "UTF8"),
                ("user", "u"),
                ("timezone", "GMT"),
                ("TimeZone", "UTC"),
            ],
        );
        let expected = [
            ("options", "-c a=b"),
            ("client_encoding", "UTF8"),
            ("TimeZone", "UTC"),
        ];
        assert_eq!(one.parameters, pairs(&expected));
        assert_eq!(one.parameters, two.parameters);
        let odd = startup(
            PROTOCOL_3_0,
            &[("user", "u"), ("options", "x"), ("OPTIONS", "y")],
        );
        assert_eq!(odd.parameters, pairs(&[("options", "x"), ("OPTIONS", "y")]));
    }

    #[test]
    fn replication_is_refused_unless_false() {
        for value in ["", "0", "false", "f", "FALSE", "no", "n", "off", "of"] {
            let got = startup(PROTOCOL_3_0, &[("user", "u"), ("replication", value)]);
            assert!(got.parameters.is_empty(), "{value}");
        }
        for value in ["1", "true", "T", "yes", "on", "database"] {
            let error = refusal(&packet(
                PROTOCOL_3_0,
                &[("user", "u"), ("replication", value)],
            ));
            assert_eq!(error.code, "0A000", "{value}");
        }
        for value in ["o", "2", "truely", "DATABASE", "x"] {
            let error = refusal(&packet(
                PROTOCOL_3_0,
                &[("user", "u"), ("replication", value)],
            ));
            assert_eq!(error.code, "22023", "{value}");
        }
    }

    #[test]
    fn parameters_are_bounded() {
        let many: Vec<_> = (0..=STARTUP_PARAMETERS_MAX)
            .map(|n| format!("p{n}"))
            .collect();
        let mut all: Vec<_> = many.iter().map(|name| (name.as_str(), "")).collect();
        all.push(("user", "u"));
        assert_eq!(refusal(&packet(PROTOCOL_3_0, &all)).code, "54000");
        assert_eq!(
            startup(PROTOCOL_3_0, &all[1..]).parameters.len(),
            STARTUP_PARAMETERS_MAX
        );
        let many: Vec<_> = many.iter().map(|name| format!("_pq_.{name}")).collect();
        let all: Vec<_> = many.iter().map(|name| (name.as_str(), "")).collect();
        assert_eq!(refusal(&packet(PROTOCOL_3_0, &all)).code, "54000");
    }

    #[test]
    fn requests_for_encryption_and_cancel() {
        assert_eq!(parse(&SSL_REQUEST.to_be_bytes(), false), Ok(First::Ssl));
        assert_eq!(
            parse(&GSSENC_REQUEST.to_be_bytes(), false),
            Ok(First::GssEnc)
        );
        let cancel = |secret: usize| {
            let mut raw = CANCEL_REQUEST.to_be_bytes().to_vec();
            raw.extend_from_slice(&7_u32.to_be_bytes());
            raw.extend(vec![9; secret]);
            parse(&raw, false)
        };
        for length in [4, 32, 256] {
            let secret = vec![9; length];
            assert_eq!(cancel(length), Ok(First::Cancel { key: 7, secret }));
        }
        for length in [0, 3, 257] {
            assert!(matches!(cancel(length), Err(Unserved::Hangup(_))));
        }
        assert!(matches!(
            parse(&CANCEL_REQUEST.to_be_bytes(), true),
            Err(Unserved::Hangup(_))
        ));
    }

    #[test]
    fn tls_is_demanded_before_the_rest_is_read() {
        let raw = packet(PROTOCOL_3_0, &[("user", "u")]);
        let Err(Unserved::Refuse(error)) = parse(&raw, false) else {
            panic!("not refused");
        };
        assert_eq!(error.code, "28000");
        assert!(error.message.contains("requires TLS"));
        assert!(error.hint.unwrap().contains("sslmode=require"));
    }

    #[test]
    fn every_truncation_and_addition_is_refused() {
        let raw = packet(PROTOCOL_3_0, &[("user", "u"), ("a", "b")]);
        for end in 0..raw.len() {
            assert!(parse(&raw[..end], true).is_err(), "{end}");
        }
        let more = [&raw[..], b"x"].concat();
        assert_eq!(refusal(&more).code, "08P01");
        assert_eq!(refusal(&[&raw[..], b"\0"].concat()).code, "08P01");
    }
}
