//! Settings that a session has made and that can be made again on another server connection.
//!
//! Here are the books: [`Ledger`] (one per session that has set anything: what it has set, by PostgreSQL's rules for transactions)
//! and [`SessionState`] (what comes of it: kept by the session, and by the backend that holds it). Which statements can be
//! followed is decided in [`crate::sql::postgres::settings`], when a backend is brought to another state in [`crate::shard`].

mod book;
mod fact;

pub use book::Ledger;
pub use fact::{Bound, Fact};

use core::hash::{Hash as _, Hasher as _};
use std::hash::DefaultHasher;

use super::messages;
use crate::sql::postgres::settings::policy;
use crate::wire::Parameters;

/// One setting.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct Setting {
    /// In lower case.
    pub name: Box<[u8]>,
    /// As it stands in SQL behind `SET name TO`.
    pub value: Box<[u8]>,
    /// What the server reports of it, if it reports this one.
    pub reported: Option<Box<[u8]>>,
}

/// All settings in which a session differs from a new one of its profile; at least one.
#[derive(PartialEq, Eq, Debug)]
pub struct SessionState {
    /// Tells states apart at a glance; equal ones have equal marks, and none has 0.
    mark: u64,
    /// Sorted by name.
    settings: Vec<Setting>,
    /// Names and values of those that change how statements are read; usually empty.
    reading: Box<[u8]>,
}

impl SessionState {
    /// `settings` are sorted by name.
    fn new(settings: Vec<Setting>) -> SessionState {
        let mut hasher = DefaultHasher::new();
        settings.hash(&mut hasher);
        SessionState {
            mark: hasher.finish().max(1),
            reading: reading(settings.iter().map(|s| (&*s.name, &*s.value))),
            settings,
        }
    }

    /// Tells states apart at a glance: never 0.
    #[must_use]
    pub fn mark(&self) -> u64 {
        self.mark
    }

    /// Whether a reported parameter is one of these settings.
    #[must_use]
    pub fn sets(&self, parameter: &[u8]) -> bool {
        // Reported with whoever the session is.
        let follows = parameter.eq_ignore_ascii_case(b"is_superuser");
        self.setting(parameter).is_some()
            || (follows && self.settings.iter().any(|s| policy::is_identity(&s.name)))
    }

    fn setting(&self, parameter: &[u8]) -> Option<&Setting> {
        self.settings
            .iter()
            .find(|s| s.name.eq_ignore_ascii_case(parameter))
    }
}

/// Whether what a server reports now is explained by `state`, and what `state` is known to report is what the server reports.
/// `known`: what it reported before anything was set; `drift`: in which it differs now.
#[must_use]
pub fn explains(state: Option<&SessionState>, known: &Parameters, drift: &Parameters) -> bool {
    let Some(state) = state else {
        return drift.is_empty();
    };
    drift.iter().all(|(name, _)| state.sets(name))
        && state
            .settings
            .iter()
            .all(|s| current(known, drift, &s.name) == s.reported.as_deref())
}

/// What a server reports of a setting now.
fn current<'a>(known: &'a Parameters, drift: &'a Parameters, name: &[u8]) -> Option<&'a [u8]> {
    let mut all = drift.iter().chain(known);
    all.find(|(n, _)| n.eq_ignore_ascii_case(name))
        .map(|(_, value)| &**value)
}

/// Appends what brings a server session from one state to another: BEGIN by the extended protocol without a Sync, and a query. Should
/// anything of it fail, whatever the client sent behind it is refused: up to a Sync if the transaction has not begun, else because
/// it has failed. Nothing ever runs with settings that are not its client's.
///
/// Who the session is comes last, and is taken back first: settings are made by whoever has logged in, who may set what another must not.
pub fn write_replay(out: &mut Vec<u8>, from: Option<&SessionState>, to: Option<&SessionState>) {
    messages::parse(out, b"", b"BEGIN\0\0\0");
    messages::bind_and_execute(out);
    let (from, to) = (settings_of(from), settings_of(to));
    messages::query_of(out, |out| {
        let who = [policy::ROLE, policy::SESSION_USER];
        for name in who.iter().filter(|name| has(from, name)) {
            write_reset(out, name);
        }
        for old in from.iter().filter(|s| !policy::is_identity(&s.name)) {
            if !to.iter().any(|s| s.name == old.name) {
                write_reset(out, &old.name);
            }
        }
        for new in to.iter().filter(|s| !policy::is_identity(&s.name)) {
            if !from.contains(new) {
                write_set(out, new);
            }
        }
        for name in who.iter().rev() {
            if let Some(setting) = to.iter().find(|s| *s.name == **name) {
                write_set(out, setting);
            }
        }
        out.extend_from_slice(b"COMMIT");
    });
}

fn has(settings: &[Setting], name: &[u8]) -> bool {
    settings.iter().any(|s| *s.name == *name)
}

fn write_reset(out: &mut Vec<u8>, name: &[u8]) {
    out.extend_from_slice(b"RESET ");
    write_name(out, name);
    out.push(b';');
}

fn write_set(out: &mut Vec<u8>, setting: &Setting) {
    out.extend_from_slice(b"SET ");
    write_name(out, &setting.name);
    out.extend_from_slice(b" TO ");
    out.extend_from_slice(&setting.value);
    out.push(b';');
}

fn settings_of(state: Option<&SessionState>) -> &[Setting] {
    state.map_or(&[], |s| &s.settings)
}

/// In quotes, part by part: no part is a keyword then.
fn write_name(out: &mut Vec<u8>, name: &[u8]) {
    for (at, part) in name.split(|b| *b == b'.').enumerate() {
        if at > 0 {
            out.push(b'.');
        }
        out.push(b'"');
        out.extend_from_slice(part);
        out.push(b'"');
    }
}

/// Those of some settings, sorted by name, that change how statements are read, in one piece.
fn reading<'a>(settings: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Box<[u8]> {
    let mut all = Vec::new();
    for (name, value) in settings.filter(|(name, _)| policy::is_reading(name)) {
        all.extend_from_slice(name);
        all.push(b'=');
        all.extend_from_slice(value);
        all.push(b'\n');
    }
    all.into()
}

/// As a string in SQL; what servers report of date styles needs no escapes, and is refused if it does.
fn quoted(text: &[u8]) -> Box<[u8]> {
    let mut out = vec![b'\''];
    out.extend(text.iter().filter(|b| !matches!(b, b'\'' | b'\\')));
    out.push(b'\'');
    out.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(settings: &[(&str, &str)]) -> SessionState {
        let setting = |(name, value): &(&str, &str)| Setting {
            name: name.as_bytes().into(),
            value: value.as_bytes().into(),
            reported: None,
        };
        SessionState::new(settings.iter().map(setting).collect())
    }

    fn replay(from: Option<&SessionState>, to: Option<&SessionState>) -> String {
        let mut out = Vec::new();
        write_replay(&mut out, from, to);
        let begin = b"P\0\0\0\x0d\0BEGIN\0\0\0B\0\0\0\x0c\0\0\0\0\0\0\0\0E\0\0\0\x09\0\0\0\0\0";
        let query = out.strip_prefix(begin).unwrap();
        assert_eq!(usize::from(query[4]) + 1, query.len());
        String::from_utf8_lossy(&query[5..query.len() - 1]).into_owned()
    }

    #[test]
    fn a_replay_says_the_difference_alone() {
        let a = state(&[("a", "1"), ("b", "2"), ("x.y", "'z'")]);
        let b = state(&[("b", "3"), ("c", "on"), ("x.y", "'z'")]);
        assert_eq!(
            replay(Some(&a), Some(&b)),
            "RESET \"a\";SET \"b\" TO 3;SET \"c\" TO on;COMMIT"
        );
        assert_eq!(
            replay(None, Some(&a)),
            "SET \"a\" TO 1;SET \"b\" TO 2;SET \"x\".\"y\" TO 'z';COMMIT"
        );
        assert_eq!(
            replay(Some(&b), None),
            "RESET \"b\";RESET \"c\";RESET \"x\".\"y\";COMMIT"
        );
    }

    #[test]
    fn who_a_session_is_is_taken_back_first_and_set_last() {
        let a = state(&[
            ("a", "1"),
            ("role", "'r'"),
            ("session_authorization", "'s'"),
        ]);
        let b = state(&[("role", "'r'"), ("z", "1")]);
        assert_eq!(
            replay(None, Some(&a)),
            "SET \"a\" TO 1;SET \"session_authorization\" TO 's';SET \"role\" TO 'r';COMMIT"
        );
        assert_eq!(
            replay(Some(&a), Some(&b)),
            "RESET \"role\";RESET \"session_authorization\";RESET \"a\";SET \"z\" TO 1;SET \"role\" TO 'r';COMMIT"
        );
        assert_eq!(replay(Some(&b), None), "RESET \"role\";RESET \"z\";COMMIT");
        assert!(a.sets(b"is_superuser") && !state(&[("z", "1")]).sets(b"is_superuser"));
    }

    #[test]
    fn reports_are_explained_by_the_settings_that_they_are_of() {
        let parameter = |n: &str, v: &str| (n.as_bytes().into(), v.as_bytes().into());
        let known = vec![
            parameter("TimeZone", "UTC"),
            parameter("server_version", "17"),
        ];
        assert!(explains(None, &known, &vec![]));
        assert!(!explains(None, &known, &vec![parameter("TimeZone", "CET")]));
        let setting = |reported: &str| Setting {
            name: b"timezone"[..].into(),
            value: b"'CET'"[..].into(),
            reported: Some(reported.as_bytes().into()),
        };
        let state = SessionState::new(vec![setting("CET")]);
        assert!(explains(
            Some(&state),
            &known,
            &vec![parameter("TimeZone", "CET")]
        ));
        assert!(!explains(Some(&state), &known, &vec![]));
        assert!(!explains(
            Some(&state),
            &known,
            &vec![parameter("TimeZone", "EST")]
        ));
        let both = vec![parameter("TimeZone", "CET"), parameter("DateStyle", "ISO")];
        assert!(!explains(Some(&state), &known, &both));
    }
}
