//! The runner: which case runs where, one after the other, each with a time limit and a line of its own.

use std::collections::BTreeMap;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::Args;

use crate::case::{Case, Missing, Plan, Setting};
use crate::install::{self, Drivers};
use crate::pki::Pki;
use crate::server::Server;
use crate::{cases, place, process, weir};

/// Servers that the suite knows, the main one first.
const MAJORS: &[u32] = &[15, 10, 13, 18];
/// Shell and shards for each server of [`MAJORS`]: every pair of server, shell and number of shards comes up.
const MATRIX: &[(u32, [(&str, u16); 2])] = &[
    (15, [("io_uring", 1), ("epoll", 2)]),
    (10, [("io_uring", 2), ("epoll", 1)]),
    (13, [("io_uring", 1), ("epoll", 2)]),
    (18, [("io_uring", 2), ("epoll", 1)]),
];

/// The end-to-end suite: real servers, real drivers, TLS.
#[derive(Args)]
pub struct RunArgs {
    /// PostgreSQL majors (comma-separated): 10, 13, 15, 18; others from 12 on have those cases that run on every server.
    #[arg(long, value_delimiter = ',')]
    server: Vec<u32>,
    /// weir's shells (comma-separated): io_uring, epoll.
    #[arg(long, value_delimiter = ',')]
    io: Vec<String>,
    /// Only cases whose name contains this (comma-separated).
    #[arg(long, value_delimiter = ',')]
    filter: Vec<String>,
    /// Without weir, against the servers themselves: shows that the tests are right.
    #[arg(long)]
    direct: bool,
    /// Larger numbers: 1 GiB streams, 100,000 silent connects.
    #[arg(long)]
    long: bool,
    /// Random cases try this seed alone.
    #[arg(long)]
    seed: Option<u64>,
    /// Only print what would run.
    #[arg(long)]
    list: bool,
    /// Stop at the first failure.
    #[arg(long)]
    fail_fast: bool,
}

/// One case in one place.
struct Job {
    case: &'static Case,
    major: u32,
    io: &'static str,
    shards: u16,
}

impl Job {
    fn label(&self, direct: bool) -> String {
        if direct {
            return format!("{} (PostgreSQL {}, direct)", self.case.name, self.major);
        }
        format!(
            "{} (PostgreSQL {}, {}, shards {})",
            self.case.name, self.major, self.io, self.shards
        )
    }
}

#[derive(Default)]
struct Tally {
    passed: u32,
    failed: Vec<String>,
    skipped: Vec<String>,
}

/// Runs the suite; ends the program with 1 when a case failed.
pub fn run(args: &RunArgs) -> Result<()> {
    let jobs = jobs(args);
    if jobs.is_empty() {
        bail!("no case matches");
    }
    if args.list {
        jobs.iter()
            .for_each(|job| println!("{}", job.label(args.direct)));
        return Ok(());
    }
    process::raise_descriptor_limit()?;
    let drivers = Arc::new(Drivers::find(install::may_change_system(false)));
    let pki = Pki::make(&place::run_dir()?.join("pki"))?;
    let mut tally = Tally::default();
    let mut by_server: BTreeMap<usize, Vec<&Job>> = BTreeMap::new();
    for job in &jobs {
        let place = MAJORS
            .iter()
            .position(|m| *m == job.major)
            .unwrap_or(MAJORS.len());
        by_server.entry(place).or_default().push(job);
    }
    for jobs in by_server.values() {
        run_on_server(jobs, args, &pki, &drivers, &mut tally);
        if args.fail_fast && !tally.failed.is_empty() {
            break;
        }
    }
    report(&tally)
}

fn report(tally: &Tally) -> Result<()> {
    for name in &tally.skipped {
        println!("SKIPPED {name}");
    }
    for name in &tally.failed {
        println!("FAILED {name}");
    }
    println!(
        "{} passed, {} failed, {} skipped",
        tally.passed,
        tally.failed.len(),
        tally.skipped.len()
    );
    place::remove_run_dir();
    if !tally.failed.is_empty() {
        std::process::exit(1);
    }
    Ok(())
}

fn jobs(args: &RunArgs) -> Vec<Job> {
    let wanted_major = |major: u32| args.server.is_empty() || args.server.contains(&major);
    let wanted_io = |io: &str| args.direct || args.io.is_empty() || args.io.iter().any(|i| i == io);
    let wanted_name = |name: &str| {
        args.filter.is_empty() || args.filter.iter().any(|f| name.contains(f.as_str()))
    };
    let mut jobs = Vec::new();
    for case in cases::all().filter(|c| wanted_name(c.name) && (c.direct || !args.direct)) {
        let mut places = places(case.plan, &args.server);
        if args.direct {
            places.dedup_by_key(|p| p.0);
        }
        for (major, io, shards) in places {
            if wanted_major(major) && wanted_io(io) {
                jobs.push(Job {
                    case,
                    major,
                    io,
                    shards,
                });
            }
        }
    }
    jobs
}

/// Where a plan's cases run; a server that is `asked` for by name may be one that the usual run leaves out.
fn places(plan: Plan, asked: &[u32]) -> Vec<(u32, &'static str, u16)> {
    match plan {
        Plan::Matrix => {
            let others = asked.iter().filter(|major| !MAJORS.contains(major));
            let others = others.map(|major| (*major, [("io_uring", 1), ("epoll", 2)]));
            let all = MATRIX.iter().copied().chain(others);
            all.flat_map(|(major, pairs)| pairs.map(|(io, shards)| (major, io, shards)))
                .collect()
        }
        Plan::Servers { since } => MATRIX
            .iter()
            .filter(|(major, _)| *major >= since)
            .map(|(major, [(io, shards), _])| (*major, *io, *shards))
            .collect(),
        Plan::Shells { shards } => vec![(15, "io_uring", shards), (15, "epoll", shards)],
        Plan::Once => vec![(15, "io_uring", 1)],
    }
}

fn run_on_server(
    jobs: &[&Job],
    args: &RunArgs,
    pki: &Pki,
    drivers: &Arc<Drivers>,
    tally: &mut Tally,
) {
    let Some(first) = jobs.first() else { return };
    let started =
        install::servers::find(first.major).and_then(|programs| Server::start(&programs, pki, 100));
    let server = match started {
        Ok(server) => Arc::new(server),
        Err(error) => {
            println!("PostgreSQL {} can't be started: {error:#}", first.major);
            // On CI everything can be installed, so that a missing server is a failure and not an excuse.
            let on_ci = install::may_change_system(false);
            let list = if on_ci {
                &mut tally.failed
            } else {
                &mut tally.skipped
            };
            list.extend(
                jobs.iter()
                    .map(|job| format!("{}: no server", job.label(args.direct))),
            );
            return;
        }
    };
    for job in jobs {
        let label = job.label(args.direct);
        let dir = place::target_dir()
            .join("e2e")
            .join(label.replace(['/', ' '], "-").replace([',', '(', ')'], ""));
        let _ = std::fs::remove_dir_all(&dir);
        let setting = Setting {
            server: server.clone(),
            io: job.io,
            shards: job.shards,
            direct: args.direct,
            long: args.long,
            seed: args.seed,
            pki: pki.clone(),
            drivers: drivers.clone(),
            dir: dir.clone(),
        };
        let start = Instant::now();
        let outcome = std::fs::create_dir_all(&dir)
            .map_err(Into::into)
            .and_then(|()| run_one(job.case, setting));
        note(&label, outcome, start.elapsed(), &dir, tally);
        if args.fail_fast && !tally.failed.is_empty() {
            return;
        }
    }
}

fn note(
    label: &str,
    outcome: Result<()>,
    took: Duration,
    dir: &std::path::Path,
    tally: &mut Tally,
) {
    let seconds = took.as_secs_f64();
    match outcome {
        Ok(()) => {
            println!("ok      {seconds:>6.1} s  {label}");
            tally.passed += 1;
            let _ = std::fs::remove_dir_all(dir);
        }
        Err(error)
            if error.downcast_ref::<Missing>().is_some() && !install::may_change_system(false) =>
        {
            println!("skipped {seconds:>6.1} s  {label}: {error:#}");
            tally.skipped.push(format!("{label}: {error:#}"));
            let _ = std::fs::remove_dir_all(dir);
        }
        Err(error) => {
            println!(
                "FAILED  {seconds:>6.1} s  {label}: {error:#}\n        logs in {}",
                dir.display()
            );
            let first_line = format!("{error:#}")
                .lines()
                .next()
                .unwrap_or_default()
                .to_owned();
            tally.failed.push(format!("{label}: {first_line}"));
        }
    }
}

/// Runs one case on a thread of its own, at most for its time.
fn run_one(case: &'static Case, setting: Setting) -> Result<()> {
    let mark = process::mark();
    let (send, receive) = mpsc::channel();
    std::thread::spawn(move || {
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| (case.run)(&setting)));
        let outcome = outcome.unwrap_or_else(|_| bail!("the test itself panicked"));
        let _ = send.send(outcome);
    });
    let outcome = receive
        .recv_timeout(Duration::from_secs(case.seconds))
        .unwrap_or_else(|_| {
            process::stop_after(mark);
            // With its processes gone the case usually ends; wait a little so that it does not disturb the next one.
            let late = receive
                .recv_timeout(Duration::from_secs(5))
                .err()
                .map_or("", |_| ", and does not end");
            weir::take_problems();
            bail!("not done after {} s{late}", case.seconds)
        });
    process::stop_after(mark);
    let problems = weir::take_problems();
    match outcome {
        Ok(()) if problems.is_empty() => Ok(()),
        Ok(()) => bail!("{}", problems.join("; ")),
        Err(error) if problems.is_empty() => Err(error),
        Err(error) => Err(error.context(problems.join("; "))),
    }
}
