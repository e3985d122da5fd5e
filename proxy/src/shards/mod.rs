//! One shard's thread: drives the core with what the operating system reports, and does what the core says.
//!
//! The same loop runs on both I/O implementations ([`crate::io::Io`]). It decides nothing about the protocol; it owns sockets,
//! TLS, mail and the clock.

mod handshakes;
mod happenings;
pub(crate) mod hash;
pub(crate) mod machine;
pub(crate) mod mailbox;
mod newcomers;
mod ops;
mod sockets;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use weir_core::ids::{ConnId, Now};
use weir_core::limits::{ACCEPT_PAUSE, HEARTBEAT, STATS_INTERVAL};
use weir_core::seam::Event;
use weir_core::shard::Stats;

use crate::io::{Io, IoStats, Key, Lent};
use crate::report::{Level, Sink, TargetAddresses};
use crate::tls::TlsContexts;
use hash::Request;
use machine::Machine;
use mailbox::{Letter, Mailbox};
use sockets::Sockets;

/// What other threads may see of a shard.
#[derive(Default)]
pub(crate) struct Face {
    /// Grows with every loop turn.
    pub(crate) heartbeat: AtomicU64,
    /// The core has no client left after a drain.
    pub(crate) drained: AtomicBool,
    /// Published once in a while.
    pub(crate) stats: Mutex<(Stats, IoStats)>,
}

/// What a driver is made from.
pub(crate) struct Parts<M: Machine, I> {
    pub(crate) io: I,
    pub(crate) machine: M,
    pub(crate) number: u16,
    pub(crate) epoch: Instant,
    pub(crate) mailboxes: Arc<Vec<Arc<Mailbox<M::Moved>>>>,
    pub(crate) face: Arc<Face>,
    pub(crate) tls: TlsContexts,
    pub(crate) targets: TargetAddresses,
    pub(crate) sink: Arc<dyn Sink>,
    pub(crate) hasher: Sender<Request<M::Moved>>,
}

/// Where the bytes of the event at hand lie.
enum Source {
    /// There are none.
    Nowhere,
    /// In a buffer that the ring lent, as they came.
    Lent(Lent),
    /// In [`Driver::plain`], decrypted.
    Plain,
}

/// What the core is to be told once it has said all it had to say.
enum Later {
    ConnectFailed(ConnId, String),
    Lost(ConnId, weir_core::seam::Lost),
}

/// One shard's loop.
pub(crate) struct Driver<M: Machine, I> {
    io: I,
    machine: M,
    number: u16,
    epoch: Instant,
    now: Now,
    mailboxes: Arc<Vec<Arc<Mailbox<M::Moved>>>>,
    face: Arc<Face>,
    tls: TlsContexts,
    targets: TargetAddresses,
    sink: Arc<dyn Sink>,
    hasher: Sender<Request<M::Moved>>,
    sockets: Sockets<M::Moved>,
    source: Source,
    /// Decrypted bytes of the event at hand.
    plain: Vec<u8>,
    later: VecDeque<Later>,
    /// What newcomers have said and nobody has looked at yet.
    newcomers: VecDeque<(Key, Vec<u8>)>,
    /// Messages of newcomers that may still be looked at in this turn.
    login_steps: usize,
    /// Handshakes with a step to do.
    handshakes: VecDeque<Key>,
    /// Sockets on their way out and when their time is up, soonest first (each kind of wait has one length).
    flushing: VecDeque<(Now, Key)>,
    leaving: VecDeque<(Now, Key)>,
    /// Accepting stands still until then.
    accept_at: Option<Now>,
    accept_warned_at: Option<Now>,
    letters: Vec<Letter<M::Moved>>,
    published_at: Now,
    unpublished: bool,
    stopping: bool,
}

impl<M: Machine, I: Io> Driver<M, I> {
    pub(crate) fn new(parts: Parts<M, I>) -> Driver<M, I> {
        Driver {
            io: parts.io,
            machine: parts.machine,
            number: parts.number,
            epoch: parts.epoch,
            now: Now::default(),
            mailboxes: parts.mailboxes,
            face: parts.face,
            tls: parts.tls,
            targets: parts.targets,
            sink: parts.sink,
            hasher: parts.hasher,
            sockets: Sockets::default(),
            source: Source::Nowhere,
            plain: Vec::new(),
            later: VecDeque::new(),
            newcomers: VecDeque::new(),
            login_steps: 0,
            handshakes: VecDeque::new(),
            flushing: VecDeque::new(),
            leaving: VecDeque::new(),
            accept_at: None,
            accept_warned_at: None,
            letters: Vec::new(),
            published_at: Now::default(),
            unpublished: true,
            stopping: false,
        }
    }

    /// Accepts on a listener's socket.
    pub(crate) fn listen(&mut self, listener: u16, socket: std::net::TcpListener) {
        self.io.listen(listener, socket);
    }

    /// Runs until a [`Letter::Stop`].
    pub(crate) fn run(&mut self) {
        self.read_clock();
        self.do_ops();
        while !self.stopping {
            let at_most = self.longest_sleep();
            self.io.wait(at_most);
            self.read_clock();
            self.face.heartbeat.fetch_add(1, Ordering::Relaxed);
            self.unpublished = true;
            self.pace_newcomers();
            while let Some(happened) = self.io.next() {
                self.happened(happened);
            }
            self.keep_time();
            self.shake_hands();
            self.serve_newcomers();
            self.publish();
        }
    }

    fn read_clock(&mut self) {
        let since = self.epoch.elapsed().as_nanos();
        self.now = Now(u64::try_from(since).unwrap_or(u64::MAX));
    }

    fn longest_sleep(&self) -> Duration {
        if !self.handshakes.is_empty() || !self.newcomers.is_empty() {
            return Duration::ZERO;
        }
        let until = |at: Option<Now>| at.map(|at| at.since(self.now));
        let rest = if self.unpublished {
            STATS_INTERVAL
        } else {
            HEARTBEAT
        };
        [
            until(self.machine.deadline()),
            until(self.flushing.front().map(|(at, _)| *at)),
            until(self.leaving.front().map(|(at, _)| *at)),
            until(self.accept_at),
        ]
        .into_iter()
        .flatten()
        .fold(rest, Duration::min)
    }

    /// What is due by the clock.
    fn keep_time(&mut self) {
        if self.machine.deadline().is_some_and(|at| at <= self.now) {
            self.machine.tick(self.now);
            self.do_ops();
        }
        while let Some((at, key)) = self.flushing.front().copied()
            && at <= self.now
        {
            self.flushing.pop_front();
            // What has not left by now never will. One that has is waiting for its peer, or gone.
            if self.sockets.get_mut(key).is_some_and(|s| !s.finished) {
                self.release(key);
            }
        }
        while let Some((at, key)) = self.leaving.front().copied()
            && at <= self.now
        {
            self.leaving.pop_front();
            self.release(key);
        }
        if self.accept_at.is_some_and(|at| at <= self.now) {
            self.accept_at = None;
            self.io.resume_accepting();
        }
    }

    /// Descriptors have run out: accepting pauses, and says so once in a while.
    fn pause_accepting(&mut self, listener: u16, errno: i32) {
        self.accept_at = Some(self.now.after(ACCEPT_PAUSE));
        let quiet = self
            .accept_warned_at
            .is_some_and(|at| self.now.since(at) < HEARTBEAT * 10);
        if !quiet {
            self.accept_warned_at = Some(self.now);
            let error = std::io::Error::from_raw_os_error(errno);
            let text = format!(
                "can't accept clients of listener {listener}: {error}; raise LimitNOFILE or lower max_client_connections"
            );
            self.sink.note(Level::Warn, "accept_failed", text);
        }
    }

    fn publish(&mut self) {
        if self.now.since(self.published_at) < STATS_INTERVAL {
            return;
        }
        self.published_at = self.now;
        self.unpublished = false;
        let stats = (self.machine.stats(), self.io.stats());
        *self
            .face
            .stats
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = stats;
        let drained = self.machine.drained() && !self.sockets.any_leaving();
        self.face.drained.store(drained, Ordering::Release);
    }

    /// Tells the core of an event without bytes and does what it says.
    fn tell(&mut self, event: Event<'_>) {
        self.machine.handle(self.now, event);
        self.do_ops();
    }

    fn read_letters(&mut self) {
        let mut letters = std::mem::take(&mut self.letters);
        if let Some(mailbox) = self.mailboxes.get(usize::from(self.number)) {
            mailbox.take(&mut letters);
        }
        for letter in letters.drain(..) {
            self.read_letter(letter);
        }
        self.letters = letters;
    }

    fn read_letter(&mut self, letter: Letter<M::Moved>) {
        match letter {
            Letter::Mail { from, body } => self.tell(Event::Mail { from, body }),
            Letter::Moved { body, fd, tls } => {
                let conn = self.machine.adopt(self.now, body);
                let key = self.sockets.insert(conn);
                if let Some(socket) = self.sockets.get_mut(key) {
                    socket.tls = tls;
                }
                self.io.attach(key, fd);
                self.io.read(key, true);
                self.do_ops();
            }
            Letter::MoveFailed { body } => {
                self.machine.adopt_failed(self.now, body);
                self.do_ops();
            }
            Letter::Hashed {
                conn,
                salted_password,
            } => self.tell(Event::Hashed {
                conn,
                salted_password,
            }),
            Letter::Reload { settings, tls } => {
                self.tls = tls;
                self.tell(Event::Config(settings));
            }
            Letter::Drain => {
                self.io.stop_accepting();
                self.tell(Event::Drain);
            }
            Letter::Stop => self.stopping = true,
        }
    }
}
