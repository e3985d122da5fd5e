//! Builders of the messages that weir makes itself, each appending to a buffer, and the reader of error fields (PostgreSQL
//! manual, "Message Formats" and "Error and Notice Message Fields").
//!
//! Messages that only pass through are never built or read here.

use std::borrow::Cow;

/// Version word of protocol 3.0.
pub const PROTOCOL_3_0: u32 = 3 << 16;
/// Version word of protocol 3.2.
pub const PROTOCOL_3_2: u32 = (3 << 16) | 2;
/// Version word that is really a CancelRequest.
pub const CANCEL_REQUEST: u32 = (1234 << 16) | 5678;
/// Version word that is really an SSLRequest.
pub const SSL_REQUEST: u32 = (1234 << 16) | 5679;
/// Version word that is really a GSSENCRequest.
pub const GSSENC_REQUEST: u32 = (1234 << 16) | 5680;

/// Transaction status in ReadyForQuery: idle.
pub const STATUS_IDLE: u8 = b'I';

/// What an ErrorResponse or a NoticeResponse says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report<'a> {
    /// `ERROR`, `FATAL`, `NOTICE` …; sent as S and V.
    pub severity: &'a str,
    /// SQLSTATE, five characters.
    pub code: &'a str,
    /// One line.
    pub message: &'a str,
    /// More of it.
    pub detail: Option<&'a str>,
    /// What to do.
    pub hint: Option<&'a str>,
}

// ---- as a server -------------------------------------------------------------------------------------------------

/// AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    authentication(out, 0, &[]);
}

/// AuthenticationCleartextPassword.
pub fn authentication_cleartext(out: &mut Vec<u8>) {
    authentication(out, 3, &[]);
}

/// AuthenticationMD5Password.
pub fn authentication_md5(out: &mut Vec<u8>, salt: [u8; 4]) {
    authentication(out, 5, &salt);
}

/// AuthenticationSASL: the mechanisms on offer, the preferred one first.
pub fn authentication_sasl(out: &mut Vec<u8>, mechanisms: &[&str]) {
    let mut list = Vec::new();
    for name in mechanisms {
        cstr(&mut list, name.as_bytes());
    }
    list.push(0);
    authentication(out, 10, &list);
}

/// AuthenticationSASLContinue.
pub fn authentication_sasl_continue(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, 11, data);
}

/// AuthenticationSASLFinal.
pub fn authentication_sasl_final(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, 12, data);
}

fn authentication(out: &mut Vec<u8>, kind: u32, data: &[u8]) {
    message(out, b'R', |out| {
        out.extend_from_slice(&kind.to_be_bytes());
        out.extend_from_slice(data);
    });
}

/// ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    message(out, b'S', |out| {
        cstr(out, name);
        cstr(out, value);
    });
}

/// BackendKeyData. The secret has 4 bytes in protocol 3.0 and 4 to 256 in 3.2.
pub fn backend_key_data(out: &mut Vec<u8>, key: u32, secret: &[u8]) {
    message(out, b'K', |out| {
        out.extend_from_slice(&key.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// ReadyForQuery with a transaction status: `I`, `T` or `E`.
pub fn ready_for_query(out: &mut Vec<u8>, status: u8) {
    message(out, b'Z', |out| out.push(status));
}

/// CommandComplete.
pub fn command_complete(out: &mut Vec<u8>, tag: &str) {
    message(out, b'C', |out| cstr(out, tag.as_bytes()));
}

/// NegotiateProtocolVersion: the newest 3.x that weir speaks with this client, and the `_pq_.` options it does not know.
pub fn negotiate_protocol_version(out: &mut Vec<u8>, version: u32, unknown: &[Box<[u8]>]) {
    message(out, b'v', |out| {
        out.extend_from_slice(&version.to_be_bytes());
        let count = u32::try_from(unknown.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for name in unknown {
            cstr(out, name);
        }
    });
}

/// ErrorResponse.
pub fn error_response(out: &mut Vec<u8>, report: &Report<'_>) {
    fields(out, b'E', report);
}

/// A message of any type, with a body that is there already.
pub fn with_body(out: &mut Vec<u8>, tag: u8, body: &[u8]) {
    message(out, tag, |out| out.extend_from_slice(body));
}

/// NoticeResponse.
pub fn notice_response(out: &mut Vec<u8>, report: &Report<'_>) {
    fields(out, b'N', report);
}

fn fields(out: &mut Vec<u8>, tag: u8, report: &Report<'_>) {
    message(out, tag, |out| {
        let mut field = |name: u8, text: &str| {
            out.push(name);
            cstr(out, text.as_bytes());
        };
        field(b'S', report.severity);
        field(b'V', report.severity);
        field(b'C', report.code);
        field(b'M', report.message);
        if let Some(detail) = report.detail {
            field(b'D', detail);
        }
        if let Some(hint) = report.hint {
            field(b'H', hint);
        }
        out.push(0);
    });
}

// ---- as a client -------------------------------------------------------------------------------------------------

/// StartupMessage of protocol 3.0.
pub fn startup_message<'a>(
    out: &mut Vec<u8>,
    parameters: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) {
    untagged(out, PROTOCOL_3_0, |out| {
        for (name, value) in parameters {
            cstr(out, name);
            cstr(out, value);
        }
        out.push(0);
    });
}

/// SSLRequest.
pub fn ssl_request(out: &mut Vec<u8>) {
    untagged(out, SSL_REQUEST, |_| {});
}

/// CancelRequest with the key and secret of a BackendKeyData.
pub fn cancel_request(out: &mut Vec<u8>, key: u32, secret: &[u8]) {
    untagged(out, CANCEL_REQUEST, |out| {
        out.extend_from_slice(&key.to_be_bytes());
        out.extend_from_slice(secret);
    });
}

/// PasswordMessage: a password or an md5 answer.
pub fn password_message(out: &mut Vec<u8>, password: &[u8]) {
    message(out, b'p', |out| cstr(out, password));
}

/// SASLInitialResponse.
pub fn sasl_initial_response(out: &mut Vec<u8>, mechanism: &str, data: &[u8]) {
    message(out, b'p', |out| {
        cstr(out, mechanism.as_bytes());
        let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(data);
    });
}

/// SASLResponse.
pub fn sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    message(out, b'p', |out| out.extend_from_slice(data));
}

/// Query of the simple protocol.
pub fn query(out: &mut Vec<u8>, text: &str) {
    message(out, b'Q', |out| cstr(out, text.as_bytes()));
}

/// The same, its text written by `text`.
pub fn query_of(out: &mut Vec<u8>, text: impl FnOnce(&mut Vec<u8>)) {
    message(out, b'Q', |out| {
        text(out);
        out.push(0);
    });
}

/// Terminate.
pub fn terminate(out: &mut Vec<u8>) {
    message(out, b'X', |_| {});
}

// ---- parts -------------------------------------------------------------------------------------------------------

fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    counted(out, body);
}

fn untagged(out: &mut Vec<u8>, word: u32, body: impl FnOnce(&mut Vec<u8>)) {
    counted(out, |out| {
        out.extend_from_slice(&word.to_be_bytes());
        body(out);
    });
}

/// A length word, which counts itself, and what it counts.
fn counted(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let length = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(word) = out.get_mut(start..start + 4) {
        word.copy_from_slice(&length.to_be_bytes());
    }
}

/// A string and its NUL. A NUL inside would shift every field after it: the string ends there.
fn cstr(out: &mut Vec<u8>, text: &[u8]) {
    let end = memchr::memchr(0, text).unwrap_or(text.len());
    out.extend_from_slice(text.get(..end).unwrap_or(text));
    out.push(0);
}

/// CopyFail: ends a COPY from the client with an error.
pub fn copy_fail(out: &mut Vec<u8>, reason: &str) {
    message(out, b'f', |out| cstr(out, reason.as_bytes()));
}

/// Parse of a statement called `name`; `tail` is the body behind the name: text, NUL, parameter types.
pub fn parse(out: &mut Vec<u8>, name: &[u8], tail: &[u8]) {
    message(out, b'P', |out| {
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(tail);
    });
}

/// Bind of the unnamed statement, which has no parameters, to the unnamed portal, and its Execute.
pub fn bind_and_execute(out: &mut Vec<u8>) {
    message(out, b'B', |out| out.extend_from_slice(&[0; 8]));
    message(out, b'E', |out| out.extend_from_slice(&[0; 5]));
}

/// Close of a statement.
pub fn close_statement(out: &mut Vec<u8>, name: &[u8]) {
    message(out, b'C', |out| {
        out.push(b'S');
        out.extend_from_slice(name);
        out.push(0);
    });
}

/// Describe of a statement.
pub fn describe_statement(out: &mut Vec<u8>, name: &[u8]) {
    message(out, b'D', |out| {
        out.push(b'S');
        out.extend_from_slice(name);
        out.push(0);
    });
}

/// Flush.
pub fn flush(out: &mut Vec<u8>) {
    message(out, b'H', |_| {});
}

/// Sync.
pub fn sync(out: &mut Vec<u8>) {
    message(out, b'S', |_| {});
}

/// Name and value of a ParameterStatus body: `name NUL value NUL`, and nothing behind.
#[must_use]
pub fn parse_parameter_status(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = memchr::memchr(0, body)?;
    let (value, nul) = body
        .get(end + 1..)?
        .split_at_checked(body.len().checked_sub(end + 2)?)?;
    (nul == [0] && !value.contains(&0)).then_some((body.get(..end)?, value))
}

// ---- reading errors ----------------------------------------------------------------------------------------------

/// The fields of an ErrorResponse or NoticeResponse that weir looks at. Whatever is missing or broken is empty.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ErrorFields<'a> {
    /// V (never translated, since 9.6), else S.
    pub severity: Cow<'a, str>,
    /// C: SQLSTATE.
    pub code: Cow<'a, str>,
    /// M: the message.
    pub message: Cow<'a, str>,
}

impl<'a> ErrorFields<'a> {
    /// Reads the body of a message, without its tag and length. Never fails: what can't be read is left out.
    #[must_use]
    pub fn parse(body: &'a [u8]) -> ErrorFields<'a> {
        let mut fields = ErrorFields::default();
        let mut localised = Cow::default();
        let mut rest = body;
        while let Some((&name, behind)) = rest.split_first().filter(|(name, _)| **name != 0) {
            let end = memchr::memchr(0, behind).unwrap_or(behind.len());
            let text = String::from_utf8_lossy(behind.get(..end).unwrap_or(&[]));
            match name {
                b'V' => fields.severity = text,
                b'S' => localised = text,
                b'C' => fields.code = text,
                b'M' => fields.message = text,
                _ => {}
            }
            rest = behind.get(end + 1..).unwrap_or(&[]);
        }
        if fields.severity.is_empty() {
            fields.severity = localised;
        }
        fields
    }

    /// Whether the server ends the session with it.
    #[must_use]
    pub fn ends_session(&self) -> bool {
        matches!(&*self.severity, "FATAL" | "PANIC")
    }

    /// One line for a log: severity, code and message, without control characters, of bounded length.
    #[must_use]
    pub fn summary(&self) -> String {
        let text = format!("{} {}: {}", self.severity, self.code, self.message);
        text.chars()
            .take(300)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(build: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = b"before".to_vec();
        build(&mut out);
        out.split_off(6)
    }

    #[test]
    fn a_servers_messages_have_the_bytes_of_the_manual() {
        assert_eq!(made(authentication_ok), b"R\0\0\0\x08\0\0\0\0");
        assert_eq!(made(authentication_cleartext), b"R\0\0\0\x08\0\0\0\x03");
        assert_eq!(
            made(|o| authentication_md5(o, [1, 2, 3, 4])),
            b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04"
        );
        assert_eq!(
            made(|o| authentication_sasl(o, &["A", "BC"])),
            b"R\0\0\0\x0e\0\0\0\x0aA\0BC\0\0"
        );
        assert_eq!(
            made(|o| authentication_sasl_continue(o, b"xy")),
            b"R\0\0\0\x0a\0\0\0\x0bxy"
        );
        assert_eq!(
            made(|o| authentication_sasl_final(o, b"v=")),
            b"R\0\0\0\x0a\0\0\0\x0cv="
        );
        assert_eq!(
            made(|o| parameter_status(o, b"a", b"\xff")),
            b"S\0\0\0\x08a\0\xff\0"
        );
        assert_eq!(
            made(|o| backend_key_data(o, 7, b"12345678")),
            b"K\0\0\0\x10\0\0\0\x0712345678"
        );
        assert_eq!(made(|o| ready_for_query(o, b'T')), b"Z\0\0\0\x05T");
        assert_eq!(
            made(|o| negotiate_protocol_version(o, PROTOCOL_3_2, &[Box::from(&b"_pq_.x"[..])])),
            b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0"
        );
    }

    #[test]
    fn a_clients_messages_have_the_bytes_of_the_manual() {
        assert_eq!(
            made(|o| startup_message(o, [(&b"user"[..], &b"u"[..])])),
            b"\0\0\0\x10\0\x03\0\0user\0u\0\0"
        );
        assert_eq!(made(ssl_request), b"\0\0\0\x08\x04\xd2\x16\x2f");
        assert_eq!(
            made(|o| cancel_request(o, 1, b"abcd")),
            b"\0\0\0\x10\x04\xd2\x16\x2e\0\0\0\x01abcd"
        );
        assert_eq!(made(|o| password_message(o, b"pw")), b"p\0\0\0\x07pw\0");
        assert_eq!(
            made(|o| sasl_initial_response(o, "M", b"n,,")),
            b"p\0\0\0\x0dM\0\0\0\0\x03n,,"
        );
        assert_eq!(made(|o| sasl_response(o, b"c=")), b"p\0\0\0\x06c=");
        assert_eq!(made(|o| query(o, "A")), b"Q\0\0\0\x06A\0");
        assert_eq!(made(terminate), b"X\0\0\0\x04");
    }

    #[test]
    fn errors_are_written_and_read_back() {
        let report = Report {
            severity: "FATAL",
            code: "28P01",
            message: "no\0injected",
            detail: Some("d"),
            hint: Some("h"),
        };
        let bytes = made(|o| error_response(o, &report));
        assert_eq!(bytes, b"E\0\0\0\x24SFATAL\0VFATAL\0C28P01\0Mno\0Dd\0Hh\0\0");
        let read = ErrorFields::parse(&bytes[5..]);
        assert_eq!(read.summary(), "FATAL 28P01: no");
        let bare = Report {
            detail: None,
            hint: None,
            ..report
        };
        assert_eq!(
            made(|o| notice_response(o, &bare)),
            b"N\0\0\0\x1eSFATAL\0VFATAL\0C28P01\0Mno\0\0"
        );
    }

    #[test]
    fn broken_errors_are_read_as_far_as_they_go() {
        assert_eq!(ErrorFields::parse(b""), ErrorFields::default());
        assert_eq!(ErrorFields::parse(b"\0SERROR\0"), ErrorFields::default());
        let cut = ErrorFields::parse(b"SFEHLER\0C42601\0Mhalf a mess");
        assert_eq!(cut.summary(), "FEHLER 42601: half a mess");
        let odd = ErrorFields::parse(b"SFEHLER\0VERROR\0?x\0M\xff\n\0C");
        assert_eq!(odd.summary(), "ERROR : \u{fffd} ");
        let long = [&b"M"[..], &[b'x'; 5000]].concat();
        assert_eq!(ErrorFields::parse(&long).summary().len(), 300);
    }
}
