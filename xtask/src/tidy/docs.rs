//! Documents: links that lead somewhere, and the table of promises (`docs/parity.md`).
//!
//! The table must have a row for every promise, and a row that says `holds` must name tests that exist.

use std::collections::BTreeSet;
use std::path::Path;

use super::Source;

/// The promises are numbered S001 to this.
const LAST_PROMISE: usize = 144;

/// Checks every document.
pub fn check(root: &Path, sources: &[Source], breaches: &mut Vec<String>) {
    for source in sources.iter().filter(|s| s.path.ends_with(".md")) {
        links(root, source, sources, breaches);
    }
    match sources.iter().find(|s| s.path == "docs/parity.md") {
        Some(parity) => promises(parity, &test_names(sources), breaches),
        None => breaches.push("docs/parity.md is missing".to_owned()),
    }
}

fn links(root: &Path, source: &Source, sources: &[Source], breaches: &mut Vec<String>) {
    for (number, line) in prose(&source.text) {
        for target in targets(line) {
            if target.contains("://") || target.starts_with("mailto:") {
                continue;
            }
            if let Some(problem) = dead(root, source, sources, target) {
                breaches.push(format!(
                    "{}:{number}: link to {target}: {problem}",
                    source.path
                ));
            }
        }
    }
}

/// The lines outside code fences, numbered from 1.
fn prose(text: &str) -> Vec<(usize, &str)> {
    let mut fenced = false;
    let mut lines = Vec::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        } else if !fenced {
            lines.push((index + 1, line));
        }
    }
    lines
}

/// What `[text](target)` points to.
fn targets(line: &str) -> Vec<&str> {
    let after = line.split("](").skip(1);
    after
        .filter_map(|rest| rest.split_once(')'))
        .map(|(target, _)| target.trim())
        .collect()
}

fn dead(root: &Path, source: &Source, sources: &[Source], target: &str) -> Option<String> {
    let (file, heading) = target.split_once('#').unwrap_or((target, ""));
    let folder = Path::new(&source.path).parent().unwrap_or(Path::new(""));
    let path = if file.is_empty() {
        root.join(&source.path)
    } else {
        root.join(folder).join(file)
    };
    if !path.exists() {
        return Some("no such file".to_owned());
    }
    if heading.is_empty() || path.extension().is_none_or(|e| e != "md") {
        return None;
    }
    let canonical = path.canonicalize().ok()?;
    let same = |s: &&Source| {
        root.join(&s.path)
            .canonicalize()
            .is_ok_and(|p| p == canonical)
    };
    let text = &sources.iter().find(same)?.text;
    let found = prose(text)
        .iter()
        .any(|(_, line)| line.starts_with('#') && slug(line) == heading);
    (!found).then(|| "no such heading".to_owned())
}

/// A heading's anchor, as GitHub makes it.
fn slug(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text
        .chars()
        .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// Names that a row may give as its test: test functions, end-to-end cases, transcripts, scripts.
fn test_names(sources: &[Source]) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for source in sources {
        let stem = source
            .path
            .rsplit('/')
            .next()
            .and_then(|n| n.split('.').next())
            .unwrap_or_default();
        if source.path.contains("/tests/") || source.path.starts_with("xtask/clients/") {
            names.insert(stem.to_owned());
        }
        if source.is_rust() {
            functions(&source.text, &mut names);
        }
        if source.path.starts_with("xtask/e2e/src/cases/") {
            cases(&source.text, &mut names);
        }
    }
    names
}

fn functions(text: &str, names: &mut BTreeSet<String>) {
    for line in text.lines() {
        let line = line.trim_start();
        let line = line.strip_prefix("pub ").unwrap_or(line);
        let line = line.strip_prefix("async ").unwrap_or(line);
        if let Some(rest) = line.strip_prefix("fn ") {
            names.insert(
                rest.chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect(),
            );
        }
    }
}

/// End-to-end cases are named in the lists of their files, as `"group/name"`.
fn cases(text: &str, names: &mut BTreeSet<String>) {
    for literal in text.split('"').skip(1).step_by(2) {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if let Some((group, name)) = literal.split_once('/')
            && !group.is_empty()
            && !name.is_empty()
            && literal.chars().filter(|c| *c != '/').all(plain)
        {
            names.insert(name.to_owned());
        }
    }
}

fn promises(parity: &Source, tests: &BTreeSet<String>, breaches: &mut Vec<String>) {
    let mut seen = BTreeSet::new();
    for (number, line) in prose(&parity.text) {
        let cells: Vec<&str> = line
            .trim()
            .trim_matches('|')
            .split('|')
            .map(str::trim)
            .collect();
        let Some(promise) = cells.first().filter(|c| is_promise(c)) else {
            continue;
        };
        if !seen.insert((*promise).to_owned()) {
            breaches.push(format!("docs/parity.md:{number}: {promise} has two rows"));
        }
        if cells.contains(&"holds") {
            holds(number, promise, &cells, tests, breaches);
        }
    }
    for missing in (1..=LAST_PROMISE)
        .map(|n| format!("S{n:03}"))
        .filter(|p| !seen.contains(p))
    {
        breaches.push(format!("docs/parity.md: no row for {missing}"));
    }
}

fn is_promise(cell: &str) -> bool {
    cell.len() == 4 && cell.starts_with('S') && cell.chars().skip(1).all(|c| c.is_ascii_digit())
}

/// A row that holds names its tests in backticks in its last cell: a path's last part is the name.
fn holds(
    number: usize,
    promise: &str,
    cells: &[&str],
    tests: &BTreeSet<String>,
    breaches: &mut Vec<String>,
) {
    let last = cells.last().copied().unwrap_or_default();
    let named: Vec<&str> = last.split('`').skip(1).step_by(2).collect();
    if named.is_empty() {
        breaches.push(format!(
            "docs/parity.md:{number}: {promise} holds, but its last cell names no test in backticks"
        ));
    }
    for name in named {
        let short = name.rsplit("::").next().unwrap_or(name);
        let short = short
            .rsplit('/')
            .next()
            .and_then(|n| n.split('.').next())
            .unwrap_or(short);
        if !tests.contains(short) {
            breaches.push(format!(
                "docs/parity.md:{number}: {promise} names the test {name}, which does not exist"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_headings() {
        assert_eq!(targets("see [a](b.md) and [c](d.md#e)"), ["b.md", "d.md#e"]);
        assert_eq!(slug("## Two words, `code` & more"), "two-words-code--more");
    }

    #[test]
    fn rows_that_hold_name_tests_that_exist() {
        let rows = "| S001 | x | holds | `a_test` |\n| S002 | x | holds | `no_test` |\n| S003 | x | holds | none |\n| S003 | x | later | |\n";
        let parity = Source {
            path: "docs/parity.md".to_owned(),
            text: rows.to_owned(),
        };
        let mut breaches = Vec::new();
        promises(
            &parity,
            &BTreeSet::from(["a_test".to_owned()]),
            &mut breaches,
        );
        let found = |text: &str| breaches.iter().any(|b| b.contains(text));
        assert!(
            found("S002 names the test no_test")
                && found("S003 holds, but")
                && found("S003 has two rows")
        );
        assert!(found("no row for S004") && !found("S001"));
    }

    #[test]
    fn functions_and_cases_are_names() {
        let mut names = BTreeSet::new();
        functions("    fn one() {}\npub async fn two() {}\n", &mut names);
        cases(
            "    case(\n        \"group/three\",\n \"a sentence / not a name\"",
            &mut names,
        );
        assert_eq!(
            names,
            BTreeSet::from(["one", "two", "three"].map(str::to_owned))
        );
    }
}
