//! Of the key table.

use super::*;
use std::collections::HashSet;

#[test]
fn names_are_unique_within_a_section() {
    for section in Section::ALL {
        let names: HashSet<_> = section.keys().iter().map(|k| k.name).collect();
        assert_eq!(names.len(), section.keys().len(), "{}", section.header());
    }
}

#[test]
fn every_default_is_allowed_by_its_own_key() {
    for key in Section::ALL.iter().flat_map(|s| s.keys()) {
        match (key.kind, key.default) {
            (Kind::Count { min, max, zero, .. }, Default::Count(n)) => {
                assert!(
                    (min..=max).contains(&n) || (n == 0 && zero.is_some()),
                    "{}",
                    key.name
                );
            }
            (Kind::Seconds { min, max, zero }, Default::Seconds(d)) => {
                assert!(
                    (min..=max).contains(&d) || (d.is_zero() && zero.is_some()),
                    "{}",
                    key.name
                );
            }
            (Kind::Word(words), Default::Text(word)) => {
                assert!(words.contains(&word), "{}", key.name)
            }
            (_, Default::Required | Default::Absent(_)) => {
                assert!(!key.example.is_empty(), "{}", key.name)
            }
            (Kind::Count { .. } | Kind::Seconds { .. } | Kind::Word(_), other) => {
                panic!("{} has a default of another kind: {other:?}", key.name)
            }
            (_, Default::Text(_)) => {}
            (_, other) => panic!("{} has a default of another kind: {other:?}", key.name),
        }
    }
}
