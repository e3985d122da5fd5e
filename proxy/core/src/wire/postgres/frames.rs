//! Server messages one by one, for the times when weir itself is the reader: mending, errands, idle backends.
//!
//! Bodies up to a bound are handed over whole; of longer ones only the head, so that memory stays bounded whatever a server
//! sends. Lent backends are not read with this: their bytes are forwarded (see [`super::conversation`]).

use crate::limits::{MESSAGE_MAX, SERVER_INSPECT_MAX};

/// The reader of one stream.
#[derive(Default)]
pub struct Frames {
    header: [u8; 5],
    header_len: usize,
    /// Bytes of the present body that have not come yet.
    missing: usize,
    body: Vec<u8>,
}

/// A stream that is no sequence of messages.
#[derive(Debug, PartialEq, Eq, Clone, Copy)]
pub struct Malformed;

impl Frames {
    /// A reader for a stream that others have read so far: `header` are the bytes of a header that have come (fewer than 5), or
    /// `missing` the bytes of a body that are still to come; that message's end is given as type 0.
    #[must_use]
    pub fn resume(header: &[u8], missing: usize) -> Frames {
        let mut frames = Frames::default();
        if missing > 0 {
            frames.header_len = 5;
            frames.missing = missing;
        } else {
            for (slot, byte) in frames.header.iter_mut().zip(header.iter().take(4)) {
                *slot = *byte;
                frames.header_len += 1;
            }
        }
        frames
    }

    /// Whether the stream stands between two messages.
    #[must_use]
    pub fn at_boundary(&self) -> bool {
        self.header_len == 0
    }

    /// Reads all of `bytes` and gives each finished message's type and body (or its first [`SERVER_INSPECT_MAX`] bytes) to `each`.
    /// Stops early when `each` answers false; what follows is then lost.
    ///
    /// # Errors
    /// [`Malformed`] for a length below 4 or beyond [`MESSAGE_MAX`].
    pub fn feed(
        &mut self,
        bytes: &[u8],
        mut each: impl FnMut(u8, &[u8]) -> bool,
    ) -> Result<(), Malformed> {
        let mut rest = bytes;
        loop {
            if self.header_len < 5 {
                rest = self.take_header(rest)?;
                if self.header_len < 5 {
                    return Ok(());
                }
            }
            // A message without a body is finished by its header, even when no byte follows.
            if rest.is_empty() && self.missing > 0 {
                return Ok(());
            }
            let kind = self.header[0];
            let here = self.missing.min(rest.len());
            let (part, after) = rest.split_at(here);
            rest = after;
            self.missing -= here;
            if self.missing == 0 && self.body.is_empty() {
                self.header_len = 0;
                if !each(kind, part.get(..SERVER_INSPECT_MAX).unwrap_or(part)) {
                    return Ok(());
                }
                continue;
            }
            let room = SERVER_INSPECT_MAX - self.body.len();
            self.body
                .extend_from_slice(part.get(..room).unwrap_or(part));
            if self.missing == 0 {
                self.header_len = 0;
                let body = core::mem::take(&mut self.body);
                if !each(kind, &body) {
                    return Ok(());
                }
            }
        }
    }

    fn take_header<'a>(&mut self, bytes: &'a [u8]) -> Result<&'a [u8], Malformed> {
        let mut rest = bytes;
        while self.header_len < 5
            && let Some((first, after)) = rest.split_first()
        {
            self.header[self.header_len] = *first;
            self.header_len += 1;
            rest = after;
        }
        if self.header_len == 5 {
            let [_, a, b, c, d] = self.header;
            let length = u32::from_be_bytes([a, b, c, d]);
            if !(4..=MESSAGE_MAX).contains(&length) {
                return Err(Malformed);
            }
            self.missing = length as usize - 4;
        }
        Ok(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(bytes: &[u8], step: usize) -> Vec<(u8, Vec<u8>)> {
        let (mut frames, mut got) = (Frames::default(), Vec::new());
        for part in bytes.chunks(step) {
            frames
                .feed(part, |kind, body| {
                    got.push((kind, body.to_vec()));
                    true
                })
                .unwrap();
        }
        got
    }

    #[test]
    fn any_split_gives_the_same_messages() {
        let bytes = b"C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I3\0\0\0\x04";
        let want = vec![
            (b'C', b"SELECT 1\0".to_vec()),
            (b'Z', b"I".to_vec()),
            (b'3', vec![]),
        ];
        for step in 1..=bytes.len() {
            assert_eq!(collect(bytes, step), want, "step {step}");
        }
    }

    #[test]
    fn long_bodies_are_cut_not_kept() {
        let mut bytes = b"D".to_vec();
        bytes.extend_from_slice(&u32::to_be_bytes(4 + 200_000));
        bytes.resize(bytes.len() + 200_000, b'x');
        bytes.extend_from_slice(b"Z\0\0\0\x05I");
        for step in [1000, bytes.len()] {
            let got = collect(&bytes, step);
            assert_eq!(got[0].1.len(), SERVER_INSPECT_MAX);
            assert_eq!(got[1], (b'Z', b"I".to_vec()));
        }
    }

    #[test]
    fn lying_lengths_are_malformed() {
        for length in [0u32, 3, 0x4000_0000, u32::MAX] {
            let mut bytes = b"D".to_vec();
            bytes.extend_from_slice(&length.to_be_bytes());
            assert_eq!(Frames::default().feed(&bytes, |_, _| true), Err(Malformed));
        }
    }
}
