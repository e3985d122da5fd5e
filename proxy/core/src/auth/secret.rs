//! What is known of one user's password, in the forms that logins need. Made by whoever loads the configuration, off the data path.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::scram::{self, KeyEntry, Proofs, Verifier};
use crate::limits::SCRAM_ITERATIONS_DEFAULT;

/// What is known of a user's password: the password itself or only a SCRAM verifier.
pub struct UserSecret {
    password: Option<Arc<Zeroizing<String>>>,
    prepared: Option<Arc<Zeroizing<String>>>,
    verifier: Verifier,
}

impl UserSecret {
    /// From the password. `salt` must be random: it goes into the verifier that clients are checked against. Runs PBKDF2
    /// ([`SCRAM_ITERATIONS_DEFAULT`] rounds, a few milliseconds).
    #[must_use]
    pub fn from_password(password: impl Into<String>, salt: [u8; 16]) -> UserSecret {
        let password = Arc::new(Zeroizing::new(password.into()));
        let prepared = Arc::new(scram::prepare_password(&password));
        let verifier = Verifier::from_prepared(&prepared, &salt, SCRAM_ITERATIONS_DEFAULT);
        UserSecret {
            password: Some(password),
            prepared: Some(prepared),
            verifier,
        }
    }

    /// From a verifier as PostgreSQL stores it in `pg_authid.rolpassword`: `SCRAM-SHA-256$iterations:salt$StoredKey:ServerKey`.
    ///
    /// # Errors
    /// Says in one line what is wrong with the text, without repeating it.
    pub fn from_verifier(text: &str) -> Result<UserSecret, String> {
        Ok(UserSecret {
            password: None,
            prepared: None,
            verifier: Verifier::parse(text)?,
        })
    }

    /// The password, if the config holds it. Needed for md5 and cleartext on either side.
    #[must_use]
    pub fn password(&self) -> Option<&Arc<Zeroizing<String>>> {
        self.password.as_ref()
    }

    /// The password as SCRAM uses it: prepared by SASLprep (RFC 4013), or as it is where that does not allow it.
    #[must_use]
    pub fn prepared(&self) -> Option<&Arc<Zeroizing<String>>> {
        self.prepared.as_ref()
    }

    /// What weir can prove with, in the client's role: this secret, a key `learned` from a client that proved itself
    /// against it, and keys `cached` at an earlier login with it.
    #[must_use]
    pub fn proofs(&self, learned: Option<[u8; 32]>, cached: Option<KeyEntry>) -> Proofs {
        Proofs {
            password: self.prepared.clone(),
            verifier: self.verifier.clone(),
            learned,
            cached,
        }
    }

    /// What clients are checked against, without the password and without PBKDF2.
    #[must_use]
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }
}

impl core::fmt::Debug for UserSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("UserSecret(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_gives_every_form_and_never_prints() {
        let secret = UserSecret::from_password("p\u{2168}", [7; 16]);
        assert_eq!(secret.password().map(|p| p.as_str()), Some("p\u{2168}"));
        assert_eq!(secret.prepared().map(|p| p.as_str()), Some("pIX"));
        assert_eq!(secret.verifier().iterations(), SCRAM_ITERATIONS_DEFAULT);
        assert_eq!(format!("{secret:?}"), "UserSecret(..)");
    }

    #[test]
    fn a_verifier_gives_no_password() {
        let made = UserSecret::from_password("secret", [1; 16]);
        let text = made.verifier().to_text();
        let read = UserSecret::from_verifier(&text).unwrap();
        assert!(read.password().is_none() && read.prepared().is_none());
        assert_eq!(read.verifier().to_text(), text);
        assert!(UserSecret::from_verifier("secret").is_err());
    }
}
