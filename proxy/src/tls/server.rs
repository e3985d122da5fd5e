//! weir as a TLS server: its certificate, and the configuration that clients' handshakes run under.

use std::path::Path;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::ProducesTickets;
use rustls::{CipherSuite, ServerConfig, SupportedCipherSuite};

use super::certificate::{end_point, fingerprint, read_certificates, read_key, unusable};
use super::{ALPN_POSTGRESQL, TlsSetupError};

/// A certificate chain and its key.
pub struct Identity {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("fingerprint", &self.fingerprint())
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Reads a chain (own certificate first) and its key from PEM files and checks that they belong together.
    ///
    /// # Errors
    /// Names the file, what is wrong with it, and the way out.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Identity, TlsSetupError> {
        let identity = Identity {
            chain: read_certificates(chain)?,
            key: read_key(key)?,
        };
        match identity.certified() {
            Ok(_) => Ok(identity),
            Err(rustls::Error::InconsistentKeys(_)) => Err(unusable(
                key,
                format!(
                    "is not the key of the first certificate in {}; give the key that the certificate was issued for, and put weir's own certificate first",
                    chain.display()
                ),
            )),
            Err(error) => Err(unusable(key, format!("can't be used: {error}"))),
        }
    }

    /// Makes a certificate of its own for `names` (host names or addresses). Clients can't verify it except by its
    /// fingerprint.
    ///
    /// # Errors
    /// When a name can't stand in a certificate.
    pub fn self_made(names: &[String]) -> Result<Identity, TlsSetupError> {
        let made = rcgen::generate_simple_self_signed(names.to_vec()).map_err(|error| {
            TlsSetupError::Other(format!(
                "can't make a certificate for {names:?}: {error}; configure a certificate and key file instead"
            ))
        })?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        Ok(Identity {
            chain: vec![made.cert.der().clone()],
            key: PrivateKeyDer::Pkcs8(key),
        })
    }

    /// SHA-256 of the certificate, for the log.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        self.chain
            .first()
            .map_or_else(String::new, |c| fingerprint(c))
    }

    /// The certificate's channel binding data; see [`end_point`].
    #[must_use]
    pub fn end_point(&self) -> Option<Vec<u8>> {
        self.chain.first().and_then(|c| end_point(c))
    }

    /// The certificate itself, DER.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        self.chain.first().map_or(&[], |c| c.as_ref())
    }

    fn certified(&self) -> Result<rustls::sign::CertifiedKey, rustls::Error> {
        rustls::sign::CertifiedKey::from_der(
            self.chain.clone(),
            self.key.clone_key(),
            &aws_lc_rs::default_provider(),
        )
    }
}

/// Makes session tickets that need no memory here; one for the process, kept over reloads so that clients stay cheap.
///
/// # Errors
/// When the system has no randomness.
pub fn ticketer() -> Result<Arc<dyn ProducesTickets>, TlsSetupError> {
    aws_lc_rs::Ticketer::new().map_err(|error| {
        TlsSetupError::Other(format!("can't make a key for session tickets: {error}"))
    })
}

/// What weir offers clients: all that the library holds for safe, the suites with AES-128 and SHA-256 first. They are as strong as
/// any attack needs, CPUs have instructions for SHA-256 and mostly none for SHA-384, and a handshake hashes a lot.
fn provider() -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    let quick = |suite: &SupportedCipherSuite| {
        matches!(
            suite.suite(),
            CipherSuite::TLS13_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256
                | CipherSuite::TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
        )
    };
    provider.cipher_suites.sort_by_key(|suite| !quick(suite));
    provider
}

/// The configuration for clients' handshakes: TLS 1.2 and 1.3, ALPN `postgresql`, one ticket per session.
///
/// # Errors
/// When certificate and key can't be used.
pub fn server_config(
    identity: &Identity,
    tickets: Arc<dyn ProducesTickets>,
) -> Result<Arc<ServerConfig>, TlsSetupError> {
    let mut config = ServerConfig::builder_with_provider(Arc::new(provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder
                .with_no_client_auth()
                .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        })
        .map_err(|error| {
            TlsSetupError::Other(format!("certificate and key can't be used: {error}"))
        })?;
    // Clients list what they can do; what it costs falls on weir.
    config.ignore_client_order = true;
    config.alpn_protocols = vec![ALPN_POSTGRESQL.to_vec()];
    config.ticketer = tickets;
    config.send_tls13_tickets = 1;
    config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
    Ok(Arc::new(config))
}
