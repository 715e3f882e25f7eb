//! Where wrapped keys are kept. The vault's store implements this.
//!
//! Trusts: nothing. A store that swaps, alters or invents rows gives keys that do not unwrap.

use async_trait::async_trait;
use strongroom_domain::DataKeyId;

use crate::key::{KeyScope, Purpose, WrappedKey};

/// The store could not answer. Safe to retry; the store logs the cause.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the key store is unavailable")]
pub struct KeyStoreError;

/// Rows of wrapped keys.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// The newest key in state `active` of this scope and purpose, also when its `seals_until` has passed: the ring
    /// looks at the clock.
    async fn active_key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
    ) -> Result<Option<WrappedKey>, KeyStoreError>;

    /// One key in any state, only under its own scope and purpose.
    async fn key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
        id: DataKeyId,
    ) -> Result<Option<WrappedKey>, KeyStoreError>;

    /// Makes `key` the active key of its scope and purpose, unless another already is: of many replicas that try at
    /// once, one wins and all are given the winner.
    ///
    /// In one transaction: if an active key of this scope and purpose has `seals_until` later than
    /// `key.created_at`, nothing is written and that key is returned. Otherwise active keys of this scope and
    /// purpose (all past their period) become `deactivated`, `key` is inserted and returned.
    async fn insert_key_if_first(&self, key: WrappedKey) -> Result<WrappedKey, KeyStoreError>;
}
