//! Names and numbers of weir's in server messages: the client sees its own.

use super::kit::{PIDS, Talk, bind, client, error_saying, everywhere, message, parse, server};
use crate::wire::postgres::statements::catalog::{Hash, name_of};

/// A session whose statement `name` the backend has.
fn with_statement(talk: &mut Talk) -> String {
    talk.sharing = true;
    talk.conversation.start_lend();
    talk.client(&[parse(b"name", b"select $1"), message(b'S', b"")].concat());
    let sent = talk.sent();
    let named = sent[5..].split(|b| *b == 0).next().unwrap().to_vec();
    talk.server(&server("1 ZI"));
    talk.to_client.clear();
    String::from_utf8(named).unwrap()
}

/// What the client gets when its Bind is answered with an error of this text.
fn shown(talk: &mut Talk, statement: &[u8], text: &str) {
    talk.client(&[bind(b"", statement), message(b'S', b"")].concat());
    talk.server(&[error_saying("08P01", text), server("ZI")].concat());
}

#[test]
fn an_error_shows_the_clients_own_name_wherever_it_is_cut() {
    everywhere(|mut talk| {
        let ours = with_statement(&mut talk);
        let text = |name: &str| format!("\"{name}\" requires 2, said {name}");
        shown(&mut talk, b"name", &text(&ours));
        let seen = [error_saying("08P01", &text("name")), server("ZI")].concat();
        assert_eq!(core::mem::take(&mut talk.to_client), seen);
        assert!(talk.conversation.releasable() && talk.errors == 1);
    });
}

#[test]
fn an_error_without_such_a_name_comes_as_it_is() {
    everywhere(|mut talk| {
        with_statement(&mut talk);
        let foreign = String::from_utf8(name_of(Hash::MAX).to_vec()).unwrap();
        for text in ["weir_", "nothing", &foreign] {
            shown(&mut talk, b"name", text);
            let seen = [error_saying("08P01", text), server("ZI")].concat();
            assert_eq!(core::mem::take(&mut talk.to_client), seen);
        }
    });
}

#[test]
fn a_clients_name_that_looks_like_one_of_weirs_is_shown_as_it_was_said() {
    everywhere(|mut talk| {
        let ours = with_statement(&mut talk);
        talk.client(&[bind(b"", ours.as_bytes()), message(b'S', b"")].concat());
        let asked = [bind(b"", format!("?{ours}").as_bytes()), message(b'S', b"")].concat();
        assert_eq!(talk.sent(), asked);
        let text = |name: &str| format!("prepared statement \"{name}\" does not exist");
        let question = format!("?{ours}");
        talk.server(&[error_saying("26000", &text(&question)), server("ZI")].concat());
        let seen = [error_saying("26000", &text(&ours)), server("ZI")].concat();
        assert_eq!(talk.to_client, seen);
    });
}

#[test]
fn an_error_that_is_too_long_to_be_kept_streams_through() {
    everywhere(|mut talk| {
        let ours = with_statement(&mut talk);
        let text = format!("{}{ours}", "x".repeat(crate::limits::SERVER_INSPECT_MAX));
        shown(&mut talk, b"name", &text);
        assert_eq!(talk.violation, None);
        assert!(talk.conversation.releasable());
        assert!(talk.to_client.len() > crate::limits::SERVER_INSPECT_MAX);
    });
}

#[test]
fn a_notification_of_ones_own_comes_from_the_number_that_the_login_gave() {
    let notification = |pid: u32| message(b'A', &[&pid.to_be_bytes()[..], b"chan\0hm\0"].concat());
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        talk.server(&[notification(PIDS.real), notification(PIDS.real + 1)].concat());
        talk.client(&client("Q"));
        talk.server(&[server("T D"), notification(PIDS.real), server("C ZI")].concat());
        let first = [notification(PIDS.shown), notification(PIDS.real + 1)].concat();
        let second = [server("T D"), notification(PIDS.shown), server("C ZI")].concat();
        assert_eq!(talk.to_client, [first, second].concat());
    });
}
