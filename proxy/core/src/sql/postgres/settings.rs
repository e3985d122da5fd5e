//! Texts of one statement that change settings for the rest of the session, as they are written down to be said again to another
//! server connection; and texts that end a transaction or move between savepoints, since settings follow transactions.
//!
//! Values are never interpreted: what a client wrote is what is said again. So nothing is taken whose meaning depends on anything
//! but itself: text that is not ASCII (`client_encoding`), backslashes (`standard_conforming_strings`), settings that live in
//! their transaction. What is not taken pins, see [`policy`].

mod config;
pub mod policy;
mod several;

pub use several::statements;

use super::keywords::Keyword;
use super::lexer::{Kind, Lexer, Token};
use crate::limits::{NAME_MAX, SETTING_NAME_MAX, SETTING_VALUE_MAX};

/// A change of settings that lasts.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Change {
    /// `SET name TO value`: the name in lower case, the value as it stands in SQL.
    Set(Box<[u8]>, Box<[u8]>),
    /// `RESET name`, `SET name TO DEFAULT`.
    Reset(Box<[u8]>),
    /// `RESET ALL`: all but who the session is.
    ResetAll,
    /// `DISCARD ALL`.
    Discard,
}

/// What a `DISCARD` discards, of what outlasts a transaction and is followed.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Discard {
    /// Everything.
    All,
    /// What the session remembers of sequences.
    Sequences,
}

/// What a text does to the transaction.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Point {
    /// `COMMIT`, `ROLLBACK` and the like: ends all of it.
    End,
    /// `SAVEPOINT name`.
    Savepoint(Box<[u8]>),
    /// `RELEASE name`.
    Release(Box<[u8]>),
    /// `ROLLBACK TO name`.
    BackTo(Box<[u8]>),
}

/// The changes that a text of one statement makes; `None`: it can't be followed.
#[must_use]
pub fn changes(text: &[u8]) -> Option<Vec<Change>> {
    let mut reader = Reader {
        lexer: Lexer::new(text),
    };
    let changes = match reader.next().keyword {
        Keyword::Set => reader.set()?,
        Keyword::Reset => vec![reader.reset()?],
        Keyword::Select => return reader.set_configs().filter(|_| reader.is_at_end()),
        _ => return None,
    };
    reader.is_at_end().then_some(changes)
}

/// What a text of one statement discards; `None`: nothing that is followed.
#[must_use]
pub fn discard(text: &[u8]) -> Option<Discard> {
    let mut reader = Reader {
        lexer: Lexer::new(text),
    };
    if reader.next().keyword != Keyword::Discard {
        return None;
    }
    let what = match reader.next().keyword {
        Keyword::All => Discard::All,
        Keyword::Sequences => Discard::Sequences,
        _ => return None,
    };
    reader.is_at_end().then_some(what)
}

/// What a text of one statement does to the transaction; `None`: nothing, or it can't be told.
#[must_use]
pub fn point(text: &[u8]) -> Option<Point> {
    let mut reader = Reader {
        lexer: Lexer::new(text),
    };
    match reader.next().keyword {
        Keyword::Commit | Keyword::End => {
            // COMMIT PREPARED is no end, but then the session has no transaction that could end.
            Some(Point::End)
        }
        Keyword::Rollback | Keyword::Abort => reader.rollback(),
        Keyword::Savepoint => {
            let name = reader.next();
            reader.point_name(name).map(Point::Savepoint)
        }
        Keyword::Release => {
            let mut name = reader.next();
            if name.keyword == Keyword::Savepoint {
                name = reader.next();
            }
            reader.point_name(name).map(Point::Release)
        }
        _ => None,
    }
}

struct Reader<'t> {
    lexer: Lexer<'t>,
}

impl<'t> Reader<'t> {
    fn next(&mut self) -> Token {
        self.lexer.next()
    }

    /// Nothing comes any more, and all before it was read as the server reads it.
    fn is_at_end(&mut self) -> bool {
        loop {
            match self.next().kind {
                Kind::Semicolon => {}
                Kind::End => return !self.lexer.unsure(),
                _ => return false,
            }
        }
    }

    fn is_word(&self, token: Token, word: &str) -> bool {
        token.kind == Kind::Word
            && self
                .lexer
                .bytes(token)
                .eq_ignore_ascii_case(word.as_bytes())
    }

    // ---- SET and RESET -------------------------------------------------------------------------------------------

    fn set(&mut self) -> Option<Vec<Change>> {
        let mut token = self.next();
        if token.keyword == Keyword::Session {
            token = self.next();
            match token.keyword {
                Keyword::Characteristics => return self.characteristics(),
                Keyword::Authorization => {
                    return self.identity(policy::SESSION_USER).map(|one| vec![one]);
                }
                _ => {}
            }
        }
        let one = match token.keyword {
            Keyword::Time => self.time_zone()?,
            Keyword::Names => self.names()?,
            Keyword::Schema => {
                let value = self.next();
                Change::Set(b"search_path"[..].into(), self.string(value)?)
            }
            Keyword::Role => self.identity(policy::ROLE)?,
            // Statements of their own, or names that are better not guessed at.
            Keyword::Local
            | Keyword::Session
            | Keyword::Authorization
            | Keyword::Transaction
            | Keyword::Constraints
            | Keyword::Catalog
            | Keyword::Xml => return None,
            _ => self.assignment(token)?,
        };
        match &one {
            Change::Set(name, value) if !policy::may_set(name, value) => None,
            Change::Reset(name) if !policy::may_follow(name) => None,
            _ => Some(vec![one]),
        }
    }

    fn reset(&mut self) -> Option<Change> {
        let token = self.next();
        match token.keyword {
            Keyword::All => Some(Change::ResetAll),
            Keyword::Time => (self.next().keyword == Keyword::Zone)
                .then(|| Change::Reset(b"timezone"[..].into())),
            Keyword::Session => (self.next().keyword == Keyword::Authorization)
                .then(|| Change::Reset(policy::SESSION_USER.into())),
            Keyword::Transaction => None,
            _ => {
                let (name, next) = self.name(token)?;
                let ends = matches!(next.kind, Kind::End | Kind::Semicolon);
                (ends && policy::may_follow(&name)).then_some(Change::Reset(name))
            }
        }
    }

    /// `SET ROLE name`, `SET SESSION AUTHORIZATION name`.
    fn identity(&mut self, setting: &[u8]) -> Option<Change> {
        let mut value = self.next();
        if value.keyword == Keyword::To || self.lexer.bytes(value) == b"=" {
            value = self.next();
        }
        if value.keyword == Keyword::Default {
            return Some(Change::Reset(setting.into()));
        }
        let bytes = self.lexer.bytes(value);
        let plain = !bytes.is_empty() && is_sound(bytes) && !bytes.contains(&b'\'');
        let name = match value.kind {
            Kind::Word if plain => bytes.to_ascii_lowercase(),
            Kind::Quoted if plain && !bytes.contains(&b'"') => bytes.to_vec(),
            _ => return self.string(value).map(|v| Change::Set(setting.into(), v)),
        };
        let value = [b"'", &name[..], b"'"].concat();
        Some(Change::Set(setting.into(), value.into()))
    }

    /// `SET TIME ZONE value`.
    fn time_zone(&mut self) -> Option<Change> {
        if self.next().keyword != Keyword::Zone {
            return None;
        }
        let value = self.next();
        if matches!(value.keyword, Keyword::Local | Keyword::Default) {
            return Some(Change::Reset(b"timezone"[..].into()));
        }
        // INTERVAL '…' has no other spelling.
        if value.keyword == Keyword::Interval {
            return None;
        }
        let mut text = Vec::new();
        self.item(value, &mut text)?;
        Some(Change::Set(b"timezone"[..].into(), text.into()))
    }

    /// `SET NAMES value`.
    fn names(&mut self) -> Option<Change> {
        let name = || b"client_encoding"[..].into();
        let value = self.next();
        match value.kind {
            Kind::End | Kind::Semicolon => Some(Change::Reset(name())),
            _ if value.keyword == Keyword::Default => Some(Change::Reset(name())),
            _ => Some(Change::Set(name(), self.string(value)?)),
        }
    }

    /// `SET name TO value, …`.
    fn assignment(&mut self, first: Token) -> Option<Change> {
        let (name, sign) = self.name(first)?;
        let equals = sign.kind == Kind::Operator && self.lexer.bytes(sign) == b"=";
        if !equals && sign.keyword != Keyword::To {
            return None;
        }
        let mut value = self.next();
        if value.keyword == Keyword::Default {
            return Some(Change::Reset(name));
        }
        let mut text = Vec::new();
        loop {
            self.item(value, &mut text)?;
            if text.len() > SETTING_VALUE_MAX {
                return None;
            }
            match self.next().kind {
                Kind::Comma => text.extend_from_slice(b", "),
                Kind::End | Kind::Semicolon => break,
                _ => return None,
            }
            value = self.next();
        }
        Some(Change::Set(name, text.into()))
    }

    /// A setting's name, folded as PostgreSQL looks it up, and the token behind it.
    fn name(&mut self, first: Token) -> Option<(Box<[u8]>, Token)> {
        let mut name = Vec::new();
        let mut part = first;
        loop {
            let bytes = self.lexer.bytes(part);
            let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$');
            let sound = matches!(part.kind, Kind::Word | Kind::Quoted)
                && !bytes.is_empty()
                && bytes.iter().all(plain);
            if !sound || name.len() + bytes.len() > SETTING_NAME_MAX {
                return None;
            }
            name.extend(bytes.iter().map(u8::to_ascii_lowercase));
            let next = self.next();
            if next.kind != Kind::Dot {
                return Some((name.into(), next));
            }
            name.push(b'.');
            part = self.next();
        }
    }

    /// One value of a list, appended as it is to be written again.
    fn item(&mut self, token: Token, text: &mut Vec<u8>) -> Option<()> {
        let bytes = self.lexer.bytes(token);
        match token.kind {
            Kind::Word if bytes.iter().all(u8::is_ascii) => {
                text.extend(bytes.iter().map(u8::to_ascii_lowercase))
            }
            Kind::Quoted if is_sound(bytes) => {
                text.push(b'"');
                text.extend_from_slice(bytes);
                text.push(b'"');
            }
            Kind::Constant => self.constant(token, text)?,
            Kind::Operator if matches!(bytes, b"-" | b"+") => {
                let number = self.next();
                if !self
                    .lexer
                    .bytes(number)
                    .first()
                    .is_some_and(u8::is_ascii_digit)
                {
                    return None;
                }
                text.extend_from_slice(bytes);
                self.constant(number, text)?;
            }
            _ => return None,
        }
        Some(())
    }

    fn constant(&self, token: Token, text: &mut Vec<u8>) -> Option<()> {
        let bytes = self.lexer.bytes(token);
        let known = matches!(bytes.first(), Some(b'\'' | b'.' | b'0'..=b'9'));
        if token.kind != Kind::Constant || !known || !is_sound(bytes) {
            return None;
        }
        text.extend_from_slice(bytes);
        Some(())
    }

    /// A string and nothing else.
    fn string(&self, token: Token) -> Option<Box<[u8]>> {
        let mut text = Vec::new();
        self.constant(token, &mut text)?;
        (text.first() == Some(&b'\'') && text.len() <= SETTING_VALUE_MAX).then(|| text.into())
    }

    /// `SET SESSION CHARACTERISTICS AS TRANSACTION mode, …`.
    fn characteristics(&mut self) -> Option<Vec<Change>> {
        if self.next().keyword != Keyword::As || self.next().keyword != Keyword::Transaction {
            return None;
        }
        let mut modes = Vec::new();
        let mut token = self.next();
        loop {
            let (name, value) = self.mode(token)?;
            modes.push(Change::Set(name.as_bytes().into(), value.as_bytes().into()));
            token = self.next();
            match token.kind {
                Kind::End | Kind::Semicolon => return Some(modes),
                Kind::Comma => token = self.next(),
                _ => {}
            }
            if modes.len() > 3 {
                return None;
            }
        }
    }

    fn mode(&mut self, token: Token) -> Option<(&'static str, &'static str)> {
        match token.keyword {
            Keyword::Isolation => {
                if self.next().keyword != Keyword::Level {
                    return None;
                }
                self.level()
                    .map(|level| ("default_transaction_isolation", level))
            }
            Keyword::Read => {
                let which = self.next();
                let only = self.is_word(which, "only");
                (only || self.is_word(which, "write")).then_some((
                    "default_transaction_read_only",
                    if only { "on" } else { "off" },
                ))
            }
            Keyword::Not => (self.next().keyword == Keyword::Deferrable)
                .then_some(("default_transaction_deferrable", "off")),
            Keyword::Deferrable => Some(("default_transaction_deferrable", "on")),
            _ => None,
        }
    }

    fn level(&mut self) -> Option<&'static str> {
        let first = self.next();
        if first.keyword == Keyword::Serializable {
            return Some("'serializable'");
        }
        let second = self.next();
        match first.keyword {
            Keyword::Repeatable if self.is_word(second, "read") => Some("'repeatable read'"),
            Keyword::Read if self.is_word(second, "committed") => Some("'read committed'"),
            Keyword::Read if self.is_word(second, "uncommitted") => Some("'read uncommitted'"),
            _ => None,
        }
    }

    // ---- transactions --------------------------------------------------------------------------------------------

    /// Behind `ROLLBACK`: `[WORK | TRANSACTION] [TO [SAVEPOINT] name | AND [NO] CHAIN]`.
    fn rollback(&mut self) -> Option<Point> {
        let mut token = self.next();
        if matches!(token.keyword, Keyword::Work | Keyword::Transaction) {
            token = self.next();
        }
        if token.keyword != Keyword::To {
            return Some(Point::End);
        }
        token = self.next();
        if token.keyword == Keyword::Savepoint {
            token = self.next();
        }
        self.point_name(token).map(Point::BackTo)
    }

    fn point_name(&mut self, token: Token) -> Option<Box<[u8]>> {
        let bytes = self.lexer.bytes(token);
        let plain = !bytes.is_empty() && bytes.len() <= NAME_MAX && is_sound(bytes);
        let name = match token.kind {
            Kind::Word if plain => bytes.to_ascii_lowercase().into(),
            Kind::Quoted if plain && !bytes.contains(&b'"') => bytes.into(),
            _ => return None,
        };
        self.is_at_end().then_some(name)
    }
}

/// Means the same to every server, whatever its settings.
fn is_sound(bytes: &[u8]) -> bool {
    bytes
        .iter()
        .all(|b| matches!(b, 0x20..=0x7e) && *b != b'\\')
}

#[cfg(test)]
mod tests;
