//! The client's role: proves a password, or a key learned from a client, to a server, and makes the server prove itself.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroizing;

use super::verifier::parse_iterations;
use super::{
    ClientKeys, HashJob, MECHANISM, MECHANISM_PLUS, NONCE_LEN, Verifier, nonce_is_printable,
    signature, take, xor,
};

/// Salt, iterations and the keys that belong to them: what a cache keeps to avoid a second PBKDF2.
pub type KeyEntry = (Vec<u8>, u32, ClientKeys);

/// What weir can prove with.
#[derive(Clone)]
pub struct Proofs {
    /// The password, prepared by [`super::prepare_password`], if it is known.
    pub password: Option<Arc<Zeroizing<String>>>,
    /// The configured verifier.
    pub verifier: Verifier,
    /// The key learned from a client that proved itself against `verifier`.
    pub learned: Option<[u8; 32]>,
    /// Keys of an earlier login with the same secret.
    pub cached: Option<KeyEntry>,
}

impl core::fmt::Debug for Proofs {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Proofs(..)")
    }
}

/// What follows from the server's first message.
#[derive(Debug)]
pub enum Challenge {
    /// PBKDF2 first; give its result to [`ScramClient::hashed`].
    Hash(HashJob),
    /// The client-final-message.
    Final(String),
}

/// One exchange with one server: [`ScramClient::choose`], `challenge`, perhaps `hashed`, `verify`.
pub struct ScramClient {
    proofs: Proofs,
    mechanism: &'static str,
    /// The base64 of what `c=` says: gs2 header and perhaps the end point.
    binding: String,
    gs2: &'static str,
    /// The client-first-message without the gs2 header.
    pub(super) bare: String,
    /// Weir's own, then the whole one.
    pub(super) nonce: String,
    server_first: String,
    /// Salt and iterations that the server named.
    asked: Option<(Vec<u8>, u32)>,
    keys: Option<ClientKeys>,
    verified: bool,
}

impl core::fmt::Debug for ScramClient {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("ScramClient(..)")
    }
}

impl ScramClient {
    /// Chooses among the mechanisms a server offers: -PLUS when TLS has an end point to bind to. `random` must be fresh.
    ///
    /// # Errors
    /// One line for the operator: what the server offers is not SCRAM-SHA-256.
    pub fn choose(
        offered: &[&[u8]],
        end_point: Option<&[u8]>,
        proofs: Proofs,
        random: &[u8; NONCE_LEN],
    ) -> Result<ScramClient, String> {
        let offers = |name: &str| offered.contains(&name.as_bytes());
        let (mechanism, gs2, bound) = match end_point {
            Some(end_point) if offers(MECHANISM_PLUS) => {
                (MECHANISM_PLUS, "p=tls-server-end-point,,", end_point)
            }
            // Tells a server that does offer -PLUS that somebody took it off the list.
            Some(_) if offers(MECHANISM) => (MECHANISM, "y,,", &[][..]),
            None if offers(MECHANISM) => (MECHANISM, "n,,", &[][..]),
            _ => return Err(unknown_mechanisms(offered)),
        };
        let nonce = STANDARD.encode(random);
        Ok(ScramClient {
            proofs,
            mechanism,
            binding: STANDARD.encode([gs2.as_bytes(), bound].concat()),
            gs2,
            bare: format!("n=,r={nonce}"),
            nonce,
            server_first: String::new(),
            asked: None,
            keys: None,
            verified: false,
        })
    }

    /// The mechanism's name for SASLInitialResponse.
    #[must_use]
    pub fn mechanism(&self) -> &'static str {
        self.mechanism
    }

    /// The client-first-message. The user name is left empty, as libpq does: the startup message has it.
    #[must_use]
    pub fn first(&self) -> String {
        format!("{}{}", self.gs2, self.bare)
    }

    /// Reads the server-first-message.
    ///
    /// # Errors
    /// One line for the operator.
    pub fn challenge(&mut self, message: &[u8]) -> Result<Challenge, String> {
        if self.asked.is_some() {
            return Err("SCRAM: the server sent a second challenge".to_owned());
        }
        let text = core::str::from_utf8(message).map_err(|_| bad_challenge())?;
        let mut rest = text;
        let nonce = take(&mut rest, 'r').ok_or_else(bad_challenge)?;
        let salt = take(&mut rest, 's').ok_or_else(bad_challenge)?;
        let iterations = take(&mut rest, 'i').ok_or_else(bad_challenge)?;
        if !nonce.starts_with(&self.nonce)
            || nonce.len() == self.nonce.len()
            || !nonce_is_printable(nonce)
        {
            return Err("SCRAM: the server's nonce does not continue weir's".to_owned());
        }
        let salt = STANDARD.decode(salt).map_err(|_| bad_challenge())?;
        if salt.is_empty() {
            return Err(bad_challenge());
        }
        let iterations = parse_iterations(iterations)
            .map_err(|e| format!("SCRAM: the server's verifier: {e}"))?;
        self.nonce = nonce.to_owned();
        self.server_first = text.to_owned();
        self.asked = Some((salt.clone(), iterations));
        self.prove(salt, iterations)
    }

    /// With keys at hand where salt and iterations fit, else with the password, by way of PBKDF2.
    fn prove(&mut self, salt: Vec<u8>, iterations: u32) -> Result<Challenge, String> {
        if let Some((_, _, keys)) = self
            .proofs
            .cached
            .as_ref()
            .filter(|(s, i, _)| *s == salt && *i == iterations)
        {
            let keys = keys.clone();
            return Ok(Challenge::Final(self.last(keys)));
        }
        let verifier = &self.proofs.verifier;
        let same = verifier.salt() == salt && verifier.iterations() == iterations;
        if let (true, Some(client_key)) = (same, self.proofs.learned) {
            let keys = ClientKeys {
                client_key,
                stored_key: *verifier.stored_key(),
                server_key: *verifier.server_key(),
            };
            return Ok(Challenge::Final(self.last(keys)));
        }
        match &self.proofs.password {
            Some(password) => Ok(Challenge::Hash(HashJob {
                password: Arc::clone(password),
                salt,
                iterations,
            })),
            None if same => Err("only a SCRAM verifier is configured for this user and no client has logged in with it yet; give the password to open connections without a client".to_owned()),
            None => Err("only a SCRAM verifier is configured for this user and its salt or iteration count is not the server's: copy the server's own verifier (pg_authid.rolpassword) or give the password".to_owned()),
        }
    }

    /// The PBKDF2 that [`Challenge::Hash`] asked for is done: the client-final-message.
    pub fn hashed(&mut self, salted_password: &[u8; 32]) -> String {
        self.last(ClientKeys::from_salted_password(salted_password))
    }

    fn last(&mut self, keys: ClientKeys) -> String {
        let without_proof = self.without_proof();
        let signed = signature(
            &keys.stored_key,
            &self.bare,
            &self.server_first,
            &without_proof,
        );
        let proof = xor(&keys.client_key, &signed);
        self.keys = Some(keys);
        format!("{without_proof},p={}", STANDARD.encode(proof))
    }

    fn without_proof(&self) -> String {
        format!("c={},r={}", self.binding, self.nonce)
    }

    /// Checks the server-final-message: does the server know the password too?
    ///
    /// # Errors
    /// One line for the operator.
    pub fn verify(&mut self, message: &[u8]) -> Result<(), String> {
        let Some(keys) = &self.keys else {
            return Err("SCRAM: the server ended the exchange before weir's proof".to_owned());
        };
        let text = core::str::from_utf8(message).unwrap_or("");
        let mut rest = text;
        let Some(given) = take(&mut rest, 'v') else {
            return Err(format!(
                "SCRAM: the server ended the exchange with {:?}",
                clip(text)
            ));
        };
        let expected = signature(
            &keys.server_key,
            &self.bare,
            &self.server_first,
            &self.without_proof(),
        );
        if !bool::from(STANDARD.encode(expected).as_bytes().ct_eq(given.as_bytes())) {
            return Err("SCRAM: the server's signature is wrong: it does not know this user's password and may be an impostor".to_owned());
        }
        self.verified = true;
        Ok(())
    }

    /// Whether the server has proved itself.
    #[must_use]
    pub fn verified(&self) -> bool {
        self.verified
    }

    /// What to keep for the next login, once the server has proved itself.
    #[must_use]
    pub fn keys_used(&self) -> Option<KeyEntry> {
        let (salt, iterations) = self.asked.as_ref().filter(|_| self.verified)?;
        Some((salt.clone(), *iterations, self.keys.clone()?))
    }
}

fn bad_challenge() -> String {
    "SCRAM: the server's challenge is malformed".to_owned()
}

fn unknown_mechanisms(offered: &[&[u8]]) -> String {
    let names: Vec<_> = offered
        .iter()
        .map(|name| String::from_utf8_lossy(name))
        .collect();
    format!(
        "the server offers only SASL {:?}; weir knows SCRAM-SHA-256",
        clip(&names.join(", "))
    )
}

/// Bounded, for messages.
fn clip(text: &str) -> String {
    text.chars().take(80).collect()
}
