//! Random and hostile texts: no panic, and time in proportion to the length.

use std::time::{Duration, Instant};

use super::*;
use crate::limits::STATEMENT_INSPECT_MAX;

/// xorshift64*: enough for a search, and the same everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % bound
    }
}

const PIECES: &[&str] = &[
    "SELECT ",
    "WITH ",
    "a",
    " AS ",
    "(",
    ")",
    ",",
    ";",
    ".",
    "'",
    "''",
    "\"",
    "$$",
    "$a$",
    "$1",
    "E'",
    "U&\"",
    "U&'",
    "\\",
    "--",
    "\n",
    "/*",
    "*/",
    "::",
    "nextval",
    "set_config",
    "true",
    "pg_temp",
    "TEMP ",
    "CREATE ",
    "INTO ",
    " GROUP BY ",
    "CUBE",
    " ON CONFLICT",
    " DO ",
    "SET ",
    "LOCAL ",
    "COPY ",
    " WHERE ",
    "EXPLAIN ",
    "PREPARE ",
    "CASE ",
    " END ",
    "MERGE ",
    "[",
    "]",
    "é",
    "1e5",
    "lower",
    "+",
    "JOIN",
    "VALUES",
    "\0",
    " ",
    "f",
    "ALTER ",
    "TABLE ",
    "INDEX ",
    "RECURSIVE ",
    "LANGUAGE ",
    "C ",
    "DECLARE ",
    "HOLD ",
];

#[test]
fn random_texts_neither_panic_nor_depend_on_their_surroundings() {
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut text = Vec::new();
    let mut shape = String::new();
    for _ in 0..60_000 {
        text.clear();
        for _ in 0..random.below(40) {
            match random.below(8) {
                0 => text.push(random.below(256) as u8),
                _ => text.extend_from_slice(PIECES[random.below(PIECES.len())].as_bytes()),
            }
        }
        let facts = inspect(&text);
        crate::sql::postgres::shape(&text, &mut shape, 80);
        assert!(
            shape.len() <= 80 && !shape.contains(char::is_control),
            "{}",
            text.escape_ascii()
        );

        // A statement more never takes a reason away.
        let alone = facts.pins;
        let mut with_more = text.clone();
        with_more.extend_from_slice(b";SELECT 1");
        if !alone.has(UnknownStatement) {
            assert_eq!(
                alone.without(inspect(&with_more).pins),
                Pins::NONE,
                "{}",
                text.escape_ascii()
            );
        }
        let mut behind = b"SELECT 1;".to_vec();
        behind.extend_from_slice(&text);
        assert_eq!(inspect(&behind).pins, alone, "{}", text.escape_ascii());
    }
}

#[test]
fn two_bytes_are_nothing_known_unless_blank_or_a_parenthesis() {
    let blank = |byte: u8| matches!(byte, b' ' | b'\t'..=b'\r' | b';');
    for first in 0..=255_u8 {
        for second in 0..=255_u8 {
            let text = [first, second];
            let begins = text.iter().copied().find(|b| !blank(*b));
            let harmless = begins.is_none_or(|b| b == b'(') || text == *b"--";
            let unsure = matches!(second, b'\'' | b'"' | 0) && !blank(second);
            assert_eq!(
                inspect(&text).pins.is_empty(),
                harmless && !unsure,
                "{first} {second}"
            );
        }
    }
}

/// The fastest of a few runs, so that a busy machine does not matter.
fn time(text: &[u8]) -> Duration {
    let run = |_| {
        let start = Instant::now();
        std::hint::black_box(inspect(std::hint::black_box(text)));
        start.elapsed()
    };
    (0..7).map(run).min().unwrap_or_default()
}

#[test]
fn hostile_texts_take_linear_time() {
    let mut pieces: Vec<String> = PIECES.iter().map(ToString::to_string).collect();
    for pair in [
        "$a",
        "$a$b",
        "'\\",
        "E'\\'",
        "E'a' \n",
        "E'' -- \n",
        "\"\"",
        "/*/*",
        "*/*",
        "/**/",
        "--\n",
        "((",
        "))",
        "a.",
        "a.b(",
        "WITH a(",
        "set_config(",
        "'a'\n'b'",
        "\\\\'",
        "é",
        "é;",
        "x\u{e9}",
        "a b ",
        "U&\"",
        "$$",
        "CASE ",
        "ON CONFLICT(",
        "a,",
        "::",
    ] {
        pieces.push(pair.to_owned());
    }
    for piece in &pieces {
        for start in [
            "",
            "SELECT ",
            "SELECT '",
            "SELECT $aaaaaaaaaaaaaaaaaaaa$",
            "SELECT E'",
            "/*",
            "SELECT E'a'",
            "CREATE TABLE ",
        ] {
            let text = |length: usize| -> Vec<u8> {
                start
                    .bytes()
                    .chain(piece.bytes().cycle())
                    .take(length)
                    .collect()
            };
            let small = time(&text(STATEMENT_INSPECT_MAX / 16));
            let large = time(&text(STATEMENT_INSPECT_MAX));
            // Sixteen times the text: 256 times the time if it were quadratic.
            let bound = small * 64 + Duration::from_micros(300);
            assert!(large < bound, "{start}{piece}: {small:?} {large:?}");
        }
    }
}
