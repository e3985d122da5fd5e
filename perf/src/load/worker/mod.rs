//! One thread of the generator: waits for sockets and for the schedule, whichever comes first.
//!
//! `dialogue` is what is said on a connection, `pace` when a transaction starts. Nothing here waits for one connection.

mod dialogue;
mod pace;

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::mem;
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;

use anyhow::Context as _;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use rustix::net::{self, RecvFlags};
use rustix::time::{ClockId, clock_gettime};

use self::pace::Pacing;
use super::conn::{Conn, State};
use super::plan::Random;
use super::run::{Run, nanos};
use super::socket;
use super::tally::Tally;
use crate::net::pin;

/// Bytes that are read at a time.
const READ: usize = 256 << 10;
/// Events that are taken at a time: few, so that the schedule is looked at often.
const EVENTS: usize = 64;
/// How often a thread looks whether another phase has begun, nanoseconds.
const LOOK: u64 = 5_000_000;
/// How often silent connections are looked for, nanoseconds.
const SWEEP: u64 = 250_000_000;
/// How long transactions that were due in the measured part may take after it, nanoseconds.
const DRAIN: u64 = 5_000_000_000;
/// Before a connection that failed is made anew, nanoseconds.
const RECONNECT: u64 = 100_000_000;
/// A slow reader takes its share so often a second.
const SIPS: u64 = 20;

/// What a timer is for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Why {
    /// A transaction after a think time.
    Start,
    /// The statement under way is to be cancelled.
    Cancel,
    /// A connection that failed.
    Reconnect,
    /// A slow reader may read again.
    Read,
}

/// One thread.
pub struct Worker<'a> {
    run: &'a Run,
    index: usize,
    epoll: OwnedFd,
    conns: Vec<Conn>,
    /// How many of `conns` send, from the first.
    active: usize,
    /// Time, connection, its life, reason.
    timers: BinaryHeap<Reverse<(u64, usize, u32, Why)>>,
    pacing: Pacing,
    random: Random,
    tally: Tally,
    /// The time, as of the last look at the clock.
    now: u64,
    begun: bool,
    finished: bool,
    swept: u64,
    /// CPU time of the thread when the measured part started.
    cpu_from: Option<u64>,
    buffer: Vec<u8>,
    plain: Vec<u8>,
    scratch: Vec<u8>,
    request: Vec<u8>,
}

impl<'a> Worker<'a> {
    /// The thread of this number; it has no connections yet.
    ///
    /// # Errors
    /// The system has no epoll left.
    pub fn new(run: &'a Run, index: usize) -> anyhow::Result<Worker<'a>> {
        let count = run.share(run.spec.connections, index);
        let active = run.share(run.spec.active.min(run.spec.connections), index);
        Ok(Worker {
            run,
            index,
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC).context("no epoll")?,
            conns: (0..count).map(|i| Conn::new(i as u64)).collect(),
            active,
            timers: BinaryHeap::with_capacity(count),
            pacing: Pacing::new(run, index),
            random: Random::new(index as u64 + 1),
            tally: Tally::new(),
            now: 0,
            begun: false,
            finished: false,
            swept: 0,
            cpu_from: None,
            buffer: vec![0; READ],
            plain: Vec::with_capacity(READ),
            scratch: Vec::with_capacity(64 << 10),
            request: Vec::with_capacity(64 << 10),
        })
    }

    /// Works until the run is stopped.
    ///
    /// # Errors
    /// The CPU does not exist, or epoll failed.
    pub fn go(mut self) -> anyhow::Result<Tally> {
        pin(self.run.spec.cpus.get(self.index).copied())?;
        let mut events = Vec::with_capacity(EVENTS);
        while !self.run.stop.load(Ordering::Acquire) {
            self.now = self.run.now();
            self.follow_phase();
            self.arrivals();
            self.fire_timers();
            self.sweep();
            self.wait(&mut events)?;
            for event in &events {
                let event: epoll::Event = *event;
                self.on_event(event.data.u64(), event.flags);
            }
            self.run.done[self.index].store(self.tally.done, Ordering::Relaxed);
        }
        Ok(self.tally)
    }

    fn follow_phase(&mut self) {
        if !self.begun {
            let start = self.run.start.load(Ordering::Acquire);
            if start == 0 {
                return;
            }
            (self.tally.from, self.tally.until) = self.run.measured(start);
            self.begun = true;
            self.begin(start);
        }
        if self.cpu_from.is_none() && self.now >= self.tally.from {
            self.cpu_from = Some(cpu_time());
        }
        let ended = self.now >= self.tally.until;
        if ended && self.tally.cpu_nanos == 0 {
            self.account_cpu();
        }
        if self.finished || !(ended || self.storm_is_over()) {
            return;
        }
        let late = self.now >= self.tally.until.saturating_add(DRAIN);
        if late || self.storm_is_over() || self.run.spec.read_rate.is_some() || self.all_answered()
        {
            self.finish_run();
        }
    }

    fn finish_run(&mut self) {
        self.account_cpu();
        self.finished = true;
        if self.run.spec.read_rate.is_none() {
            self.count_unanswered();
        }
        self.run.finished.fetch_add(1, Ordering::AcqRel);
    }

    /// The thread's CPU time over the measured part, once.
    fn account_cpu(&mut self) {
        if let (0, Some(from)) = (self.tally.cpu_nanos, self.cpu_from) {
            self.tally.cpu_nanos = (cpu_time() - from).max(1);
        }
    }

    fn fire_timers(&mut self) {
        while let Some(Reverse((due, i, life, why))) = self.timers.peek().copied() {
            if due > self.now {
                return;
            }
            self.timers.pop();
            if self.conns[i].life != life {
                continue;
            }
            match why {
                Why::Start if self.conns[i].state == State::Idle && due < self.tally.until => {
                    self.start(i, due);
                }
                Why::Reconnect if self.conns[i].state == State::Down => self.connect(i, self.now),
                Why::Read => self.read(i),
                Why::Cancel if self.conns[i].state == State::Busy => self.cancel(i),
                Why::Start | Why::Reconnect | Why::Cancel => {}
            }
        }
    }

    fn timer(&mut self, at: u64, i: usize, why: Why) {
        let life = self.conns[i].life;
        self.timers.push(Reverse((at, i, life, why)));
    }

    /// Gives up connections on which nothing has come for too long.
    fn sweep(&mut self) {
        if self.now < self.swept + SWEEP {
            return;
        }
        self.swept = self.now;
        let limit = nanos(self.run.spec.timeout);
        for i in 0..self.conns.len() {
            let conn = &self.conns[i];
            let waits = !matches!(conn.state, State::Down | State::Idle);
            if waits && self.now.saturating_sub(conn.heard) > limit {
                self.fail(i, "timeout", "no answer in time");
            }
        }
    }

    fn wait(&mut self, events: &mut Vec<epoll::Event>) -> anyhow::Result<()> {
        let timeout = self.next_due().saturating_sub(self.run.now());
        let timeout = Timespec {
            tv_sec: (timeout / 1_000_000_000) as i64,
            tv_nsec: (timeout % 1_000_000_000) as _,
        };
        events.clear();
        match epoll::wait(
            &self.epoll,
            rustix::buffer::spare_capacity(events),
            Some(&timeout),
        ) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e).context("epoll failed"),
        }
        self.now = self.run.now();
        Ok(())
    }

    /// When there is something to do even if no socket says so.
    fn next_due(&self) -> u64 {
        let mut due = self.swept + SWEEP;
        if !self.begun || self.finished || self.now >= self.tally.until || self.run.bounded_storm()
        {
            due = due.min(self.now + LOOK);
        } else {
            let edge = if self.cpu_from.is_none() {
                self.tally.from
            } else {
                self.tally.until
            };
            due = due.min(edge);
        }
        if let Some(Reverse((at, ..))) = self.timers.peek() {
            due = due.min(*at);
        }
        due.min(self.next_arrival())
    }

    fn on_event(&mut self, token: u64, flags: epoll::EventFlags) {
        let (i, life) = ((token & 0xFFFF_FFFF) as usize, (token >> 32) as u32);
        if self.conns[i].life != life {
            return;
        }
        if self.conns[i].state == State::Connecting {
            return self.on_connected(i);
        }
        if flags.contains(epoll::EventFlags::OUT) && !self.conns[i].all_written() {
            self.on_writable(i);
        }
        if flags.intersects(!epoll::EventFlags::OUT) && self.conns[i].life == life {
            self.read(i);
        }
    }

    fn read(&mut self, i: usize) {
        if self.now < self.conns[i].read_after {
            return;
        }
        let mut buffer = mem::take(&mut self.buffer);
        let limit = self.run.spec.read_rate.map_or(READ, |rate| {
            usize::try_from(rate / SIPS).unwrap_or(READ).clamp(1, READ)
        });
        let life = self.conns[i].life;
        while self.conns[i].life == life {
            let Some(socket) = &self.conns[i].socket else {
                break;
            };
            match net::recv(socket, &mut buffer[..limit], RecvFlags::empty()) {
                Ok((0, _)) => self.fail(i, "closed", "the server closed the connection"),
                Ok((n, _)) => {
                    self.now = self.run.now();
                    self.conns[i].heard = self.now;
                    self.on_bytes(i, &buffer[..n]);
                    // A short read has emptied the socket; what comes later is a new edge.
                    if self.sip(i, life, n) || n < limit {
                        break;
                    }
                }
                Err(Errno::WOULDBLOCK) => break,
                Err(Errno::INTR) => {}
                Err(e) => self.fail(i, socket::code(e), &e.to_string()),
            }
        }
        self.buffer = buffer;
    }

    /// A slow reader has read `n` bytes. True: that is enough for now.
    fn sip(&mut self, i: usize, life: u32, n: usize) -> bool {
        let Some(rate) = self.run.spec.read_rate else {
            return false;
        };
        if self.conns[i].life == life {
            let pause = (n as u64).saturating_mul(1_000_000_000) / rate.max(1);
            self.conns[i].read_after = self.now + pause;
            self.timer(self.now + pause, i, Why::Read);
        }
        true
    }
}

/// CPU time of this thread, nanoseconds.
fn cpu_time() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or(0) * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or(0)
}
