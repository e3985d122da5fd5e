//! The load generator: many PostgreSQL connections from one or several threads, open loop or closed loop.
//!
//! Latency is counted from the time at which a transaction was scheduled, so a server that stalls can't hide what it made wait
//! (coordinated omission). The generator measures itself too: its CPU time and how late it sent are part of what it reports.

mod cancel;
mod conn;
mod login;
mod plan;
mod run;
mod socket;
mod tally;
mod tls;
mod watch;
mod worker;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

use anyhow::{anyhow, ensure};

use self::run::Run;
use self::tally::Tally;
use self::worker::Worker;
use crate::model::Load;
use crate::net::raise_descriptors;

/// Open files that are not clients: standard streams, one epoll per thread, what the caller has open.
const DESCRIPTORS_BESIDES: usize = 64;

/// What the clients are to do.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Where to connect.
    pub to: SocketAddr,
    /// Login.
    pub login: Login,
    /// TLS towards `to`; `None` is plain.
    pub tls: Option<Tls>,
    /// Connections that are open at a time. In [`Pace::Storm`] the number of clients that are alive at a time.
    pub connections: usize,
    /// How many of `connections` send; the rest sits idle.
    pub active: usize,
    /// What each active client says first, by simple queries; `{client%N}` is its number modulo N.
    pub setup: Vec<String>,
    /// What one transaction is.
    pub work: Vec<Weighted>,
    /// When transactions start.
    pub pace: Pace,
    /// Not measured.
    pub warmup: Duration,
    /// Measured.
    pub duration: Duration,
    /// CPUs for the generator's threads, one thread each; empty: one thread, not pinned.
    pub cpus: Vec<usize>,
    /// New connections a second while connecting the fleet; bounds the login storm at the start.
    pub connect_rate: f64,
    /// A client reads at most so many bytes a second; `None`: as fast as they come.
    pub read_rate: Option<u64>,
    /// A connection that gets no answer for so long is counted as `timeout` and replaced.
    pub timeout: Duration,
}

/// One of several kinds of transaction and its share.
#[derive(Clone, Debug)]
pub struct Weighted {
    /// Relative to the others.
    pub weight: u32,
    /// The transaction.
    pub work: Work,
}

/// One transaction, from its first byte to its last ReadyForQuery (or answer).
#[derive(Clone, Debug)]
pub enum Work {
    /// Simple protocol: each text is one Query, sent when the one before is answered.
    Simple(Vec<String>),
    /// Extended protocol with the unnamed statement: Parse, Bind, Describe, Execute, Sync in one write.
    Extended(Statement),
    /// A named statement, prepared once per connection; each transaction is Bind, Execute, Sync.
    Prepared(Statement),
    /// Simple protocol: one text, and so much later a request to cancel it, on a connection of its own.
    Cancelled {
        /// The statement.
        sql: String,
        /// From sending it to the request.
        after: Duration,
    },
    /// `COPY … FROM STDIN` of this many bytes.
    CopyIn {
        /// The statement.
        sql: String,
        /// Bytes of data.
        bytes: u64,
    },
}

/// A statement with text parameters.
#[derive(Clone, Debug)]
pub struct Statement {
    /// With `$1` …
    pub sql: String,
    /// One value per parameter; `{random:N}` draws 1..=N for each execution.
    pub parameters: Vec<String>,
}

/// When transactions start.
#[derive(Clone, Copy, Debug)]
pub enum Pace {
    /// The next one when the last one is answered, after a think time.
    Closed {
        /// Between an answer and the next transaction.
        think: Duration,
    },
    /// So many transactions a second over all active connections, evenly, by schedule.
    Open {
        /// Transactions a second.
        rate: f64,
    },
    /// Connect, log in, one transaction, Terminate; as many at a time as `connections`, `total` in all (0: until `duration`).
    Storm {
        /// Clients in all.
        total: u64,
        /// Connects a second by schedule; 0: the next when one has left.
        rate: f64,
    },
}

/// Who logs in, to what.
#[derive(Clone, Debug)]
pub struct Login {
    /// Role.
    pub user: String,
    /// Database.
    pub database: String,
    /// Password; `None`: trust.
    pub password: Option<String>,
}

/// How the server's certificate is treated and sessions are resumed.
#[derive(Clone, Debug)]
pub struct Tls {
    /// Roots in PEM; `None`: any certificate (the load is what is measured).
    pub ca: Option<PathBuf>,
    /// Host name to verify.
    pub name: String,
    /// Whether reconnecting clients offer session tickets.
    pub resume: bool,
}

/// Phases of a run, told to whoever watches: sampling of the proxy's CPU time and memory starts and stops on these.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {
    /// So many connections are up (said a few times a second while the fleet connects).
    Connecting(usize),
    /// All are up and logged in; nothing was sent yet.
    Connected,
    /// Warm-up has ended; what counts starts now.
    Measuring,
    /// Said once a second: transactions done so far.
    Progress(u64),
    /// The measured part has ended; all connections are still open.
    Measured,
}

/// Runs a load and says what its clients saw. `watch` is told of each phase as it begins, on the calling thread.
///
/// # Errors
/// Nobody could log in, the fleet did not come up, a file is unusable, a CPU does not exist. What goes wrong later is
/// counted in [`Load::errors`].
pub fn run(spec: &Spec, watch: &mut dyn FnMut(Moment)) -> anyhow::Result<Load> {
    ensure!(spec.connections > 0, "a load has at least one connection");
    ensure!(!spec.work.is_empty(), "a load has at least one transaction");
    let allowed = raise_descriptors().saturating_sub(DESCRIPTORS_BESIDES);
    ensure!(
        spec.connections <= allowed,
        "{} connections need more open files than this process may have, which is good for {allowed}: raise the hard limit (ulimit -Hn, LimitNOFILE=)",
        spec.connections
    );
    let run = Run::new(spec)?;
    let (watched, tallies) = thread::scope(|scope| {
        if run.plan.cancels() {
            scope.spawn(|| cancel::send_all(&run));
        }
        let threads: Vec<_> = (0..run.threads)
            .map(|index| {
                scope.spawn({
                    let run = &run;
                    move || work(run, index)
                })
            })
            .collect();
        let watched = {
            // Also when `watch` panics: the threads would be waited for without an end.
            let _stop = StopAtEnd(&run);
            watch::through(&run, watch)
        };
        let tallies: Vec<_> = threads
            .into_iter()
            .map(|t| {
                t.join()
                    .unwrap_or_else(|_| Err(anyhow!("a thread of the generator has died")))
            })
            .collect();
        (watched, tallies)
    });
    let tallies = tallies
        .into_iter()
        .collect::<anyhow::Result<Vec<Tally>>>()?;
    let measured = watched?;
    let seconds = if run.bounded_storm() {
        let last = tallies.iter().map(|t| t.last).max().unwrap_or(0);
        last.saturating_sub(measured).max(1) as f64 / 1e9
    } else {
        spec.duration.as_secs_f64()
    };
    Ok(tally::load(spec, &tallies, seconds))
}

struct StopAtEnd<'a>(&'a Run);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.stop.store(true, Ordering::Release);
    }
}

/// One thread; whatever becomes of it, the others are not left waiting.
fn work(run: &Run, index: usize) -> anyhow::Result<Tally> {
    let done = Worker::new(run, index).and_then(Worker::go);
    if let Err(e) = &done {
        run.note_failure(&e.to_string());
        run.stop.store(true, Ordering::Release);
    }
    done
}
