//! PostgreSQL's wire protocol as far as a load needs it: messages are told apart by their headers, bodies are read only where
//! something depends on them, and nothing is allocated for a message that arrives in one piece.
//!
//! See the manual, "Message Formats". What is said in which order is the business of `load` and `null`.

/// The largest body that is kept in memory, bytes. Bodies that nobody asks for have no bound.
const WANTED_MAX: usize = 16 << 20;
/// The code of an SSLRequest.
pub const SSL_REQUEST: u32 = 80_877_103;
/// The code of a GSSENCRequest.
pub const GSS_REQUEST: u32 = 80_877_104;
/// The code of a CancelRequest.
pub const CANCEL_REQUEST: u32 = 80_877_102;
/// Protocol 3.0.
pub const VERSION: u32 = 196_608;

/// The stream is not PostgreSQL's protocol, or a message is too large to keep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Malformed;

/// Cuts a stream into messages: type, length, body.
#[derive(Default, Debug)]
pub struct Splitter {
    /// Bytes of an unwanted body that are still to come.
    skip: usize,
    /// The start of a message whose rest has not come.
    stash: Vec<u8>,
    /// `stash` holds a message that was handed out; it is cleared by the next call.
    spent: bool,
}

/// A message's type and body.
pub type Message<'a> = (u8, &'a [u8]);

impl Splitter {
    /// The next message in `bytes` whose type is `wanted`; `bytes` moves behind it. `None`: all of `bytes` was taken.
    ///
    /// # Errors
    /// The stream can't be PostgreSQL's.
    pub fn next<'s, 'b: 's>(
        &'s mut self,
        bytes: &mut &'b [u8],
        wanted: fn(u8) -> bool,
    ) -> Result<Option<Message<'s>>, Malformed> {
        if self.spent {
            self.stash.clear();
            self.spent = false;
        }
        loop {
            let skipped = self.skip.min(bytes.len());
            *bytes = &bytes[skipped..];
            self.skip -= skipped;
            if bytes.is_empty() {
                return Ok(None);
            }
            if !self.stash.is_empty() || bytes.len() < 5 {
                if !self.gather(bytes, wanted)? {
                    continue;
                }
                self.spent = true;
                return Ok(Some((self.stash[0], &self.stash[5..])));
            }
            let (kind, length) = header(bytes)?;
            if !wanted(kind) {
                self.skip = 1 + length;
            } else if bytes.len() > length {
                let body = &bytes[5..=length];
                *bytes = &bytes[1 + length..];
                return Ok(Some((kind, body)));
            } else {
                self.take(bytes, bytes.len());
            }
        }
    }

    /// Completes the message in `stash`, as far as `bytes` goes. True: it is whole.
    fn gather(&mut self, bytes: &mut &[u8], wanted: fn(u8) -> bool) -> Result<bool, Malformed> {
        if self.stash.len() < 5 {
            self.take(bytes, 5 - self.stash.len());
            if self.stash.len() < 5 {
                return Ok(false);
            }
        }
        let (kind, length) = header(&self.stash)?;
        if !wanted(kind) {
            self.skip = 1 + length - self.stash.len();
            self.stash.clear();
            return Ok(false);
        }
        if length > WANTED_MAX {
            return Err(Malformed);
        }
        self.take(bytes, 1 + length - self.stash.len());
        Ok(self.stash.len() == 1 + length)
    }

    fn take(&mut self, bytes: &mut &[u8], at_most: usize) {
        let (now, later) = bytes.split_at(at_most.min(bytes.len()));
        self.stash.extend_from_slice(now);
        *bytes = later;
    }
}

/// Type and length (which counts itself); `bytes` has at least five.
fn header(bytes: &[u8]) -> Result<(u8, usize), Malformed> {
    let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]) as usize;
    if length < 4 {
        return Err(Malformed);
    }
    Ok((bytes[0], length))
}

/// Appends a message; `body` appends its body.
pub fn message(out: &mut Vec<u8>, kind: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(kind);
    untyped(out, body);
}

/// Appends a message without a type, as at the start of a connection.
pub fn untyped(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - at).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Appends a NUL-terminated text.
pub fn text(out: &mut Vec<u8>, text: &[u8]) {
    out.extend_from_slice(text);
    out.push(0);
}

/// Appends a Query.
pub fn query(out: &mut Vec<u8>, sql: &str) {
    message(out, b'Q', |b| text(b, sql.as_bytes()));
}

/// Appends a Parse without parameter types.
pub fn parse(out: &mut Vec<u8>, name: &str, sql: &str) {
    message(out, b'P', |b| {
        text(b, name.as_bytes());
        text(b, sql.as_bytes());
        b.extend_from_slice(&[0, 0]);
    });
}

/// Appends a Bind of the unnamed portal with `parameters` as texts (each appends itself), results as text.
pub fn bind<I>(out: &mut Vec<u8>, name: &str, parameters: I)
where
    I: ExactSizeIterator<Item: FnOnce(&mut Vec<u8>)>,
{
    message(out, b'B', |b| {
        b.push(0);
        text(b, name.as_bytes());
        b.extend_from_slice(&[0, 0]);
        let count = u16::try_from(parameters.len()).unwrap_or(u16::MAX);
        b.extend_from_slice(&count.to_be_bytes());
        for parameter in parameters {
            untyped_value(b, parameter);
        }
        b.extend_from_slice(&[0, 0]);
    });
}

/// Like [`untyped`], but the length does not count itself: a value in Bind or DataRow.
pub fn untyped_value(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let at = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - at - 4).unwrap_or(u32::MAX);
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
}

/// Describe of the unnamed portal.
pub const DESCRIBE: &[u8] = b"D\0\0\0\x06P\0";
/// Execute of the unnamed portal, all rows.
pub const EXECUTE: &[u8] = b"E\0\0\0\x09\0\0\0\0\0";
/// Sync.
pub const SYNC: &[u8] = b"S\0\0\0\x04";
/// Terminate.
pub const TERMINATE: &[u8] = b"X\0\0\0\x04";
/// CopyDone.
pub const COPY_DONE: &[u8] = b"c\0\0\0\x04";

/// The value of one field of an ErrorResponse: `C` is the SQLSTATE, `M` the message.
#[must_use]
pub fn error_field(body: &[u8], field: u8) -> &str {
    body.split(|b| *b == 0)
        .find(|part| part.first() == Some(&field))
        .and_then(|part| std::str::from_utf8(&part[1..]).ok())
        .unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Result<Vec<(u8, Vec<u8>)>, Malformed> {
        let mut splitter = Splitter::default();
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            while let Some((kind, body)) = splitter.next(&mut rest, |k| k != b'D')? {
                found.push((kind, body.to_vec()));
            }
        }
        Ok(found)
    }

    #[test]
    fn messages_are_found_wherever_the_stream_is_cut() {
        let mut stream = Vec::new();
        message(&mut stream, b'T', |b| text(b, b"row"));
        message(&mut stream, b'D', |b| b.extend_from_slice(&[7; 300]));
        message(&mut stream, b'D', |_| {});
        message(&mut stream, b'C', |b| text(b, b"SELECT 1"));
        message(&mut stream, b'Z', |b| b.push(b'I'));
        let whole = cut(&[&stream]).unwrap();
        let kinds: Vec<u8> = whole.iter().map(|m| m.0).collect();
        assert_eq!(kinds, b"TCZ");
        assert_eq!(whole[1].1, b"SELECT 1\0");
        for a in 0..=stream.len() {
            assert_eq!(cut(&[&stream[..a], &stream[a..]]).unwrap(), whole, "{a}");
        }
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        assert_eq!(cut(&bytes).unwrap(), whole);
    }

    #[test]
    fn a_length_below_four_is_malformed() {
        assert_eq!(cut(&[b"Z\0\0\0\x03I"]), Err(Malformed));
        assert_eq!(cut(&[b"Z\0", b"\0\0\x03I"]), Err(Malformed));
    }

    #[test]
    fn an_error_has_its_code_and_text() {
        let body = b"SFATAL\0VFATAL\0C28P01\0Mwrong password\0\0";
        assert_eq!(error_field(body, b'C'), "28P01");
        assert_eq!(error_field(body, b'M'), "wrong password");
        assert_eq!(error_field(b"", b'C'), "");
    }
}
