//! TLS of the null server.

use std::path::Path;
use std::sync::Arc;

use anyhow::Context as _;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};

use crate::net::Session;

/// Reads chain and key.
///
/// # Errors
/// A file can't be read or is not what it should be.
pub fn config(chain: &Path, key: &Path) -> anyhow::Result<Arc<ServerConfig>> {
    let unusable = |path: &Path| format!("{}: not usable as PEM", path.display());
    let certificates = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect)
        .with_context(|| unusable(chain))?;
    let key_der = PrivateKeyDer::from_pem_file(key).with_context(|| unusable(key))?;
    let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(certificates, key_der)
        .with_context(|| format!("{} does not fit {}", key.display(), chain.display()))?;
    Ok(Arc::new(config))
}

/// A client's session that has yet to shake hands.
///
/// # Errors
/// In rustls's words.
pub fn session(config: &Arc<ServerConfig>) -> Result<Session, rustls::Error> {
    Ok(Session::new(
        ServerConnection::new(Arc::clone(config))?.into(),
    ))
}
