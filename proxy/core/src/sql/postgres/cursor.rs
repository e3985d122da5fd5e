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

/// Where the inspection is in its text, and what it has found.
#[derive(Debug)]
pub struct Cursor<'t> {
    lexer: Lexer<'t>,
    current: Token,
    previous: Token,
    before_previous: Token,
    name: Name,
    pins: Pins,
}

impl<'t> Cursor<'t> {
    /// Before the first token.
    #[must_use]
    pub fn new(text: &'t [u8]) -> Self {
        let none = Token::NONE;
        let name = Name {
            parts: 0,
            qualifier: none,
            last: none,
            lead: none,
            lead_before: none,
        };
        Self {
            lexer: Lexer::new(text),
            current: none,
            previous: none,
            before_previous: none,
            name,
            pins: Pins::NONE,
        }
    }

    /// Moves on and gives the next token. A word behind a dot is a name, never a keyword.
    pub fn advance(&mut self) -> Token {
        let mut token = self.lexer.next();
        self.before_previous = self.previous;
        self.previous = self.current;
        match token.kind {
            Kind::Word | Kind::Quoted | Kind::Escaped => token = self.note_name(token),
            Kind::Dot => self.check_temporary_schema(),
            _ => {}
        }
        self.current = token;
        token
    }

    /// Adds a reason.
    pub fn pin(&mut self, reason: PinReason) {
        self.pins.add(Pins::of(reason));
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
    #[must_use]
    pub fn previous(&self) -> Token {
        self.previous
    }

    /// The token before the previous one.
    #[must_use]
    pub fn before_previous(&self) -> Token {
        self.before_previous
    }

    /// The latest name.
    #[must_use]
    pub fn name(&self) -> Name {
        self.name
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

    fn note_name(&mut self, token: Token) -> Token {
        match token.kind {
            // Escapes may spell anything.
            Kind::Escaped => self.pin(PinReason::UnknownStatement),
            _ if matches!(token.keyword, Keyword::Temp | Keyword::Temporary) => {
                self.check_temporary()
            }
            _ => {}
        }
        if self.previous.kind != Kind::Dot {
            let (lead, lead_before) = (self.previous, self.before_previous);
            self.name = Name {
                parts: 1,
                qualifier: Token::NONE,
                last: token,
                lead,
                lead_before,
            };
            return token;
        }
        let token = Token {
            keyword: Keyword::Plain,
            ..token
        };
        if self.before_previous.is_name() {
            self.name.parts += 1;
            self.name.qualifier = self.name.last;
            self.name.last = token;
        } else {
            // `(value).name`: no qualified name, and no schema either.
            let (lead, lead_before) = (self.previous, self.before_previous);
            self.name = Name {
                parts: 2,
                qualifier: Token::NONE,
                last: token,
                lead,
                lead_before,
            };
        }
        token
    }

    /// At `TEMP`: `CREATE TEMP`, `OR REPLACE TEMP`, `LOCAL TEMP`, `INTO TEMP`, but not a table `temp` that rows go into.
    fn check_temporary(&mut self) {
        let rows = matches!(
            self.before_previous.keyword,
            Keyword::Insert | Keyword::Merge
        );
        match self.previous.keyword {
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
        let Some((start, rest)) = self.bytes(self.previous).split_at_checked(SCHEMA.len()) else {
            return;
        };
        let same = match self.previous.kind {
            Kind::Word => start.eq_ignore_ascii_case(SCHEMA),
            Kind::Quoted => start == SCHEMA,
            _ => false,
        };
        if same && matches!(rest.first(), None | Some(b'_')) {
            self.pin(PinReason::TemporaryObject);
        }
    }
}
