//! The inbound entries in use: read from `policies/inbound`, replaced as a whole.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use sha2::{Digest as _, Sha256};
use strongroom_domain::route::{Inbound, InvalidRoute, Rate, Sender};
use strongroom_perimeter::secret_file::SecretFileError;
use strongroom_perimeter::tls::{self, ClientTlsConfig, MaterialError};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::platform::Platform;
use super::service::Service;
use crate::protect::Bucket;
use crate::route::{RouteBookError, names, text};
use crate::sign::Verifier;
use crate::upstream::{InvalidHost, Resolve};

/// Why there is nothing to receive, or why what is received stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum InboundError {
    /// A file or folder.
    #[error(transparent)]
    File(#[from] RouteBookError),
    /// An entry is wrong.
    #[error("{}", path.display())]
    Entry {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: InvalidRoute,
    },
    /// A sender's secret cannot be used.
    #[error("{}: a secret cannot be used", path.display())]
    Secret {
        /// The entry's file.
        path: PathBuf,
        /// What is wrong.
        #[source]
        source: SecretFileError,
    },
    /// TLS to the platform.
    #[error("{}: tls to the platform cannot be set up", path.display())]
    Tls {
        /// The entry's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: MaterialError,
    },
    /// The platform's host.
    #[error("{}: the platform's host cannot be used", path.display())]
    Host {
        /// The entry's file.
        path: PathBuf,
        /// Why.
        #[source]
        source: InvalidHost,
    },
    /// Two entries with one path.
    #[error("{}: another entry has the path {claimed} already", path.display())]
    Twice {
        /// The later file.
        path: PathBuf,
        /// The path on the listener.
        claimed: String,
    },
    /// No entry at all.
    #[error("{}: holds no entry; take `[inbound]` out of the settings, or write one", .0.display())]
    Empty(PathBuf),
    /// The files changed while they were read.
    #[error("a file of an inbound entry cannot be read")]
    Changed(#[from] io::Error),
}

/// One entry, ready to be used.
pub(super) struct Entry {
    pub(super) declared: Inbound,
    pub(super) verifier: Option<Verifier>,
    pub(super) platform: Platform,
    pub(super) bucket: Bucket,
}

/// Messages a second of one entry and proxy: far below what the vault takes of the inbound identity, which all entries share.
const fn rate(sender: &Sender) -> Rate {
    match sender {
        Sender::Anyone(_) => Rate::new(20, 40),
        Sender::Signed(_) | Sender::Certificate(_) => Rate::new(100, 200),
    }
}

/// Entries by their paths.
pub(super) struct Book {
    entries: BTreeMap<String, Arc<Entry>>,
    /// Of every file they were read from.
    sha256: [u8; 32],
}

/// Where a book is read from.
pub(super) struct Sources {
    pub(super) policies: PathBuf,
    pub(super) secrets: PathBuf,
    pub(super) platform_tls: Option<ClientTlsConfig>,
    pub(super) resolver: Arc<dyn Resolve>,
}

impl Book {
    /// The entry of a path.
    pub(super) fn find(&self, path: &str) -> Option<Arc<Entry>> {
        self.entries.get(path).cloned()
    }

    /// Says what is received now.
    pub(super) fn tell(&self, what: &'static str) {
        tracing::info!(entries = self.entries.len(), "{what}");
        for entry in self.entries.values() {
            if let Sender::Anyone(reason) = &entry.declared.sender {
                tracing::warn!(entry = %entry.declared.name, reason, "anyone may send messages of this entry");
            }
        }
    }
}

impl Sources {
    /// Reads every entry and its secrets.
    pub(super) fn read(&self) -> Result<Book, InboundError> {
        let folder = self.policies.join("inbound");
        let (mut entries, mut hash) = (BTreeMap::new(), Sha256::new());
        for name in names(&folder)? {
            let path = folder.join(format!("{name}.toml"));
            let text = text(&path)?;
            hash.update(Sha256::digest(&text));
            let entry = self.entry(&folder, &path, &name, &text, &mut hash)?;
            let claimed = entry.declared.call.path.as_str().to_owned();
            if entries.insert(claimed.clone(), Arc::new(entry)).is_some() {
                return Err(InboundError::Twice { path, claimed });
            }
        }
        if entries.is_empty() {
            return Err(InboundError::Empty(folder));
        }
        if let Some(tls) = &self.platform_tls {
            for file in [&tls.certificate_file, &tls.key_file, &tls.ca_file].into_iter().chain(&tls.crl_files)
            {
                hash.update(Sha256::digest(std::fs::read(file)?));
            }
        }
        Ok(Book { entries, sha256: hash.finalize().into() })
    }

    fn entry(
        &self,
        folder: &Path,
        path: &Path,
        name: &str,
        text: &str,
        hash: &mut Sha256,
    ) -> Result<Entry, InboundError> {
        let file = || path.to_owned();
        let declared =
            Inbound::parse(name, text).map_err(|source| InboundError::Entry { path: file(), source })?;
        let verifier = match &declared.sender {
            Sender::Signed(verification) => {
                for secret in &verification.secret_files {
                    hash.update(Sha256::digest(std::fs::read(self.secrets.join(secret))?));
                }
                let read = Verifier::read(verification, &self.secrets);
                Some(read.map_err(|source| InboundError::Secret { path: file(), source })?)
            }
            Sender::Certificate(_) | Sender::Anyone(_) => None,
        };
        let roots = declared.platform.roots_file.as_ref().map(|roots| folder.join(roots));
        if let Some(roots) = &roots {
            hash.update(Sha256::digest(std::fs::read(roots)?));
        }
        let tls = match &self.platform_tls {
            Some(config) => tls::client_config(config),
            None => tls::anonymous_client_config(roots.as_deref()),
        };
        let tls = tls.map_err(|source| InboundError::Tls { path: file(), source })?;
        let platform = Platform::new(&declared.platform, tls, &self.resolver);
        let platform = platform.map_err(|source| InboundError::Host { path: file(), source })?;
        let bucket = Bucket::new(rate(&declared.sender), Instant::now());
        Ok(Entry { declared, verifier, platform, bucket })
    }
}

/// Reads the entries again and again until `stop`; what cannot be used is said once and the old stay.
pub(super) async fn watch(
    service: Arc<Service>,
    sources: Arc<Sources>,
    every: Duration,
    stop: CancellationToken,
) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = None;
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let sources = sources.clone();
        let read = tokio::task::spawn_blocking(move || sources.read()).await;
        // A panic in it is a defect the panic hook has logged; the next look begins anew.
        let Ok(read) = read else { continue };
        match read {
            Ok(book) if book.sha256 == service.book.load().sha256 => said = None,
            Ok(book) => {
                book.tell("inbound entries reloaded");
                service.book.store(Arc::new(book));
                said = None;
            }
            Err(error) => {
                let what = error.to_string();
                if said.as_ref() != Some(&what) {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(error, "new inbound entries are not usable; the old ones stay in use");
                }
                said = Some(what);
            }
        }
    }
}
