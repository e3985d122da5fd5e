//! Certificates as files and as bytes: reading PEM, fingerprints, channel binding data.

use std::path::Path;

use aws_lc_rs::digest::{self, Algorithm};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use x509_parser::oid_registry::{
    OID_HASH_SHA1, OID_NIST_HASH_SHA384, OID_NIST_HASH_SHA512, OID_PKCS1_RSASSAPSS,
    OID_PKCS1_SHA384WITHRSA, OID_PKCS1_SHA512WITHRSA, OID_SIG_ECDSA_WITH_SHA384,
    OID_SIG_ECDSA_WITH_SHA512,
};
use x509_parser::prelude::{FromDer, X509Certificate};
use x509_parser::signature_algorithm::RsaSsaPssParams;

use super::TlsSetupError;

/// The channel binding data `tls-server-end-point` of a certificate (RFC 5929, section 4.1): its hash by the algorithm of
/// its own signature, SHA-256 where that is MD5 or SHA-1. `None`: not a certificate, or signed in a way for which the RFC
/// defines no hash (Ed25519): channel binding is then not possible, as in PostgreSQL.
#[must_use]
pub fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let algorithm = signature_hash(&parsed)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

fn signature_hash(certificate: &X509Certificate<'_>) -> Option<&'static Algorithm> {
    use x509_parser::oid_registry as oid;
    let name = &certificate.signature_algorithm.algorithm;
    let is = |known: &oid::Oid<'_>| name == known;
    if is(&oid::OID_PKCS1_MD5WITHRSAENC)
        || is(&oid::OID_PKCS1_SHA1WITHRSA)
        || is(&oid::OID_PKCS1_SHA256WITHRSA)
        || is(&oid::OID_SIG_ECDSA_WITH_SHA256)
    {
        Some(&digest::SHA256)
    } else if is(&OID_PKCS1_SHA384WITHRSA) || is(&OID_SIG_ECDSA_WITH_SHA384) {
        Some(&digest::SHA384)
    } else if is(&OID_PKCS1_SHA512WITHRSA) || is(&OID_SIG_ECDSA_WITH_SHA512) {
        Some(&digest::SHA512)
    } else if is(&OID_PKCS1_RSASSAPSS) {
        pss_hash(certificate)
    } else {
        None
    }
}

fn pss_hash(certificate: &X509Certificate<'_>) -> Option<&'static Algorithm> {
    let parameters = certificate.signature_algorithm.parameters.as_ref()?;
    let pss = RsaSsaPssParams::try_from(parameters).ok()?;
    let hash = pss.hash_algorithm_oid();
    if *hash == OID_HASH_SHA1 || *hash == x509_parser::oid_registry::OID_NIST_HASH_SHA256 {
        Some(&digest::SHA256)
    } else if *hash == OID_NIST_HASH_SHA384 {
        Some(&digest::SHA384)
    } else if *hash == OID_NIST_HASH_SHA512 {
        Some(&digest::SHA512)
    } else {
        None
    }
}

/// SHA-256 of a certificate as operators compare it: `AB:CD:…`, the form of `openssl x509 -fingerprint -sha256`.
#[must_use]
pub fn fingerprint(certificate: &[u8]) -> String {
    let hash = digest::digest(&digest::SHA256, certificate);
    let bytes: Vec<String> = hash.as_ref().iter().map(|b| format!("{b:02X}")).collect();
    bytes.join(":")
}

/// Every certificate of a PEM file; at least one.
pub(super) fn read_certificates(
    path: &Path,
) -> Result<Vec<CertificateDer<'static>>, TlsSetupError> {
    let bytes = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    let certificates = certificates.map_err(|error| {
        unusable(
            path,
            format!("not readable as PEM ({error}); weir wants certificates in PEM format"),
        )
    })?;
    if certificates.is_empty() {
        return Err(unusable(
            path,
            "holds no certificate; weir wants PEM blocks that begin with -----BEGIN CERTIFICATE-----"
                .to_owned(),
        ));
    }
    Ok(certificates)
}

/// The private key of a PEM file.
pub(super) fn read_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsSetupError> {
    let bytes = zeroize::Zeroizing::new(read(path)?);
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|_| {
        let encrypted = bytes.windows(9).any(|w| w == b"ENCRYPTED");
        let problem = if encrypted {
            "the private key is encrypted; write it without a passphrase (openssl pkey -in … -out …) and let only weir's user read it"
        } else {
            "holds no private key; weir wants a PEM block PRIVATE KEY, RSA PRIVATE KEY or EC PRIVATE KEY"
        };
        unusable(path, problem.to_owned())
    })
}

fn read(path: &Path) -> Result<Vec<u8>, TlsSetupError> {
    std::fs::read(path).map_err(|error| TlsSetupError::Unreadable {
        path: path.to_owned(),
        error,
    })
}

pub(super) fn unusable(path: &Path, problem: String) -> TlsSetupError {
    TlsSetupError::Unusable {
        path: path.to_owned(),
        problem,
    }
}
