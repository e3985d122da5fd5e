//! What a run has measured, as plain data. The JSON file next to the HTML page is this, and `compare` reads two of them.
//!
//! Times are microseconds, memory is KiB, rates are per second, unless a name says otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The version of the JSON file; a reader refuses what it does not know.
pub const FORMAT: u32 = 1;

/// One run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// [`FORMAT`].
    pub format: u32,
    /// When the run started, UTC, RFC 3339.
    pub started: String,
    /// How long it took, seconds.
    pub seconds: f64,
    /// Where it ran.
    pub machine: Machine,
    /// The command that makes this report.
    pub command: String,
    /// weir's revision.
    pub revision: String,
    /// What was measured.
    pub subjects: Vec<Subject>,
    /// In the order in which they ran.
    pub scenarios: Vec<Scenario>,
}

/// The machine under test.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Machine {
    /// Model name of the CPU.
    pub cpu: String,
    /// CPUs that were there.
    pub cpus: usize,
    /// MiB.
    pub memory_mib: u64,
    /// `uname -r`.
    pub kernel: String,
    /// Distribution.
    pub system: String,
}

/// One thing that clients can connect to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Subject {
    /// `direct`, `weir`, `weir-epoll`, `pgbouncer`, `haproxy` …; the key in [`Cell::subject`].
    pub name: String,
    /// What it says of itself.
    pub version: String,
    /// The settings that matter, for people.
    pub settings: String,
}

/// One question, answered by cells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Scenario {
    /// As on the command line.
    pub name: String,
    /// One line for people.
    pub title: String,
    /// What is sent, to what, at what pace.
    pub says: String,
    /// What each subject did in each round.
    pub cells: Vec<Cell>,
    /// The figures to reach that this scenario answers.
    pub verdicts: Vec<Verdict>,
    /// What a reader must know: a subject that was skipped and why, a machine that was not quiet.
    pub notes: Vec<String>,
}

/// One subject in one round of one variant.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// [`Subject::name`].
    pub subject: String,
    /// `simple`, `prepared`, `simple tls` …: cells of one variant are comparable.
    pub variant: String,
    /// From 0; cells of one round ran next to each other.
    pub round: u32,
    /// What the clients saw.
    pub load: Load,
    /// What the proxy's processes used; none for `direct`.
    pub usage: Option<Usage>,
}

/// What the clients saw.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Load {
    /// The measured part, seconds.
    pub seconds: f64,
    /// Connections that were open (in a storm: alive at a time); what memory is plotted over.
    #[serde(default)]
    pub connections: u64,
    /// Transactions that were answered without an error.
    pub done: u64,
    /// Queries in them (a transaction of three statements is three).
    pub queries: u64,
    /// Errors by SQLSTATE, or `closed`, `timeout`, `refused` …
    pub errors: BTreeMap<String, u64>,
    /// Statements that clients asked to cancel.
    #[serde(default)]
    pub cancels: u64,
    /// Payload received by clients, bytes.
    pub bytes_in: u64,
    /// Payload sent by clients, bytes.
    pub bytes_out: u64,
    /// From the scheduled time to the last byte.
    pub latency: Curve,
    /// From `connect` to the first ReadyForQuery.
    pub connect: Curve,
    /// From the scheduled time to the write: how late the generator itself was.
    pub lag: Curve,
    /// The generator's CPU time, share of one CPU per thread (1.0 is a full one), the busiest thread.
    pub generator_busy: f64,
    /// Why these figures show the generator rather than the subject, if they do.
    pub bottleneck: Option<String>,
}

/// What the processes of a subject used during the measured part.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Usage {
    /// CPU time of all threads and processes, microseconds.
    pub cpu_us: f64,
    /// CPU time per query (per client in a storm).
    pub cpu_us_per_query: f64,
    /// System calls per query (per client in a storm), where they could be counted.
    pub system_calls_per_query: Option<f64>,
    /// Resident memory before clients connected, KiB.
    pub rss_before_kib: u64,
    /// Resident memory with all clients connected, at the end of the measured part, KiB.
    pub rss_kib: u64,
    /// The most resident memory that was seen, KiB.
    pub rss_peak_kib: u64,
    /// (rss - before) / clients.
    pub kib_per_client: f64,
    /// Open descriptors at the end.
    pub descriptors: u64,
    /// Resident memory over time, for `soak`: (seconds, KiB).
    pub rss_over_time: Vec<(f64, u64)>,
}

/// A distribution.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Curve {
    /// Values.
    pub count: u64,
    /// Mean.
    pub mean: f64,
    /// Median.
    pub p50: f64,
    /// 90th percentile.
    pub p90: f64,
    /// 99th percentile.
    pub p99: f64,
    /// 99.9th percentile.
    pub p999: f64,
    /// The largest.
    pub max: f64,
    /// (quantile from 0 to 1, microseconds), for the plot.
    pub points: Vec<(f64, f64)>,
}

/// A figure to reach and whether it was.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Verdict {
    /// The figure, in words.
    pub figure: String,
    /// Measured: the median over rounds of the ratio or value.
    pub value: f64,
    /// Smallest and largest over the rounds.
    pub spread: (f64, f64),
    /// To reach.
    pub bound: f64,
    /// `ratio`, `µs`, `KiB` …
    pub unit: String,
    /// True where `value` must be at least `bound` (throughput), false where at most.
    pub at_least: bool,
    /// Whether it was reached.
    pub held: bool,
}

impl Curve {
    /// The curve of a histogram of nanoseconds.
    #[must_use]
    pub fn of(nanos: &hdrhistogram::Histogram<u64>) -> Curve {
        if nanos.is_empty() {
            return Curve::default();
        }
        let us = |n: u64| n as f64 / 1000.0;
        let at = |q: f64| us(nanos.value_at_quantile(q));
        Curve {
            count: nanos.len(),
            mean: nanos.mean() / 1000.0,
            p50: at(0.5),
            p90: at(0.9),
            p99: at(0.99),
            p999: at(0.999),
            max: us(nanos.max()),
            points: nanos
                .iter_quantiles(4)
                .map(|v| (v.quantile_iterated_to(), us(v.value_iterated_to())))
                .take(200)
                .collect(),
        }
    }
}
