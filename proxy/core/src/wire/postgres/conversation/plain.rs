//! The way of almost all server messages: whole, where they lie, and such as go on as they are. They only settle what is owed.
//!
//! What is cut, swallowed, shown otherwise or read further is the business of [`super::server`].

use super::super::statements::Held;
use super::exchange::{Exchange, TxStatus};
use super::message::{HEADER, Header};
use super::said::FromServer;
use crate::limits::SERVER_INSPECT_MAX;

/// Takes the message at `at` if it is a plain one, and all rows from there on. Answers where the next one begins: `at` itself if it is
/// not for here.
///
/// # Errors
/// Says why the stream can't be followed any more.
#[inline]
pub(super) fn step(
    exchange: &mut Exchange,
    held: &mut Held,
    out: &mut FromServer,
    bytes: &[u8],
    at: usize,
) -> Result<usize, &'static str> {
    let at = if matches!(bytes.get(at), Some(b'D' | b'd')) && exchange.expects_rows() {
        let behind = rows(bytes, at);
        out.end = behind;
        behind
    } else {
        at
    };
    let Some(here) = bytes.get(at..) else {
        return Ok(at);
    };
    let Some(header) = Header::read(here) else {
        return Ok(at);
    };
    let length = HEADER + header.body as usize;
    let (true, Some(body)) = (is_plain(header.tag), here.get(HEADER..length)) else {
        return Ok(at);
    };
    let front = exchange.owed.front();
    if front.is_some_and(|kind| kind.swallows(header.tag)) {
        return Ok(at);
    }
    header.check()?;
    check_server(header)?;
    match header.tag {
        b'Z' => {
            ready(exchange, held, out, body)?;
            out.cycles += 1;
        }
        tag => reply(exchange, held, tag, body)?,
    }
    out.end = at + length;
    Ok(out.end)
}

/// The server is ready for the next query.
///
/// # Errors
/// Says why the stream can't be followed any more.
#[inline]
pub(super) fn ready(
    exchange: &mut Exchange,
    held: &mut Held,
    out: &mut FromServer,
    body: &[u8],
) -> Result<(), &'static str> {
    exchange.ready(body.first().copied().unwrap_or_default())?;
    if exchange.status == TxStatus::Idle {
        out.rested = true;
        if exchange.era.leaves_doubt() {
            held.doubt_all();
        }
        out.redefined |= exchange.era.ended(exchange.owed.is_empty());
    }
    Ok(())
}

/// The server has answered with a message of another type, which is no error.
///
/// # Errors
/// Says why the stream can't be followed any more.
#[inline]
pub(super) fn reply(
    exchange: &mut Exchange,
    held: &mut Held,
    tag: u8,
    body: &[u8],
) -> Result<(), &'static str> {
    match tag {
        b'C' => exchange.completed(body),
        b'T' | b'n' => exchange.described(tag, body),
        _ => {}
    }
    exchange.reply(tag, held)
}

/// Checks what can be told by type and length.
pub(super) fn check_server(header: Header) -> Result<(), &'static str> {
    match (header.tag, header.body) {
        (b'Z', 1) | (b'1' | b'2' | b'3' | b'n' | b's' | b'I' | b'c', 0) => Ok(()),
        (b'Z' | b'1' | b'2' | b'3' | b'n' | b's' | b'I' | b'c', _) => {
            Err("a server message with a wrong length")
        }
        (b'S', length) if length as usize > SERVER_INSPECT_MAX => {
            Err("a ParameterStatus message that is too long")
        }
        (b'W', _) => Err("a server that starts replication"),
        (b'R' | b'K' | b'v', _) => Err("a login message after the login"),
        (b'A' | b'C' | b'D' | b'E' | b'G' | b'H' | b'N' | b'S' | b'T' | b'V' | b'd' | b't', _) => {
            Ok(())
        }
        _ => Err("a server message of an unknown type"),
    }
}

/// Types that nobody has to see but the client, and that end nothing before their time.
const fn is_plain(tag: u8) -> bool {
    matches!(
        tag,
        b'C' | b'D' | b'T' | b'Z' | b'1' | b'2' | b'3' | b'n' | b't' | b'I' | b's' | b'd'
    )
}

/// Goes over whole rows and COPY data: there may be millions in a row, and none changes anything.
fn rows(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(header) = bytes.get(at..).and_then(Header::read) {
        let end = at + HEADER + header.body as usize;
        if !matches!(header.tag, b'D' | b'd') || header.check().is_err() || end > bytes.len() {
            break;
        }
        at = end;
    }
    at
}
