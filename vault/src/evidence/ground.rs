//! What a bundle is made with beside the store: the key that signs, the running configuration, and one place to make it at a time.

use std::sync::Arc;

use strongroom_sealing::LogSigner;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::audit::{LogKeys, LogSigners, Origin, Signing, SigningError};
use crate::config::VaultConfig;
use crate::store::Store;

/// Held by the vault from its start.
pub struct EvidenceGround {
    signers: Arc<dyn LogSigners>,
    origin: Origin,
    config: Arc<VaultConfig>,
    one: Arc<Semaphore>,
}

/// The key a bundle is signed with, and those that lead to it.
pub struct BundleKeys {
    pub(super) signer: Arc<LogSigner>,
    pub(crate) keys: LogKeys,
}

impl EvidenceGround {
    /// Signs with the log's key.
    #[must_use]
    pub fn new(signers: Arc<dyn LogSigners>, origin: Origin, config: VaultConfig) -> Self {
        Self { signers, origin, config: Arc::new(config), one: Arc::new(Semaphore::new(1)) }
    }

    /// The log's key of now.
    pub(crate) async fn keys(&self, store: &dyn Store) -> Result<BundleKeys, SigningError> {
        let Signing { signer, keys, .. } = Signing::now(store, &*self.signers, &self.origin).await?;
        Ok(BundleKeys { signer, keys })
    }

    /// The log it is of.
    #[must_use]
    pub const fn origin(&self) -> &Origin {
        &self.origin
    }

    /// The running configuration. Secrets are not in it, only the names of their files.
    #[must_use]
    pub const fn config(&self) -> &Arc<VaultConfig> {
        &self.config
    }

    /// The right to make a bundle or a digest. None while another is made: each reads the log.
    pub fn begin(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.one).try_acquire_owned().ok()
    }
}
