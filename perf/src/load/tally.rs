//! What the clients of one thread saw, and how the threads' figures become one [`Load`].

use std::collections::BTreeMap;

use hdrhistogram::Histogram;

use super::{Pace, Spec};
use crate::model::{Curve, Load};

/// Ten minutes: longer waits are counted as that.
const LONGEST_NANOS: u64 = 600_000_000_000;

/// The figures of one thread. Times are nanoseconds since the run's clock started.
pub struct Tally {
    /// The start of the measured part; `u64::MAX` until it is known.
    pub from: u64,
    /// Its end.
    pub until: u64,
    /// See [`Load::done`].
    pub done: u64,
    /// See [`Load::queries`].
    pub queries: u64,
    /// See [`Load::errors`].
    pub errors: BTreeMap<String, u64>,
    /// See [`Load::cancels`].
    pub cancels: u64,
    /// See [`Load::bytes_in`].
    pub bytes_in: u64,
    /// See [`Load::bytes_out`].
    pub bytes_out: u64,
    /// See [`Load::latency`].
    pub latency: Histogram<u64>,
    /// See [`Load::connect`].
    pub connect: Histogram<u64>,
    /// See [`Load::lag`].
    pub lag: Histogram<u64>,
    /// When the last transaction ended.
    pub last: u64,
    /// The thread's CPU time over the measured part.
    pub cpu_nanos: u64,
}

impl Tally {
    /// Nothing yet.
    ///
    /// # Panics
    /// Never: three digits and ten minutes are within what a histogram can do.
    #[must_use]
    pub fn new() -> Tally {
        let empty = || Histogram::new_with_max(LONGEST_NANOS, 3).expect("three digits are allowed");
        Tally {
            from: u64::MAX,
            until: u64::MAX,
            done: 0,
            queries: 0,
            errors: BTreeMap::new(),
            cancels: 0,
            bytes_in: 0,
            bytes_out: 0,
            latency: empty(),
            connect: empty(),
            lag: empty(),
            last: 0,
            cpu_nanos: 0,
        }
    }

    /// Whether `at` lies in the measured part.
    #[must_use]
    pub fn measured(&self, at: u64) -> bool {
        at >= self.from && at < self.until
    }

    /// Counts an error.
    pub fn error(&mut self, code: &str) {
        self.errors_of(code, 1);
    }

    /// Counts `count` errors.
    pub fn errors_of(&mut self, code: &str, count: u64) {
        match self.errors.get_mut(code) {
            Some(n) => *n += count,
            None => {
                self.errors.insert(code.to_owned(), count);
            }
        }
    }

    /// A request is written that was due at `scheduled` and could be sent from `free` on, when its connection was free: what
    /// it waited for the answer before it is the server's doing, the rest is the generator's.
    pub fn sent(&mut self, scheduled: u64, free: u64, now: u64) {
        if self.measured(scheduled) {
            self.lag
                .saturating_record(now.saturating_sub(scheduled.max(free)));
        }
    }

    /// A transaction of `queries` has been answered: latency counts when it was due in the measured part, throughput when it
    /// ended there.
    pub fn finished(&mut self, scheduled: u64, now: u64, queries: u64) {
        if self.measured(scheduled) {
            self.latency
                .saturating_record(now.saturating_sub(scheduled));
        }
        if self.measured(now) {
            self.done += 1;
            self.queries += queries;
            self.last = now;
        }
    }

    /// A transaction that was due at `scheduled` had no answer when the run ended.
    pub fn unanswered(&mut self, scheduled: u64, now: u64) {
        if self.measured(scheduled) {
            self.latency
                .saturating_record(now.saturating_sub(scheduled));
            self.errors_of("unanswered", 1);
        }
    }
}

impl Default for Tally {
    fn default() -> Tally {
        Tally::new()
    }
}

/// The threads' figures as one.
#[must_use]
pub fn load(spec: &Spec, tallies: &[Tally], seconds: f64) -> Load {
    let mut sum = Tally::new();
    let mut busiest = 0;
    for tally in tallies {
        sum.done += tally.done;
        sum.queries += tally.queries;
        sum.cancels += tally.cancels;
        sum.bytes_in += tally.bytes_in;
        sum.bytes_out += tally.bytes_out;
        for (code, count) in &tally.errors {
            sum.errors_of(code, *count);
        }
        for (to, from) in [
            (&mut sum.latency, &tally.latency),
            (&mut sum.connect, &tally.connect),
            (&mut sum.lag, &tally.lag),
        ] {
            // Both have the same bounds, so there is nothing that can't be added.
            let _ = to.add(from);
        }
        busiest = busiest.max(tally.cpu_nanos);
    }
    let lag = Curve::of(&sum.lag);
    let busy = busiest as f64 / (seconds * 1e9).max(1.0);
    Load {
        connections: spec.connections as u64,
        seconds,
        done: sum.done,
        queries: sum.queries,
        errors: sum.errors,
        cancels: sum.cancels,
        bytes_in: sum.bytes_in,
        bytes_out: sum.bytes_out,
        latency: Curve::of(&sum.latency),
        connect: Curve::of(&sum.connect),
        bottleneck: bottleneck(spec.pace, busy, lag.p99),
        lag,
        generator_busy: busy,
    }
}

/// Says so when the figures are the generator's own.
fn bottleneck(pace: Pace, busy: f64, lag_p99: f64) -> Option<String> {
    let percent = busy * 100.0;
    match pace {
        Pace::Open { .. } if lag_p99 > 1000.0 && busy > 0.95 => Some(format!(
            "the generator's thread was busy {percent:.0} % and sent {lag_p99:.0} µs late at the 99th percentile: give it more CPUs or a lower rate"
        )),
        Pace::Open { .. } if lag_p99 > 1000.0 => Some(format!(
            "the generator sent {lag_p99:.0} µs late at the 99th percentile though it was busy {percent:.0} % only: something else uses its CPU"
        )),
        Pace::Closed { .. } | Pace::Storm { .. } if busy > 0.95 => Some(format!(
            "the generator's thread was busy {percent:.0} %: the throughput is the generator's, not the subject's"
        )),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_measured_part_counts() {
        let mut tally = Tally::new();
        tally.finished(5, 9, 1);
        (tally.from, tally.until) = (10, 100);
        tally.finished(9, 12, 1);
        tally.finished(20, 101, 3);
        tally.finished(100, 120, 1);
        assert_eq!((tally.done, tally.queries), (1, 1));
        assert_eq!(tally.latency.len(), 1);
        assert_eq!(tally.latency.max(), 81);
        tally.unanswered(50, 250);
        assert_eq!(tally.errors["unanswered"], 1);
        assert_eq!(tally.latency.max(), 200);
    }

    #[test]
    fn the_generator_owns_up() {
        let open = Pace::Open { rate: 1.0 };
        assert!(bottleneck(open, 0.99, 2000.0).is_some());
        assert!(bottleneck(open, 0.99, 500.0).is_none());
        assert!(bottleneck(open, 0.5, 2000.0).is_some_and(|t| t.contains("something else")));
        let closed = Pace::Closed {
            think: std::time::Duration::ZERO,
        };
        assert!(bottleneck(closed, 0.97, 0.0).is_some());
        assert!(bottleneck(closed, 0.9, 9000.0).is_none());
    }
}
