//! Texts that speak about prepared statements by their names, in SQL.

use super::keywords::Keyword;
use super::lexer::{Kind, Lexer, Token};
use crate::limits::NAME_MAX;

/// What a text says about prepared statements. The first three are texts of that one statement and nothing else.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Words {
    /// Nothing.
    None,
    /// `DEALLOCATE ALL`.
    DeallocateAll,
    /// `DEALLOCATE name`, the name as PostgreSQL folds it.
    Deallocate(Vec<u8>),
    /// `DISCARD ALL`.
    DiscardAll,
    /// `PREPARE`, `EXECUTE`, one of the above among other statements, or something that could not be read.
    Others,
}

/// Reads a text of which [`super::inspect`] has said that it prepares or discards something.
#[must_use]
pub fn prepared_words(text: &[u8]) -> Words {
    let mut lexer = Lexer::new(text);
    let words = match lexer.next().keyword {
        Keyword::Deallocate => deallocate(&mut lexer),
        Keyword::Discard if lexer.next().keyword == Keyword::All => Words::DiscardAll,
        _ => Words::Others,
    };
    loop {
        match lexer.next().kind {
            Kind::Semicolon => {}
            Kind::End if !lexer.unsure() => return words,
            _ => return Words::Others,
        }
    }
}

fn deallocate(lexer: &mut Lexer<'_>) -> Words {
    let mut token = lexer.next();
    if token.keyword == Keyword::Prepare {
        let next = lexer.next();
        if !next.is_name() {
            // A statement that is called so, or no statement at all; not worth telling apart.
            return Words::Others;
        }
        token = next;
    }
    match token.kind {
        Kind::Word if token.keyword == Keyword::All => Words::DeallocateAll,
        Kind::Word | Kind::Quoted => folded(lexer, token).map_or(Words::Others, Words::Deallocate),
        _ => Words::Others,
    }
}

/// A name as PostgreSQL folds it; `None` where that depends on the server's encoding, or the name is cut off.
fn folded(lexer: &Lexer<'_>, token: Token) -> Option<Vec<u8>> {
    let bytes = lexer.bytes(token);
    if bytes.len() > NAME_MAX || bytes.is_empty() {
        return None;
    }
    if token.kind == Kind::Word {
        return bytes.is_ascii().then(|| bytes.to_ascii_lowercase());
    }
    // A quote inside is written twice.
    let mut name = Vec::with_capacity(bytes.len());
    let mut quoted = false;
    for byte in bytes {
        quoted = *byte == b'"' && !quoted;
        if !quoted {
            name.push(*byte);
        }
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn single_statements_are_told_from_others() {
        let name = |n: &str| Words::Deallocate(n.into());
        for (text, words) in [
            ("DEALLOCATE ALL", Words::DeallocateAll),
            ("deallocate prepare all;", Words::DeallocateAll),
            ("deallocate S_1 ; ;", name("s_1")),
            ("DEALLOCATE /* x */ PREPARE \"A\"\"b\"", name("A\"b")),
            ("deallocate prepare", Words::Others),
            ("discard all", Words::DiscardAll),
            ("discard plans", Words::Others),
            ("deallocate a; select 1", Words::Others),
            ("prepare a as select 1", Words::Others),
            ("execute a", Words::Others),
            ("deallocate \u{fc}", Words::Others),
            ("deallocate 'a'", Words::Others),
            ("deallocate U&\"a\"", Words::Others),
            ("deallocate", Words::Others),
            ("", Words::Others),
        ] {
            assert_eq!(prepared_words(text.as_bytes()), words, "{text}");
        }
    }
}
