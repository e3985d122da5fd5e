//! What both ends of a load need of the system: writing without waiting, TLS, CPUs and descriptors.

mod session;

use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{self, SendFlags};

pub use session::Session;

/// Open files that are asked for.
const DESCRIPTORS: u64 = 1 << 16;

/// Bytes that a socket has not taken yet.
#[derive(Default)]
pub struct Outbox {
    unwritten: Vec<u8>,
    /// How much of `unwritten` is written.
    written: usize,
}

impl Outbox {
    /// Whether the socket has taken all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.unwritten.is_empty()
    }

    /// Writes, and keeps what the socket does not take.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn write(&mut self, socket: &OwnedFd, bytes: &[u8]) -> Result<(), Errno> {
        if !self.unwritten.is_empty() {
            self.unwritten.extend_from_slice(bytes);
            return Ok(());
        }
        let taken = write_once(socket, bytes)?.unwrap_or(0);
        if taken < bytes.len() {
            self.unwritten.extend_from_slice(&bytes[taken..]);
            // Only a refused write makes the socket announce its next room.
            return self.flush(socket);
        }
        Ok(())
    }

    /// Goes on writing, until all is written or the socket is full.
    ///
    /// # Errors
    /// The connection is broken.
    pub fn flush(&mut self, socket: &OwnedFd) -> Result<(), Errno> {
        while self.written < self.unwritten.len() {
            let Some(n) = write_once(socket, &self.unwritten[self.written..])? else {
                return Ok(());
            };
            self.written += n;
        }
        self.unwritten.clear();
        self.written = 0;
        Ok(())
    }
}

/// How many bytes the socket took; `None`: it is full.
fn write_once(socket: &OwnedFd, bytes: &[u8]) -> Result<Option<usize>, Errno> {
    loop {
        match net::send(socket, bytes, SendFlags::NOSIGNAL) {
            Ok(n) => return Ok(Some(n)),
            Err(Errno::WOULDBLOCK) => return Ok(None),
            Err(Errno::INTR) => {}
            Err(e) => return Err(e),
        }
    }
}

/// Raises the limit of open files as far as is allowed, and says how many that is.
pub fn raise_descriptors() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let all = |n: u64| Rlimit {
        current: Some(n),
        maximum: Some(n),
    };
    let wanted = DESCRIPTORS.max(limit.maximum.unwrap_or(DESCRIPTORS));
    if setrlimit(Resource::Nofile, all(wanted)).is_err() {
        // Only a privileged process may raise its hard limit.
        let allowed = limit.maximum.unwrap_or(DESCRIPTORS);
        let _ = setrlimit(Resource::Nofile, all(allowed));
    }
    let current = getrlimit(Resource::Nofile).current;
    current.map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX))
}

/// Keeps the calling thread on one CPU and lets it sleep to the microsecond.
///
/// # Errors
/// There is no such CPU.
pub fn pin(cpu: Option<usize>) -> anyhow::Result<()> {
    use anyhow::Context as _;
    if let Some(cpu) = cpu {
        anyhow::ensure!(
            cpu < rustix::thread::CpuSet::MAX_CPU,
            "there is no CPU {cpu}"
        );
        let mut set = rustix::thread::CpuSet::new();
        set.set(cpu);
        rustix::thread::sched_setaffinity(None, &set)
            .with_context(|| format!("can't run on CPU {cpu}"))?;
    }
    // The default lets the kernel add 50 µs to each sleep. Failing costs precision only, and the lag shows it.
    let _ = rustix::thread::set_current_timer_slack(std::num::NonZeroU64::new(1));
    Ok(())
}
