//! `xtask/tidy.toml`: the bounds, and the exceptions, each with its reason.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use toml_edit::{DocumentMut, Item, Table};

/// An exception to one rule.
pub struct Exception {
    rule: String,
    file: String,
    name: Option<String>,
}

/// What `tidy.toml` says.
pub struct Config {
    /// Longest function, lines.
    pub function_lines: usize,
    /// Longest file, lines.
    pub file_lines: usize,
    /// Where `unsafe` may stand: files, or folders ending in a slash.
    pub unsafe_places: Vec<String>,
    exceptions: Vec<Exception>,
    used: RefCell<BTreeSet<usize>>,
}

impl Config {
    /// Reads and checks the file.
    pub fn read(path: &Path) -> Result<Config> {
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        Config::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Config> {
        let doc: DocumentMut = text.parse()?;
        let number = |key: &str| -> Result<usize> {
            let value = doc
                .get(key)
                .and_then(Item::as_integer)
                .ok_or_else(|| anyhow!("{key} must be a number"))?;
            Ok(usize::try_from(value)?)
        };
        let places = doc
            .get("unsafe_places")
            .and_then(Item::as_array)
            .ok_or_else(|| anyhow!("unsafe_places"))?;
        let exceptions = match doc.get("except").and_then(Item::as_array_of_tables) {
            Some(tables) => tables.iter().map(exception).collect::<Result<Vec<_>>>()?,
            None => Vec::new(),
        };
        Ok(Config {
            function_lines: number("function_lines")?,
            file_lines: number("file_lines")?,
            unsafe_places: places
                .iter()
                .filter_map(|v| v.as_str().map(str::to_owned))
                .collect(),
            exceptions,
            used: RefCell::default(),
        })
    }

    /// Whether `rule` is waived for `file` (and `name` in it).
    pub fn excepts(&self, rule: &str, file: &str, name: &str) -> bool {
        let matches = |e: &Exception| {
            e.rule == rule && e.file == file && e.name.as_deref().is_none_or(|n| n == name)
        };
        match self.exceptions.iter().position(matches) {
            Some(index) => {
                self.used.borrow_mut().insert(index);
                true
            }
            None => false,
        }
    }

    /// Bounds without exceptions; `unsafe` may stand under `ring/`.
    #[cfg(test)]
    pub fn for_tests(function_lines: usize, file_lines: usize) -> Config {
        let unsafe_places = vec!["ring/".to_owned()];
        Config {
            function_lines,
            file_lines,
            unsafe_places,
            exceptions: Vec::new(),
            used: RefCell::default(),
        }
    }

    /// Reports exceptions that nothing needs any more.
    pub fn unused(&self, breaches: &mut Vec<String>) {
        for (index, e) in self.exceptions.iter().enumerate() {
            if !self.used.borrow().contains(&index) {
                breaches.push(format!(
                    "xtask/tidy.toml: nothing needs the exception {} {} any more",
                    e.rule, e.file
                ));
            }
        }
    }
}

fn exception(table: &Table) -> Result<Exception> {
    let text = |key: &str| table.get(key).and_then(Item::as_str).map(str::to_owned);
    let need = |key: &str| text(key).ok_or_else(|| anyhow!("an exception needs {key}"));
    if need("reason")?.len() < 10 {
        bail!("an exception needs a reason that says something");
    }
    let rule = need("rule")?;
    if !["function_lines", "file_lines", "imports"].contains(&rule.as_str()) {
        bail!("no rule {rule}");
    }
    Ok(Exception {
        rule,
        file: need("file")?,
        name: text("name"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "function_lines = 70\nfile_lines = 500\nunsafe_places = [\"a/\"]\n";

    #[test]
    fn an_exception_needs_a_reason() {
        let bare = format!("{HEAD}[[except]]\nrule = \"file_lines\"\nfile = \"x.rs\"\n");
        assert!(Config::parse(&bare).is_err());
        let whole = format!("{bare}reason = \"a table of codes\"\n");
        assert!(Config::parse(&whole).is_ok_and(
            |c| c.excepts("file_lines", "x.rs", "") && !c.excepts("file_lines", "y.rs", "")
        ));
    }

    #[test]
    fn an_exception_that_nothing_needs_is_reported() {
        let text = format!(
            "{HEAD}[[except]]\nrule = \"file_lines\"\nfile = \"x.rs\"\nreason = \"a table of codes\"\n"
        );
        let mut breaches = Vec::new();
        Config::parse(&text).expect("parses").unused(&mut breaches);
        assert_eq!(breaches.len(), 1);
    }
}
