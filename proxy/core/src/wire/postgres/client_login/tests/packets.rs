//! First packets: encryption, cancel, versions, and what is out of place.

use super::*;
use crate::wire::postgres::messages::ErrorFields;

#[test]
fn tls_is_required_or_declined() {
    let (error, _) = refused(feed(&mut scram(ClientTls::Required), &startup()));
    assert_eq!(error.code, "28000");

    match feed(&mut scram(ClientTls::Required), SSL) {
        LoginStep::StartTls { reply, early } => {
            assert_eq!((reply, early), (Some(b"S".to_vec()), None))
        }
        other => panic!("{other:?}"),
    }
    let mut off = scram(ClientTls::Off);
    assert_eq!(sent(feed(&mut off, SSL)), b"N");
    assert!(matches!(feed(&mut off, &startup()), LoginStep::Identify(_)));
}

#[test]
fn gssenc_is_declined_once_and_the_login_goes_on() {
    let mut login = scram(ClientTls::Required);
    assert_eq!(sent(feed(&mut login, GSS)), b"N");
    assert!(matches!(feed(&mut login, SSL), LoginStep::StartTls { .. }));

    let mut twice = scram(ClientTls::Required);
    sent(feed(&mut twice, GSS));
    assert_eq!(refused(feed(&mut twice, GSS)).0.code, "0A000");
    let mut off = scram(ClientTls::Off);
    sent(feed(&mut off, SSL));
    sent(feed(&mut off, GSS));
    assert_eq!(refused(feed(&mut off, SSL)).0.code, "0A000");
}

#[test]
fn requests_for_encryption_inside_tls_are_refused() {
    for request in [SSL, GSS] {
        let (error, _) = refused(feed(&mut inside_tls(ClientAuthMethod::Md5), request));
        assert_eq!(error.code, "0A000");
        assert!(error.message.contains("1234."));
    }
}

#[test]
fn bytes_behind_a_request_for_encryption_are_refused() {
    for tls in [ClientTls::Required, ClientTls::Off] {
        for request in [SSL, GSS] {
            let injected = [request, &startup()].concat();
            let (error, _) = refused(feed(&mut scram(tls), &injected));
            assert_eq!(error.code, "08P01");
            assert!(error.message.contains("unencrypted data"));
        }
    }
    let mut late = scram(ClientTls::Required);
    feed(&mut late, SSL);
    assert!(matches!(feed(&mut late, b""), LoginStep::NeedMore));
    assert!(matches!(feed(&mut late, b"x"), LoginStep::Hangup { .. }));
}

#[test]
fn direct_tls_needs_alpn() {
    let hello = b"\x16\x03\x01\x02\0";
    for (alpn, welcome) in [(true, true), (false, false)] {
        let mut login = scram(ClientTls::Required);
        let mut used = 0;
        match login.next(hello, &mut used) {
            LoginStep::StartTls { reply, early } => assert_eq!((reply, early), (None, Some(0))),
            other => panic!("{other:?}"),
        }
        assert_eq!(used, hello.len());
        login.tls_ready(alpn);
        let step = feed(&mut login, &startup());
        assert_eq!(matches!(step, LoginStep::Identify(_)), welcome, "{step:?}");
        if !welcome {
            assert_eq!(refused(step).0.code, "08P01");
        }
    }
    let off = feed(&mut scram(ClientTls::Off), hello);
    assert!(matches!(off, LoginStep::Hangup { .. }));
    // Only as the very first thing.
    let mut later = scram(ClientTls::Required);
    sent(feed(&mut later, GSS));
    assert!(matches!(feed(&mut later, hello), LoginStep::Hangup { .. }));
}

#[test]
fn cancel_requests_come_plain_and_inside_tls() {
    let mut request = Vec::new();
    messages::cancel_request(&mut request, 77, &[4; 32]);
    for mut login in [
        scram(ClientTls::Required),
        inside_tls(ClientAuthMethod::Md5),
    ] {
        match feed(&mut login, &request) {
            LoginStep::Cancel { key, secret } => assert_eq!((key, secret), (77, vec![4; 32])),
            other => panic!("{other:?}"),
        }
        assert!(matches!(
            feed(&mut login, &startup()),
            LoginStep::Hangup { .. }
        ));
    }
}

#[test]
fn protocol_versions_and_options_are_negotiated() {
    for (word, more, version) in [
        (
            PROTOCOL_3_0 + 3,
            None,
            Some(&b"v\0\0\0\x0c\0\x03\0\x02\0\0\0\0"[..]),
        ),
        (
            PROTOCOL_3_0 + 1,
            None,
            Some(b"v\0\0\0\x0c\0\x03\0\0\0\0\0\0"),
        ),
        (
            PROTOCOL_3_2,
            Some(("_pq_.x", "1")),
            Some(b"v\0\0\0\x13\0\x03\0\x02\0\0\0\x01_pq_.x\0"),
        ),
        (PROTOCOL_3_2, None, None),
        (PROTOCOL_3_0, None, None),
    ] {
        let mut login = inside_tls(ClientAuthMethod::Md5);
        let more: Vec<_> = more.into_iter().collect();
        feed(&mut login, &startup_of(word, &more));
        let request = sent(identify(&mut login, Some(&app())));
        let expected = [
            version.unwrap_or(b""),
            b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04",
        ]
        .concat();
        assert_eq!(request, expected);
        assert_eq!(login.minor(), if word >= PROTOCOL_3_2 { 2 } else { 0 });
    }
}

#[test]
fn impossible_lengths_end_the_login() {
    for word in [0_u32, 3, 4, 7, 10_005, u32::MAX] {
        let bytes = [&word.to_be_bytes()[..], &[0; 3]].concat();
        let step = feed(&mut scram(ClientTls::Off), &bytes);
        assert!(matches!(step, LoginStep::Hangup { .. }), "{word}: {step:?}");
    }
    let longest = [&10_004_u32.to_be_bytes()[..], &[0; 3]].concat();
    assert!(matches!(
        feed(&mut scram(ClientTls::Off), &longest),
        LoginStep::NeedMore
    ));
    for word in [0_u32, 3, 65_540, u32::MAX] {
        let mut login = scram(ClientTls::Off);
        begin(&mut login, Some(&app()));
        let message = [&b"p"[..], &word.to_be_bytes()].concat();
        assert_eq!(
            refused(feed(&mut login, &message)).0.code,
            "08P01",
            "{word}"
        );
    }
}

#[test]
fn calls_out_of_turn_are_survived() {
    let mut login = scram(ClientTls::Off);
    login.tls_ready(true);
    assert!(matches!(feed(&mut login, b""), LoginStep::NeedMore));
    assert!(matches!(
        identify(&mut login, None),
        LoginStep::Hangup { .. }
    ));
    let mut login = scram(ClientTls::Off);
    feed(&mut login, &startup());
    assert!(matches!(feed(&mut login, b""), LoginStep::NeedMore));
    assert!(matches!(
        feed(&mut login, b"early"),
        LoginStep::Hangup { .. }
    ));
}

#[test]
fn errors_of_the_login_are_readable() {
    let (error, _) = refused(feed(&mut scram(ClientTls::Required), &startup()));
    let bytes = error.to_bytes();
    assert_eq!(ErrorFields::parse(&bytes[5..]).code, "28000");
}
