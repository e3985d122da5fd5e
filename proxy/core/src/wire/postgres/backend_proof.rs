//! How weir proves itself to a server: answers to authentication requests, around [`crate::auth`].

use std::sync::Arc;

use super::messages;
use crate::auth::scram::{Challenge, KeyEntry, NONCE_LEN, ScramClient};
use crate::auth::{HashJob, UserSecret, md5};

/// What follows from an authentication request.
pub(super) enum Turn {
    /// An answer.
    Send(Vec<u8>),
    /// PBKDF2 first; then [`BackendProof::hashed`].
    Hash(HashJob),
    /// Nothing: the server goes on.
    Wait,
    /// The server lets weir in.
    Done,
    /// It won't do; for the operator.
    Fail(String),
}

/// One proof under way.
pub(super) struct BackendProof {
    user: Arc<str>,
    secret: Arc<UserSecret>,
    learned: Option<[u8; 32]>,
    cached: Option<KeyEntry>,
    nonce: [u8; NONCE_LEN],
    progress: Progress,
}

enum Progress {
    Unasked,
    /// A password or an md5 answer is sent.
    Answered,
    Scram(Box<ScramClient>),
    /// The same, between [`Turn::Hash`] and its result.
    Hashing(Box<ScramClient>),
    Over,
}

impl BackendProof {
    pub(super) fn new(
        user: Arc<str>,
        secret: Arc<UserSecret>,
        learned: Option<[u8; 32]>,
        cached: Option<KeyEntry>,
        nonce: [u8; NONCE_LEN],
    ) -> BackendProof {
        BackendProof {
            user,
            secret,
            learned,
            cached,
            nonce,
            progress: Progress::Unasked,
        }
    }

    /// Reads the body of an `R` message. `encrypted`: inside TLS; `end_point`: what its certificate binds to.
    pub(super) fn request(
        &mut self,
        body: &[u8],
        encrypted: bool,
        end_point: Option<&[u8]>,
    ) -> Turn {
        let Some((kind, data)) = body.split_first_chunk::<4>() else {
            return fail("the server sent a malformed authentication request");
        };
        let kind = u32::from_be_bytes(*kind);
        match (kind, core::mem::replace(&mut self.progress, Progress::Over)) {
            (0, progress) => self.let_in(progress),
            (3, Progress::Unasked) => self.cleartext(encrypted),
            (5, Progress::Unasked) => self.md5(data),
            (10, Progress::Unasked) => self.sasl(data, end_point),
            (11, Progress::Scram(scram)) => self.challenge(scram, data),
            (12, Progress::Scram(scram)) => self.sasl_final(scram, data),
            (3 | 5 | 10 | 11 | 12, _) => {
                fail("the server sent an authentication request out of turn")
            }
            _ => fail(&format!(
                "the server asks for {}, which weir does not know: change its pg_hba.conf to scram-sha-256 for weir",
                name_of(kind)
            )),
        }
    }

    /// The result of [`Turn::Hash`].
    pub(super) fn hashed(&mut self, salted_password: &[u8; 32]) -> Turn {
        match core::mem::replace(&mut self.progress, Progress::Over) {
            Progress::Hashing(mut scram) => {
                let text = scram.hashed(salted_password);
                self.progress = Progress::Scram(scram);
                Turn::Send(response(&text))
            }
            _ => fail("a password was hashed that nobody asked for"),
        }
    }

    /// Salt, iterations and keys of this login, once the server has proved itself.
    pub(super) fn keys_used(&self) -> Option<KeyEntry> {
        match &self.progress {
            Progress::Scram(scram) => scram.keys_used(),
            _ => None,
        }
    }

    /// AuthenticationOk. Without any request before it the server trusts weir; in SCRAM it must have proved itself first.
    fn let_in(&mut self, progress: Progress) -> Turn {
        match progress {
            Progress::Unasked | Progress::Answered => Turn::Done,
            Progress::Scram(scram) if scram.verified() => {
                self.progress = Progress::Scram(scram);
                Turn::Done
            }
            _ => fail(
                "the server ended SCRAM without proving that it knows the password: it may be an impostor",
            ),
        }
    }

    fn cleartext(&mut self, encrypted: bool) -> Turn {
        if !encrypted {
            return fail(
                "the server asks for the password in cleartext outside TLS, which weir never gives: turn on TLS for this target, or change its pg_hba.conf to scram-sha-256",
            );
        }
        let Some(password) = self.secret.password() else {
            return self.no_password("in cleartext");
        };
        self.progress = Progress::Answered;
        let mut out = Vec::new();
        messages::password_message(&mut out, password.as_bytes());
        Turn::Send(out)
    }

    fn md5(&mut self, data: &[u8]) -> Turn {
        let Ok(salt) = <[u8; 4]>::try_from(data) else {
            return fail("the server sent a malformed md5 request");
        };
        let Some(password) = self.secret.password() else {
            return self.no_password("by md5");
        };
        self.progress = Progress::Answered;
        let answer = md5::answer(password.as_bytes(), self.user.as_bytes(), salt);
        let mut out = Vec::new();
        messages::password_message(&mut out, &answer);
        Turn::Send(out)
    }

    fn sasl(&mut self, data: &[u8], end_point: Option<&[u8]>) -> Turn {
        let offered: Vec<&[u8]> = data
            .split(|b| *b == 0)
            .filter(|name| !name.is_empty())
            .collect();
        let proofs = self.secret.proofs(self.learned, self.cached.take());
        match ScramClient::choose(&offered, end_point, proofs, &self.nonce) {
            Ok(scram) => {
                let mut out = Vec::new();
                messages::sasl_initial_response(
                    &mut out,
                    scram.mechanism(),
                    scram.first().as_bytes(),
                );
                self.progress = Progress::Scram(Box::new(scram));
                Turn::Send(out)
            }
            Err(reason) => Turn::Fail(reason),
        }
    }

    fn challenge(&mut self, mut scram: Box<ScramClient>, data: &[u8]) -> Turn {
        match scram.challenge(data) {
            Ok(Challenge::Hash(job)) => {
                self.progress = Progress::Hashing(scram);
                Turn::Hash(job)
            }
            Ok(Challenge::Final(text)) => {
                self.progress = Progress::Scram(scram);
                Turn::Send(response(&text))
            }
            Err(reason) => Turn::Fail(reason),
        }
    }

    fn sasl_final(&mut self, mut scram: Box<ScramClient>, data: &[u8]) -> Turn {
        match scram.verify(data) {
            Ok(()) => {
                self.progress = Progress::Scram(scram);
                Turn::Wait
            }
            Err(reason) => Turn::Fail(reason),
        }
    }

    fn no_password(&self, how: &str) -> Turn {
        fail(&format!(
            "the server asks for the password of \"{}\" {how}, but only a SCRAM verifier is configured: give the password, or change the server's pg_hba.conf to scram-sha-256",
            self.user
        ))
    }
}

fn response(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    messages::sasl_response(&mut out, text.as_bytes());
    out
}

fn fail(reason: &str) -> Turn {
    Turn::Fail(reason.to_owned())
}

/// Authentication requests that weir does not answer.
fn name_of(kind: u32) -> String {
    match kind {
        2 => "Kerberos V5".to_owned(),
        4 => "a crypt() password".to_owned(),
        6 => "SCM credentials".to_owned(),
        7 | 8 => "GSSAPI".to_owned(),
        9 => "SSPI".to_owned(),
        _ => format!("authentication of kind {kind}"),
    }
}
