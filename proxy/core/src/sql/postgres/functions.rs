//! What a call of one of PostgreSQL's own functions leaves on the session, by the function's name.
//!
//! Whether a name in the text is a call at all is decided in `calls`.

use super::names::HARMLESS;
use crate::pins::PinReason;

/// What a call may leave behind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Effect {
    /// Nothing: one of PostgreSQL's own that lives in its transaction at most.
    Nothing,
    /// State of this kind.
    Pins(PinReason),
    /// It takes away state of this kind.
    Ends(PinReason),
    /// `set_config`: depends on its third argument.
    SetConfig,
}

/// Longest name looked up, bytes; PostgreSQL itself cuts names at 63.
const LONGEST: usize = 63;

/// PostgreSQL's own functions that leave state on the session, sorted. Functions that run SQL given as a string
/// (`query_to_xml`), or whose state has no reason of its own (temporary replication slots, replication origins, a base backup),
/// are not listed: like any unlisted name they are [`PinReason::UnknownCode`].
static STATEFUL: &[(&str, Effect)] = &[
    ("currval", Effect::Pins(PinReason::Sequence)),
    ("lastval", Effect::Pins(PinReason::Sequence)),
    ("nextval", Effect::Pins(PinReason::Sequence)),
    ("pg_advisory_lock", Effect::Pins(PinReason::AdvisoryLock)),
    (
        "pg_advisory_lock_shared",
        Effect::Pins(PinReason::AdvisoryLock),
    ),
    ("pg_advisory_unlock", Effect::Ends(PinReason::AdvisoryLock)),
    (
        "pg_advisory_unlock_all",
        Effect::Ends(PinReason::AdvisoryLock),
    ),
    (
        "pg_advisory_unlock_shared",
        Effect::Ends(PinReason::AdvisoryLock),
    ),
    (
        "pg_try_advisory_lock",
        Effect::Pins(PinReason::AdvisoryLock),
    ),
    (
        "pg_try_advisory_lock_shared",
        Effect::Pins(PinReason::AdvisoryLock),
    ),
    ("set_config", Effect::SetConfig),
    ("setseed", Effect::Pins(PinReason::RandomSeed)),
    ("setval", Effect::Pins(PinReason::Sequence)),
];

/// Functions with one argument that must be known in the spelling `(value).function` too: it calls them just the same.
static STATEFUL_AS_COLUMN: &[(&str, PinReason)] = &[
    ("currval", PinReason::Sequence),
    ("cursor_to_xml", PinReason::UnknownCode),
    ("nextval", PinReason::Sequence),
    ("pg_advisory_lock", PinReason::AdvisoryLock),
    ("pg_advisory_lock_shared", PinReason::AdvisoryLock),
    ("pg_backup_start", PinReason::UnknownCode),
    ("pg_backup_stop", PinReason::UnknownCode),
    (
        "pg_create_physical_replication_slot",
        PinReason::UnknownCode,
    ),
    (
        "pg_replication_origin_session_setup",
        PinReason::UnknownCode,
    ),
    ("pg_start_backup", PinReason::UnknownCode),
    ("pg_stop_backup", PinReason::UnknownCode),
    ("pg_try_advisory_lock", PinReason::AdvisoryLock),
    ("pg_try_advisory_lock_shared", PinReason::AdvisoryLock),
    ("setseed", PinReason::RandomSeed),
    ("ts_stat", PinReason::UnknownCode),
];

/// What calling `name` may leave, where `name` is unqualified or of schema `pg_catalog`. Unquoted names are folded to
/// lower case as the server does; quoted ones count as they are.
#[must_use]
pub fn effect(name: &[u8], quoted: bool) -> Effect {
    let mut buffer = [0; LONGEST];
    let Some(name) = folded(name, quoted, &mut buffer) else {
        return Effect::Pins(PinReason::UnknownCode);
    };
    if harmless(name) {
        return Effect::Nothing;
    }
    match STATEFUL.binary_search_by(|entry| entry.0.as_bytes().cmp(name)) {
        Ok(index) => STATEFUL
            .get(index)
            .map_or(Effect::Pins(PinReason::UnknownCode), |entry| entry.1),
        Err(_) => Effect::Pins(PinReason::UnknownCode),
    }
}

/// What selecting `name` from a value, `(value).name`, leaves because it is a call in truth.
#[inline]
#[must_use]
pub fn effect_as_column(name: &[u8], quoted: bool) -> Option<PinReason> {
    // Every column of every statement comes here: most leave at the first byte.
    if !matches!(name.first()? | 0x20, b'c' | b'n' | b'p' | b's' | b't')
        || name.len() < "currval".len()
    {
        return None;
    }
    let mut buffer = [0; LONGEST];
    let name = folded(name, quoted, &mut buffer)?;
    let index = STATEFUL_AS_COLUMN
        .binary_search_by(|entry| entry.0.as_bytes().cmp(name))
        .ok()?;
    STATEFUL_AS_COLUMN.get(index).map(|entry| entry.1)
}

fn folded<'a>(name: &'a [u8], quoted: bool, buffer: &'a mut [u8; LONGEST]) -> Option<&'a [u8]> {
    if quoted {
        return Some(name);
    }
    let room = buffer.get_mut(..name.len())?;
    room.copy_from_slice(name);
    room.make_ascii_lowercase();
    Some(room)
}

fn harmless(name: &[u8]) -> bool {
    let mut slot = hash(name);
    // Ends: more than half of the slots are empty.
    loop {
        match SLOTS.get(slot) {
            None | Some(&EMPTY) => return false,
            Some(&index) => {
                if HARMLESS
                    .get(index as usize)
                    .is_some_and(|entry| entry.as_bytes() == name)
                {
                    return true;
                }
            }
        }
        slot = (slot + 1) % SLOT_COUNT;
    }
}

const SLOT_COUNT: usize = 8192;
const EMPTY: u16 = u16::MAX;
/// Indexes of [`HARMLESS`] by [`hash`], linearly probed.
static SLOTS: [u16; SLOT_COUNT] = build_slots();

/// FNV-1a, cut. Speed only depends on it: nobody but PostgreSQL chooses the names in the table.
const fn hash(name: &[u8]) -> usize {
    let mut hash = 0x811c_9dc5_u32;
    let mut at = 0;
    while at < name.len() {
        hash = (hash ^ name[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    (hash ^ (hash >> 15)) as usize % SLOT_COUNT
}

const fn build_slots() -> [u16; SLOT_COUNT] {
    assert!(HARMLESS.len() < SLOT_COUNT / 2);
    let mut slots = [EMPTY; SLOT_COUNT];
    let mut index = 0;
    while index < HARMLESS.len() {
        let mut slot = hash(HARMLESS[index].as_bytes());
        while slots[slot] != EMPTY {
            slot = (slot + 1) % SLOT_COUNT;
        }
        slots[slot] = index as u16;
        index += 1;
    }
    slots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_and_disjoint() {
        assert!(HARMLESS.is_sorted() && HARMLESS.len() > 2000);
        assert!(STATEFUL.is_sorted_by_key(|entry| entry.0));
        assert!(STATEFUL_AS_COLUMN.is_sorted_by_key(|entry| entry.0));
        for (name, expected) in STATEFUL {
            assert_eq!(effect(name.as_bytes(), true), *expected, "{name}");
            assert!(!HARMLESS.contains(name), "{name}");
        }
        for (name, reason) in STATEFUL_AS_COLUMN {
            assert_eq!(
                effect(name.as_bytes(), true),
                Effect::Pins(*reason),
                "{name}"
            );
            assert_eq!(
                effect_as_column(name.as_bytes(), false),
                Some(*reason),
                "{name}"
            );
        }
    }

    #[test]
    fn every_harmless_name_is_found() {
        for name in HARMLESS {
            assert_eq!(effect(name.as_bytes(), true), Effect::Nothing, "{name}");
            assert_eq!(
                effect(name.to_ascii_uppercase().as_bytes(), false),
                Effect::Nothing,
                "{name}"
            );
            assert_eq!(effect_as_column(name.as_bytes(), false), None, "{name}");
        }
    }

    #[test]
    fn what_leaves_state_or_runs_text_is_not_harmless() {
        let names = "query_to_xml table_to_xmlschema ts_stat ts_rewrite pg_backup_start pg_start_backup dblink \
                     pg_create_logical_replication_slot pg_copy_physical_replication_slot fmgr_c_validator \
                     pg_replication_origin_xact_setup pg_logical_slot_get_changes my_function \
                     binary_upgrade_create_empty_extension pg_sync_replication_slots";
        for name in names.split_whitespace() {
            assert_eq!(
                effect(name.as_bytes(), false),
                Effect::Pins(PinReason::UnknownCode),
                "{name}"
            );
        }
    }

    #[test]
    fn quoted_names_are_exact() {
        assert_eq!(effect(b"LOWER", false), Effect::Nothing);
        assert_eq!(effect(b"LOWER", true), Effect::Pins(PinReason::UnknownCode));
        assert_eq!(
            effect("nextv\u{e4}l".as_bytes(), false),
            Effect::Pins(PinReason::UnknownCode)
        );
        assert_eq!(
            effect(&[b'a'; 70], false),
            Effect::Pins(PinReason::UnknownCode)
        );
        assert_eq!(effect(b"", false), Effect::Pins(PinReason::UnknownCode));
        assert_eq!(effect(b"", true), Effect::Pins(PinReason::UnknownCode));
    }
}
