//! Cards after capture: showing their facts, erasing them.

use strongroom_domain::{Alias, TenantId, Timestamp, TokenHash};
use strongroom_sealing::Fingerprint;

use super::limits::BreakerOpen;
use super::{Asking, OperationError, Vault, policy_of};
use crate::audit::{Event, Object, Outcome};
use crate::authz::{EraseCard, MatchFingerprint, Permit, ReadCard};
use crate::sad::CodeOwner;
use crate::store::{CardRow, Change, Committed, HiddenBy};

/// A card as it is shown.
pub struct ShownCard {
    /// Its facts.
    pub row: CardRow,
    /// Its other names.
    pub aliases: Vec<Alias>,
    /// The fingerprint of its number, if the caller may compare numbers.
    pub fingerprint: Option<Fingerprint>,
}

impl Vault {
    /// The facts of one card; its fingerprint too with the permit to compare numbers.
    pub async fn show_card(
        &self,
        asking: &Asking,
        permit: Permit<ReadCard>,
        matching: Option<Permit<MatchFingerprint>>,
    ) -> Result<ShownCard, OperationError> {
        let (tenant, token) = (&permit.subject().tenant, permit.subject().card.token);
        let row = self.live_card(tenant, token, asking.at).await?.ok_or(OperationError::UnknownToken)?;
        let object = Object::Token { token: token.token_ref(), tenant: Some(tenant.clone()) };
        let aliases = self.aliases_of(token).await?;
        let mut policy = policy_of(permit.decision());
        let matching = matching.filter(|matching| matching.subject().tenant == *tenant);
        if let Some(matching) = &matching {
            policy.id.extend(policy_of(matching.decision()).id);
        }
        let fingerprint = row.fingerprint.filter(|_| matching.is_some());
        let entry = asking.entry(Event::PanLookup, Outcome::Success, object).by_policy(policy);
        self.record(entry).await?;
        Ok(ShownCard { row, aliases, fingerprint })
    }

    /// Hides a card at once; it is destroyed after the hold, and its token is never used again.
    pub async fn erase_card(&self, asking: &Asking, permit: Permit<EraseCard>) -> Result<(), OperationError> {
        let (tenant, token) = (permit.subject().tenant.clone(), permit.subject().card.token);
        self.live_card(&tenant, token, asking.at).await?.ok_or(OperationError::UnknownToken)?;
        self.limits
            .erase(&asking.caller.workload, &tenant)
            .map_err(|open| breaker_open(asking, &tenant, open))?;
        let object = Object::Token { token: token.token_ref(), tenant: Some(tenant.clone()) };
        let entry = Self::allowed(asking, Event::RecordShred, permit.decision(), object);
        let change = Change::EraseCard {
            tenant,
            token,
            at: asking.at,
            destroy_after: asking.at.plus(self.erase_hold),
            by: HiddenBy::Caller(asking.caller.workload.clone()),
            expected_version: None,
            idempotency: None,
            entry: entry.because("hidden"),
        };
        match self.committer.commit(change).await? {
            Committed::Done => {
                self.cvcs.forget(token);
                Ok(())
            }
            Committed::Missing | Committed::Conflict => Err(OperationError::UnknownToken),
            Committed::Replay(_) | Committed::KeyNotActive | Committed::Taken(_) => {
                Err(OperationError::Defect("erasing needs neither key nor replay"))
            }
        }
    }

    pub(super) async fn live_card(
        &self,
        tenant: &TenantId,
        token: TokenHash,
        now: Timestamp,
    ) -> Result<Option<CardRow>, OperationError> {
        Ok(self.store.card(tenant, token).await?.filter(|row| is_live(row, now)))
    }
}

/// Refused is told every time, the opening once: a person must look.
fn breaker_open(asking: &Asking, tenant: &TenantId, open: BreakerOpen) -> OperationError {
    metrics::counter!("strongroom_erase_breaker_refusals_total", "scope" => open.scope).increment(1);
    if open.opened {
        metrics::counter!("strongroom_erase_breaker_opened_total", "scope" => open.scope).increment(1);
        let (caller, scope) = (asking.caller.workload.as_str(), open.scope);
        tracing::error!(caller, %tenant, scope, "too many cards are being erased: the breaker is open; see erasure.md");
    }
    OperationError::EraseBreaker { again: open.again }
}

/// What verification codes of the card's present number belong to.
pub(super) fn owner(row: &CardRow) -> CodeOwner {
    CodeOwner { token: row.token.hash(), number_version: row.number_version }
}

/// Neither erased nor expired.
pub(super) fn is_live(row: &CardRow, now: Timestamp) -> bool {
    row.deleted_at.is_none() && row.expires_at.is_none_or(|expires_at| now < expires_at)
}
