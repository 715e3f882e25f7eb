//! TLS to PSPs: 1.3, or 1.2 with ECDHE and AEAD, because some offer nothing newer.
//!
//! Promises: nothing else in the house speaks TLS 1.2 to anybody outside (inside tunnels it is spoken within TLS 1.3,
//! `authority`). No resumption, no early data, no key log.
//! Upholds: C-17, C-48.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use rustls::client::{Resumption, VerifierBuilderError};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::pins::PinnedVerifier;

/// Why a route's trust cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsSetupError {
    /// The file is not there, or is no PEM.
    #[error("roots file {path}: cannot be read as pem certificates; give the psp's ca certificates")]
    RootsFile {
        /// The file.
        path: String,
    },
    /// The file holds no certificate.
    #[error("roots file {path}: holds no certificate; give the psp's ca certificates")]
    NoRoots {
        /// The file.
        path: String,
    },
    /// A certificate in it is not usable as a root.
    #[error("a root certificate cannot be used")]
    Root(#[source] rustls::Error),
    /// The provider lacks a protocol version.
    #[error("tls cannot be set up")]
    Setup(#[source] rustls::Error),
    /// The roots cannot verify.
    #[error("the roots cannot be used")]
    Verifier(#[from] VerifierBuilderError),
}

/// The roots of the WebPKI, or only the certificates in a file.
pub fn roots(file: Option<&Path>) -> Result<Arc<RootCertStore>, TlsSetupError> {
    Ok(Arc::new(match file {
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        Some(path) => pinned(path)?,
    }))
}

/// TLS that trusts these roots and, unless there are none, these pins; and presents a certificate to PSPs that ask.
pub fn client_config(
    roots: Arc<RootCertStore>,
    pins: &BTreeSet<[u8; 32]>,
    presented: Option<Arc<CertifiedKey>>,
) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsSetupError::Setup)?;
    let builder = match pins.is_empty() {
        true => builder.with_root_certificates(roots),
        false => {
            let verifier = Arc::new(PinnedVerifier::new(roots, provider, pins.clone())?);
            builder.dangerous().with_custom_certificate_verifier(verifier)
        }
    };
    let mut config = match presented {
        None => builder.with_no_client_auth(),
        Some(presented) => builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(presented))),
    };
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}

fn pinned(path: &Path) -> Result<RootCertStore, TlsSetupError> {
    let shown = || path.display().to_string();
    let unreadable = |_| TlsSetupError::RootsFile { path: shown() };
    let mut store = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
        store.add(certificate.map_err(unreadable)?).map_err(TlsSetupError::Root)?;
    }
    if store.is_empty() { Err(TlsSetupError::NoRoots { path: shown() }) } else { Ok(store) }
}
