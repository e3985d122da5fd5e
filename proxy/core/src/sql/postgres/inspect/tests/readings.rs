//! Texts that the server may cut into tokens in more than one way, and the edges of each kind of token.

use super::*;

fn bytes(table: &[(&[u8], &[PinReason])]) {
    for (text, expected) in table {
        assert_eq!(pins_of(text), *expected, "{}", text.escape_ascii());
    }
}

#[test]
fn strings_and_names() {
    check(&[
        ("SELECT 'it''s', ''", &[]),
        ("SELECT 'a' -- x\n 'b', f(1)", &[UnknownCode]),
        ("SELECT E'it\\'s', f(1)", &[UnknownCode]),
        ("SELECT E'a' -- '\n '\\', f(1) --'", &[]),
        (
            "SELECT E'a' '\\', f(1) --'",
            &[UnknownCode, UnknownStatement],
        ),
        ("SELECT e'\\\\', f(1)", &[UnknownCode]),
        ("SELECT B'01', X'1F', N'a', U&'\\0061' UESCAPE '!'", &[]),
        ("SELECT xE'a'", &[]),
        ("SELECT $$f(1)$$, $a$ $$ $b$ f(1) $a$, $1", &[]),
        ("SELECT $a$ $ab$ $A$ f(1) $a$", &[]),
        ("SELECT a$b$ , f(1) , c$b$", &[UnknownCode]),
        ("SELECT \"a\"\"(\", \"b\"", &[]),
        ("SELECT \"a\"\"b\"(1)", &[UnknownCode]),
        ("SELECT 1.5e-3, .5, 1., 1e5, 0x1F, 1_000", &[]),
        (
            "SELECT '{\"a\": 1}'::jsonb ? 'a', a @> b, a #>> '{b}', a -> 'b' ->> 0, a ?| b, a ~* 'x', a || b",
            &[],
        ),
        ("SELECT @-5, !!5, |/ 4, a <-> b", &[]),
        ("SELECT 1 */* f(1) */2", &[]),
        ("SELECT 1 +-- f(1)\n2", &[]),
        ("SELECT /* /* */ f(1) */ 1", &[]),
        ("SELECT /*/ f(1) */ 1", &[]),
        ("SELECT 1 -- f(1)\r, f(1)", &[UnknownCode]),
    ]);
}

#[test]
fn what_does_not_end() {
    for text in [
        "SELECT 'a",
        "SELECT E'a\\'",
        "SELECT \"a",
        "SELECT $a$ $b$",
        "SELECT /* /* */",
        "SELECT U&\"a",
        "SELECT E'\\",
    ] {
        assert_eq!(pins_of(text.as_bytes()), [UnknownStatement], "{text}");
    }
    assert_eq!(pins_of(b"SELECT 1\0; LISTEN a"), [Listen, UnknownStatement]);
    assert_eq!(pins_of(b"\0"), [UnknownStatement]);
}

#[test]
fn backslashes_in_plain_strings() {
    check(&[
        // The string ends at the same place whether backslashes count or not.
        ("SELECT 'C:\\dir\\file', '\\\\'", &[]),
        ("SELECT '\\d+'", &[]),
        ("SELECT 'a\\', f(1), '", &[UnknownCode, UnknownStatement]),
        ("SELECT 'a\\\\\\'", &[UnknownStatement]),
        ("SELECT 'a\\''b'", &[UnknownStatement]),
        ("SELECT '\\'", &[UnknownStatement]),
    ]);
}

#[test]
fn encodings_with_ascii_second_halves() {
    bytes(&[
        // SJIS 表 is 95 5c: a backslash as second half.
        (b"SELECT E'\x95\x5c'", &[UnknownStatement]),
        (b"SELECT E'\\\x95\x5c'", &[UnknownStatement]),
        (b"SELECT '\x95\x5c'", &[UnknownStatement]),
        (b"SELECT '\x95\x5c\\'", &[UnknownStatement]),
        (b"SELECT '\x95\x5c '", &[]),
        (b"SELECT \"\x95\x5c\" FROM t", &[]),
        (b"SELECT \x95\x5c(1)", &[UnknownStatement]),
        // SJIS ポ is 83 7c: `|` as second half hides that the name is not `lower`.
        (b"SELECT \x83\x7clower(1)", &[UnknownStatement]),
        (b"SELECT \x83\x41lower(1)", &[UnknownCode]),
        // JOHAB has `;` as second half.
        (b"SELECT \x88\x3b(1)", &[UnknownStatement]),
        (
            "SELECT größe, имя FROM t WHERE имя='x' ORDER BY größe;".as_bytes(),
            &[],
        ),
        (
            "SELECT имя::text, 'größe\\'".as_bytes(),
            &[UnknownStatement],
        ),
        ("SELECT имя(1)".as_bytes(), &[UnknownCode]),
        ("SELECT E'größe\\n', E'é \\n'".as_bytes(), &[]),
        ("SELECT E'é\\n'".as_bytes(), &[UnknownStatement]),
        ("SELECT имя||'x'".as_bytes(), &[UnknownStatement]),
        (b"SELECT '\xff\xfe' , \"\xff\"", &[]),
    ]);
}

#[test]
fn statements_that_add_rows_may_call_nextval_unseen() {
    for text in [
        "INSERT INTO t VALUES (1)",
        "select 1; insert into t default values",
        "WITH x AS (INSERT INTO t VALUES (1) RETURNING a) SELECT * FROM x",
        "MERGE INTO t USING s ON t.a = s.a WHEN NOT MATCHED THEN INSERT VALUES (1)",
        "COPY t (a) FROM STDIN",
        "EXPLAIN ANALYZE INSERT INTO t VALUES (1)",
    ] {
        assert!(inspect(text.as_bytes()).sequences.fed, "{text}");
    }
    for text in [
        "SELECT a FROM t",
        "UPDATE t SET a = 1",
        "DELETE FROM t",
        "COPY t TO STDOUT",
        "COPY (SELECT a FROM t) TO STDOUT",
        "SELECT 'INSERT INTO t'",
    ] {
        assert!(!inspect(text.as_bytes()).sequences.fed, "{text}");
    }
}
