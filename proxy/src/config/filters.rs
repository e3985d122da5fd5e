//! `session_pinning_filters`: the names, what each does, and which there can't be.
//!
//! `EXCLUDE_VARIABLE_SETS` is the name that RDS Proxy has; the others are made from the reasons that the core pins for, so that the name in a log
//! line (`reason=listen`) leads to the filter (`EXCLUDE_LISTEN`).

use weir_core::pins::{BEYOND_RESET, PinReason, Pins};

use super::keys;
use super::problem::Problems;
use super::read::Entry;
use super::suggest::nearest;
use super::value::quoted;

/// RDS Proxy's own name.
const VARIABLE_SETS: &str = "EXCLUDE_VARIABLE_SETS";

/// What [`VARIABLE_SETS`] stands for.
const SETS: [PinReason; 2] = [PinReason::Setting, PinReason::ParameterChanged];

/// Reasons that there is no filter for, and why.
const REFUSED: &[(PinReason, &str)] = &[
    (
        PinReason::PreparedStatement,
        "a client would be told that statements are there which its next server connection does not have",
    ),
    (
        PinReason::UnnamedStatement,
        "a client would run whatever the connection's last client has parsed",
    ),
    (
        PinReason::Load,
        "no reset takes loaded code out of a server process, so other clients would run with it",
    ),
    (
        PinReason::RandomSeed,
        "no reset takes a seed back, so other clients' random() could be foretold",
    ),
    (
        PinReason::Discard,
        "what the session has thrown away weir would give back to it",
    ),
];

fn name_of(reason: PinReason) -> String {
    if SETS.contains(&reason) {
        VARIABLE_SETS.to_owned()
    } else {
        own_name(reason)
    }
}

fn own_name(reason: PinReason) -> String {
    format!("EXCLUDE_{}", reason.name().to_ascii_uppercase())
}

/// Whether something is let through that no reset takes back.
fn leaks(pins: Pins) -> bool {
    !pins.both(BEYOND_RESET).is_empty()
}

fn refused(reason: PinReason) -> Option<&'static str> {
    REFUSED
        .iter()
        .find(|(r, _)| *r == reason)
        .map(|(_, why)| *why)
}

/// Every filter there is: its name, and the reasons that do not pin then.
fn filters() -> Vec<(String, Pins)> {
    let mut all: Vec<(String, Pins)> = Vec::new();
    for reason in PinReason::ALL.iter().filter(|r| refused(**r).is_none()) {
        let name = name_of(*reason);
        match all.iter_mut().find(|(n, _)| *n == name) {
            Some((_, pins)) => pins.add(Pins::of(*reason)),
            None => all.push((name, Pins::of(*reason))),
        }
    }
    all
}

/// The reasons that do not pin, by the names that are given.
pub fn read(entry: &Entry, problems: &mut Problems) -> Pins {
    let key = &keys::PINNING_FILTERS;
    let (place, full) = (entry.place_of(key), entry.full_name(key));
    let mut unpinned = Pins::NONE;
    for name in entry.list(key) {
        match filter(name) {
            Ok(pins) => {
                unpinned.add(pins);
                if leaks(pins) {
                    let text = format!(
                        "{} also lets through what no reset takes back (loaded code, random seeds, what code keeps in the server process): \
                         other clients may see it",
                        quoted(name)
                    );
                    problems.warn(place, &full, text);
                }
            }
            Err(text) => problems.error(place, &full, text),
        }
    }
    unpinned
}

fn filter(name: &str) -> Result<Pins, String> {
    let all = filters();
    if let Some((_, pins)) = all.iter().find(|(n, _)| n == name) {
        return Ok(*pins);
    }
    let impossible = PinReason::ALL.iter().find(|r| name_of(**r) == name);
    if let Some(why) = impossible.and_then(|r| refused(*r)) {
        return Err(format!("there is no filter {}: {why}", quoted(name)));
    }
    let stands_for = SETS.iter().any(|r| name == own_name(*r));
    let near = if stands_for {
        Some(VARIABLE_SETS)
    } else {
        nearest(name, all.iter().map(|(n, _)| n.as_str()))
    };
    Err(match near {
        Some(near) => format!(
            "there is no filter {}; did you mean {}?",
            quoted(name),
            quoted(near)
        ),
        None => {
            let names: Vec<_> = all.iter().map(|(n, _)| quoted(n)).collect();
            format!(
                "there is no filter {}; there are {}",
                quoted(name),
                names.join(", ")
            )
        }
    })
}

/// What a session loses that is not pinned for this reason; nothing for those that there is no filter for.
const fn lost(reason: PinReason) -> &'static str {
    match reason {
        PinReason::Setting | PinReason::ParameterChanged => {
            "settings that weir can't replay; those that it can are replayed as ever"
        }
        PinReason::TemporaryObject => "temporary tables and other temporary objects",
        PinReason::Listen => "its listens: notifications come no more",
        PinReason::AdvisoryLock => "its session advisory locks: others may take them from then on",
        PinReason::HoldCursor => "its WITH HOLD cursors",
        PinReason::Sequence => "`currval` and `lastval`: they fail with 55000",
        PinReason::UnknownCode => {
            "whatever `DO`, `CALL` and functions of your own do to the session"
        }
        PinReason::LargeStatement => {
            "whatever statements that are too long to be read do to the session"
        }
        PinReason::UnknownStatement => {
            "whatever statements that weir does not know do to the session"
        }
        PinReason::FunctionCall => {
            "whatever functions do to the session that are called by the function-call message"
        }
        _ => "what the reason is about",
    }
}

/// The section of `docs/configuration.md`.
pub fn document() -> String {
    let mut text = String::from(
        "\n## Session pinning filters\n\n\
         A session is pinned when it leaves something on its server connection that weir can't give back to it on another one. With a filter \
         it is not: it gives its connection back after every transaction, the connection is reset (`DISCARD ALL`, one round trip) before anyone \
         else has it, and what the session had left is gone, for itself too. Inside the transaction it is there. Other clients never see it, but \
         for the filters marked *leaks*: what no reset takes back (code that was loaded, a random seed, what procedural languages keep in the \
         server process) may be seen by the next client. A reload applies to what is done from then on; sessions that are pinned stay pinned.\n\n\
         | filter | what the session loses at the end of its transaction |\n|---|---|\n",
    );
    for (name, pins) in filters() {
        let leaks = if leaks(pins) { "; *leaks*" } else { "" };
        let lost = pins.iter().next().map_or("", lost);
        text.push_str(&format!("| `{name}` | {lost}{leaks} |\n"));
    }
    text.push_str("\nThere can be no filter for these, and `weir check` says why:\n\n| reason | why not |\n|---|---|\n");
    for (reason, why) in REFUSED {
        text.push_str(&format!("| `{}` | {why} |\n", reason.name()));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_a_filter_or_a_word_why_not() {
        let mut all = Pins::NONE;
        for (name, pins) in filters() {
            assert!(name.starts_with("EXCLUDE_"));
            assert!(all.both(pins).is_empty(), "{name} comes twice");
            for reason in pins.iter() {
                assert_ne!(lost(reason), "what the reason is about", "{name}");
            }
            all.add(pins);
        }
        for (reason, _) in REFUSED {
            assert!(!all.has(*reason), "{}", reason.name());
            all.add(Pins::of(*reason));
        }
        assert!(PinReason::ALL.iter().all(|r| all.has(*r)));
    }

    #[test]
    fn the_name_of_rds_stands_for_every_setting() {
        let pins = filter(VARIABLE_SETS).unwrap();
        assert!(SETS.iter().all(|r| pins.has(*r)));
        assert_eq!(pins.iter().count(), SETS.len());
    }

    #[test]
    fn wrong_names_are_answered_with_the_right_one_or_the_reason() {
        for (name, says) in [
            ("EXCLUDE_LISTENS", "did you mean \"EXCLUDE_LISTEN\"?"),
            (
                "exclude_variable_sets",
                "did you mean \"EXCLUDE_VARIABLE_SETS\"?",
            ),
            ("EXCLUDE_SETTING", "did you mean \"EXCLUDE_VARIABLE_SETS\"?"),
            ("EXCLUDE_LOAD", "no reset takes loaded code out"),
            (
                "EXCLUDE_UNNAMED_STATEMENT",
                "whatever the connection's last client",
            ),
            ("everything", "there are \"EXCLUDE_VARIABLE_SETS\""),
        ] {
            let error = filter(name).unwrap_err();
            assert!(error.contains(says), "{error}");
        }
    }
}
