//! Clients, good and bad, made of bytes.

mod noise;
mod packets;
mod proofs;

use super::*;
use crate::auth::UserSecret;
use crate::auth::scram::{Challenge, ScramClient};
use crate::settings::TimeLimits;

const END_POINT: &[u8] = &[0xee; 32];
const SSL: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x2f";
const GSS: &[u8] = b"\0\0\0\x08\x04\xd2\x16\x30";

fn user(secret: UserSecret) -> User {
    User {
        name: "app".into(),
        secret: Arc::new(secret),
        limits: TimeLimits::default(),
    }
}

fn app() -> User {
    user(UserSecret::from_password("secret", [3; 16]))
}

fn new(tls: ClientTls, method: ClientAuthMethod) -> ClientLogin {
    ClientLogin::new(tls, method, Some(END_POINT.into()))
}

fn scram(tls: ClientTls) -> ClientLogin {
    new(tls, ClientAuthMethod::ScramSha256)
}

/// A login with TLS up already.
fn inside_tls(method: ClientAuthMethod) -> ClientLogin {
    let mut login = new(ClientTls::Required, method);
    assert!(matches!(feed(&mut login, SSL), LoginStep::StartTls { .. }));
    login.tls_ready(false);
    login
}

/// All of `bytes` in one piece, all of which must be taken.
fn feed(login: &mut ClientLogin, bytes: &[u8]) -> LoginStep {
    let mut used = 0;
    let step = login.next(bytes, &mut used);
    if !matches!(step, LoginStep::Refuse { .. } | LoginStep::Hangup { .. }) {
        assert_eq!(used, bytes.len(), "{step:?}");
    }
    step
}

fn startup_of(word: u32, more: &[(&str, &str)]) -> Vec<u8> {
    let mut body = word.to_be_bytes().to_vec();
    for (name, value) in [("user", "app"), ("database", "db")].iter().chain(more) {
        body.extend_from_slice(format!("{name}\0{value}\0").as_bytes());
    }
    body.push(0);
    let mut out = u32::try_from(body.len() + 4)
        .unwrap()
        .to_be_bytes()
        .to_vec();
    out.extend(body);
    out
}

fn startup() -> Vec<u8> {
    startup_of(PROTOCOL_3_0, &[])
}

fn identify(login: &mut ClientLogin, user: Option<&User>) -> LoginStep {
    let mut next = 0;
    login.identified(user, &[9; 32], &mut |buffer: &mut [u8]| {
        buffer.fill_with(|| {
            next += 1;
            next
        });
    })
}

/// Sends the startup message and answers the look-up; gives the authentication request.
fn begin(login: &mut ClientLogin, user: Option<&User>) -> Vec<u8> {
    let step = feed(login, &startup());
    assert!(matches!(step, LoginStep::Identify(_)), "{step:?}");
    sent(identify(login, user))
}

fn sent(step: LoginStep) -> Vec<u8> {
    match step {
        LoginStep::Send(bytes) => bytes,
        other => panic!("{other:?}"),
    }
}

fn refused(step: LoginStep) -> (ClientError, String) {
    match step {
        LoginStep::Refuse { error, reason } => (error, reason),
        other => panic!("{other:?}"),
    }
}

fn password(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    messages::password_message(&mut out, text);
    out
}

/// What a client sends in a SCRAM login, and what it gets.
struct Client {
    scram: ScramClient,
}

impl Client {
    fn new(password: &str, request: &[u8], end_point: Option<&[u8]>) -> Client {
        let list = &request[9..request.len() - 1];
        let names: Vec<_> = list.split(|b| *b == 0).filter(|n| !n.is_empty()).collect();
        let known = UserSecret::from_password(password, [0; 16]).proofs(None, None);
        let scram = ScramClient::choose(&names, end_point, known, &[5; 18]).unwrap();
        Client { scram }
    }

    fn first(&self) -> Vec<u8> {
        let mut out = Vec::new();
        messages::sasl_initial_response(
            &mut out,
            self.scram.mechanism(),
            self.scram.first().as_bytes(),
        );
        out
    }

    fn last(&mut self, challenge: &[u8]) -> Vec<u8> {
        assert_eq!(&challenge[..1], b"R");
        let answer = match self.scram.challenge(&challenge[9..]).unwrap() {
            Challenge::Hash(job) => self.scram.hashed(&job.run()),
            Challenge::Final(text) => text,
        };
        let mut out = Vec::new();
        messages::sasl_response(&mut out, answer.as_bytes());
        out
    }

    fn verify(&mut self, end: &[u8]) {
        let (last, ok) = end.split_at(end.len() - 9);
        assert_eq!(ok, b"R\0\0\0\x08\0\0\0\0");
        self.scram.verify(&last[9..]).unwrap();
    }
}
