//! Logging in: startup message and the answers to the server's authentication requests.
//!
//! PBKDF2 is run once per salt: a storm would measure the generator else.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use weir_core::auth::md5;
use weir_core::auth::scram::{self, Challenge, Proofs, ScramClient, Verifier};
use zeroize::Zeroizing;

use super::Login;
use super::plan::Random;
use crate::wire;

/// Salted passwords that are kept: a server that makes a salt per login must not fill the memory.
const SALTED_MAX: usize = 64;

/// By salt and iterations.
type Salted = HashMap<(Vec<u8>, u32), [u8; 32]>;

/// What all logins share.
pub struct Logins {
    /// The startup message.
    pub startup: Vec<u8>,
    user: String,
    password: Option<String>,
    prepared: Arc<Zeroizing<String>>,
    salted: Mutex<Salted>,
}

impl Logins {
    /// Who logs in.
    #[must_use]
    pub fn new(login: &Login) -> Logins {
        let mut startup = Vec::new();
        wire::untyped(&mut startup, |b| {
            b.extend_from_slice(&wire::VERSION.to_be_bytes());
            for (name, value) in [
                ("user", login.user.as_str()),
                ("database", &login.database),
                ("application_name", "weir-perf"),
            ] {
                wire::text(b, name.as_bytes());
                wire::text(b, value.as_bytes());
            }
            b.push(0);
        });
        let password = login.password.clone();
        Logins {
            startup,
            user: login.user.clone(),
            prepared: Arc::new(scram::prepare_password(password.as_deref().unwrap_or(""))),
            password,
            salted: Mutex::default(),
        }
    }

    /// Answers an Authentication message. `exchange` is this connection's SCRAM exchange, if one is under way.
    ///
    /// # Errors
    /// Why this login can't go on.
    pub fn answer(
        &self,
        body: &[u8],
        exchange: &mut Option<Box<ScramClient>>,
        end_point: Option<&[u8]>,
        random: &mut Random,
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let (code, rest) = body
            .split_first_chunk::<4>()
            .ok_or("the server's Authentication message is too short")?;
        let started = "the server went on with a SASL exchange that was not started";
        match u32::from_be_bytes(*code) {
            0 => *exchange = None,
            3 => answer(out, &[self.given()?.as_bytes(), b"\0"]),
            5 => {
                let salt = rest
                    .first_chunk()
                    .ok_or("the server's md5 salt is missing")?;
                let hash = md5::answer(self.given()?.as_bytes(), self.user.as_bytes(), *salt);
                answer(out, &[&hash, b"\0"]);
            }
            10 => *exchange = Some(Box::new(self.first(rest, end_point, random, out)?)),
            11 => self.prove(exchange.as_mut().ok_or(started)?, rest, out)?,
            12 => exchange.as_mut().ok_or(started)?.verify(rest)?,
            other => {
                return Err(format!(
                    "the server asks for authentication {other}, which weir-perf does not know"
                ));
            }
        }
        Ok(())
    }

    fn given(&self) -> Result<&str, String> {
        self.password.as_deref().ok_or_else(|| {
            format!(
                "the server asks for a password of {:?} and none was given",
                self.user
            )
        })
    }

    /// Chooses a mechanism and says the client-first-message.
    fn first(
        &self,
        offered: &[u8],
        end_point: Option<&[u8]>,
        random: &mut Random,
        out: &mut Vec<u8>,
    ) -> Result<ScramClient, String> {
        self.given()?;
        let offered: Vec<&[u8]> = offered
            .split(|b| *b == 0)
            .filter(|n| !n.is_empty())
            .collect();
        let mut nonce = [0; scram::NONCE_LEN];
        for part in nonce.chunks_mut(8) {
            part.copy_from_slice(&random.next().to_le_bytes()[..part.len()]);
        }
        let proofs = Proofs {
            password: Some(Arc::clone(&self.prepared)),
            // Any: it says only which keys a proxy may have learned, and a client has the password.
            verifier: Verifier::mock(self.user.as_bytes(), &[0; 32]),
            learned: None,
            cached: None,
        };
        let client = ScramClient::choose(&offered, end_point, proofs, &nonce)?;
        let first = client.first();
        wire::message(out, b'p', |b| {
            wire::text(b, client.mechanism().as_bytes());
            wire::untyped_value(b, |b| b.extend_from_slice(first.as_bytes()));
        });
        Ok(client)
    }

    fn prove(
        &self,
        client: &mut ScramClient,
        challenge: &[u8],
        out: &mut Vec<u8>,
    ) -> Result<(), String> {
        let last = match client.challenge(challenge)? {
            Challenge::Final(last) => last,
            Challenge::Hash(job) => {
                let key = (job.salt.clone(), job.iterations);
                let known = self.salted().get(&key).copied();
                let salted = known.unwrap_or_else(|| job.run());
                let mut kept = self.salted();
                if kept.len() < SALTED_MAX {
                    kept.insert(key, salted);
                }
                client.hashed(&salted)
            }
        };
        answer(out, &[last.as_bytes()]);
        Ok(())
    }

    fn salted(&self) -> std::sync::MutexGuard<'_, Salted> {
        self.salted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(out: &mut Vec<u8>, parts: &[&[u8]]) {
    wire::message(out, b'p', |b| {
        parts.iter().for_each(|part| b.extend_from_slice(part))
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_core::auth::scram::ScramServer;

    fn logins(password: Option<&str>) -> Logins {
        Logins::new(&Login {
            user: "alice".to_owned(),
            database: "shop".to_owned(),
            password: password.map(str::to_owned),
        })
    }

    fn authentication(code: u32, rest: &[u8]) -> Vec<u8> {
        [&code.to_be_bytes(), rest].concat()
    }

    /// The one message that is answered, without type and length.
    fn answered(
        logins: &Logins,
        exchange: &mut Option<Box<ScramClient>>,
        end_point: Option<&[u8]>,
        body: &[u8],
    ) -> Result<Vec<u8>, String> {
        let mut out = Vec::new();
        logins.answer(body, exchange, end_point, &mut Random::new(7), &mut out)?;
        Ok(out.split_off(out.len().min(5)))
    }

    #[test]
    fn passwords_are_given_as_asked_for() {
        let logins = logins(Some("secret"));
        let said = |body: &[u8]| answered(&logins, &mut None, None, body).unwrap();
        assert_eq!(said(&authentication(3, b"")), b"secret\0");
        let hash = md5::answer(b"secret", b"alice", [1, 2, 3, 4]);
        assert_eq!(
            said(&authentication(5, &[1, 2, 3, 4])),
            [&hash[..], b"\0"].concat()
        );
        assert_eq!(said(&authentication(0, b"")), b"");
        assert!(answered(&logins, &mut None, None, &authentication(7, b"")).is_err());
        assert!(answered(&logins, &mut None, None, &authentication(11, b"")).is_err());
        let none = self::logins(None);
        let error = answered(&none, &mut None, None, &authentication(3, b"")).unwrap_err();
        assert!(error.contains("alice"), "{error}");
    }

    #[test]
    fn scram_proves_the_password_and_hashes_it_once() {
        let verifier = Verifier::from_prepared("secret", b"0123456789abcdef", 4096);
        let logins = logins(Some("secret"));
        for end_point in [None, Some(&b"certificate"[..]), None] {
            let mut server = ScramServer::new(
                verifier.clone(),
                false,
                end_point.is_some(),
                end_point.map(Arc::from),
            );
            let mut exchange = None;
            let offered = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
            let offered = if end_point.is_some() {
                &offered[..]
            } else {
                &offered[19..]
            };
            let mut said = |body: &[u8]| answered(&logins, &mut exchange, end_point, body);
            let first = said(&authentication(10, offered)).unwrap();
            let (mechanism, first) = first.split_at(first.iter().position(|b| *b == 0).unwrap());
            assert_eq!(mechanism.ends_with(b"-PLUS"), end_point.is_some());
            let challenge = server.first(&first[5..], &[9; scram::NONCE_LEN]).unwrap();
            let proof = said(&authentication(11, challenge.as_bytes())).unwrap();
            let success = server.last(&proof).unwrap();
            said(&authentication(12, success.server_final.as_bytes())).unwrap();
            assert_eq!(logins.salted().len(), 1);
        }
    }
}
