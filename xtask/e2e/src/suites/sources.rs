//! Where the suites come from: source packages of the drivers, fetched once into `.cache`.
//!
//! psycopg 3 leaves its tests out of its source package: they come from its repository, where that can be reached, or from a
//! checkout that `WEIR_PSYCOPG_SOURCE` names.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::install::{self, drivers};
use crate::place;

/// Drivers under test and what their suites need.
const PACKAGES: &[&str] = &[
    "asyncpg==0.32.0",
    "psycopg[binary]==3.3.4",
    "psycopg2-binary==2.9.13",
    "pytest==9.2.0",
    "pytest-timeout==2.4.0",
    "anyio==4.16.0",
    "distro",
    "dnspython",
    "greenlet",
    "typing-extensions",
];

/// Where a suite's files come from.
#[derive(Debug)]
pub enum Source {
    /// A source package of this name.
    Package(&'static str),
    /// A git repository, at a tag of the suite's version; or the checkout that the environment variable names.
    Git {
        url: &'static str,
        variable: &'static str,
    },
}

/// One driver's suite.
#[derive(Debug)]
pub struct Suite {
    /// The driver.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
    /// Where the suite is.
    pub source: Source,
    /// A whole run in which fewer tests pass direct has not run as it should.
    pub at_least: usize,
    /// Not every machine can have it.
    pub may_be_missing: bool,
    /// Further arguments of pytest.
    pub arguments: &'static [&'static str],
    /// What pytest is given to run.
    pub tests: &'static [&'static str],
    /// What the superuser runs in the database `postgres` before.
    pub setup: &'static [&'static str],
    /// Environment, with `{host}`, `{port}`, `{user}` and `{password}` in it, as the arguments may have them.
    pub environment: &'static [(&'static str, &'static str)],
}

/// All suites.
pub const SUITES: &[Suite] = &[
    Suite {
        name: "asyncpg",
        version: "0.32.0",
        source: Source::Package("asyncpg"),
        at_least: 290,
        may_be_missing: false,
        // What looks at the code's own style, and what starts servers of its own.
        arguments: &[
            "--ignore=tests/test__sourcecode.py",
            "--deselect=tests/test_connect.py::TestConnectionAttributes",
        ],
        tests: &["tests"],
        setup: &[],
        environment: &[
            ("PGHOST", "{host}"),
            ("PGPORT", "{port}"),
            ("PGUSER", "{user}"),
            ("PGPASSWORD", "{password}"),
            ("PGDATABASE", "postgres"),
        ],
    },
    Suite {
        name: "psycopg2",
        version: "2.9.13",
        source: Source::Package("psycopg2"),
        at_least: 650,
        may_be_missing: false,
        arguments: &[],
        tests: &["tests"],
        setup: &[],
        environment: &[
            ("PSYCOPG2_TESTDB", "postgres"),
            ("PSYCOPG2_TESTDB_HOST", "{host}"),
            ("PSYCOPG2_TESTDB_PORT", "{port}"),
            ("PSYCOPG2_TESTDB_USER", "{user}"),
            // Goes into a connection string as it is.
            ("PSYCOPG2_TESTDB_PASSWORD", "'{password}'"),
            ("PGPASSWORD", "{password}"),
            ("PSYCOPG2_TEST_FAST", "1"),
        ],
    },
    Suite {
        name: "psycopg",
        version: "3.3.4",
        source: Source::Git {
            url: "https://github.com/psycopg/psycopg",
            variable: "WEIR_PSYCOPG_SOURCE",
        },
        at_least: 4700,
        may_be_missing: true,
        // Slow tests are those of the driver's own waiting, and of its type stubs.
        arguments: &[
            "-m",
            "not slow",
            "--ignore=tests/pool",
            "--ignore=tests/crdb",
            "--ignore=tests/test_typing.py",
        ],
        tests: &["tests"],
        setup: &[],
        environment: &[(
            "PSYCOPG_TEST_DSN",
            "host={host} port={port} user={user} password='{password}' dbname=postgres",
        )],
    },
    Suite {
        name: "sqlalchemy",
        version: "2.1.9",
        source: Source::Package("sqlalchemy"),
        at_least: 1000,
        may_be_missing: false,
        arguments: &[
            "--dburi",
            "postgresql+psycopg2://{user}:{password_in_url}@{host}:{port}/postgres?sslmode=require",
        ],
        // The rest of the dialect's tests only looks at the text of statements.
        tests: &[
            "test/dialect/postgresql/test_query.py",
            "test/dialect/postgresql/test_dialect.py",
            "test/dialect/postgresql/test_on_conflict.py",
            "test/dialect/postgresql/test_async_pg.py",
            "test/dialect/postgresql/test_reflection.py",
            "test/dialect/test_suite.py",
        ],
        setup: &[
            "CREATE SCHEMA test_schema",
            "CREATE SCHEMA test_schema_2",
            "CREATE EXTENSION citext",
            "CREATE EXTENSION hstore",
        ],
        environment: &[],
    },
];

/// The Python that has the drivers and pytest.
pub fn python() -> Result<PathBuf> {
    drivers::python_with(PACKAGES, install::may_change_system(false))
}

/// The folder that holds the suite's `tests`, and nothing of the driver itself beside it.
pub fn fetch(suite: &Suite) -> Result<PathBuf> {
    let home = place::cache()
        .join("suites")
        .join(format!("{}-{}", suite.name, suite.version));
    install::once(&home, |fresh| match suite.source {
        Source::Package(name) => unpack_package(name, suite.version, fresh),
        Source::Git { url, variable } => match std::env::var_os(variable) {
            Some(checkout) => copy_tests(Path::new(&checkout), fresh),
            None => clone(url, suite.version, fresh),
        },
    })
    .with_context(|| format!("the suite of {} {}", suite.name, suite.version))?;
    Ok(home)
}

fn unpack_package(name: &str, version: &str, fresh: &Path) -> Result<()> {
    let package = fresh.join("package");
    std::fs::create_dir_all(&package)?;
    let mut pip = Command::new(python()?);
    pip.args(["-m", "pip", "download", "--quiet", "--no-deps"])
        .args(["--disable-pip-version-check", "--no-binary", ":all:"])
        .arg(format!("{name}=={version}"))
        .current_dir(&package);
    install::checked("pip download", &mut pip)?;
    let archive = std::fs::read_dir(&package)?
        .filter_map(Result::ok)
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "gz"));
    let archive = archive.context("pip brought no source package")?;
    let mut tar = Command::new("tar");
    tar.arg("-xzf")
        .arg(archive)
        .arg("--strip-components=1")
        .current_dir(&package);
    install::checked("tar", &mut tar)?;
    copy_tests(&package, fresh)?;
    std::fs::remove_dir_all(package)?;
    Ok(())
}

fn clone(url: &str, tag: &str, fresh: &Path) -> Result<()> {
    let whole = fresh.join("repository");
    let mut git = Command::new("git");
    git.args(["clone", "--quiet", "--depth", "1", "--branch", tag, url])
        .arg(&whole)
        .env("GIT_TERMINAL_PROMPT", "0");
    install::checked("git clone", &mut git)?;
    copy_tests(&whole, fresh)?;
    std::fs::remove_dir_all(whole)?;
    Ok(())
}

/// Takes over the tests and the configuration of pytest, not the driver's own code: that is the installed one. (SQLAlchemy's tests are in
/// `test`, and want its code, which is `lib`, beside them.)
fn copy_tests(from: &Path, to: &Path) -> Result<()> {
    if !from.join("tests").is_dir() && !from.join("test").is_dir() {
        bail!("{} has no folder tests", from.display());
    }
    let names: &[&str] = if from.join("tests").is_dir() {
        &["tests", "pyproject.toml"]
    } else {
        &["test", "lib", "pyproject.toml", "setup.cfg"]
    };
    for name in names {
        if from.join(name).exists() {
            let mut copy = Command::new("cp");
            copy.arg("-R").arg(from.join(name)).arg(to);
            install::checked("cp", &mut copy)?;
        }
    }
    Ok(())
}
