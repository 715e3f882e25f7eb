//! The inventory of data keys: everything about them but the keys.
//!
//! Promises: no wrapped key is read.

use async_trait::async_trait;
use serde::Serialize;
use strongroom_domain::{DataKeyId, Timestamp};

use super::error::StoreError;

/// Most keys of one page.
pub const KEYS_READ_MAX: u32 = 1_000;

/// One data key.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct KeyFacts {
    /// Its id.
    pub id: DataKeyId,
    /// Whose: a tenant's name, or `-` for the service's own.
    pub scope: String,
    /// What it is for.
    pub purpose: String,
    /// Which provider wraps it.
    pub provider: String,
    /// The KMS key it is wrapped with.
    pub kms_key: String,
    /// Its state (SP 800-57).
    pub state: String,
    /// Records it sealed, counted in steps.
    pub records: u64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops to seal.
    pub seals_until: Timestamp,
}

/// Reading the inventory.
#[async_trait]
pub trait KeyInventory: Send + Sync {
    /// Data keys by id, after one. At most [`KEYS_READ_MAX`].
    async fn key_facts(&self, after: Option<DataKeyId>) -> Result<Vec<KeyFacts>, StoreError>;
}

/// Both drivers read `$1`; the statement is the same.
macro_rules! key_inventory {
    ($store:ty) => {
        #[async_trait::async_trait]
        impl $crate::store::inventory::KeyInventory for $store {
            async fn key_facts(
                &self,
                after: Option<strongroom_domain::DataKeyId>,
            ) -> Result<Vec<$crate::store::inventory::KeyFacts>, StoreError> {
                use sqlx::Row as _;
                let after = after.map_or(uuid::Uuid::nil(), strongroom_domain::DataKeyId::as_uuid);
                let rows = sqlx::query(
                    "SELECT id, scope, purpose, provider, kms_key, state, records, created_at, seals_until \
                     FROM data_keys WHERE id > $1 ORDER BY id LIMIT $2",
                )
                .bind(after)
                .bind(i64::from($crate::store::inventory::KEYS_READ_MAX))
                .fetch_all(&self.readers)
                .await?;
                let time = strongroom_domain::Timestamp::from_unix_micros;
                let mut facts = Vec::with_capacity(rows.len());
                for row in &rows {
                    facts.push($crate::store::inventory::KeyFacts {
                        id: strongroom_domain::DataKeyId::from_uuid(row.try_get(0)?),
                        scope: row.try_get(1)?,
                        purpose: row.try_get(2)?,
                        provider: row.try_get(3)?,
                        kms_key: row.try_get(4)?,
                        state: row.try_get(5)?,
                        records: $crate::store::decode::count(row.try_get(6)?)?,
                        created_at: time(row.try_get(7)?),
                        seals_until: time(row.try_get(8)?),
                    });
                }
                Ok(facts)
            }
        }
    };
}
pub(super) use key_inventory;
