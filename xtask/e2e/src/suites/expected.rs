//! `expected.toml`: which tests may differ, and why.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use super::sources::SUITES;

const TEXT: &str = include_str!("expected.toml");

/// Tests that may differ; whether they do so only sometimes.
pub type Differences = BTreeMap<String, bool>;

/// The whole list, by suite.
#[derive(Debug)]
pub struct Expected(BTreeMap<String, Differences>);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    reason: String,
    tests: Vec<String>,
    /// It depends on timing whether they differ.
    #[serde(default)]
    sometimes: bool,
}

static NONE: Differences = BTreeMap::new();

impl Expected {
    /// Reads the list.
    pub fn read() -> Result<Expected> {
        let entries: BTreeMap<String, Vec<Entry>> =
            toml_edit::de::from_str(TEXT).context("xtask/e2e/src/suites/expected.toml")?;
        let mut all = BTreeMap::new();
        for (suite, entries) in entries {
            ensure!(
                SUITES.iter().any(|s| s.name == suite) || suite == "regress",
                "expected.toml: no suite {suite}"
            );
            let differences: &mut Differences = all.entry(suite).or_default();
            for entry in entries {
                ensure!(!entry.reason.is_empty(), "expected.toml: no reason");
                for test in entry.tests {
                    let twice = differences.insert(test.clone(), entry.sometimes);
                    ensure!(twice.is_none(), "expected.toml: {test} stands there twice");
                }
            }
        }
        Ok(Expected(all))
    }

    /// The differences of one suite.
    pub fn of(&self, suite: &str) -> &Differences {
        self.0.get(suite).unwrap_or(&NONE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_can_be_read() {
        let expected = Expected::read().unwrap();
        assert!(!expected.of("asyncpg").is_empty());
        assert!(expected.of("nobody's").is_empty());
    }
}
