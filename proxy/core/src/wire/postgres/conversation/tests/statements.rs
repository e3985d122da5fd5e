//! Named statements that are shared by content, in every way of cutting.

use super::kit::{Pieces, Talk, bind, client, everywhere, message, parse, query, server};
use crate::wire::postgres::statements::Traits;
use crate::wire::postgres::statements::catalog::name_of;

const TEXT: &[u8] = b"select $1";

fn sharing(mut talk: Talk) -> Talk {
    talk.sharing = true;
    talk.conversation.start_lend();
    talk
}

/// The name that a text has on servers.
fn shared(talk: &mut Talk, text: &[u8]) -> Vec<u8> {
    let tail = [text, b"\0\0\0"].concat();
    let content = talk
        .catalog
        .intern(&tail, Traits::default())
        .expect("there is room");
    name_of(content.hash()).to_vec()
}

/// Sends and expects what reaches the server.
fn sends(talk: &mut Talk, bytes: &[&[u8]], expected: &[&[u8]]) {
    talk.client(&bytes.concat());
    let (sent, expected) = (talk.sent(), expected.concat());
    assert_eq!(
        sent.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
}

fn hears(talk: &mut Talk, bytes: &[u8], expected: &[u8]) {
    talk.server(bytes);
    let heard = core::mem::take(&mut talk.to_client);
    assert_eq!(
        heard.escape_ascii().to_string(),
        expected.escape_ascii().to_string()
    );
    assert_eq!(talk.violation, None);
}

fn close(name: &[u8]) -> Vec<u8> {
    message(b'C', &[b"S", name, b"\0"].concat())
}

fn describe(name: &[u8]) -> Vec<u8> {
    message(b'D', &[b"S", name, b"\0"].concat())
}

#[test]
fn a_known_content_is_answered_in_its_place_and_an_unknown_one_prepared_on_the_way() {
    everywhere(|talk| {
        let mut talk = sharing(talk);
        let name = shared(&mut talk, TEXT);
        let sync = client("S");
        sends(
            &mut talk,
            &[&parse(b"a", TEXT), &sync],
            &[&parse(&name, TEXT), &sync],
        );
        hears(&mut talk, &server("1 ZI"), &server("1 ZI"));
        // The same content under another name, behind something that the server has to answer.
        sends(
            &mut talk,
            &[&bind(b"", b"a"), &parse(b"b", TEXT), &describe(b"b"), &sync],
            &[&bind(b"", &name), &describe(&name), &sync],
        );
        hears(&mut talk, &server("2 t T ZI"), &server("2 1 t T ZI"));
        assert!(talk.conversation.releasable());
        talk.conversation.end_lend();
        // A backend that has nothing.
        talk.held.clear();
        talk.conversation.start_lend();
        sends(
            &mut talk,
            &[&bind(b"", b"b"), &sync],
            &[&parse(&name, TEXT), &bind(b"", &name), &sync],
        );
        hears(&mut talk, &server("1 2 ZI"), &server("2 ZI"));
        assert!(talk.pins.is_empty());
    });
}

#[test]
fn what_an_error_skips_never_happened() {
    everywhere(|talk| {
        let mut talk = sharing(talk);
        let (name, sync) = (shared(&mut talk, TEXT), client("S"));
        sends(
            &mut talk,
            &[&bind(b"", b"nothing"), &parse(b"a", TEXT), &sync],
            &[&bind(b"", b"nothing"), &parse(&name, TEXT), &sync],
        );
        hears(&mut talk, &server("E ZI"), &server("E ZI"));
        sends(
            &mut talk,
            &[&bind(b"", b"a"), &sync],
            &[&bind(b"", b"a"), &sync],
        );
        hears(&mut talk, &server("E ZI"), &server("E ZI"));
        sends(
            &mut talk,
            &[&parse(b"a", TEXT), &sync],
            &[&parse(&name, TEXT), &sync],
        );
        hears(&mut talk, &server("1 ZI"), &server("1 ZI"));
    });
}

#[test]
fn a_name_whose_fate_is_open_waits_for_the_answer() {
    everywhere(|talk| {
        let mut talk = sharing(talk);
        let (name, sync) = (shared(&mut talk, TEXT), client("S"));
        sends(
            &mut talk,
            &[&parse(b"a", TEXT), &sync, &bind(b"", b"a"), &sync],
            &[&parse(&name, TEXT), &sync],
        );
        hears(&mut talk, &server("1 ZI"), &server("1 ZI"));
        let went = talk.sent();
        assert_eq!(went, [bind(b"", &name), sync].concat());
        hears(&mut talk, &server("2 ZI"), &server("2 ZI"));
    });
}

#[test]
fn answers_of_weirs_own_do_not_fall_into_a_message() {
    let mut talk = sharing(Talk::new(Pieces::Whole));
    let notice = server("N");
    talk.server(&notice[..9]);
    talk.client(&[query(b"deallocate all"), client("")].concat());
    talk.server(&notice[9..]);
    let answer = [message(b'C', b"DEALLOCATE ALL\0"), server("ZI")].concat();
    assert_eq!(talk.to_client, [notice, answer].concat());
    assert!(talk.sent().is_empty() && talk.conversation.releasable());
}

#[test]
fn a_close_stays_here_and_the_name_means_nothing_then() {
    everywhere(|talk| {
        let mut talk = sharing(talk);
        let (name, sync) = (shared(&mut talk, TEXT), client("S"));
        sends(
            &mut talk,
            &[&parse(b"a", TEXT), &sync],
            &[&parse(&name, TEXT), &sync],
        );
        hears(&mut talk, &server("1 ZI"), &server("1 ZI"));
        sends(
            &mut talk,
            &[&close(b"a"), &bind(b"", b"a"), &sync],
            &[&bind(b"", b"a"), &sync],
        );
        hears(&mut talk, &server("E ZI"), &server("3 E ZI")[..]);
        // Nobody finds what others prepared by guessing its name.
        sends(
            &mut talk,
            &[&bind(b"", &name), &sync],
            &[&bind(b"", &[b"?", &name[..]].concat()), &sync],
        );
    });
}
