//! Bytes handed over since the last submission: one send per socket, whatever the number of pieces.
//!
//! One send per socket and submission is what makes silent sends safe: if a first send came up short and a second one on the
//! same socket found room, bytes would change places.

use io_uring::{opcode, squeue, types};
use std::os::fd::RawFd;

use super::buffers::Buffers;
use super::data::{Kind, pack};
use crate::io::{Arena, Key, Piece};

/// Sends per submission: more would let the first ones wait while the rest is being worked out, fewer cost system calls.
pub(super) const SENDS: usize = 32;
/// Pieces per socket in one submission; far below the kernel's IOV_MAX.
const PIECES: usize = 64;

const NONE: u32 = u32::MAX;

#[derive(Default)]
pub(super) struct Batch {
    entries: Vec<Entry>,
    pieces: Vec<(Piece, u32)>,
    vectors: Vec<libc::iovec>,
    headers: Vec<libc::msghdr>,
}

struct Entry {
    key: Key,
    fd: RawFd,
    first: u32,
    last: u32,
    pieces: usize,
    /// The socket has been closed meanwhile.
    dead: bool,
}

impl Batch {
    /// Starts a send; answers its number.
    pub(super) fn begin(&mut self, key: Key, fd: RawFd, piece: Piece) -> u32 {
        let at = self.add(piece);
        self.entries.push(Entry {
            key,
            fd,
            first: at,
            last: at,
            pieces: 1,
            dead: false,
        });
        (self.entries.len() - 1) as u32
    }

    /// Adds to a send.
    pub(super) fn extend(&mut self, entry: u32, piece: Piece) {
        let at = self.add(piece);
        let Some(entry) = self.entries.get_mut(entry as usize) else {
            return;
        };
        let last = entry.last;
        entry.last = at;
        entry.pieces += 1;
        if let Some((_, next)) = self.pieces.get_mut(last as usize) {
            *next = at;
        }
    }

    fn add(&mut self, piece: Piece) -> u32 {
        self.pieces.push((piece, NONE));
        (self.pieces.len() - 1) as u32
    }

    pub(super) fn kill(&mut self, entry: u32) {
        if let Some(entry) = self.entries.get_mut(entry as usize) {
            entry.dead = true;
        }
    }

    pub(super) fn is_full(&self, entry: u32) -> bool {
        let pieces = self.entries.get(entry as usize).map_or(0, |e| e.pieces);
        self.entries.len() >= SENDS || pieces >= PIECES
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn keys(&self) -> impl Iterator<Item = Key> {
        self.entries.iter().filter(|e| !e.dead).map(|e| e.key)
    }

    /// Makes one submission entry per socket. They point into the batch, the buffers, the arena: none of these may change
    /// until they have been submitted.
    pub(super) fn prepare(
        &mut self,
        buffers: &Buffers,
        arena: &Arena,
        prepared: &mut Vec<squeue::Entry>,
    ) {
        self.vectors.clear();
        self.headers.clear();
        // No growth below: the addresses of what is pushed are handed out.
        self.vectors.reserve(self.pieces.len());
        self.headers.reserve(self.entries.len());
        for entry in self.entries.iter().filter(|e| !e.dead) {
            let first = self.vectors.len();
            let mut at = entry.first;
            while let Some((piece, next)) = self.pieces.get(at as usize) {
                let bytes = resolve(piece, buffers, arena);
                self.vectors.push(libc::iovec {
                    iov_base: bytes.as_ptr().cast_mut().cast(),
                    iov_len: bytes.len(),
                });
                at = *next;
            }
            let vectors = self.vectors.get(first..).unwrap_or_default();
            let send = match vectors {
                [only] => single(entry, only),
                many => gathered(entry, many, &mut self.headers),
            };
            prepared.push(send);
        }
    }

    /// Calls `take` with what a send has left after its first `sent` bytes, in order.
    pub(super) fn rest(
        &self,
        entry: u32,
        sent: usize,
        buffers: &Buffers,
        arena: &Arena,
        mut take: impl FnMut(&[u8]),
    ) {
        let Some(entry) = self.entries.get(entry as usize) else {
            return;
        };
        let mut skip = sent;
        let mut at = entry.first;
        while let Some((piece, next)) = self.pieces.get(at as usize) {
            let bytes = resolve(piece, buffers, arena);
            let gone = skip.min(bytes.len());
            skip -= gone;
            take(bytes.get(gone..).unwrap_or_default());
            at = *next;
        }
    }

    /// Bytes of all sends that are alive.
    pub(super) fn total(&self) -> u64 {
        self.vectors.iter().map(|v| v.iov_len as u64).sum()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.pieces.clear();
        self.vectors.clear();
    }
}

fn resolve<'a>(piece: &'a Piece, buffers: &'a Buffers, arena: &'a Arena) -> &'a [u8] {
    match piece {
        Piece::Lent { buffer, start, end } => buffers.part(*buffer, *start, *end),
        Piece::Arena { start, end } => arena.get(*start, *end),
        Piece::Owned(bytes) => bytes,
    }
}

const FLAGS: i32 = libc::MSG_DONTWAIT | libc::MSG_WAITALL | libc::MSG_NOSIGNAL;

fn single(entry: &Entry, bytes: &libc::iovec) -> squeue::Entry {
    let len = u32::try_from(bytes.iov_len).unwrap_or(u32::MAX);
    opcode::Send::new(types::Fd(entry.fd), bytes.iov_base.cast(), len)
        .flags(FLAGS)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data(pack(Kind::QuickSend, entry.key))
}

fn gathered(
    entry: &Entry,
    vectors: &[libc::iovec],
    headers: &mut Vec<libc::msghdr>,
) -> squeue::Entry {
    // SAFETY: all-zero is a valid msghdr: no name, no vectors, no control data.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = vectors.as_ptr().cast_mut();
    header.msg_iovlen = vectors.len();
    headers.push(header);
    let header = headers.last().map_or(std::ptr::null(), |h| &raw const *h);
    opcode::SendMsg::new(types::Fd(entry.fd), header)
        .flags(FLAGS as u32)
        .build()
        .flags(squeue::Flags::SKIP_SUCCESS)
        .user_data(pack(Kind::QuickSend, entry.key))
}
