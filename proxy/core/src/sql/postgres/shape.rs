//! The text of a statement without its values, for one log line.

use super::lexer::{Kind, Lexer, Token};

/// What stands at the end of a text that was cut.
const CUT: &str = "…";

/// Writes `text` into `out`, in place of what is there, with every number and string as `?`, without comments and control
/// characters, at most `max` bytes. `$1` stays. From where the text can't be read for sure nothing is written but `…`: what looks
/// like SQL there may be the inside of a string, hence a secret.
pub fn shape(text: &[u8], out: &mut String, max: usize) {
    out.clear();
    let mut lexer = Lexer::new(text);
    let mut end = 0;
    loop {
        let token = lexer.next();
        if lexer.unsure() {
            return cut(out, max);
        }
        if token.kind == Kind::End {
            return;
        }
        // Neighbours stay neighbours; all that was between others becomes one blank. A quoted name's range is without
        // its quotes.
        let quotes = u32::from(matches!(token.kind, Kind::Quoted | Kind::Escaped));
        if end != 0 && token.start.saturating_sub(quotes) > end && !push(out, " ", max) {
            return cut(out, max);
        }
        end = token.end.saturating_add(quotes);
        if !push_token(out, token, lexer.bytes(token), max) {
            return cut(out, max);
        }
    }
}

fn push_token(out: &mut String, token: Token, bytes: &[u8], max: usize) -> bool {
    match token.kind {
        Kind::Constant if !is_parameter(bytes) => push(out, "?", max),
        Kind::Quoted => push(out, "\"", max) && push_bytes(out, bytes, max) && push(out, "\"", max),
        Kind::Escaped => {
            push(out, "U&\"", max) && push_bytes(out, bytes, max) && push(out, "\"", max)
        }
        _ => push_bytes(out, bytes, max),
    }
}

fn is_parameter(bytes: &[u8]) -> bool {
    bytes
        .strip_prefix(b"$")
        .is_some_and(|number| number.iter().all(u8::is_ascii_digit))
}

fn push_bytes(out: &mut String, bytes: &[u8], max: usize) -> bool {
    bytes.utf8_chunks().all(|chunk| {
        let readable = chunk
            .valid()
            .chars()
            .filter(|c| !c.is_control())
            .all(|c| push_char(out, c, max));
        readable && (chunk.invalid().is_empty() || push_char(out, char::REPLACEMENT_CHARACTER, max))
    })
}

fn push_char(out: &mut String, character: char, max: usize) -> bool {
    push(out, character.encode_utf8(&mut [0; 4]), max)
}

/// False if there is no room.
fn push(out: &mut String, piece: &str, max: usize) -> bool {
    let fits = out.len() + piece.len() <= max;
    if fits {
        out.push_str(piece);
    }
    fits
}

fn cut(out: &mut String, max: usize) {
    while out.len() + CUT.len() > max {
        if out.pop().is_none() {
            return;
        }
    }
    out.push_str(CUT);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shaped(text: &[u8], max: usize) -> String {
        let mut out = String::from("old");
        shape(text, &mut out, max);
        assert!(out.len() <= max);
        out
    }

    #[test]
    fn values_become_question_marks() {
        let table: &[(&str, &str)] = &[
            ("", ""),
            ("  -- only a comment\n", ""),
            (
                "SELECT 'secret', 12.5e3, E'a\\'b', $$secret$$, $1",
                "SELECT ?, ?, ?, ?, $1",
            ),
            (
                "select\n\ta /* secret */ from  t -- secret",
                "select a from t",
            ),
            ("set x='secret'", "set x=?"),
            (
                "alter role \"some\"\"one\" password 'secret'",
                "alter role \"some\"\"one\" password ?",
            ),
            (
                "select \"a\".\"b\"::text||'x'",
                "select \"a\".\"b\"::text||?",
            ),
            (
                "select U&\"a\\0062\" , B'01', U&'secret'",
                "select U&\"a\\0062\" , ?, ?",
            ),
            ("select 'a' 'b'", "select ? ?"),
            ("select E'a'\n'secret'", "select ?"),
            ("select größe", "select größe"),
            ("select \"a\u{7}\u{1b}[31mb\"", "select \"a[31mb\""),
        ];
        for (text, expected) in table {
            assert_eq!(shaped(text.as_bytes(), 200), *expected, "{text}");
        }
        assert_eq!(shaped(b"select \"a\xffb\"", 200), "select \"a\u{fffd}b\"");
    }

    #[test]
    fn what_is_unsure_is_not_shown() {
        for text in [
            "select 'a\\' , secret, ' ",
            "select 'secret",
            "select $a$secret",
            "select /* secret",
            "select \"secret",
        ] {
            let shaped = shaped(text.as_bytes(), 200);
            assert!(!shaped.contains("secret"), "{text}: {shaped}");
            assert!(shaped.ends_with(CUT), "{text}: {shaped}");
        }
    }

    #[test]
    fn it_is_bounded_at_a_character() {
        assert_eq!(shaped(b"select abcdefgh", 10), "select …");
        assert_eq!(shaped("üüüüü".as_bytes(), 8), "üü…");
        assert_eq!(shaped(b"select 1", 8), "select ?");
        assert_eq!(shaped(b"select", 2), "");
        assert_eq!(shaped(b"select", 0), "");
    }
}
