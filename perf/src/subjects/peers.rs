//! Which subjects this machine has: found in PATH, installed where that is possible, or missing by name.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use weir_e2e::{install, place};

use super::Kind;

/// What is asked for.
#[derive(Clone, Default, Debug)]
pub struct Wanted {
    /// The subjects.
    pub kinds: Vec<Kind>,
    /// Another PgBouncer than the one in PATH.
    pub pgbouncer: Option<PathBuf>,
    /// Whether missing ones may be installed.
    pub install: bool,
}

/// A subject that can be started.
#[derive(Clone, Debug)]
pub struct Found {
    /// Which.
    pub kind: Kind,
    /// Its program; empty for `direct`.
    pub program: PathBuf,
    /// What it says of itself.
    pub version: String,
}

/// The subjects of a run.
#[derive(Clone, Default, Debug)]
pub struct Peers {
    found: Vec<Found>,
    /// What was asked for and can't be had, with the reason.
    pub missing: Vec<(Kind, String)>,
}

impl Peers {
    /// Finds all that is wanted.
    #[must_use]
    pub fn find(wanted: &Wanted) -> Peers {
        let mut peers = Peers::default();
        for kind in wanted.kinds.iter().copied() {
            match find(kind, wanted) {
                Ok(found) => peers.found.push(found),
                Err(error) => peers.missing.push((kind, format!("{error:#}"))),
            }
        }
        peers
    }

    /// The subject, if it can be started.
    #[must_use]
    pub fn get(&self, kind: Kind) -> Option<&Found> {
        self.found.iter().find(|found| found.kind == kind)
    }

    /// All that can be started.
    #[must_use]
    pub fn all(&self) -> &[Found] {
        &self.found
    }
}

impl Found {
    /// Whether it keeps named prepared statements while server connections change under them.
    #[must_use]
    pub fn keeps_statements(&self) -> bool {
        match self.kind {
            Kind::PgBouncer => numbers(&self.version) >= (1, 21),
            Kind::BareRelay => false,
            _ => true,
        }
    }
}

fn find(kind: Kind, wanted: &Wanted) -> Result<Found> {
    let (program, flag) = match kind {
        Kind::Direct | Kind::Target => {
            return Ok(Found {
                kind,
                program: PathBuf::new(),
                version: String::new(),
            });
        }
        Kind::Weir | Kind::WeirEpoll => (built(place::weir_binary(), "weir")?, "--version"),
        Kind::BareRelay => {
            let beside = place::weir_binary().with_file_name("weir-perf-relay");
            (built(beside, "weir-perf-relay")?, "--version")
        }
        Kind::PgBouncer => match &wanted.pgbouncer {
            Some(path) => (path.clone(), "--version"),
            None => (packaged("pgbouncer", "pgbouncer", wanted)?, "--version"),
        },
        Kind::HaProxy => (packaged("haproxy", "haproxy", wanted)?, "-v"),
        Kind::PgPool => (packaged("pgpool", "pgpool2", wanted)?, "--version"),
        Kind::Odyssey => (packaged("odyssey", "odyssey", wanted)?, "--version"),
    };
    let version = version(&program, flag)?;
    Ok(Found {
        kind,
        program,
        version,
    })
}

fn built(program: PathBuf, package: &str) -> Result<PathBuf> {
    if !program.is_file() {
        bail!(
            "{} is missing: build it (`cargo build --release -p {package}`), or name weir's program in WEIR_BINARY",
            program.display()
        );
    }
    Ok(program)
}

/// The program from PATH or the folders for administrators, else from its package.
fn packaged(program: &str, package: &str, wanted: &Wanted) -> Result<PathBuf> {
    if let Some(path) = in_path(program) {
        return Ok(path);
    }
    if !wanted.install {
        bail!("{program} is not in PATH, and installing was not allowed");
    }
    install::apt(&[package])
        .with_context(|| format!("{program} is not in PATH and can't be installed"))?;
    in_path(program)
        .with_context(|| format!("{program} is not in PATH even after installing {package}"))
}

fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders =
        std::env::split_paths(&path).chain(["/usr/sbin".into(), "/usr/local/sbin".into()]);
    folders
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
}

/// The first line that it says; some programs say it on standard error.
fn version(program: &PathBuf, flag: &str) -> Result<String> {
    let output = Command::new(program)
        .arg(flag)
        .output()
        .with_context(|| format!("can't start {}", program.display()))?;
    let both = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&both).into_owned();
    let line = text.lines().find(|line| !line.trim().is_empty());
    Ok(line.unwrap_or("?").trim().to_owned())
}

/// The first two numbers with a dot between them.
fn numbers(version: &str) -> (u32, u32) {
    let words = version.split(|c: char| !c.is_ascii_digit() && c != '.');
    words
        .filter_map(|word| {
            let mut parts = word.split('.');
            Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
        })
        .next()
        .unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        assert_eq!(numbers("PgBouncer 1.18.0"), (1, 18));
        assert_eq!(
            numbers("HAProxy version 2.6.12-1+deb12u3 2025/10/03"),
            (2, 6)
        );
        assert_eq!(numbers("none"), (0, 0));
    }

    #[test]
    fn statements_are_kept_from_pgbouncer_1_21_on() {
        let of = |version: &str| Found {
            kind: Kind::PgBouncer,
            program: PathBuf::new(),
            version: version.to_owned(),
        };
        assert!(!of("PgBouncer 1.18.0").keeps_statements());
        assert!(of("PgBouncer 1.21.0").keeps_statements());
        assert!(of("PgBouncer 1.24.1").keeps_statements());
    }

    #[test]
    fn what_is_not_there_is_missing_by_name() {
        let wanted = Wanted {
            kinds: vec![Kind::Direct, Kind::PgBouncer],
            pgbouncer: Some("/nowhere/pgbouncer".into()),
            install: false,
        };
        let peers = Peers::find(&wanted);
        assert!(peers.get(Kind::Direct).is_some() && peers.get(Kind::PgBouncer).is_none());
        assert!(peers.missing[0].1.contains("/nowhere/pgbouncer"));
    }
}
