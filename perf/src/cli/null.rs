//! `weir-perf null-server`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::null::{Config, serve};

/// How the null server listens and answers.
#[derive(Args)]
pub struct NullArgs {
    /// Address and port; port 0 takes any, and the one it took is printed.
    #[arg(long, value_name = "ADDRESS")]
    listen: SocketAddr,
    /// The CPU it stays on.
    #[arg(long, value_name = "N")]
    cpu: Option<usize>,
    /// Certificate chain in PEM: offers TLS.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Its key in PEM.
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Microseconds that a query takes.
    #[arg(long, value_name = "N", default_value_t = 0)]
    delay_us: u64,
}

/// Serves until the process is ended.
pub fn run(args: &NullArgs) -> anyhow::Result<ExitCode> {
    let config = Config {
        listen: args.listen,
        cpu: args.cpu,
        tls: args.tls_cert.clone().zip(args.tls_key.clone()),
        delay: Duration::from_micros(args.delay_us),
    };
    serve(&config, |address| println!("listening on {address}"))?;
    Ok(ExitCode::SUCCESS)
}
