//! TLS of the clients: what all of them share.

use std::sync::Arc;

use anyhow::Context as _;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, RootCertStore, SignatureScheme,
};

use super::Tls;
use crate::net::Session;

/// Tickets that are kept for resumption: they are per server name, and there is one.
const TICKETS: usize = 64;

/// What all clients share.
pub struct Clients {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

impl Clients {
    /// Reads the roots.
    ///
    /// # Errors
    /// The file or the name is unusable.
    pub fn new(tls: &Tls) -> anyhow::Result<Clients> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = match &tls.ca {
            Some(path) => {
                let mut roots = RootCertStore::empty();
                let unusable = || format!("{}: no usable certificate in PEM", path.display());
                for certificate in CertificateDer::pem_file_iter(path).with_context(unusable)? {
                    roots
                        .add(certificate.with_context(unusable)?)
                        .with_context(unusable)?;
                }
                WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
                    .build()
                    .with_context(unusable)?
            }
            None => Arc::new(Anybody(Arc::clone(&provider))),
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        config.alpn_protocols = vec![weir::tls::ALPN_POSTGRESQL.to_vec()];
        config.resumption = if tls.resume {
            Resumption::in_memory_sessions(TICKETS)
        } else {
            Resumption::disabled()
        };
        let name = ServerName::try_from(tls.name.clone())
            .with_context(|| format!("{:?} is no host name", tls.name))?;
        Ok(Clients {
            config: Arc::new(config),
            name,
        })
    }

    /// A session that has yet to shake hands.
    ///
    /// # Errors
    /// The configuration does not fit, in rustls's words.
    pub fn session(&self) -> Result<Session, rustls::Error> {
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone())?;
        Ok(Session::new(connection.into()))
    }
}

/// Believes any certificate, but checks that the server has its key.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
