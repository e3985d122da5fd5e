//! Tokens of a PostgreSQL statement text, as the server's `scan.l` (versions 10 to 18) cuts them, from bytes of any encoding.
//!
//! Two things the text does not tell: whether `standard_conforming_strings` is off (then `\` escapes in plain strings), and
//! whether an ASCII byte after a high one is the second half of a character (SJIS, BIG5, GBK, UHC, GB18030, JOHAB). The server
//! converts to its own encoding before it cuts tokens. Where the readings would cut differently, [`Lexer::unsure`] is set. A
//! quote, `$`, `*`, `/`, `-`, parenthesis, comma, dot or line end is never a second half in any of these encodings.

use memchr::{memchr, memchr2};

use super::keywords::Keyword;

/// What a token is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The end of the text.
    End,
    /// An unquoted word: keyword or name.
    Word,
    /// A `"quoted"` name; the token's range is what is between the quotes.
    Quoted,
    /// A `U&"…"` name, whose escapes are not read.
    Escaped,
    /// A number, string or `$1`.
    Constant,
    /// `(`
    Open,
    /// `)`
    Close,
    /// `[`
    OpenIndex,
    /// `]`
    CloseIndex,
    /// `,`
    Comma,
    /// `;`
    Semicolon,
    /// `.`
    Dot,
    /// `::`
    Cast,
    /// One character of an operator, or a character that has no meaning.
    Operator,
}

/// One token: its kind and where it is in the text.
#[derive(Clone, Copy, Debug)]
pub struct Token {
    /// What it is.
    pub kind: Kind,
    /// Which keyword, when it is a [`Kind::Word`] that is one.
    pub keyword: Keyword,
    /// Where it starts in the text.
    pub start: u32,
    /// Where it ends.
    pub end: u32,
}

impl Token {
    /// Before the first token.
    pub const NONE: Token = Token {
        kind: Kind::End,
        keyword: Keyword::Plain,
        start: 0,
        end: 0,
    };

    /// Whether it may be a name: a word (also a keyword), or a quoted name.
    #[must_use]
    pub fn is_name(self) -> bool {
        matches!(self.kind, Kind::Word | Kind::Quoted | Kind::Escaped)
    }
}

/// Cuts a text into tokens, comments and white space left out.
#[derive(Debug)]
pub struct Lexer<'t> {
    text: &'t [u8],
    at: usize,
    unsure: bool,
}

impl<'t> Lexer<'t> {
    /// Starts at the text's beginning.
    #[must_use]
    pub fn new(text: &'t [u8]) -> Self {
        Self {
            text,
            at: 0,
            unsure: false,
        }
    }

    /// Whether something was met that the server may read in another way, or refuses.
    #[must_use]
    pub fn unsure(&self) -> bool {
        self.unsure
    }

    /// The bytes of a token.
    #[must_use]
    pub fn bytes(&self, token: Token) -> &'t [u8] {
        self.text
            .get(token.start as usize..token.end as usize)
            .unwrap_or_default()
    }

    /// The next token; at the end of the text [`Kind::End`], again and again.
    #[inline]
    pub fn next(&mut self) -> Token {
        loop {
            let start = self.at;
            let Some(byte) = self.peek(0) else {
                return self.token(Kind::End, start, start);
            };
            match CLASSES[byte as usize] {
                Class::Blank => self.at += 1,
                Class::Letter => return self.word(start),
                Class::Minus if self.peek(1) == Some(b'-') => self.line_comment(),
                Class::Slash if self.peek(1) == Some(b'*') => self.block_comment(),
                class => return self.other(class, start),
            }
        }
    }

    fn other(&mut self, class: Class, start: usize) -> Token {
        match class {
            Class::Digit => self.number(start),
            Class::Quote => self.plain_string(start),
            Class::DoubleQuote => self.quoted_name(),
            Class::Dollar => self.dollar(start),
            Class::Dot if self.peek(1).is_some_and(|b| b.is_ascii_digit()) => self.number(start),
            Class::Dot => self.single(Kind::Dot),
            Class::Colon if self.peek(1) == Some(b':') => {
                self.at += 2;
                self.token(Kind::Cast, start, self.at)
            }
            Class::Open => self.single(Kind::Open),
            Class::Close => self.single(Kind::Close),
            Class::OpenIndex => self.single(Kind::OpenIndex),
            Class::CloseIndex => self.single(Kind::CloseIndex),
            Class::Comma => self.single(Kind::Comma),
            Class::Semicolon => self.single(Kind::Semicolon),
            Class::Nul => {
                // The server's text ends here; that of the caller should have, too.
                self.unsure = true;
                self.single(Kind::Operator)
            }
            Class::Colon
            | Class::Minus
            | Class::Slash
            | Class::Other
            | Class::Blank
            | Class::Letter => self.single(Kind::Operator),
        }
    }

    #[inline]
    fn peek(&self, ahead: usize) -> Option<u8> {
        self.text.get(self.at + ahead).copied()
    }

    fn rest(&self) -> &'t [u8] {
        self.text.get(self.at..).unwrap_or_default()
    }

    fn token(&self, kind: Kind, start: usize, end: usize) -> Token {
        // A message is shorter than 2^30 bytes, see `limits::MESSAGE_MAX`.
        Token {
            kind,
            keyword: Keyword::Plain,
            start: start as u32,
            end: end as u32,
        }
    }

    fn single(&mut self, kind: Kind) -> Token {
        self.at += 1;
        self.token(kind, self.at - 1, self.at)
    }

    /// The text ends inside of a string, name or comment: the server refuses it.
    fn unterminated(&mut self) {
        self.unsure = true;
        self.at = self.text.len();
    }

    fn line_comment(&mut self) {
        self.at =
            memchr2(b'\n', b'\r', self.rest()).map_or(self.text.len(), |found| self.at + found);
    }

    fn block_comment(&mut self) {
        self.at += 2;
        let mut depth = 1_usize;
        while depth > 0 {
            let Some(found) = memchr2(b'*', b'/', self.rest()) else {
                return self.unterminated();
            };
            self.at += found;
            match (self.peek(0), self.peek(1)) {
                (Some(b'*'), Some(b'/')) => depth -= 1,
                (Some(b'/'), Some(b'*')) => depth += 1,
                _ => {
                    self.at += 1;
                    continue;
                }
            }
            self.at += 2;
        }
    }

    #[inline]
    fn word(&mut self, start: usize) -> Token {
        let length = self.rest().iter().take_while(|b| goes_on(**b)).count();
        if length == 1
            && let Some(token) = self.prefixed(start)
        {
            return token;
        }
        self.at += length;
        let word = self.text.get(start..self.at).unwrap_or_default();
        self.check_second_half(word);
        Token {
            keyword: Keyword::of(word),
            ..self.token(Kind::Word, start, self.at)
        }
    }

    /// `E'…'`, `B'…'`, `X'…'`, `N'…'`, `U&'…'`, `U&"…"`: strings and names with a letter in front.
    fn prefixed(&mut self, start: usize) -> Option<Token> {
        match (self.peek(0)? | 0x20, self.peek(1)?) {
            (b'e', b'\'') => {
                self.at += 1;
                Some(self.escape_string(start))
            }
            (b'b' | b'x' | b'n', b'\'') => {
                self.at += 1;
                Some(self.plain_string(start))
            }
            (b'u', b'&') if self.peek(2) == Some(b'\'') => {
                self.at += 2;
                Some(self.plain_string(start))
            }
            (b'u', b'&') if self.peek(2) == Some(b'"') => {
                self.at += 2;
                let name = self.quoted_name();
                Some(Token {
                    kind: Kind::Escaped,
                    ..name
                })
            }
            _ => None,
        }
    }

    /// Doubts a word whose last byte may be the first half of a character.
    fn check_second_half(&mut self, word: &[u8]) {
        if word.last().is_none_or(u8::is_ascii) {
            return;
        }
        self.unsure |= match self.peek(0) {
            Some(0x40..=0x7e) => true,
            // Only JOHAB has these as second halves; a word that is whole in UTF-8 is taken for UTF-8.
            Some(0x3a..=0x3f) => core::str::from_utf8(word).is_err(),
            _ => false,
        };
    }

    fn number(&mut self, start: usize) -> Token {
        self.digits();
        if self.peek(0) == Some(b'.') {
            self.at += 1;
            self.digits();
        }
        if matches!(self.peek(0), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.peek(1), Some(b'+' | b'-')));
            if self.peek(1 + sign).is_some_and(|b| b.is_ascii_digit()) {
                self.at += 1 + sign;
                self.digits();
            }
        }
        self.token(Kind::Constant, start, self.at)
    }

    fn digits(&mut self) {
        self.at += self
            .rest()
            .iter()
            .take_while(|b| b.is_ascii_digit())
            .count();
    }

    /// A string without escapes, from its quote on. `start` is where its letter in front is.
    fn plain_string(&mut self, start: usize) -> Token {
        self.at += 1;
        let content = self.at;
        loop {
            let Some(found) = memchr(b'\'', self.rest()) else {
                self.unterminated();
                break;
            };
            self.at += found;
            self.check_backslashes(content);
            self.at += 1;
            if self.peek(0) != Some(b'\'') {
                break;
            }
            // Two quotes are one; the content goes on behind them.
            self.at += 1;
        }
        self.token(Kind::Constant, start, self.at)
    }

    /// At a quote: whether it would be escaped if backslashes counted. A backslash behind a high byte may be half a character.
    fn check_backslashes(&mut self, content: usize) {
        let before = self.text.get(content..self.at).unwrap_or_default();
        let backslashes = before.iter().rev().take_while(|b| **b == b'\\').count();
        if backslashes == 0 {
            return;
        }
        let high = before
            .iter()
            .rev()
            .nth(backslashes)
            .is_some_and(|b| !b.is_ascii());
        self.unsure |= high || backslashes % 2 == 1;
    }

    /// A string with backslash escapes, from its quote on, and those that continue it on the next lines.
    fn escape_string(&mut self, start: usize) -> Token {
        self.at += 1;
        loop {
            let Some(found) = memchr2(b'\'', b'\\', self.rest()) else {
                self.unterminated();
                break;
            };
            self.at += found;
            if self.peek(0) == Some(b'\\') {
                // Behind a high byte it may be half a character instead.
                self.unsure |= self.text.get(self.at - 1).is_some_and(|b| !b.is_ascii());
                self.at = (self.at + 2).min(self.text.len());
                continue;
            }
            self.at += 1;
            if self.peek(0) == Some(b'\'') || self.continues() {
                self.at += 1;
                continue;
            }
            break;
        }
        self.token(Kind::Constant, start, self.at)
    }

    /// Whether a string that just ended goes on after a line end; then the position is at its next quote.
    fn continues(&mut self) -> bool {
        let end = self.at;
        let mut line_end = false;
        loop {
            match self.peek(0) {
                Some(b'\n' | b'\r') => {
                    line_end = true;
                    self.at += 1;
                }
                Some(byte) if CLASSES[byte as usize] == Class::Blank => self.at += 1,
                Some(b'-') if self.peek(1) == Some(b'-') => self.line_comment(),
                Some(b'\'') if line_end => return true,
                _ => break,
            }
        }
        // Blanks read once more by the next token: twice at most.
        self.at = end;
        false
    }

    fn quoted_name(&mut self) -> Token {
        self.at += 1;
        let content = self.at;
        loop {
            let Some(found) = memchr(b'"', self.rest()) else {
                self.unterminated();
                return self.token(Kind::Quoted, content.min(self.at), self.at);
            };
            self.at += found + 1;
            if self.peek(0) != Some(b'"') {
                break;
            }
            self.at += 1;
        }
        self.token(Kind::Quoted, content, self.at - 1)
    }

    /// `$1`, `$tag$…$tag$`, or a stray dollar.
    fn dollar(&mut self, start: usize) -> Token {
        self.at += 1;
        if self.peek(0).is_some_and(|b| b.is_ascii_digit()) {
            self.digits();
            return self.token(Kind::Constant, start, self.at);
        }
        let tag = self
            .rest()
            .iter()
            .take_while(|b| goes_on(**b) && **b != b'$')
            .count();
        if self.peek(tag) != Some(b'$') {
            return self.token(Kind::Operator, start, self.at);
        }
        self.at += tag + 1;
        let delimiter = self.text.get(start..self.at).unwrap_or_default();
        // No dollar inside of a tag: comparing at each dollar reads no byte twice.
        while let Some(found) = memchr(b'$', self.rest()) {
            self.at += found;
            if self.rest().starts_with(delimiter) {
                self.at += delimiter.len();
                return self.token(Kind::Constant, start, self.at);
            }
            self.at += 1;
        }
        self.unterminated();
        self.token(Kind::Constant, start, self.at)
    }
}

/// What a byte may start.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Other,
    Nul,
    Blank,
    Letter,
    Digit,
    Quote,
    DoubleQuote,
    Dollar,
    Dot,
    Colon,
    Minus,
    Slash,
    Open,
    Close,
    OpenIndex,
    CloseIndex,
    Comma,
    Semicolon,
}

static CLASSES: [Class; 256] = build_classes();

const fn build_classes() -> [Class; 256] {
    let mut classes = [Class::Other; 256];
    let mut byte = 0;
    while byte < 256 {
        classes[byte] = match byte as u8 {
            0 => Class::Nul,
            b' ' | b'\t' | b'\n' | b'\r' | 0x0b | 0x0c => Class::Blank,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' | 0x80..=0xff => Class::Letter,
            b'0'..=b'9' => Class::Digit,
            b'\'' => Class::Quote,
            b'"' => Class::DoubleQuote,
            b'$' => Class::Dollar,
            b'.' => Class::Dot,
            b':' => Class::Colon,
            b'-' => Class::Minus,
            b'/' => Class::Slash,
            b'(' => Class::Open,
            b')' => Class::Close,
            b'[' => Class::OpenIndex,
            b']' => Class::CloseIndex,
            b',' => Class::Comma,
            b';' => Class::Semicolon,
            _ => Class::Other,
        };
        byte += 1;
    }
    classes
}

/// Whether a byte may be inside of an unquoted word.
#[inline]
fn goes_on(byte: u8) -> bool {
    GOES_ON[byte as usize]
}

static GOES_ON: [bool; 256] = build_goes_on();

const fn build_goes_on() -> [bool; 256] {
    let mut goes_on = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        goes_on[byte] = matches!(CLASSES[byte], Class::Letter | Class::Digit | Class::Dollar);
        byte += 1;
    }
    goes_on
}
