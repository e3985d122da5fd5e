//! Reports for people and for the next run: a terminal table, one self-contained HTML page, the JSON file, a comparison.
//!
//! Reads only [`crate::model`]; measures nothing and judges nothing (verdicts come with the report).

mod compare;
mod curves;
pub(crate) mod element;
#[cfg(test)]
mod fixture;
mod format;
mod page;
mod plot;
mod scenario;
mod summary;
mod terminal;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::model::{FORMAT, Report};

pub use compare::{Comparison, compare};
pub use terminal::terminal;

/// Writes `report.html` and `report.json` into `dir`, which is made if it is missing; gives their paths.
///
/// # Errors
/// When the folder or a file can't be written; names it.
pub fn write(report: &Report, dir: &Path) -> Result<(PathBuf, PathBuf)> {
    std::fs::create_dir_all(dir).with_context(|| format!("can't make {}", dir.display()))?;
    let (html, json) = (dir.join("report.html"), dir.join("report.json"));
    put(&html, &page::html(report))?;
    let mut text = serde_json::to_string(report)?;
    text.push('\n');
    put(&json, &text)?;
    Ok((html, json))
}

fn put(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("can't write {}", path.display()))
}

/// Reads a report's JSON file.
///
/// # Errors
/// When it can't be read, is no report, or is of another format than this program's; names the file and the way out.
pub fn read(path: &Path) -> Result<Report> {
    let name = path.display();
    let text = std::fs::read_to_string(path).with_context(|| format!("can't read {name}"))?;
    // The version first: a file of another format may lack any other field.
    let value: serde_json::Value =
        serde_json::from_str(&text).with_context(|| format!("{name} is not JSON"))?;
    match value.get("format").and_then(serde_json::Value::as_u64) {
        Some(format) if format == u64::from(FORMAT) => {}
        Some(format) => bail!(
            "{name} is a report of format {format}, this program reads {FORMAT}; measure again, or read it with the weir-perf that wrote it"
        ),
        None => bail!("{name} is no report of weir-perf: it says no `format`"),
    }
    serde_json::from_value(value).with_context(|| format!("{name} is no report of weir-perf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("weir-perf-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn a_report_comes_back_as_it_was() {
        let dir = scratch("roundtrip");
        let report = fixture::report(1.0);
        let (html, json) = write(&report, &dir).unwrap();
        let back = read(&json).unwrap();
        // Not assert_eq: on failure it would print both reports.
        let text = |r: &Report| serde_json::to_string(r).unwrap();
        assert!(text(&back) == text(&report), "it changed on its way");
        assert!(std::fs::metadata(html).unwrap().len() > 10_000);
        std::fs::remove_dir_all(dir).unwrap();
    }

    /// Keeps the page where a person can look at it: `WEIR_PERF_SHOW=/tmp/page cargo test -p weir-perf report`.
    #[test]
    fn a_page_to_look_at() {
        let shown = std::env::var_os("WEIR_PERF_SHOW").map(PathBuf::from);
        let dir = shown.clone().unwrap_or_else(|| scratch("show"));
        let mut report = fixture::report(1.0);
        report.scenarios.truncate(1);
        write(&report, &dir.join("short")).unwrap();
        let (html, _) = write(&fixture::report(1.0), &dir).unwrap();
        assert!(html.is_file());
        if shown.is_none() {
            std::fs::remove_dir_all(dir).unwrap();
        }
    }

    #[test]
    fn another_format_is_refused_by_number_and_file() {
        let dir = scratch("format");
        let file = dir.join("r.json");
        std::fs::write(&file, "{\"format\": 99, \"new\": 1}").unwrap();
        let error = format!("{:#}", read(&file).unwrap_err());
        assert!(
            error.contains("format 99") && error.contains("r.json"),
            "{error}"
        );
        std::fs::write(&file, "{}").unwrap();
        assert!(
            read(&file)
                .unwrap_err()
                .to_string()
                .contains("no report of weir-perf")
        );
        std::fs::remove_dir_all(dir).unwrap();
    }
}
