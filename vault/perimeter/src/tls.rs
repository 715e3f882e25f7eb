//! TLS 1.3 as both services speak it: suites, groups, and the client half for calls between them.
//!
//! Promises: TLS 1.3 only, whatever other crates of the build enable; AES-256-GCM and the hybrid post-quantum group first;
//! no session is ever resumed, because a resumed session would outlive a revocation.
//! Upholds: C-11.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::client::{Resumption, WebPkiServerVerifier};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{self, cipher_suite, kx_group};

pub(crate) mod material;
pub(crate) mod revocation;

pub use material::MaterialError;

use material::PemFile;

/// The provider of all TLS inside the house: TLS 1.3 suites, AES-256-GCM first; X25519MLKEM768 first, then the hybrid
/// with P-256, then the classical groups for tools that know no other.
#[must_use]
pub fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            cipher_suite::TLS13_AES_256_GCM_SHA384,
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        kx_groups: vec![
            kx_group::X25519MLKEM768,
            kx_group::SECP256R1MLKEM768,
            kx_group::X25519,
            kx_group::SECP256R1,
        ],
        ..aws_lc_rs::default_provider()
    })
}

/// The files of a client that presents a certificate.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientTlsConfig {
    /// The client certificate and its intermediates, PEM.
    pub certificate_file: PathBuf,
    /// Its private key, PEM (PKCS #8, SEC 1 or PKCS #1).
    pub key_file: PathBuf,
    /// The CA certificates the server's certificate must lead to, PEM.
    pub ca_file: PathBuf,
    /// Revocation lists the server's certificate is checked against, PEM.
    #[serde(default)]
    pub crl_files: Vec<PathBuf>,
}

/// The client half of mTLS. ALPN is left to the caller.
pub fn client_config(config: &ClientTlsConfig) -> Result<ClientConfig, MaterialError> {
    let roots = PemFile::read(&config.ca_file)?.roots()?;
    let mut crls = Vec::new();
    for file in &config.crl_files {
        crls.extend(PemFile::read(file)?.crls()?);
    }
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .with_crls(crls)
        .enforce_revocation_expiration()
        .build()
        .map_err(|source| MaterialError::unusable(&config.ca_file, source))?;
    let chain = PemFile::read(&config.certificate_file)?.certificates()?;
    let key = PemFile::read(&config.key_file)?.private_key()?;
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| MaterialError::unusable(&config.certificate_file, source))?
        .with_webpki_verifier(verifier)
        .with_client_auth_cert(chain, key)
        .map_err(|source| MaterialError::unusable(&config.certificate_file, source))?;
    client.resumption = Resumption::disabled();
    Ok(client)
}

/// A client that shows no certificate and trusts the WebPKI, or only the certificates in `roots`.
pub fn anonymous_client_config(roots: Option<&Path>) -> Result<ClientConfig, MaterialError> {
    let trusted = match roots {
        None => webpki_roots::TLS_SERVER_ROOTS.iter().cloned().collect(),
        Some(file) => PemFile::read(file)?.roots()?,
    };
    let file = roots.unwrap_or(Path::new("the WebPKI's roots"));
    let mut client = ClientConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(|source| MaterialError::unusable(file, source))?
        .with_root_certificates(trusted)
        .with_no_client_auth();
    client.resumption = Resumption::disabled();
    Ok(client)
}

#[cfg(test)]
mod tests {
    use rustls::{CipherSuite, NamedGroup};

    use super::*;

    #[test]
    fn the_strongest_come_first_and_nothing_is_older_than_tls_1_3() {
        let provider = provider();
        assert_eq!(provider.cipher_suites[0].suite(), CipherSuite::TLS13_AES_256_GCM_SHA384);
        assert!(provider.cipher_suites.iter().all(|suite| suite.tls13().is_some()));
        assert_eq!(provider.kx_groups[0].name(), NamedGroup::X25519MLKEM768);
    }
}
