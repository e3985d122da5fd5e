//! COPY in all its endings, and the ReadyForQuery that may stray.

use super::kit::Step::{Bad, C, Free, Kept, Owed, S};
use super::kit::{Pieces, Step, Talk, client, everywhere, run, server};

const CASES: &[(&str, &[Step])] = &[
    // From the client, simple.
    (
        "simple, done",
        &[
            C("Q"),
            S("G"),
            Kept,
            C("d d"),
            Kept,
            C("c"),
            Owed(2),
            S("C"),
            Owed(1),
            Kept,
            S("ZI"),
            Free,
        ],
    ),
    (
        "simple, nothing but the end",
        &[C("Q"), S("G"), C("c"), S("C ZI"), Free],
    ),
    ("simple, data sent ahead", &[C("Q d c"), S("G C ZI"), Free]),
    (
        "simple, given up",
        &[C("Q"), S("G"), C("d f"), S("E ZI"), Free],
    ),
    (
        "simple, bad data",
        &[
            C("Q"),
            S("G"),
            C("d"),
            S("E ZI"),
            Free,
            C("d c"),
            Owed(0),
            Free,
        ],
    ),
    (
        "simple, bad data, end under way",
        &[C("Q"), S("G"), C("d d c"), S("E ZI"), Owed(0), Free],
    ),
    (
        "simple, failed before its data, all sent ahead",
        &[C("Q d d c Q"), S("E ZI T C ZI"), Owed(0), Free],
    ),
    (
        "simple, fails after the end",
        &[C("Q"), S("G"), C("d c Q"), S("E ZI C ZI"), Free],
    ),
    (
        "several in one query",
        &[
            C("Q"),
            S("G"),
            C("d c"),
            S("C G"),
            C("d d c"),
            S("C T D C"),
            Owed(1),
            S("ZI"),
            Free,
        ],
    ),
    (
        "several in one query, sent ahead",
        &[C("Q d c d c"), S("G C G C T C ZI"), Owed(0), Free],
    ),
    (
        "several in one query, the second fails",
        &[C("Q d c d c"), S("G C G E ZI"), Owed(0), Free],
    ),
    (
        "several in one query, the first fails",
        &[C("Q d c d c"), S("G E ZI"), Owed(0), Free],
    ),
    (
        "simple, Sync and Flush among the data",
        &[C("Q"), S("G"), C("d S H S d c"), S("C ZI"), Owed(0), Free],
    ),
    (
        "simple, then a Sync",
        &[
            C("Q S"),
            S("G"),
            C("S d c S"),
            S("C ZI"),
            Owed(1),
            S("ZI"),
            Free,
        ],
    ),
    (
        "notices in between",
        &[
            C("Q"),
            S("N G N"),
            C("d"),
            S("PS A"),
            C("c"),
            S("N C N ZI"),
            Free,
        ],
    ),
    // Servers before 14 take a message out of place as the end.
    (
        "simple, ended by a query",
        &[C("Q"), S("G"), C("d Q"), Owed(2), S("EP ZI"), Owed(0)],
    ),
    (
        "simple, bad data, then a query",
        &[C("Q"), S("G"), C("d Q"), S("E ZI T D C ZI"), Owed(0), Free],
    ),
    // From the client, extended.
    (
        "extended, Flush",
        &[C("P B E H"), S("1 2 G"), C("d c S"), S("C ZI"), Free],
    ),
    (
        "extended, early Sync",
        &[
            C("P B E S"),
            S("1 2 G"),
            Owed(2),
            C("d c S"),
            S("C"),
            Owed(1),
            S("ZI"),
            Free,
        ],
    ),
    (
        "extended, early Sync, all sent ahead",
        &[C("P B E S d c S"), S("1 2 G C ZI"), Owed(0), Free],
    ),
    (
        "extended, many Syncs",
        &[
            C("P B E S S S"),
            S("1 2 G"),
            Owed(2),
            C("S S d S c S"),
            S("C ZI"),
            Free,
        ],
    ),
    (
        "extended, given up",
        &[C("P B E H"), S("1 2 G"), C("d f S"), S("E ZI"), Free],
    ),
    (
        "extended, given up, early Sync",
        &[
            C("P B E S"),
            S("1 2 G"),
            C("d f S"),
            S("E"),
            Owed(1),
            Kept,
            S("ZI"),
            Free,
        ],
    ),
    (
        "extended, bad data, Sync later",
        &[
            C("P B E H"),
            S("1 2 G"),
            C("d"),
            S("E"),
            Owed(0),
            Kept,
            C("d c S"),
            S("ZI"),
            Free,
        ],
    ),
    (
        "extended, bad data, Sync under way",
        &[
            C("P B E H"),
            S("1 2 G"),
            C("d c S"),
            S("E"),
            Owed(1),
            S("ZI"),
            Free,
        ],
    ),
    (
        "extended, bad data, early Sync read over",
        &[
            C("P B E S"),
            S("1 2 G"),
            C("d"),
            S("E"),
            Owed(0),
            Kept,
            C("c S"),
            Owed(1),
            S("ZI"),
            Owed(0),
            Free,
        ],
    ),
    (
        "extended, failed before the early Sync was read",
        &[
            C("P B E S"),
            S("1 2 G E ZI"),
            Owed(0),
            Free,
            C("d c S"),
            Owed(1),
            Kept,
            S("ZI"),
            Free,
        ],
    ),
    (
        "extended, failed before anything was read, the next requests under way",
        &[
            C("P B E S P* B* E S Q"),
            S("1 2 G E ZI 1 2 C ZI"),
            Owed(1),
            S("C ZI"),
            Free,
        ],
    ),
    (
        "simple, failed before anything was read, Sync and query under way",
        &[C("Q S Q"), S("G E ZI ZI C ZI"), Owed(0), Free],
    ),
    (
        "extended, failed before the early Sync was read, the rest under way",
        &[
            C("P B E S"),
            S("1 2 G"),
            C("d c S"),
            S("E ZI ZI"),
            Owed(0),
            Free,
            C("Q"),
            S("C ZI"),
            Free,
        ],
    ),
    (
        "the stray one comes after the next query was sent",
        &[
            C("P B E S"),
            S("1 2 G"),
            C("d c S"),
            S("E ZI"),
            C("Q"),
            S("ZI T D C ZI"),
            Owed(0),
            Free,
        ],
    ),
    (
        "extended, ended by another batch",
        &[
            C("P B E S P* B* E S"),
            S("1 2 G EP"),
            Owed(1),
            S("ZI"),
            Owed(0),
        ],
    ),
    (
        "extended, ended by another batch, no early Sync",
        &[
            C("P B E H"),
            S("1 2 G"),
            C("P* S"),
            S("EP"),
            Owed(1),
            S("ZI"),
            Free,
        ],
    ),
    (
        "extended, refused",
        &[C("P B E S"), S("E ZI"), Free, C("d c S"), S("ZI"), Free],
    ),
    (
        "in a transaction",
        &[
            C("Q"),
            S("C ZT"),
            C("P B E S"),
            S("1 2 G"),
            C("d c S"),
            S("C ZT"),
            Kept,
            C("Q"),
            S("C ZI"),
            Free,
        ],
    ),
    // To the client.
    (
        "out, simple",
        &[C("Q"), S("H d d d c"), Owed(1), S("C ZI"), Free],
    ),
    (
        "out, extended",
        &[C("P B E S"), S("1 2 H d d c"), Owed(2), S("C ZI"), Free],
    ),
    ("out, fails", &[C("Q"), S("H d E ZI"), Free]),
    (
        "out, extended, fails",
        &[C("P B E S"), S("1 2 H d E ZI"), Free],
    ),
    (
        "out and in",
        &[C("Q"), S("H d c C G"), C("d c"), S("C ZI"), Free],
    ),
    // No COPY at all.
    (
        "stray data",
        &[C("d d c f H"), Owed(0), Free, C("Q"), S("C ZI"), Free],
    ),
    (
        "stray data behind a query",
        &[C("Q d c Q f"), S("C ZI C ZI"), Owed(0), Free],
    ),
    (
        "stray data in a batch",
        &[C("P B c E f S"), S("1 2 C ZI"), Owed(0), Free],
    ),
];

const REFUSED: &[(&str, &[Step])] = &[
    (
        "complete without the end of the data",
        &[C("Q"), S("G"), C("d"), Bad("C")],
    ),
    (
        "complete after giving up",
        &[C("Q"), S("G"), C("f"), Bad("C")],
    ),
    (
        "extended, complete with nothing but Syncs",
        &[C("P B E S"), S("1 2 G"), Bad("C")],
    ),
    ("ready while data is read", &[C("Q"), S("C G"), Bad("ZI")]),
    ("two at once", &[C("Q"), S("G"), Bad("G")]),
    (
        "suspended while data is read",
        &[C("P B E S"), S("1 2 G"), Bad("s")],
    ),
    ("without request", &[Bad("G")]),
    (
        "one stray too many without an early Sync",
        &[C("P B E H"), S("1 2 G"), C("f S"), S("E ZI"), Bad("ZI")],
    ),
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
fn says_when_a_ready_may_stray_and_forgets_it_with_the_lend() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        for (early, end, answer, stray) in [
            ("P B E S", "d c S", "C ZI", false),
            ("P B E H", "d c S", "E ZI", false),
            ("P B E S", "Q", "E ZI C ZI", false),
            ("P B E S", "d c S", "E ZI", true),
        ] {
            talk.client(&client(early));
            talk.server(&server("1 2 G"));
            talk.client(&client(end));
            talk.server(&server(answer));
            assert_eq!(talk.violation, None);
            assert!(talk.conversation.releasable());
            assert_eq!(talk.conversation.stray_ready(), stray);
        }
        talk.conversation.end_lend();
        talk.conversation.start_lend();
        assert!(!talk.conversation.stray_ready());
        talk.server(&server("ZI"));
        assert!(talk.violation.is_some());
    });
}

#[test]
fn syncs_without_end_in_a_copy_do_not_pile_up() {
    let mut talk = Talk::lent(Pieces::Whole);
    talk.client(&client("P B E"));
    talk.server(&server("1 2 G"));
    for _ in 0..100_000 {
        talk.client(&client("S"));
    }
    assert_eq!(talk.conversation.owed(), 2);
}
