//! Tenants: onboarding, and the directory every request asks.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom_domain::{Clock, TenantId, Timestamp};

use super::{Asking, OperationError, Vault};
use crate::audit::{Event, Object};
use crate::authz::{ManageTenant, Permit};
use crate::store::{Change, Committed, Store, StoreError, TenantRow, TenantSettings, TenantStatus};

/// How long a tenant's row is believed: a suspension on another replica takes effect within this.
const BELIEVED: Duration = Duration::from_secs(1);
/// Most tenants remembered; far more than are active within one second.
const REMEMBERED_MAX: usize = 10_000;

/// Tenants by name, each read at most once a second.
pub struct Directory {
    clock: Arc<dyn Clock>,
    seen: Mutex<Seen>,
}

/// When each tenant was read, and what was there.
type Seen = HashMap<TenantId, (Timestamp, Option<Arc<TenantRow>>)>;

impl Directory {
    /// Nothing read yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, seen: Mutex::default() }
    }

    pub(crate) async fn find(
        &self,
        id: &TenantId,
        store: &dyn Store,
    ) -> Result<Option<Arc<TenantRow>>, StoreError> {
        let now = self.clock.now();
        if let Some((read_at, row)) = self.lock().get(id)
            && now.since(*read_at) < BELIEVED
        {
            return Ok(row.clone());
        }
        let row = store.tenant(id).await?.map(Arc::new);
        let mut seen = self.lock();
        if seen.len() >= REMEMBERED_MAX {
            seen.retain(|_, (read_at, _)| now.since(*read_at) < BELIEVED);
        }
        if seen.len() < REMEMBERED_MAX {
            seen.insert(id.clone(), (now, row.clone()));
        }
        Ok(row)
    }

    fn forget(&self, id: &TenantId) {
        self.lock().remove(id);
    }

    /// No row is half-written under this lock.
    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a tenant is to be.
pub struct Wanted {
    /// Its settings.
    pub settings: TenantSettings,
    /// Whether it may be used.
    pub status: TenantStatus,
    /// The version the caller has seen (`If-Match`).
    pub expected_version: Option<u64>,
}

impl Vault {
    /// Creates a tenant or makes it what is asked. The same request twice changes nothing the second time.
    pub async fn put_tenant(
        &self,
        asking: &Asking,
        permit: Permit<ManageTenant>,
        wanted: Wanted,
    ) -> Result<(TenantRow, bool), OperationError> {
        let id = permit.subject().tenant.clone();
        let present = self.store.tenant(&id).await?;
        let created = present.is_none();
        if wanted
            .expected_version
            .is_some_and(|version| present.as_ref().map(|row| row.version) != Some(version))
        {
            return Err(OperationError::Conflict);
        }
        let now = asking.at;
        let row = TenantRow {
            id: id.clone(),
            version: present.as_ref().map_or(1, |row| row.version + 1),
            created_at: present.as_ref().map_or(now, |row| row.created_at),
            updated_at: now,
            settings: wanted.settings,
            status: wanted.status,
        };
        if let Some(present) = present
            && present.settings == row.settings
            && present.status == row.status
        {
            let entry = Self::allowed(asking, Event::TenantChange, permit.decision(), Object::Tenant(id));
            self.record(entry.because("unchanged")).await?;
            return Ok((present, false));
        }
        let event = if created { Event::TenantCreate } else { Event::TenantChange };
        let entry = Self::allowed(asking, event, permit.decision(), Object::Tenant(id.clone()));
        let expected_version = Some(row.version - 1).filter(|version| *version > 0);
        let change = Change::PutTenant { tenant: Box::new(row.clone()), expected_version, entry };
        match self.committer.commit(change).await? {
            Committed::Done => {
                self.tenants.forget(&id);
                Ok((row, created))
            }
            Committed::Conflict | Committed::Missing => Err(OperationError::Conflict),
            Committed::Replay(_) | Committed::KeyNotActive => {
                Err(OperationError::Defect("a tenant has neither key nor replay"))
            }
        }
    }

    /// One tenant as it is.
    pub async fn show_tenant(
        &self,
        asking: &Asking,
        permit: Permit<ManageTenant>,
    ) -> Result<TenantRow, OperationError> {
        let row = self.store.tenant(&permit.subject().tenant).await?.ok_or(OperationError::UnknownTenant)?;
        let object = Object::Tenant(row.id.clone());
        self.record(Self::allowed(asking, Event::TenantRead, permit.decision(), object)).await?;
        Ok(row)
    }
}
