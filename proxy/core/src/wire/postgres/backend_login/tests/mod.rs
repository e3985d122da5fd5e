//! Servers, good and bad, made of bytes.

mod noise;
mod proofs;
mod settling;

use super::*;
use crate::auth::scram::{MECHANISM, MECHANISM_PLUS, ScramServer};

const END_POINT: &[u8] = &[0xee; 32];
const OK: &[u8] = b"R\0\0\0\x08\0\0\0\0";
const IDLE: &[u8] = b"Z\0\0\0\x05I";

fn identity(secret: UserSecret) -> BackendIdentity {
    BackendIdentity {
        user: "app".into(),
        database: "db".into(),
        parameters: Arc::new(vec![(Box::from(&b"a"[..]), Box::from(&b"\xff"[..]))]),
        secret: Arc::new(secret),
        learned: None,
        cached: None,
        init_query: None,
    }
}

fn app() -> BackendIdentity {
    identity(UserSecret::from_password("secret", [1; 16]))
}

/// Past StartupMessage, in plain text.
fn plain(identity: BackendIdentity) -> BackendLogin {
    let mut login = BackendLogin::new(identity, TargetTls::Off, [7; 18]);
    sent(login.start());
    login
}

/// Past StartupMessage, inside TLS.
fn secure(identity: BackendIdentity) -> BackendLogin {
    let mut login = BackendLogin::new(identity, TargetTls::VerifyFull, [7; 18]);
    sent(login.start());
    assert!(matches!(feed(&mut login, b"S"), BackendStep::StartTls));
    sent(login.tls_ready(Some(END_POINT.to_vec())));
    login
}

fn feed(login: &mut BackendLogin, bytes: &[u8]) -> BackendStep {
    let mut used = 0;
    let step = login.next(bytes, &mut used);
    if !matches!(step, BackendStep::Failed { .. }) {
        assert_eq!(used, bytes.len(), "{step:?}");
    }
    step
}

fn sent(step: BackendStep) -> Vec<u8> {
    match step {
        BackendStep::Send(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

/// The reason of a failure that is weir's own finding.
fn failed(step: BackendStep) -> String {
    match step {
        BackendStep::Failed {
            server_error: None,
            code: None,
            reason,
        } => reason,
        other => panic!("{other:?}"),
    }
}

fn ready(step: BackendStep) -> ServerHello {
    match step {
        BackendStep::Ready(hello) => *hello,
        other => panic!("{other:?}"),
    }
}

/// A server that checks SCRAM, with the verifier of `password` under a salt of its own.
struct Server {
    scram: ScramServer,
}

impl Server {
    fn new(password: &str, plus: bool) -> Server {
        let secret = UserSecret::from_password(password, [2; 16]);
        let end_point = plus.then(|| END_POINT.into());
        let scram = ScramServer::new(secret.verifier().clone(), false, plus, end_point);
        Server { scram }
    }

    fn request(plus: bool) -> Vec<u8> {
        let mut out = Vec::new();
        let both = [MECHANISM_PLUS, MECHANISM];
        messages::authentication_sasl(&mut out, if plus { &both } else { &both[1..] });
        out
    }

    fn challenge(&mut self, initial: &[u8], mechanism: &str) -> Vec<u8> {
        let head = [mechanism.as_bytes(), b"\0"].concat();
        let rest = initial[5..].strip_prefix(&head[..]).unwrap();
        let mut out = Vec::new();
        let first = self.scram.first(&rest[4..], &[8; 18]).unwrap();
        messages::authentication_sasl_continue(&mut out, first.as_bytes());
        out
    }

    fn end(&mut self, response: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        let success = self.scram.last(&response[5..]).unwrap();
        messages::authentication_sasl_final(&mut out, success.server_final.as_bytes());
        out
    }
}

#[test]
fn the_startup_message_names_user_database_and_parameters() {
    let mut login = BackendLogin::new(app(), TargetTls::Off, [7; 18]);
    assert_eq!(
        sent(login.start()),
        b"\0\0\0\x22\0\x03\0\0user\0app\0database\0db\0a\0\xff\0\0"
    );
}

#[test]
fn tls_is_asked_for_and_demanded() {
    for tls in [TargetTls::Require, TargetTls::VerifyFull] {
        let begin = || {
            let mut login = BackendLogin::new(app(), tls, [7; 18]);
            assert_eq!(sent(login.start()), b"\0\0\0\x08\x04\xd2\x16\x2f");
            assert!(matches!(feed(&mut login, b""), BackendStep::NeedMore));
            login
        };
        let mut login = begin();
        assert!(matches!(feed(&mut login, b"S"), BackendStep::StartTls));
        assert!(matches!(feed(&mut login, b""), BackendStep::NeedMore));
        assert_eq!(sent(login.tls_ready(None))[..8], *b"\0\0\0\x22\0\x03\0\0");

        assert!(failed(feed(&mut begin(), b"N")).contains("does not offer TLS"));
        assert!(failed(feed(&mut begin(), b"SR")).contains("unencrypted"));
        assert!(failed(feed(&mut begin(), b"E\0\0\0\x08secret")).contains("an error"));
        assert!(failed(feed(&mut begin(), b"HTTP")).contains("not speak"));
        let mut early = begin();
        feed(&mut early, b"S");
        assert!(failed(feed(&mut early, b"x")).contains("out of turn"));
    }
}

#[test]
fn calls_out_of_turn_fail() {
    let mut login = BackendLogin::new(app(), TargetTls::Off, [7; 18]);
    assert!(matches!(feed(&mut login, b""), BackendStep::NeedMore));
    failed(feed(
        &mut BackendLogin::new(app(), TargetTls::Off, [7; 18]),
        b"x",
    ));
    failed(BackendLogin::new(app(), TargetTls::Off, [7; 18]).tls_ready(None));
    failed(BackendLogin::new(app(), TargetTls::Off, [7; 18]).hashed(&[0; 32]));
    failed(plain(app()).start());
    failed(plain(app()).tls_ready(None));
    failed(plain(app()).hashed(&[0; 32]));
}

#[test]
fn nothing_secret_is_printed() {
    let login = plain(app());
    assert_eq!(format!("{login:?}"), "BackendLogin(..)");
    assert!(!format!("{:?}", app()).contains("secret:"));
    assert_eq!(
        format!("{:?}", BackendStep::Send(b"secret".to_vec())),
        "Send(6 bytes)"
    );
}
