//! A throw-away public key infrastructure, for the sandbox and for tests.
//!
//! Two roots, because the house trusts in two directions: *workloads* signs the servers and clients that speak mTLS to
//! each other, *psp* signs the sandbox PSP alone, and a route pins it.
//!
//! Promises: keys are ECDSA P-256 in files only their owner can read; a leaf lives at most 90 days, is no authority and
//! serves one purpose; a client certificate has exactly one SPIFFE URI SAN; what is on disk is used again while it would
//! still be accepted [`RENEW_BEFORE_DAYS`] from now, else made anew.
//! Does not promise: protection of the roots. They lie beside the leaves; nothing but a sandbox may trust them.
//! Trusts: that one process at a time uses a folder.

mod authority;
mod files;
mod mint;

pub use authority::PkiError;
pub use mint::{Lifetime, MintOptions, SignedBy, Usage};

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::RootCertStore;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use strongroom_domain::Clock;

use authority::Authority;

/// The trust domain of every SPIFFE ID made here; RFC 6761 reserves `.test`.
pub const TRUST_DOMAIN: &str = "strongroom.test";
/// The workloads a sandbox has.
pub const WORKLOADS: [&str; 9] = [
    "checkout",
    "importer",
    "orchestrator",
    "matcher",
    "reconciler",
    "updater",
    "proxy",
    "platform",
    "security",
];
/// How long a leaf lives: inside the 90 days promised.
pub const LEAF_DAYS: u64 = 60;
/// A leaf, a CRL or a root with less than this left is renewed at the next start.
pub const RENEW_BEFORE_DAYS: u64 = 20;

/// A certificate and its key, as files.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Identity {
    /// The certificate, PEM. The chain is the leaf alone: the roots sign directly.
    pub certificate_pem_path: PathBuf,
    /// The key, PKCS #8 in PEM, mode 0600.
    pub key_pem_path: PathBuf,
}

impl Identity {
    /// Reads the certificate.
    pub fn certificate(&self) -> Result<CertificateDer<'static>, PkiError> {
        CertificateDer::from_pem_file(&self.certificate_pem_path)
            .map_err(|error| PkiError::pem(&self.certificate_pem_path, error))
    }

    /// Reads the key.
    pub fn key(&self) -> Result<PrivateKeyDer<'static>, PkiError> {
        PrivateKeyDer::from_pem_file(&self.key_pem_path)
            .map_err(|error| PkiError::pem(&self.key_pem_path, error))
    }
}

/// A server of the sandbox.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Server {
    /// The vault's `api` listener.
    Vault,
    /// The proxy's `forward` listener.
    Proxy,
    /// The sandbox PSP; signed by the PSP root.
    Psp,
}

impl Server {
    /// Every server.
    pub const ALL: [Self; 3] = [Self::Vault, Self::Proxy, Self::Psp];
}

/// The infrastructure in one folder.
pub struct Pki {
    folder: PathBuf,
    clock: Arc<dyn Clock>,
    workloads: Authority,
    psp: Authority,
    /// One writer of files at a time.
    writing: Mutex<()>,
}

impl fmt::Debug for Pki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pki").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Pki {
    /// Opens the infrastructure in `folder`, making or renewing whatever is absent, damaged or near its end.
    pub fn open_or_create(folder: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<Self, PkiError> {
        let folder = folder.as_ref().to_path_buf();
        files::create_folder(&folder)?;
        let now = clock.now();
        let workloads = Authority::open_or_create(&folder, "workload-ca", "Strongroom workloads", now)?;
        let psp = Authority::open_or_create(&folder, "psp-ca", "Strongroom PSP", now)?;
        let pki = Self { folder, clock, workloads, psp, writing: Mutex::new(()) };
        pki.renew()?;
        Ok(pki)
    }

    /// Makes whatever is near its end anew: listeners that watch their files pick it up. Roots are renewed at start only.
    pub fn renew(&self) -> Result<(), PkiError> {
        self.workloads.renew_crl(&self.crl_file(), self.clock.now())?;
        for server in Server::ALL {
            self.server(server)?;
        }
        for workload in WORKLOADS {
            self.client(workload)?;
        }
        Ok(())
    }

    /// The folder everything is in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The root that signs workloads: what servers of the house and their clients trust.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.workloads.certificate_file.clone()
    }

    /// The root that signs the sandbox PSP: what its route pins.
    #[must_use]
    pub fn psp_ca_file(&self) -> PathBuf {
        self.psp.certificate_file.clone()
    }

    /// The revocation list of the workload root.
    #[must_use]
    pub fn crl_file(&self) -> PathBuf {
        self.folder.join("workload-ca.crl.pem")
    }

    /// The SPIFFE ID of a workload.
    #[must_use]
    pub fn spiffe_id(workload: &str) -> String {
        format!("spiffe://{TRUST_DOMAIN}/{workload}")
    }

    /// The client certificate of a workload: any name, also one that no policy knows.
    pub fn client(&self, workload: &str) -> Result<Identity, PkiError> {
        self.keep_or_mint(workload, &MintOptions::client(workload))
    }

    /// The certificate of a server of the sandbox.
    pub fn server(&self, server: Server) -> Result<Identity, PkiError> {
        let (stem, options) = match server {
            Server::Vault => ("vault-server", MintOptions::server(&["localhost", "vault.strongroom.test"])),
            Server::Proxy => (
                "proxy-server",
                // Entry by host: one name per route.
                MintOptions::server(&[
                    "localhost",
                    "proxy.strongroom.test",
                    "*.proxy.strongroom.test",
                    "*.proxy.internal",
                    "*.proxy.localhost",
                ]),
            ),
            Server::Psp => (
                "psp-server",
                MintOptions::server(&["localhost", "psp.strongroom.test"]).signed_by(SignedBy::Psp),
            ),
        };
        self.keep_or_mint(stem, &options)
    }

    /// Makes a certificate, also a wrong one, under `minted/`. Each call makes a new key; the same name overwrites.
    pub fn mint(&self, name: &str, options: &MintOptions) -> Result<Identity, PkiError> {
        let minted = self.folder.join("minted");
        files::create_folder(&minted)?;
        let identity = files::identity(&minted, name)?;
        let _writing = self.lock();
        let stranger;
        let authority = match options.signed_by {
            SignedBy::Workloads => &self.workloads,
            SignedBy::Psp => &self.psp,
            SignedBy::Stranger => {
                stranger = Authority::in_memory("Somebody else", self.clock.now())?;
                &stranger
            }
            SignedBy::Impostor => {
                stranger = Authority::in_memory(self.workloads.name, self.clock.now())?;
                &stranger
            }
        };
        authority.issue(options, name, &identity, self.clock.now())?;
        Ok(identity)
    }

    /// Puts a certificate of the workload root on its revocation list.
    pub fn revoke(&self, identity: &Identity) -> Result<(), PkiError> {
        let _writing = self.lock();
        self.workloads.revoke(&self.crl_file(), &identity.certificate()?, self.clock.now())
    }

    /// A TLS 1.3 client that presents `identity`, if any, and trusts one root. ALPN is left to the caller.
    pub fn client_config(
        &self,
        identity: Option<&Identity>,
        trust: Server,
    ) -> Result<rustls::ClientConfig, PkiError> {
        let root = match trust {
            Server::Vault | Server::Proxy => &self.workloads.certificate,
            Server::Psp => &self.psp.certificate,
        };
        let mut roots = RootCertStore::empty();
        roots.add(root.clone())?;
        let builder = rustls::ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        Ok(match identity {
            Some(identity) => {
                builder.with_client_auth_cert(vec![identity.certificate()?], identity.key()?)?
            }
            None => builder.with_no_client_auth(),
        })
    }

    fn keep_or_mint(&self, stem: &str, options: &MintOptions) -> Result<Identity, PkiError> {
        let identity = files::identity(&self.folder, stem)?;
        let authority = if options.signed_by == SignedBy::Psp { &self.psp } else { &self.workloads };
        let now = self.clock.now();
        let _writing = self.lock();
        if !authority.would_accept(&identity, options, now) {
            authority.issue(options, stem, &identity, now)?;
        }
        Ok(identity)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The one cryptographic provider, named so that nothing depends on a process-wide default.
pub(crate) fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
