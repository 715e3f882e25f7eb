//! TLS to PSPs: 1.3, or 1.2 with ECDHE and AEAD, because some offer nothing newer.
//!
//! Promises: nothing else in the house speaks TLS 1.2 to anybody outside (inside tunnels it is spoken within TLS 1.3,
//! `authority`). No resumption, no early data, no key log.
//! Upholds: C-17.

use std::path::Path;
use std::sync::Arc;

use rustls::client::Resumption;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

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
}

/// TLS that trusts the WebPKI, or only the certificates in `roots`.
pub fn client_config(roots: Option<&Path>) -> Result<Arc<ClientConfig>, TlsSetupError> {
    let roots = match roots {
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        Some(path) => pinned(path)?,
    };
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(TlsSetupError::Setup)?
        .with_root_certificates(roots)
        .with_no_client_auth();
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
