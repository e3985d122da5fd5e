//! Texts of several statements, taken apart.

use super::super::keywords::Keyword;
use super::super::lexer::{Kind, Lexer};

/// Statements of one text beyond which none is followed.
const SEVERAL_MAX: usize = 32;

/// The statements of a text, each with what stands around it. `None`: it can't be told for sure where they end.
#[must_use]
pub fn statements(text: &[u8]) -> Option<Vec<&[u8]>> {
    let mut lexer = Lexer::new(text);
    let mut found = Vec::new();
    let (mut start, mut empty, mut depth) = (0, true, 0_usize);
    loop {
        let token = lexer.next();
        match token.kind {
            Kind::Semicolon | Kind::End => {
                let end = match token.kind {
                    Kind::Semicolon => token.start as usize,
                    _ => text.len(),
                };
                if depth > 0 || (!empty && found.len() == SEVERAL_MAX) {
                    return None;
                }
                if !empty {
                    found.push(text.get(start..end)?);
                }
                if token.kind == Kind::End {
                    return (!lexer.unsure()).then_some(found);
                }
                (start, empty) = (token.end as usize, true);
                continue;
            }
            Kind::Open => depth += 1,
            Kind::Close => depth = depth.saturating_sub(1),
            // A body may have semicolons of its own.
            _ if empty && token.keyword == Keyword::Create => return None,
            _ => {}
        }
        empty = false;
    }
}
