//! Where everything durable is kept: one trait, two drivers, one task that writes.
//!
//! Promises: a change and its audit entries are one transaction. What was answered `Done` is on disk.
//! Does not promise: confidentiality of what it keeps. Card numbers reach it sealed.
//! Trusts: the database to keep what it acknowledged. A record it altered does not open; an entry it altered fails its MAC.
//! Upholds: design §8 and §9.

mod change;
mod committer;
pub mod keys;
mod reader;
mod rows;

pub use change::{Change, CommitError, Committed};
pub use committer::Committer;
pub use reader::CardReader;
pub use rows::{
    BootRow, CardRow, Dedupe, ForwardRow, ForwardState, IdempotencyRow, Retention, StoredEntry, TenantRow,
    TenantSettings, TenantStatus, TokenFormat,
};

use async_trait::async_trait;
use strongroom_domain::{ForwardId, TenantId, Timestamp, TokenHash};

use crate::audit::{EntryId, Leaf};

/// Why the store gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database is away or too slow. Safe to try again.
    #[error("the store is not available")]
    Unavailable(#[source] sqlx::Error),
    /// Too many reads wait.
    #[error("the read queue is full")]
    Full,
    /// A row does not hold what this program writes.
    #[error("the store holds a row this program did not write: {0}")]
    Corrupt(&'static str),
}

/// The store. Object safe: `Arc<dyn Store>`. Writes go through a [`Committer`].
#[async_trait]
pub trait Store: Send + Sync {
    /// One tenant's card. Hidden and expired cards are returned as they are; another tenant's is `None`.
    async fn card(&self, tenant: &TenantId, token: TokenHash) -> Result<Option<CardRow>, StoreError>;

    /// The cards of these tokens, of whatever tenant, in no order. At most [`CARDS_READ_MAX`].
    async fn cards(&self, tokens: &[TokenHash]) -> Result<Vec<CardRow>, StoreError>;

    /// One tenant.
    async fn tenant(&self, tenant: &TenantId) -> Result<Option<TenantRow>, StoreError>;

    /// Every tenant, by name.
    async fn tenants(&self) -> Result<Vec<TenantRow>, StoreError>;

    /// What was answered under this idempotency scope, if its time is not over at `now`.
    async fn idempotent(
        &self,
        scope: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<IdempotencyRow>, StoreError>;

    /// One forward.
    async fn forward(&self, id: ForwardId) -> Result<Option<ForwardRow>, StoreError>;

    /// Audit entries by boot and number, after the cursor.
    async fn entries(&self, after: Option<EntryId>, limit: u32) -> Result<Vec<StoredEntry>, StoreError>;

    /// One audit entry.
    async fn entry(&self, id: EntryId) -> Result<Option<Leaf>, StoreError>;

    /// The newest entries of all instances, oldest first.
    async fn newest_entries(&self, n: usize) -> Result<Vec<(EntryId, Leaf)>, StoreError>;

    /// Every start of every instance, by boot.
    async fn boots(&self) -> Result<Vec<BootRow>, StoreError>;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;
}

/// Most tokens of one [`Store::cards`].
pub const CARDS_READ_MAX: usize = 1_024;
