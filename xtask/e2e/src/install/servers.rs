//! PostgreSQL servers: the distribution's folders first, then relocatable builds that an npm package carries.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{checked, in_path, once};
use crate::place;
use crate::process::as_unprivileged;

/// Builds that the npm package carries, one for each major (it has none of 11).
const FETCHED: &[(u32, &str)] = &[
    (10, "10.23.0-beta.6"),
    (12, "12.22.0-beta.15"),
    (13, "13.23.0-beta.16"),
    (14, "14.23.0-beta.17"),
    (15, "15.18.0-beta.17"),
    (16, "16.14.0-beta.17"),
    (17, "17.10.0-beta.17"),
    (18, "18.4.0-beta.17"),
];

/// The programs of one PostgreSQL major.
#[derive(Clone, Debug)]
pub struct Programs {
    /// 10, 13, 15, 18.
    pub major: u32,
    bin: PathBuf,
    lib: Option<PathBuf>,
}

impl Programs {
    /// A command of this version, run as the unprivileged user when this program is root.
    pub fn command(&self, program: &str) -> Result<Command> {
        let mut command = as_unprivileged(Command::new(self.bin.join(program)))?;
        if let Some(lib) = &self.lib {
            command.env("LD_LIBRARY_PATH", lib);
        }
        command.env("LC_ALL", "C").env("TZ", "UTC");
        Ok(command)
    }

    /// The folder of the programs.
    pub fn place(&self) -> String {
        self.bin.display().to_string()
    }

    fn works(&self) -> Result<()> {
        let output = self
            .command("postgres")?
            .arg("--version")
            .current_dir("/")
            .output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !text.contains(&format!(" {}.", self.major)) {
            bail!("{}/postgres --version says {text:?}", self.bin.display());
        }
        Ok(())
    }
}

/// The server programs of a major, fetched if need be.
pub fn find(major: u32) -> Result<Programs> {
    for bin in [
        format!("/usr/lib/postgresql/{major}/bin"),
        format!("/usr/pgsql-{major}/bin"),
    ] {
        let programs = Programs {
            major,
            bin: bin.into(),
            lib: None,
        };
        if programs.bin.join("initdb").is_file() && programs.works().is_ok() {
            return Ok(programs);
        }
    }
    fetch(major).with_context(|| format!("PostgreSQL {major}"))
}

/// Any server, the newest that the system has first: for the demo.
pub fn find_any() -> Result<Programs> {
    let mut majors: Vec<u32> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| {
            entries
                .flatten()
                .filter_map(|e| e.file_name().to_string_lossy().parse().ok())
                .collect()
        })
        .unwrap_or_default();
    majors.sort_unstable();
    for major in majors.into_iter().rev() {
        let programs = Programs {
            major,
            bin: format!("/usr/lib/postgresql/{major}/bin").into(),
            lib: None,
        };
        if programs.bin.join("initdb").is_file() && programs.works().is_ok() {
            return Ok(programs);
        }
    }
    find(18)
}

fn fetch(major: u32) -> Result<Programs> {
    let (_, version) = FETCHED
        .iter()
        .find(|(m, _)| *m == major)
        .context("no build of this major is known")?;
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "x64",
        "aarch64" => "arm64",
        other => bail!("no build for {other}"),
    };
    let home = place::cache()
        .join("postgres")
        .join(format!("{version}-{architecture}"));
    once(&home, |fresh| {
        unpack(
            &format!("@embedded-postgres/linux-{architecture}@{version}"),
            fresh,
        )
    })?;
    let programs = at(major, &home);
    if programs.works().is_ok() {
        return Ok(programs);
    }
    // The unprivileged user can't reach the checkout: give it a copy.
    let copy = place::run_dir()?.join(format!("programs-{major}"));
    once(&copy, |fresh| {
        checked(
            "cp",
            Command::new("cp")
                .args(["-a", "--no-preserve=ownership"])
                .arg(home.join("."))
                .arg(fresh),
        )
    })?;
    let programs = at(major, &copy);
    programs.works()?;
    Ok(programs)
}

fn at(major: u32, home: &Path) -> Programs {
    Programs {
        major,
        bin: home.join("bin"),
        lib: Some(home.join("lib")),
    }
}

/// Fetches the package and lays its folders out; nothing of it runs.
fn unpack(package: &str, fresh: &Path) -> Result<()> {
    if !in_path("npm") {
        bail!("not installed on this machine, and npm, which could fetch it, is not in PATH");
    }
    eprintln!("fetching {package}");
    checked(
        "npm pack",
        Command::new("npm")
            .args(["pack", "--silent", package])
            .current_dir(fresh),
    )?;
    let entries = std::fs::read_dir(fresh)?.flatten().map(|e| e.path());
    let archive = entries
        .filter(|p| p.extension().is_some_and(|e| e == "tgz"))
        .last()
        .context("npm pack left no file")?;
    checked(
        "tar",
        Command::new("tar")
            .args(["xzf"])
            .arg(&archive)
            .args(["--strip-components=2", "package/native"])
            .current_dir(fresh),
    )?;
    std::fs::remove_file(&archive)?;
    links(fresh)
}

/// Makes the library links that the package lists (an archive of npm can't hold links).
fn links(home: &Path) -> Result<()> {
    let text =
        std::fs::read_to_string(home.join("pg-symlinks.json")).context("pg-symlinks.json")?;
    let strings: Vec<&str> = text.split('"').skip(1).step_by(2).collect();
    for pair in strings.chunks(4) {
        let ["source", source, "target", target] = pair else {
            bail!("pg-symlinks.json is not as expected: {pair:?}")
        };
        let inside = |p: &str| home.join(p.trim_start_matches("native/"));
        let (source, target) = (inside(source), inside(target));
        if target.symlink_metadata().is_err() {
            let name = source.file_name().context("a link without a name")?;
            let relative = if source.parent() == target.parent() {
                PathBuf::from(name)
            } else {
                source.clone()
            };
            symlink(relative, &target).with_context(|| target.display().to_string())?;
        }
    }
    Ok(())
}
