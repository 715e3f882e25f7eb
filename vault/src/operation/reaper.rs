//! The reaper: what time alone does to cards. Those that expired or outlived their tenant's retention are hidden; those
//! hidden for the whole hold are destroyed.
//!
//! Promises: every card it hides or destroys has an entry of its own, in the transaction of the change; several replicas
//! may look at once, and a kill at any moment leaves nothing half done. A card somebody changed, erased or restored since
//! it was looked at is left as it is.
//! Does not promise: that nothing is left in files of the database (`vault/docs/erasure.md` says what is, and how long).
//! Trusts: the clock. Who moves it forward ends cards early; the hold is there to notice.
//! Upholds: C-24.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use strongroom_domain::{TenantId, Timestamp};

use super::OperationError;
use crate::audit::{CardChange, Draft, Event, Object, Outcome};
use crate::store::{Change, Committed, Committer, Due, DueCard, HiddenBy, Store, TenantSettings};

/// Most cards of one look and kind: one transaction of a few milliseconds, between those of requests.
const LOOK_CARDS: u32 = 128;
/// Most transactions for one tenant in one look: a tenant with much to end delays the others by a tenth of a second.
const TENANT_LOOKS: u32 = 8;
const DAY: Duration = Duration::from_secs(86_400);

/// Ends cards whose time is over.
pub struct Reaper {
    store: Arc<dyn Store>,
    committer: Committer,
    hold: Duration,
}

/// What one look brought about.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Reaped {
    /// Hidden because their own end came.
    pub expired: u64,
    /// Hidden because their tenant's retention ended.
    pub outlived: u64,
    /// Destroyed after the hold.
    pub destroyed: u64,
    /// Whether another look at once would find more.
    pub more: bool,
}

impl Reaper {
    /// Hides for `hold` before it destroys.
    #[must_use]
    pub fn new(store: Arc<dyn Store>, committer: Committer, hold: Duration) -> Self {
        Self { store, committer, hold }
    }

    /// Looks once, as at this time.
    pub async fn look(&self, at: Timestamp) -> Result<Reaped, OperationError> {
        let mut reaped = Reaped::default();
        let condemned = self.store.cards_due(Due::Condemned(at), LOOK_CARDS).await?;
        let destroyed = self.end(condemned.iter().map(|card| destroy(card, at))).await?;
        reaped.destroyed += destroyed;
        reaped.more |= is_more(&condemned, destroyed);
        let expired = self.store.cards_due(Due::Expired(at), LOOK_CARDS).await?;
        let hidden = self.end(expired.iter().map(|card| self.hide(card, at, HiddenBy::Expiry))).await?;
        reaped.expired += hidden;
        reaped.more |= is_more(&expired, hidden);
        if !reaped.more {
            for (tenant, since) in self.retained(at).await? {
                self.outlived(&tenant, since, at, &mut reaped).await?;
            }
        }
        Ok(reaped)
    }

    /// Hides what one tenant kept for the whole of its retention.
    async fn outlived(
        &self,
        tenant: &TenantId,
        since: Timestamp,
        at: Timestamp,
        reaped: &mut Reaped,
    ) -> Result<(), OperationError> {
        for _ in 0..TENANT_LOOKS {
            let outlived = self.store.cards_due(Due::Unchanged(tenant, since), LOOK_CARDS).await?;
            let hide = outlived.iter().map(|card| self.hide(card, at, HiddenBy::Retention));
            let hidden = self.end(hide).await?;
            reaped.outlived += hidden;
            if !is_more(&outlived, hidden) {
                return Ok(());
            }
        }
        reaped.more = true;
        Ok(())
    }

    /// Tenants that keep cards for a time, and since when they keep them now. Suspended ones too: that they rest does not
    /// make their cards younger.
    async fn retained(&self, at: Timestamp) -> Result<Vec<(TenantId, Timestamp)>, OperationError> {
        let tenants = self.store.tenants().await?;
        Ok(tenants
            .into_iter()
            .filter_map(|row| kept_since(&row.settings, at).map(|since| (row.id, since)))
            .collect())
    }

    /// Makes the changes; they meet in one transaction. Gives how many happened: anything but `Done` says that somebody
    /// was faster.
    async fn end(&self, changes: impl Iterator<Item = Change>) -> Result<u64, OperationError> {
        let mut done = 0;
        for became in join_all(changes.map(|change| self.committer.commit(change))).await {
            done += u64::from(became? == Committed::Done);
        }
        Ok(done)
    }

    fn hide(&self, card: &DueCard, at: Timestamp, by: HiddenBy) -> Change {
        let reason = match &by {
            HiddenBy::Caller(_) => "hidden",
            HiddenBy::Expiry => "expired",
            HiddenBy::Retention => "retention",
        };
        Change::EraseCard {
            tenant: card.tenant.clone(),
            token: card.token,
            at,
            destroy_after: at.plus(self.hold),
            by,
            expected_version: Some(card.row_version),
            idempotency: None,
            entry: entry(card, at).because(reason),
        }
    }
}

/// Whether there is more than was found. A full look that did nothing met another replica's: the next tick goes on.
const fn is_more(found: &[DueCard], done: u64) -> bool {
    found.len() >= LOOK_CARDS as usize && done > 0
}

/// Since when a tenant's cards must have changed to be kept: none if nothing ends by age.
pub(super) fn kept_since(settings: &TenantSettings, at: Timestamp) -> Option<Timestamp> {
    settings.retention.as_ref().map(|retention| at.minus(DAY.saturating_mul(retention.days)))
}

fn destroy(card: &DueCard, at: Timestamp) -> Change {
    Change::DestroyCard {
        tenant: card.tenant.clone(),
        token: card.token,
        expected_version: card.row_version,
        at,
        entry: entry(card, at).because("destroyed").changing(CardChange::of(card.row_version + 1, &[])),
    }
}

fn entry(card: &DueCard, at: Timestamp) -> Draft {
    let object = Object::Token { token: card.token.token_ref(), tenant: Some(card.tenant.clone()) };
    Draft::by_service(at, Event::RecordShred, Outcome::Success, object)
}
