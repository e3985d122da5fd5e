//! `perf/guard.toml`: the committed counts, and what counts as worse.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use toml_edit::{DocumentMut, Item, Table, value};

use super::Count;

/// Worse by more than this share fails.
const TOLERANCE: f64 = 0.05;

/// Below this difference per query nothing fails: timers and metrics run by the clock, not by the query.
const GRAIN: f64 = 0.01;

const HEAD: &str = "# Counts per query that `weir-perf guard` (a step of `cargo xtask test`) holds: more than 5 % worse fails.\n\
    # Written by `weir-perf guard --bless`; say in the commit why they changed. Instructions depend on the compiler too.\n\n";

/// The committed counts and the compiler they were counted with.
pub struct Known {
    compiler: String,
    counts: BTreeMap<String, f64>,
}

/// Reads the file.
pub fn read(path: &Path) -> Result<Known> {
    let text = std::fs::read_to_string(path).with_context(|| {
        format!(
            "can't read {}; `weir-perf guard --bless` writes it",
            path.display()
        )
    })?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> Result<Known> {
    let doc: DocumentMut = text.parse()?;
    let compiler = doc
        .get("compiler")
        .and_then(Item::as_str)
        .context("compiler")?;
    let table = doc
        .get("per_query")
        .and_then(Item::as_table)
        .context("[per_query]")?;
    let mut counts = BTreeMap::new();
    for (name, item) in table {
        let number = item
            .as_float()
            .or_else(|| item.as_integer().map(|n| n as f64));
        match number {
            Some(number) if number >= 0.0 => counts.insert(name.to_owned(), number),
            _ => bail!("{name:?} must be a number, not negative"),
        };
    }
    Ok(Known {
        compiler: compiler.to_owned(),
        counts,
    })
}

/// Writes the file. What could not be counted here keeps its value.
pub fn write(path: &Path, counts: &[Count]) -> Result<()> {
    let mut all = read(path).map(|k| k.counts).unwrap_or_default();
    all.extend(counts.iter().map(|c| (c.name.clone(), rounded(c.value))));
    std::fs::write(path, text(&all)).with_context(|| format!("can't write {}", path.display()))
}

fn text(counts: &BTreeMap<String, f64>) -> String {
    let mut table = Table::new();
    for (name, number) in counts {
        table.insert(name, value(*number));
    }
    let mut doc = DocumentMut::new();
    doc.insert("compiler", value(compiler()));
    doc.insert("per_query", Item::Table(table));
    format!("{HEAD}{doc}")
}

/// Two digits after the point: more would be noise in every commit.
fn rounded(number: f64) -> f64 {
    (number * 100.0).round() / 100.0
}

/// What `rustc --version` says, in short.
fn compiler() -> String {
    let out = std::process::Command::new("rustc")
        .arg("--version")
        .output();
    let text = out.map(|o| String::from_utf8_lossy(&o.stdout).into_owned());
    let words = text.unwrap_or_default();
    words.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

/// Whether a count is no worse than the committed one, and a line that says so.
pub fn judge(known: &Known, count: &Count) -> (bool, String) {
    let name = &count.name;
    let Some(reference) = known.counts.get(name) else {
        let line = format!("✗ {name}: {:.2}, not in guard.toml: bless it", count.value);
        return (false, line);
    };
    let more = count.value - reference;
    let worse = more > reference * TOLERANCE && more > GRAIN;
    let better = -more > reference * TOLERANCE && -more > GRAIN;
    let mark = if worse { '✗' } else { '✓' };
    let word = match (worse, better) {
        (true, _) => " worse",
        (_, true) => " better: bless it, so that it stays so",
        _ => "",
    };
    let share = more / reference * 100.0;
    let change = if share.is_finite() {
        format!(" ({share:+.1} %)")
    } else {
        String::new()
    };
    let mut line = format!(
        "{mark} {name}: {:.2}, committed {reference:.2}{change}{word}",
        count.value
    );
    let here = compiler();
    if worse && here != known.compiler {
        line.push_str(&format!(
            "; counted with {here}, committed with {}",
            known.compiler
        ));
    }
    (!worse, line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(name: &str, value: f64) -> Count {
        Count {
            name: name.into(),
            value,
        }
    }

    #[test]
    fn more_than_five_percent_is_worse() {
        let text = "compiler = \"rustc 1.95.0\"\n[per_query]\n\"core: instructions\" = 1000.0\n\"core: allocations\" = 0\n";
        let known = parse(text).unwrap();
        let held = |name, value| judge(&known, &count(name, value)).0;
        assert!(held("core: instructions", 1049.0));
        assert!(!held("core: instructions", 1051.0));
        assert!(held("core: instructions", 500.0));
        assert!(held("core: allocations", 0.005));
        assert!(!held("core: allocations", 0.02));
        assert!(!held("something new", 1.0));
        let (_, line) = judge(&known, &count("core: instructions", 900.0));
        assert!(line.contains("-10.0 %") && line.contains("bless"), "{line}");
    }

    #[test]
    fn the_file_comes_back() {
        let counts = BTreeMap::from([("core, simple: instructions".to_owned(), 1234.5)]);
        let back = parse(&text(&counts)).unwrap();
        assert_eq!(back.counts, counts);
        assert!(parse("compiler = \"x\"\n[per_query]\na = \"many\"\n").is_err());
        assert!(parse("[per_query]\n").is_err());
    }
}
