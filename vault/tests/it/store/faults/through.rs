//! What the faulty store passes through to the one below it, and the few calls that fail on the way.

use std::sync::Arc;

use async_trait::async_trait;
use strongroom_domain::route::{AccountName, RouteName};
use strongroom_domain::{AliasHash, BootId, DataKeyId, ExportId, ForwardId, TenantId, Timestamp, TokenHash};
use strongroom_sealing::Fingerprint;
use strongroom_vault::audit::tree::{Tile, TileId};
use strongroom_vault::audit::{EntryId, InstanceId, Leaf};
use strongroom_vault::review::ReviewKind;
use strongroom_vault::store::find::FindStore;
use strongroom_vault::store::inventory::{KeyFacts, KeyInventory};
use strongroom_vault::store::keys::{KeyScope, KeyStore, KeyStoreError, Purpose, WrappedKey};
use strongroom_vault::store::log::{Extension, KeptCheckpoint, KeptHandOver, Lease, LogHead, LogStore};
use strongroom_vault::store::{
    AliasRow, BootRow, BundleRow, CardFilter, CardPage, CardPlace, CardRow, Due, DueCard, EventStore,
    ExportRow, ExportRunRow, FiledStore, ForwardRow, Holder, Kept, Reading, ReviewRow, Store, StoreError,
    StoredEntry, SuspensionRow, TenantRow, Writer,
};

use super::{Fault, FaultyStore, FaultyWriter};

#[async_trait]
impl KeyStore for FaultyStore {
    async fn active_key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
    ) -> Result<Option<WrappedKey>, KeyStoreError> {
        self.inner.active_key(scope, purpose).await
    }

    async fn key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
        id: DataKeyId,
    ) -> Result<Option<WrappedKey>, KeyStoreError> {
        self.inner.key(scope, purpose, id).await
    }

    async fn insert_key_if_first(&self, key: WrappedKey) -> Result<WrappedKey, KeyStoreError> {
        self.inner.insert_key_if_first(key).await
    }
}

#[async_trait]
impl LogStore for FaultyStore {
    async fn extend(
        &self,
        lease: Lease,
        extension: &Extension,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::None => self.inner.extend(lease, extension, until).await,
            Fault::LostAfterCommit => {
                self.inner.extend(lease, extension, until).await?;
                Err(StoreError::Away("a fault of the test"))
            }
            _ => Err(StoreError::Away("a fault of the test")),
        }
    }

    async fn log_head(&self) -> Result<LogHead, StoreError> {
        let head = self.inner.log_head().await?;
        let is_overtaken = self.faults.lock().unwrap().pop_front_if(|fault| *fault == Fault::Overtaken);
        if is_overtaken.is_some() {
            let (other, end) = (BootId::from_uuid(uuid::Uuid::max()), Timestamp::from_unix_micros(i64::MAX));
            assert!(self.inner.take_lease(other, end, end).await?.is_some());
        }
        Ok(head)
    }

    async fn lease_is_free(&self, holder: BootId, now: Timestamp) -> Result<bool, StoreError> {
        self.inner.lease_is_free(holder, now).await
    }

    async fn log_signer(&self, proposed: DataKeyId) -> Result<DataKeyId, StoreError> {
        self.inner.log_signer(proposed).await
    }

    async fn take_lease(
        &self,
        holder: BootId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<Option<Lease>, StoreError> {
        self.inner.take_lease(holder, now, until).await
    }

    async fn keep_lease(&self, lease: Lease, until: Timestamp) -> Result<bool, StoreError> {
        self.inner.keep_lease(lease, until).await
    }

    async fn unsequenced(&self, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        self.inner.unsequenced(limit).await
    }

    async fn log_tiles(&self, tiles: &[TileId]) -> Result<Vec<Tile>, StoreError> {
        self.inner.log_tiles(tiles).await
    }

    async fn logged(&self, index: u64, limit: u32) -> Result<Vec<(u64, Leaf)>, StoreError> {
        self.inner.logged(index, limit).await
    }

    async fn log_place(&self, entry: EntryId) -> Result<Option<u64>, StoreError> {
        self.inner.log_place(entry).await
    }

    async fn keep_checkpoint(&self, checkpoint: &KeptCheckpoint) -> Result<String, StoreError> {
        self.inner.keep_checkpoint(checkpoint).await
    }

    async fn hand_over(
        &self,
        lease: Lease,
        hand_over: &KeptHandOver,
        until: Timestamp,
    ) -> Result<bool, StoreError> {
        let fault = self.faults.lock().unwrap().pop_front().unwrap_or(Fault::None);
        match fault {
            Fault::None => self.inner.hand_over(lease, hand_over, until).await,
            Fault::LostAfterCommit => {
                self.inner.hand_over(lease, hand_over, until).await?;
                Err(StoreError::Away("a fault of the test"))
            }
            _ => Err(StoreError::Away("a fault of the test")),
        }
    }

    async fn hand_overs(&self) -> Result<Vec<KeptHandOver>, StoreError> {
        self.inner.hand_overs().await
    }

    async fn newest_checkpoint(&self) -> Result<Option<KeptCheckpoint>, StoreError> {
        self.inner.newest_checkpoint().await
    }

    async fn checkpoints(&self, from: u64, until: u64) -> Result<Vec<String>, StoreError> {
        let is_away = self.faults.lock().unwrap().pop_front_if(|fault| *fault == Fault::Away);
        match is_away {
            Some(_) => Err(StoreError::Away("a fault of the test")),
            None => self.inner.checkpoints(from, until).await,
        }
    }
}

#[async_trait]
impl KeyInventory for FaultyStore {
    async fn key_facts(&self, after: Option<DataKeyId>) -> Result<Vec<KeyFacts>, StoreError> {
        self.inner.key_facts(after).await
    }
}

#[async_trait]
impl FiledStore for FaultyStore {
    async fn last_review(&self, kind: ReviewKind) -> Result<Option<ReviewRow>, StoreError> {
        self.inner.last_review(kind).await
    }

    async fn reviews(&self, kind: ReviewKind, after: u64) -> Result<Vec<ReviewRow>, StoreError> {
        self.inner.reviews(kind, after).await
    }

    async fn bundle(&self, sha256: &[u8; 32]) -> Result<Option<BundleRow>, StoreError> {
        self.inner.bundle(sha256).await
    }
}

#[async_trait]
impl Store for FaultyStore {
    async fn writer(&self) -> Result<Box<dyn Writer>, StoreError> {
        {
            let mut faults = self.faults.lock().unwrap();
            if faults.front() == Some(&Fault::Away) {
                faults.pop_front();
                return Err(StoreError::Away("a fault of the test"));
            }
        }
        let inner = Some(self.inner.writer().await?);
        let (faults, in_steps) = (Arc::clone(&self.faults), self.in_steps);
        Ok(Box::new(FaultyWriter { inner, faults, fault: Fault::None, has_begun: false, in_steps }))
    }

    async fn card(&self, tenant: &TenantId, token: TokenHash) -> Result<Option<CardRow>, StoreError> {
        self.inner.card(tenant, token).await
    }

    async fn reading(&self) -> Result<Box<dyn Reading>, StoreError> {
        self.inner.reading().await
    }

    async fn list(
        &self,
        tenant: &TenantId,
        filter: &CardFilter,
        after: Option<CardPlace>,
        limit: u32,
        now: Timestamp,
    ) -> Result<CardPage, StoreError> {
        self.inner.list(tenant, filter, after, limit, now).await
    }

    async fn alike(
        &self,
        tenant: &TenantId,
        fingerprint: Fingerprint,
        limit: u32,
    ) -> Result<Vec<CardRow>, StoreError> {
        self.inner.alike(tenant, fingerprint, limit).await
    }

    async fn aliases(&self, aliases: &[AliasHash]) -> Result<Vec<AliasRow>, StoreError> {
        self.inner.aliases(aliases).await
    }

    async fn aliases_of(&self, tokens: &[TokenHash]) -> Result<Vec<AliasRow>, StoreError> {
        self.inner.aliases_of(tokens).await
    }

    async fn cards_due(&self, which: Due<'_>, limit: u32) -> Result<Vec<DueCard>, StoreError> {
        self.inner.cards_due(which, limit).await
    }

    async fn wipe_destroyed(&self) -> Result<(), StoreError> {
        self.inner.wipe_destroyed().await
    }

    async fn tenant(&self, tenant: &TenantId) -> Result<Option<TenantRow>, StoreError> {
        self.inner.tenant(tenant).await
    }

    async fn kept(
        &self,
        tenant: &TenantId,
        since: Option<Timestamp>,
        at: Timestamp,
    ) -> Result<Kept, StoreError> {
        self.inner.kept(tenant, since, at).await
    }

    async fn tenants_after(
        &self,
        after: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<TenantRow>, StoreError> {
        self.inner.tenants_after(after, limit).await
    }

    async fn tenants(&self) -> Result<Vec<TenantRow>, StoreError> {
        self.inner.tenants().await
    }

    async fn forget_idempotent(&self, before: Timestamp, limit: u32) -> Result<u64, StoreError> {
        self.inner.forget_idempotent(before, limit).await
    }

    async fn forward(&self, id: ForwardId) -> Result<Option<ForwardRow>, StoreError> {
        self.inner.forward(id).await
    }

    async fn holder(
        &self,
        tenant: &TenantId,
        route: &RouteName,
        account: &AccountName,
        reference: &[u8; 32],
    ) -> Result<Option<Holder>, StoreError> {
        self.inner.holder(tenant, route, account, reference).await
    }

    async fn silent_forwards(&self, before: Timestamp, limit: u32) -> Result<Vec<ForwardRow>, StoreError> {
        self.inner.silent_forwards(before, limit).await
    }

    async fn count(&self, tenant: &TenantId, filter: &CardFilter, now: Timestamp) -> Result<u64, StoreError> {
        self.inner.count(tenant, filter, now).await
    }

    async fn export(&self, tenant: &TenantId, id: ExportId) -> Result<Option<ExportRow>, StoreError> {
        self.inner.export(tenant, id).await
    }

    async fn exports(&self, tenant: &TenantId, limit: u32) -> Result<Vec<ExportRow>, StoreError> {
        self.inner.exports(tenant, limit).await
    }

    async fn export_runs(&self, id: ExportId) -> Result<Vec<ExportRunRow>, StoreError> {
        self.inner.export_runs(id).await
    }

    async fn suspensions(&self) -> Result<Vec<SuspensionRow>, StoreError> {
        self.inner.suspensions().await
    }

    async fn entries(&self, after: Option<EntryId>, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        self.inner.entries(after, limit).await
    }

    async fn entries_of(&self, boot: BootId, from: u64, limit: u32) -> Result<Vec<StoredEntry>, StoreError> {
        self.inner.entries_of(boot, from, limit).await
    }

    async fn entry(&self, id: EntryId) -> Result<Option<Leaf>, StoreError> {
        self.inner.entry(id).await
    }

    async fn boots(&self) -> Result<Vec<BootRow>, StoreError> {
        self.inner.boots().await
    }

    async fn last_boot(&self, instance: &InstanceId) -> Result<Option<BootRow>, StoreError> {
        self.inner.last_boot(instance).await
    }

    fn events(&self) -> &dyn EventStore {
        self.inner.events()
    }

    fn index(&self) -> &dyn FindStore {
        self.inner.index()
    }

    async fn ping(&self) -> Result<(), StoreError> {
        self.inner.ping().await
    }
}
