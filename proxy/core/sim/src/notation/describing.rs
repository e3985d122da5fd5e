//! From bytes to notation.

use super::{BARE, FIELDS, Way, encode, quote, tokens};
use crate::wire::{self, cstr};

/// One whole message (a startup packet too) as text that [`encode`] makes the same bytes of.
#[must_use]
pub fn describe(way: Way, bytes: &[u8]) -> String {
    let text = guess(way, bytes);
    let exact = text.filter(|text| {
        let again = tokens(text).and_then(|t| encode(way, &t));
        again.as_deref() == Ok(bytes)
    });
    exact.unwrap_or_else(|| format!("Bytes {}", quote(bytes)))
}

fn guess(way: Way, bytes: &[u8]) -> Option<String> {
    if way == Way::Front && bytes.first() == Some(&0) {
        return packet(bytes);
    }
    let (kind, body, _) = wire::first_message(bytes)?;
    if way == Way::Front {
        front(kind, body)
    } else {
        back(kind, body)
    }
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (head, rest) = bytes.split_at_checked(4)?;
    Some((u32::from_be_bytes(head.try_into().ok()?), rest))
}

fn short(bytes: &[u8]) -> Option<(u16, &[u8])> {
    let (head, rest) = bytes.split_at_checked(2)?;
    Some((u16::from_be_bytes(head.try_into().ok()?), rest))
}

fn packet(bytes: &[u8]) -> Option<String> {
    let (code, mut rest) = number(bytes.get(4..)?)?;
    match code {
        80_877_103 => return Some("SSLRequest".to_owned()),
        80_877_104 => return Some("GSSENCRequest".to_owned()),
        80_877_102 => {
            let (pid, secret) = number(rest)?;
            return Some(format!("CancelRequest {pid} {}", quote(secret)));
        }
        _ => {}
    }
    let mut text = format!("Startup {}.{}", code >> 16, code & 0xffff);
    while rest.len() > 1 {
        let (name, after) = cstr(rest)?;
        let (value, after) = cstr(after)?;
        text += &format!(" {name} {}", quote(value.as_bytes()));
        rest = after;
    }
    Some(text)
}

/// Texts with their lengths, as DataRow and Bind have them.
fn values(mut rest: &[u8], count: u16) -> Option<(String, &[u8])> {
    let mut text = String::new();
    for _ in 0..count {
        let (length, after) = number(rest)?;
        let (value, after) = after.split_at_checked(length as usize)?;
        text += &format!(" {}", quote(value));
        rest = after;
    }
    Some((text, rest))
}

fn front(kind: u8, body: &[u8]) -> Option<String> {
    let one = |name: &str| Some(format!("{name} {}", quote(body.strip_suffix(b"\0")?)));
    match kind {
        b'Q' => one("Query"),
        b'f' => one("CopyFail"),
        b'd' => Some(format!("CopyData {}", quote(body))),
        b'c' => Some("CopyDone".to_owned()),
        b'S' => Some("Sync".to_owned()),
        b'H' => Some("Flush".to_owned()),
        b'X' => Some("Terminate".to_owned()),
        b'p' if body.ends_with(b"\0") => one("Password"),
        b'p' if body.starts_with(b"SCRAM") => {
            let (mechanism, rest) = cstr(body)?;
            Some(format!("SaslInitial {mechanism} {}", quote(rest.get(4..)?)))
        }
        b'p' => Some(format!("SaslResponse {}", quote(body))),
        b'P' => {
            let (name, rest) = cstr(body)?;
            let (sql, _) = cstr(rest)?;
            Some(format!(
                "Parse {} {}",
                quote(name.as_bytes()),
                quote(sql.as_bytes())
            ))
        }
        b'B' => {
            let (portal, rest) = cstr(body)?;
            let (statement, rest) = cstr(rest)?;
            let (count, rest) = short(rest.get(2..)?)?;
            let (values, _) = values(rest, count)?;
            Some(format!(
                "Bind {} {}{values}",
                quote(portal.as_bytes()),
                quote(statement.as_bytes())
            ))
        }
        b'D' | b'C' => {
            let name = if kind == b'D' { "Describe" } else { "Close" };
            let (what, rest) = body.split_first()?;
            Some(format!(
                "{name} {} {}",
                char::from(*what),
                quote(cstr(rest)?.0.as_bytes())
            ))
        }
        b'E' => {
            let (portal, rest) = cstr(body)?;
            match number(rest)?.0 {
                0 => Some(format!("Execute {}", quote(portal.as_bytes()))),
                rows => Some(format!("Execute {} {rows}", quote(portal.as_bytes()))),
            }
        }
        b'F' => {
            let (oid, rest) = number(body)?;
            let (argument, _) = values(rest.get(4..)?, 1)?;
            Some(format!("FunctionCall {oid}{argument}"))
        }
        _ => None,
    }
}

fn back(kind: u8, body: &[u8]) -> Option<String> {
    if let Some((name, _)) = BARE.iter().find(|(_, k)| *k == kind) {
        return Some((*name).to_owned());
    }
    match kind {
        b'R' => authentication(body),
        b'S' => {
            let (name, rest) = cstr(body)?;
            Some(format!(
                "ParameterStatus {} {}",
                quote(name.as_bytes()),
                quote(cstr(rest)?.0.as_bytes())
            ))
        }
        b'K' => {
            let (pid, secret) = number(body)?;
            Some(format!("BackendKeyData {pid} {}", quote(secret)))
        }
        b'Z' => Some(format!("ReadyForQuery {}", char::from(*body.first()?))),
        b'E' => report("ErrorResponse", body),
        b'N' => report("NoticeResponse", body),
        b'C' => Some(format!(
            "CommandComplete {}",
            quote(body.strip_suffix(b"\0")?)
        )),
        b'D' => {
            let (count, rest) = short(body)?;
            Some(format!("DataRow{}", values(rest, count)?.0))
        }
        b'T' => {
            let (count, mut rest) = short(body)?;
            let mut text = "RowDescription".to_owned();
            for _ in 0..count {
                let (name, after) = cstr(rest)?;
                text += &format!(" {}", quote(name.as_bytes()));
                rest = after.get(18..)?;
            }
            Some(text)
        }
        b't' => Some(format!("ParameterDescription {}", short(body)?.0)),
        b'G' => Some("CopyInResponse".to_owned()),
        b'H' => Some("CopyOutResponse".to_owned()),
        b'd' => Some(format!("CopyData {}", quote(body))),
        b'c' => Some("CopyDone".to_owned()),
        b'V' => Some(format!("FunctionCallResponse{}", values(body, 1)?.0)),
        b'A' => {
            let (pid, rest) = number(body)?;
            let (channel, rest) = cstr(rest)?;
            Some(format!(
                "NotificationResponse {pid} {} {}",
                quote(channel.as_bytes()),
                quote(cstr(rest)?.0.as_bytes())
            ))
        }
        b'v' => {
            let (version, rest) = number(body)?;
            let (_, mut rest) = number(rest)?;
            let mut text = format!("NegotiateProtocolVersion {}", version & 0xffff);
            while let Some((option, after)) = cstr(rest) {
                text += &format!(" {}", quote(option.as_bytes()));
                rest = after;
            }
            Some(text)
        }
        _ => None,
    }
}

fn authentication(body: &[u8]) -> Option<String> {
    let (kind, rest) = number(body)?;
    match kind {
        0 => Some("AuthenticationOk".to_owned()),
        3 => Some("AuthenticationCleartextPassword".to_owned()),
        5 => Some(format!("AuthenticationMD5Password {}", quote(rest))),
        10 => {
            let list = rest.strip_suffix(b"\0\0")?;
            let list: Vec<String> = list.split(|b| *b == 0).map(quote).collect();
            Some(format!("AuthenticationSASL {}", list.join(" ")))
        }
        11 => Some(format!("AuthenticationSASLContinue {}", quote(rest))),
        12 => Some(format!("AuthenticationSASLFinal {}", quote(rest))),
        _ => None,
    }
}

fn report(name: &str, body: &[u8]) -> Option<String> {
    let field = |kind| wire::error_field(body, kind);
    let message = quote(field(b'M')?.as_bytes());
    let mut text = format!("{name} {} {} {message}", field(b'S')?, field(b'C')?);
    for (word, kind) in FIELDS {
        if let Some(value) = field(*kind) {
            text += &format!(" {word} {}", quote(value.as_bytes()));
        }
    }
    Some(text)
}
