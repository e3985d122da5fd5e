//! Every kind of authentication request, answered or refused.

use super::*;

/// Runs a SCRAM login up to and without AuthenticationOk.
fn scram(login: &mut BackendLogin, plus: bool, hashes: bool) {
    let mut server = Server::new("secret", plus);
    let initial = sent(feed(login, &Server::request(plus)));
    let mechanism = if plus { MECHANISM_PLUS } else { MECHANISM };
    let challenge = server.challenge(&initial, mechanism);
    let response = match feed(login, &challenge) {
        BackendStep::Hash(job) if hashes => sent(login.hashed(&job.run())),
        BackendStep::Send(bytes) if !hashes => bytes,
        other => panic!("{other:?}"),
    };
    assert!(login.keys_used().is_none());
    assert!(matches!(
        feed(login, &server.end(&response)),
        BackendStep::NeedMore
    ));
}

fn finish(login: &mut BackendLogin) {
    ready(feed(login, &[OK, IDLE].concat()));
}

#[test]
fn scram_in_plain_text() {
    let mut login = plain(app());
    scram(&mut login, false, true);
    finish(&mut login);
    let (salt, iterations, _) = login.keys_used().unwrap();
    assert_eq!((salt, iterations), (vec![2; 16], 4096));
}

#[test]
fn scram_binds_to_tls_where_it_can() {
    let mut login = secure(app());
    scram(&mut login, true, true);
    finish(&mut login);
    let mut unoffered = secure(app());
    scram(&mut unoffered, false, true);
    finish(&mut unoffered);
}

#[test]
fn cached_keys_save_the_hash() {
    let mut login = plain(app());
    scram(&mut login, false, true);
    let cached = login.keys_used();
    assert!(cached.is_some());
    let mut again = plain(BackendIdentity { cached, ..app() });
    scram(&mut again, false, false);
    finish(&mut again);
    assert!(again.keys_used().is_some());
}

#[test]
fn a_learned_key_needs_no_password() {
    let text = UserSecret::from_password("secret", [2; 16])
        .verifier()
        .to_text();
    let stored = || UserSecret::from_verifier(&text).unwrap();
    let mut first = plain(app());
    scram(&mut first, false, true);
    let learned = first.keys_used().map(|(_, _, keys)| keys.client_key);
    let mut login = plain(BackendIdentity {
        learned,
        ..identity(stored())
    });
    scram(&mut login, false, false);
    finish(&mut login);

    let mut nothing = plain(identity(stored()));
    let initial = sent(feed(&mut nothing, &Server::request(false)));
    let challenge = Server::new("secret", false).challenge(&initial, MECHANISM);
    assert!(failed(feed(&mut nothing, &challenge)).contains("no client has logged in"));
}

#[test]
fn a_server_that_skips_its_proof_is_refused() {
    let mut login = plain(app());
    let mut server = Server::new("secret", false);
    let initial = sent(feed(&mut login, &Server::request(false)));
    let challenge = server.challenge(&initial, MECHANISM);
    let BackendStep::Hash(job) = feed(&mut login, &challenge) else {
        panic!("no hash");
    };
    sent(login.hashed(&job.run()));
    assert!(failed(feed(&mut login, OK)).contains("impostor"));

    let mut at_once = plain(app());
    sent(feed(&mut at_once, &Server::request(false)));
    assert!(failed(feed(&mut at_once, OK)).contains("impostor"));
    let mut while_hashing = plain(app());
    sent(feed(&mut while_hashing, &Server::request(false)));
    feed(&mut while_hashing, &challenge);
    assert!(failed(feed(&mut while_hashing, OK)).contains("impostor"));
}

#[test]
fn a_server_with_another_password_is_found_out() {
    let mut login = plain(app());
    let initial = sent(feed(&mut login, &Server::request(false)));
    let challenge = Server::new("secret", false).challenge(&initial, MECHANISM);
    let BackendStep::Hash(job) = feed(&mut login, &challenge) else {
        panic!("no hash");
    };
    sent(login.hashed(&job.run()));
    let mut end = Vec::new();
    messages::authentication_sasl_final(
        &mut end,
        b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
    );
    assert!(failed(feed(&mut login, &end)).contains("signature is wrong"));
    assert!(login.keys_used().is_none());
}

#[test]
fn errors_arrive_while_hashing() {
    let mut login = plain(app());
    let initial = sent(feed(&mut login, &Server::request(false)));
    let challenge = Server::new("secret", false).challenge(&initial, MECHANISM);
    feed(&mut login, &challenge);
    let step = feed(&mut login, b"E\0\0\0\x0cC57P01\0\0");
    assert!(matches!(
        step,
        BackendStep::Failed {
            server_error: Some(_),
            ..
        }
    ));
    failed(login.hashed(&[0; 32]));
}

#[test]
fn md5_in_plain_text() {
    let mut login = plain(app());
    let answer = sent(feed(&mut login, b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04"));
    let digits = crate::auth::md5::answer(b"secret", b"app", [1, 2, 3, 4]);
    assert_eq!(answer, [b"p\0\0\0\x28", &digits[..], b"\0"].concat());
    finish(&mut login);
    assert!(login.keys_used().is_none());
}

#[test]
fn cleartext_inside_tls_alone() {
    let request = b"R\0\0\0\x08\0\0\0\x03";
    let mut login = secure(app());
    assert_eq!(sent(feed(&mut login, request)), b"p\0\0\0\x0bsecret\0");
    finish(&mut login);
    assert!(failed(feed(&mut plain(app()), request)).contains("outside TLS"));
}

#[test]
fn trust_needs_no_proof() {
    finish(&mut plain(app()));
    finish(&mut secure(app()));
}

#[test]
fn a_verifier_is_no_password() {
    let text = app().secret.verifier().to_text();
    let stored = || identity(UserSecret::from_verifier(&text).unwrap());
    for request in [
        &b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04"[..],
        b"R\0\0\0\x08\0\0\0\x03",
    ] {
        assert!(failed(feed(&mut secure(stored()), request)).contains("give the password"));
    }
}

#[test]
fn other_requests_are_refused_by_name() {
    for (kind, name) in [
        (2, "Kerberos"),
        (4, "crypt"),
        (6, "SCM"),
        (7, "GSSAPI"),
        (8, "GSSAPI"),
        (9, "SSPI"),
        (99, "kind 99"),
    ] {
        let request = [b"R\0\0\0\x08\0\0\0", &[kind][..]].concat();
        assert!(failed(feed(&mut plain(app()), &request)).contains(name));
    }
    let mut oauth = Vec::new();
    messages::authentication_sasl(&mut oauth, &["OAUTHBEARER"]);
    assert!(failed(feed(&mut plain(app()), &oauth)).contains("OAUTHBEARER"));
}

#[test]
fn requests_out_of_turn_are_refused() {
    let md5 = b"R\0\0\0\x0c\0\0\0\x05\x01\x02\x03\x04";
    let twice = [
        vec![md5.to_vec(), md5.to_vec()],
        vec![md5.to_vec(), Server::request(false)],
        vec![Server::request(false), Server::request(false)],
        vec![Server::request(false), md5.to_vec()],
        vec![Server::request(false), b"R\0\0\0\x0a\0\0\0\x0cv=".to_vec()],
    ];
    for requests in twice {
        let mut login = plain(app());
        sent(feed(&mut login, &requests[0]));
        failed(feed(&mut login, &requests[1]));
    }
    for request in [&b"R\0\0\0\x0a\0\0\0\x0br="[..], b"R\0\0\0\x0a\0\0\0\x0cv="] {
        assert!(failed(feed(&mut plain(app()), request)).contains("out of turn"));
    }
}

#[test]
fn malformed_requests_are_refused() {
    for request in [
        &b"R\0\0\0\x04"[..],
        b"R\0\0\0\x07\0\0\0",
        b"R\0\0\0\x0b\0\0\0\x05\x01\x02\x03",
    ] {
        assert!(failed(feed(&mut plain(app()), request)).contains("malformed"));
    }
}
