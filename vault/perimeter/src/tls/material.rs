//! Certificates, keys and revocation lists, read from files with errors that say what to do.

use std::io;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// Largest PEM file read. A bundle of a hundred CA certificates is 200 KiB; a revocation list of 100,000 serials 4 MiB.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// A file of TLS material that cannot be used. Names the file, says what to do, shows nothing of its content.
#[derive(Debug, thiserror::Error)]
pub enum MaterialError {
    /// The file cannot be read.
    #[error("cannot read {}: check that it exists, is no larger than 16 MiB and this user may read it", file.display())]
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
    /// The file holds something in good form that must not be used.
    #[error("{} cannot be used: {reason}", file.display())]
    Refused {
        /// Which file.
        file: PathBuf,
        /// Why, and what to do.
        reason: &'static str,
    },
}

impl MaterialError {
    pub(crate) fn unusable(file: &Path, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Unusable { file: file.into(), source: Box::new(source) }
    }

    pub(crate) fn refused(file: &Path, reason: &'static str) -> Self {
        Self::Refused { file: file.into(), reason }
    }
}

/// A PEM file, read once: what is hashed to see a change is what is parsed. Wiped on drop, since it may be a key.
pub(crate) struct PemFile {
    path: PathBuf,
    text: Zeroizing<Vec<u8>>,
}

impl PemFile {
    pub(crate) fn read(path: &Path) -> Result<Self, MaterialError> {
        let unreadable = |source| MaterialError::Unreadable { file: path.into(), source };
        let length = std::fs::metadata(path).map_err(unreadable)?.len();
        if length > FILE_BYTES_MAX {
            return Err(unreadable(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(Self { path: path.into(), text: Zeroizing::new(std::fs::read(path).map_err(unreadable)?) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn text(&self) -> &[u8] {
        &self.text
    }

    /// Every certificate of the file, in order.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, MaterialError> {
        self.some("certificate", CertificateDer::pem_slice_iter(&self.text).collect())
    }

    /// The first private key of the file.
    pub(crate) fn private_key(&self) -> Result<PrivateKeyDer<'static>, MaterialError> {
        PrivateKeyDer::from_pem_slice(&self.text)
            .map_err(|_| MaterialError::Missing { file: self.path.clone(), wanted: "private key" })
    }

    /// Every certificate of the file, as trust anchors.
    pub(crate) fn roots(&self) -> Result<RootCertStore, MaterialError> {
        let mut roots = RootCertStore::empty();
        for certificate in self.certificates()? {
            roots.add(certificate).map_err(|source| MaterialError::unusable(&self.path, source))?;
        }
        Ok(roots)
    }

    /// The revocation lists of the file.
    pub(crate) fn crls(&self) -> Result<Vec<CertificateRevocationListDer<'static>>, MaterialError> {
        self.some("revocation list", CertificateRevocationListDer::pem_slice_iter(&self.text).collect())
    }

    fn some<T>(
        &self,
        wanted: &'static str,
        read: Result<Vec<T>, pem::Error>,
    ) -> Result<Vec<T>, MaterialError> {
        match read {
            Ok(items) if !items.is_empty() => Ok(items),
            Ok(_) | Err(_) => Err(MaterialError::Missing { file: self.path.clone(), wanted }),
        }
    }
}

/// Shows the path alone.
impl std::fmt::Debug for PemFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PemFile").field("path", &self.path).finish_non_exhaustive()
    }
}
