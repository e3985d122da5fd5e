//! One subject's costs over the phases of one load.

use std::time::Instant;

use super::proc::{self, Snapshot};
use crate::load::Moment;
use crate::model::{Load, Usage};

/// What costs are divided by.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Unit {
    /// Queries.
    Query,
    /// Clients that came and left.
    Client,
}

impl Unit {
    /// How many there were.
    #[must_use]
    pub fn count(self, load: &Load) -> u64 {
        match self {
            Unit::Query => load.queries,
            Unit::Client => load.done,
        }
    }
}

/// Samples a process tree when the load tells of its phases.
pub struct Meter {
    pid: u32,
    before: Snapshot,
    start: Option<(Instant, Snapshot)>,
    end: Option<Snapshot>,
    rss: Vec<(f64, u64)>,
    peak_kib: u64,
}

impl Meter {
    /// Starts to watch a process that has no clients yet.
    #[must_use]
    pub fn new(pid: u32) -> Meter {
        Meter {
            pid,
            before: proc::snapshot(pid),
            start: None,
            end: None,
            rss: Vec::new(),
            peak_kib: 0,
        }
    }

    /// To be called at each of the load's moments.
    pub fn at(&mut self, moment: Moment) {
        match moment {
            Moment::Measuring => self.start = Some((Instant::now(), proc::snapshot(self.pid))),
            Moment::Progress(_) => self.note_memory(),
            Moment::Measured => {
                self.note_memory();
                self.end = Some(proc::snapshot(self.pid));
            }
            Moment::Connecting(_) | Moment::Connected => {}
        }
    }

    fn note_memory(&mut self) {
        let Some((start, _)) = self.start else { return };
        let rss = proc::rss_kib(self.pid);
        self.peak_kib = self.peak_kib.max(rss);
        self.rss.push((start.elapsed().as_secs_f64(), rss));
    }

    /// What the load has cost; nothing when it never came to its end.
    #[must_use]
    pub fn usage(self, load: &Load, unit: Unit) -> Option<Usage> {
        let ((_, start), end) = (self.start?, self.end?);
        let cpu_us = end.cpu_ns.saturating_sub(start.cpu_ns) as f64 / 1000.0;
        let count = unit.count(load).max(1) as f64;
        let more = end.rss_kib.saturating_sub(self.before.rss_kib) as f64;
        Some(Usage {
            cpu_us,
            cpu_us_per_query: cpu_us / count,
            system_calls_per_query: None,
            rss_before_kib: self.before.rss_kib,
            rss_kib: end.rss_kib,
            rss_peak_kib: end.peak_kib.max(self.peak_kib),
            kib_per_client: more / load.connections.max(1) as f64,
            descriptors: end.descriptors,
            rss_over_time: self.rss,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn costs_are_of_the_measured_part() {
        let mut meter = Meter::new(std::process::id());
        meter.at(Moment::Connecting(3));
        meter.at(Moment::Measuring);
        meter.at(Moment::Progress(1));
        meter.at(Moment::Measured);
        let load = Load {
            queries: 10,
            done: 5,
            connections: 2,
            ..Load::default()
        };
        let usage = meter.usage(&load, Unit::Client).unwrap();
        assert!((usage.cpu_us_per_query * 5.0 - usage.cpu_us).abs() < 1e-6);
        assert_eq!(usage.rss_over_time.len(), 2);
        assert!(usage.descriptors > 0 && usage.rss_kib > 0);
    }

    #[test]
    fn a_load_that_never_measured_costs_nothing_known() {
        let meter = Meter::new(std::process::id());
        assert!(meter.usage(&Load::default(), Unit::Query).is_none());
    }
}
