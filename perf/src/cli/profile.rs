//! `profile`: where a weir process spends its time.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use clap::Args;

use crate::profile::{self, Sampling};

/// Functions that the table on the terminal shows; the file has all of them.
const SHOWN: usize = 30;

/// What to profile.
#[derive(Args)]
pub struct ProfileArgs {
    /// A process that runs already, under whatever load it has.
    #[arg(long)]
    pid: u32,
    /// How long.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Where `flame.svg` and `functions.txt` go.
    #[arg(long, default_value = "target/perf/profile")]
    out: PathBuf,
}

/// Samples, writes both files and shows the head of the table.
pub fn run(args: &ProfileArgs) -> Result<ExitCode> {
    let sampling = Sampling::start(args.pid, &args.out)?;
    std::thread::sleep(Duration::from_secs_f64(args.seconds));
    let stacks = sampling.finish()?;
    let title = format!("process {}, {} s", args.pid, args.seconds);
    let (svg, text) = profile::write(&stacks, &title, &args.out)?;
    print!("{}", profile::samples(&stacks, SHOWN));
    println!("\n{}\n{}", svg.display(), text.display());
    Ok(ExitCode::SUCCESS)
}
