//! Room for bytes on their way out that belong to no connection: encrypted records, copies. Emptied when they are out.

/// A growing buffer that is written at its end and emptied whole.
#[derive(Default)]
pub(crate) struct Arena {
    /// Initialised once; only the first `used` bytes mean something. Not cleared, so that room is not zeroed per record.
    bytes: Vec<u8>,
    used: usize,
}

/// What an arena keeps when it is emptied, bytes: a burst must not hold its memory for ever.
const KEEP: usize = 256 * 1024;

impl Arena {
    /// Lets `write` fill up to `room` bytes at the end; it answers how many it wrote. Nothing changes on an error.
    pub(crate) fn write<E>(
        &mut self,
        room: usize,
        write: impl FnOnce(&mut [u8]) -> Result<usize, E>,
    ) -> Result<(), E> {
        let end = self.used + room;
        if self.bytes.len() < end {
            self.bytes.resize(end, 0);
        }
        let free = self.bytes.get_mut(self.used..end).unwrap_or_default();
        let written = write(free)?;
        self.used += written.min(room);
        Ok(())
    }

    /// Copies `bytes` to the end.
    pub(crate) fn copy(&mut self, bytes: &[u8]) {
        let copied = self.write(bytes.len(), |free| {
            free.copy_from_slice(bytes);
            Ok::<usize, std::convert::Infallible>(bytes.len())
        });
        match copied {
            Ok(()) => {}
            Err(never) => match never {},
        }
    }

    /// Where the next byte goes.
    pub(crate) fn end(&self) -> usize {
        self.used
    }

    pub(crate) fn get(&self, start: usize, end: usize) -> &[u8] {
        self.bytes
            .get(start..end.min(self.used))
            .unwrap_or_default()
    }

    pub(crate) fn clear(&mut self) {
        self.used = 0;
        if self.bytes.len() > KEEP {
            self.bytes = Vec::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_follow_each_other_and_errors_leave_no_trace() {
        let mut arena = Arena::default();
        let put = |n: usize, byte: u8| {
            move |free: &mut [u8]| {
                free[..n].fill(byte);
                Ok::<usize, ()>(n)
            }
        };
        arena.write(10, put(3, b'a')).unwrap();
        assert_eq!(arena.write(10, |_| Err::<usize, u8>(7)), Err(7));
        arena.copy(b"xyz");
        arena.write(2, put(2, b'b')).unwrap();
        assert_eq!(arena.get(0, arena.end()), b"aaaxyzbb");
        assert_eq!(arena.get(3, 6), b"xyz");
        arena.clear();
        assert_eq!(arena.end(), 0);
        assert_eq!(arena.get(0, 5), b"");
    }
}
