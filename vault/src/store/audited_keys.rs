//! A key store whose new keys are on the audit log: made in the transaction of their `dek.create` entry.
//!
//! The one key that cannot come from here is the `audit-signing` key the log's own MACs derive from; `audit.start` names it.

use std::sync::Arc;

use async_trait::async_trait;
use strongroom_domain::{Clock, DataKeyId};

use super::change::{Change, Committed};
use super::keys::{KeyScope, KeyStore, KeyStoreError, Purpose, WrappedKey};
use super::{Committer, Store};
use crate::audit::{Draft, Event, KeyRef, Object, Outcome};

/// Reads from the store, writes through the committer.
pub struct AuditedKeys {
    store: Arc<dyn Store>,
    committer: Committer,
    clock: Arc<dyn Clock>,
}

impl AuditedKeys {
    /// From the store and the committer that writes to it.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, committer: Committer, clock: Arc<dyn Clock>) -> Self {
        Self { store, committer, clock }
    }

    fn entry(&self, key: &WrappedKey) -> Draft {
        let tenant = match &key.scope {
            KeyScope::Service => None,
            KeyScope::Tenant(tenant) => Some(tenant.clone()),
        };
        let object = Object::Key { id: key.id, tenant, purpose: key.purpose.as_str() };
        let kek_ref = Some(key.kms_key.as_str().into());
        Draft::by_service(self.clock.now(), Event::DekCreate, Outcome::Success, object).with_key(KeyRef {
            dek_id: key.id,
            kek_ref,
            kek_ver: None,
        })
    }
}

#[async_trait]
impl KeyStore for AuditedKeys {
    async fn active_key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
    ) -> Result<Option<WrappedKey>, KeyStoreError> {
        self.store.active_key(scope, purpose).await
    }

    async fn key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
        id: DataKeyId,
    ) -> Result<Option<WrappedKey>, KeyStoreError> {
        self.store.key(scope, purpose, id).await
    }

    async fn insert_key_if_first(&self, key: WrappedKey) -> Result<WrappedKey, KeyStoreError> {
        let entry = self.entry(&key);
        let change = Change::InsertKey { key: Box::new(key.clone()), entry };
        match self.committer.commit(change).await {
            Ok(Committed::Done) => Ok(key),
            Ok(_) => self.store.active_key(&key.scope, key.purpose).await?.ok_or(KeyStoreError),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "a new data key was not stored");
                Err(KeyStoreError)
            }
        }
    }
}
