//! Certificates, keys and revocation lists, read from files with errors that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

/// A file of TLS material that cannot be used. Names the file, says what to do, shows nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// The file cannot be read.
    #[error("cannot read {}: check that it exists and this user may read it", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is not PEM, or holds none of what is looked for.
    #[error("{} holds no {wanted} in PEM form: write one there", file.display())]
    Missing {
        /// Which file.
        file: PathBuf,
        /// What was looked for.
        wanted: &'static str,
    },
    /// The file is PEM but what it holds does not serve.
    #[error("{} cannot be used for tls: issue it anew and check that certificate, key and ca belong together", file.display())]
    Unusable {
        /// Which file.
        file: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

impl MaterialError {
    pub(crate) fn tls(file: &Path, source: rustls::Error) -> Self {
        Self::Unusable { file: file.into(), source: source.into() }
    }

    pub(crate) fn verifier(file: &Path, source: rustls::server::VerifierBuilderError) -> Self {
        Self::Unusable { file: file.into(), source: source.into() }
    }
}

/// Every certificate of the file, leaf first.
pub(crate) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
    let text = read(file)?;
    some(file, "certificate", CertificateDer::pem_slice_iter(&text).collect())
}

/// The first private key of the file.
pub(crate) fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, MaterialError> {
    let text = zeroize::Zeroizing::new(read(file)?);
    PrivateKeyDer::from_pem_slice(&text)
        .map_err(|_| MaterialError::Missing { file: file.into(), wanted: "private key" })
}

/// The CA certificates of the file.
pub(crate) fn roots(file: &Path) -> Result<RootCertStore, MaterialError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|source| MaterialError::tls(file, source))?;
    }
    Ok(roots)
}

/// The revocation lists of all files; each must hold at least one.
pub(crate) fn crls(files: &[PathBuf]) -> Result<Vec<CertificateRevocationListDer<'static>>, MaterialError> {
    let mut all = Vec::new();
    for file in files {
        let text = read(file)?;
        all.extend(some(
            file,
            "revocation list",
            CertificateRevocationListDer::pem_slice_iter(&text).collect(),
        )?);
    }
    Ok(all)
}

fn read(file: &Path) -> Result<Vec<u8>, MaterialError> {
    std::fs::read(file).map_err(|source| MaterialError::Unreadable { file: file.into(), source })
}

fn some<T>(
    file: &Path,
    wanted: &'static str,
    read: Result<Vec<T>, pem::Error>,
) -> Result<Vec<T>, MaterialError> {
    match read {
        Ok(items) if !items.is_empty() => Ok(items),
        Ok(_) | Err(_) => Err(MaterialError::Missing { file: file.into(), wanted }),
    }
}
