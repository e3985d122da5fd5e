//! What a session says, message by message.

use super::*;

/// The types of what a session says to these messages, with the bodies of C, Z and D as text.
fn said(session: &mut Session, messages: &[(u8, &[u8])]) -> Vec<String> {
    let mut out = Vec::new();
    for (kind, body) in messages {
        session.answer(*kind, body, &mut out);
        while session.large() {
            session.more(&mut out);
        }
    }
    let mut splitter = wire::Splitter::default();
    let mut rest = out.as_slice();
    let mut found = Vec::new();
    while let Some((kind, body)) = splitter.next(&mut rest, |_| true).unwrap() {
        let text = String::from_utf8_lossy(body).replace('\0', "");
        found.push(match kind {
            b'C' | b'Z' => format!("{} {text}", kind as char),
            b'D' if body.len() > 100 => format!("D [{}]", body.len()),
            b'D' => format!("D {}", String::from_utf8_lossy(&body[6..])),
            b'E' => format!("E {}", wire::error_field(body, b'C')),
            kind => (kind as char).to_string(),
        });
    }
    found
}

fn query(session: &mut Session, sql: &str) -> Vec<String> {
    said(session, &[(b'Q', format!("{sql}\0").as_bytes())])
}

#[test]
fn a_select_gets_one_row_and_a_literal_itself() {
    let mut s = Session::default();
    assert_eq!(
        query(&mut s, "select * from t"),
        ["T", "D 1", "C SELECT 1", "Z I"]
    );
    assert_eq!(
        query(&mut s, " SELECT 'a1''b' "),
        ["T", "D a1'b", "C SELECT 1", "Z I"]
    );
    assert_eq!(
        query(&mut s, "SELECT 'a', 'b'"),
        ["T", "D 1", "C SELECT 1", "Z I"]
    );
    assert_eq!(
        query(&mut s, "a_word_that_is_longer_than_any"),
        ["T", "D 1", "C SELECT 1", "Z I"]
    );
    assert_eq!(query(&mut s, ""), ["I", "Z I"]);
    assert_eq!(s.worked, 3);
}

#[test]
fn the_transaction_status_follows_the_statements() {
    let mut s = Session::default();
    assert_eq!(query(&mut s, "BEGIN"), ["C BEGIN", "Z T"]);
    assert_eq!(query(&mut s, "null_error 40001"), ["E 40001", "Z E"]);
    assert_eq!(
        query(&mut s, "rollback to savepoint a"),
        ["C ROLLBACK", "Z T"]
    );
    assert_eq!(query(&mut s, "commit;"), ["C COMMIT", "Z I"]);
    assert_eq!(
        query(&mut s, "begin; select ';'; insert into t values (1)"),
        ["C BEGIN", "T", "D ;", "C SELECT 1", "C INSERT 0 1", "Z T"]
    );
    assert_eq!(query(&mut s, "ROLLBACK"), ["C ROLLBACK", "Z I"]);
    assert_eq!(query(&mut s, "DISCARD ALL"), ["C DISCARD ALL", "Z I"]);
}

#[test]
fn the_extended_protocol_is_answered_message_by_message() {
    let mut s = Session::default();
    let parse: &[u8] = b"a\0select $1, $2\0\0\0";
    let bind: &[u8] = b"\0a\0\0\0\0\0\0\0";
    assert_eq!(
        said(&mut s, &[(b'P', parse), (b'D', b"Sa\0"), (b'S', b"")]),
        ["1", "t", "T", "Z I"]
    );
    assert_eq!(
        said(
            &mut s,
            &[
                (b'B', bind),
                (b'D', b"P\0"),
                (b'E', b"\0\0\0\0\0"),
                (b'H', b""),
                (b'S', b"")
            ]
        ),
        ["2", "T", "D 1", "C SELECT 1", "Z I"]
    );
    assert_eq!(said(&mut s, &[(b'C', b"Sa\0"), (b'S', b"")]), ["3", "Z I"]);
    // What is gone is an error, and all up to Sync is skipped.
    assert_eq!(
        said(&mut s, &[(b'B', bind), (b'E', b"\0\0\0\0\0"), (b'S', b"")]),
        ["E 26000", "Z I"]
    );
}

#[test]
fn copies_and_large_results() {
    let mut s = Session::default();
    assert_eq!(query(&mut s, "COPY t FROM STDIN"), ["G"]);
    assert_eq!(
        said(&mut s, &[(b'S', b""), (b'c', b"")]),
        ["C COPY 1", "Z I"]
    );
    assert_eq!(query(&mut s, "copy t from stdin"), ["G"]);
    assert_eq!(said(&mut s, &[(b'f', b"no\0")]), ["E 57014", "Z I"]);
    assert_eq!(
        query(&mut s, "null_bytes 20000"),
        ["T", "D [8198]", "D [8198]", "D [3622]", "C SELECT 1", "Z I"]
    );
    assert_eq!(
        query(&mut s, "copy (null_bytes 8193) to stdout"),
        ["H", "d", "d", "c", "C COPY 1", "Z I"]
    );
}
