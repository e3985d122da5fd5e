//! weir as a TLS client: whom it trusts, and the configuration that handshakes with targets run under.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};

use super::certificate::{read_certificates, unusable};
use super::verify::{Unchecked, VerifyFull};
use super::{ALPN_POSTGRESQL, TlsSetupError};

/// How the target's certificate is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trust {
    /// Not at all (`require`): encrypted, but anyone in between may be the target.
    Unchecked,
    /// Chain to a root of the operating system, and host name.
    System,
    /// Chain to a certificate in this PEM file, and host name.
    File(PathBuf),
}

/// What a handshake with a group's target needs.
#[derive(Clone)]
pub struct TargetTls {
    /// Trust, ALPN, session cache.
    pub config: Arc<ClientConfig>,
    /// The name that the certificate must be for.
    pub name: ServerName<'static>,
}

/// The configuration for handshakes with a target. Every group should have its own: it also caches sessions.
///
/// # Errors
/// Names the file that can't be used, or says that the system has no roots.
pub fn client_config(trust: &Trust) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let algorithms = provider.signature_verification_algorithms;
    let verifier: Arc<dyn ServerCertVerifier> = match trust {
        Trust::Unchecked => Arc::new(Unchecked { algorithms }),
        Trust::System => Arc::new(VerifyFull::new(system_roots()?, Vec::new(), algorithms)),
        Trust::File(path) => {
            let certificates = read_certificates(path)?;
            let roots = roots_of(path, &certificates)?;
            Arc::new(VerifyFull::new(roots, certificates, algorithms))
        }
    };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| TlsSetupError::Other(format!("TLS can't be set up: {error}")))?
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    config.alpn_protocols = vec![ALPN_POSTGRESQL.to_vec()];
    Ok(Arc::new(config))
}

/// The name that a target's certificate must carry: a host name or an address (an IPv6 address may stand in brackets).
///
/// # Errors
/// When `host` is neither.
pub fn server_name(host: &str) -> Result<ServerName<'static>, TlsSetupError> {
    let bare = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    ServerName::try_from(bare.to_owned()).map_err(|_| {
        TlsSetupError::Other(format!(
            "`{host}` is no host name or address that a certificate could be for; correct the target's host, or set its TLS to `require` or `off`"
        ))
    })
}

fn roots_of(
    path: &Path,
    certificates: &[CertificateDer<'static>],
) -> Result<RootCertStore, TlsSetupError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        roots.add(certificate.clone()).map_err(|error| {
            unusable(
                path,
                format!("holds a certificate that can't be a root: {error}; give the CA's certificate in PEM format"),
            )
        })?;
    }
    Ok(roots)
}

fn system_roots() -> Result<RootCertStore, TlsSetupError> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found
            .errors
            .first()
            .map_or_else(String::new, |e| format!(" ({e})"));
        return Err(TlsSetupError::Other(format!(
            "the system has no CA certificates{why}; install the package ca-certificates, or name the target's CA in a file"
        )));
    }
    Ok(roots)
}
