//! `profile`: where weir spends its time, or its instructions, under a load.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use weir_e2e::place;
use weir_e2e::weir::Weir;

use crate::guard::{lockstep, started};
use crate::load::{self, Login, Moment, Pace, Spec, Statement, Tls, Weighted, Work};
use crate::null;
use crate::profile::{self, Counts, Sampling, callgrind};

/// Functions that the table on the terminal shows; the file has all of them.
const SHOWN: usize = 30;

/// Server connections, and clients unless `--clients` says otherwise.
const WIDTH: usize = 32;

/// What to profile.
#[derive(Args)]
pub struct ProfileArgs {
    /// What weir gets to do, in front of the null server.
    #[arg(required_unless_present = "pid")]
    scenario: Option<Scenario>,
    /// Instead: a process that runs already, under whatever load it has.
    #[arg(long, conflicts_with_all = ["scenario", "callgrind"])]
    pid: Option<u32>,
    /// How long.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Clients.
    #[arg(long, default_value_t = WIDTH)]
    clients: usize,
    /// TLS towards the clients.
    #[arg(long)]
    tls: bool,
    /// weir's shell: io_uring or epoll.
    #[arg(long, default_value = "io_uring", value_parser = ["io_uring", "epoll"])]
    io: String,
    /// Count instructions and allocations under valgrind instead of sampling time; always with the epoll shell.
    #[arg(long)]
    callgrind: bool,
    /// Where `flame.svg` and `functions.txt` go.
    #[arg(long, default_value = "target/perf/profile")]
    out: PathBuf,
}

/// The loads.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
enum Scenario {
    /// Closed loop, simple protocol.
    Throughput,
    /// Closed loop, a named prepared statement.
    Prepared,
    /// Open loop at 1,000 queries a second.
    AddedLatency,
    /// Clients connect, run one transaction and leave.
    Storm,
}

/// Samples or counts, writes the files and shows the head of the table.
pub fn run(args: &ProfileArgs) -> Result<ExitCode> {
    ensure!(args.seconds > 0.0, "--seconds must be more than 0");
    if let Some(pid) = args.pid {
        let sampling = Sampling::start(pid, &args.out)?;
        std::thread::sleep(Duration::from_secs_f64(args.seconds));
        return sampled(args, &sampling.finish()?, &format!("process {pid}"));
    }
    weir_e2e::process::stop_all_on_signals()?;
    let done = under_load(args, args.scenario.context("which scenario?")?);
    place::remove_run_dir();
    done
}

fn under_load(args: &ProfileArgs, scenario: Scenario) -> Result<ExitCode> {
    let server = null::spawn(&null::Config::new(([127, 0, 0, 1], 0).into()))?;
    let dir = place::run_dir()?.join("profile");
    let counts = dir.join("callgrind");
    let (before, io) = if args.callgrind {
        ensure!(
            callgrind::present(),
            "valgrind is not installed (Debian's package valgrind)"
        );
        (callgrind::behind(&counts), "\"epoll\"".to_owned())
    } else {
        (Vec::new(), format!("\"{}\"", args.io))
    };
    let tls = if args.tls { "\"required\"" } else { "\"off\"" };
    let room = (args.clients + 100).to_string();
    let options = [
        ("io", io.as_str()),
        ("client_tls", tls),
        ("max_client_connections", &room),
    ];
    let weir = started::weir(&dir, &before, server.address(), &options, WIDTH)?;
    let spec = spec(args, scenario, &weir);
    let what = format!(
        "{scenario:?}, {} clients{}",
        args.clients,
        if args.tls { ", TLS" } else { "" }
    );
    if args.callgrind {
        count(args, &spec, &weir, &counts, &what)
    } else {
        let mut sampling = None;
        load::run(&spec, &mut |moment| {
            if moment == Moment::Measuring {
                sampling = Some(Sampling::start(weir.pid(), &args.out));
            }
        })?;
        let stacks = sampling.context("nothing was measured")??.finish()?;
        sampled(args, &stacks, &what)
    }
}

fn sampled(args: &ProfileArgs, stacks: &profile::Stacks, what: &str) -> Result<ExitCode> {
    let title = format!("{what}, {} s", args.seconds);
    let (svg, text) = profile::write(stacks, &title, &args.out)?;
    print!("{}", profile::samples(stacks, SHOWN));
    println!("\n{}\n{}", svg.display(), text.display());
    Ok(ExitCode::SUCCESS)
}

fn count(
    args: &ProfileArgs,
    spec: &Spec,
    weir: &Weir,
    file: &std::path::Path,
    what: &str,
) -> Result<ExitCode> {
    let mut dumps: Vec<Result<Counts>> = Vec::new();
    let load = load::run(spec, &mut |moment| {
        if matches!(moment, Moment::Measuring | Moment::Measured) {
            let number = u32::try_from(dumps.len()).unwrap_or(0) + 1;
            dumps.push(callgrind::dump(weir.pid(), file, number));
        }
    })?;
    let counts = dumps.pop().context("nothing was measured")??;
    let queries = load.queries as f64;
    let all = profile::instructions(&counts, queries, usize::MAX);
    std::fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let path = args.out.join("functions.txt");
    std::fs::write(
        &path,
        format!("{what}, {queries} queries under callgrind\n\n{all}"),
    )
    .with_context(|| path.display().to_string())?;
    print!("{}", profile::instructions(&counts, queries, SHOWN));
    println!("\n{}", path.display());
    Ok(ExitCode::SUCCESS)
}

fn spec(args: &ProfileArgs, scenario: Scenario, weir: &Weir) -> Spec {
    let query = "select 1".to_owned();
    let work = match scenario {
        Scenario::Prepared => Work::Prepared(Statement {
            sql: query,
            parameters: Vec::new(),
        }),
        _ => Work::Simple(vec![query]),
    };
    let pace = match scenario {
        Scenario::AddedLatency => Pace::Open { rate: 1000.0 },
        Scenario::Storm => Pace::Storm {
            total: 0,
            rate: 0.0,
        },
        _ => Pace::Closed {
            think: Duration::ZERO,
        },
    };
    Spec {
        to: ([127, 0, 0, 1], weir.port).into(),
        login: Login {
            user: lockstep::USER.to_owned(),
            database: lockstep::USER.to_owned(),
            password: Some(lockstep::PASSWORD.to_owned()),
        },
        tls: args.tls.then(|| Tls {
            ca: None,
            name: "localhost".to_owned(),
            resume: false,
        }),
        connections: args.clients,
        active: args.clients,
        setup: Vec::new(),
        work: vec![Weighted { weight: 1, work }],
        pace,
        warmup: Duration::from_secs(1),
        duration: Duration::from_secs_f64(args.seconds),
        cpus: Vec::new(),
        connect_rate: 1000.0,
        read_rate: None,
        timeout: Duration::from_secs(30),
    }
}
