//! The server's role: checks a client against a [`Verifier`], without PBKDF2 and without telling whether the user exists.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::{Choice, ConstantTimeEq};

use super::{
    BINDING_TYPE, NONCE_LEN, Verifier, decode_key, nonce_is_printable, sha256, signature, take,
    take_any, xor,
};

/// Which class of refusal it is; [`crate::wire`] gives it the engine's code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// The message breaks the grammar or the order of RFC 5802.
    Protocol,
    /// Channel binding does not hold: somebody may sit in between.
    Binding,
    /// Something of RFC 5802 that PostgreSQL does not offer either.
    Unsupported,
    /// The proof is wrong, or the user does not exist.
    WrongPassword,
}

/// Why a client was refused. The words are PostgreSQL's.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScramError {
    /// The class.
    pub kind: Kind,
    /// What the client is told.
    pub message: &'static str,
    /// More of it.
    pub detail: Option<&'static str>,
}

/// What a client that proved itself gets, and what was learned from it.
#[derive(Clone, PartialEq, Eq)]
pub struct Success {
    /// The server-final-message: proves that weir knows the verifier.
    pub server_final: String,
    /// The client's key, recovered from its proof: logs in at a server with the same salt and iterations.
    pub client_key: [u8; 32],
}

impl core::fmt::Debug for Success {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Success(..)")
    }
}

/// One exchange with one client: [`ScramServer::first`], then [`ScramServer::last`].
pub struct ScramServer {
    verifier: Verifier,
    /// No proof is good enough: the user does not exist.
    doomed: bool,
    /// The client chose -PLUS.
    plus: bool,
    /// tls-server-end-point of the connection, when -PLUS was on offer.
    end_point: Option<Arc<[u8]>>,
    gs2: String,
    bare: String,
    server_first: String,
    nonce: String,
}

impl core::fmt::Debug for ScramServer {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ScramServer(..)")
    }
}

impl ScramServer {
    /// `doomed`: refuse whatever the proof (mock verifier). `plus`: the client chose -PLUS. `end_point`: given exactly when
    /// -PLUS was on offer.
    #[must_use]
    pub fn new(
        verifier: Verifier,
        doomed: bool,
        plus: bool,
        end_point: Option<Arc<[u8]>>,
    ) -> ScramServer {
        ScramServer {
            verifier,
            doomed,
            plus,
            end_point,
            gs2: String::new(),
            bare: String::new(),
            server_first: String::new(),
            nonce: String::new(),
        }
    }

    /// Reads the client-first-message and answers with the server-first-message. `random` must be fresh.
    ///
    /// # Errors
    /// A refusal for the client.
    pub fn first(
        &mut self,
        message: &[u8],
        random: &[u8; NONCE_LEN],
    ) -> Result<String, ScramError> {
        self.first_with(message, &STANDARD.encode(random))
    }

    pub(super) fn first_with(&mut self, message: &[u8], own: &str) -> Result<String, ScramError> {
        let text = text_of(message)?;
        let (gs2, bare) = self.split_gs2(text)?;
        let mut rest = bare;
        if rest.starts_with('m') {
            return Err(refuse(
                Kind::Unsupported,
                "client requires an unsupported SCRAM extension",
                None,
            ));
        }
        // The user name of the startup message counts; the one here is ignored, as PostgreSQL does.
        take(&mut rest, 'n').ok_or(malformed("Attribute expected, but not found: n."))?;
        let nonce =
            take(&mut rest, 'r').ok_or(malformed("Attribute expected, but not found: r."))?;
        if nonce.is_empty() || !nonce_is_printable(nonce) {
            return Err(protocol("non-printable characters in SCRAM nonce"));
        }
        while !rest.is_empty() {
            take_any(&mut rest)
                .ok_or(malformed("Attribute expected, but found something else."))?;
        }
        self.nonce = format!("{nonce}{own}");
        self.server_first = format!(
            "r={},s={},i={}",
            self.nonce,
            STANDARD.encode(self.verifier.salt()),
            self.verifier.iterations()
        );
        self.gs2 = gs2.to_owned();
        self.bare = bare.to_owned();
        Ok(self.server_first.clone())
    }

    /// Splits the gs2 header off and checks its flag against what was offered and chosen.
    fn split_gs2<'a>(&self, text: &'a str) -> Result<(&'a str, &'a str), ScramError> {
        let (flag, rest) = text
            .split_once(',')
            .ok_or(malformed("Comma expected, but not found."))?;
        self.check_flag(flag)?;
        let (authzid, bare) = rest
            .split_once(',')
            .ok_or(malformed("Comma expected, but not found."))?;
        if authzid.starts_with('a') {
            return Err(refuse(
                Kind::Unsupported,
                "client uses authorization identity, but it is not supported",
                None,
            ));
        }
        if !authzid.is_empty() {
            return Err(malformed("Unexpected attribute in client-first-message."));
        }
        let header = text.len() - bare.len();
        Ok((text.get(..header).unwrap_or(""), bare))
    }

    fn check_flag(&self, flag: &str) -> Result<(), ScramError> {
        match flag {
            "n" | "y" if self.plus => Err(malformed(
                "The client selected SCRAM-SHA-256-PLUS, but the SCRAM message does not include channel binding data.",
            )),
            "n" => Ok(()),
            "y" if self.end_point.is_some() => Err(refuse(
                Kind::Binding,
                "SCRAM channel binding negotiation error",
                Some(
                    "The client supports SCRAM channel binding but thinks the server does not. \
                     However, this server does support channel binding.",
                ),
            )),
            "y" => Ok(()),
            _ => self.check_binding_flag(flag),
        }
    }

    fn check_binding_flag(&self, flag: &str) -> Result<(), ScramError> {
        let Some(name) = flag.strip_prefix("p=") else {
            return Err(malformed("Unexpected channel-binding flag."));
        };
        if !self.plus {
            return Err(malformed(
                "The client selected SCRAM-SHA-256 without channel binding, but the SCRAM message includes channel binding data.",
            ));
        }
        if name != BINDING_TYPE {
            return Err(protocol("unsupported SCRAM channel-binding type"));
        }
        Ok(())
    }

    /// Reads the client-final-message and decides.
    ///
    /// # Errors
    /// A refusal for the client; [`Kind::WrongPassword`] alike for a wrong proof and a user that does not exist.
    pub fn last(&mut self, message: &[u8]) -> Result<Success, ScramError> {
        let text = text_of(message)?;
        let mut rest = text;
        let binding =
            take(&mut rest, 'c').ok_or(malformed("Attribute expected, but not found: c."))?;
        self.check_binding(binding)?;
        let nonce =
            take(&mut rest, 'r').ok_or(malformed("Attribute expected, but not found: r."))?;
        let (without_proof, proof) = split_proof(text, rest)?;
        let proof =
            decode_key(proof).ok_or(malformed("Malformed proof in client-final-message."))?;
        if self.nonce.is_empty() || !bool::from(nonce.as_bytes().ct_eq(self.nonce.as_bytes())) {
            return Err(refuse(
                Kind::Protocol,
                "invalid SCRAM response",
                Some("Nonce does not match."),
            ));
        }
        self.decide(&proof, without_proof)
    }

    /// `c=` repeats the gs2 header and, with -PLUS, carries the end point the client sees.
    fn check_binding(&self, binding: &str) -> Result<(), ScramError> {
        let mut expected = self.gs2.as_bytes().to_vec();
        if self.plus {
            expected.extend_from_slice(self.end_point.as_deref().unwrap_or(&[]));
        }
        if STANDARD
            .encode(expected)
            .as_bytes()
            .ct_eq(binding.as_bytes())
            .into()
        {
            Ok(())
        } else if self.plus {
            Err(refuse(
                Kind::Binding,
                "SCRAM channel binding check failed",
                None,
            ))
        } else {
            Err(protocol(
                "unexpected SCRAM channel-binding attribute in client-final-message",
            ))
        }
    }

    fn decide(&self, proof: &[u8; 32], without_proof: &str) -> Result<Success, ScramError> {
        let sign = |key| signature(key, &self.bare, &self.server_first, without_proof);
        let client_key = xor(proof, &sign(self.verifier.stored_key()));
        // All of it is computed before anything is decided, so that a missing user takes as long as a wrong password.
        let good = sha256(&client_key).ct_eq(self.verifier.stored_key());
        let server_final = format!("v={}", STANDARD.encode(sign(self.verifier.server_key())));
        if bool::from(good & Choice::from(u8::from(!self.doomed))) {
            Ok(Success {
                server_final,
                client_key,
            })
        } else {
            Err(refuse(
                Kind::WrongPassword,
                "password authentication failed",
                None,
            ))
        }
    }
}

/// `text` up to the comma before `p=`, and the proof, which must be the last attribute. `rest` is what follows `r=`.
fn split_proof<'a>(text: &'a str, rest: &'a str) -> Result<(&'a str, &'a str), ScramError> {
    let mut rest = rest;
    loop {
        let start = text.len() - rest.len();
        match take_any(&mut rest) {
            Some(('p', proof)) if rest.is_empty() && !text.ends_with(',') => {
                let before = start.checked_sub(1).and_then(|end| text.get(..end));
                return Ok((before.unwrap_or(""), proof));
            }
            Some(('p', _)) => {
                return Err(malformed(
                    "Garbage found at the end of client-final-message.",
                ));
            }
            Some(_) => {}
            None => return Err(malformed("Attribute expected, but not found: p.")),
        }
    }
}

fn text_of(message: &[u8]) -> Result<&str, ScramError> {
    if message.is_empty() {
        return Err(malformed("The message is empty."));
    }
    if message.contains(&0) {
        return Err(malformed("Message length does not match input length."));
    }
    core::str::from_utf8(message).map_err(|_| malformed("The message is not UTF-8."))
}

const fn refuse(kind: Kind, message: &'static str, detail: Option<&'static str>) -> ScramError {
    ScramError {
        kind,
        message,
        detail,
    }
}

const fn protocol(message: &'static str) -> ScramError {
    refuse(Kind::Protocol, message, None)
}

const fn malformed(detail: &'static str) -> ScramError {
    refuse(Kind::Protocol, "malformed SCRAM message", Some(detail))
}
