//! When connections are made and transactions start: closed loop, open loop by schedule, storm.
//!
//! Arrival number k of a thread is due at start + (offset + k × interval). In the open loop it belongs to active connection
//! k mod n; while that one is busy its arrivals wait, and their latency counts from when they were due.

use std::sync::atomic::Ordering;

use super::{Why, Worker};
use crate::load::Pace;
use crate::load::conn::State;
use crate::load::run::{Run, nanos};

/// Logins of the fleet that are under way at a time, over all threads.
const FLEET_AT_A_TIME: usize = 128;

/// Where the schedule of one thread stands.
pub struct Pacing {
    /// Connections of the fleet that were started.
    fleet: usize,
    /// Of these, how many have come up or failed.
    settled: usize,
    /// Nanoseconds between connects of the fleet.
    connect_interval: f64,
    /// When the schedule starts.
    start: u64,
    /// Of arrival 0, from the start.
    offset: f64,
    /// Nanoseconds between arrivals; infinite: there are none.
    interval: f64,
    /// Arrivals so far.
    arrived: u64,
    /// Clients of a storm that are to come.
    quota: u64,
    /// Clients of a storm that have started.
    started: u64,
    /// Clients of a storm that have left.
    left: u64,
    /// Slots of a storm without a client.
    slots: Vec<usize>,
}

impl Pacing {
    /// Before the start.
    #[must_use]
    pub fn new(run: &Run, index: usize) -> Pacing {
        let threads = run.threads as f64;
        let (rate, quota) = match run.spec.pace {
            Pace::Closed { .. } => (0.0, 0),
            Pace::Open { rate } => (rate, 0),
            Pace::Storm { total: 0, rate } => (rate, u64::MAX),
            Pace::Storm { total, rate } => {
                let total = usize::try_from(total).unwrap_or(usize::MAX);
                (rate, run.share(total, index) as u64)
            }
        };
        let interval = if rate > 0.0 {
            1e9 * threads / rate
        } else {
            f64::INFINITY
        };
        let offset = if rate > 0.0 {
            1e9 * index as f64 / rate
        } else {
            0.0
        };
        Pacing {
            fleet: 0,
            settled: 0,
            connect_interval: 1e9 * threads / run.spec.connect_rate.max(0.001),
            start: 0,
            offset,
            interval,
            arrived: 0,
            quota,
            started: 0,
            left: 0,
            slots: Vec::new(),
        }
    }

    /// When arrival `k` is due.
    fn due(&self, k: u64) -> u64 {
        if self.interval.is_finite() {
            self.start + (self.offset + k as f64 * self.interval) as u64
        } else {
            u64::MAX
        }
    }
}

impl Worker<'_> {
    fn storm(&self) -> bool {
        matches!(self.run.spec.pace, Pace::Storm { .. })
    }

    /// Whether this connection runs transactions.
    pub(super) fn sends(&self, i: usize) -> bool {
        self.storm() || i < self.active
    }

    /// The schedule starts.
    pub(super) fn begin(&mut self, start: u64) {
        self.pacing.start = start;
        match self.run.spec.pace {
            Pace::Closed { think } => {
                for i in 0..self.active {
                    if self.conns[i].state != State::Idle {
                        continue;
                    }
                    // Clients that think do so from different moments on.
                    let first = start + self.random.below(nanos(think).max(1));
                    self.timer(first, i, Why::Start);
                }
            }
            Pace::Open { .. } => {}
            Pace::Storm { .. } => self.pacing.slots = (0..self.conns.len()).rev().collect(),
        }
    }

    /// Does what is due by schedule.
    pub(super) fn arrivals(&mut self) {
        if !self.begun {
            return self.connect_fleet();
        }
        if self.finished || self.now < self.pacing.start {
            return;
        }
        match self.run.spec.pace {
            Pace::Closed { .. } => {}
            Pace::Open { .. } => self.open_arrivals(),
            Pace::Storm { .. } => self.storm_arrivals(),
        }
    }

    /// When the schedule wants something next.
    pub(super) fn next_arrival(&self) -> u64 {
        if self.finished {
            return u64::MAX;
        }
        if !self.begun {
            return if self.fleet_may_grow() {
                self.fleet_due()
            } else {
                u64::MAX
            };
        }
        if self.now < self.pacing.start {
            return self.pacing.start;
        }
        let due = self.pacing.due(self.pacing.arrived);
        match self.run.spec.pace {
            // Clients of a storm that came too early for a slot wait for one.
            Pace::Storm { .. } if self.pacing.arrived >= self.pacing.quota => u64::MAX,
            _ if due >= self.tally.until => u64::MAX,
            _ => due,
        }
    }

    fn fleet_may_grow(&self) -> bool {
        let at_a_time = (FLEET_AT_A_TIME / self.run.threads).max(1);
        !self.storm()
            && self.pacing.fleet < self.conns.len()
            && self.pacing.fleet - self.pacing.settled < at_a_time
    }

    fn fleet_due(&self) -> u64 {
        (self.pacing.fleet as f64 * self.pacing.connect_interval) as u64
    }

    fn connect_fleet(&mut self) {
        while self.fleet_may_grow() && self.fleet_due() <= self.now {
            let i = self.pacing.fleet;
            self.pacing.fleet += 1;
            self.connect(i, self.now);
        }
    }

    fn open_arrivals(&mut self) {
        let active = self.active as u64;
        if active == 0 {
            return;
        }
        loop {
            let k = self.pacing.arrived;
            let due = self.pacing.due(k);
            if due > self.now || due >= self.tally.until {
                return;
            }
            self.pacing.arrived += 1;
            let i = (k % active) as usize;
            if self.conns[i].state == State::Idle && self.conns[i].next == k {
                self.conns[i].next += active;
                self.start(i, due);
            }
        }
    }

    fn storm_arrivals(&mut self) {
        let paced = self.pacing.interval.is_finite();
        while paced
            && self.pacing.arrived < self.pacing.quota
            && self.pacing.due(self.pacing.arrived) <= self.now
        {
            self.pacing.arrived += 1;
        }
        let may_start = if paced {
            self.pacing.arrived
        } else {
            self.pacing.quota
        };
        // A slot whose connect fails at once is free again at once: each gets one turn.
        for _ in 0..self.pacing.slots.len() {
            if self.pacing.started >= may_start || self.now >= self.tally.until {
                return;
            }
            let Some(i) = self.pacing.slots.pop() else {
                return;
            };
            let due = if paced {
                self.pacing.due(self.pacing.started)
            } else {
                self.now
            };
            self.pacing.started += 1;
            self.tally.sent(due, self.conns[i].free, self.now);
            self.connect(i, due);
        }
    }

    /// A connection is logged in.
    pub(super) fn came_up(&mut self, i: usize) {
        self.conns[i].up = true;
        self.pacing.settled += 1;
        self.run.up.fetch_add(1, Ordering::AcqRel);
    }

    /// A transaction's first request is about to be written; a storm's client was late or not when it connected.
    pub(super) fn sent_late(&mut self, scheduled: u64, free: u64) {
        if !self.storm() {
            self.tally.sent(scheduled, free, self.now);
        }
    }

    /// A connection has nothing to do: gives it what is due.
    pub(super) fn became_idle(&mut self, i: usize) {
        self.conns[i].state = State::Idle;
        self.conns[i].free = self.now;
        if !self.begun || !self.sends(i) || self.finished {
            return;
        }
        match self.run.spec.pace {
            Pace::Storm { .. } => self.start(i, self.conns[i].connect_due),
            Pace::Open { .. } => {
                let next = self.conns[i].next;
                if next < self.pacing.arrived {
                    self.conns[i].next += self.active as u64;
                    self.start(i, self.pacing.due(next));
                }
            }
            Pace::Closed { think } => {
                if self.now >= self.tally.until {
                    return;
                }
                let think = nanos(think);
                if think == 0 {
                    return self.start(i, self.now);
                }
                let pause = think / 2 + self.random.below(think);
                self.timer(self.now + pause, i, Why::Start);
            }
        }
    }

    /// A transaction has ended, well or not.
    pub(super) fn ended(&mut self, i: usize) {
        if self.storm() {
            self.leave(i);
            self.storm_slot_is_free(i);
        } else {
            self.became_idle(i);
        }
    }

    /// A storm's client has left: its slot is for the next. False: this is no storm.
    pub(super) fn storm_slot_is_free(&mut self, i: usize) -> bool {
        if self.storm() {
            self.pacing.left += 1;
            self.conns[i].free = self.now;
            self.pacing.slots.push(i);
        }
        self.storm()
    }

    /// Whether the last client of a bounded storm has left.
    pub(super) fn storm_is_over(&self) -> bool {
        self.storm() && self.pacing.left >= self.pacing.quota
    }

    /// Closes a connection, for whatever reason.
    pub(super) fn close(&mut self, i: usize) {
        if self.conns[i].up {
            self.run.up.fetch_sub(1, Ordering::AcqRel);
            self.pacing.settled -= 1;
        }
        self.conns[i].reset();
    }

    /// Whether all that was due in the measured part has its answer.
    pub(super) fn all_answered(&self) -> bool {
        let busy = self
            .conns
            .iter()
            .any(|c| c.state == State::Busy || (self.storm() && c.state != State::Down));
        !busy && !(0..self.active).any(|i| self.backlog(i) > 0)
    }

    /// Arrivals that wait for connection `i`.
    fn backlog(&self, i: usize) -> u64 {
        let active = self.active as u64;
        match self.run.spec.pace {
            Pace::Open { .. } => self
                .pacing
                .arrived
                .saturating_sub(self.conns[i].next)
                .div_ceil(active),
            _ => 0,
        }
    }

    /// Counts what has no answer, with the time it has waited so far.
    pub(super) fn count_unanswered(&mut self) {
        for i in 0..self.conns.len() {
            let conn = &self.conns[i];
            let waiting = conn.state == State::Busy || (self.storm() && conn.state != State::Down);
            if waiting {
                let since = if self.storm() {
                    conn.connect_due
                } else {
                    conn.scheduled
                };
                self.tally.unanswered(since, self.now);
            }
        }
        for i in 0..self.active {
            for n in 0..self.backlog(i) {
                let k = self.conns[i].next + n * self.active as u64;
                let due = self.pacing.due(k);
                self.tally.unanswered(due, self.now);
            }
        }
    }
}
