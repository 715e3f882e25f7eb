//! Changing a card under its token: a new number, a new expiry, the rest of what came in with it.
//!
//! Promises: a change is made of the version it names, or not at all: nobody's change is lost. The record is sealed anew at
//! the next version, and everything that follows from the number (facts, fingerprint, alias, verification code) follows in
//! the same transaction. The token never changes. No answer tells whether another token has the number.
//! Does not promise: one token per number where cards are given numbers that others have: dedupe speaks at creation only.
//! Upholds: C-34.

mod batch;
mod revise;

pub use self::batch::{UPDATES_MAX, UpdateAnswer, UpdateItem, Updated};

use std::sync::Arc;

use strongroom_domain::{Alias, Expiry, Holder, MetadataPatch, Pan, TenantId, Timestamp};
use strongroom_sealing::{HeldKey, KeyScope, Purpose, SealContext, seal};

use self::revise::Revision;
use super::card::{ShownCard, owner};
use super::names::alias_row;
use super::tokenize::{ATTEMPTS_MAX, accept_number, deduplicates, shown_of};
use super::{Asking, OperationError, Vault};
use crate::audit::{CardChange, Draft, Event, KeyRef, Object};
use crate::authz::{Decision, Permit, UpdateCard};
use crate::store::{CardRow, CardUpdate, Change, Committed, TenantRow, TenantStatus};

/// What is to change of a card. What is none stays; an inner none removes.
#[derive(Default)]
pub struct CardPatch {
    /// The number. Never removed.
    pub number: Option<Pan>,
    /// When the card ends.
    pub expiry: Option<Option<Expiry>>,
    /// Whose it is.
    pub holder: Option<Option<Holder>>,
    /// When the token stops to work; whole seconds.
    pub expires_at: Option<Option<Timestamp>>,
    /// The caller's own notes: some of them, or none of them from now on.
    pub metadata: Option<Option<MetadataPatch>>,
    /// Whether its issuer closed it. Left out, another number or expiry says that it did not.
    pub closed: Option<bool>,
}

impl CardPatch {
    /// Whether nothing is to change.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        matches!(
            self,
            Self { number: None, expiry: None, holder: None, expires_at: None, metadata: None, closed: None }
        )
    }
}

/// The versions a change may be made of: what `If-Match` names.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ExpectedVersions(pub Vec<u64>);

impl Vault {
    /// Changes a card that is at an expected version.
    pub async fn update_card(
        &self,
        asking: &Asking,
        permit: Permit<UpdateCard>,
        patch: CardPatch,
        expected: &ExpectedVersions,
    ) -> Result<ShownCard, OperationError> {
        let (scope, token) = (&permit.subject().tenant, permit.subject().card.token);
        let tenant = self.updating_tenant(scope).await?;
        self.limit_updates(asking, 1)?;
        if let Some(pan) = &patch.number {
            accept_number(self, &tenant, pan)?;
        }
        let row = self.live_card(scope, token, asking.at).await?.ok_or(OperationError::UnknownToken)?;
        if !expected.0.contains(&row.row_version) {
            return Err(OperationError::Stale);
        }
        let mut revision = self.revise(asking, &tenant, row, patch).await?;
        let row = self.store_revised(asking, &permit, &tenant, &mut revision).await?;
        Ok(ShownCard { row, aliases: revision.into_aliases(), fingerprint: None })
    }

    /// The tenant, if its cards may change.
    async fn updating_tenant(&self, tenant: &TenantId) -> Result<Arc<TenantRow>, OperationError> {
        let tenant = self.tenant(tenant).await?;
        tenant.filter(|row| row.status == TenantStatus::Active).ok_or(OperationError::UnknownToken)
    }

    fn limit_updates(&self, asking: &Asking, cards: u64) -> Result<(), OperationError> {
        let caller = &asking.caller.workload;
        let limited = if self.imports(asking) {
            self.limits.import(caller, cards)
        } else {
            self.limits.update(caller, cards)
        };
        limited.map_err(|_| OperationError::RateLimited)
    }

    /// Seals and commits, again where a key was retired under it or an alias taken.
    async fn store_revised(
        &self,
        asking: &Asking,
        permit: &Permit<UpdateCard>,
        tenant: &TenantRow,
        revision: &mut Revision,
    ) -> Result<CardRow, OperationError> {
        let scope = KeyScope::Tenant(tenant.id.clone());
        for _ in 0..ATTEMPTS_MAX {
            let key = self.keys.active(&scope, Purpose::Card).await?;
            let update = self.reseal(asking, tenant, &key, revision)?;
            let row = update.card.clone();
            let entries = vec![updated_entry(asking, permit.decision(), revision, &update.card)];
            let change = Change::UpdateCards { updates: vec![update], idempotency: None, entries };
            match self.committer.commit(change).await? {
                Committed::Done => {
                    self.was_updated(revision, &row);
                    return Ok(row);
                }
                Committed::KeyNotActive => self.keys.forget(key.id),
                Committed::Conflict => self.explain_conflict(asking, tenant, revision).await?,
                Committed::Missing | Committed::Replay(_) | Committed::Taken(_) => {
                    return Err(OperationError::Defect("an update under no key is no replay"));
                }
            }
        }
        Err(OperationError::Conflict)
    }

    /// After a commit that was refused: the card is gone, somebody was faster, or an alias is drawn anew.
    async fn explain_conflict(
        &self,
        asking: &Asking,
        tenant: &TenantRow,
        revision: &mut Revision,
    ) -> Result<(), OperationError> {
        let now = self.live_card(&tenant.id, revision.row.token.hash(), asking.at).await?;
        match now {
            None => Err(OperationError::UnknownToken),
            Some(now) if now.row_version != revision.row.row_version => Err(OperationError::Stale),
            Some(_) => self.draw_again(revision).await,
        }
    }

    /// The card as it is to be.
    fn reseal(
        &self,
        asking: &Asking,
        tenant: &TenantRow,
        key: &HeldKey,
        revision: &Revision,
    ) -> Result<CardUpdate, OperationError> {
        let (before, secrets) = (&revision.row, &revision.secrets);
        let facts = revision.facts(tenant);
        let row_version = before.row_version + 1;
        let context = SealContext {
            environment: self.environment,
            tenant: &tenant.id,
            token: before.token.hash(),
            data_key: key.id,
            facts: &facts,
            row_version,
            expires_at: revision.expires_at,
        };
        let record = seal(&key.key, &context, secrets, &*self.random)?;
        let (brand, length) = shown_of(&facts, &secrets.pan);
        let number_version = if revision.number_changed { row_version } else { before.number_version };
        let card = CardRow {
            record,
            data_key: key.id,
            facts,
            brand,
            length,
            row_version,
            number_version,
            expires_at: revision.expires_at,
            metadata: revision.metadata.clone(),
            updated_at: asking.at.max(before.updated_at),
            fingerprint: revision.fingerprint,
            closed_at: revision.closed_at,
            ..before.clone()
        };
        let alias = |(naming, alias): (&HeldKey, Alias)| {
            alias_row(naming, &tenant.id, alias, before.token.hash(), asking.at)
        };
        let aliases = revision.drawn().map(alias).into_iter().collect();
        let claims = revision.number_changed && deduplicates(tenant) && card.fingerprint.is_some();
        Ok(CardUpdate { card, claims, aliases })
    }

    /// A code of the number before is of no use any more.
    fn was_updated(&self, revision: &mut Revision, row: &CardRow) {
        let what = if revision.number_changed { "number" } else { "details" };
        metrics::counter!("strongroom_cards_updated_total", "what" => what).increment(1);
        if revision.number_changed {
            self.cvcs.forget_former(owner(row));
        }
        if let Some(guess) = &mut revision.guess {
            guess.was_new();
        }
    }
}

fn updated_entry(asking: &Asking, decision: &Decision, revision: &Revision, row: &CardRow) -> Draft {
    let object = Object::Token { token: row.token.token_ref(), tenant: Some(row.tenant.clone()) };
    let changed = match (revision.number_changed, revision.row.closed_at, row.closed_at) {
        (true, ..) => "number-changed",
        (false, None, Some(_)) => "closed",
        (false, ..) => "details-changed",
    };
    Vault::allowed(asking, Event::RecordUpdate, decision, object)
        .because(changed)
        .with_key(KeyRef::of(row.data_key))
        .changing(CardChange::of(row.row_version, &row.record))
}
