//! Messages as text for transcripts: `Query "select 1"`, `ReadyForQuery I`.
//!
//! [`describe`] loses nothing: what has no notation of its own, or an odd one, is shown as `Bytes "…"`. So two texts are
//! equal exactly when the bytes are.

use crate::wire;

/// Which way a message goes: the same type byte means different things.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Way {
    /// From a client to a server.
    Front,
    /// From a server to a client.
    Back,
}

/// A word or a text in double quotes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Token {
    /// Without quotes.
    Word(String),
    /// In quotes.
    Text(Vec<u8>),
    /// `;` between messages.
    Next,
}

/// Takes a line apart.
///
/// # Errors
/// Says what can't be read.
pub fn tokens(line: &str) -> Result<Vec<Token>, String> {
    let bytes = line.as_bytes();
    let (mut found, mut at) = (Vec::new(), 0);
    while let Some(byte) = bytes.get(at) {
        match byte {
            b' ' => at += 1,
            b';' => {
                found.push(Token::Next);
                at += 1;
            }
            b'"' => {
                let (text, next) =
                    quoted(bytes, at + 1).ok_or("a quote without its end, or an unknown escape")?;
                found.push(Token::Text(text));
                at = next;
            }
            _ => {
                let end = bytes[at..].iter().position(|b| b" ;\"".contains(b));
                let end = end.map_or(bytes.len(), |n| at + n);
                found.push(Token::Word(line[at..end].to_owned()));
                at = end;
            }
        }
    }
    Ok(found)
}

fn quoted(bytes: &[u8], mut at: usize) -> Option<(Vec<u8>, usize)> {
    let mut text = Vec::new();
    loop {
        match *bytes.get(at)? {
            b'"' => return Some((text, at + 1)),
            b'\\' => {
                let escape = *bytes.get(at + 1)?;
                at += 2;
                text.push(match escape {
                    b'n' => b'\n',
                    b't' => b'\t',
                    b'r' => b'\r',
                    b'"' | b'\\' | b'\'' => escape,
                    b'x' => {
                        let hex = core::str::from_utf8(bytes.get(at..at + 2)?).ok()?;
                        at += 2;
                        u8::from_str_radix(hex, 16).ok()?
                    }
                    _ => return None,
                });
            }
            other => {
                text.push(other);
                at += 1;
            }
        }
    }
}

/// A text with quotes around it, so that [`tokens`] reads it back.
#[must_use]
pub fn quote(bytes: &[u8]) -> String {
    format!("\"{}\"", bytes.escape_ascii()).replace("\\'", "'")
}

struct Args<'a>(&'a [Token]);

impl Args<'_> {
    fn text(&mut self) -> Result<Vec<u8>, String> {
        match self.0.split_first() {
            Some((Token::Text(text), rest)) => {
                self.0 = rest;
                Ok(text.clone())
            }
            other => Err(format!("a text in quotes is missing before {other:?}")),
        }
    }

    fn string(&mut self) -> Result<String, String> {
        self.text()
            .map(|t| String::from_utf8_lossy(&t).into_owned())
    }

    fn word(&mut self) -> Result<String, String> {
        match self.0.split_first() {
            Some((Token::Word(word), rest)) => {
                self.0 = rest;
                Ok(word.clone())
            }
            other => Err(format!("a word is missing before {other:?}")),
        }
    }

    fn number(&mut self) -> Result<u32, String> {
        let word = self.word()?;
        word.parse().map_err(|_| format!("{word} is not a number"))
    }

    fn texts(&mut self) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        while !self.0.is_empty() {
            all.push(self.string()?);
        }
        Ok(all)
    }
}

/// The bytes of one message.
///
/// # Errors
/// Says what can't be read.
pub fn encode(way: Way, message: &[Token]) -> Result<Vec<u8>, String> {
    let mut args = Args(message);
    let name = args.word()?;
    let bytes = match name.as_str() {
        "Bytes" => args.text()?,
        "CopyData" => wire::copy_data(&args.text()?),
        "CopyDone" => wire::copy_done(),
        _ if way == Way::Front => front(&name, &mut args)?,
        _ => back(&name, &mut args)?,
    };
    if args.0.is_empty() {
        Ok(bytes)
    } else {
        Err(format!("too much after {name}: {:?}", args.0))
    }
}

fn front(name: &str, args: &mut Args<'_>) -> Result<Vec<u8>, String> {
    Ok(match name {
        "Startup" => {
            let version = match args.word()?.as_str() {
                "3.0" => wire::V3_0,
                "3.2" => wire::V3_2,
                other => {
                    let (major, minor) = other.split_once('.').ok_or("a version is major.minor")?;
                    let number =
                        |t: &str| t.parse::<u32>().map_err(|_| format!("{t} is not a number"));
                    (number(major)? << 16) + number(minor)?
                }
            };
            let mut parameters = Vec::new();
            while !args.0.is_empty() {
                parameters.push((args.word()?, args.string()?));
            }
            wire::startup(version, &parameters)
        }
        "SSLRequest" => wire::ssl_request(),
        "GSSENCRequest" => wire::gssenc_request(),
        "CancelRequest" => {
            let pid = args.number()?;
            wire::cancel_request(pid, &args.text()?)
        }
        "Query" => {
            let mut sql = args.text()?;
            sql.push(0);
            wire::message(b'Q', &sql)
        }
        "Parse" => {
            let name = args.string()?;
            wire::parse(&name, &args.string()?)
        }
        "Bind" => {
            let (portal, statement, parameters) = (args.string()?, args.string()?, args.texts()?);
            let parameters: Vec<&str> = parameters.iter().map(String::as_str).collect();
            wire::bind(&portal, &statement, &parameters)
        }
        "Describe" | "Close" => {
            let what = args.word()?.bytes().next().unwrap_or(b'?');
            let object = args.string()?;
            if name == "Close" {
                wire::close(what, &object)
            } else {
                wire::describe(what, &object)
            }
        }
        "Execute" => {
            let portal = args.string()?;
            let rows = if args.0.is_empty() { 0 } else { args.number()? };
            wire::execute(&portal, rows)
        }
        "Sync" => wire::sync(),
        "Flush" => wire::flush(),
        "CopyFail" => wire::copy_fail(&args.string()?),
        "FunctionCall" => {
            let oid = args.number()?;
            wire::function_call(oid, &args.string()?)
        }
        "Terminate" => wire::terminate(),
        "Password" => wire::password(&args.string()?),
        "SaslInitial" => {
            let mechanism = args.word()?;
            wire::sasl_initial(&mechanism, &args.text()?)
        }
        "SaslResponse" => wire::sasl_response(&args.text()?),
        other => return Err(format!("a client has no message {other}")),
    })
}

fn back(name: &str, args: &mut Args<'_>) -> Result<Vec<u8>, String> {
    if let Some(found) = BARE.iter().find(|(n, _)| *n == name) {
        return Ok(wire::message(found.1, b""));
    }
    Ok(match name {
        "AuthenticationOk" => wire::authentication(0, b""),
        "AuthenticationCleartextPassword" => wire::authentication(3, b""),
        "AuthenticationMD5Password" => wire::authentication(5, &args.text()?),
        "AuthenticationSASL" => {
            let mut list = args.texts()?.join("\0").into_bytes();
            list.extend_from_slice(b"\0\0");
            wire::authentication(10, &list)
        }
        "AuthenticationSASLContinue" => wire::authentication(11, &args.text()?),
        "AuthenticationSASLFinal" => wire::authentication(12, &args.text()?),
        "ParameterStatus" => {
            let name = args.string()?;
            wire::parameter_status(&name, &args.string()?)
        }
        "BackendKeyData" => {
            let pid = args.number()?;
            wire::backend_key_data(pid, &args.text()?)
        }
        "ReadyForQuery" => wire::ready(args.word()?.bytes().next().unwrap_or(b'?')),
        "ErrorResponse" | "NoticeResponse" => report(name, args)?,
        "RowDescription" => {
            let all = args.texts()?;
            let all: Vec<&str> = all.iter().map(String::as_str).collect();
            wire::row_description(&all)
        }
        "DataRow" => data_row(args)?,
        "CommandComplete" => wire::complete(&args.string()?),
        "ParameterDescription" => {
            let count = args.number()?;
            let types = (0..count).flat_map(|_| 25u32.to_be_bytes());
            let mut body = (count as u16).to_be_bytes().to_vec();
            body.extend(types);
            wire::message(b't', &body)
        }
        "CopyInResponse" => wire::copy_response(b'G'),
        "CopyOutResponse" => wire::copy_response(b'H'),
        "FunctionCallResponse" => {
            let value = args.text()?;
            wire::message(
                b'V',
                &wire::cat(&[&(value.len() as u32).to_be_bytes(), &value]),
            )
        }
        "NotificationResponse" => {
            let (pid, channel) = (args.number()?, args.string()?);
            wire::notification(pid, &channel, &args.string()?)
        }
        "NegotiateProtocolVersion" => {
            let minor = args.number()?;
            let options = args.texts()?;
            let mut body = (0x0003_0000 + minor).to_be_bytes().to_vec();
            body.extend((options.len() as u32).to_be_bytes());
            for option in options {
                body.extend(option.as_bytes());
                body.push(0);
            }
            wire::message(b'v', &body)
        }
        other => return Err(format!("a server has no message {other}")),
    })
}

fn data_row(args: &mut Args<'_>) -> Result<Vec<u8>, String> {
    let count = args.0.len() as u16;
    let mut body = count.to_be_bytes().to_vec();
    for _ in 0..count {
        let value = args.text()?;
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value);
    }
    Ok(wire::message(b'D', &body))
}

const BARE: &[(&str, u8)] = &[
    ("ParseComplete", b'1'),
    ("BindComplete", b'2'),
    ("CloseComplete", b'3'),
    ("NoData", b'n'),
    ("PortalSuspended", b's'),
    ("EmptyQueryResponse", b'I'),
];

const FIELDS: &[(&str, u8)] = &[("detail", b'D'), ("hint", b'H'), ("position", b'P')];

/// `ErrorResponse FATAL 28P01 "text" detail "…" hint "…"`.
fn report(name: &str, args: &mut Args<'_>) -> Result<Vec<u8>, String> {
    let (severity, code, text) = (args.word()?, args.word()?, args.text()?);
    let mut body = Vec::new();
    let mut field = |kind: u8, value: &[u8]| {
        body.push(kind);
        body.extend_from_slice(value);
        body.push(0);
    };
    field(b'S', severity.as_bytes());
    field(b'V', severity.as_bytes());
    field(b'C', code.as_bytes());
    field(b'M', &text);
    while !args.0.is_empty() {
        let word = args.word()?;
        let kind = FIELDS.iter().find(|(n, _)| *n == word);
        field(
            kind.ok_or(format!("no such field: {word}"))?.1,
            &args.text()?,
        );
    }
    body.push(0);
    Ok(wire::message(
        if name == "ErrorResponse" { b'E' } else { b'N' },
        &body,
    ))
}

mod describing;
pub use describing::describe;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for (way, line) in [
            (Way::Front, "Query \"select 'a;b' \\\\ \\x00\""),
            (Way::Front, "Startup 3.2 user \"app\" options \"-c a=b\""),
            (Way::Front, "Bind \"\" \"s\" \"x\" \"\""),
            (Way::Front, "Close S \"s\""),
            (
                Way::Back,
                "ErrorResponse FATAL 28P01 \"no\" detail \"d\" hint \"h\"",
            ),
            (Way::Back, "NegotiateProtocolVersion 0 \"_pq_.x\""),
            (Way::Back, "RowDescription \"a\" \"b\""),
            (Way::Back, "DataRow \"1\" \"\\xff\""),
            (Way::Back, "NotificationResponse 7 \"ch\" \"x\""),
            (Way::Back, "ParameterDescription 2"),
        ] {
            let bytes = encode(way, &tokens(line).unwrap()).unwrap();
            assert_eq!(describe(way, &bytes), line);
        }
        assert_eq!(
            describe(Way::Back, b"Z\0\0\0\x06II"),
            "Bytes \"Z\\x00\\x00\\x00\\x06II\""
        );
        assert!(
            tokens("Query \"x").is_err()
                && encode(Way::Back, &tokens("Query \"x\"").unwrap()).is_err()
        );
    }
}
