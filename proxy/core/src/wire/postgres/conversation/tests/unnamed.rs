//! The unnamed statement: never another session's, and kept as long as it is needed.

use super::kit::Step::{C, Free, S};
use super::kit::{Step, Talk, bind, client, everywhere, message, run, server};
use crate::limits::NAME_INSPECT_MAX;

const CASES: &[(&str, &[Step])] = &[
    (
        "parsed and bound in one batch",
        &[C("P B E S"), S("1 2 C ZI"), Free],
    ),
    (
        "parsed, then bound",
        &[
            C("P D S"),
            S("1 t T ZI"),
            C("B E S"),
            S("2 C ZI"),
            C("B E S"),
            S("2 C ZI"),
            Free,
        ],
    ),
    (
        "parsed, flushed, bound",
        &[C("P D H"), S("1 t n"), C("B E S"), S("2 C ZI"), Free],
    ),
    (
        "described and bound in the batch of the parse",
        &[C("P D B E D B E S"), S("1 t n 2 C t n 2 C ZI"), Free],
    ),
    ("skipped together", &[C("P* P B E S"), S("E ZI"), Free]),
];

fn talk_of(talk: &mut Talk, from_client: &str, from_server: &str) {
    talk.client(&client(from_client));
    talk.server(&server(from_server));
    assert_eq!(talk.violation, None, "{from_client}: {from_server}");
}

#[test]
fn sequences() {
    for (name, steps) in CASES {
        run(name, steps);
    }
}

#[test]
fn another_sessions_statement_is_closed_first() {
    everywhere(|mut talk| {
        talk.client(&client("B E S D S Q"));
        let guarded = [client("C B E S"), client("C D S Q")].concat();
        assert_eq!(talk.sent(), guarded);
        talk.conversation.start_lend();
        assert_eq!(talk.conversation.owed(), 8);
        talk.server(&server("3 E ZI 3 E ZI C ZI"));
        assert_eq!(talk.violation, None);
        assert_eq!(talk.to_client, server("E ZI E ZI C ZI"));
        assert!(talk.conversation.releasable());
    });
}

#[test]
fn the_clients_own_close_complete_is_not_swallowed() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        talk.client(&client("C* B E S C CP S"));
        talk.server(&server("3 3 E ZI 3 3 ZI"));
        assert_eq!(talk.violation, None);
        assert_eq!(talk.to_client, server("3 E ZI 3 3 ZI"));
    });
}

#[test]
fn a_guard_that_the_server_skips_has_no_answer() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        talk.client(&client("P* B E S"));
        assert_eq!(talk.sent(), [client("P*"), client("C B E S")].concat());
        talk.server(&server("E ZI"));
        assert_eq!(talk.violation, None);
        assert_eq!(talk.to_client, server("E ZI"));
        assert!(talk.conversation.releasable());
    });
}

/// Shown on a real server: a Parse that fails, or is skipped, leaves the earlier statement in place.
#[test]
fn a_parse_that_did_not_happen_gives_no_right_to_what_is_there() {
    for (parse, answer) in [("P S", "E ZI"), ("P* P S", "E ZI"), ("P* P S", "1 E ZI")] {
        everywhere(|mut talk| {
            talk.conversation.start_lend();
            talk_of(&mut talk, parse, answer);
            assert!(!talk.conversation.holds_unnamed());
            assert!(talk.conversation.releasable());
            talk.sent();
            talk.client(&client("B E S"));
            assert_eq!(talk.sent(), client("C B E S"));
        });
    }
}

#[test]
fn a_bind_behind_an_unanswered_parse_of_an_earlier_batch_waits() {
    for (answer, sent) in [("1 ZI", "B E S Q"), ("E ZI", "C B E S Q")] {
        everywhere(|mut talk| {
            talk.conversation.start_lend();
            talk.client(&client("P S B E S Q"));
            assert_eq!(talk.sent(), client("P S"));
            assert!(talk.conversation.owed() > crate::limits::REPLIES_OWED_MAX);
            assert!(!talk.conversation.releasable());
            talk.client(&client("Q S"));
            assert!(talk.sent().is_empty());
            talk.server(&server(answer));
            assert_eq!(talk.sent(), [client(sent), client("Q S")].concat());
            assert!(!talk.conversation.releasable());
            let rest = if sent.starts_with('C') {
                "3 E ZI C ZI C ZI ZI"
            } else {
                "2 C ZI C ZI C ZI ZI"
            };
            talk.server(&server(rest));
            assert_eq!(talk.violation, None);
            assert!(talk.conversation.releasable());
            let shown = server(&rest.replace("3 ", ""));
            assert_eq!(talk.to_client, [server(answer), shown].concat());
        });
    }
}

/// The Sync that would make the server answer what was sent since is kept back itself.
#[test]
fn the_wait_ends_without_anything_further_from_the_client() {
    for (sent, answer, rest) in [
        ("P S E B S", "1 ZI", "B S"),
        ("P S C* B S", "E ZI", "C B S"),
        // Now the server skips: the Bind goes unguarded, for nobody executes it.
        ("P S E B S", "1 ZI E", "B S"),
    ] {
        everywhere(|mut talk| {
            talk.conversation.start_lend();
            talk.client(&client(sent));
            talk.sent();
            assert!(!talk.conversation.resumable());
            talk.server(&server(answer));
            assert_eq!(talk.sent(), client(rest), "{sent}, {answer}");
        });
    }
}

#[test]
fn what_destroys_the_statement_is_seen() {
    for (tokens, answer) in [("Q", "C ZI"), ("Q", "E ZI"), ("C S", "3 ZI")] {
        everywhere(|mut talk| {
            talk.conversation.start_lend();
            talk_of(&mut talk, "P S", "1 ZI");
            assert!(talk.conversation.holds_unnamed());
            talk_of(&mut talk, tokens, answer);
            assert!(!talk.conversation.holds_unnamed(), "{tokens}");
            talk.sent();
            talk.client(&client("B E S"));
            assert_eq!(talk.sent(), client("C B E S"), "{tokens}");
        });
    }
}

#[test]
fn a_close_that_the_server_skipped_leaves_the_statement() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        talk_of(&mut talk, "P S", "1 ZI");
        talk_of(&mut talk, "P* C S", "E ZI");
        talk.sent();
        talk.client(&client("B E S"));
        assert_eq!(talk.sent(), client("B E S"));
    });
}

#[test]
fn the_statement_holds_the_backend_while_it_may_be_bound_later() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        let mut step = |from_client, from_server, holds| {
            talk_of(&mut talk, from_client, from_server);
            assert_eq!(talk.conversation.holds_unnamed(), holds, "{from_client}");
        };
        step("P B E S", "1 2 C ZI", false);
        step("P D S", "1 t n ZI", true);
        step("B E S", "2 C ZI", true);
        step("P* S", "1 ZI", true);
        step("B E S", "2 C ZI", true);
        step("P B E S", "1 2 C ZI", false);
        step("P S", "1 ZI", true);
        step("Q", "C ZI", false);
        // Bound in the transaction of its Parse.
        step("Q", "C ZT", false);
        step("P D S", "1 t n ZT", true);
        step("B E S", "2 C ZT", false);
        step("Q", "C ZI", false);
        // Parsed again after its Bind.
        step("P B P S", "1 2 1 ZI", true);
        step("P B S", "1 2 ZI", false);
    });
}

#[test]
fn a_released_session_has_lost_its_statement() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        talk_of(&mut talk, "P B E S", "1 2 C ZI");
        talk.conversation.end_lend();
        talk.sent();
        talk.client(&client("B E S"));
        assert_eq!(talk.sent(), client("C B E S"));
    });
}

#[test]
fn a_parse_that_waits_for_its_backend_counts_in_the_next_lend() {
    everywhere(|mut talk| {
        talk.client(&client("P D S"));
        talk.conversation.start_lend();
        talk.server(&server("1 t n ZI"));
        assert!(talk.conversation.holds_unnamed());
        talk.client(&client("B E S"));
        assert_eq!(talk.sent(), client("P D S B E S"));
    });
}

#[test]
fn a_bind_whose_statement_name_is_out_of_sight_is_guarded() {
    everywhere(|mut talk| {
        let portal = vec![b'p'; NAME_INSPECT_MAX];
        let at_limit = bind(&portal, b"");
        let named = bind(&portal, b"name");
        let beyond = bind(&[&portal[..], &portal, b"ppp"].concat(), b"name");
        talk.client(&[&named[..], &at_limit, &beyond].concat());
        let guard = client("C");
        let guarded = [&named[..], &guard, &at_limit, &guard, &beyond].concat();
        assert_eq!(talk.sent(), guarded);
    });
}

#[test]
fn a_malformed_bind_is_guarded_too() {
    everywhere(|mut talk| {
        talk.client(&message(b'B', b"portal"));
        assert_eq!(
            talk.sent(),
            [client("C"), message(b'B', b"portal")].concat()
        );
        talk.conversation.start_lend();
        talk_of(&mut talk, "S", "3 E ZI");
    });
}

#[test]
fn our_close_needs_its_own_answer() {
    everywhere(|mut talk| {
        talk.client(&client("B S"));
        talk.conversation.start_lend();
        talk.server(&server("2"));
        assert!(talk.violation.is_some());
    });
}

#[test]
fn swallowing_leaves_everything_around_it() {
    everywhere(|mut talk| {
        talk.client(&client("Q B E S"));
        talk.conversation.start_lend();
        talk.server(&server("N T D C ZI N 3 A E ZI"));
        assert_eq!(talk.violation, None);
        assert_eq!(talk.to_client, server("N T D C ZI N A E ZI"));
    });
}
