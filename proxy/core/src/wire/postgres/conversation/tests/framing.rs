//! Boundaries, bounds and bytes that are no messages at all.

use super::kit::{Pieces, Talk, client, everywhere, message, next_random, server};
use crate::limits::{MESSAGE_MAX, SERVER_INSPECT_MAX};
use crate::wire::postgres::conversation::{ClientEnd, Conversation};

fn header(tag: u8, length: u32) -> Vec<u8> {
    let mut bytes = vec![tag];
    bytes.extend_from_slice(&length.to_be_bytes());
    bytes
}

#[test]
fn a_client_that_breaks_the_protocol_ends_there() {
    for bad in [
        header(b'Q', 3),
        header(b'd', 0),
        header(b'Q', MESSAGE_MAX + 1),
        header(b'd', u32::MAX),
        header(b'p', 8),
        header(b'R', 8),
        header(0, 4),
        header(b'S', 5),
        header(b'H', 5),
    ] {
        everywhere(|mut talk| {
            let good = client("P B E S d");
            talk.client(&[&good[..], &bad, &client("Q")].concat());
            assert!(matches!(talk.end, Some(ClientEnd::Violation(_))), "{bad:?}");
            assert_eq!(talk.to_server, good);
        });
    }
}

#[test]
fn the_longest_message_is_taken() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        talk.client(&client("Q"));
        talk.server(&server("G"));
        talk.client(&header(b'd', MESSAGE_MAX));
        assert_eq!(talk.end, None);
        assert!(!talk.conversation.releasable());
    });
}

#[test]
fn terminate_is_not_forwarded_and_nothing_behind_it() {
    everywhere(|mut talk| {
        talk.client(&client("Q X Q"));
        assert_eq!(talk.end, Some(ClientEnd::Terminate));
        assert_eq!(talk.to_server, client("Q"));
        assert_eq!(talk.conversation.owed(), 1);
    });
}

#[test]
fn terminate_alone_needs_no_server() {
    everywhere(|mut talk| {
        talk.client(&client("X"));
        assert_eq!(talk.end, Some(ClientEnd::Terminate));
        assert!(!talk.needs_server && talk.to_server.is_empty());
    });
}

#[test]
fn a_server_that_breaks_the_protocol_is_a_violation() {
    for bad in [
        header(b'D', 3),
        header(b'D', MESSAGE_MAX + 1),
        header(b'C', u32::MAX),
        header(b'Z', 4),
        header(b'Z', 6),
        header(b'1', 5),
        header(b'S', SERVER_INSPECT_MAX as u32 + 5),
        header(b'p', 4),
        header(b'q', 400),
        header(0, 4),
    ] {
        everywhere(|mut talk| {
            talk.conversation.start_lend();
            talk.client(&client("Q"));
            talk.server(&[&server("T D C")[..], &bad, &server("ZI")].concat());
            assert!(talk.violation.is_some(), "{bad:?}");
            assert_eq!(talk.to_client, server("T D C"), "{bad:?}");
            assert!(!talk.conversation.mid_answer());
        });
    }
}

#[test]
fn a_message_that_does_not_fit_goes_on_whole_or_not_at_all() {
    for bad in [message(b'Z', b"X"), server("t"), server("1"), server("ZI")] {
        everywhere(|mut talk| {
            talk.conversation.start_lend();
            talk.client(&client("Q"));
            talk.server(&[&server("T D")[..], &bad, &server("C")].concat());
            assert!(talk.violation.is_some(), "{bad:?}");
            let whole = [server("T D"), bad.clone()].concat();
            assert!(talk.to_client == server("T D") || talk.to_client == whole);
            assert!(!talk.conversation.mid_answer());
        });
    }
}

#[test]
fn a_server_s_half_header_is_held_back() {
    let mut talk = Talk::lent(Pieces::Whole);
    talk.client(&client("Q"));
    talk.server(&[&server("T")[..], b"D\0\0"].concat());
    assert_eq!(talk.to_client, server("T"));
    assert!(!talk.conversation.mid_answer() && !talk.conversation.releasable());
    talk.server(b"\0\x0b");
    assert_eq!(talk.to_client, [&server("T")[..], b"D\0\0\0\x0b"].concat());
    assert!(talk.conversation.mid_answer());
}

#[test]
fn parameters_and_errors_longer_than_a_read_are_understood() {
    everywhere(|mut talk| {
        talk.conversation.start_lend();
        talk.client(&client("Q"));
        let value = vec![b'v'; 3000];
        talk.server(&message(b'S', &[b"long\0", &value[..], b"\0"].concat()));
        assert_eq!(talk.parameters, [(b"long".to_vec(), value)]);
        let long = [b"SF\0VFATAL\0C57P01\0M", &[b'm'; 3000][..], b"\0\0"].concat();
        talk.server(&message(b'E', &long));
        assert!(talk.fatal);
    });
}

#[test]
fn an_error_longer_than_what_is_read_still_counts() {
    let mut talk = Talk::lent(Pieces::Whole);
    talk.client(&client("Q"));
    let long = [
        b"SF\0VFATAL\0C57P01\0M",
        &[b'm'; 3 * SERVER_INSPECT_MAX][..],
        b"\0\0",
    ]
    .concat();
    for piece in message(b'E', &long).chunks(1000) {
        talk.server(piece);
        assert!(talk.conversation.server.kept.len() <= SERVER_INSPECT_MAX);
    }
    assert!(talk.fatal);
    assert_eq!(talk.violation, None);
}

#[test]
fn a_half_message_of_the_server_keeps_the_backend() {
    let mut talk = Talk::lent(Pieces::Whole);
    let notice = server("N");
    for end in 1..notice.len() {
        talk.server(&notice[end - 1..end]);
        assert!(!talk.conversation.releasable());
    }
    talk.server(&notice[notice.len() - 1..]);
    assert!(talk.conversation.releasable());
}

#[test]
fn whole_messages_go_on_in_place_and_nothing_stays_behind() {
    let mut conversation = Conversation::new();
    let bytes = client("Q P B D E C* F S d H");
    let out = conversation.client(&bytes);
    assert!(out.head.is_empty() && (out.start, out.end) == (0, bytes.len()));
    assert_eq!(conversation.client.kept.capacity(), 0);
}

#[test]
fn a_half_header_is_held_back() {
    let mut conversation = Conversation::new();
    let bytes = [&client("Q")[..], b"S\0\0"].concat();
    let out = conversation.client(&bytes);
    assert_eq!((out.start, out.end), (0, bytes.len() - 3));
    let out = conversation.client(b"\0\x04");
    assert_eq!(out.head, client("S"));
    assert_eq!(out.start, out.end);
    assert_eq!(conversation.client.kept.capacity(), 0);
}

/// Random messages in random order; most of it breaks rules, all of it must be cut-proof.
#[test]
fn cuts_change_nothing() {
    const CLIENT: [&str; 16] = [
        "Q", "P", "P*", "B", "B*", "D", "E", "C", "F", "S", "H", "d", "c", "f", "D*", "S",
    ];
    const SERVER: [&str; 18] = [
        "1", "2", "3", "T", "t", "D", "C", "I", "s", "V", "G", "N", "A", "PS", "E", "ZI", "ZT", "n",
    ];
    for first in 1..600_u64 {
        let mut seed = first * 0x9e37_79b9;
        let mut talks = [
            Talk::lent(Pieces::Whole),
            Talk::lent(Pieces::Bytes),
            Talk::lent(Pieces::Random(first)),
        ];
        for _ in 0..12 {
            let mut pick = |from: &[&'static str]| {
                let count = next_random(&mut seed) % 6;
                let tokens =
                    (0..count).map(|_| from[(next_random(&mut seed) % from.len() as u64) as usize]);
                tokens.collect::<Vec<_>>().join(" ")
            };
            let (from_client, from_server) = (client(&pick(&CLIENT)), server(&pick(&SERVER)));
            for talk in &mut talks {
                talk.client(&from_client);
                if talk.violation.is_none() {
                    talk.server(&from_server);
                }
            }
            let seen = talks.each_ref().map(|t| {
                (
                    (&t.to_server, t.pins, t.violation, t.cycles, t.errors, t.end),
                    (
                        t.conversation.owed(),
                        t.conversation.releasable(),
                        t.conversation.status(),
                    ),
                    (
                        t.conversation.holds_unnamed(),
                        t.conversation.stray_ready(),
                        &t.parameters,
                    ),
                )
            });
            assert_eq!(seen[0], seen[1], "seed {first}");
            assert_eq!(seen[0], seen[2], "seed {first}");
        }
    }
}

#[test]
fn garbage_never_panics() {
    for first in 1..3000_u64 {
        let mut seed = first * 0x51_7cc1;
        let mut talk = Talk::lent(Pieces::Random(first));
        for _ in 0..20 {
            let mut bytes = client("Q P B E S d c B D H");
            let mut answers = server("1 2 T D C ZI N E G PS ZI");
            for _ in 0..next_random(&mut seed) % 4 {
                let at = next_random(&mut seed) as usize;
                let length = bytes.len();
                bytes[at % length] = next_random(&mut seed) as u8;
                let length = answers.len();
                answers[at % length] = next_random(&mut seed) as u8;
            }
            talk.client(&bytes);
            // After a violation the shard closes; the machine must bear more all the same.
            talk.server(&answers);
            let _ = (talk.conversation.owed(), talk.conversation.releasable());
            match next_random(&mut seed) % 8 {
                0 => drop(talk.conversation.fail_pending(b"E\0\0\0\x04")),
                1 => talk.conversation.end_lend(),
                2 => talk.conversation.start_lend(),
                _ => {}
            }
        }
    }
}

#[test]
fn random_bytes_never_panic() {
    for first in 1..3000_u64 {
        let mut seed = first;
        let noise: Vec<u8> = (0..200).map(|_| next_random(&mut seed) as u8).collect();
        let mut talk = Talk::lent(Pieces::Random(first));
        talk.client(&noise);
        talk.server(&noise);
    }
}

/// Many small pieces and many small messages cost time in proportion: each of these takes well under a second then, and hours
/// if anything is gone over again.
#[test]
fn time_is_linear() {
    let started = std::time::Instant::now();
    let mut talk = Talk::lent(Pieces::Bytes);
    talk.client(&super::kit::query(&vec![b' '; 16_000]));
    talk.server(&server("G"));
    talk.client(&client("d").repeat(100_000));
    talk.client(&message(b'd', &vec![0; 1_000_000]));
    talk.pieces = Pieces::Whole;
    talk.client(&client("c"));
    talk.server(&server("C ZI"));
    talk.client(&client("Q S P* B* E").repeat(200_000));
    talk.server(&server("D").repeat(1_000_000)[..]);
    assert_eq!(talk.conversation.owed(), 1_000_000);
    talk.server(&server("C ZI ZI 1 2 C").repeat(200_000));
    assert_eq!(talk.violation, None);
    talk.client(&client("P*").repeat(500_000));
    talk.server(&server("E"));
    assert_eq!(talk.conversation.owed(), 0);
    assert!(started.elapsed().as_secs() < 30);
}
