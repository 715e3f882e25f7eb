//! The certificate an account presents to its PSP.
//!
//! Promises: certificate and key belong together; a key others may open is refused; what cannot be used leaves the
//! account as it was.
//! Does not promise: to refuse one that has ended; the metric of its end is there to be watched.
//! Upholds: C-48.

use std::path::Path;
use std::sync::Arc;

use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use sha2::{Digest as _, Sha256};
use strongroom_domain::route::ClientCertificateFiles;
use strongroom_perimeter::secret_file::{self, SecretFileError};
use x509_parser::prelude::{FromDer as _, X509Certificate};

/// A certificate with its key.
#[derive(Clone)]
pub struct Presented {
    /// What TLS uses.
    pub certified: Arc<CertifiedKey>,
    /// SHA-256 of the chain: two accounts with the same one share connections.
    pub sha256: [u8; 32],
    /// Unix time of its end.
    pub ends: i64,
}

impl Presented {
    /// Reads both files below `folder`.
    pub fn read(files: &ClientCertificateFiles, folder: &Path) -> Result<Self, SecretFileError> {
        let path = folder.join(&files.certificate_file);
        let pem = std::fs::read(&path)
            .map_err(|source| SecretFileError::Unreadable { path: path.clone(), source })?;
        let wrong = |reason| SecretFileError::content(&path, reason);
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
        let chain = chain.map_err(|_| wrong("is no pem; give the certificate and its intermediates"))?;
        let first =
            chain.first().ok_or_else(|| wrong("holds no certificate; give it and its intermediates"))?;
        let (_, parsed) = X509Certificate::from_der(first)
            .map_err(|_| wrong("holds no x.509 certificate; give it and its intermediates"))?;
        let ends = parsed.validity().not_after.timestamp();
        let sha256 = chain.iter().fold(Sha256::new(), |hash, one| hash.chain_update(one)).finalize().into();

        let key_path = folder.join(&files.key_file);
        let key = secret_file::read(&key_path)?;
        let unusable = |reason| SecretFileError::content(&key_path, reason);
        let key = PrivateKeyDer::from_pem_slice(&key)
            .map_err(|_| unusable("holds no private key in pem; give the certificate's"))?;
        let provider = rustls::crypto::aws_lc_rs::default_provider();
        let certified = CertifiedKey::from_der(chain, key, &provider)
            .map_err(|_| unusable("is not the certificate's key, or of a kind tls does not use"))?;
        Ok(Self { certified: Arc::new(certified), sha256, ends })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, KeyPair};

    #[test]
    fn certificate_and_key_belong_together_or_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str, mode| {
            let path = folder.path().join(name);
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
        };
        let (key, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let certificate = CertificateParams::new(Vec::new()).unwrap().self_signed(&key).unwrap();
        write("a.pem", &certificate.pem(), 0o644);
        write("a.key", &key.serialize_pem(), 0o600);
        write("open.key", &key.serialize_pem(), 0o644);
        write("other.key", &other.serialize_pem(), 0o600);
        write("empty.pem", "", 0o644);
        for (certificate_file, key_file, reads) in [
            ("a.pem", "a.key", true),
            ("a.pem", "other.key", false),
            ("a.pem", "open.key", false),
            ("a.pem", "a.pem", false),
            ("empty.pem", "a.key", false),
            ("a.key", "a.key", false),
            ("gone.pem", "a.key", false),
        ] {
            let (certificate_file, key_file) = (certificate_file.into(), key_file.into());
            let files = ClientCertificateFiles { certificate_file, key_file };
            let read = Presented::read(&files, folder.path());
            assert_eq!(read.is_ok(), reads, "{files:?}");
            if let Err(error) = read {
                assert!(!error.to_string().contains("BEGIN"), "{error}");
            }
        }
    }
}
