//! Taking fuzz input apart.

/// Takes fuzz input apart.
pub(super) struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    pub fn bytes(&mut self, most: usize) -> &'a [u8] {
        let n = most.min(self.0.len());
        let (now, rest) = self.0.split_at(n);
        self.0 = rest;
        now
    }
}
