//! What one load of the configuration hands to the next, and small helpers of all its parts.

use std::collections::HashMap;
use std::sync::Arc;

use rustls::server::ProducesTickets;
use weir_core::auth::UserSecret;

use crate::tls::{Identity, TlsSetupError, ticketer};

/// What one load hands to the next, so that a reload changes only what has changed.
pub struct Keep {
    /// One key for session tickets, so that clients stay cheap over reloads.
    pub(super) tickets: Arc<dyn ProducesTickets>,
    /// The certificate made at start, if one was needed: its fingerprint must not change while weir runs.
    pub(super) self_made: Option<Arc<Identity>>,
    /// The users' secrets: their SCRAM hashes take time.
    pub(super) secrets: HashMap<Arc<str>, Arc<UserSecret>>,
    /// Loads so far.
    pub(super) generation: u64,
}

impl Keep {
    /// Of a process that has loaded nothing yet.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn new() -> Result<Keep, TlsSetupError> {
        Ok(Keep {
            tickets: ticketer()?,
            self_made: None,
            secrets: HashMap::new(),
            generation: 0,
        })
    }
}

/// Zero stands for "none".
pub(super) fn unless_zero(duration: std::time::Duration) -> Option<std::time::Duration> {
    (!duration.is_zero()).then_some(duration)
}
