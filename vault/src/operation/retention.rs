//! How long cards are kept: what a shorter period would end, and the report that nothing is kept past its time.
//!
//! Promises: no period gets shorter unless somebody said how many cards that ends at once; the report counts what should be
//! gone, in the database, not what the reaper believes to have done.
//! Upholds: C-26.

use std::time::Duration;

use strongroom_domain::Timestamp;

use super::reaper::kept_since;
use super::{Asking, OperationError, Vault};
use crate::audit::{Event, Object};
use crate::authz::{Permit, ReadEvidence};
use crate::store::{Kept, TenantRow};

/// How long after its end a card may still be found before it is past due: the reaper looks every minute, and much may end
/// at once.
const GRACE: Duration = Duration::from_secs(3_600);
/// How old a count may be when it is confirmed.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(3_600);
/// Most tenants of one page of the report.
pub const REPORTED_MAX: u32 = 100;

/// Cards that a change would end at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CardsDue {
    /// How many.
    pub count: u64,
    /// As at when they were counted.
    pub as_of: Timestamp,
}

/// What a tenant keeps, for the report.
pub struct Reported {
    /// The tenant.
    pub tenant: TenantRow,
    /// When the card that is kept longest was last changed.
    pub oldest: Option<Timestamp>,
    /// Cards that should have been hidden or destroyed and are not.
    pub past_due: u64,
}

impl Vault {
    /// What a change of this tenant would end at once, if it makes the period shorter.
    pub(super) async fn shortened(
        &self,
        present: Option<&TenantRow>,
        wanted: &TenantRow,
        as_of: Timestamp,
    ) -> Result<Option<CardsDue>, OperationError> {
        let days = |row: &TenantRow| row.settings.retention.as_ref().map_or(u32::MAX, |kept| kept.days);
        match present {
            Some(present) if days(wanted) < days(present) => {
                let since = kept_since(&wanted.settings, as_of);
                let kept = self.store.kept(&wanted.id, since, as_of).await?;
                Ok(Some(CardsDue { count: kept.outlived, as_of }))
            }
            _ => Ok(None),
        }
    }

    /// Refuses a shorter period unless what it ends was counted within the hour, is the same still, and was said.
    pub(super) async fn must_be_confirmed(
        &self,
        present: Option<&TenantRow>,
        wanted: &TenantRow,
        confirmed: Option<CardsDue>,
        now: Timestamp,
    ) -> Result<(), OperationError> {
        let recent = confirmed
            .filter(|said| said.as_of <= now && now.since(said.as_of) < CONFIRMED_WITHIN)
            .map_or(now, |said| said.as_of);
        match self.shortened(present, wanted, recent).await? {
            Some(due) if confirmed != Some(due) => Err(OperationError::RetentionShortened(due)),
            _ => Ok(()),
        }
    }

    /// A page of the report.
    pub async fn report_retention(
        &self,
        asking: &Asking,
        permit: Permit<ReadEvidence>,
        after: Option<&strongroom_domain::TenantId>,
        limit: u32,
    ) -> Result<Vec<Reported>, OperationError> {
        let mut page = Vec::new();
        for tenant in self.store.tenants_after(after, limit.min(REPORTED_MAX)).await? {
            page.push(self.reported(tenant, asking.at).await?);
        }
        let entry =
            Self::allowed(asking, Event::RetentionRead, permit.decision(), Object::Service("retention"));
        self.record(entry.counting(page.len() as u64)).await?;
        Ok(page)
    }

    /// Cards of every tenant that should be gone, and how many tenants keep theirs for ever: for the metrics.
    pub async fn measure_retention(&self) -> Result<(u64, u64), OperationError> {
        let (mut past_due, mut for_ever) = (0, 0);
        for tenant in self.store.tenants().await? {
            for_ever += u64::from(tenant.settings.retention.is_none());
            past_due += self.reported(tenant, self.clock.now()).await?.past_due;
        }
        Ok((past_due, for_ever))
    }

    pub(super) async fn reported(
        &self,
        tenant: TenantRow,
        now: Timestamp,
    ) -> Result<Reported, OperationError> {
        let by_now = now.minus(GRACE);
        let Kept { outlived, expired, condemned, oldest } =
            self.store.kept(&tenant.id, kept_since(&tenant.settings, by_now), by_now).await?;
        Ok(Reported { tenant, oldest, past_due: outlived + expired + condemned })
    }
}
