//! Building the ring, proving that it works here, and saying why not.

use std::collections::VecDeque;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use io_uring::IoUring;

use super::batch::Batch;
use super::buffers::Buffers;
use super::enter::Enter;
use super::socket::Sockets;
use super::{COMPLETIONS, Ring, SUBMISSIONS};
use weir_core::limits::ACCEPTS_PER_TURN;

use crate::io::{Arena, Happened, Io, IoStats, Key, Piece};
use crate::sys::EventFd;

/// Why io_uring can't be used here.
#[derive(Debug)]
pub(crate) struct Refusal {
    step: &'static str,
    error: io::Error,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "io_uring: {} failed: {}; ", self.step, self.error)?;
        f.write_str(match self.error.raw_os_error() {
            Some(libc::ENOSYS) => {
                "this kernel or sandbox has no io_uring: use a kernel of 6.1 or later, or allow io_uring_setup, io_uring_enter and io_uring_register in the sandbox"
            }
            Some(libc::EINVAL) => {
                "the kernel is too old for the features that weir uses: use a kernel of 6.1 or later"
            }
            Some(libc::EPERM | libc::EACCES) => {
                "it is denied: check that sysctl kernel.io_uring_disabled is 0, and that the container's seccomp profile allows io_uring_setup, io_uring_enter and io_uring_register"
            }
            Some(libc::ENOMEM) => {
                "locked memory is limited: set LimitMEMLOCK=64M in the systemd unit, or raise `ulimit -l`"
            }
            Some(libc::EMFILE | libc::ENFILE) => {
                "file descriptors have run out: raise LimitNOFILE in the systemd unit, or `ulimit -n`"
            }
            _ => "use a kernel of 6.1 or later",
        })
    }
}

/// A ring that has received and sent. Must be called on the thread that is to use it.
pub(crate) fn self_test() -> Result<Ring, Refusal> {
    let mut ring = build()?;
    let refuse = |error| Refusal {
        step: "the self-test",
        error,
    };
    exchange(&mut ring).map_err(refuse)?;
    ring.stats = IoStats::default();
    Ok(ring)
}

fn build() -> Result<Ring, Refusal> {
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_submit_all()
        .setup_clamp()
        .setup_cqsize(COMPLETIONS)
        .build(SUBMISSIONS)
        .map_err(|error| Refusal {
            step: "io_uring_setup",
            error,
        })?;
    let buffers = Buffers::new();
    buffers.register(&ring).map_err(|error| Refusal {
        step: "registering receive buffers",
        error,
    })?;
    let waker = EventFd::new(false).map_err(|error| Refusal {
        step: "eventfd",
        error,
    })?;
    let mut ring = Ring {
        enter: Enter::new(&ring),
        ring,
        buffers,
        arena: Arena::default(),
        batch: Batch::default(),
        prepared: Vec::new(),
        sockets: Sockets::default(),
        listeners: Vec::new(),
        accepts: ACCEPTS_PER_TURN,
        completions: VecDeque::new(),
        ready: VecDeque::new(),
        starved: Vec::new(),
        finishing: Vec::new(),
        waker: Arc::new(waker),
        wake_count: Box::new([0; 8]),
        in_flight: 0,
        stopping: false,
        stats: IoStats::default(),
    };
    ring.arm_wake();
    Ok(ring)
}

/// One multishot receive of two silent sends through a pair of sockets.
fn exchange(ring: &mut Ring) -> io::Result<()> {
    let (ours, theirs) = UnixStream::pair()?;
    let key = |index| Key {
        index,
        generation: 0,
    };
    ring.attach(key(0), OwnedFd::from(ours));
    ring.attach(key(1), OwnedFd::from(theirs));
    ring.read(key(0), true);
    ring.send(key(1), Piece::Owned(b"we".to_vec()));
    ring.flush();
    ring.send(key(1), Piece::Owned(b"ir".to_vec()));
    let mut received = Vec::new();
    let mut open = 2;
    let end = Instant::now() + Duration::from_secs(2);
    while open > 0 {
        if Instant::now() > end {
            return Err(io::ErrorKind::TimedOut.into());
        }
        ring.wait(Duration::from_millis(100));
        while let Some(happened) = ring.next() {
            match happened {
                Happened::Received { lent, .. } => {
                    received.extend_from_slice(ring.bytes(&lent));
                    ring.give_back(lent);
                    if received.len() >= 4 {
                        ring.release(key(0));
                        ring.release(key(1));
                    }
                }
                // What a kernel without the feature answers to a multishot receive.
                Happened::Ended { .. } => return Err(io::Error::from_raw_os_error(libc::EINVAL)),
                Happened::Released { .. } => open -= 1,
                _ => {}
            }
        }
    }
    if received == b"weir" {
        Ok(())
    } else {
        Err(io::ErrorKind::InvalidData.into())
    }
}
