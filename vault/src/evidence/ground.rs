//! What a bundle is made with beside the store: the key that signs, the running configuration, and one place to make it at a time.

use std::sync::Arc;

use strongroom_sealing::LogSigner;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::audit::{LogKey, Origin};
use crate::config::VaultConfig;

/// Held by the vault from its start.
pub struct EvidenceGround {
    signer: LogSigner,
    key: LogKey,
    config: Arc<VaultConfig>,
    one: Arc<Semaphore>,
}

impl EvidenceGround {
    /// Signs with the log's key.
    #[must_use]
    pub fn new(signer: LogSigner, origin: &Origin, config: VaultConfig) -> Self {
        let key = LogKey::of(&signer, origin);
        Self { signer, key, config: Arc::new(config), one: Arc::new(Semaphore::new(1)) }
    }

    /// The key that signs.
    #[must_use]
    pub const fn signer(&self) -> &LogSigner {
        &self.signer
    }

    /// Its public half: what bundles and checkpoints are verified with.
    #[must_use]
    pub const fn key(&self) -> &LogKey {
        &self.key
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
