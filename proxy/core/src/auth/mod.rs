//! Proving who one is: SCRAM-SHA-256, md5 and cleartext, as machines without I/O.
//!
//! This room knows secrets and proofs. How a proof is packed into a message is the business of [`crate::wire`]; where secrets
//! come from is the shell's.

pub mod cleartext;
pub mod md5;
pub mod scram;
mod secret;

pub use scram::HashJob;
pub use secret::UserSecret;

/// How weir asks clients of a listener to prove who they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum ClientAuthMethod {
    /// SCRAM-SHA-256, and inside TLS also SCRAM-SHA-256-PLUS. Works with a password and with a stored verifier.
    #[default]
    ScramSha256,
    /// PostgreSQL's md5. Needs the password in the config.
    Md5,
    /// The password itself. Needs the password in the config, and is never asked for outside TLS.
    Cleartext,
}
