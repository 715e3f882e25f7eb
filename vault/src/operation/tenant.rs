//! Tenants: onboarding, and the directory every request asks.
//!
//! Promises: the same request twice is one change; a tried one is none; no tenant that is new keeps cards for ever, and none
//! keeps them for shorter than before unless what that ends was counted and said.
//! Upholds: C-26.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use strongroom_domain::{Clock, TenantId, Timestamp};

use super::retention::CardsDue;
use super::{Asking, OperationError, Vault, policy_of};
use crate::audit::{Event, Object, Outcome};
use crate::authz::{ManageTenant, Permit};
use crate::store::{
    Change, Committed, Retention, Store, StoreError, TenantRow, TenantSettings, TenantStatus,
};

/// How long a tenant's row is believed: a suspension on another replica takes effect within this.
const BELIEVED: Duration = Duration::from_secs(1);
/// Most tenants remembered; far more than are active within one second.
const REMEMBERED_MAX: usize = 10_000;

/// Tenants by name, each read at most twice a second and by one request at a time.
#[derive(Clone)]
pub struct Directory {
    clock: Arc<dyn Clock>,
    seen: Arc<Mutex<HashMap<TenantId, Seen>>>,
}

/// What is known of one name.
#[derive(Default)]
struct Seen {
    /// When it was read, and what was there.
    read: Option<(Timestamp, Option<Arc<TenantRow>>)>,
    turn: Turn,
}

/// Held by whoever reads a name anew; the others wait for what is found.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// What a name's row is worth.
enum Standing {
    Believed(Option<Arc<TenantRow>>),
    /// Believed, and soon no more: somebody should read it, and nobody need wait.
    Ageing(Option<Arc<TenantRow>>, Turn),
    Unknown(Turn),
}

impl Directory {
    /// Nothing read yet.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, seen: Arc::default() }
    }

    pub(crate) async fn find(
        &self,
        id: &TenantId,
        store: &Arc<dyn Store>,
    ) -> Result<Option<Arc<TenantRow>>, StoreError> {
        let turn = match self.standing(id) {
            Standing::Believed(row) => return Ok(row),
            Standing::Ageing(row, turn) => {
                self.read_ahead(id, turn, store);
                return Ok(row);
            }
            Standing::Unknown(turn) => turn,
        };
        let _turn = turn.lock().await;
        match self.standing(id) {
            Standing::Believed(row) | Standing::Ageing(row, _) => Ok(row),
            Standing::Unknown(_) => self.read(id, &turn, store.as_ref()).await,
        }
    }

    /// Reads a row beside the requests that still believe the one before.
    fn read_ahead(&self, id: &TenantId, turn: Turn, store: &Arc<dyn Store>) {
        let Ok(held) = Arc::clone(&turn).try_lock_owned() else { return };
        let (directory, id, store) = (self.clone(), id.clone(), Arc::clone(store));
        tokio::spawn(async move {
            let _held = held;
            // Who needs it next is told if it cannot be read.
            drop(directory.read(&id, &turn, store.as_ref()).await);
        });
    }

    async fn read(
        &self,
        id: &TenantId,
        turn: &Turn,
        store: &dyn Store,
    ) -> Result<Option<Arc<TenantRow>>, StoreError> {
        let now = self.clock.now();
        let row = store.tenant(id).await?.map(Arc::new);
        // Not kept if it was forgotten meanwhile: it changed.
        if let Some(seen) = self.lock().get_mut(id).filter(|seen| Arc::ptr_eq(&seen.turn, turn)) {
            seen.read = Some((now, row.clone()));
        }
        Ok(row)
    }

    fn standing(&self, id: &TenantId) -> Standing {
        let now = self.clock.now();
        let is_younger = |seen: &Seen, than| seen.read.as_ref().is_some_and(|(at, _)| now.since(*at) < than);
        let mut all = self.lock();
        if let Some(seen) = all.get(id) {
            return match &seen.read {
                Some((_, row)) if is_younger(seen, BELIEVED / 2) => Standing::Believed(row.clone()),
                Some((_, row)) if is_younger(seen, BELIEVED) => {
                    Standing::Ageing(row.clone(), Arc::clone(&seen.turn))
                }
                _ => Standing::Unknown(Arc::clone(&seen.turn)),
            };
        }
        if all.len() >= REMEMBERED_MAX {
            // Those that are being read are in others' hands.
            all.retain(|_, seen| is_younger(seen, BELIEVED) || Arc::strong_count(&seen.turn) > 1);
        }
        let seen = Seen::default();
        let turn = Arc::clone(&seen.turn);
        if all.len() < REMEMBERED_MAX {
            all.insert(id.clone(), seen);
        }
        Standing::Unknown(turn)
    }

    fn forget(&self, id: &TenantId) {
        self.lock().remove(id);
    }

    /// No row is half-written under this lock.
    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TenantId, Seen>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a tenant is to be.
pub struct Wanted {
    /// Its settings, but for the retention.
    pub settings: TenantSettings,
    /// How long it keeps cards: as before if none, and as the service does if it is new.
    pub retention: Option<Retention>,
    /// What a shorter retention ends, as the caller was told.
    pub confirmed: Option<CardsDue>,
    /// Whether it may be used.
    pub status: TenantStatus,
    /// The version the caller has seen (`If-Match`).
    pub expected_version: Option<u64>,
}

/// What became of a wish.
pub struct Put {
    /// The tenant as it is now, or would be.
    pub tenant: TenantRow,
    /// Whether it was made by this.
    pub created: bool,
    /// What a tried change would end at once, if it makes the retention shorter.
    pub due: Option<CardsDue>,
}

/// Most tenants of one page.
pub const TENANTS_MAX: u32 = 100;

impl Vault {
    /// Creates a tenant or makes it what is asked. The same request twice changes nothing the second time.
    pub async fn put_tenant(
        &self,
        asking: &Asking,
        permit: Permit<ManageTenant>,
        wanted: Wanted,
    ) -> Result<Put, OperationError> {
        let id = permit.subject().tenant.clone();
        let present = self.store.tenant(&id).await?;
        let (created, confirmed) = (present.is_none(), wanted.confirmed);
        let row = self.wished(&id, present.as_ref(), wanted, asking.at)?;
        if let Some(present) = present.as_ref().filter(|present| is_same(present, &row)) {
            let entry = Self::allowed(asking, Event::TenantChange, permit.decision(), Object::Tenant(id));
            self.record(entry.because("unchanged")).await?;
            return Ok(Put { tenant: present.clone(), created: false, due: None });
        }
        self.must_be_confirmed(present.as_ref(), &row, confirmed, asking.at).await?;
        let event = if created { Event::TenantCreate } else { Event::TenantChange };
        let entry = Self::allowed(asking, event, permit.decision(), Object::Tenant(id.clone()));
        let expected_version = Some(row.version - 1).filter(|version| *version > 0);
        let change = Change::PutTenant { tenant: Box::new(row.clone()), expected_version, entry };
        match self.committer.commit(change).await? {
            Committed::Done => {
                self.tenants.forget(&id);
                Ok(Put { tenant: row, created, due: None })
            }
            Committed::Conflict | Committed::Missing => Err(OperationError::Conflict),
            Committed::Replay(_) | Committed::KeyNotActive | Committed::Taken(_) => {
                Err(OperationError::Defect("a tenant has neither key nor replay"))
            }
        }
    }

    /// What a wish would make of a tenant. Nothing is changed.
    pub async fn try_tenant(
        &self,
        asking: &Asking,
        permit: Permit<ManageTenant>,
        wanted: Wanted,
    ) -> Result<Put, OperationError> {
        let id = permit.subject().tenant.clone();
        let present = self.store.tenant(&id).await?;
        let mut row = self.wished(&id, present.as_ref(), wanted, asking.at)?;
        let due = self.shortened(present.as_ref(), &row, asking.at).await?;
        let created = present.is_none();
        if let Some(present) = present.filter(|present| is_same(present, &row)) {
            row = present;
        }
        let entry = Self::allowed(asking, Event::TenantRead, permit.decision(), Object::Tenant(id));
        self.record(entry.because("dry-run")).await?;
        Ok(Put { tenant: row, created, due })
    }

    fn wished(
        &self,
        id: &TenantId,
        present: Option<&TenantRow>,
        wanted: Wanted,
        now: Timestamp,
    ) -> Result<TenantRow, OperationError> {
        if wanted.expected_version.is_some_and(|version| present.map(|row| row.version) != Some(version)) {
            return Err(OperationError::Conflict);
        }
        let kept = match present {
            Some(present) => present.settings.retention.clone(),
            None => Some(self.retention.clone()),
        };
        Ok(TenantRow {
            id: id.clone(),
            version: present.map_or(1, |row| row.version + 1),
            created_at: present.map_or(now, |row| row.created_at),
            updated_at: now,
            settings: TenantSettings { retention: wanted.retention.or(kept), ..wanted.settings },
            status: wanted.status,
        })
    }

    /// Tenants by name, for [`Self::list_tenants`] to be permitted one by one.
    pub(crate) async fn tenants_after(
        &self,
        after: Option<&TenantId>,
        limit: u32,
    ) -> Result<Vec<TenantRow>, OperationError> {
        Ok(self.store.tenants_after(after, limit.min(TENANTS_MAX)).await?)
    }

    /// The tenants a caller may manage, of one page.
    pub async fn list_tenants(
        &self,
        asking: &Asking,
        page: Vec<(Permit<ManageTenant>, TenantRow)>,
    ) -> Result<Vec<TenantRow>, OperationError> {
        if page.iter().any(|(permit, row)| permit.subject().tenant != row.id) {
            return Err(OperationError::Defect("a permit was spent on another tenant"));
        }
        let entry = asking.entry(Event::TenantRead, Outcome::Success, Object::Service("tenants"));
        let entry = match page.first() {
            Some((permit, _)) => entry.by_policy(policy_of(permit.decision())),
            None => entry,
        };
        self.record(entry.counting(page.len() as u64)).await?;
        Ok(page.into_iter().map(|(_, row)| row).collect())
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

/// Whether a wish is what is there.
fn is_same(present: &TenantRow, wished: &TenantRow) -> bool {
    present.settings == wished.settings && present.status == wished.status
}
