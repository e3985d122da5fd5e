//! What the tests need beyond this workspace: PostgreSQL servers, client programs, drivers. Found on the system first,
//! else fetched once into `.cache` of the checkout.
//!
//! What can't be had is reported by name; whether that is a failure is the caller's to say.

pub mod drivers;
pub mod servers;

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process::run_to_end;

pub use drivers::Drivers;
pub use servers::Programs;

/// Whether this run may install Debian packages: on CI, or when asked for by `cargo xtask install`.
pub fn may_change_system(asked: bool) -> bool {
    asked || std::env::var_os("CI").is_some_and(|v| v == "true")
}

/// Whether a program is in the search path.
pub fn in_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Installs Debian packages, as root only.
pub fn apt(packages: &[&str]) -> Result<()> {
    if crate::process::unprivileged()?.is_none() || !in_path("apt-get") {
        bail!(
            "{} are missing, and only root on a Debian-like system can install them",
            packages.join(", ")
        );
    }
    eprintln!("installing {}", packages.join(", "));
    // The distribution's packages start a server of their own at installation unless told not to.
    let settings = Path::new("/etc/postgresql-common");
    if !settings.exists() {
        std::fs::create_dir_all(settings)?;
        std::fs::write(
            settings.join("createcluster.conf"),
            "create_main_cluster = false\n",
        )?;
    }
    checked(
        "apt-get update",
        Command::new("apt-get").args(["-qq", "update"]),
    )?;
    let mut install = Command::new("apt-get");
    install.args([
        "-qq",
        "-y",
        "--no-install-recommends",
        "-o",
        "Dpkg::Options::=--force-confold",
        "install",
    ]);
    checked(
        "apt-get install",
        install
            .args(packages)
            .env("DEBIAN_FRONTEND", "noninteractive"),
    )
}

/// Runs an install step, at most ten minutes; an error with its output when it fails.
pub fn checked(name: &str, command: &mut Command) -> Result<()> {
    let label = name.replace([' ', '/'], "-");
    let (status, output) =
        run_to_end(&label, command, Duration::from_secs(600)).with_context(|| name.to_owned())?;
    if !status.success() {
        bail!("{name} ended with {status}:\n{output}");
    }
    Ok(())
}

/// Runs `make` on a fresh folder beside `place` and moves it there, so that a broken-off step leaves nothing half done.
pub fn once(place: &Path, make: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    if place.exists() {
        return Ok(());
    }
    let name = place
        .file_name()
        .map(|n| n.to_string_lossy().into_owned())
        .unwrap_or_default();
    let fresh = place.with_file_name(format!("{name}.{}.new", std::process::id()));
    let _ = std::fs::remove_dir_all(&fresh);
    std::fs::create_dir_all(&fresh).with_context(|| fresh.display().to_string())?;
    let made = make(&fresh);
    let moved = made.and_then(|()| Ok(std::fs::rename(&fresh, place)?));
    if moved.is_err() {
        let _ = std::fs::remove_dir_all(&fresh);
    }
    moved
}

/// `cargo xtask install`: fetches everything and says what can't be had.
pub fn all() -> Result<()> {
    let drivers = Drivers::find(may_change_system(true));
    let mut missing = Vec::new();
    let mut told = |name: &str, found: Result<String, String>| match found {
        Ok(place) => println!("{name}: {place}"),
        Err(error) => {
            println!("{name}: MISSING: {error}");
            missing.push(name.to_owned());
        }
    };
    told(
        "psql, pgbench",
        drivers.programs.map(|()| "in PATH".to_owned()),
    );
    told(
        "psycopg, asyncpg",
        drivers.python.map(|p| p.display().to_string()),
    );
    told("node pg", drivers.node.map(|p| p.display().to_string()));
    for major in [10, 13, 15, 18] {
        let found = servers::find(major)
            .map(|p| p.place())
            .map_err(|e| format!("{e:#}"));
        told(&format!("PostgreSQL {major}"), found);
    }
    if !missing.is_empty() {
        bail!("missing: {}", missing.join(", "));
    }
    Ok(())
}
