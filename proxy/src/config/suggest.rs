//! "Did you mean": the nearest of some names.

/// The candidate nearest to `given`, if it is near enough to be what was meant: a third of its letters may differ.
pub fn nearest<'a>(given: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let given = given.to_ascii_lowercase().replace('-', "_");
    // A long string is no typing slip, and the distance costs its length squared.
    if given.len() > 64 {
        return None;
    }
    let scored = candidates.into_iter().map(|c| {
        (
            distance(&given, &c.to_ascii_lowercase().replace('-', "_")),
            c,
        )
    });
    let (distance, candidate) = scored.min_by_key(|(d, _)| *d)?;
    (distance <= 1.max(candidate.len() / 3)).then_some(candidate)
}

/// Edits (insert, delete, replace, swap of neighbours) that lead from `a` to `b`: optimal string alignment.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replace = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replace.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before[j - 2] + 1);
            }
        }
        before = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, d) in [
            ("", "", 0),
            ("", "abc", 3),
            ("kitten", "sitting", 3),
            ("listne", "listen", 1),
            ("a", "b", 1),
        ] {
            assert_eq!(distance(a, b), d, "{a} {b}");
            assert_eq!(distance(b, a), d, "{b} {a}");
        }
    }

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let keys = [
            "listen",
            "target_group",
            "client_tls",
            "max_connection_pool_size",
        ];
        assert_eq!(nearest("listn", keys), Some("listen"));
        assert_eq!(
            nearest("max-connection-pool-size", keys),
            Some("max_connection_pool_size")
        );
        assert_eq!(nearest("max_pool_size", keys), None);
        assert_eq!(
            nearest("maxconnectionpool_size", keys),
            Some("max_connection_pool_size")
        );
        assert_eq!(nearest("colour", keys), None);
        assert_eq!(nearest(&"x".repeat(100_000), keys), None);
    }
}
