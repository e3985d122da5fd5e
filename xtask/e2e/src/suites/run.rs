//! One run of one suite: a fresh server, weir in front of it or not, pytest, and how each test ended.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::sources::Suite;
use crate::endpoint::Endpoint;
use crate::install::Programs;
use crate::pki::Pki;
use crate::server::Server;
use crate::weir::{Start, Weir, quoted, take_problems};
use crate::{block, place, process};

/// One whole suite takes at most this long.
const MOST: Duration = Duration::from_secs(900);
/// Seconds for one test, beyond which pytest breaks it off.
const TEST_SECONDS: &str = "60";
/// Server connections that weir may have.
const POOL: &str = "20";

/// How a test ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    Passed,
    Failed,
    Skipped,
}

/// Where a suite runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Place {
    Direct,
    Weir,
    /// Through weir once more.
    Again,
}

impl Place {
    const fn name(self) -> &'static str {
        match self {
            Place::Direct => "direct",
            Place::Weir => "weir",
            Place::Again => "again",
        }
    }
}

/// What runs.
pub struct Runner {
    pub suite: &'static Suite,
    pub source: PathBuf,
    pub interpreter: PathBuf,
    pub programs: Programs,
    pub pki: Pki,
    pub io: String,
    pub shards: u16,
    pub filter: String,
    /// Logs go here.
    pub dir: PathBuf,
}

impl Runner {
    /// Runs all tests, or those named, against a fresh server.
    pub fn run(&self, place: Place, tests: &[String]) -> Result<BTreeMap<String, Outcome>> {
        let server = Server::start(&self.programs, &self.pki, 200)?;
        let target = server.superuser()?;
        let setup = target.clone();
        block(async move {
            let client = setup.connect().await?;
            for sql in self.suite.setup {
                client.batch_execute(sql).await?;
            }
            anyhow::Ok(())
        })?;
        if place == Place::Direct {
            return self.pytest(place, &target, tests);
        }
        let dir = self.dir.join(place.name());
        std::fs::create_dir_all(&dir)?;
        let weir = Weir::start(&self.weir(&target, dir))?;
        let mut front = target.clone();
        front.port = weir.port;
        let outcomes = self.pytest(place, &front, tests);
        drop(weir);
        let problems = take_problems();
        ensure!(problems.is_empty(), "{}", problems.join("; "));
        outcomes
    }

    /// weir as its defaults are, in front of the server.
    fn weir(&self, target: &Endpoint, dir: PathBuf) -> Start {
        let pair = self.pki.pair("weir");
        let options = [
            ("io", format!("\"{}\"", self.io)),
            ("shards", self.shards.to_string()),
            ("tls_certificate", quoted(&pair.cert)),
            ("tls_key", quoted(&pair.key)),
            ("host", "\"127.0.0.1\"".to_owned()),
            ("port", target.port.to_string()),
            ("target_ca", quoted(&target.ca)),
            ("max_connection_pool_size", POOL.to_owned()),
        ];
        let options = options.map(|(key, value)| (key.to_owned(), value));
        Start {
            program: place::weir_binary(),
            dir,
            options: options.into(),
            deny_io_uring: false,
            extra: String::new(),
            users: vec![(target.user.clone(), target.password.clone())],
        }
    }

    fn pytest(
        &self,
        place: Place,
        front: &Endpoint,
        tests: &[String],
    ) -> Result<BTreeMap<String, Outcome>> {
        let name = place.name();
        let results = self.dir.join(format!("{name}.results"));
        let mut command = Command::new(&self.interpreter);
        command
            .args(["-B", "-m", "pytest", "-q", "-p", "suite_results"])
            .args(["-p", "no:randomly", "--import-mode=prepend"])
            .args(["-o", "addopts="])
            .arg(format!("--timeout={TEST_SECONDS}"))
            .arg(format!(
                "-o=cache_dir={}",
                self.dir.join(format!("{name}.cache")).display()
            ))
            .args(self.suite.arguments.iter().map(|a| filled(a, front)))
            .args(["-k", &self.filter])
            .current_dir(&self.source)
            .env("PYTHONPATH", crate::place::checkout().join("xtask/clients"))
            .env("SUITE_RESULTS", &results)
            .envs(self.environment(front));
        if tests.is_empty() {
            command.args(self.suite.tests);
        } else {
            command.args(tests);
        }
        let label = format!("{}-{name}", self.suite.name);
        let (status, output) = process::run_to_end(&label, &mut command, MOST)?;
        std::fs::write(self.dir.join(format!("{name}.log")), &output)?;
        // 1: tests have failed.
        if !matches!(status.code(), Some(0 | 1)) {
            let tail: Vec<&str> = output.lines().rev().take(20).collect();
            let tail: Vec<&str> = tail.into_iter().rev().collect();
            bail!(
                "pytest of {label} ended with {status}:\n{}",
                tail.join("\n")
            );
        }
        read(&results)
    }

    fn environment(&self, front: &Endpoint) -> Vec<(&'static str, String)> {
        let pairs = self.suite.environment.iter();
        pairs
            .map(|(key, value)| (*key, filled(value, front)))
            .collect()
    }
}

fn filled(text: &str, front: &Endpoint) -> String {
    text.replace("{host}", "127.0.0.1")
        .replace("{port}", &front.port.to_string())
        .replace("{user}", &front.user)
        .replace("{password_in_url}", &front.password.replace(' ', "%20"))
        .replace("{password}", &front.password)
}

fn read(results: &Path) -> Result<BTreeMap<String, Outcome>> {
    let text = std::fs::read_to_string(results).with_context(|| results.display().to_string())?;
    let line = |line: &str| -> Result<(String, Outcome)> {
        let (word, test) = line.split_once('\t').context("a line without a tab")?;
        let outcome = match word {
            "passed" => Outcome::Passed,
            "failed" => Outcome::Failed,
            "skipped" => Outcome::Skipped,
            other => bail!("a test that ended as {other}"),
        };
        Ok((test.to_owned(), outcome))
    };
    text.lines().map(line).collect()
}
