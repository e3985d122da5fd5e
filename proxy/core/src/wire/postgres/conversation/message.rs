//! The two formats' plain facts: headers, the client messages and what must be read of them.
//!
//! PostgreSQL manual, "Message Formats". No state here.

use std::collections::VecDeque;
use std::sync::LazyLock;

use memchr::memmem::Finder;

use super::super::familiar::Familiar;
use super::super::ledger::Fact;
use super::owed::Kind;
use crate::limits::{MESSAGE_MAX, NAME_INSPECT_MAX, STATEMENT_INSPECT_MAX, STATEMENT_SHAPE_MAX};
use crate::pins::{PinReason, Pins};
use crate::sql::postgres::settings;
use crate::sql::postgres::{Facts, Schema, Sequences, Words, inspect, prepared_words, shape};

/// Bytes of a header: type and length.
pub(super) const HEADER: usize = 5;

/// Close of the unnamed statement, which is no error when there is none.
pub(super) const OUR_CLOSE: &[u8] = b"C\0\0\0\x06S\0";

/// A message's type and the length of its body, which the wire gives with the length word's own 4 bytes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Header {
    pub(super) tag: u8,
    pub(super) body: u32,
    /// The length was possible.
    sound: bool,
}

impl Header {
    #[inline]
    pub(super) fn read(bytes: &[u8]) -> Option<Header> {
        let &[tag, a, b, c, d] = bytes.first_chunk::<HEADER>()?;
        let length = u32::from_be_bytes([a, b, c, d]);
        Some(Header {
            tag,
            body: length.wrapping_sub(4),
            sound: (4..=MESSAGE_MAX).contains(&length),
        })
    }

    #[inline]
    pub(super) fn check(self) -> Result<(), &'static str> {
        if self.sound {
            Ok(())
        } else {
            Err("a message length that is not possible")
        }
    }
}

/// Checks that `header` is of a client's message in an established session.
pub(super) fn check_client(header: Header) -> Result<(), &'static str> {
    match header.tag {
        // A server answers a body here with an error of its own, in a place where no answer is due.
        b'H' | b'S' if header.body != 0 => Err("a Flush or Sync message with content"),
        b'Q' | b'P' | b'B' | b'E' | b'C' | b'D' | b'F' | b'H' | b'S' | b'X' | b'd' | b'c'
        | b'f' => Ok(()),
        _ => Err("an unknown message type"),
    }
}

/// How many bytes of the body must be there to decide on the message.
pub(super) fn needed(header: Header) -> Result<usize, &'static str> {
    check_client(header)?;
    let body = header.body as usize;
    Ok(match header.tag {
        b'Q' if body > STATEMENT_INSPECT_MAX + 1 => 0,
        b'Q' => body,
        b'P' => body.min(NAME_INSPECT_MAX + STATEMENT_INSPECT_MAX + 2),
        b'B' => body.min(2 * (NAME_INSPECT_MAX + 1)),
        b'F' => body.min(4),
        b'C' | b'D' => body.min(NAME_INSPECT_MAX + 2),
        _ => 0,
    })
}

/// What a message asks for.
pub(super) struct Parsed<'a> {
    pub(super) kind: Kind,
    /// Its text, when that is one statement which has been read to its end.
    pub(super) text: Option<&'a [u8]>,
    /// Its text, when it is of several statements which have been read to their end.
    several: Option<&'a [u8]>,
    /// What the named statement does that it binds.
    pub(super) bound: Option<Fact>,
    /// A statement of it ends a transaction or goes back to a savepoint.
    pub(super) ends_transaction: bool,
    pub(super) pins: Pins,
    /// For which its text may take away what is there.
    pub(super) ends: Pins,
    /// Its text is, or holds, a `DISCARD`.
    pub(super) discards: bool,
    /// What it has to do with the session's memory of sequences.
    pub(super) sequences: Sequences,
    /// What its text may do to the meaning of other texts.
    pub(super) schema: Schema,
    /// It looks up the unnamed statement, or may do so.
    pub(super) uses_unnamed: bool,
    /// It certainly binds the unnamed statement.
    pub(super) binds_unnamed: bool,
    /// What its text says about prepared statements by name.
    pub(super) words: Words,
}

impl<'a> Parsed<'a> {
    /// A message of which nothing but the type is known.
    pub(super) fn unread(header: Header) -> Parsed<'a> {
        Parsed {
            text: None,
            several: None,
            bound: None,
            ends_transaction: false,
            kind: match header.tag {
                b'Q' => Kind::Query,
                b'P' => Kind::Parse,
                b'B' => Kind::Bind,
                b'C' => Kind::Close,
                b'D' => Kind::Describe,
                b'E' => Kind::Execute,
                b'F' => Kind::Function,
                _ => Kind::Sync,
            },
            pins: Pins::NONE,
            ends: Pins::NONE,
            discards: false,
            sequences: Sequences::default(),
            schema: Schema::default(),
            uses_unnamed: false,
            binds_unnamed: false,
            words: Words::None,
        }
    }

    /// What its text does is done when its statement is bound.
    pub(super) fn leaves_nothing_yet(&mut self) {
        (self.pins, self.ends) = (Pins::NONE, Pins::NONE);
    }

    /// Its text has been read.
    fn take(&mut self, text: &'a [u8], facts: Facts) {
        self.pins.add(facts.pins);
        self.ends = facts.ends;
        self.discards = facts.discards;
        self.sequences = facts.sequences;
        self.schema = facts.schema;
        self.ends_transaction = facts.ends_transaction;
        self.text = (facts.statements == 1).then_some(text);
        self.several = (facts.statements > 1).then_some(text);
    }

    /// Nothing is known of it, only because it is long; and what it is does not matter before it has gone on.
    pub(super) fn is_long(&self) -> bool {
        let known = matches!(self.kind, Kind::Query | Kind::ParseUnnamed);
        known && self.pins == Pins::of(PinReason::LargeStatement)
    }

    /// It should have been decided on before it went on.
    pub(super) fn is_decisive(&self) -> bool {
        self.words != Words::None || self.ends_transaction || self.point().is_some()
    }

    /// Whether it may bring a failed transaction to an end: it says so, or could not be read.
    pub(super) fn may_end_transaction(&self) -> bool {
        self.ends_transaction
            || self.pins.has(PinReason::LargeStatement)
            || self.pins.has(PinReason::UnknownStatement)
    }

    /// The changes of settings that its text makes and nothing else that would pin; or what it discards.
    pub(super) fn changes(&self) -> Option<Fact> {
        if self.pins == Pins::of(PinReason::Setting) {
            return match self.several {
                Some(text) => several(text),
                None => self.text.and_then(settings::changes).map(Fact::Changes),
            };
        }
        let alone = self.pins.is_empty() || self.pins == Pins::of(PinReason::Discard);
        if !self.discards || !alone {
            return None;
        }
        self.text.and_then(settings::discard).map(Fact::Discard)
    }

    /// What its text does to the transaction.
    pub(super) fn point(&self) -> Option<Fact> {
        self.text.and_then(settings::point).map(Fact::Point)
    }
}

/// Reads the part of the body that [`needed`] asked for.
pub(super) fn parse<'a>(
    header: Header,
    body: &'a [u8],
    familiar: Option<&mut Familiar>,
) -> Parsed<'a> {
    let mut parsed = Parsed::unread(header);
    match header.tag {
        b'Q' => read_query(header, body, &mut parsed, familiar),
        b'P' => read_parse(body, &mut parsed, familiar),
        b'B' => read_bind(body, &mut parsed),
        b'F' => parsed.pins = function_pins(body),
        b'C' if body.starts_with(b"S\0") => parsed.kind = Kind::CloseUnnamed,
        b'D' => parsed.uses_unnamed = body.starts_with(b"S\0"),
        _ => {}
    }
    parsed
}

/// Reads all of a Query message or of a Parse of the unnamed statement, however long.
pub(super) fn parse_long(header: Header, body: &[u8]) -> Parsed<'_> {
    let mut parsed = Parsed::unread(header);
    let text = match header.tag {
        b'Q' => Some(text_of_query(body)),
        _ => text_of_parse(body).and_then(until_nul),
    };
    match text {
        Some(text) => {
            read_text(text, &mut parsed);
        }
        None => parsed.pins.add(Pins::of(PinReason::LargeStatement)),
    }
    parsed
}

fn read_query<'a>(
    header: Header,
    body: &'a [u8],
    parsed: &mut Parsed<'a>,
    familiar: Option<&mut Familiar>,
) {
    if header.body as usize > STATEMENT_INSPECT_MAX + 1 {
        parsed.pins = Pins::of(PinReason::LargeStatement);
        return;
    }
    read_statement(text_of_query(body), parsed, familiar);
}

/// Without an end the server refuses the message; what stands there is read all the same.
fn text_of_query(body: &[u8]) -> &[u8] {
    until_nul(body).unwrap_or(body)
}

/// What stands behind the name: the text with its end, and what follows.
fn text_of_parse(body: &[u8]) -> Option<&[u8]> {
    body.get(until_nul(body)?.len() + 1..)
}

fn read_statement<'a>(text: &'a [u8], parsed: &mut Parsed<'a>, familiar: Option<&mut Familiar>) {
    if let Some(facts) = familiar.as_ref().and_then(|f| f.facts(text)) {
        return parsed.take(text, facts);
    }
    if text.len() > STATEMENT_INSPECT_MAX {
        parsed.pins.add(Pins::of(PinReason::LargeStatement));
        return;
    }
    let facts = read_text(text, parsed);
    if parsed.pins.is_empty()
        && let Some(familiar) = familiar
    {
        familiar.learn(text, facts);
    }
}

fn read_text<'a>(text: &'a [u8], parsed: &mut Parsed<'a>) -> Facts {
    let facts = inspect(text);
    parsed.take(text, facts);
    if facts.pins.has(PinReason::PreparedStatement) || facts.pins.has(PinReason::Discard) {
        parsed.words = prepared_words(text);
    } else if VIEW.find(text).is_some() {
        // Who looks at the list is to see the session's own names in it.
        parsed.words = Words::Others;
        parsed.pins.add(Pins::of(PinReason::PreparedStatement));
    }
    facts
}

/// What a text of one statement does to settings or to the transaction.
pub(super) fn fact(text: &[u8]) -> Option<Fact> {
    let mut parsed = Parsed::unread(Header {
        tag: b'Q',
        body: 0,
        sound: true,
    });
    read_statement(text, &mut parsed, None);
    parsed.changes().or_else(|| parsed.point())
}

/// What each of several statements does to settings; all that pin do so for a setting.
fn several(text: &[u8]) -> Option<Fact> {
    let mut facts = VecDeque::new();
    for one in settings::statements(text)? {
        let pins = inspect(one).pins;
        let fact = if pins.is_empty() {
            settings::point(one).map(Fact::Point)
        } else {
            Some(Fact::Changes(settings::changes(one)?))
        };
        facts.push_back(fact);
    }
    Some(Fact::Several(facts))
}

/// The system view of prepared statements and the function behind it.
static VIEW: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("pg_prepared_statement"));

fn read_parse<'a>(body: &'a [u8], parsed: &mut Parsed<'a>, familiar: Option<&mut Familiar>) {
    if body.first() == Some(&0) {
        parsed.kind = Kind::ParseUnnamed;
    }
    match text_of_parse(body).and_then(until_nul) {
        Some(text) => read_statement(text, parsed, familiar),
        None => parsed.pins.add(Pins::of(PinReason::LargeStatement)),
    }
}

fn read_bind(body: &[u8], parsed: &mut Parsed<'_>) {
    let statement = until_nul(body).and_then(|portal| body.get(portal.len() + 1));
    parsed.binds_unnamed = statement == Some(&0);
    // A portal name too long to read through may hide the unnamed statement: better guarded than sorry.
    parsed.uses_unnamed = matches!(statement, None | Some(0));
}

/// Functions of libpq's large-object interface: what they leave behind ends with the transaction. From `pg_proc.dat`, the same
/// in every version: lo_open, lo_close, loread, lowrite, lo_lseek, lo_lseek64, lo_creat, lo_create, lo_tell, lo_tell64,
/// lo_truncate, lo_truncate64, lo_unlink.
const LARGE_OBJECT_FUNCTIONS: [u32; 13] = [
    952, 953, 954, 955, 956, 3170, 957, 715, 958, 3171, 1004, 3172, 964,
];

fn function_pins(body: &[u8]) -> Pins {
    let oid = body.first_chunk::<4>().map(|b| u32::from_be_bytes(*b));
    if oid.is_some_and(|oid| LARGE_OBJECT_FUNCTIONS.contains(&oid)) {
        Pins::NONE
    } else {
        Pins::of(PinReason::FunctionCall)
    }
}

/// The text of a message without its literals, for the log.
#[cold]
pub(super) fn shape_of(header: Header, body: &[u8]) -> Option<Box<str>> {
    let text = match header.tag {
        b'Q' => text_of_query(body),
        b'P' => text_of_query(text_of_parse(body)?),
        _ => return None,
    };
    let mut out = String::new();
    shape(text, &mut out, STATEMENT_SHAPE_MAX);
    (!out.is_empty()).then(|| out.into())
}

pub(super) fn until_nul(bytes: &[u8]) -> Option<&[u8]> {
    bytes.get(..memchr::memchr(0, bytes)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape_of_message(message: &[u8]) -> Option<String> {
        let header = Header::read(message)?;
        shape_of(header, &message[HEADER..]).map(String::from)
    }

    #[test]
    fn the_shape_of_what_pins_has_no_literals() {
        let query = b"Q\0\0\0\x2dselect pg_advisory_lock(42), 'my secret'\0";
        let shape = Some("select pg_advisory_lock(?), ?".to_owned());
        assert_eq!(shape_of_message(query), shape);
        let parse = b"P\0\0\0\x30name\0select pg_advisory_lock(42), 'my secret'\0\0\0";
        assert_eq!(shape_of_message(parse), shape);
        assert_eq!(shape_of_message(b"P\0\0\0\x08name"), None);
        assert_eq!(shape_of_message(b"B\0\0\0\x0c\0\0\0\0\0\0\0\0"), None);
        let long = [b"Q\0\0\x40\0select ".as_slice(), &b"x,".repeat(4000)].concat();
        let shape = shape_of_message(&long).unwrap();
        assert!(shape.len() <= STATEMENT_SHAPE_MAX && shape.ends_with('…'));
    }
}
