//! The server's own regression SQL as statements through psql: direct and through a weir that lends two connections to psql and to
//! clients that disturb it. What psql prints must be the same, line by line.
//!
//! Whether it is what the server's authors expect is not asked: the SQL of one version runs on several versions of the server, where an
//! error is as good an answer as any, as long as it is the same one. Older servers than the SQL are left out: it brings them down.

mod disturb;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use crate::block;
use crate::case::{Front, Missing, Setting};
use crate::endpoint::Endpoint;
use crate::install::{self, servers};
use crate::process;
use crate::server::Server;
use crate::suites::{Comparison, Expected, Outcome};
use disturb::Disturbers;
use source::Source;

/// One file takes at most this long.
const MOST: Duration = Duration::from_secs(60);
/// The suite's name in `expected.toml`.
const NAME: &str = "regress";
const DATABASE: &str = "regression";
/// What the files take for granted, beside the server's defaults. Hint bits and the plans that follow from them must not depend on time.
const GIVEN: &[&str] = &[
    "ALTER SYSTEM SET autovacuum = off",
    "SELECT pg_reload_conf()",
    "CREATE DATABASE regression TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'",
    "ALTER DATABASE regression SET lc_messages TO 'C'",
    "ALTER DATABASE regression SET lc_monetary TO 'C'",
    "ALTER DATABASE regression SET lc_numeric TO 'C'",
    "ALTER DATABASE regression SET lc_time TO 'C'",
    "ALTER DATABASE regression SET synchronous_commit TO on",
];
/// Whoever has disturbed well got another connection this often.
const CHANGES: u64 = 100;

/// Runs the files both ways and compares; once more when they differ in what is not expected.
pub fn compare(setting: &Setting) -> Result<()> {
    let source = match source::find() {
        Ok(source) => source,
        Err(error) if !install::may_change_system(false) => {
            return Err(Missing(format!("{error:#}")).into());
        }
        Err(error) => return Err(error),
    };
    let first = both(setting, &source)?;
    if first.is_empty() {
        return Ok(());
    }
    // Some plans and counts depend on when a background worker came by.
    let again = both(setting, &source)?;
    let still: Vec<String> = again
        .into_iter()
        .filter_map(|(file, how)| first.contains_key(&file).then_some(how))
        .collect();
    ensure!(still.is_empty(), "{}", still.join("\n"));
    Ok(())
}

/// One run each way at the same time; the files that differ unexpectedly, and how.
fn both(setting: &Setting, source: &Source) -> Result<BTreeMap<String, String>> {
    let (direct, through) = std::thread::scope(|scope| {
        let through = scope.spawn(|| run(setting, source, false));
        let direct = run(setting, source, true);
        let through = through.join();
        (
            direct,
            through.unwrap_or_else(|_| bail!("the run through weir panicked")),
        )
    });
    let (direct, through) = (direct?, through?);
    let passed: BTreeMap<String, Outcome> = direct
        .keys()
        .map(|file| (file.clone(), Outcome::Passed))
        .collect();
    let same: BTreeMap<String, Outcome> = direct
        .iter()
        .map(|(file, text)| {
            let equal = through.get(file) == Some(text);
            let outcome = if equal {
                Outcome::Passed
            } else {
                Outcome::Failed
            };
            (file.clone(), outcome)
        })
        .collect();
    let expected = Expected::read()?;
    let found = Comparison::new(&passed, &same, expected.of(NAME));
    ensure!(
        found.stale.is_empty(),
        "in expected.toml, and not different: {}",
        found.stale.join(", ")
    );
    println!(
        "        {} files of SQL print the same, {} differ as expected",
        found.equal,
        found.expected.len()
    );
    let differing = found.unexpected.into_iter();
    Ok(differing
        .map(|file| {
            let of = |outputs: &BTreeMap<String, String>| outputs.get(&file).cloned();
            let how = first_difference(
                &of(&direct).unwrap_or_default(),
                &of(&through).unwrap_or_default(),
            );
            (file.clone(), format!("{file}: {how}"))
        })
        .collect())
}

fn first_difference(direct: &str, through: &str) -> String {
    let (mut a, mut b) = (direct.lines(), through.lines());
    for number in 1.. {
        let pair = (a.next(), b.next());
        if pair.0 != pair.1 || pair.0.is_none() {
            let told = |line: Option<&str>| line.unwrap_or("(the end)").to_owned();
            return format!(
                "line {number}: direct {:?}, through weir {:?}",
                told(pair.0),
                told(pair.1)
            );
        }
    }
    String::new()
}

/// All files, one after the other, on a server of their own; what psql printed for each.
fn run(setting: &Setting, source: &Source, direct: bool) -> Result<BTreeMap<String, String>> {
    let name = if direct { "direct" } else { "weir" };
    let dir = setting.dir.join(name);
    std::fs::create_dir_all(&dir)?;
    let server = Server::start(&servers::find(setting.server.major)?, &setting.pki, 50)?;
    give_database(&server)?;
    let mut own = setting.clone();
    own.server = std::sync::Arc::new(server);
    own.dir = dir.clone();
    own.direct = direct;
    let user = own.server.superuser()?;
    let front = front(&own, &user)?;
    let endpoint = front
        .endpoint
        .with_login(&user.user, &user.password, DATABASE);
    let disturbers = (!direct).then(|| Disturbers::start(&endpoint));
    let mut outputs = BTreeMap::new();
    for (file, path) in &source.files {
        let output = psql(&endpoint, source, path, &dir, name)?;
        std::fs::write(dir.join(format!("{file}.out")), &output)?;
        outputs.insert(file.clone(), output);
    }
    if let Some(disturbers) = disturbers {
        let changes = disturbers.stop()?;
        ensure!(changes > CHANGES, "only {changes} changes of connection");
    }
    Ok(outputs)
}

fn front(setting: &Setting, user: &Endpoint) -> Result<Front> {
    let options = [("max_connection_pool_size", "2")];
    setting.front_with(&options, |start| {
        start
            .users
            .insert(0, (user.user.clone(), user.password.clone()));
    })
}

fn give_database(server: &Server) -> Result<()> {
    let endpoint = server.superuser()?;
    block(async move {
        let client = endpoint.connect().await?;
        for sql in GIVEN {
            client.batch_execute(sql).await?;
        }
        Ok(())
    })
}

/// psql as the server's own test program calls it.
fn psql(
    endpoint: &Endpoint,
    source: &Source,
    file: &Path,
    dir: &Path,
    name: &str,
) -> Result<String> {
    let build = build_folder(name)?;
    let mut command = Command::new("psql");
    command
        .args([
            "-X",
            "-a",
            "-q",
            "-v",
            "HIDE_TABLEAM=on",
            "-v",
            "HIDE_TOAST_COMPRESSION=on",
        ])
        .arg("-f")
        .arg(file)
        .current_dir(dir)
        .envs(endpoint.environment())
        .env("PGTZ", "PST8PDT")
        .env("PGDATESTYLE", "Postgres, MDY")
        .env("PGOPTIONS", "-c intervalstyle=postgres_verbose")
        .env("PG_ABS_SRCDIR", &source.regress)
        .env("PG_ABS_BUILDDIR", &build)
        .env("PG_LIBDIR", "/nowhere")
        .env("PG_DLSUFFIX", ".so")
        .env("LC_ALL", "C.UTF-8");
    let (_, output) = process::run_to_end(&format!("psql-{name}"), &mut command, MOST)?;
    // Both write files, and listen on ports, of their own.
    let output = output.replace(&build.display().to_string(), "/build");
    let output = output.replace(&format!("port {}", endpoint.port), "port 1");
    Ok(output.lines().map(without_position).collect())
}

/// psql says at which line of its file it was when it read a notice. In a COPY it goes on reading the file while notices come, so
/// where it stands then is a matter of time.
fn without_position(line: &str) -> String {
    let position = line.strip_prefix("psql:").and_then(|rest| {
        let (position, said) = rest.split_once(": ")?;
        let notice = ["NOTICE: ", "WARNING: ", "INFO: "];
        let is_one = notice.iter().any(|severity| said.starts_with(severity));
        let (file, _) = position.rsplit_once(':')?;
        is_one.then_some((file, said))
    });
    match position {
        Some((file, said)) => format!("psql:{file}: {said}\n"),
        None => format!("{line}\n"),
    }
}

/// Where server and psql both may write.
fn build_folder(name: &str) -> Result<PathBuf> {
    let build = crate::place::run_dir()?.join(format!("regress-build-{name}"));
    let results = build.join("results");
    std::fs::create_dir_all(&results)?;
    process::give(&build)?;
    process::give(&results)?;
    Ok(build)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_has_no_line_and_an_error_has() {
        let notice = "psql:/sql/triggers.sql:345: NOTICE:  trigger_func(a) called: b";
        let bare = "psql:/sql/triggers.sql: NOTICE:  trigger_func(a) called: b\n";
        assert_eq!(without_position(notice), bare);
        let error = "psql:/sql/triggers.sql:345: ERROR:  a: NOTICE: ";
        assert_eq!(without_position(error), format!("{error}\n"));
        assert_eq!(without_position("5: NOTICE: "), "5: NOTICE: \n");
    }
}
