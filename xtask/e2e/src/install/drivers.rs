//! Client programs and drivers: psql and pgbench from the distribution, psycopg and asyncpg in a Python environment, pg
//! for node; the last three in `.cache`.

use std::path::PathBuf;
use std::process::Command;

use super::{apt, checked, in_path, once};
use crate::place;
use anyhow::{Result, bail, ensure};

const PYTHON_PACKAGES: &[&str] = &["psycopg[binary]==3.3.9", "asyncpg==0.32.0"];
const NODE_PACKAGES: &[&str] = &["pg@8.23.1", "pg-cursor@2.22.0", "pg-copy-streams@7.0.0"];
const DJANGO_PACKAGES: &[&str] = &["django==5.2.19", "psycopg[binary]==3.3.9"];
const POSTGRES_JS_PACKAGES: &[&str] = &["postgres@3.4.9"];
/// Where the distribution puts the JDBC driver.
const JDBC: &str = "/usr/share/java/postgresql.jar";

/// What there is; a missing one says why.
#[derive(Debug)]
pub struct Drivers {
    /// psql and pgbench.
    pub programs: Result<(), String>,
    /// The Python that has psycopg and asyncpg.
    pub python: Result<PathBuf, String>,
    /// The folder whose `node_modules` has pg.
    pub node: Result<PathBuf, String>,
}

impl Drivers {
    /// Finds or fetches all of them.
    pub fn find(may_change_system: bool) -> Drivers {
        let told = |error: anyhow::Error| format!("{error:#}");
        Drivers {
            programs: programs(may_change_system).map_err(told),
            python: python(may_change_system).map_err(told),
            node: node(may_change_system).map_err(told),
        }
    }
}

fn need(programs: &[&str], packages: &[&str], may_change_system: bool) -> Result<()> {
    let missing = |list: &[&str]| {
        list.iter()
            .filter(|p| !in_path(p))
            .map(|p| (*p).to_owned())
            .collect::<Vec<_>>()
    };
    let before = missing(programs);
    if before.is_empty() {
        return Ok(());
    }
    if !may_change_system {
        bail!(
            "{} not in PATH (`cargo xtask install` as root installs {})",
            before.join(", "),
            packages.join(", ")
        );
    }
    apt(packages)?;
    let after = missing(programs);
    if !after.is_empty() {
        bail!(
            "{} not in PATH even after installing {}",
            after.join(", "),
            packages.join(", ")
        );
    }
    Ok(())
}

fn programs(may_change_system: bool) -> Result<()> {
    need(
        &["psql", "pgbench"],
        &["postgresql", "postgresql-client", "postgresql-contrib"],
        may_change_system,
    )
}

fn python(may_change_system: bool) -> Result<PathBuf> {
    python_with(PYTHON_PACKAGES, may_change_system)
}

/// A Python environment of its own with these packages.
pub fn python_with(packages: &[&str], may_change_system: bool) -> Result<PathBuf> {
    need(
        &["python3"],
        &["python3", "python3-venv", "python3-pip"],
        may_change_system,
    )?;
    let home = place::cache().join("python").join(key(packages));
    let interpreter = home.join("bin/python");
    if interpreter.exists() && !home.join("complete").exists() {
        std::fs::remove_dir_all(&home)?;
    }
    if !home.exists() {
        eprintln!("fetching {}", packages.join(", "));
        // A Python environment can't be moved, so it is made in place and marked when it is whole.
        std::fs::create_dir_all(&home)?;
        checked(
            "python3 -m venv",
            Command::new("python3")
                .args(["-m", "venv", "--clear"])
                .arg(&home),
        )?;
        let mut pip = Command::new(&interpreter);
        pip.args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args(packages);
        checked("pip install", &mut pip)?;
        std::fs::write(home.join("complete"), "")?;
    }
    Ok(interpreter)
}

fn node(may_change_system: bool) -> Result<PathBuf> {
    node_with(NODE_PACKAGES, may_change_system)
}

/// The folder whose `node_modules` has postgres.js.
pub fn postgres_js() -> Result<PathBuf> {
    node_with(POSTGRES_JS_PACKAGES, super::may_change_system(false))
}

/// The Python that has Django and psycopg.
pub fn django() -> Result<PathBuf> {
    python_with(DJANGO_PACKAGES, super::may_change_system(false))
}

/// The JDBC driver's archive; a compiler for what uses it is in the search path.
pub fn jdbc() -> Result<PathBuf> {
    let may_change_system = super::may_change_system(false);
    need(
        &["java", "javac"],
        &["default-jdk-headless"],
        may_change_system,
    )?;
    let archive = PathBuf::from(JDBC);
    if !archive.exists() && may_change_system {
        apt(&["libpostgresql-jdbc-java"])?;
    }
    ensure!(
        archive.exists(),
        "no {JDBC} (package libpostgresql-jdbc-java)"
    );
    Ok(archive)
}

/// Sees to it that ruby has pg.
pub fn ruby() -> Result<()> {
    let may_change_system = super::may_change_system(false);
    need(&["ruby"], &["ruby", "ruby-pg"], may_change_system)?;
    let loads = || {
        checked(
            "ruby -r pg",
            Command::new("ruby").args(["-r", "pg", "-e", ""]),
        )
    };
    if loads().is_err() && may_change_system {
        apt(&["ruby-pg"])?;
    }
    loads()
}

fn node_with(packages: &[&str], may_change_system: bool) -> Result<PathBuf> {
    need(&["node", "npm"], &["nodejs", "npm"], may_change_system)?;
    let home = place::cache().join("node").join(key(packages));
    once(&home, |fresh| {
        eprintln!("fetching {}", packages.join(", "));
        std::fs::write(fresh.join("package.json"), "{\"private\": true}\n")?;
        let mut npm = Command::new("npm");
        npm.args([
            "install",
            "--silent",
            "--no-audit",
            "--no-fund",
            "--ignore-scripts",
        ])
        .args(packages);
        checked("npm install", npm.current_dir(fresh))
    })?;
    Ok(home)
}

/// A folder name that changes with the versions.
fn key(packages: &[&str]) -> String {
    packages.join("+").replace(['[', ']', '@', '='], "-")
}
