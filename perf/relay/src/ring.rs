//! The ring: multishot accepts and receives into provided buffers, silent sends from them. All of this program's unsafe code.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};

const COUNT: u16 = 1024;
const SIZE: usize = 4096;
const GROUP: u16 = 0;
const SUBMISSIONS: u32 = 1024;
const COMPLETIONS: u32 = 16_384;

/// Submissions that wait at most, so that servers are not starved while a batch is worked through.
const BATCH: usize = 16;

/// What an operation was, in the top byte of its user data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// A connection was accepted.
    Accept = 1,
    /// Bytes from a client.
    Client,
    /// Bytes from a server connection.
    Backend,
    /// A send that did not go through at once.
    Send,
}

/// A completion.
#[derive(Clone, Copy, Debug)]
pub struct Done {
    /// Of what.
    pub kind: Kind,
    /// The number that the operation was given.
    pub tag: u32,
    /// Bytes, descriptor, or negative error number.
    pub result: i32,
    /// Where received bytes are.
    pub buffer: Option<u16>,
    /// The operation goes on.
    pub more: bool,
}

/// The ring and its buffers. The buffers live for ever, so the kernel may use them whenever it wants.
pub struct Ring {
    ring: IoUring,
    entries: NonNull<u8>,
    data: NonNull<u8>,
    tail: u16,
    /// Buffers that are being sent from: free after the next entry into the kernel.
    parked: Vec<u16>,
}

impl Ring {
    /// A ring for the calling thread.
    pub fn new() -> io::Result<Ring> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(COMPLETIONS)
            .build(SUBMISSIONS)?;
        let entries = pages(usize::from(COUNT) * size_of::<BufRingEntry>());
        let data = pages(usize::from(COUNT) * SIZE);
        let address = entries.as_ptr().expose_provenance() as u64;
        // SAFETY: page-aligned memory of COUNT entries that is never freed.
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(address, COUNT, GROUP, 0)?;
        }
        let mut ring = Ring {
            ring,
            entries,
            data,
            tail: 0,
            parked: Vec::with_capacity(usize::from(COUNT)),
        };
        (0..COUNT).for_each(|buffer| ring.give_back(buffer));
        Ok(ring)
    }

    fn at(&self, buffer: u16) -> *mut u8 {
        let place = usize::from(buffer % COUNT) * SIZE;
        // SAFETY: `place` is at most (COUNT - 1) × SIZE, inside the allocation.
        unsafe { self.data.as_ptr().add(place) }
    }

    /// Offers a buffer to the kernel.
    pub fn give_back(&mut self, buffer: u16) {
        let ring: *mut BufRingEntry = self.entries.as_ptr().cast();
        let place = usize::from(self.tail % COUNT);
        let address = self.at(buffer).expose_provenance() as u64;
        // SAFETY: `place` is below COUNT; between the kernel's head and our tail only this thread writes. The tail is the
        // reserved field of the first entry, which the setters leave alone; the kernel reads it atomically.
        unsafe {
            let entry = &mut *ring.add(place);
            entry.set_addr(address);
            entry.set_len(SIZE as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = AtomicU16::from_ptr(BufRingEntry::tail(ring).cast_mut());
            tail.store(self.tail, Ordering::Release);
        }
    }

    /// Offers a buffer to the kernel once it has been sent from.
    pub fn give_back_after_send(&mut self, buffer: u16) {
        self.parked.push(buffer);
    }

    /// What was received into a buffer that was not given back yet.
    pub fn bytes(&self, buffer: u16, len: usize) -> &[u8] {
        // SAFETY: the kernel has handed the buffer over; it is initialised (zeroed at first) and SIZE long.
        unsafe { std::slice::from_raw_parts(self.at(buffer), len.min(SIZE)) }
    }

    /// Accepts for ever.
    pub fn accept(&mut self, listener: BorrowedFd<'_>) -> io::Result<()> {
        let entry = opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build();
        self.push(entry, Kind::Accept, 0)
    }

    /// Receives for ever.
    pub fn receive(&mut self, fd: BorrowedFd<'_>, kind: Kind, tag: u32) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(Fd(fd.as_raw_fd()), GROUP).build();
        self.push(entry, kind, tag)
    }

    /// Sends a whole received buffer, silently if the socket takes all of it at once. The caller gives the buffer back
    /// with [`Ring::give_back_after_send`], or it stays out for ever.
    pub fn send(&mut self, fd: RawFd, buffer: u16, len: usize, tag: u32) -> io::Result<()> {
        self.send_at(fd, self.at(buffer), len.min(SIZE), tag)
    }

    /// Sends bytes that live for ever.
    pub fn send_static(&mut self, fd: RawFd, bytes: &'static [u8], tag: u32) -> io::Result<()> {
        self.send_at(fd, bytes.as_ptr(), bytes.len(), tag)
    }

    fn send_at(&mut self, fd: RawFd, at: *const u8, len: usize, tag: u32) -> io::Result<()> {
        let flags = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        let entry = opcode::Send::new(Fd(fd), at, len as u32)
            .flags(flags)
            .build();
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS), Kind::Send, tag)
    }

    fn push(&mut self, entry: squeue::Entry, kind: Kind, tag: u32) -> io::Result<()> {
        let entry = entry.user_data((kind as u64) << 56 | u64::from(tag));
        // SAFETY: what the entry points to are buffers that are never freed, and stay with us until the kernel has taken
        // the entry (`parked`); with MSG_DONTWAIT a send is over when it is submitted.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.map_err(|_| io::Error::other("the submission queue is full"))?;
        if self.ring.submission().len() >= BATCH {
            self.ring.submit()?;
        }
        Ok(())
    }

    /// Submits, waits for something to be done, and puts all that is done into `out`.
    pub fn wait(&mut self, out: &mut Vec<Done>) -> io::Result<()> {
        match self.ring.submit_and_wait(1) {
            Err(error) if error.raw_os_error() == Some(libc::EINTR) => {}
            other => drop(other?),
        }
        self.unpark();
        out.extend(self.ring.completion().map(|entry| done(&entry)));
        Ok(())
    }

    /// Submits, so that the buffers that are being sent from can be received into again.
    pub fn flush(&mut self) -> io::Result<()> {
        self.ring.submit()?;
        self.unpark();
        Ok(())
    }

    /// All sends have been taken, so what they were sent from is free.
    fn unpark(&mut self) {
        while let Some(buffer) = self.parked.pop() {
            self.give_back(buffer);
        }
    }
}

fn done(entry: &cqueue::Entry) -> Done {
    let kind = match entry.user_data() >> 56 {
        1 => Kind::Accept,
        2 => Kind::Client,
        3 => Kind::Backend,
        _ => Kind::Send,
    };
    Done {
        kind,
        tag: (entry.user_data() & u64::from(u32::MAX)) as u32,
        result: entry.result(),
        buffer: cqueue::buffer_select(entry.flags()),
        more: cqueue::more(entry.flags()),
    }
}

/// A descriptor that an accept has answered with.
pub fn accepted(done: &Done) -> Option<OwnedFd> {
    let fd = (done.kind == Kind::Accept && done.result >= 0).then_some(done.result)?;
    // SAFETY: the kernel has just opened this descriptor for us, and a completion is looked at once.
    Some(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Zeroed, page-aligned memory that is never freed.
fn pages(bytes: usize) -> NonNull<u8> {
    let layout =
        Layout::from_size_align(bytes, 4096).unwrap_or_else(|_| unreachable!("a constant size"));
    // SAFETY: the size is not zero.
    let at = unsafe { alloc_zeroed(layout) };
    NonNull::new(at).unwrap_or_else(|| handle_alloc_error(layout))
}
