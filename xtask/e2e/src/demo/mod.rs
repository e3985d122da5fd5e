//! `cargo xtask demo`: PostgreSQL with TLS and SCRAM, weir before it with five connections, and a storm of short-lived
//! clients whose transactions check themselves; live figures, a summary, and an exit code that says whether all held.

mod display;
mod quiet;
mod storm;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::endpoint::{Endpoint, value};
use crate::pki::Pki;
use crate::server::Server;
use crate::watch::PeakWatch;
use crate::weir::{Start, Weir, quoted};
use crate::{block, install, place, process};
use storm::Figures;

/// Hundreds of short-lived clients share five connections.
#[derive(Args)]
pub struct DemoArgs {
    /// Clients at a time; each connects, runs one transaction and leaves, again and again.
    #[arg(long, default_value_t = 300, value_parser = clap::value_parser!(u32).range(1..=5000))]
    clients: u32,
    /// How long the storm lasts.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// Leave PostgreSQL and weir up until Ctrl-C and print a psql command.
    #[arg(long)]
    keep: bool,
}

/// Connections that weir may have.
const POOL: u32 = 5;
const SETUP: &str = "
CREATE TABLE account (id int PRIMARY KEY, balance int8 NOT NULL);
CREATE TABLE transfer (amount int NOT NULL, giver int NOT NULL, taker int NOT NULL);
INSERT INTO account SELECT n, 1000 FROM generate_series(1, 100) n;
";

/// Runs the demo.
pub fn run(args: &DemoArgs) -> Result<()> {
    // Every client is a file descriptor of this program.
    process::raise_descriptor_limit()?;
    let dir = place::run_dir()?.to_owned();
    let pki = Pki::make(&dir.join("pki"))?;
    let programs = install::servers::find_any().context("no PostgreSQL for the demo")?;
    println!(
        "PostgreSQL {} from {}, TLS and SCRAM",
        programs.major,
        programs.place()
    );
    let server = Server::start(&programs, &pki, 100)?;
    let direct = prepare(&server)?;
    let mut weir = start_weir(&pki, &direct, &dir)?;
    println!(
        "weir on 127.0.0.1:{}, at most {POOL} connections to PostgreSQL on 127.0.0.1:{}",
        weir.port, server.port
    );
    let through = Endpoint::new(
        weir.port,
        pki.ca.clone(),
        &direct.user,
        &direct.password,
        &direct.database,
    )?;
    let quiet = quiet::measure(&direct, &through)?;
    println!(
        "storm: {} clients at a time for {} s, each connects, transfers, checks, leaves\n",
        args.clients, args.seconds
    );
    let figures = Arc::new(Figures::default());
    let (peak, took) = storm_and_watch(args, &server, &weir, &direct, &through, &figures)?;
    let verdict = summary(&direct, &figures, &quiet, peak, took);
    if weir.has_ended()? || verdict.is_err() {
        println!("\nweir said last:\n{}", last_lines(&weir.log()));
    }
    if args.keep {
        keep(&through, &weir);
    }
    stop(weir, server)?;
    verdict
}

fn stop(mut weir: Weir, server: Server) -> Result<()> {
    if !weir.has_ended()? {
        weir.signal(libc::SIGTERM);
        weir.wait(Duration::from_secs(10))
            .context("weir does not stop")?;
    }
    drop(weir);
    drop(server);
    let problems = crate::weir::take_problems();
    if !problems.is_empty() {
        bail!("{}", problems.join("; "));
    }
    Ok(())
}

/// The demo's own user and database, at the server.
fn prepare(server: &Server) -> Result<Endpoint> {
    let superuser = server.superuser()?;
    let direct = superuser.with_login("demo", "demo", "demo");
    let ready = direct.clone();
    block(async move {
        let client = superuser.connect().await?;
        client
            .batch_execute("CREATE ROLE demo LOGIN PASSWORD 'demo'")
            .await?;
        client
            .batch_execute("CREATE DATABASE demo OWNER demo")
            .await?;
        ready.connect().await?.batch_execute(SETUP).await?;
        anyhow::Ok(())
    })?;
    Ok(direct)
}

fn start_weir(pki: &Pki, target: &Endpoint, dir: &Path) -> Result<Weir> {
    let pair = pki.pair("weir");
    let options = [
        ("tls_certificate", quoted(&pair.cert)),
        ("tls_key", quoted(&pair.key)),
        ("host", "\"127.0.0.1\"".to_owned()),
        ("port", target.port.to_string()),
        ("database", "\"demo\"".to_owned()),
        ("target_ca", quoted(&target.ca)),
        ("max_connection_pool_size", POOL.to_string()),
        ("max_client_connections", "10000".to_owned()),
    ];
    Weir::start(&Start {
        program: place::weir_binary(),
        dir: dir.to_owned(),
        options: options
            .into_iter()
            .map(|(key, value)| (key.to_owned(), value))
            .collect(),
        users: vec![("demo".to_owned(), "demo".to_owned())],
        deny_io_uring: false,
        extra: String::new(),
    })
}

/// The storm, with a display every second; gives the most connections that the server saw, and how long it took.
fn storm_and_watch(
    args: &DemoArgs,
    server: &Server,
    weir: &Weir,
    direct: &Endpoint,
    through: &Endpoint,
    figures: &Arc<Figures>,
) -> Result<(u64, Duration)> {
    // The direct probe has a name of its own, so that the server can tell its connection from weir's.
    let watch = PeakWatch::start_where(
        server,
        "usename = 'demo' AND application_name <> 'direct probe'",
    )?;
    let stop = Arc::new(AtomicBool::new(false));
    let begin = Instant::now();
    let storm = storm::start(args.clients, through, figures, &stop);
    let probe = storm::start_probe(direct, figures, &stop);
    let mut display = display::Display::new();
    while begin.elapsed() < Duration::from_secs(args.seconds) && figures.failures() < 20 {
        std::thread::sleep(Duration::from_secs(1));
        display.show(begin.elapsed(), weir, watch.now(), figures);
    }
    stop.store(true, Ordering::Relaxed);
    block(async {
        for client in storm {
            // A client that does not come to its end within this time hangs: that is a failure of the demo.
            if tokio::time::timeout(Duration::from_secs(30), client)
                .await
                .is_err()
            {
                figures.fail("a client hangs".to_owned());
            }
        }
        let _ = tokio::time::timeout(Duration::from_secs(30), probe).await;
    });
    let took = begin.elapsed();
    Ok((watch.stop()?, took))
}

/// Prints what was measured; an error when something did not hold.
fn summary(
    direct: &Endpoint,
    figures: &Figures,
    quiet: &quiet::Quiet,
    peak: u64,
    took: Duration,
) -> Result<()> {
    let direct = direct.clone();
    let (sum, rows) = block(async move {
        let client = direct.connect().await?;
        let sum = value(&client, "SELECT sum(balance) FROM account").await?;
        anyhow::Ok((sum, value(&client, "SELECT count(*) FROM transfer").await?))
    })?;
    let committed = figures.committed();
    print_figures(figures, quiet, peak, took.as_secs_f64());
    let mut broken = Vec::new();
    let mut check = |holds: bool, what: String| {
        println!("  {} {what}", if holds { "holds " } else { "BROKEN" });
        if !holds {
            broken.push(what);
        }
    };
    check(
        sum == "100000",
        format!("the sum of all accounts is {sum}, must be 100000"),
    );
    check(
        rows == (committed + figures.probed()).to_string(),
        format!("{rows} transfers are in the table, as many as were committed"),
    );
    check(
        peak >= 1 && peak <= u64::from(POOL),
        format!("the server saw at most {peak} connections of weir"),
    );
    check(
        committed > 0 && figures.failures() == 0,
        format!("{} clients failed", figures.failures()),
    );
    figures
        .first_failures()
        .iter()
        .for_each(|failure| println!("         {failure}"));
    if !broken.is_empty() {
        bail!("not everything held: {}", broken.join("; "));
    }
    Ok(())
}

/// Prints what was measured.
fn print_figures(figures: &Figures, quiet: &quiet::Quiet, peak: u64, seconds: f64) {
    let committed = figures.committed();
    let (connect, transaction, probe) = (figures.connect(), figures.transaction(), figures.probe());
    println!("\nsummary, {seconds:.1} s");
    println!(
        "  connects                {committed:>8}   {:>7.0} a second, each with TLS and SCRAM",
        committed as f64 / seconds
    );
    println!(
        "  transactions            {committed:>8}   {:>7.0} a second",
        committed as f64 / seconds
    );
    println!(
        "  server connections      {peak:>8}   at most, counted by PostgreSQL; allowed {POOL}"
    );
    println!(
        "  connect and log in      p50 {:>9}   p99 {:>9}   in the storm",
        connect.0, connect.1
    );
    println!(
        "  transaction             p50 {:>9}   p99 {:>9}   in the storm, waiting for a connection included",
        transaction.0, transaction.1
    );
    println!(
        "  same, direct probe      p50 {:>9}   p99 {:>9}   in the storm, one client on its own connection",
        probe.0, probe.1
    );
    println!(
        "  one query, direct       p50 {:>9}   p99 {:>9}   before the storm",
        quiet.direct.0, quiet.direct.1
    );
    println!(
        "  one query, through weir p50 {:>9}   p99 {:>9}   before the storm",
        quiet.through.0, quiet.through.1
    );
}

fn keep(through: &Endpoint, weir: &Weir) {
    println!("\nPostgreSQL and weir stay up until Ctrl-C. Try:\n");
    println!(
        "  PGPASSWORD=demo psql 'host=127.0.0.1 port={} user=demo dbname=demo sslmode=verify-full sslrootcert={}'",
        through.port,
        through.ca.display()
    );
    println!("  curl -s http://127.0.0.1:{}/metrics\n", weir.metrics_port);
    let mut weir_alive = Path::new("/proc").join(weir.pid().to_string()).exists();
    while weir_alive {
        std::thread::sleep(Duration::from_millis(500));
        weir_alive =
            process::mark() > 0 && Path::new("/proc").join(weir.pid().to_string()).exists();
    }
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines
        .get(lines.len().saturating_sub(20)..)
        .unwrap_or_default()
        .join("\n")
}
