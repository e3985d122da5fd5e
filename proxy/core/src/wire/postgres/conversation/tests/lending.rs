//! What needs a backend, what does not, and requests that never get one.

use super::kit::{Pieces, Talk, bind, client, everywhere, message, query, server};

const ERROR: &[u8] = b"E\0\0\0\x04";

/// ErrorResponse (`e`) and ReadyForQuery (`z`).
fn answers(tokens: &str) -> Vec<u8> {
    let one = |c| match c {
        'e' => ERROR.to_vec(),
        _ => server("ZI"),
    };
    tokens.chars().flat_map(one).collect()
}

#[test]
fn strays_need_no_server_and_are_dropped_when_there_is_none() {
    everywhere(|mut talk| {
        talk.client(&client("d d c f H d"));
        assert!(!talk.needs_server && !talk.new_requests);
        assert!(talk.to_server.is_empty());
        talk.client(&client("d Q d c H d"));
        assert!(talk.needs_server && talk.new_requests);
        assert_eq!(talk.to_server, client("Q d c H d"));
    });
}

#[test]
fn strays_need_no_server_and_go_on_when_there_is_one() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        talk.client(&client("d c f H"));
        assert!(!talk.needs_server && !talk.new_requests);
        assert_eq!(talk.to_server, client("d c f H"));
        assert!(talk.conversation.releasable());
    });
}

#[test]
fn everything_else_needs_a_server() {
    for token in ["Q", "P", "P*", "B*", "D*", "E", "C*", "F", "S"] {
        everywhere(|mut talk| {
            talk.client(&client(token));
            assert!(talk.needs_server && talk.new_requests, "{token}");
            assert_eq!(talk.to_server, client(token));
            assert_eq!(talk.conversation.owed(), 1);
        });
    }
}

#[test]
fn the_rest_of_a_dropped_stray_is_dropped_after_a_lend_too() {
    let mut talk = Talk::new(Pieces::Whole);
    let long = message(b'd', &[7; 100]);
    talk.client(&long[..50]);
    talk.conversation.start_lend();
    assert!(talk.conversation.releasable());
    talk.client(&[&long[50..], &client("Q")].concat());
    assert_eq!(talk.to_server, client("Q"));
}

#[test]
fn a_half_forwarded_message_keeps_the_backend_and_a_held_one_does_not() {
    let mut talk = Talk::lent(Pieces::Whole);
    let long = message(b'd', &[7; 100]);
    talk.client(&long[..50]);
    assert!(!talk.conversation.releasable());
    talk.client(&long[50..]);
    assert!(talk.conversation.releasable());
    talk.client(&client("Q")[..8]);
    assert_eq!(talk.to_server, long);
    assert!(talk.conversation.releasable());
    talk.conversation.end_lend();
    talk.client(&client("Q")[8..]);
    assert_eq!(talk.to_server, [long, client("Q")].concat());
}

#[test]
fn a_lost_backend_takes_the_rest_of_a_message_with_it() {
    let mut talk = Talk::lent(Pieces::Whole);
    talk.client(&client("Q"));
    talk.server(&server("G"));
    let long = message(b'd', &[7; 100]);
    talk.client(&long[..50]);
    talk.sent();
    talk.conversation.end_lend();
    talk.client(&long[50..]);
    assert!(talk.sent().is_empty());
    talk.client(&client("Q"));
    assert_eq!(talk.sent(), client("Q"));
    assert_eq!(talk.conversation.owed(), 1);
}

#[test]
fn pending_requests_fail_as_a_server_would_fail_them() {
    for (sent, answer, dropping) in [
        ("", "", false),
        ("Q", "ez", false),
        ("Q Q F", "ezezez", false),
        ("Q d c", "ez", false),
        ("S", "ez", false),
        ("P B E S", "ez", false),
        ("P B E S P B E S", "ezez", false),
        ("P B E S Q", "ezez", false),
        ("Q P B DP E S", "ezez", false),
        ("P B Q E S", "ez", false),
        ("P B E", "e", true),
        ("P B H", "e", true),
        ("Q P B E S P* B* Q", "ezeze", true),
    ] {
        everywhere(|mut talk| {
            talk.client(&client(sent));
            talk.sent();
            assert_eq!(
                talk.conversation.fail_pending(ERROR),
                answers(answer),
                "{sent}"
            );
            assert!(talk.conversation.owes_nothing());
            talk.needs_server = false;
            talk.new_requests = false;
            talk.client(&client("d P* B* E Q F H"));
            assert_eq!(talk.needs_server, !dropping, "{sent}");
            talk.client(&client("S Q"));
            assert!(talk.needs_server && talk.new_requests);
            let rest = if dropping { "S Q" } else { "P* B* E Q F H S Q" };
            assert_eq!(talk.sent(), client(rest), "{sent}");
            talk.conversation.start_lend();
            let replies = if dropping {
                "ZI C ZI"
            } else {
                "1 2 C C ZI V ZI ZI C ZI"
            };
            talk.server(&server(replies));
            assert_eq!(talk.violation, None, "{sent}");
            assert!(talk.conversation.releasable());
        });
    }
}

#[test]
fn a_failed_message_in_the_middle_is_thrown_away_to_its_end() {
    // A statement too long to be read streams, and so does a large parameter.
    let long_query = query(&[b'x'; 40_000]);
    let long_bind = message(b'B', &[b"\0name\0", &[1; 40_000][..]].concat());
    for (long, answer) in [(long_query, "ez"), (long_bind, "e")] {
        let mut talk = Talk::new(Pieces::Whole);
        talk.client(&long[..20_000]);
        assert_eq!(talk.sent().len(), 20_000);
        assert_eq!(talk.conversation.fail_pending(ERROR), answers(answer));
        talk.needs_server = false;
        talk.client(&long[20_000..30_000]);
        assert!(!talk.needs_server);
        talk.client(&[&long[30_000..], &client("S")].concat());
        assert_eq!(talk.sent(), client("S"));
        talk.conversation.start_lend();
        talk.server(&server("ZI"));
        assert!(talk.conversation.releasable());
    }
}

#[test]
fn a_message_that_was_not_read_yet_is_no_pending_request() {
    let mut talk = Talk::new(Pieces::Whole);
    let bytes = client("Q Q");
    talk.client(&bytes[..bytes.len() - 1]);
    assert_eq!(talk.conversation.fail_pending(ERROR), answers("ez"));
    talk.sent();
    talk.client(&bytes[bytes.len() - 1..]);
    assert_eq!(talk.sent(), client("Q"));
    assert_eq!(talk.conversation.owed(), 1);
}

#[test]
fn what_waits_for_an_answer_is_kept_when_pending_requests_fail() {
    let mut talk = Talk::new(Pieces::Whole);
    talk.client(&client("P S B E S"));
    assert_eq!(talk.sent(), client("P S"));
    assert!(!talk.conversation.resumable());
    assert_eq!(talk.conversation.fail_pending(ERROR), answers("ez"));
    assert!(talk.conversation.resumable());
    talk.client_piece(b"");
    // The statement does not exist, and nobody else's must be found.
    assert_eq!(
        talk.sent(),
        [client("C"), bind(b"", b""), client("E S")].concat()
    );
}

#[test]
fn only_a_new_lend_starts_afresh() {
    let mut talk = Talk::lent(Pieces::Whole);
    talk.client(&client("P*"));
    talk.server(&server("E N")[..server("E").len() + 2]);
    talk.conversation.end_lend();
    assert!(talk.conversation.owes_nothing());
    // Pending while no backend is there, sent to the next one.
    talk.client(&client("P B E S"));
    talk.conversation.start_lend();
    assert_eq!(talk.conversation.owed(), 4);
    talk.server(&server("1 2 C ZI"));
    assert_eq!(talk.violation, None);
    assert!(talk.conversation.releasable());
}
