//! The vector of RFC 7677, both roles against each other, and every kind of bad message.

use super::*;

const END_POINT: &[u8] = &[0xaa; 32];
const BARE: &str = "n=user,r=rOprNGfwEbeRWgbNEkqO";
const SERVER_NONCE: &str = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
const SERVER_FIRST: &str =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
const CLIENT_FINAL: &str = "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
const SERVER_FINAL: &str = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

fn pencil() -> Verifier {
    let salt = STANDARD.decode("W22ZaJ0SNY7soEsUEjb6gQ==").unwrap();
    Verifier::from_prepared("pencil", &salt, 4096)
}

fn proofs(password: Option<&str>, verifier: Verifier) -> Proofs {
    Proofs {
        password: password.map(|p| Arc::new(prepare_password(p))),
        verifier,
        learned: None,
        cached: None,
    }
}

fn plain_client(proofs: Proofs) -> ScramClient {
    ScramClient::choose(&[MECHANISM.as_bytes()], None, proofs, &[1; 18]).unwrap()
}

/// A client in the middle of the RFC's exchange.
fn rfc_client(proofs: Proofs) -> ScramClient {
    let mut client = plain_client(proofs);
    client.bare = BARE.to_owned();
    client.nonce = "rOprNGfwEbeRWgbNEkqO".to_owned();
    client
}

/// A server in the middle of the RFC's exchange.
fn rfc_server() -> ScramServer {
    let mut server = ScramServer::new(pencil(), false, false, None);
    let first = server.first_with(format!("n,,{BARE}").as_bytes(), SERVER_NONCE);
    assert_eq!(first.unwrap(), SERVER_FIRST);
    server
}

fn answer(challenge: Result<Challenge, String>, client: &mut ScramClient) -> String {
    match challenge.unwrap() {
        Challenge::Hash(job) => client.hashed(&job.run()),
        Challenge::Final(text) => text,
    }
}

#[test]
fn the_vector_of_rfc_7677_as_server() {
    let success = rfc_server().last(CLIENT_FINAL.as_bytes()).unwrap();
    assert_eq!(success.server_final, SERVER_FINAL);
    assert_eq!(sha256(&success.client_key), *pencil().stored_key());
}

#[test]
fn the_vector_of_rfc_7677_as_client() {
    let mut client = rfc_client(proofs(Some("pencil"), Verifier::mock(b"user", &[0; 32])));
    assert_eq!(client.first(), format!("n,,{BARE}"));
    let challenge = client.challenge(SERVER_FIRST.as_bytes());
    assert!(matches!(&challenge, Ok(Challenge::Hash(job)) if job.iterations == 4096));
    assert_eq!(answer(challenge, &mut client), CLIENT_FINAL);
    assert!(client.keys_used().is_none());
    client.verify(SERVER_FINAL.as_bytes()).unwrap();
    let (salt, iterations, keys) = client.keys_used().unwrap();
    assert_eq!((salt.as_slice(), iterations), (pencil().salt(), 4096));
    assert_eq!(keys.stored_key, *pencil().stored_key());
}

#[test]
fn a_server_that_does_not_know_the_password_is_found_out() {
    for bad in [
        "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G5=",
        "v=",
        "e=other-error",
        "",
        "\0",
    ] {
        let mut client = rfc_client(proofs(Some("pencil"), pencil()));
        let challenge = client.challenge(SERVER_FIRST.as_bytes());
        answer(challenge, &mut client);
        assert!(client.verify(bad.as_bytes()).is_err(), "{bad}");
        assert!(!client.verified() && client.keys_used().is_none());
    }
    let mut early = rfc_client(proofs(Some("pencil"), pencil()));
    assert!(early.verify(SERVER_FINAL.as_bytes()).is_err());
}

#[test]
fn a_key_learned_from_a_client_logs_in_without_the_password() {
    let learned = rfc_server()
        .last(CLIENT_FINAL.as_bytes())
        .unwrap()
        .client_key;
    let mut with_key = proofs(None, pencil());
    with_key.learned = Some(learned);
    let mut client = rfc_client(with_key.clone());
    match client.challenge(SERVER_FIRST.as_bytes()) {
        Ok(Challenge::Final(text)) => assert_eq!(text, CLIENT_FINAL),
        other => panic!("{other:?}"),
    }
    client.verify(SERVER_FINAL.as_bytes()).unwrap();
    assert!(client.keys_used().is_some());

    let other_salt = SERVER_FIRST.replace("W22Z", "X22Z");
    let other_count = SERVER_FIRST.replace("i=4096", "i=4097");
    for other in [other_salt, other_count] {
        let said = rfc_client(with_key.clone()).challenge(other.as_bytes());
        assert!(said.unwrap_err().contains("not the server's"));
    }
    let said = rfc_client(proofs(None, pencil())).challenge(SERVER_FIRST.as_bytes());
    assert!(said.unwrap_err().contains("no client has logged in"));
}

#[test]
fn cached_keys_serve_only_their_salt_and_iterations() {
    let keys = ClientKeys::from_salted_password(&salted_password(b"pencil", pencil().salt(), 4096));
    let entry = |salt: &[u8], iterations| Some((salt.to_vec(), iterations, keys.clone()));
    let mut known = proofs(Some("pencil"), Verifier::mock(b"u", &[0; 32]));
    known.cached = entry(pencil().salt(), 4096);
    let said = rfc_client(known.clone()).challenge(SERVER_FIRST.as_bytes());
    assert!(matches!(said, Ok(Challenge::Final(text)) if text == CLIENT_FINAL));
    for stale in [entry(b"other", 4096), entry(pencil().salt(), 4095)] {
        known.cached = stale;
        let said = rfc_client(known.clone()).challenge(SERVER_FIRST.as_bytes());
        assert!(matches!(said, Ok(Challenge::Hash(_))));
    }
}

#[test]
fn bad_challenges_are_refused() {
    let nonce = "r=rOprNGfwEbeRWgbNEkqO%hv";
    for bad in [
        String::new(),
        "garbage".to_owned(),
        format!("{nonce},s=QSXCR+Q6sek8bf92"),
        format!("{nonce},s=QSXCR+Q6sek8bf92,i=0"),
        format!("{nonce},s=QSXCR+Q6sek8bf92,i=-1"),
        format!("{nonce},s=QSXCR+Q6sek8bf92,i=+1"),
        format!("{nonce},s=QSXCR+Q6sek8bf92,i=1000001"),
        format!("{nonce},s=QSXCR+Q6sek8bf92,i=99999999999999999999"),
        format!("{nonce},s=,i=4096"),
        format!("{nonce},s=***,i=4096"),
        format!("m=x,{nonce},s=QSXCR+Q6sek8bf92,i=4096"),
        "r=rOprNGfwEbeRWgbNEkqO,s=QSXCR+Q6sek8bf92,i=4096".to_owned(),
        "r=xOprNGfwEbeRWgbNEkqO%hv,s=QSXCR+Q6sek8bf92,i=4096".to_owned(),
        "r=rOprNGfwEbeRWgbNEkqO\u{7f},s=QSXCR+Q6sek8bf92,i=4096".to_owned(),
    ] {
        let said = rfc_client(proofs(Some("pencil"), pencil())).challenge(bad.as_bytes());
        assert!(said.is_err(), "{bad}");
    }
    let mut client = rfc_client(proofs(Some("pencil"), pencil()));
    assert!(client.challenge(b"\xff\xfe").is_err());
    assert!(client.challenge(SERVER_FIRST.as_bytes()).is_ok());
    assert!(client.challenge(SERVER_FIRST.as_bytes()).is_err());
}

/// One whole exchange between both roles.
fn exchange(
    password: &str,
    doomed: bool,
    server_end_point: Option<&[u8]>,
    client_end_point: Option<&[u8]>,
) -> Result<(), ScramError> {
    let plus: &[&[u8]] = &[MECHANISM_PLUS.as_bytes(), MECHANISM.as_bytes()];
    let offered = if server_end_point.is_some() {
        plus
    } else {
        &plus[1..]
    };
    let known = proofs(Some(password), Verifier::mock(b"u", &[0; 32]));
    let mut client = ScramClient::choose(offered, client_end_point, known, &[1; 18]).unwrap();
    let chose_plus = client.mechanism() == MECHANISM_PLUS;
    let mut server = ScramServer::new(
        pencil(),
        doomed,
        chose_plus,
        server_end_point.map(Arc::from),
    );
    let first = server.first(client.first().as_bytes(), &[2; 18])?;
    let challenge = client.challenge(first.as_bytes());
    let success = server.last(answer(challenge, &mut client).as_bytes())?;
    client.verify(success.server_final.as_bytes()).unwrap();
    assert_eq!(client.keys_used().unwrap().2.client_key, success.client_key);
    Ok(())
}

#[test]
fn both_roles_agree_with_and_without_binding() {
    assert_eq!(exchange("pencil", false, None, None), Ok(()));
    assert_eq!(exchange("pencil", false, None, Some(END_POINT)), Ok(()));
    assert_eq!(
        exchange("pencil", false, Some(END_POINT), Some(END_POINT)),
        Ok(())
    );
    assert_eq!(exchange("pencil", false, Some(END_POINT), None), Ok(()));
}

#[test]
fn a_foreign_end_point_is_refused() {
    let said = exchange("pencil", false, Some(END_POINT), Some(&[0xbb; 32])).unwrap_err();
    assert_eq!(said.kind, Kind::Binding);
}

#[test]
fn a_wrong_password_and_a_missing_user_look_the_same() {
    let wrong = exchange("pencils", false, None, None).unwrap_err();
    let missing = exchange("pencil", true, None, None).unwrap_err();
    assert_eq!(wrong.kind, Kind::WrongPassword);
    assert_eq!(wrong, missing);
}

#[test]
fn a_client_that_thinks_binding_was_not_offered_is_refused() {
    let mut server = ScramServer::new(pencil(), false, false, Some(END_POINT.into()));
    let said = server.first(b"y,,n=,r=abc", &[2; 18]).unwrap_err();
    assert_eq!(said.kind, Kind::Binding);
    assert!(said.detail.unwrap().contains("this server does support"));
}

#[test]
fn bad_first_messages_are_refused_by_kind() {
    let cases: &[(bool, &[u8], Kind)] = &[
        (false, b"", Kind::Protocol),
        (false, b"n", Kind::Protocol),
        (false, b"n,", Kind::Protocol),
        (false, b"n,,", Kind::Protocol),
        (false, b"n,,n=,", Kind::Protocol),
        (false, b"n,,n=,r=", Kind::Protocol),
        (false, b"n,,r=abc", Kind::Protocol),
        (false, b"n,,n=,r=a c", Kind::Protocol),
        (false, b"n,,n=,r=abc,garbage", Kind::Protocol),
        (false, b"n,,n=,r=abc\0", Kind::Protocol),
        (false, b"n,,n=,r=\xff", Kind::Protocol),
        (false, b"z,,n=,r=abc", Kind::Protocol),
        (false, b"n,x=y,n=,r=abc", Kind::Protocol),
        (false, b"n,a=root,n=,r=abc", Kind::Unsupported),
        (false, b"n,,m=ext,n=,r=abc", Kind::Unsupported),
        (false, b"p=tls-server-end-point,,n=,r=abc", Kind::Protocol),
        (true, b"n,,n=,r=abc", Kind::Protocol),
        (true, b"y,,n=,r=abc", Kind::Protocol),
        (true, b"p=tls-unique,,n=,r=abc", Kind::Protocol),
        (true, b"p,,n=,r=abc", Kind::Protocol),
    ];
    for (plus, message, kind) in cases {
        let end_point = plus.then(|| END_POINT.into());
        let mut server = ScramServer::new(pencil(), false, *plus, end_point);
        let said = server.first(message, &[2; 18]);
        assert_eq!(
            said.map_err(|e| e.kind),
            Err(*kind),
            "{}",
            message.escape_ascii()
        );
    }
    let mut server = ScramServer::new(pencil(), false, false, None);
    assert!(server.first(b"n,,n=any,r=abc,x=later", &[2; 18]).is_ok());
}

#[test]
fn bad_final_messages_are_refused_by_kind() {
    let good = CLIENT_FINAL;
    let (without, _) = good.split_once(",p=").unwrap();
    let cases = [
        (String::new(), Kind::Protocol),
        (without.to_owned(), Kind::Protocol),
        (format!("{without},p="), Kind::Protocol),
        (format!("{without},p=AAAA"), Kind::Protocol),
        (format!("{good},x=y"), Kind::Protocol),
        (format!("{good},"), Kind::Protocol),
        (format!("{good}\0"), Kind::Protocol),
        (good.replace("c=biws", "c=eSws"), Kind::Protocol),
        (good.replace("c=biws,", ""), Kind::Protocol),
        (good.replace("k0,p", "k1,p"), Kind::Protocol),
        (good.replace("r=r", "r=s"), Kind::Protocol),
        (good.replace("p=dH", "p=eH"), Kind::WrongPassword),
        (good.replace(",p=", ",x=y,p="), Kind::WrongPassword),
    ];
    for (message, kind) in cases {
        let said = rfc_server().last(message.as_bytes());
        assert_eq!(said.map_err(|e| e.kind), Err(kind), "{message}");
    }
    let mut silent = ScramServer::new(pencil(), false, false, None);
    assert!(
        silent
            .last(b"c=,r=,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=")
            .is_err()
    );
}

#[test]
fn every_truncation_and_every_flipped_byte_is_survived() {
    for at in 0..CLIENT_FINAL.len() {
        assert!(rfc_server().last(&CLIENT_FINAL.as_bytes()[..at]).is_err());
        let mut flipped = CLIENT_FINAL.as_bytes().to_vec();
        flipped[at] ^= 1;
        assert!(rfc_server().last(&flipped).is_err(), "byte {at}");
    }
    for at in 0..SERVER_FIRST.len() {
        let mut client = rfc_client(proofs(Some("pencil"), pencil()));
        let _ = client.challenge(&SERVER_FIRST.as_bytes()[..at]);
    }
}

#[test]
fn unknown_mechanisms_are_named() {
    let known = || proofs(Some("pencil"), pencil());
    let said = ScramClient::choose(&[b"OAUTHBEARER"], None, known(), &[0; 18]).unwrap_err();
    assert!(said.contains("OAUTHBEARER"));
    assert!(ScramClient::choose(&[], None, known(), &[0; 18]).is_err());
    // Only -PLUS on offer and nothing to bind to.
    assert!(ScramClient::choose(&[MECHANISM_PLUS.as_bytes()], None, known(), &[0; 18]).is_err());
}

#[test]
fn mock_verifiers_are_stable_per_name_and_secret() {
    let mock = Verifier::mock(b"nobody", &[5; 32]);
    assert_eq!(mock, Verifier::mock(b"nobody", &[5; 32]));
    assert_ne!(mock.salt(), Verifier::mock(b"nobody2", &[5; 32]).salt());
    assert_ne!(mock.salt(), Verifier::mock(b"nobody", &[6; 32]).salt());
    assert_eq!((mock.salt().len(), mock.iterations()), (16, 4096));
}

#[test]
fn verifiers_are_read_as_postgresql_writes_them() {
    let text = pencil().to_text();
    assert!(text.starts_with("SCRAM-SHA-256$4096:W22ZaJ0SNY7soEsUEjb6gQ==$"));
    assert_eq!(Verifier::parse(&text), Ok(pencil()));
    assert_eq!(Verifier::parse(&format!(" {text}\n")), Ok(pencil()));
    for at in 0..text.len() {
        assert!(Verifier::parse(&text[..at]).is_err(), "{at}");
    }
    for (from, to) in [
        ("4096", "0"),
        ("4096", "1000001"),
        ("4096", "x"),
        ("4096", ""),
        ("W22", "*22"),
    ] {
        assert!(
            Verifier::parse(&text.replacen(from, to, 1)).is_err(),
            "{to}"
        );
    }
    let said = Verifier::parse("md5ba7816bf8f01cfea414140de5dae2223").unwrap_err();
    assert!(said.contains("md5") && !said.contains("ba78"));
}

#[test]
fn saslprep_is_done_as_postgresql_does_it() {
    for (given, prepared) in [
        ("pencil", "pencil"),
        ("I\u{ad}X", "IX"),
        ("\u{aa}", "a"),
        ("\u{2168}", "IX"),
        ("a\u{a0}b", "a b"),
        // Not allowed by SASLprep: taken as they are.
        ("\u{7}", "\u{7}"),
        ("\u{627}1", "\u{627}1"),
        ("\u{ad}", "\u{ad}"),
        ("x\u{340}", "x\u{340}"),
        ("", ""),
    ] {
        assert_eq!(prepare_password(given).as_str(), prepared, "{given:?}");
    }
}

#[test]
fn nothing_secret_is_printed() {
    let keys = ClientKeys::from_salted_password(&[1; 32]);
    assert_eq!(
        format!("{keys:?} {:?}", pencil()),
        "ClientKeys(..) Verifier(..)"
    );
    let job = HashJob {
        password: Arc::new(prepare_password("secret")),
        salt: vec![1],
        iterations: 3,
    };
    assert_eq!(format!("{job:?}"), "HashJob { iterations: 3, .. }");
}
