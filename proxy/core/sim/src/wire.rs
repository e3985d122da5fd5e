//! PostgreSQL messages as bytes, written apart from weir's own code on purpose: the simulator must not share its mistakes.

/// Protocol 3.0 as the startup packet names it.
pub const V3_0: u32 = 0x0003_0000;
/// Protocol 3.2.
pub const V3_2: u32 = 0x0003_0002;

/// A message with a type byte.
#[must_use]
pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 5);
    out.push(kind);
    out.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    out.extend_from_slice(body);
    out
}

/// A packet without a type byte: startup, SSLRequest, CancelRequest.
#[must_use]
pub fn packet(body: &[u8]) -> Vec<u8> {
    let mut out = (body.len() as u32 + 4).to_be_bytes().to_vec();
    out.extend_from_slice(body);
    out
}

/// Joins the parts of a body.
#[must_use]
pub fn cat(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

/// StartupMessage.
#[must_use]
pub fn startup(version: u32, parameters: &[(String, String)]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    for (name, value) in parameters {
        body.extend_from_slice(name.as_bytes());
        body.push(0);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    packet(&body)
}

/// SSLRequest.
#[must_use]
pub fn ssl_request() -> Vec<u8> {
    packet(&80_877_103u32.to_be_bytes())
}

/// GSSENCRequest.
#[must_use]
pub fn gssenc_request() -> Vec<u8> {
    packet(&80_877_104u32.to_be_bytes())
}

/// CancelRequest.
#[must_use]
pub fn cancel_request(pid: u32, secret: &[u8]) -> Vec<u8> {
    packet(&cat(&[
        &80_877_102u32.to_be_bytes(),
        &pid.to_be_bytes(),
        secret,
    ]))
}

/// Query.
#[must_use]
pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', &cat(&[sql.as_bytes(), b"\0"]))
}

/// Parse, without parameter types.
#[must_use]
pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(
        b'P',
        &cat(&[name.as_bytes(), b"\0", sql.as_bytes(), b"\0\0\0"]),
    )
}

/// Bind with text parameters and text results.
#[must_use]
pub fn bind(portal: &str, statement: &str, parameters: &[&str]) -> Vec<u8> {
    let mut body = cat(&[portal.as_bytes(), b"\0", statement.as_bytes(), b"\0\0\0"]);
    body.extend_from_slice(&(parameters.len() as u16).to_be_bytes());
    for p in parameters {
        body.extend_from_slice(&(p.len() as u32).to_be_bytes());
        body.extend_from_slice(p.as_bytes());
    }
    body.extend_from_slice(&[0, 0]);
    message(b'B', &body)
}

/// Describe: `what` is `S` or `P`.
#[must_use]
pub fn describe(what: u8, name: &str) -> Vec<u8> {
    message(b'D', &cat(&[&[what], name.as_bytes(), b"\0"]))
}

/// Close: `what` is `S` or `P`.
#[must_use]
pub fn close(what: u8, name: &str) -> Vec<u8> {
    message(b'C', &cat(&[&[what], name.as_bytes(), b"\0"]))
}

/// Execute, at most `rows` rows (0: all).
#[must_use]
pub fn execute(portal: &str, rows: u32) -> Vec<u8> {
    message(b'E', &cat(&[portal.as_bytes(), b"\0", &rows.to_be_bytes()]))
}

/// Flush.
#[must_use]
pub fn flush() -> Vec<u8> {
    message(b'H', b"")
}

/// Sync.
#[must_use]
pub fn sync() -> Vec<u8> {
    message(b'S', b"")
}

/// Terminate.
#[must_use]
pub fn terminate() -> Vec<u8> {
    message(b'X', b"")
}

/// CopyData.
#[must_use]
pub fn copy_data(bytes: &[u8]) -> Vec<u8> {
    message(b'd', bytes)
}

/// CopyDone.
#[must_use]
pub fn copy_done() -> Vec<u8> {
    message(b'c', b"")
}

/// CopyFail.
#[must_use]
pub fn copy_fail(reason: &str) -> Vec<u8> {
    message(b'f', &cat(&[reason.as_bytes(), b"\0"]))
}

/// FunctionCall with one text argument and a text result.
#[must_use]
pub fn function_call(oid: u32, argument: &str) -> Vec<u8> {
    let length = (argument.len() as u32).to_be_bytes();
    let body = cat(&[
        &oid.to_be_bytes(),
        &[0, 0, 0, 1],
        &length,
        argument.as_bytes(),
        &[0, 0],
    ]);
    message(b'F', &body)
}

/// PasswordMessage with a text (cleartext or md5).
#[must_use]
pub fn password(text: &str) -> Vec<u8> {
    message(b'p', &cat(&[text.as_bytes(), b"\0"]))
}

/// SASLInitialResponse.
#[must_use]
pub fn sasl_initial(mechanism: &str, first: &[u8]) -> Vec<u8> {
    message(
        b'p',
        &cat(&[
            mechanism.as_bytes(),
            b"\0",
            &(first.len() as u32).to_be_bytes(),
            first,
        ]),
    )
}

/// SASLResponse.
#[must_use]
pub fn sasl_response(bytes: &[u8]) -> Vec<u8> {
    message(b'p', bytes)
}

/// Authentication request of a kind, with what follows the kind.
#[must_use]
pub fn authentication(kind: u32, rest: &[u8]) -> Vec<u8> {
    message(b'R', &cat(&[&kind.to_be_bytes(), rest]))
}

/// ParameterStatus.
#[must_use]
pub fn parameter_status(name: &str, value: &str) -> Vec<u8> {
    message(
        b'S',
        &cat(&[name.as_bytes(), b"\0", value.as_bytes(), b"\0"]),
    )
}

/// BackendKeyData.
#[must_use]
pub fn backend_key_data(pid: u32, secret: &[u8]) -> Vec<u8> {
    message(b'K', &cat(&[&pid.to_be_bytes(), secret]))
}

/// ReadyForQuery.
#[must_use]
pub fn ready(status: u8) -> Vec<u8> {
    message(b'Z', &[status])
}

/// ErrorResponse or NoticeResponse, by `kind`.
#[must_use]
pub fn error(kind: u8, severity: &str, code: &str, text: &str) -> Vec<u8> {
    let mut body = Vec::new();
    for (field, value) in [
        (b'S', severity),
        (b'V', severity),
        (b'C', code),
        (b'M', text),
    ] {
        body.push(field);
        body.extend_from_slice(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    message(kind, &body)
}

/// RowDescription of text columns.
#[must_use]
pub fn row_description(columns: &[&str]) -> Vec<u8> {
    let mut body = (columns.len() as u16).to_be_bytes().to_vec();
    for name in columns {
        body.extend_from_slice(name.as_bytes());
        body.extend_from_slice(&[
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0,
        ]);
    }
    message(b'T', &body)
}

/// DataRow of text values.
#[must_use]
pub fn data_row(values: &[&str]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for v in values {
        body.extend_from_slice(&(v.len() as u32).to_be_bytes());
        body.extend_from_slice(v.as_bytes());
    }
    message(b'D', &body)
}

/// CommandComplete.
#[must_use]
pub fn complete(tag: &str) -> Vec<u8> {
    message(b'C', &cat(&[tag.as_bytes(), b"\0"]))
}

/// CopyInResponse (`G`) or CopyOutResponse (`H`) for one text column.
#[must_use]
pub fn copy_response(kind: u8) -> Vec<u8> {
    message(kind, &[0, 0, 1, 0, 0])
}

/// NotificationResponse.
#[must_use]
pub fn notification(pid: u32, channel: &str, payload: &str) -> Vec<u8> {
    message(
        b'A',
        &cat(&[
            &pid.to_be_bytes(),
            channel.as_bytes(),
            b"\0",
            payload.as_bytes(),
            b"\0",
        ]),
    )
}

/// The first whole message with a type byte: kind, body, length on the wire.
#[must_use]
pub fn first_message(bytes: &[u8]) -> Option<(u8, &[u8], usize)> {
    let length = u32::from_be_bytes(bytes.get(1..5)?.try_into().ok()?) as usize;
    let body = bytes.get(5..length.checked_add(1)?)?;
    Some((bytes[0], body, length + 1))
}

/// All whole messages at the front of `bytes`, each with its type byte, and where they end.
#[must_use]
pub fn split_messages(bytes: &[u8]) -> (Vec<&[u8]>, usize) {
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some((_, _, length)) = first_message(&bytes[at..]) {
        found.push(&bytes[at..at + length]);
        at += length;
    }
    (found, at)
}

/// A text ended by a zero byte, and what follows.
#[must_use]
pub fn cstr(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    Some((core::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..]))
}

/// A field of an ErrorResponse body.
#[must_use]
pub fn error_field(body: &[u8], field: u8) -> Option<&str> {
    let mut rest = body;
    while let Some((kind, after)) = rest.split_first() {
        if *kind == 0 {
            return None;
        }
        let (text, next) = cstr(after)?;
        if *kind == field {
            return Some(text);
        }
        rest = next;
    }
    None
}
