//! `weir-perf run` and `weir-perf list`.

use std::net::ToSocketAddrs as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use weir_e2e::{place, process};

use crate::load::Login;
use crate::scenarios::{self, Options, Own, When};
use crate::subjects::Kind;
use crate::{net, report};

/// What to measure. A first word that is no command counts as the name of a scenario: `weir-perf throughput`.
#[derive(Args)]
pub struct RunArgs {
    /// Scenarios (see `list`); without any: all but `soak`, with --quick the most important ones.
    names: Vec<String>,
    /// Small cells, about two minutes.
    #[arg(long)]
    quick: bool,
    /// Rounds; each runs every subject once [default: 5, with --quick 2].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: Option<u32>,
    /// Measured part of one cell, seconds [default: 5, with --quick 2].
    #[arg(long)]
    seconds: Option<f64>,
    /// Length of the soak, minutes.
    #[arg(long, default_value_t = 60.0)]
    minutes: f64,
    /// Subjects (comma-separated): direct, weir, weir-epoll, pgbouncer, haproxy, pgpool2, odyssey, bare-relay.
    #[arg(long, value_delimiter = ',', value_parser = kind)]
    only: Vec<Kind>,
    /// Another PgBouncer than the one in PATH.
    #[arg(long, value_name = "PATH")]
    pgbouncer: Option<PathBuf>,
    /// Leave out peers that are missing instead of installing their packages.
    #[arg(long)]
    no_install: bool,
    /// Folder for the report [default: perf-report; called by cargo xtask: target/perf].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Keep the report in `perf/results` of the checkout, too.
    #[arg(long)]
    save: bool,
    /// End with exit code 1 when a figure was not reached.
    #[arg(long)]
    strict: bool,
    #[command(flatten)]
    own: OwnArgs,
}

/// A proxy and database that run already; nothing is started, and only scenarios that fit any database are run.
#[derive(Args)]
struct OwnArgs {
    /// Your proxy, HOST:PORT.
    #[arg(long, value_name = "HOST:PORT", requires = "user")]
    target: Option<String>,
    /// The database behind it, HOST:PORT, for the comparison.
    #[arg(long, value_name = "HOST:PORT", requires = "target")]
    direct: Option<String>,
    /// Role that logs in.
    #[arg(long, requires = "target")]
    user: Option<String>,
    /// Database [default: the role's name].
    #[arg(long, requires = "target")]
    database: Option<String>,
    /// File whose first line is the role's password; without one the server must ask for none.
    #[arg(long, value_name = "FILE", requires = "target")]
    password_file: Option<PathBuf>,
    /// Connect with TLS.
    #[arg(long, requires = "target")]
    tls: bool,
    /// Authority that the certificate is checked against, PEM; without it any certificate does.
    #[arg(long, value_name = "FILE", requires = "tls")]
    ca: Option<PathBuf>,
}

fn kind(name: &str) -> Result<Kind, String> {
    let names = Kind::NAMED.map(Kind::name).join(", ");
    Kind::parse(name).ok_or_else(|| format!("there are {names}"))
}

/// Prints the scenarios.
pub fn list() -> Result<ExitCode> {
    for entry in scenarios::ALL {
        let when = match entry.when {
            When::Always => "quick, long",
            When::Long => "long",
            When::Named => "by name",
        };
        println!("{:<14} {:<12} {}", entry.name, when, entry.title);
    }
    Ok(ExitCode::SUCCESS)
}

/// Measures, tells, and writes the report.
pub fn run(args: &RunArgs) -> Result<ExitCode> {
    process::stop_all_on_signals()?;
    // What is started inherits it.
    net::raise_descriptors();
    let measured = options(args).and_then(|options| scenarios::run(&options));
    place::remove_run_dir();
    let report = measured?;
    println!("{}", report::terminal(&report));
    let kept = args.save.then(|| place::checkout().join("perf/results"));
    let out = args.out.clone().unwrap_or_else(default_out);
    for dir in std::iter::once(&out).chain(&kept) {
        let (html, json) = report::write(&report, dir)?;
        println!("{}\n{}", html.display(), json.display());
    }
    let verdicts = report.scenarios.iter().flat_map(|s| &s.verdicts);
    let missed = verdicts.filter(|v| !v.held).count();
    let failed = scenarios::weir_failed(&report) || (args.strict && missed > 0);
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Beside what was built, where the caller says where that is.
fn default_out() -> PathBuf {
    match std::env::var_os("WEIR_TARGET_DIR") {
        Some(target) => PathBuf::from(target).join("perf"),
        None => "perf-report".into(),
    }
}

fn options(args: &RunArgs) -> Result<Options> {
    Ok(Options {
        names: args.names.clone(),
        quick: args.quick,
        rounds: args.rounds,
        seconds: args.seconds,
        soak: Duration::from_secs_f64((args.minutes * 60.0).clamp(1.0, 7.0 * 86_400.0)),
        only: args.only.clone(),
        pgbouncer: args.pgbouncer.clone(),
        install: !args.no_install,
        own: own(&args.own)?,
        command: command(),
    })
}

/// The command as a person would repeat it. No secret can be in it: passwords come from files.
fn command() -> String {
    let words = std::env::args().skip(1);
    std::iter::once("cargo xtask perf".to_owned())
        .chain(words)
        .collect::<Vec<_>>()
        .join(" ")
}

fn own(args: &OwnArgs) -> Result<Option<Own>> {
    let (Some(target), Some(user)) = (&args.target, &args.user) else {
        return Ok(None);
    };
    let address = |text: &str| {
        text.to_socket_addrs()
            .with_context(|| format!("{text:?} is no HOST:PORT that can be reached"))?
            .next()
            .with_context(|| format!("{text} has no address"))
    };
    let password = |path: &PathBuf| {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("can't read {}", path.display()))?;
        let line = text.lines().next().unwrap_or_default();
        anyhow::Ok(line.to_owned())
    };
    let host = target.rsplit_once(':').map_or(target.as_str(), |t| t.0);
    Ok(Some(Own {
        target: address(target)?,
        direct: args.direct.as_deref().map(address).transpose()?,
        login: Login {
            user: user.clone(),
            database: args.database.clone().unwrap_or_else(|| user.clone()),
            password: args.password_file.as_ref().map(password).transpose()?,
        },
        tls: args.tls,
        ca: args.ca.clone(),
        name: host.trim_matches(['[', ']']).to_owned(),
    }))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        args: RunArgs,
    }

    #[test]
    fn ones_own_proxy_is_named_with_a_login() {
        let words = "x added-latency --target 127.0.0.1:6432 --direct 127.0.0.1:5432 --user app";
        let args = Cli::try_parse_from(words.split(' ')).unwrap().args;
        let own = own(&args.own).unwrap().unwrap();
        assert_eq!(
            (own.target.port(), own.direct.unwrap().port()),
            (6432, 5432)
        );
        assert_eq!(
            (own.login.database.as_str(), own.name.as_str()),
            ("app", "127.0.0.1")
        );
        assert!(Cli::try_parse_from(["x", "--target", "127.0.0.1:6432"]).is_err());
        assert!(Cli::try_parse_from(["x", "--only", "nginx"]).is_err());
    }
}
