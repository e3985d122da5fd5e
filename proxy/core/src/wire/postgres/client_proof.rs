//! How a client proves its password to weir, once its name is known: the messages around [`crate::auth`].
//!
//! A user that does not exist goes through the same messages and the same computations as one that does.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::errors::{self, ClientError};
use super::messages;
use crate::auth::scram::{
    Kind, MECHANISM, MECHANISM_PLUS, NONCE_LEN, ScramError, ScramServer, Verifier,
};
use crate::auth::{ClientAuthMethod, UserSecret, cleartext, md5};

/// What came of a client's answer.
pub(super) enum Verdict {
    /// The exchange goes on with these bytes.
    More(Vec<u8>),
    /// The client is who it says; these bytes tell it so.
    Passed {
        /// To send, AuthenticationOk included.
        bytes: Vec<u8>,
        /// The key that SCRAM brought to light.
        client_key: Option<[u8; 32]>,
    },
    /// It is not, or it broke the rules.
    Refused {
        /// For the client.
        error: ClientError,
        /// For the operator.
        reason: String,
    },
}

/// One proof under way.
pub(super) struct Proof {
    user: Arc<str>,
    known: bool,
    way: Way,
}

enum Way {
    Password {
        password: Option<Arc<Zeroizing<String>>>,
        /// `Some`: md5 with this salt. `None`: cleartext.
        salt: Option<[u8; 4]>,
        key: [u8; 32],
    },
    SaslChoice {
        verifier: Verifier,
        end_point: Option<Arc<[u8]>>,
        nonce: [u8; NONCE_LEN],
    },
    /// The mechanism was chosen without a first message.
    SaslFirst(Box<ScramServer>, [u8; NONCE_LEN]),
    SaslLast(Box<ScramServer>),
    Over,
}

impl Proof {
    /// Asks for the proof: appends the first authentication request to `out`. `end_point` is given inside TLS only.
    pub(super) fn ask(
        method: ClientAuthMethod,
        user: Arc<str>,
        secret: Option<&UserSecret>,
        mock_secret: &[u8; 32],
        end_point: Option<Arc<[u8]>>,
        rng: &mut impl FnMut(&mut [u8]),
        out: &mut Vec<u8>,
    ) -> Proof {
        let known = secret.is_some();
        // Made for everyone, so that it takes the same time for everyone.
        let mock = Verifier::mock(user.as_bytes(), mock_secret);
        let password = secret.and_then(|s| s.password().cloned());
        let way = match method {
            ClientAuthMethod::ScramSha256 => {
                let verifier = secret.map_or(mock, |s| s.verifier().clone());
                ask_scram(verifier, end_point, rng, out)
            }
            ClientAuthMethod::Md5 => {
                let mut salt = [0; 4];
                rng(&mut salt);
                messages::authentication_md5(out, salt);
                Way::Password {
                    password,
                    salt: Some(salt),
                    key: *mock_secret,
                }
            }
            ClientAuthMethod::Cleartext => {
                messages::authentication_cleartext(out);
                Way::Password {
                    password,
                    salt: None,
                    key: *mock_secret,
                }
            }
        };
        Proof { user, known, way }
    }

    /// Reads the body of a `p` message.
    pub(super) fn answer(&mut self, body: &[u8]) -> Verdict {
        match core::mem::replace(&mut self.way, Way::Over) {
            Way::Password {
                password,
                salt,
                key,
            } => self.check_password(body, password.as_ref(), salt, &key),
            Way::SaslChoice {
                verifier,
                end_point,
                nonce,
            } => self.sasl_choice(body, verifier, end_point, &nonce),
            Way::SaslFirst(server, nonce) => self.sasl_first(server, body, &nonce),
            Way::SaslLast(server) => self.sasl_last(server, body),
            Way::Over => broken("a message after the end of the login"),
        }
    }

    /// What is expected, in the words of the server's complaint about something else.
    pub(super) fn expects(&self) -> &'static str {
        match self.way {
            Way::Password { .. } => "password response",
            _ => "SASL response",
        }
    }

    fn check_password(
        &self,
        body: &[u8],
        password: Option<&Arc<Zeroizing<String>>>,
        salt: Option<[u8; 4]>,
        key: &[u8; 32],
    ) -> Verdict {
        let Some((0, given)) = body.split_last().filter(|(_, given)| !given.contains(&0)) else {
            return broken("invalid password packet size");
        };
        let expected = password.map_or(&b"nobody's password"[..], |p| p.as_bytes());
        let same = match salt {
            Some(salt) => md5::check(given, expected, self.user.as_bytes(), salt),
            None => cleartext::matches(given, expected, key),
        };
        if same && password.is_some() && !given.is_empty() {
            let mut bytes = Vec::new();
            messages::authentication_ok(&mut bytes);
            return Verdict::Passed {
                bytes,
                client_key: None,
            };
        }
        let only_verifier = self.known && password.is_none();
        self.failed(if only_verifier {
            "only a SCRAM verifier is configured for this user; md5 and cleartext logins need the password"
        } else {
            "wrong password"
        })
    }

    fn sasl_choice(
        &mut self,
        body: &[u8],
        verifier: Verifier,
        end_point: Option<Arc<[u8]>>,
        nonce: &[u8; NONCE_LEN],
    ) -> Verdict {
        let Some((mechanism, first)) = split_initial(body) else {
            return broken("invalid SASL initial response");
        };
        let plus = mechanism == MECHANISM_PLUS.as_bytes() && end_point.is_some();
        if !plus && mechanism != MECHANISM.as_bytes() {
            return broken("client selected an invalid SASL authentication mechanism");
        }
        let server = Box::new(ScramServer::new(verifier, !self.known, plus, end_point));
        match first {
            Some(first) => self.sasl_first(server, first, nonce),
            None => {
                self.way = Way::SaslFirst(server, *nonce);
                let mut bytes = Vec::new();
                messages::authentication_sasl_continue(&mut bytes, &[]);
                Verdict::More(bytes)
            }
        }
    }

    fn sasl_first(
        &mut self,
        mut server: Box<ScramServer>,
        body: &[u8],
        nonce: &[u8; NONCE_LEN],
    ) -> Verdict {
        match server.first(body, nonce) {
            Ok(first) => {
                self.way = Way::SaslLast(server);
                let mut bytes = Vec::new();
                messages::authentication_sasl_continue(&mut bytes, first.as_bytes());
                Verdict::More(bytes)
            }
            Err(error) => self.scram_refused(&error),
        }
    }

    fn sasl_last(&self, mut server: Box<ScramServer>, body: &[u8]) -> Verdict {
        match server.last(body) {
            Ok(success) => {
                let mut bytes = Vec::new();
                messages::authentication_sasl_final(&mut bytes, success.server_final.as_bytes());
                messages::authentication_ok(&mut bytes);
                let client_key = Some(success.client_key);
                Verdict::Passed { bytes, client_key }
            }
            Err(error) => self.scram_refused(&error),
        }
    }

    fn scram_refused(&self, error: &ScramError) -> Verdict {
        let code = match error.kind {
            Kind::WrongPassword => return self.failed("wrong password"),
            Kind::Protocol => "08P01",
            Kind::Binding => "28000",
            Kind::Unsupported => "0A000",
        };
        let mut answer = ClientError::fatal(code, error.message);
        answer.detail = error.detail.map(str::to_owned);
        let reason = format!("{} {}", error.message, error.detail.unwrap_or(""));
        Verdict::Refused {
            error: answer,
            reason: reason.trim_end().to_owned(),
        }
    }

    /// One answer to the client for all; the operator learns which it was.
    fn failed(&self, reason: &str) -> Verdict {
        let reason = if self.known { reason } else { "unknown user" };
        Verdict::Refused {
            error: errors::password_authentication_failed(&self.user),
            reason: reason.to_owned(),
        }
    }
}

fn ask_scram(
    verifier: Verifier,
    end_point: Option<Arc<[u8]>>,
    rng: &mut impl FnMut(&mut [u8]),
    out: &mut Vec<u8>,
) -> Way {
    let mut nonce = [0; NONCE_LEN];
    rng(&mut nonce);
    if end_point.is_some() {
        messages::authentication_sasl(out, &[MECHANISM_PLUS, MECHANISM]);
    } else {
        messages::authentication_sasl(out, &[MECHANISM]);
    }
    Way::SaslChoice {
        verifier,
        end_point,
        nonce,
    }
}

/// SASLInitialResponse: mechanism, and the first message unless its length is −1.
fn split_initial(body: &[u8]) -> Option<(&[u8], Option<&[u8]>)> {
    let end = memchr::memchr(0, body)?;
    let mechanism = body.get(..end)?;
    let (length, first) = body.get(end + 1..)?.split_first_chunk::<4>()?;
    match i32::from_be_bytes(*length) {
        -1 if first.is_empty() => Some((mechanism, None)),
        length if usize::try_from(length) == Ok(first.len()) => Some((mechanism, Some(first))),
        _ => None,
    }
}

fn broken(what: &str) -> Verdict {
    Verdict::Refused {
        error: errors::protocol_violation(what),
        reason: what.to_owned(),
    }
}
