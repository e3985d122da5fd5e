//! Where the server's own regression SQL comes from: the distribution's source package, fetched once into `.cache`, or a source
//! tree that `WEIR_POSTGRES_SOURCE` names.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::{install, place};

/// The distribution's name of the source.
const PACKAGE: &str = "postgresql-15";
/// What is taken from it.
const FOLDERS: [&str; 2] = ["src/test/regress", "src/pl/plpgsql/src/sql"];
/// Files that work the executor alone, for seconds; they say nothing of a session.
const LEFT_OUT: &[&str] = &["join_hash", "select_parallel", "tuplesort"];
/// The regression SQL.
#[derive(Clone, Debug)]
pub struct Source {
    /// The folder of `sql` and `data`, which the server can read.
    pub regress: PathBuf,
    /// Names and files, in the order in which they run.
    pub files: Vec<(String, PathBuf)>,
}

/// Finds or fetches the files.
pub fn find() -> Result<Source> {
    let home = place::cache().join("suites").join(PACKAGE);
    install::once(&home, |fresh| {
        match std::env::var_os("WEIR_POSTGRES_SOURCE") {
            Some(tree) => copy(Path::new(&tree), fresh),
            None => unpack(fresh),
        }
    })
    .context("the regression SQL of PostgreSQL")?;
    // The server may run as a user who can't reach the checkout.
    let copy = place::run_dir()?.join("regress");
    install::once(&copy, |fresh| self::copy(&home, fresh))?;
    let files = files(&copy)?;
    let regress = copy.join(FOLDERS[0]);
    Ok(Source { regress, files })
}

/// The files of the schedule, then those of the procedural language.
fn files(home: &Path) -> Result<Vec<(String, PathBuf)>> {
    let regress = home.join(FOLDERS[0]);
    let path = regress.join("parallel_schedule");
    let schedule = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let names = schedule.lines().filter_map(|l| l.strip_prefix("test:"));
    let names = names.flat_map(str::split_whitespace);
    let mut files: Vec<(String, PathBuf)> = names
        .filter(|name| !LEFT_OUT.contains(name))
        .map(|name| (name.to_owned(), regress.join(format!("sql/{name}.sql"))))
        .collect();
    let language = std::fs::read_dir(home.join(FOLDERS[1]))?.flatten();
    let mut language: Vec<(String, PathBuf)> = language
        .map(|entry| entry.path())
        .filter_map(|path| Some((path.file_stem()?.to_string_lossy().into_owned(), path)))
        .collect();
    language.sort();
    files.extend(language);
    ensure!(files.len() > 180, "only {} files", files.len());
    Ok(files)
}

fn copy(tree: &Path, to: &Path) -> Result<()> {
    for folder in FOLDERS {
        let parent = Path::new(folder).parent().context("a folder's parent")?;
        let parent = to.join(parent);
        std::fs::create_dir_all(&parent)?;
        let mut cp = Command::new("cp");
        cp.args(["-R", "--no-preserve=ownership"])
            .arg(tree.join(folder))
            .arg(parent);
        install::checked("cp", &mut cp)?;
    }
    Ok(())
}

fn unpack(fresh: &Path) -> Result<()> {
    let work = fresh.join("package");
    for folder in ["sources", "lists/partial", "cache/archives/partial"] {
        std::fs::create_dir_all(work.join(folder))?;
    }
    list_sources(&work.join("sources"))?;
    eprintln!("fetching the source of {PACKAGE}");
    install::checked("apt-get update", apt(&work).arg("update"))?;
    let mut source = apt(&work);
    source.args(["source", "--download-only", PACKAGE]);
    install::checked("apt-get source", &mut source)?;
    let archives = std::fs::read_dir(&work)?.flatten().map(|e| e.path());
    let archive = archives
        .filter(|p| p.to_string_lossy().contains(".orig.tar"))
        .last();
    if !install::in_path("bzip2") && install::may_change_system(false) {
        install::apt(&["bzip2"])?;
    }
    let mut tar = Command::new("tar");
    tar.arg("-xf")
        .arg(archive.context("apt-get brought no source")?)
        .args(["--strip-components=1", "--wildcards"])
        .args(FOLDERS.map(|folder| format!("*/{folder}/*")))
        .current_dir(fresh);
    install::checked("tar", &mut tar)?;
    std::fs::remove_dir_all(work)?;
    Ok(())
}

/// apt-get with lists of its own: the system's have no source packages, and stay as they are.
fn apt(work: &Path) -> Command {
    let mut apt = Command::new("apt-get");
    for (key, value) in [
        ("Dir::Etc::SourceList", "none"),
        ("Dir::Etc::SourceParts", "sources"),
        ("Dir::State::Lists", "lists"),
        ("Dir::Cache", "cache"),
    ] {
        let value = work.join(value);
        apt.arg("-o").arg(format!("{key}={}", value.display()));
    }
    apt.args(["-qq", "-o", "APT::Sandbox::User=root"])
        .current_dir(work);
    apt
}

/// The distribution's own places, asked for sources.
fn list_sources(folder: &Path) -> Result<()> {
    for (system, own) in [
        ("/etc/apt/sources.list.d/debian.sources", "own.sources"),
        ("/etc/apt/sources.list", "own.list"),
    ] {
        let Ok(text) = std::fs::read_to_string(system) else {
            continue;
        };
        let line = |line: &str| match (line.strip_prefix("Types:"), line.strip_prefix("deb ")) {
            (Some(_), _) => "Types: deb-src".to_owned(),
            (_, Some(rest)) => format!("deb-src {rest}"),
            _ => line.to_owned(),
        };
        // A security update's source goes away with the next one; what the release has stays.
        let lasting = |part: &&str| !part.contains("-security");
        let parts: Vec<&str> = text.split("\n\n").filter(lasting).collect();
        let text = parts.join("\n\n");
        let lines: Vec<String> = text.lines().filter(lasting).map(line).collect();
        std::fs::write(folder.join(own), lines.join("\n") + "\n")?;
        return Ok(());
    }
    bail!("no list of packages in /etc/apt; WEIR_POSTGRES_SOURCE names a source tree instead")
}
