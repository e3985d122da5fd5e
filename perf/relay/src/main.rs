//! The bare relay: what forwarding a query and its answer costs on io_uring when next to nothing is looked at.
//!
//! The floor under weir's figures, and no more: no TLS, no passwords, no state of sessions, small answers only.

mod backend;
mod frames;
mod relay;
mod ring;

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result, ensure};
use clap::Parser;

/// A bare io_uring relay for PostgreSQL's protocol; the floor that weir is measured against.
#[derive(Parser)]
#[command(version)]
struct Cli {
    /// Where clients come in.
    #[arg(long)]
    listen: SocketAddr,
    /// The server; it must let anyone in without a password.
    #[arg(long)]
    to: SocketAddr,
    /// Server connections.
    #[arg(long, default_value_t = 32)]
    backends: usize,
    /// The CPU it stays on.
    #[arg(long)]
    cpu: Option<usize>,
    /// Role and database at the server.
    #[arg(long, default_value = "app")]
    user: String,
}

fn main() -> Result<()> {
    let cli = Cli::parse();
    ensure!(cli.backends > 0, "--backends must be at least 1");
    if let Some(cpu) = cli.cpu {
        pin(cpu)?;
    }
    let backends: Result<Vec<_>> = (0..cli.backends)
        .map(|_| backend::log_in(cli.to, &cli.user))
        .collect();
    let backends = backends.with_context(|| format!("the server at {}", cli.to))?;
    let listener = TcpListener::bind(cli.listen).with_context(|| cli.listen.to_string())?;
    relay::Relay::new(listener, backends)?.run()
}

fn pin(cpu: usize) -> Result<()> {
    ensure!(
        cpu < rustix::thread::CpuSet::MAX_CPU,
        "there is no CPU {cpu}"
    );
    let mut set = rustix::thread::CpuSet::new();
    set.set(cpu);
    rustix::thread::sched_setaffinity(None, &set).with_context(|| format!("CPU {cpu}"))
}
