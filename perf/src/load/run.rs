//! What the threads of one run share, and the clock they go by.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::{Duration, Instant};

use super::Spec;
use super::login::Logins;
use super::plan::Plan;
use super::tls::Clients;

/// One run.
pub struct Run {
    /// What to do.
    pub spec: Spec,
    /// Its bytes.
    pub plan: Plan,
    /// Its logins.
    pub logins: Logins,
    /// Its TLS.
    pub tls: Option<Clients>,
    /// Threads.
    pub threads: usize,
    clock: Instant,
    /// Connections that are logged in.
    pub up: AtomicUsize,
    /// Connects and logins that failed.
    pub failed: AtomicUsize,
    /// Threads that have nothing left to do.
    pub finished: AtomicUsize,
    /// Transactions done, by thread.
    pub done: Vec<AtomicU64>,
    /// When the schedule starts; 0: not yet.
    pub start: AtomicU64,
    /// The threads are to close their connections and return.
    pub stop: AtomicBool,
    /// Why the last connect or login failed.
    pub last_error: Mutex<String>,
    /// Keys of statements that are to be cancelled.
    pub cancel: mpsc::Sender<Box<[u8]>>,
    /// They come out here.
    pub cancels: Mutex<mpsc::Receiver<Box<[u8]>>>,
}

impl Run {
    /// A run of `spec` that has not started.
    ///
    /// # Errors
    /// Unusable TLS settings.
    pub fn new(spec: &Spec) -> anyhow::Result<Run> {
        let threads = spec.cpus.len().max(1);
        let (cancel, cancels) = mpsc::channel();
        Ok(Run {
            plan: Plan::new(spec),
            logins: Logins::new(&spec.login),
            tls: spec.tls.as_ref().map(Clients::new).transpose()?,
            threads,
            clock: Instant::now(),
            up: AtomicUsize::new(0),
            failed: AtomicUsize::new(0),
            finished: AtomicUsize::new(0),
            done: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            start: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            last_error: Mutex::default(),
            cancel,
            cancels: Mutex::new(cancels),
            spec: spec.clone(),
        })
    }

    /// Nanoseconds since the run's clock started.
    #[must_use]
    pub fn now(&self) -> u64 {
        nanos(self.clock.elapsed())
    }

    /// The same as an instant.
    #[must_use]
    pub fn instant(&self, at: u64) -> Instant {
        self.clock + Duration::from_nanos(at)
    }

    /// Start and end of the measured part, for a schedule that starts at `start`.
    #[must_use]
    pub fn measured(&self, start: u64) -> (u64, u64) {
        let warmup = if self.bounded_storm() {
            0
        } else {
            nanos(self.spec.warmup)
        };
        let from = start + warmup;
        (from, from.saturating_add(nanos(self.spec.duration)))
    }

    /// A storm of so many clients: it is measured whole.
    #[must_use]
    pub fn bounded_storm(&self) -> bool {
        matches!(self.spec.pace, super::Pace::Storm { total, .. } if total > 0)
    }

    /// The share of thread `index` in `whole`.
    #[must_use]
    pub fn share(&self, whole: usize, index: usize) -> usize {
        whole / self.threads + usize::from(index < whole % self.threads)
    }

    /// All transactions done.
    #[must_use]
    pub fn all_done(&self) -> u64 {
        self.done.iter().map(|d| d.load(Ordering::Relaxed)).sum()
    }

    /// A connect or login has failed.
    pub fn note_failure(&self, why: &str) {
        self.failed.fetch_add(1, Ordering::Relaxed);
        let mut last = self
            .last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        last.clear();
        last.push_str(why);
    }

    /// Why the last connect or login failed.
    #[must_use]
    pub fn last_failure(&self) -> String {
        self.last_error
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// Nanoseconds, as many as fit.
#[must_use]
pub fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX / 4)
}
