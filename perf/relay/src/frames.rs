//! Message frames of PostgreSQL's protocol, tracked over any cut of the stream: which types have ended, and whether the
//! stream stands between two messages.

/// Where a stream stands.
#[derive(Clone, Copy, Default, Debug)]
pub struct Frames {
    /// Type and length of the message that is being read, as far as they are here.
    head: [u8; 5],
    have: usize,
    /// Bytes of its body that are still to come, once its head is here.
    left: usize,
}

impl Frames {
    /// Goes over bytes; says how many messages of the wanted types have ended in them.
    pub fn count(&mut self, bytes: &[u8], wanted: [u8; 2]) -> u32 {
        let mut ended = 0;
        let mut rest = bytes;
        while !rest.is_empty() {
            let missing = self.head.len() - self.have;
            let (now, later) = rest.split_at(missing.min(rest.len()));
            for byte in now {
                if let Some(place) = self.head.get_mut(self.have) {
                    *place = *byte;
                    self.have += 1;
                }
            }
            if !now.is_empty() && self.have == self.head.len() {
                let [_, a, b, c, d] = self.head;
                self.left = (u32::from_be_bytes([a, b, c, d]) as usize).saturating_sub(4);
            }
            rest = later;
            if self.have == self.head.len() {
                let body = self.left.min(rest.len());
                self.left -= body;
                rest = rest.get(body..).unwrap_or_default();
                if self.left == 0 {
                    self.have = 0;
                    ended += u32::from(wanted.contains(&self.head[0]));
                }
            }
        }
        ended
    }

    /// Whether the next byte is the first of a message.
    pub fn between(&self) -> bool {
        self.have == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &[u8] =
        b"T\0\0\0\x06\0\0D\0\0\0\x0b\0\x01\0\0\0\x011C\0\0\0\x0dSELECT 1\0Z\0\0\0\x05I";

    #[test]
    fn a_cut_anywhere_changes_nothing() {
        for cut in 0..=ANSWER.len() {
            let mut frames = Frames::default();
            let (first, second) = ANSWER.split_at(cut);
            let early = frames.count(first, *b"ZZ");
            assert_eq!(frames.between(), [0, 7, 19, 33, 39].contains(&cut), "{cut}");
            assert_eq!(early + frames.count(second, *b"ZZ"), 1, "{cut}");
            assert!(frames.between());
        }
    }

    #[test]
    fn bytes_one_by_one_and_empty_bodies() {
        let mut frames = Frames::default();
        let ended: u32 = b"S\0\0\0\x04S\0\0\0\x04Q\0\0\0\x06x\0"
            .iter()
            .map(|b| frames.count(&[*b], *b"QS"))
            .sum();
        assert_eq!(ended, 3);
        assert!(frames.between());
    }
}
