//! Where everything durable is kept: one trait, two drivers, one task that writes.
//!
//! Promises: a change and its audit entries are one transaction. What was answered `Done` is on disk.
//! Does not promise: confidentiality of what it keeps. Card numbers reach it sealed.
//! Trusts: the database to keep what it acknowledged. A record it altered does not open; an entry it altered fails its MAC.
//! Upholds: C-04, C-07, C-22.

mod audited_keys;
mod change;
mod committer;
mod decode;
mod encode;
mod ends;
mod error;
mod events;
mod exports;
mod filed;
pub mod find;
mod hand_over;
pub mod inventory;
pub mod keys;
mod list;
pub mod log;
mod outbox;
mod postgres;
mod reader;
mod rows;
mod schema;
mod sqlite;
mod suspensions;
mod writer;

pub use audited_keys::AuditedKeys;
pub use change::{CardUpdate, Change, CommitError, Committed, KnownCard, Names};
pub use committer::{Committer, CommitterTask, LogIdentity, StartError};
pub use ends::{Due, DueCard, Hidden, HiddenBy, Kept};
pub use error::{StoreError, WriteError};
pub use events::{EndingCard, EndingPage, EventStore, Nearing};
pub use filed::{BundleRow, Filed, FiledStore, REVIEWS_READ_MAX, ReviewRow};
pub use list::{CARDS_LOOKED_AT_MAX, CardFilter, CardListSql, CardPage, CardPlace};
pub use outbox::{
    Audience, Backlog, CardEvent, CardEventKind, DestinationName, EventFilter, EventPlace, EventRow,
    EventState, InvalidDestinationName, Lease, Outbox, Settled, Settlement, Subscription,
};
pub use postgres::{PostgresOptions, PostgresStore, PostgresTls};
pub use reader::CardReader;
pub use rows::{
    AliasRow, BootRow, CardRow, Dedupe, ExportApproval, ExportRow, ExportRunRow, ForwardGrounds, ForwardRow,
    ForwardState, Holder, IdempotencyRow, InvalidRetention, PspSays, Reconciled, ReferenceRow, Retention,
    StoredEntry, TenantRow, TenantSettings, TenantStatus, TokenFormat,
};
pub use schema::{SchemaError, schema_version};
pub use sqlite::SqliteStore;
pub use suspensions::{SuspendedBy, SuspensionBounds, SuspensionRow};
pub use writer::{Batch, Writer};

use async_trait::async_trait;
use strongroom_domain::route::{AccountName, RouteName};
use strongroom_domain::{AliasHash, BootId, ExportId, ForwardId, TenantId, Timestamp, TokenHash};
use strongroom_sealing::Fingerprint;

use self::find::FindStore;
use self::inventory::KeyInventory;
use self::keys::KeyStore;
use self::log::LogStore;
use crate::audit::{EntryId, InstanceId, Leaf};

/// Most keys of one read: one answer stays below a megabyte.
pub const CARDS_READ_MAX: usize = 1_024;

/// A connection that reads what many requests ask for. After an error it is dropped.
#[async_trait]
pub trait Reading: Send {
    /// The cards of these tokens, of whatever tenant, in no order. At most [`CARDS_READ_MAX`].
    async fn cards(&mut self, tokens: &[TokenHash]) -> Result<Vec<CardRow>, StoreError>;

    /// The cards these fingerprints of one tenant lead to, each with its fingerprint; hidden and expired ones as they
    /// are. At most [`CARDS_READ_MAX`].
    async fn known(
        &mut self,
        tenant: &TenantId,
        fingerprints: &[Fingerprint],
    ) -> Result<Vec<(Fingerprint, CardRow)>, StoreError>;

    /// What was answered under these idempotency scopes, also if its time is over. At most [`CARDS_READ_MAX`].
    async fn answers(&mut self, scopes: &[[u8; 32]]) -> Result<Vec<IdempotencyRow>, StoreError>;
}

/// The store. Object safe: `Arc<dyn Store>`. Writes go through a [`Committer`].
#[async_trait]
pub trait Store: KeyStore + KeyInventory + LogStore + FiledStore + Send + Sync {
    /// One tenant's card. Hidden and expired cards are returned as they are; another tenant's is `None`.
    async fn card(&self, tenant: &TenantId, token: TokenHash) -> Result<Option<CardRow>, StoreError>;

    /// A connection that reads, for whoever reads all the time: a pool would ask the database whether it is there after
    /// each read.
    async fn reading(&self) -> Result<Box<dyn Reading>, StoreError>;

    /// [`Reading::cards`] over a connection of its own.
    async fn cards(&self, tokens: &[TokenHash]) -> Result<Vec<CardRow>, StoreError> {
        self.reading().await?.cards(tokens).await
    }

    /// A page of a tenant's cards, newest first, beginning after a place. Hidden cards and those expired at `now` are not
    /// among them.
    async fn list(
        &self,
        tenant: &TenantId,
        filter: &CardFilter,
        after: Option<CardPlace>,
        limit: u32,
        now: Timestamp,
    ) -> Result<CardPage, StoreError>;

    /// [`Reading::known`] over a connection of its own.
    async fn known(
        &self,
        tenant: &TenantId,
        fingerprints: &[Fingerprint],
    ) -> Result<Vec<(Fingerprint, CardRow)>, StoreError> {
        self.reading().await?.known(tenant, fingerprints).await
    }

    /// One tenant's cards with this fingerprint, oldest first.
    async fn alike(
        &self,
        tenant: &TenantId,
        fingerprint: Fingerprint,
        limit: u32,
    ) -> Result<Vec<CardRow>, StoreError>;

    /// The aliases with these hashes. At most [`CARDS_READ_MAX`].
    async fn aliases(&self, aliases: &[AliasHash]) -> Result<Vec<AliasRow>, StoreError>;

    /// The aliases that lead to these cards. At most [`CARDS_READ_MAX`] cards.
    async fn aliases_of(&self, tokens: &[TokenHash]) -> Result<Vec<AliasRow>, StoreError>;

    /// Cards that have come to an end, those that wait longest first.
    async fn cards_due(&self, which: Due<'_>, limit: u32) -> Result<Vec<DueCard>, StoreError>;

    /// Makes sure that what was destroyed is not left over in the database's own files, as far as this driver can see to
    /// it (`vault/docs/erasure.md`). May be asked for at any time, and again.
    async fn wipe_destroyed(&self) -> Result<(), StoreError>;

    /// One tenant.
    async fn tenant(&self, tenant: &TenantId) -> Result<Option<TenantRow>, StoreError>;

    /// What a tenant keeps at `at`. Its retention is over for what was last changed at `since` or before; for nothing if there
    /// is no `since`.
    async fn kept(
        &self,
        tenant: &TenantId,
        since: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<Kept, StoreError>;

    /// Tenants by name, from the one that follows `after`.
    async fn tenants_after(&self, after: Option<&TenantId>, limit: u32)
    -> Result<Vec<TenantRow>, StoreError>;

    /// Every tenant, by name.
    async fn tenants(&self) -> Result<Vec<TenantRow>, StoreError>;

    /// What was answered under this idempotency scope, if its time is not over at `now`.
    async fn idempotent(
        &self,
        scope: &[u8; 32],
        now: Timestamp,
    ) -> Result<Option<IdempotencyRow>, StoreError> {
        let held = self.reading().await?.answers(&[*scope]).await?;
        Ok(held.into_iter().find(|row| row.expires_at > now))
    }

    /// Removes answers whose time was over at `before`, oldest first. Gives how many.
    async fn forget_idempotent(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError>;

    /// One forward.
    async fn forward(&self, id: ForwardId) -> Result<Option<ForwardRow>, StoreError>;

    /// The forward that holds a payment reference, if one does.
    async fn holder(
        &self,
        tenant: &TenantId,
        route: &RouteName,
        account: &AccountName,
        reference: &[u8; 32],
    ) -> Result<Option<Holder>, StoreError>;

    /// Forwards opened before `before` whose proxy never said what became of them, oldest first.
    async fn silent_forwards(&self, before: Timestamp, limit: u32) -> Result<Vec<ForwardRow>, StoreError>;

    /// How many of a tenant's cards there are, hidden ones and those expired at `now` aside.
    async fn count(&self, tenant: &TenantId, filter: &CardFilter, now: Timestamp) -> Result<u64, StoreError>;

    /// One export of a tenant.
    async fn export(&self, tenant: &TenantId, id: ExportId) -> Result<Option<ExportRow>, StoreError>;

    /// A tenant's exports, newest first.
    async fn exports(&self, tenant: &TenantId, limit: u32) -> Result<Vec<ExportRow>, StoreError>;

    /// The runs of an export, first to last.
    async fn export_runs(&self, id: ExportId) -> Result<Vec<ExportRunRow>, StoreError>;

    /// Suspensions in force, by workload.
    async fn suspensions(&self) -> Result<Vec<SuspensionRow>, StoreError>;

    /// Audit entries by boot and number, after the cursor.
    async fn entries(&self, after: Option<EntryId>, limit: u32) -> Result<Vec<StoredEntry>, StoreError>;

    /// One boot's audit entries, by number.
    async fn entries_of(&self, boot: BootId, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError>;

    /// One audit entry.
    async fn entry(&self, id: EntryId) -> Result<Option<Leaf>, StoreError>;

    /// Every start of every instance, by boot.
    async fn boots(&self) -> Result<Vec<BootRow>, StoreError>;

    /// The newest start of one instance.
    async fn last_boot(&self, instance: &InstanceId) -> Result<Option<BootRow>, StoreError>;

    /// The outbox: what is told of changes.
    fn events(&self) -> &dyn EventStore;

    /// The index of the log.
    fn index(&self) -> &dyn FindStore;

    /// Whether the database answers.
    async fn ping(&self) -> Result<(), StoreError>;

    /// A connection that writes. For the [`Committer`] alone.
    async fn writer(&self) -> Result<Box<dyn Writer>, StoreError>;
}
