//! Right and wrong proofs by every method.

use super::*;

#[test]
fn scram_plus_inside_tls() {
    let mut login = inside_tls(ClientAuthMethod::ScramSha256);
    let request = begin(&mut login, Some(&app()));
    assert_eq!(
        request,
        b"R\0\0\0\x2a\0\0\0\x0aSCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0"
    );
    let mut client = Client::new("secret", &request, Some(END_POINT));
    assert_eq!(client.scram.mechanism(), "SCRAM-SHA-256-PLUS");
    let challenge = sent(feed(&mut login, &client.first()));
    let end = sent(feed(&mut login, &client.last(&challenge)));
    client.verify(&end);
    match feed(&mut login, b"") {
        LoginStep::Authenticated { client_key } => {
            assert_eq!(
                client_key,
                Some(client.scram.keys_used().unwrap().2.client_key)
            );
        }
        other => panic!("{other:?}"),
    }
    assert!(matches!(feed(&mut login, b""), LoginStep::Hangup { .. }));
}

#[test]
fn scram_without_tls_offers_no_binding() {
    let mut login = scram(ClientTls::Off);
    let request = begin(&mut login, Some(&app()));
    assert_eq!(request, b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0");
    let mut client = Client::new("secret", &request, None);
    let challenge = sent(feed(&mut login, &client.first()));
    let end = sent(feed(&mut login, &client.last(&challenge)));
    client.verify(&end);
}

#[test]
fn scram_with_the_first_message_sent_later() {
    let mut login = scram(ClientTls::Off);
    let request = begin(&mut login, Some(&app()));
    let mut client = Client::new("secret", &request, None);
    let empty = sent(feed(
        &mut login,
        b"p\0\0\0\x16SCRAM-SHA-256\0\xff\xff\xff\xff",
    ));
    assert_eq!(empty, b"R\0\0\0\x08\0\0\0\x0b");
    let mut first = Vec::new();
    messages::sasl_response(&mut first, client.scram.first().as_bytes());
    let challenge = sent(feed(&mut login, &first));
    let end = sent(feed(&mut login, &client.last(&challenge)));
    client.verify(&end);
}

/// The whole SCRAM login in one piece each; gives the last step.
fn scram_login(password: &str, user: Option<&User>) -> (Vec<usize>, LoginStep) {
    let mut login = inside_tls(ClientAuthMethod::ScramSha256);
    let request = begin(&mut login, user);
    let mut client = Client::new(password, &request, Some(END_POINT));
    let challenge = sent(feed(&mut login, &client.first()));
    let step = feed(&mut login, &client.last(&challenge));
    (vec![request.len(), challenge.len()], step)
}

#[test]
fn a_wrong_password_and_an_unknown_user_differ_only_in_the_log() {
    let (wrong_sizes, wrong) = scram_login("wrong", Some(&app()));
    let (unknown_sizes, unknown) = scram_login("secret", None);
    let ((wrong, why_wrong), (unknown, why_unknown)) = (refused(wrong), refused(unknown));
    assert_eq!(wrong, unknown);
    assert_eq!(wrong_sizes, unknown_sizes);
    assert_eq!((wrong.code, wrong.severity), ("28P01", "FATAL"));
    assert_eq!(
        wrong.message,
        "password authentication failed for user \"app\""
    );
    assert_eq!(
        (&*why_wrong, &*why_unknown),
        ("wrong password", "unknown user")
    );
}

#[test]
fn unknown_users_get_the_same_challenge_every_time() {
    let salt = || {
        let mut login = scram(ClientTls::Off);
        let request = begin(&mut login, None);
        let challenge = sent(feed(&mut login, &Client::new("x", &request, None).first()));
        let text = String::from_utf8(challenge[9..].to_vec()).unwrap();
        text.split(',').nth(1).unwrap().to_owned()
    };
    assert_eq!(salt(), salt());
}

#[test]
fn a_verifier_alone_lets_scram_in_and_md5_not() {
    let text = app().secret.verifier().to_text();
    let stored = user(UserSecret::from_verifier(&text).unwrap());
    let (_, step) = scram_login("secret", Some(&stored));
    sent(step);
    for method in [ClientAuthMethod::Md5, ClientAuthMethod::Cleartext] {
        let mut login = inside_tls(method);
        begin(&mut login, Some(&stored));
        let (error, reason) = refused(feed(&mut login, &password(b"nobody's password")));
        assert_eq!(error.code, "28P01");
        assert!(reason.contains("verifier"));
    }
}

#[test]
fn md5_and_cleartext() {
    for method in [ClientAuthMethod::Md5, ClientAuthMethod::Cleartext] {
        let run = |given: &str, user: Option<&User>| {
            let mut login = inside_tls(method);
            let request = begin(&mut login, user);
            let answer = if method == ClientAuthMethod::Md5 {
                assert_eq!(request, b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04");
                crate::auth::md5::answer(given.as_bytes(), b"app", [1, 2, 3, 4]).to_vec()
            } else {
                assert_eq!(request, b"R\0\0\0\x08\0\0\0\x03");
                given.as_bytes().to_vec()
            };
            let step = feed(&mut login, &password(&answer));
            (login, step)
        };
        let (mut login, step) = run("secret", Some(&app()));
        assert_eq!(sent(step), b"R\0\0\0\x08\0\0\0\0");
        let done = feed(&mut login, b"");
        assert!(matches!(
            done,
            LoginStep::Authenticated { client_key: None }
        ));
        let (wrong, why_wrong) = refused(run("wrong", Some(&app())).1);
        let (unknown, why_unknown) = refused(run("secret", None).1);
        let (guessed, _) = refused(run("nobody's password", None).1);
        assert_eq!(wrong, unknown);
        assert_eq!(wrong, guessed);
        assert_eq!(wrong.code, "28P01");
        assert_eq!(
            (&*why_wrong, &*why_unknown),
            ("wrong password", "unknown user")
        );
    }
}

#[test]
fn an_empty_password_never_passes() {
    let empty = user(UserSecret::from_password("", [0; 16]));
    let mut login = inside_tls(ClientAuthMethod::Cleartext);
    begin(&mut login, Some(&empty));
    assert_eq!(refused(feed(&mut login, &password(b""))).0.code, "28P01");
}

#[test]
fn cleartext_is_never_asked_for_outside_tls() {
    let mut login = new(ClientTls::Off, ClientAuthMethod::Cleartext);
    assert!(matches!(
        feed(&mut login, &startup()),
        LoginStep::Identify(_)
    ));
    let (error, _) = refused(identify(&mut login, Some(&app())));
    assert_eq!(error.code, "28000");
    assert!(error.message.contains("requires TLS"));
}

#[test]
fn other_messages_instead_of_the_proof_are_refused() {
    for (method, words) in [
        (
            ClientAuthMethod::Md5,
            "expected password response, got message type 81",
        ),
        (
            ClientAuthMethod::ScramSha256,
            "expected SASL response, got message type 81",
        ),
    ] {
        let mut login = inside_tls(method);
        begin(&mut login, Some(&app()));
        let (error, _) = refused(feed(&mut login, b"Q"));
        assert_eq!((error.code, &*error.message), ("08P01", words));
    }
}

#[test]
fn malformed_answers_are_refused() {
    let cases: &[(ClientAuthMethod, &[u8])] = &[
        (ClientAuthMethod::Md5, b""),
        (ClientAuthMethod::Md5, b"no terminator"),
        (ClientAuthMethod::Cleartext, b"two\0parts\0"),
        (ClientAuthMethod::ScramSha256, b""),
        (ClientAuthMethod::ScramSha256, b"SCRAM-SHA-256"),
        (ClientAuthMethod::ScramSha256, b"SCRAM-SHA-256\0\0\0"),
        (
            ClientAuthMethod::ScramSha256,
            b"SCRAM-SHA-256\0\0\0\0\x05n,,",
        ),
        (
            ClientAuthMethod::ScramSha256,
            b"SCRAM-SHA-256\0\0\0\0\x02n,,",
        ),
        (
            ClientAuthMethod::ScramSha256,
            b"SCRAM-SHA-256\0\xff\xff\xff\xfe",
        ),
        (
            ClientAuthMethod::ScramSha256,
            b"SCRAM-SHA-256\0\xff\xff\xff\xffx",
        ),
        (ClientAuthMethod::ScramSha256, b"SCRAM-SHA-1\0\0\0\0\x03n,,"),
        (
            ClientAuthMethod::ScramSha256,
            b"SCRAM-SHA-256\0\0\0\0\x03n,,",
        ),
    ];
    for (method, body) in cases {
        let mut login = inside_tls(*method);
        begin(&mut login, Some(&app()));
        let mut message = Vec::new();
        messages::sasl_response(&mut message, body);
        let (error, _) = refused(feed(&mut login, &message));
        assert_eq!(error.code, "08P01", "{}", body.escape_ascii());
    }
    // -PLUS where it is not on offer, a wrong binding, an authorization identity.
    for (tls, message, code) in [
        (false, "p=tls-server-end-point,,n=,r=a", "08P01"),
        (true, "y,,n=,r=a", "28000"),
        (true, "n,a=x,n=,r=a", "0A000"),
    ] {
        let mut login = if tls {
            inside_tls(ClientAuthMethod::ScramSha256)
        } else {
            scram(ClientTls::Off)
        };
        begin(&mut login, Some(&app()));
        let mechanism = if tls {
            "SCRAM-SHA-256"
        } else {
            "SCRAM-SHA-256-PLUS"
        };
        let mut first = Vec::new();
        messages::sasl_initial_response(&mut first, mechanism, message.as_bytes());
        assert_eq!(refused(feed(&mut login, &first)).0.code, code, "{message}");
    }
}
