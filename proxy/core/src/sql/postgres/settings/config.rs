//! `SELECT set_config('name', 'value', false)`, with nothing else in the list: a `SET` in another spelling.

use super::super::keywords::{Category, Keyword};
use super::super::lexer::{Kind, Token};
use super::{Change, Reader, policy};
use crate::limits::SETTING_NAME_MAX;

/// Settings that are lists of names, of which `SET` makes something else than `set_config` does.
const NAME_LISTS: [&[u8]; 5] = [
    b"local_preload_libraries",
    b"session_preload_libraries",
    b"shared_preload_libraries",
    b"temp_tablespaces",
    b"unix_socket_directories",
];

impl Reader<'_> {
    /// Behind `SELECT`: calls of `set_config` with literals, and their aliases.
    pub(super) fn set_configs(&mut self) -> Option<Vec<Change>> {
        let mut changes = Vec::new();
        loop {
            let change = self.set_config()?;
            changes.extend(change);
            let mut token = self.next();
            if token.keyword == Keyword::As {
                token = self.next();
                token = self.alias(token)?;
            } else if token.kind == Kind::Quoted || self.is_plain_word(token) {
                token = self.alias(token)?;
            }
            match token.kind {
                Kind::Comma => {}
                Kind::End | Kind::Semicolon => return Some(changes),
                _ => return None,
            }
        }
    }

    fn is_plain_word(&self, token: Token) -> bool {
        token.kind == Kind::Word && token.keyword == Keyword::Plain
    }

    /// Passes over an alias; the token behind it.
    fn alias(&mut self, token: Token) -> Option<Token> {
        matches!(token.kind, Kind::Word | Kind::Quoted).then(|| self.next())
    }

    /// One call; `Some(None)`: it is for the transaction only.
    fn set_config(&mut self) -> Option<Option<Change>> {
        let mut token = self.next();
        if self.is_word(token, "pg_catalog") {
            if self.next().kind != Kind::Dot {
                return None;
            }
            token = self.next();
        }
        if !self.is_word(token, "set_config") || self.next().kind != Kind::Open {
            return None;
        }
        let name = self.next();
        let name = self.string(name)?;
        self.expect(Kind::Comma)?;
        let value = self.next();
        let value = self.string(value)?;
        self.expect(Kind::Comma)?;
        let local = match self.next().keyword {
            Keyword::True => true,
            Keyword::False => false,
            _ => return None,
        };
        self.expect(Kind::Close)?;
        let change = change(&name, value)?;
        Some((!local).then_some(change))
    }

    fn expect(&mut self, kind: Kind) -> Option<()> {
        (self.next().kind == kind).then_some(())
    }
}

/// What `SET` says the same with. Both literals are in quotes.
fn change(name: &[u8], value: Box<[u8]>) -> Option<Change> {
    let name = policy::unquoted(name).to_ascii_lowercase();
    let plain = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'$' | b'.');
    if name.is_empty() || name.len() > SETTING_NAME_MAX || !name.iter().all(plain) {
        return None;
    }
    let value = match &name[..] {
        b"search_path" => path(policy::unquoted(&value))?,
        name if NAME_LISTS.contains(&name) => return None,
        _ => value,
    };
    policy::may_set(&name, &value).then(|| Change::Set(name.into(), value))
}

/// A `search_path` that the server would show exactly so if it were set name by name.
fn path(text: &[u8]) -> Option<Box<[u8]>> {
    let text = core::str::from_utf8(text).ok()?;
    let sound = |name: &str| {
        let plain = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let word = name.bytes().all(plain) && !name.starts_with(|c: char| c.is_ascii_digit());
        let category = Keyword::of(name.as_bytes()).category();
        let free = matches!(category, Category::NotKeyword | Category::Unreserved);
        name == "\"$user\"" || (word && free && !name.is_empty())
    };
    if !text.split(", ").all(sound) {
        return None;
    }
    let names = text.split(", ").map(|name| name.trim_matches('"'));
    let literals: Vec<String> = names.map(|name| format!("'{name}'")).collect();
    Some(literals.join(", ").into_bytes().into())
}
