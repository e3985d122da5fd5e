//! Proving who one is: SCRAM-SHA-256, md5 and cleartext, as machines without I/O.

use std::sync::Arc;
use zeroize::Zeroizing;

/// What is known of a user's password.
pub struct UserSecret {
    /// The password itself, if the config holds it; needed for md5 and cleartext at the server, and for a SCRAM login at the
    /// server unless the server's verifier is the same as ours and a client has logged in.
    pub password: Option<Arc<Zeroizing<String>>>,
}

impl core::fmt::Debug for UserSecret {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("UserSecret(..)")
    }
}
