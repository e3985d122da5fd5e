//! What a socket did not take: kept in order until it does.

/// Bytes waiting for a full socket. Exists only while something waits.
#[derive(Default)]
pub(crate) struct Backlog {
    /// Being sent: must neither move nor change while the kernel may read it.
    sending: Vec<u8>,
    sent: usize,
    /// To be sent after that.
    waiting: Vec<u8>,
}

impl Backlog {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// The bytes to send next; empty when nothing is left. Stable until [`Backlog::advance`] has taken all of them.
    pub(crate) fn front(&mut self) -> &[u8] {
        if self.sent >= self.sending.len() {
            self.sent = 0;
            self.sending = std::mem::take(&mut self.waiting);
        }
        self.sending.get(self.sent..).unwrap_or_default()
    }

    /// The first `n` bytes of the front are out.
    pub(crate) fn advance(&mut self, n: usize) {
        self.sent = (self.sent + n).min(self.sending.len());
    }

    pub(crate) fn len(&self) -> usize {
        self.sending.len() - self.sent + self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_kept_and_the_front_is_stable_while_more_comes() {
        let mut backlog = Backlog::default();
        backlog.push(b"one");
        let at = backlog.front().as_ptr();
        backlog.push(b"two");
        assert_eq!(backlog.front(), b"one");
        assert_eq!(backlog.front().as_ptr(), at);
        backlog.advance(2);
        backlog.push(b"!");
        assert_eq!(backlog.len(), 5);
        assert_eq!(backlog.front(), b"e");
        backlog.advance(1);
        assert_eq!(backlog.front(), b"two!");
        backlog.advance(4);
        assert_eq!(backlog.front(), b"");
        assert_eq!(backlog.len(), 0);
    }
}
