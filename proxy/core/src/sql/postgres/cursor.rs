//! The tokens of one text in order, with the little that is remembered of the ones before: enough to see what a parenthesis
//! follows. Two things are seen here because they hold in every statement: temporary objects, and escaped names.

use super::keywords::Keyword;
use super::lexer::{Kind, Lexer, Token};
use crate::pins::{PinReason, Pins};

/// A name, perhaps qualified (`a.b.c`), and what stands before it.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// How many parts it has.
    pub parts: u32,
    /// The part before the last, when there is one.
    pub qualifier: Token,
    /// The last part.
    pub last: Token,
    /// The token before the first part.
    pub lead: Token,
    /// The token before [`Name::lead`].
    pub lead_before: Token,
}

/// Tokens remembered: a name of four parts with its dots, the two before it, and what follows.
const REMEMBERED: usize = 16;

/// Parts of a name beyond which what stands before it is forgotten; PostgreSQL has three (database, schema, object).
const PARTS_MAX: u32 = 4;

/// The latest tokens. Their parts are kept apart: a token that was written in parts and is at once copied as a whole makes the
/// processor wait for the writes, which took half of all the time.
#[derive(Debug)]
struct Ring {
    kinds: [Kind; REMEMBERED],
    keywords: [Keyword; REMEMBERED],
    starts: [u32; REMEMBERED],
    ends: [u32; REMEMBERED],
}

impl Ring {
    fn new() -> Self {
        Self {
            kinds: [Kind::End; REMEMBERED],
            keywords: [Keyword::Plain; REMEMBERED],
            starts: [0; REMEMBERED],
            ends: [0; REMEMBERED],
        }
    }

    #[inline]
    fn put(&mut self, number: usize, token: Token) {
        let slot = number % REMEMBERED;
        self.kinds[slot] = token.kind;
        self.keywords[slot] = token.keyword;
        self.starts[slot] = token.start;
        self.ends[slot] = token.end;
    }

    #[inline]
    fn get(&self, number: usize) -> Token {
        let slot = number % REMEMBERED;
        let (kind, keyword) = (self.kinds[slot], self.keywords[slot]);
        Token {
            kind,
            keyword,
            start: self.starts[slot],
            end: self.ends[slot],
        }
    }
}

/// Where the inspection is in its text, and what it has found.
#[derive(Debug)]
pub struct Cursor<'t> {
    lexer: Lexer<'t>,
    /// The latest tokens, by their number.
    tokens: Ring,
    /// How many tokens were read.
    read: usize,
    /// Number of the latest name's first part.
    name_start: usize,
    /// Number of its last part.
    name_end: usize,
    name_parts: u32,
    pins: Pins,
    ends: Pins,
}

impl<'t> Cursor<'t> {
    /// Before the first token.
    #[must_use]
    pub fn new(text: &'t [u8]) -> Self {
        Self {
            lexer: Lexer::new(text),
            tokens: Ring::new(),
            read: 0,
            name_start: 0,
            name_end: 0,
            name_parts: 0,
            pins: Pins::NONE,
            ends: Pins::NONE,
        }
    }

    /// Moves on and gives the next token. A word behind a dot is a name, never a keyword.
    #[inline]
    pub fn advance(&mut self) -> Token {
        let mut token = self.lexer.next();
        self.read = self.read.wrapping_add(1);
        match token.kind {
            Kind::Word | Kind::Quoted | Kind::Escaped => token = self.note_name(token),
            Kind::Dot if matches!(self.bytes(self.previous()).first(), Some(b'p' | b'P')) => {
                self.check_temporary_schema()
            }
            _ => {}
        }
        self.tokens.put(self.read, token);
        token
    }

    /// Adds a reason.
    pub fn pin(&mut self, reason: PinReason) {
        self.pins.add(Pins::of(reason));
    }

    /// What these reasons are for may be gone behind this statement.
    pub fn end(&mut self, reasons: Pins) {
        self.ends.add(reasons);
    }

    /// Reasons for which something may be gone behind what was read so far.
    #[must_use]
    pub fn ends(&self) -> Pins {
        self.ends
    }

    /// Everything found so far.
    #[must_use]
    pub fn pins(&self) -> Pins {
        if self.lexer.unsure() {
            let mut pins = self.pins;
            pins.add(Pins::of(PinReason::UnknownStatement));
            return pins;
        }
        self.pins
    }

    /// The token before the current one.
    #[inline]
    #[must_use]
    pub fn previous(&self) -> Token {
        self.before(self.read, 1)
    }

    /// The token before the previous one.
    #[inline]
    #[must_use]
    pub fn before_previous(&self) -> Token {
        self.before(self.read, 2)
    }

    /// The latest name.
    #[must_use]
    pub fn name(&self) -> Name {
        let last = self.before(self.name_end, 0);
        if self.name_parts > PARTS_MAX {
            let none = Token::NONE;
            return Name {
                parts: self.name_parts,
                qualifier: none,
                last,
                lead: none,
                lead_before: none,
            };
        }
        let (lead, lead_before) = (
            self.before(self.name_start, 1),
            self.before(self.name_start, 2),
        );
        if lead.kind == Kind::Dot {
            // `(value).name`: no single name, and no schema either.
            return Name {
                parts: 2,
                qualifier: Token::NONE,
                last,
                lead,
                lead_before,
            };
        }
        let qualifier = if self.name_parts > 1 {
            self.before(self.name_end, 2)
        } else {
            Token::NONE
        };
        Name {
            parts: self.name_parts,
            qualifier,
            last,
            lead,
            lead_before,
        }
    }

    /// The previous token as a name of one part, where the current one is a word and hence the latest name.
    #[must_use]
    pub fn previous_name(&self) -> Name {
        let (lead, lead_before) = (self.before_previous(), self.before(self.read, 3));
        Name {
            parts: 1,
            qualifier: Token::NONE,
            last: self.previous(),
            lead,
            lead_before,
        }
    }

    #[inline]
    fn before(&self, number: usize, back: usize) -> Token {
        self.tokens.get(number.wrapping_sub(back))
    }

    /// The bytes of a token.
    #[must_use]
    pub fn bytes(&self, token: Token) -> &'t [u8] {
        self.lexer.bytes(token)
    }

    /// Whether a name token is `name` to the server. `name` is lower case.
    #[must_use]
    pub fn is(&self, token: Token, name: &str) -> bool {
        match token.kind {
            Kind::Word => self.bytes(token).eq_ignore_ascii_case(name.as_bytes()),
            Kind::Quoted => self.bytes(token) == name.as_bytes(),
            _ => false,
        }
    }

    /// Keeps track of the latest name. A word behind a dot loses its meaning as a keyword.
    #[inline]
    fn note_name(&mut self, mut token: Token) -> Token {
        match token.kind {
            // Escapes may spell anything.
            Kind::Escaped => self.pin(PinReason::UnknownStatement),
            _ if matches!(token.keyword, Keyword::Temp | Keyword::Temporary) => {
                self.check_temporary()
            }
            _ => {}
        }
        let behind_dot = self.previous().kind == Kind::Dot;
        if behind_dot {
            token.keyword = Keyword::Plain;
        }
        self.name_end = self.read;
        if behind_dot && self.before_previous().is_name() {
            self.name_parts = self.name_parts.saturating_add(1);
        } else {
            self.name_start = self.read;
            self.name_parts = 1;
        }
        token
    }

    /// At `TEMP`: `CREATE TEMP`, `OR REPLACE TEMP`, `LOCAL TEMP`, `INTO TEMP`, but not a table `temp` that rows go into.
    fn check_temporary(&mut self) {
        let rows = matches!(
            self.before_previous().keyword,
            Keyword::Insert | Keyword::Merge
        );
        match self.previous().keyword {
            Keyword::Create | Keyword::Replace | Keyword::Local | Keyword::Global => {
                self.pin(PinReason::TemporaryObject)
            }
            Keyword::Into if !rows => self.pin(PinReason::TemporaryObject),
            _ => {}
        }
    }

    /// At a dot: whether it follows the session's temporary schema, by alias (`pg_temp`) or by name (`pg_temp_3`).
    fn check_temporary_schema(&mut self) {
        const SCHEMA: &[u8] = b"pg_temp";
        let Some((start, rest)) = self.bytes(self.previous()).split_at_checked(SCHEMA.len()) else {
            return;
        };
        let same = match self.previous().kind {
            Kind::Word => start.eq_ignore_ascii_case(SCHEMA),
            Kind::Quoted => start == SCHEMA,
            _ => false,
        };
        if same && matches!(rest.first(), None | Some(b'_')) {
            self.pin(PinReason::TemporaryObject);
        }
    }
}
