//! Which text is read, which is not, and what of a message is kept meanwhile.

use super::kit::{Pieces, Talk, client, everywhere, message, parse, query};
use crate::limits::{
    LONG_STATEMENT_MAX, LONG_STATEMENTS_MAX, NAME_INSPECT_MAX, STATEMENT_INSPECT_MAX,
};
use crate::pins::{PinReason, Pins};

fn pins_of(bytes: &[u8]) -> Pins {
    let mut talk = Talk::new(Pieces::Whole);
    talk.client(bytes);
    assert_eq!(talk.to_server, bytes);
    let mut cut = Talk::new(Pieces::Random(bytes.len() as u64 + 1));
    cut.client(bytes);
    assert_eq!(cut.to_server, bytes);
    assert_eq!(cut.pins, talk.pins);
    talk.pins
}

#[test]
fn text_of_queries_and_parses_pins() {
    let set = b"set work_mem = 1";
    let setting = Pins::of(PinReason::Setting);
    assert_eq!(pins_of(&query(b"select 1")), Pins::NONE);
    // Followed instead.
    assert_eq!(pins_of(&query(set)), Pins::NONE);
    assert_eq!(pins_of(&query(b"set work_mem = 1; select 1")), Pins::NONE);
    assert_eq!(pins_of(&query(b"set temp_buffers = 8")), setting);
    assert_eq!(pins_of(&parse(b"", b"select $1")), Pins::NONE);
    assert_eq!(pins_of(&parse(b"", set)), Pins::NONE);
    let sync = message(b'S', b"");
    assert_eq!(pins_of(&[parse(b"", set), sync].concat()), setting);
    let both = pins_of(&parse(b"name", set));
    assert!(both.has(PinReason::Setting) && both.has(PinReason::PreparedStatement));
    assert_eq!(
        pins_of(&parse(b"name", b"select $1")),
        Pins::of(PinReason::PreparedStatement)
    );
    let pins = query(b"set temp_buffers = 8");
    let all = [pins, query(b"listen x"), query(b"select 1")].concat();
    assert!(pins_of(&all).has(PinReason::Setting) && pins_of(&all).has(PinReason::Listen));
}

#[test]
fn text_ends_at_the_first_nul_or_with_the_message() {
    assert_eq!(
        pins_of(&message(b'Q', b"select 1\0set temp_buffers = 8\0")),
        Pins::NONE
    );
    assert!(pins_of(&message(b'Q', b"set temp_buffers = 8")).has(PinReason::Setting));
    let _ = pins_of(&message(b'Q', b""));
    assert!(pins_of(&message(b'P', b"name")).has(PinReason::PreparedStatement));
    assert!(pins_of(&message(b'P', b"")).has(PinReason::LargeStatement));
    assert!(pins_of(&message(b'P', b"\0no end")).has(PinReason::LargeStatement));
    for tag in *b"BCDEF" {
        let mut talk = Talk::new(Pieces::Whole);
        talk.client(&message(tag, b""));
        assert_eq!(talk.end, None);
    }
}

#[test]
fn text_up_to_the_limit_is_read_and_longer_text_pins_unread() {
    let at_limit = vec![b' '; STATEMENT_INSPECT_MAX];
    let above = vec![b' '; STATEMENT_INSPECT_MAX + 1];
    let large = Pins::of(PinReason::LargeStatement);
    assert_eq!(pins_of(&query(&at_limit)), Pins::NONE);
    assert_eq!(pins_of(&query(&above)), large);
    assert_eq!(pins_of(&parse(b"", &at_limit)), Pins::NONE);
    assert_eq!(pins_of(&parse(b"", &above)), large);
    assert_eq!(pins_of(&parse(b"", &vec![b' '; 100_000])), large);
    let named = pins_of(&parse(b"name", &above));
    assert!(named.has(PinReason::PreparedStatement) && named.has(PinReason::LargeStatement));
    // Parameter types behind a readable text do not make it long.
    let types = [b"\0select 1\0\x7f\xff", &[0; 4 * 0x7fff][..]].concat();
    assert_eq!(pins_of(&message(b'P', &types)), Pins::NONE);
}

#[test]
fn a_large_statement_streams_and_is_not_collected() {
    let mut talk = Talk::new(Pieces::Whole);
    let long = query(&vec![b'x'; 1_000_000]);
    for piece in long.chunks(1000) {
        let out = talk.conversation.client(piece);
        assert!(out.head.is_empty());
        assert_eq!((out.start, out.end), (0, piece.len()));
    }
    assert_eq!(talk.conversation.owed(), 1);
}

#[test]
fn only_the_deciding_part_is_kept() {
    let bind = message(b'B', &[b"portal\0name\0", &[1; 1_000_000][..]].concat());
    let parse = parse(b"", &vec![b'x'; 1_000_000]);
    for (long, most) in [
        (bind, 2 * NAME_INSPECT_MAX + 7),
        (parse, STATEMENT_INSPECT_MAX + NAME_INSPECT_MAX + 7),
        (message(b'd', &vec![1; 1_000_000]), 5),
        (message(b'F', &vec![1; 1_000_000]), 9),
    ] {
        let mut talk = Talk::lent(Pieces::Whole);
        let mut seen = Vec::new();
        for piece in long.chunks(3) {
            let out = talk.conversation.client(piece);
            seen.extend_from_slice(&out.head);
            seen.extend_from_slice(&piece[out.start..out.end]);
            assert!(talk.conversation.client.kept.len() <= most);
        }
        assert!(seen == long);
        assert_eq!(talk.conversation.client.kept.capacity(), 0);
    }
}

#[test]
fn nothing_goes_on_before_the_text_is_read() {
    let mut talk = Talk::new(Pieces::Bytes);
    for bytes in [client("Q"), client("P"), client("P*")] {
        talk.client(&bytes[..bytes.len() - 1]);
        assert_eq!((&talk.sent()[..], talk.conversation.owed()), (&b""[..], 0));
        assert!(!talk.needs_server);
        talk.client(&bytes[bytes.len() - 1..]);
        assert_eq!(talk.sent(), bytes);
        talk = Talk::new(Pieces::Bytes);
    }
}

#[test]
fn large_object_functions_do_not_pin() {
    let call = |oid: u32| message(b'F', &[&oid.to_be_bytes()[..], &[0; 6]].concat());
    for oid in [
        952, 953, 954, 955, 956, 3170, 957, 715, 958, 3171, 1004, 3172, 964,
    ] {
        assert_eq!(pins_of(&call(oid)), Pins::NONE, "{oid}");
    }
    // lo_import and lo_export touch files; the rest is anything.
    for oid in [764, 765, 767, 0, 1574, 16_384, u32::MAX] {
        assert_eq!(
            pins_of(&call(oid)),
            Pins::of(PinReason::FunctionCall),
            "{oid}"
        );
    }
}

#[test]
fn what_the_server_skips_pins_nothing() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        talk.client(&client("P* B*"));
        talk.server(&super::kit::server("E"));
        talk.pins = Pins::NONE;
        let skipped = [query(b"set x = 1"), parse(b"n", b"listen x")].concat();
        talk.client(&skipped);
        assert_eq!(talk.pins, Pins::NONE);
        assert_eq!(talk.conversation.owed(), 0);
    });
}

/// A sharing session that says one message, and how it is left.
fn long(message: &[u8], pieces: Pieces) -> Talk {
    let mut talk = Talk::lent(pieces);
    talk.sharing = true;
    talk.client(message);
    assert!(talk.sent() == message && talk.end.is_none());
    assert_eq!(talk.conversation.client.kept.capacity(), 0);
    assert_eq!(std::sync::Arc::strong_count(&talk.long), 1);
    talk
}

#[test]
fn a_long_statement_is_read_once_it_has_gone_on() {
    let filling = "x".repeat(STATEMENT_INSPECT_MAX);
    let large = Pins::of(PinReason::LargeStatement);
    for (text, pins) in [
        ("insert into t values ('#')", Pins::NONE),
        ("select 1 /* # */", Pins::NONE),
        ("select 1 /* # */; update t set a = 1", Pins::NONE),
        (
            "select '#', pg_advisory_lock(1)",
            Pins::of(PinReason::AdvisoryLock),
        ),
        ("/* # */ listen a", Pins::of(PinReason::Listen)),
        (
            "select '# without end",
            Pins::of(PinReason::UnknownStatement),
        ),
        // What must be known before it goes on.
        ("/* # */ rollback", large),
        ("select 1; /* # */ commit", large),
        ("/* # */ savepoint a", large),
    ] {
        let text = text.replace('#', &filling);
        for pieces in [Pieces::Whole, Pieces::Bytes, Pieces::Random(7)] {
            for message in [query(text.as_bytes()), parse(b"", text.as_bytes())] {
                assert_eq!(long(&message, pieces).pins, pins, "{}", &text[..20]);
            }
        }
    }
    for (text, reason) in [
        ("/* # */ set work_mem = '1MB'", PinReason::Setting),
        (
            "/* # */ prepare a as select 1",
            PinReason::PreparedStatement,
        ),
        ("/* # */ discard all", PinReason::Discard),
        (
            "select '#' from pg_prepared_statements",
            PinReason::PreparedStatement,
        ),
    ] {
        let message = query(text.replace('#', &filling).as_bytes());
        assert!(long(&message, Pieces::Whole).pins.has(reason), "{text}");
    }
}

#[test]
fn what_is_too_long_or_one_too_many_to_be_collected_pins() {
    let large = Pins::of(PinReason::LargeStatement);
    let longest = vec![b' '; LONG_STATEMENT_MAX - 1];
    assert_eq!(long(&query(&longest), Pieces::Whole).pins, Pins::NONE);
    let longer = vec![b' '; LONG_STATEMENT_MAX];
    assert_eq!(long(&query(&longer), Pieces::Whole).pins, large);
    let message = query(&vec![b' '; STATEMENT_INSPECT_MAX + 1]);
    for (others, pins) in [
        (LONG_STATEMENTS_MAX - 1, Pins::NONE),
        (LONG_STATEMENTS_MAX, large),
    ] {
        let mut talk = Talk::lent(Pieces::Whole);
        talk.sharing = true;
        let places = vec![talk.long.clone(); others];
        talk.client(&message);
        assert_eq!(talk.pins, pins);
        drop(places);
    }
}

#[test]
fn half_a_long_statement_is_forgotten_with_its_client() {
    let message = query(&vec![b' '; STATEMENT_INSPECT_MAX + 1]);
    let mut talk = Talk::lent(Pieces::Whole);
    talk.sharing = true;
    talk.client(&message[..message.len() - 1]);
    assert_eq!(std::sync::Arc::strong_count(&talk.long), 2);
    talk.conversation.end_lend();
    assert_eq!(std::sync::Arc::strong_count(&talk.long), 1);
}
