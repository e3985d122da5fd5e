//! Certificates of a run: an authority, server certificates signed by it, an authority that nobody should trust, and
//! rustls configurations made from them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, KeyUsagePurpose,
};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::{CertificateDer, pem::PemObject};

/// Files of the certificates, all PEM.
#[derive(Clone, Debug)]
pub struct Pki {
    /// The folder.
    pub dir: PathBuf,
    /// The authority.
    pub ca: PathBuf,
    /// An authority that signed nothing here.
    pub wrong_ca: PathBuf,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, PEM.
    pub cert: PathBuf,
    /// The key, PEM.
    pub key: PathBuf,
}

impl Pki {
    /// Makes the authorities and the usual certificates in a folder:
    /// `server` and `weir` (127.0.0.1, localhost), `renewed` (the same names) and `elsewhere` (another name).
    pub fn make(dir: &Path) -> Result<Pki> {
        std::fs::create_dir_all(dir)?;
        let issuer = authority("weir end-to-end tests")?;
        let wrong = authority("somebody else")?;
        let pki = Pki {
            dir: dir.to_owned(),
            ca: dir.join("ca.crt"),
            wrong_ca: dir.join("wrong-ca.crt"),
        };
        std::fs::write(&pki.ca, issuer.pem())?;
        std::fs::write(&pki.wrong_ca, wrong.pem())?;
        for name in ["server", "weir", "renewed"] {
            pki.sign(&issuer, name, &["127.0.0.1", "localhost"])?;
        }
        pki.sign(&issuer, "elsewhere", &["elsewhere.example"])?;
        Ok(pki)
    }

    fn sign(
        &self,
        issuer: &CertifiedIssuer<'_, KeyPair>,
        name: &str,
        hosts: &[&str],
    ) -> Result<()> {
        let hosts: Vec<String> = hosts.iter().map(|h| (*h).to_owned()).collect();
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(hosts)?;
        params.distinguished_name.push(DnType::CommonName, name);
        let cert = params.signed_by(&key, issuer)?;
        let pair = self.pair(name);
        std::fs::write(&pair.cert, cert.pem())?;
        std::fs::write(&pair.key, key.serialize_pem())?;
        // weir warns of keys that everyone can read.
        std::fs::set_permissions(
            &pair.key,
            std::os::unix::fs::PermissionsExt::from_mode(0o600),
        )?;
        Ok(())
    }

    /// The certificate of that name.
    pub fn pair(&self, name: &str) -> Pair {
        Pair {
            cert: self.dir.join(format!("{name}.crt")),
            key: self.dir.join(format!("{name}.key")),
        }
    }
}

fn authority(name: &str) -> Result<CertifiedIssuer<'static, KeyPair>> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

/// A client's TLS settings: trusts one authority, checks the host name, keeps session tickets.
pub fn client_config(
    ca: &Path,
    versions: &[&'static SupportedProtocolVersion],
    alpn: bool,
) -> Result<ClientConfig> {
    let mut roots = RootCertStore::empty();
    for cert in CertificateDer::pem_file_iter(ca).with_context(|| ca.display().to_string())? {
        roots.add(cert?)?;
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    if alpn {
        config.alpn_protocols = vec![b"postgresql".to_vec()];
    }
    Ok(config)
}
