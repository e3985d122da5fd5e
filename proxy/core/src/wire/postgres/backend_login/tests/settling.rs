//! What a server says between AuthenticationOk and ReadyForQuery.

use super::*;

fn pairs(of: &[(&[u8], &[u8])]) -> Parameters {
    of.iter()
        .map(|(n, v)| (Box::from(*n), Box::from(*v)))
        .collect()
}

#[test]
fn parameters_and_key_are_collected_in_order() {
    let bytes = [
        OK,
        b"S\0\0\0\x08b\0\xff\0",
        b"N\0\0\0\x09Mhi\0\0",
        b"S\0\0\0\x08a\x001\0",
        b"K\0\0\0\x0c\0\0\0\x07abcd",
        b"S\0\0\0\x07b\0\0",
        IDLE,
        b"rest",
    ]
    .concat();
    let mut login = plain(app());
    let mut used = 0;
    let hello = ready(login.next(&bytes, &mut used));
    assert_eq!(hello.params, pairs(&[(b"b", b""), (b"a", b"1")]));
    assert_eq!(hello.key, Some((7, b"abcd".to_vec())));
    assert_eq!(&bytes[used..], b"rest");
    failed(feed(&mut login, b""));
}

#[test]
fn any_pieces_make_the_same_login() {
    let bytes = [OK, b"S\0\0\0\x08b\0x\0", b"K\0\0\0\x0c\0\0\0\x07abcd", IDLE].concat();
    for at in 0..bytes.len() {
        let mut login = plain(app());
        assert!(matches!(
            feed(&mut login, &bytes[..at]),
            BackendStep::NeedMore
        ));
        assert_eq!(
            ready(feed(&mut login, &bytes[at..])).params,
            pairs(&[(b"b", b"x")])
        );
    }
}

#[test]
fn keys_may_be_long_or_missing() {
    for (length, good) in [(3, false), (4, true), (256, true), (257, false)] {
        let mut bytes = OK.to_vec();
        messages::backend_key_data(&mut bytes, 1, &vec![5; length]);
        bytes.extend_from_slice(IDLE);
        let step = plain(app()).next(&bytes, &mut 0);
        assert_eq!(matches!(step, BackendStep::Ready(_)), good, "{length}");
    }
    assert_eq!(
        ready(feed(&mut plain(app()), &[OK, IDLE].concat())).key,
        None
    );
}

#[test]
fn a_servers_error_is_kept_whole_at_any_time() {
    let error = b"E\0\0\0\x1bSFATAL\0C28P01\0Mno\nway\0\0";
    for before in [&b""[..], OK, b"N\0\0\0\x05\0"] {
        let mut login = plain(app());
        match login.next(&[before, error].concat(), &mut 0) {
            BackendStep::Failed {
                server_error,
                code,
                reason,
            } => {
                assert_eq!(server_error.as_deref(), Some(&error[..]));
                assert_eq!(code.as_deref(), Some("28P01"));
                assert!(
                    reason.ends_with("\"app\" to \"db\": FATAL 28P01: no way"),
                    "{reason}"
                );
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn messages_out_of_place_are_refused() {
    for bytes in [
        IDLE,
        b"S\0\0\0\x08b\0x\0",
        b"K\0\0\0\x0c\0\0\0\x07abcd",
        b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0",
        b"D\0\0\0\x04",
        b"\0\0\0\0\x04",
    ] {
        failed(feed(&mut plain(app()), bytes));
    }
    for bytes in [
        OK,
        b"D\0\0\0\x04",
        b"Z\0\0\0\x05T",
        b"Z\0\0\0\x04",
        b"Z\0\0\0\x06II",
        b"S\0\0\0\x04",
        b"S\0\0\0\x06b\0",
        b"S\0\0\0\x07b\0x",
        b"S\0\0\0\x09b\0x\0\0",
        b"S\0\0\0\x09b\0x\0y",
    ] {
        failed(feed(&mut plain(app()), &[OK, bytes].concat()));
    }
}

#[test]
fn lying_lengths_are_found_at_once() {
    for word in [0_u32, 3, 65_537, u32::MAX] {
        let bytes = [b"R", &word.to_be_bytes()[..]].concat();
        assert!(failed(feed(&mut plain(app()), &bytes)).contains("impossible length"));
    }
}

#[test]
fn reported_parameters_are_bounded() {
    let mut login = plain(app());
    let mut bytes = OK.to_vec();
    for n in 0..20 {
        messages::parameter_status(&mut bytes, format!("p{n}").as_bytes(), &[b'x'; 4096]);
    }
    assert!(failed(feed(&mut login, &bytes)).contains("65536"));
    let mut same = plain(app());
    let mut bytes = OK.to_vec();
    for _ in 0..20 {
        messages::parameter_status(&mut bytes, b"p", &[b'x'; 4096]);
    }
    assert!(matches!(feed(&mut same, &bytes), BackendStep::NeedMore));
}
