//! The ring of provided receive buffers. Each buffer is owned by the kernel or by exactly one [`Lent`].

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

use crate::io::Lent;

/// Buffers of a shard; a power of two. 4 MiB in all.
pub(super) const COUNT: u16 = 1024;
/// Bytes of a buffer.
pub(super) const SIZE: usize = 4096;
/// The group's number.
pub(super) const GROUP: u16 = 0;

const PAGE: usize = 4096;

/// The buffers and the ring in which they are offered to the kernel.
pub(super) struct Buffers {
    entries: Pages,
    data: Pages,
    tail: u16,
    /// Offered to the kernel: `COUNT` minus those lent.
    offered: u16,
    /// By buffer: something is being sent from it.
    pinned: Vec<bool>,
    /// Given back while pinned: offered again after the next submission.
    parked: Vec<u16>,
}

impl Buffers {
    pub(super) fn new() -> Buffers {
        let data = Pages::new(usize::from(COUNT) * SIZE);
        data.touch();
        let mut buffers = Buffers {
            entries: Pages::new(usize::from(COUNT) * size_of::<BufRingEntry>()),
            data,
            tail: 0,
            offered: 0,
            pinned: vec![false; usize::from(COUNT)],
            parked: Vec::with_capacity(usize::from(COUNT)),
        };
        for buffer in 0..COUNT {
            buffers.offer(buffer);
        }
        buffers
    }

    /// Makes the kernel receive into these buffers. They must live until the ring is gone.
    pub(super) fn register(&self, ring: &IoUring) -> io::Result<()> {
        let address = self.entries.at.as_ptr().expose_provenance() as u64;
        // SAFETY: page-aligned memory of `COUNT` entries, which lives until after the ring (field order of `Ring`, and
        // `Buffers::leak` where the kernel may still write).
        unsafe {
            ring.submitter()
                .register_buf_ring_with_flags(address, COUNT, GROUP, 0)
        }
    }

    fn offer(&mut self, buffer: u16) {
        debug_assert!(
            self.offered < COUNT,
            "a receive buffer was given back twice"
        );
        let ring: *mut BufRingEntry = self.entries.at.as_ptr().cast();
        let place = usize::from(self.tail & (COUNT - 1));
        let address = self.data(buffer).expose_provenance() as u64;
        // SAFETY: `place` is below `COUNT`, so the entry is inside the allocation; between the kernel's head and our tail
        // nobody but this thread touches it. Only its own fields are written: the first entry's reserved field is the tail.
        unsafe {
            let entry = &mut *ring.add(place);
            entry.set_addr(address);
            entry.set_len(SIZE as u32);
            entry.set_bid(buffer);
        }
        self.tail = self.tail.wrapping_add(1);
        self.offered += 1;
        // SAFETY: the tail lives in the first entry of the ring and is aligned for u16; the kernel reads it atomically.
        unsafe {
            let tail = AtomicU16::from_ptr(BufRingEntry::tail(ring).cast_mut());
            tail.store(self.tail, Ordering::Release);
        }
    }

    fn data(&self, buffer: u16) -> *mut u8 {
        let place = usize::from(buffer & (COUNT - 1)) * SIZE;
        // SAFETY: `place` is at most `(COUNT − 1) × SIZE`, inside the allocation.
        unsafe { self.data.at.as_ptr().add(place) }
    }

    /// The kernel has filled a buffer: it is ours until given back.
    pub(super) fn lend(&mut self, buffer: u16, len: u32) -> Lent {
        self.offered = self.offered.saturating_sub(1);
        let len = len.min(SIZE as u32);
        Lent { buffer, len }
    }

    pub(super) fn bytes(&self, lent: &Lent) -> &[u8] {
        // SAFETY: a lent buffer is not the kernel's, is initialised (zeroed at first) and at least `len` long.
        unsafe { std::slice::from_raw_parts(self.data(lent.buffer), lent.len as usize) }
    }

    pub(super) fn bytes_mut(&mut self, lent: &Lent) -> &mut [u8] {
        // SAFETY: as for `bytes`; the exclusive borrow of all buffers rules out any other slice.
        unsafe { std::slice::from_raw_parts_mut(self.data(lent.buffer), lent.len as usize) }
    }

    /// Part of a buffer that is being sent: pins it until the next [`Buffers::unpark`].
    pub(super) fn pin(&mut self, buffer: u16) {
        if let Some(pinned) = self.pinned.get_mut(usize::from(buffer)) {
            *pinned = true;
        }
    }

    /// Part of a pinned buffer.
    pub(super) fn part(&self, buffer: u16, start: usize, end: usize) -> &[u8] {
        let end = end.min(SIZE);
        let start = start.min(end);
        // SAFETY: in the bounds of the buffer, which is ours as long as it is pinned, and initialised.
        unsafe { std::slice::from_raw_parts(self.data(buffer).add(start), end - start) }
    }

    pub(super) fn give_back(&mut self, lent: Lent) {
        if self.pinned.get(usize::from(lent.buffer)) == Some(&true) {
            self.parked.push(lent.buffer);
        } else {
            self.offer(lent.buffer);
        }
    }

    /// Everything that was being sent has been taken by the kernel or copied away.
    pub(super) fn unpark(&mut self) {
        while let Some(buffer) = self.parked.pop() {
            if let Some(pinned) = self.pinned.get_mut(usize::from(buffer)) {
                *pinned = false;
            }
            self.offer(buffer);
        }
    }

    /// Whether the kernel has a buffer to receive into.
    pub(super) fn any_offered(&self) -> bool {
        self.offered > 0
    }

    #[cfg(test)]
    pub(super) fn all_offered(&self) -> bool {
        self.offered == COUNT
    }

    /// Leaves the memory to the kernel, which may still write to it.
    pub(super) fn leak(&mut self) {
        self.entries.leaked = true;
        self.data.leaked = true;
    }
}

/// Zeroed, page-aligned memory.
struct Pages {
    at: NonNull<u8>,
    layout: Layout,
    leaked: bool,
}

impl Pages {
    fn new(bytes: usize) -> Pages {
        let layout = Layout::from_size_align(bytes.max(PAGE), PAGE)
            .unwrap_or_else(|_| unreachable!("a constant size"));
        // SAFETY: the size is not zero.
        let at = unsafe { alloc_zeroed(layout) };
        let Some(at) = NonNull::new(at) else {
            handle_alloc_error(layout)
        };
        Pages {
            at,
            layout,
            leaked: false,
        }
    }
}

impl Pages {
    /// Makes every page resident now: the kernel goes through all buffers in turn, and queries should not wait for page faults.
    fn touch(&self) {
        for page in (0..self.layout.size()).step_by(PAGE) {
            // SAFETY: inside the allocation, which nobody else knows yet. Volatile, since writing zeros over zeros would be left out.
            unsafe { self.at.as_ptr().add(page).write_volatile(0) };
        }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        if !self.leaked {
            // SAFETY: allocated with this layout, and the kernel does not use it any more.
            unsafe { dealloc(self.at.as_ptr(), self.layout) };
        }
    }
}
