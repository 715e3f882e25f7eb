//! Showing hidden cards again: one by its token, or what a caller hid within a time.
//!
//! Promises: a card comes back as it was, under its token, with an entry of its own; never one that was destroyed, that
//! expired, or whose tenant's retention is over. Verification codes do not come back.
//! Upholds: C-25.

use futures_util::future::join_all;
use strongroom_domain::{TenantId, Timestamp, TokenHash};

use super::card::is_live;
use super::reaper::kept_since;
use super::{Asking, OperationError, Vault};
use crate::audit::{Draft, Event, Object};
use crate::authz::{Decision, Permit, RestoreCard, RestoredCards};
use crate::store::{CardRow, Change, Committed, Due, Hidden};

/// Most cards of one search: one transaction, and an answer within a second.
pub const RESTORED_MAX: u32 = 100;

/// What came of a search.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Restored {
    /// Cards shown again.
    pub restored: u64,
    /// Whether another call would find more.
    pub more: bool,
}

impl Vault {
    /// Shows one card again. One that is not hidden stays as it is.
    pub async fn restore_card(
        &self,
        asking: &Asking,
        permit: Permit<RestoreCard>,
    ) -> Result<CardRow, OperationError> {
        let tenant = permit.subject().tenant.clone();
        let RestoredCards::One(token) = permit.subject().cards else {
            return Err(OperationError::Defect("a permit for a search was spent on one card"));
        };
        let mut row = self.store.card(&tenant, token).await?.ok_or(OperationError::UnknownToken)?;
        let entry = restored_entry(asking, permit.decision(), token, &tenant);
        if is_live(&row, asking.at) {
            self.record(entry.because("unchanged")).await?;
            return Ok(row);
        }
        let kept_since = self.kept_since(&tenant, asking.at).await?;
        if row.record.is_empty() || row.destroy_after.is_none_or(|end| end <= asking.at) {
            return Err(OperationError::UnknownToken);
        }
        let outlived = kept_since.is_some_and(|since| row.updated_at <= since);
        if outlived || row.expires_at.is_some_and(|end| end <= asking.at) {
            return Err(OperationError::Conflict);
        }
        match self.committer.commit(restore(asking, tenant, token, kept_since, entry)).await? {
            Committed::Done => {
                (row.deleted_at, row.destroy_after) = (None, None);
                Ok(row)
            }
            Committed::Missing | Committed::Conflict => Err(OperationError::UnknownToken),
            Committed::Replay(_) | Committed::KeyNotActive | Committed::Taken(_) => {
                Err(OperationError::Defect("restoring needs neither key nor replay"))
            }
        }
    }

    /// Shows again what a search finds, the cards whose hold ends first.
    pub async fn restore_cards(
        &self,
        asking: &Asking,
        permit: Permit<RestoreCard>,
    ) -> Result<Restored, OperationError> {
        let tenant = permit.subject().tenant.clone();
        let RestoredCards::Hidden { by, from, until } = &permit.subject().cards else {
            return Err(OperationError::Defect("a permit for one card was spent on a search"));
        };
        let kept_since = self.kept_since(&tenant, asking.at).await?;
        let hidden = Hidden {
            tenant: tenant.clone(),
            by: by.clone(),
            from: *from,
            until: *until,
            at: asking.at,
            kept_since,
        };
        let found = self.store.cards_due(Due::Restorable(&hidden), RESTORED_MAX).await?;
        if found.is_empty() {
            let entry =
                Self::allowed(asking, Event::RecordRestore, permit.decision(), Object::Tenant(tenant));
            self.record(entry.because("nothing-hidden")).await?;
        }
        let changes = found.iter().map(|card| {
            let entry = restored_entry(asking, permit.decision(), card.token, &card.tenant);
            self.committer.commit(restore(asking, card.tenant.clone(), card.token, kept_since, entry))
        });
        let mut restored = 0;
        for became in join_all(changes).await {
            restored += u64::from(became? == Committed::Done);
        }
        Ok(Restored { restored, more: found.len() >= RESTORED_MAX as usize })
    }

    async fn kept_since(
        &self,
        tenant: &TenantId,
        at: Timestamp,
    ) -> Result<Option<Timestamp>, OperationError> {
        Ok(self.tenant(tenant).await?.and_then(|row| kept_since(&row.settings, at)))
    }
}

fn restore(
    asking: &Asking,
    tenant: TenantId,
    token: TokenHash,
    kept_since: Option<Timestamp>,
    entry: Draft,
) -> Change {
    Change::RestoreCard { tenant, token, at: asking.at, kept_since, entry }
}

fn restored_entry(asking: &Asking, decision: &Decision, token: TokenHash, tenant: &TenantId) -> Draft {
    let object = Object::Token { token: token.token_ref(), tenant: Some(tenant.clone()) };
    Vault::allowed(asking, Event::RecordRestore, decision, object)
}
