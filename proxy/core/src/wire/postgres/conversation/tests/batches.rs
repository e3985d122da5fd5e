//! Simple queries, function calls, extended batches, pipelines, errors.

use super::kit::Step::{Bad, C, Free, Kept, Owed, S};
use super::kit::{Step, everywhere, run, server};
use crate::wire::postgres::conversation::TxStatus;

const CASES: &[(&str, &[Step])] = &[
    (
        "simple",
        &[
            Free,
            C("Q"),
            Owed(1),
            Kept,
            S("T D D C"),
            Owed(1),
            Kept,
            S("ZI"),
            Owed(0),
            Free,
        ],
    ),
    (
        "simple, many statements",
        &[C("Q"), S("C T D C I C"), Kept, S("ZI"), Free],
    ),
    ("simple, empty", &[C("Q"), S("I ZI"), Free]),
    (
        "simple, error",
        &[C("Q"), S("T D E"), Owed(1), Kept, S("ZI"), Free],
    ),
    (
        "simple, pipelined, one fails",
        &[
            C("Q Q Q"),
            Owed(3),
            S("C ZI E ZI"),
            Owed(1),
            Kept,
            S("T C ZI"),
            Free,
        ],
    ),
    (
        "simple, transaction",
        &[
            C("Q"),
            S("C ZT"),
            Owed(0),
            Kept,
            C("Q"),
            S("E ZE"),
            Kept,
            C("Q"),
            S("C ZI"),
            Free,
        ],
    ),
    (
        "function call",
        &[C("F"), Owed(1), Kept, S("V"), Kept, S("ZI"), Free],
    ),
    (
        "function call fails",
        &[C("F F"), S("E ZI"), Owed(1), Kept, S("V ZI"), Free],
    ),
    ("bare sync", &[C("S"), Owed(1), Kept, S("ZI"), Free]),
    (
        "sync fails",
        &[C("P B E S"), S("1 2 C E"), Owed(1), Kept, S("ZI"), Free],
    ),
    (
        "extended",
        &[
            C("P B DP E S"),
            Owed(5),
            S("1 2 T D D C"),
            Owed(1),
            Kept,
            S("ZI"),
            Free,
        ],
    ),
    (
        "extended, statement described",
        &[
            C("P* D* S"),
            S("1 t T ZI"),
            Free,
            C("D* S"),
            S("t n ZI"),
            Free,
        ],
    ),
    (
        "extended, closes",
        &[C("C* CP C S"), Owed(4), S("3 3 3 ZI"), Free],
    ),
    (
        "extended, suspended",
        &[C("P B E E E S"), S("1 2 D s D D s C ZI"), Free],
    ),
    ("extended, empty", &[C("P B DP E S"), S("1 2 n I ZI"), Free]),
    (
        "extended, flushed",
        &[
            C("P B H"),
            Owed(2),
            S("1 2"),
            Owed(0),
            Kept,
            C("E S"),
            S("D C ZI"),
            Free,
        ],
    ),
    (
        "extended without sync",
        &[C("P B E"), S("1 2 C"), Owed(0), Kept, C("S"), S("ZI"), Free],
    ),
    (
        "extended, error, sync known",
        &[C("P B DP E S"), S("1 E"), Owed(1), Kept, S("ZI"), Free],
    ),
    (
        "extended, error, sync later",
        &[
            C("P B E"),
            S("E"),
            Owed(0),
            Kept,
            C("S"),
            Owed(1),
            S("ZI"),
            Free,
        ],
    ),
    (
        "extended, error, skipped messages",
        &[
            C("P*"),
            S("E"),
            C("B* E Q F d c H P* C*"),
            Owed(0),
            Kept,
            C("S"),
            Owed(1),
            S("ZI"),
            Free,
        ],
    ),
    (
        "extended, error with skipped requests already sent",
        &[
            C("P* B* Q F B* S"),
            Owed(6),
            S("E"),
            Owed(1),
            Kept,
            S("ZI"),
            Free,
        ],
    ),
    (
        "pipeline, error in the middle",
        &[
            C("P B E S P B E S P B E S"),
            S("1 2 C ZI 1 E"),
            Owed(5),
            Kept,
            S("ZI 1 2 D C"),
            Owed(1),
            S("ZI"),
            Free,
        ],
    ),
    (
        "pipeline in one transaction, failed",
        &[
            C("P B E S P B E S"),
            S("1 2 C ZT E ZE"),
            Owed(0),
            Kept,
            C("Q"),
            S("C ZI"),
            Free,
        ],
    ),
    (
        "batch with a simple query in it",
        &[C("P B E Q"), S("1 2 C T D C ZI"), Owed(0), Free],
    ),
    (
        "batch with a function call in it",
        &[C("P* F"), S("1 V ZI"), Free],
    ),
    (
        "asynchronous messages anywhere",
        &[
            S("N A PS"),
            Free,
            C("P B E S"),
            S("N 1 A 2 PS D N D C A ZI N PS"),
            Free,
            C("Q"),
            S("N T A D PS C N"),
            Owed(1),
            S("A ZI"),
            Free,
        ],
    ),
    ("fatal", &[C("Q"), S("EF")]),
    ("fatal while idle", &[S("EF")]),
];

const REFUSED: &[(&str, &[Step])] = &[
    ("ready without request", &[Bad("ZI")]),
    ("ready before the answer", &[C("Q"), Bad("ZI")]),
    ("function ready before the answer", &[C("F"), Bad("ZI")]),
    ("ready twice", &[C("Q"), S("C ZI"), Bad("ZI")]),
    (
        "ready before the batch is answered",
        &[C("P B E S"), S("1 2"), Bad("ZI")],
    ),
    ("ready while skipping", &[C("P*"), S("E"), Bad("ZI")]),
    ("answers in the wrong order", &[C("P B E S"), Bad("2")]),
    ("rows without request", &[Bad("D")]),
    ("rows for a bind", &[C("P B S"), S("1"), Bad("D")]),
    ("rows after the batch", &[C("S"), Bad("D")]),
    ("complete without request", &[Bad("C")]),
    ("error without request", &[Bad("E")]),
    ("parse complete for a query", &[C("Q"), Bad("1")]),
    ("suspended for a query", &[C("Q"), Bad("s")]),
    ("function result for a query", &[C("Q"), Bad("V")]),
    ("replication", &[C("Q"), Bad("W")]),
    ("login message", &[C("Q"), Bad("R")]),
    ("key", &[C("Q"), Bad("K")]),
    ("negotiation", &[C("Q"), Bad("v")]),
];

#[test]
fn sequences() {
    for (name, steps) in CASES {
        run(name, steps);
    }
}

#[test]
fn what_no_server_sends_is_a_violation() {
    for (name, steps) in REFUSED {
        run(name, steps);
    }
}

#[test]
fn counts_cycles_and_errors_and_sees_parameters_and_status() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        talk.client(&super::kit::client("P B E S Q Q"));
        assert!(talk.needs_server && talk.new_requests);
        assert_eq!(talk.conversation.pending_segments(), 3);
        assert!(!talk.conversation.owes_nothing());
        talk.server(&server("1 E ZI PS C ZT"));
        assert_eq!((talk.cycles, talk.errors), (2, 1));
        assert_eq!(talk.conversation.status(), TxStatus::InTransaction);
        assert_eq!(talk.conversation.pending_segments(), 1);
        talk.server(&server("E ZE"));
        assert_eq!(talk.conversation.status(), TxStatus::Failed);
        assert!(talk.conversation.owes_nothing());
        assert_eq!(talk.parameters, [(b"TimeZone".to_vec(), b"UTC".to_vec())]);
        assert!(!talk.fatal);
        talk.server(&server("EF"));
        assert!(talk.fatal);
        assert_eq!(talk.violation, None);
    });
}

#[test]
fn severity_is_read_without_the_untranslated_field_too() {
    for (text, fatal) in [
        (&b"SFATAL\0C57P01\0M\0\0"[..], true),
        (b"SPANIC\0CXX000\0M\0\0", true),
        (b"SERROR\0C57014\0M\0\0", false),
        (b"SFATAL\0VERROR\0C57014\0M\0\0", false),
        (b"SERROR\0C57014\0MFATAL\0SFATAL\0\0", false),
        (b"", false),
        (b"\0", false),
    ] {
        everywhere(|mut talk| {
            talk.conversation.start_lend();
            talk.client(&super::kit::client("Q"));
            talk.server(&super::kit::message(b'E', text));
            assert_eq!(talk.fatal, fatal, "{text:?}");
            assert_eq!(talk.errors, 1);
        });
    }
}

#[test]
fn a_long_pipeline_goes_through_the_heap_and_back() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        for _ in 0..30 {
            talk.client(&super::kit::client("P B E S Q"));
        }
        assert_eq!(talk.conversation.owed(), 150);
        assert_eq!(talk.conversation.pending_segments(), 60);
        for round in 0..30 {
            talk.server(&server(if round % 3 == 0 {
                "1 E ZI C ZI"
            } else {
                "1 2 C ZI C ZI"
            }));
            assert_eq!(talk.violation, None);
        }
        assert!(talk.conversation.releasable());
    });
}
