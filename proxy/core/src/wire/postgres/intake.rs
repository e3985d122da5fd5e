//! Gathers one whole packet of a login from bytes that arrive in any pieces, within a bound. Only logins copy like this.

use zeroize::Zeroize as _;

/// Bytes of a packet that is not whole yet.
#[derive(Default)]
pub(super) struct Intake {
    partial: Vec<u8>,
}

/// What there is.
pub(super) enum Packet {
    /// Not whole yet; all bytes are taken.
    Partial,
    /// A whole packet, tag and length word included.
    Whole(Vec<u8>),
    /// The length word is below 4 or above the bound.
    BadLength,
}

/// Whether a packet begins with a tag byte.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// First packets of a client: the length word comes first.
    Untagged,
    /// All other messages.
    Tagged,
}

impl Intake {
    /// The first byte of the packet under way, if any has come.
    pub(super) fn peek(&self, bytes: &[u8], used: usize) -> Option<u8> {
        self.partial.first().or_else(|| bytes.get(used)).copied()
    }

    /// Takes bytes from `bytes[*used..]` up to the end of the packet, whose length word may announce `max` at most.
    pub(super) fn packet(
        &mut self,
        bytes: &[u8],
        used: &mut usize,
        shape: Shape,
        max: usize,
    ) -> Packet {
        let header = if shape == Shape::Tagged { 5 } else { 4 };
        self.fill(bytes, used, header);
        let Some(word) = self
            .partial
            .get(header - 4..header)
            .and_then(|w| w.first_chunk())
        else {
            return Packet::Partial;
        };
        let length = usize::try_from(u32::from_be_bytes(*word)).unwrap_or(usize::MAX);
        if length < 4 || length > max {
            return Packet::BadLength;
        }
        let total = header - 4 + length;
        self.fill(bytes, used, total);
        if self.partial.len() < total {
            return Packet::Partial;
        }
        Packet::Whole(core::mem::take(&mut self.partial))
    }

    fn fill(&mut self, bytes: &[u8], used: &mut usize, upto: usize) {
        let rest = bytes.get(*used..).unwrap_or(&[]);
        let take = upto.saturating_sub(self.partial.len()).min(rest.len());
        self.partial
            .extend_from_slice(rest.get(..take).unwrap_or(&[]));
        *used += take;
    }
}

impl Drop for Intake {
    fn drop(&mut self) {
        // Half a password message, perhaps.
        self.partial.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(packet: Packet) -> Option<Vec<u8>> {
        match packet {
            Packet::Whole(bytes) => Some(bytes),
            _ => None,
        }
    }

    #[test]
    fn takes_one_packet_and_no_more() {
        let bytes = b"xp\0\0\0\x06abp\0";
        let mut used = 1;
        let mut intake = Intake::default();
        let got = intake.packet(bytes, &mut used, Shape::Tagged, 100);
        assert_eq!(whole(got).unwrap(), b"p\0\0\0\x06ab");
        assert_eq!(used, 8);
        assert!(matches!(
            intake.packet(bytes, &mut used, Shape::Tagged, 100),
            Packet::Partial
        ));
        assert_eq!((used, intake.peek(&[], 0)), (10, Some(b'p')));
    }

    #[test]
    fn puts_pieces_together() {
        let bytes = b"\0\0\0\x06ab";
        let mut intake = Intake::default();
        for (at, byte) in bytes.iter().enumerate() {
            let mut used = 0;
            let got = whole(intake.packet(&[*byte], &mut used, Shape::Untagged, 6));
            assert_eq!(used, 1);
            assert_eq!(got.is_some(), at == 5);
        }
    }

    #[test]
    fn lying_lengths_are_found_at_once() {
        for word in [0_u32, 3, 7, u32::MAX] {
            let mut used = 0;
            let got = Intake::default().packet(&word.to_be_bytes(), &mut used, Shape::Untagged, 6);
            assert!(matches!(got, Packet::BadLength), "{word}");
        }
    }
}
