//! Statements that may take away what a session is pinned for.

use super::*;

#[test]
fn what_may_take_state_away() {
    for (text, ends) in [
        ("UNLISTEN *", &[Listen][..]),
        ("unlisten ch; select 1", &[Listen]),
        ("SELECT pg_advisory_unlock_all()", &[AdvisoryLock]),
        ("SELECT PG_Advisory_Unlock (1)", &[AdvisoryLock]),
        (
            "with a as (select pg_catalog.pg_advisory_unlock_shared(1)) select 1",
            &[AdvisoryLock],
        ),
        ("drop table if exists t", &[TemporaryObject]),
        ("DROP FUNCTION f()", &[TemporaryObject]),
        ("close c", &[HoldCursor]),
        ("close all; drop table t", &[HoldCursor, TemporaryObject]),
        ("discard temp", &[TemporaryObject]),
        ("DISCARD TEMPORARY", &[TemporaryObject]),
        ("discard plans", &[]),
        ("discard sequences", &[]),
        ("select 'unlisten'", &[]),
        ("select pg_advisory_unlock", &[]),
        ("select x.pg_advisory_unlock_all()", &[]),
        ("commit", &[]),
    ] {
        let facts = inspect(text.as_bytes());
        let mut all = Pins::NONE;
        ends.iter().for_each(|reason| all.add(Pins::of(*reason)));
        assert_eq!(facts.ends, all, "{text}");
        let unknown = text.contains("x.");
        assert_eq!(facts.pins.is_empty(), !unknown, "{text}");
        assert_eq!(facts.discards, text.to_lowercase().starts_with("discard"));
    }
    let all = inspect(b"discard all");
    assert_eq!((all.ends, all.pins), (ASKABLE, Pins::of(Discard)));
    assert!(all.discards);
}
