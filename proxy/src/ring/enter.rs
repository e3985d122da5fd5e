//! The one system call of the hot path, with the ring's descriptor registered where the kernel can.

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::IoUring;

const IORING_REGISTER_RING_FDS: libc::c_long = 20;
const IORING_ENTER_GETEVENTS: u32 = 1;
const IORING_ENTER_EXT_ARG: u32 = 1 << 3;
const IORING_ENTER_REGISTERED_RING: u32 = 1 << 4;

/// Enters a ring.
pub(super) struct Enter {
    /// The ring's descriptor, or its index among this thread's registered rings.
    fd: RawFd,
    flags: u32,
}

#[repr(C)]
struct RingUpdate {
    offset: u32,
    reserved: u32,
    data: u64,
}

#[repr(C)]
struct GetEventsArgument {
    signal_mask: u64,
    signal_mask_size: u32,
    min_wait_usec: u32,
    timespec: u64,
}

#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

impl Enter {
    /// Registers the ring for the calling thread; without that (before 5.18) its descriptor is used.
    pub(super) fn new(ring: &IoUring) -> Enter {
        let fd = ring.as_raw_fd();
        let mut update = RingUpdate {
            offset: u32::MAX,
            reserved: 0,
            data: u64::try_from(fd).unwrap_or(u64::MAX),
        };
        // SAFETY: the kernel reads and writes one update structure, which lives through the call.
        let done = unsafe {
            libc::syscall(
                libc::SYS_io_uring_register,
                fd,
                IORING_REGISTER_RING_FDS,
                &raw mut update,
                1u32,
            )
        };
        match RawFd::try_from(update.offset) {
            Ok(index) if done == 1 => Enter {
                fd: index,
                flags: IORING_ENTER_REGISTERED_RING,
            },
            _ => Enter { fd, flags: 0 },
        }
    }

    /// Submits; answers how many entries the kernel took.
    pub(super) fn submit(&self, entries: u32, get_events: bool) -> io::Result<usize> {
        let flags = self.flags
            | if get_events {
                IORING_ENTER_GETEVENTS
            } else {
                0
            };
        // SAFETY: no pointers are passed; what submitted entries point to is the business of who pushed them.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.fd,
                entries,
                0u32,
                flags,
                std::ptr::null::<u8>(),
                0usize,
            )
        };
        answer(taken)
    }

    /// Submits and waits for one completion; `ETIME` when none came in time.
    pub(super) fn submit_and_wait(&self, entries: u32, at_most: Duration) -> io::Result<usize> {
        let timespec = KernelTimespec {
            seconds: i64::try_from(at_most.as_secs()).unwrap_or(i64::MAX),
            nanoseconds: i64::from(at_most.subsec_nanos()),
        };
        let argument = GetEventsArgument {
            signal_mask: 0,
            signal_mask_size: 8,
            min_wait_usec: 0,
            timespec: (&raw const timespec).addr() as u64,
        };
        // SAFETY: the kernel reads `argument` and the `timespec` that it names; both live through the call.
        let taken = unsafe {
            libc::syscall(
                libc::SYS_io_uring_enter,
                self.fd,
                entries,
                1u32,
                self.flags | IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG,
                &raw const argument,
                size_of::<GetEventsArgument>(),
            )
        };
        answer(taken)
    }
}

fn answer(taken: libc::c_long) -> io::Result<usize> {
    usize::try_from(taken).map_err(|_| io::Error::last_os_error())
}
