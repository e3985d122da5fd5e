//! What a server keeps of a password: enough to check a client, not enough to log in.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroize as _;

use super::{ClientKeys, decode_key, hmac_sha256, salted_password};
use crate::limits::{SCRAM_ITERATIONS_DEFAULT, SCRAM_ITERATIONS_MAX};

/// Salt, iterations, StoredKey and ServerKey of RFC 5802.
#[derive(Clone, PartialEq, Eq)]
pub struct Verifier {
    salt: Vec<u8>,
    iterations: u32,
    stored_key: [u8; 32],
    server_key: [u8; 32],
}

impl Verifier {
    /// The verifier of a password that SASLprep has seen. Runs PBKDF2.
    #[must_use]
    pub fn from_prepared(prepared: &str, salt: &[u8], iterations: u32) -> Verifier {
        let mut salted = salted_password(prepared.as_bytes(), salt, iterations);
        let keys = ClientKeys::from_salted_password(&salted);
        salted.zeroize();
        Verifier {
            salt: salt.to_vec(),
            iterations,
            stored_key: keys.stored_key,
            server_key: keys.server_key,
        }
    }

    /// Reads PostgreSQL's text form, `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
    ///
    /// # Errors
    /// Says in one line what is wrong, without repeating the text.
    pub fn parse(text: &str) -> Result<Verifier, String> {
        let form = "SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey";
        let rest = text.trim().strip_prefix("SCRAM-SHA-256$").ok_or_else(|| {
            let md5 = if text.starts_with("md5") {
                " (an md5 hash can't be used; store a SCRAM verifier or the password)"
            } else {
                ""
            };
            format!("not a SCRAM verifier of the form {form}{md5}")
        })?;
        let split = |text, at| str::split_once(text, at);
        let (params, keys) = split(rest, '$').ok_or_else(|| format!("not of the form {form}"))?;
        let (iterations, salt) =
            split(params, ':').ok_or_else(|| format!("not of the form {form}"))?;
        let (stored, server) = split(keys, ':').ok_or_else(|| format!("not of the form {form}"))?;
        let iterations = parse_iterations(iterations)?;
        let salt = STANDARD
            .decode(salt)
            .map_err(|_| "its salt is not base64".to_owned())?;
        if salt.is_empty() {
            return Err("its salt is empty".to_owned());
        }
        Ok(Verifier {
            salt,
            iterations,
            stored_key: decode_key(stored).ok_or("its StoredKey is not base64 of 32 bytes")?,
            server_key: decode_key(server).ok_or("its ServerKey is not base64 of 32 bytes")?,
        })
    }

    /// PostgreSQL's text form.
    #[must_use]
    pub fn to_text(&self) -> String {
        format!(
            "SCRAM-SHA-256${}:{}${}:{}",
            self.iterations,
            STANDARD.encode(&self.salt),
            STANDARD.encode(self.stored_key),
            STANDARD.encode(self.server_key)
        )
    }

    /// A verifier that no password fits, for a user that does not exist: the same salt for the same name in one process, so that asking twice tells nothing (PostgreSQL's "mock authentication").
    #[must_use]
    pub fn mock(user: &[u8], secret: &[u8; 32]) -> Verifier {
        let mut salt = hmac_sha256(secret, &[b"salt", user]).to_vec();
        salt.truncate(16);
        Verifier {
            salt,
            iterations: SCRAM_ITERATIONS_DEFAULT,
            stored_key: hmac_sha256(secret, &[b"stored", user]),
            server_key: hmac_sha256(secret, &[b"server", user]),
        }
    }

    /// The salt.
    #[must_use]
    pub fn salt(&self) -> &[u8] {
        &self.salt
    }

    /// The iterations, 1 to [`SCRAM_ITERATIONS_MAX`].
    #[must_use]
    pub fn iterations(&self) -> u32 {
        self.iterations
    }

    /// SHA-256 of the client key.
    #[must_use]
    pub fn stored_key(&self) -> &[u8; 32] {
        &self.stored_key
    }

    /// The key that proves the server.
    #[must_use]
    pub fn server_key(&self) -> &[u8; 32] {
        &self.server_key
    }
}

impl Drop for Verifier {
    fn drop(&mut self) {
        self.stored_key.zeroize();
        self.server_key.zeroize();
    }
}

impl core::fmt::Debug for Verifier {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Verifier(..)")
    }
}

/// Digits only; 1 to [`SCRAM_ITERATIONS_MAX`].
pub(super) fn parse_iterations(text: &str) -> Result<u32, String> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    match text.parse::<u32>() {
        Ok(0) => Err("its iteration count is 0".to_owned()),
        Ok(count) if digits && count <= SCRAM_ITERATIONS_MAX => Ok(count),
        _ if digits => Err(format!(
            "its iteration count is above weir's limit of {SCRAM_ITERATIONS_MAX}"
        )),
        _ => Err("its iteration count is not a number".to_owned()),
    }
}
