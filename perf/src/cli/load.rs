//! `weir-perf load`.

use std::net::ToSocketAddrs as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::Args;

use crate::load::{self, Login, Moment, Pace, Spec, Statement, Tls, Weighted, Work};
use crate::model::{Curve, Load};

/// What the clients do.
#[derive(Args)]
pub struct LoadArgs {
    /// Where to connect.
    #[arg(value_name = "HOST:PORT")]
    to: String,
    /// Role.
    #[arg(long, default_value = "postgres")]
    user: String,
    /// Database; as the role, if not given.
    #[arg(long)]
    database: Option<String>,
    /// The environment variable that has the password.
    #[arg(long, value_name = "VARIABLE", default_value = "PGPASSWORD")]
    password_env: String,
    /// Speaks TLS; any certificate is believed unless --tls-ca is given.
    #[arg(long)]
    tls: bool,
    /// Roots in PEM that the certificate has to come from.
    #[arg(long, value_name = "FILE", requires = "tls")]
    tls_ca: Option<PathBuf>,
    /// Clients that come back resume their TLS sessions.
    #[arg(long, requires = "tls")]
    tls_resume: bool,
    /// Connections.
    #[arg(short, long, default_value_t = 32)]
    connections: usize,
    /// How many of them send; all, if not given.
    #[arg(long)]
    active: Option<usize>,
    /// A statement of the transaction; several are sent one after the other.
    #[arg(long, value_name = "SQL", default_value = "select 1")]
    sql: Vec<String>,
    /// A parameter's value (`{random:N}`: drawn from 1 to N), for the extended protocol.
    #[arg(long, value_name = "TEXT")]
    parameter: Vec<String>,
    /// How statements are sent.
    #[arg(long, value_enum, default_value_t = Protocol::Simple)]
    protocol: Protocol,
    /// Bytes of COPY data, for `--protocol copy-in`: lines of text for one column.
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    copy_bytes: u64,
    /// Transactions a second by schedule; without it the next follows the answer. In a storm: clients a second.
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// Pause between answer and next transaction, milliseconds, on average.
    #[arg(long, value_name = "MS", default_value_t = 0, conflicts_with = "rate")]
    think_ms: u64,
    /// Each client connects, runs one transaction and leaves; so many clients in all (0: as many as there is time for).
    #[arg(long, value_name = "CLIENTS", num_args = 0..=1, default_missing_value = "0")]
    storm: Option<u64>,
    /// Seconds that are not measured.
    #[arg(long, default_value_t = 1.0)]
    warmup: f64,
    /// Seconds that are measured.
    #[arg(short, long, default_value_t = 5.0)]
    duration: f64,
    /// CPUs for the generator, a thread each: `--cpus 0,1`.
    #[arg(long, value_delimiter = ',')]
    cpus: Vec<usize>,
    /// Connects a second while the fleet is built.
    #[arg(long, default_value_t = 2000.0)]
    connect_rate: f64,
    /// Each client reads at most so many bytes a second.
    #[arg(long, value_name = "BYTES")]
    read_rate: Option<u64>,
    /// Seconds without an answer after which a connection is given up.
    #[arg(long, default_value_t = 30.0)]
    timeout: f64,
    /// Prints JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Protocol {
    /// Query.
    Simple,
    /// Parse, Bind, Describe, Execute, Sync each time.
    Extended,
    /// Prepared once, then Bind, Execute, Sync.
    Prepared,
    /// COPY … FROM STDIN.
    CopyIn,
}

/// Runs the load and prints what came out.
pub fn run(args: &LoadArgs) -> anyhow::Result<ExitCode> {
    let spec = spec(args)?;
    let quiet = args.json;
    let load = load::run(&spec, &mut |moment| {
        if !quiet {
            tell(moment);
        }
    })?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&load)?);
    } else {
        print!("{}", table(&load));
    }
    Ok(ExitCode::SUCCESS)
}

fn spec(args: &LoadArgs) -> anyhow::Result<Spec> {
    let to = args
        .to
        .to_socket_addrs()
        .with_context(|| format!("{:?} is not HOST:PORT", args.to))?
        .next()
        .with_context(|| format!("{:?} has no address", args.to))?;
    let host = args
        .to
        .rsplit_once(':')
        .map_or("localhost", |(host, _)| host);
    let seconds = |s: f64| Duration::try_from_secs_f64(s).context("a time can't be negative");
    Ok(Spec {
        to,
        login: Login {
            user: args.user.clone(),
            database: args.database.clone().unwrap_or_else(|| args.user.clone()),
            password: std::env::var(&args.password_env).ok(),
        },
        tls: args.tls.then(|| Tls {
            ca: args.tls_ca.clone(),
            name: host.trim_matches(['[', ']']).to_owned(),
            resume: args.tls_resume,
        }),
        connections: args.connections,
        active: args.active.unwrap_or(args.connections),
        setup: Vec::new(),
        work: vec![Weighted {
            weight: 1,
            work: work(args)?,
        }],
        pace: match (args.storm, args.rate) {
            (Some(total), rate) => Pace::Storm {
                total,
                rate: rate.unwrap_or(0.0),
            },
            (None, Some(rate)) => Pace::Open { rate },
            (None, None) => Pace::Closed {
                think: Duration::from_millis(args.think_ms),
            },
        },
        warmup: seconds(args.warmup)?,
        duration: seconds(args.duration)?,
        cpus: args.cpus.clone(),
        connect_rate: args.connect_rate,
        read_rate: args.read_rate,
        timeout: seconds(args.timeout)?,
    })
}

fn work(args: &LoadArgs) -> anyhow::Result<Work> {
    if args.protocol == Protocol::Simple {
        return Ok(Work::Simple(args.sql.clone()));
    }
    let [sql] = args.sql.as_slice() else {
        bail!("only --protocol simple sends more than one statement");
    };
    let statement = || Statement {
        sql: sql.clone(),
        parameters: args.parameter.clone(),
    };
    Ok(match args.protocol {
        Protocol::Extended => Work::Extended(statement()),
        Protocol::Prepared => Work::Prepared(statement()),
        Protocol::Simple | Protocol::CopyIn => Work::CopyIn {
            sql: sql.clone(),
            bytes: args.copy_bytes,
        },
    })
}

fn tell(moment: Moment) {
    match moment {
        Moment::Connecting(up) => eprintln!("{up} connected"),
        Moment::Connected => eprintln!("connected"),
        Moment::Measuring => eprintln!("measuring"),
        Moment::Progress(done) => eprintln!("{done} transactions"),
        Moment::Measured => eprintln!("measured"),
    }
}

fn table(load: &Load) -> String {
    let per_second = |n: u64| n as f64 / load.seconds;
    let mut text = format!(
        "{} transactions in {:.2} s: {:.0}/s; {} queries: {:.0}/s\nreceived {:.2} MiB/s, sent {:.2} MiB/s\n",
        load.done,
        load.seconds,
        per_second(load.done),
        load.queries,
        per_second(load.queries),
        per_second(load.bytes_in) / 1_048_576.0,
        per_second(load.bytes_out) / 1_048_576.0,
    );
    text += &format!(
        "{:<8} {:>9} {:>10} {:>10} {:>10} {:>10} {:>10} {:>10}\n",
        "µs", "count", "mean", "p50", "p90", "p99", "p99.9", "max"
    );
    text += &line("latency", &load.latency);
    text += &line("connect", &load.connect);
    text += &line("lag", &load.lag);
    for (code, count) in &load.errors {
        text += &format!("errors {code}: {count}\n");
    }
    let per_query = load.generator_busy * load.seconds * 1e6 / load.queries.max(1) as f64;
    text += &format!(
        "generator: {:.0} % of a CPU in the busiest thread, {per_query:.2} µs a query\n",
        load.generator_busy * 100.0
    );
    if let Some(bottleneck) = &load.bottleneck {
        text += &format!("attention: {bottleneck}\n");
    }
    text
}

fn line(name: &str, c: &Curve) -> String {
    format!(
        "{name:<8} {:>9} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1} {:>10.1}\n",
        c.count, c.mean, c.p50, c.p90, c.p99, c.p999, c.max
    )
}
