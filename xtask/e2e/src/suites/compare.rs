//! Two runs of one suite, test by test.

use std::collections::BTreeMap;

use super::expected::Differences;
use super::run::Outcome;

/// What two runs have shown.
#[derive(Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Tests that pass in both.
    pub equal: usize,
    /// Tests that pass direct only, as the list says.
    pub expected: Vec<String>,
    /// Tests that pass direct only, and should not.
    pub unexpected: Vec<String>,
    /// Tests on the list that do not differ.
    pub stale: Vec<String>,
}

impl Comparison {
    /// Compares. A test that does not pass direct says nothing of weir.
    pub fn new(
        direct: &BTreeMap<String, Outcome>,
        through: &BTreeMap<String, Outcome>,
        differences: &Differences,
    ) -> Comparison {
        let mut comparison = Comparison {
            equal: 0,
            expected: Vec::new(),
            unexpected: Vec::new(),
            stale: Vec::new(),
        };
        let passing = direct.iter().filter(|(_, o)| **o == Outcome::Passed);
        for (test, _) in passing {
            let listed = differences.get(test);
            match (through.get(test), listed) {
                (Some(Outcome::Passed), Some(false)) => comparison.stale.push(test.clone()),
                (Some(Outcome::Passed), _) => comparison.equal += 1,
                (_, Some(_)) => comparison.expected.push(test.clone()),
                (_, None) => comparison.unexpected.push(test.clone()),
            }
        }
        comparison
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_what_differs_and_what_should_not() {
        use Outcome::{Failed, Passed, Skipped};
        let run = |outcomes: [Option<Outcome>; 6]| {
            let names = ["a", "b", "c", "d", "e", "f"].map(str::to_owned);
            let pairs = names.into_iter().zip(outcomes);
            pairs
                .filter_map(|(n, o)| Some((n, o?)))
                .collect::<BTreeMap<_, _>>()
        };
        let direct = run([
            Some(Passed),
            Some(Passed),
            Some(Passed),
            Some(Failed),
            Some(Passed),
            Some(Passed),
        ]);
        let through = run([
            Some(Passed),
            Some(Failed),
            None,
            Some(Failed),
            Some(Passed),
            Some(Skipped),
        ]);
        let listed = [("b", false), ("e", false), ("a", true)];
        let listed = listed.map(|(n, s)| (n.to_owned(), s)).into();
        let found = Comparison::new(&direct, &through, &listed);
        assert_eq!(found.equal, 1);
        assert_eq!(found.expected, ["b"]);
        assert_eq!(found.unexpected, ["c", "f"]);
        assert_eq!(found.stale, ["e"]);
    }
}
