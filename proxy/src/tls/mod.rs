//! TLS for both sides: configurations from files, certificates and their fingerprints, and the record machine of one
//! connection ([`session`]). What goes over the wire when is the business of `shards`.

mod certificate;
mod client;
mod server;
pub(crate) mod session;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;

pub use certificate::{end_point, fingerprint};
pub use client::{TargetTls, Trust, client_config, server_name};
pub use server::{Identity, server_config, ticketer};

/// The TLS side of a configuration: replaced whole at a reload. Connections that are up keep what they were made with.
#[derive(Clone, Default)]
pub struct TlsContexts {
    /// By listener; `None`: the listener offers no TLS.
    pub listeners: Vec<Option<Arc<ServerConfig>>>,
    /// By target group; `None`: weir speaks plain text to the target.
    pub groups: Vec<Option<TargetTls>>,
}

/// ALPN protocol of PostgreSQL (registered with IANA; see the manual's chapter on the protocol, "SSL Session Encryption").
pub const ALPN_POSTGRESQL: &[u8] = b"postgresql";

/// Why a TLS configuration can't be made. The text names the file and the way out.
#[derive(Debug)]
pub enum TlsSetupError {
    /// A file can't be read.
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// A file was read and is not what it should be.
    Unusable {
        /// Which file.
        path: PathBuf,
        /// What is wrong, and what to do.
        problem: String,
    },
    /// Something that no file is to blame for.
    Other(String),
}

impl std::fmt::Display for TlsSetupError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TlsSetupError::Unreadable { path, error } => write!(
                f,
                "can't read {}: {error}; check the path and that the user weir runs as may read it",
                path.display()
            ),
            TlsSetupError::Unusable { path, problem } => write!(f, "{}: {problem}", path.display()),
            TlsSetupError::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for TlsSetupError {}
