//! The house rules that no compiler checks: lengths, imports, docs, words, links, the promise table.
//!
//! Formatting and lints are rustfmt's and clippy's business.

mod code;
mod config;
mod docs;
mod imports;
mod words;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// A file of the repository.
pub struct Source {
    /// Path from the checkout's top, with forward slashes.
    pub path: String,
    /// What is in it.
    pub text: String,
}

impl Source {
    /// Whether it is Rust code.
    pub fn is_rust(&self) -> bool {
        self.path.ends_with(".rs")
    }
}

/// Checks every rule and reports all breaches at once.
pub fn run() -> Result<()> {
    let root = shell::root();
    let config = config::Config::read(&root.join("xtask/tidy.toml"))?;
    let sources = sources(&root)?;
    let mut breaches = Vec::new();
    code::check(&sources, &config, &mut breaches);
    imports::check(&sources, &config, &mut breaches);
    words::check(&sources, &mut breaches);
    docs::check(&root, &sources, &mut breaches);
    config.unused(&mut breaches);
    for breach in &breaches {
        println!("tidy: {breach}");
    }
    if !breaches.is_empty() {
        bail!("{} breaches of the house rules", breaches.len());
    }
    println!("tidy: {} files keep the house rules", sources.len());
    Ok(())
}

/// Every text file that git knows or would add.
fn sources(root: &Path) -> Result<Vec<Source>> {
    let mut git = Command::new("git");
    git.args([
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
    ])
    .current_dir(root);
    let listed = shell::output(&mut git)?;
    let mut sources = Vec::new();
    for path in listed.split('\0').filter(|p| !p.is_empty()) {
        let full: PathBuf = root.join(path);
        if !full.is_file() {
            continue;
        }
        let bytes = std::fs::read(&full).with_context(|| full.display().to_string())?;
        if let Ok(text) = String::from_utf8(bytes) {
            sources.push(Source {
                path: path.to_owned(),
                text,
            });
        }
    }
    Ok(sources)
}
