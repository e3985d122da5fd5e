//! What one load of the configuration hands to the next, and small helpers of all its parts.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::ProducesTickets;
use weir_core::auth::UserSecret;
use weir_core::auth::scram::Verifier;
use zeroize::Zeroizing;

use crate::tls::{Identity, TlsSetupError, ticketer};

/// What one load hands to the next, so that a reload changes only what has changed.
pub struct Keep {
    /// One key for session tickets, so that clients stay cheap over reloads.
    pub(super) tickets: Arc<dyn ProducesTickets>,
    /// The certificate made at start, if one was needed: its fingerprint must not change while weir runs.
    pub(super) self_made: Option<Arc<Identity>>,
    /// The users' secrets: their SCRAM hashes take time.
    pub(super) secrets: HashMap<Arc<str>, Arc<UserSecret>>,
    /// Salts of all users, known and unknown, are made from it; the same for the life of the process.
    mock_secret: Zeroizing<[u8; 32]>,
    /// Loads so far.
    pub(super) generation: u64,
}

impl Keep {
    /// Of a process that has loaded nothing yet.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Keep, TlsSetupError> {
        let mut mock_secret = Zeroizing::new([0; 32]);
        aws_lc_rs::rand::fill(&mut *mock_secret)
            .map_err(|_| TlsSetupError::Other("the system gives no random numbers".to_owned()))?;
        Ok(Keep {
            tickets: ticketer()?,
            self_made: None,
            secrets: HashMap::new(),
            mock_secret,
            generation: 0,
        })
    }

    /// The secret that the shards must answer unknown users from; see `salt`.
    pub fn mock_secret(&self) -> [u8; 32] {
        *self.mock_secret
    }

    /// The salt that `user` is shown, now and after every reload, whether there is such a user or not: else a salt that
    /// changes would tell that a user was added or has a new password.
    pub(super) fn salt(&self, user: &str) -> [u8; 16] {
        let mock = Verifier::mock(user.as_bytes(), &self.mock_secret);
        let mut salt = [0; 16];
        for (to, from) in salt.iter_mut().zip(mock.salt()) {
            *to = *from;
        }
        salt
    }
}

/// Zero stands for "none".
pub(super) fn unless_zero(duration: std::time::Duration) -> Option<std::time::Duration> {
    (!duration.is_zero()).then_some(duration)
}
