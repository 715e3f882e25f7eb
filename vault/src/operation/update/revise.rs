//! What a card is to be: the card as it was read, opened, with what a patch says in place of it.

use strongroom_domain::alias::PanShaped;
use strongroom_domain::{
    Alias, CardFacts, Expiry, Metadata, MetadataPatch, Pan, Problem, ProblemKind, Timestamp,
};
use strongroom_sealing::{CardSecrets, Fingerprint, HeldKey, KeyScope, Purpose, fingerprint};

use super::CardPatch;
use crate::operation::card::is_live;
use crate::operation::limits::guesses::Guess;
use crate::operation::tokenize::{DRAWS_MAX, deduplicates, has_fingerprints, shown_digits};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::{CardRow, TenantRow};

/// Most sixteen digits one card gets in its life, one for each number with other last four. Cards are renewed a few times.
const PAN_SHAPED_MAX: usize = 16;

/// A card as it was read and as it is to be.
pub(super) struct Revision {
    /// As it was read.
    pub(super) row: CardRow,
    /// What is to be sealed.
    pub(super) secrets: CardSecrets,
    /// Whether the number is another one.
    pub(super) number_changed: bool,
    /// When the token is to stop to work.
    pub(super) expires_at: Option<Timestamp>,
    /// The notes as they are to be.
    pub(super) metadata: Metadata,
    /// By which the number is to be known.
    pub(super) fingerprint: Option<Fingerprint>,
    /// When it is said to be closed.
    pub(super) closed_at: Option<Timestamp>,
    /// Held while the number is tried on a tenant that deduplicates.
    pub(super) guess: Option<Guess>,
    /// What the patch said.
    said: Said,
    /// The card's other names.
    aliases: Vec<Alias>,
    /// The sixteen digits it gets, and how many were drawn.
    drawn: Option<(PanShaped, u8)>,
    /// The tenant's fingerprint key, if it is needed.
    naming: Option<HeldKey>,
}

/// What a patch said, besides the secrets: to say it again of what the card became meanwhile.
struct Said {
    number: bool,
    expiry: Option<Option<Expiry>>,
    holder: bool,
    expires_at: Option<Option<Timestamp>>,
    metadata: Option<Option<MetadataPatch>>,
    closed: Option<bool>,
}

impl Vault {
    /// Opens the card and puts in place what the patch says.
    pub(super) async fn revise(
        &self,
        asking: &Asking,
        tenant: &TenantRow,
        row: CardRow,
        patch: CardPatch,
    ) -> Result<Revision, OperationError> {
        let mut secrets = self.unseal(&row).await?;
        let CardPatch { number, expiry, holder, expires_at, metadata, closed } = patch;
        let said = Said {
            number: number.is_some(),
            expiry,
            holder: holder.is_some(),
            expires_at,
            metadata: metadata.clone(),
            closed,
        };
        let mut number_changed = false;
        if let Some(number) = number {
            self.may_still_try(asking, tenant, &number)?;
            number_changed = !secrets.pan.same_as(&number);
            secrets.pan = number;
        }
        let is_renewed = number_changed || expiry.is_some_and(|expiry| expiry != secrets.expiry);
        secrets.expiry = expiry.unwrap_or(secrets.expiry);
        secrets.holder = holder.unwrap_or(secrets.holder);
        let closed_at = match closed {
            Some(true) => row.closed_at.or(Some(asking.at)),
            Some(false) => None,
            None => row.closed_at.filter(|_| !is_renewed),
        };
        let metadata = match metadata {
            None => row.metadata.clone(),
            Some(None) => Metadata::default(),
            Some(Some(patch)) => row.metadata.patched(&patch).map_err(|_| too_much_metadata())?,
        };
        let expires_at = expires_at.unwrap_or(row.expires_at);
        let aliases = self.aliases_of(row.token.hash()).await?;
        let mut revision = Revision {
            fingerprint: row.fingerprint,
            row,
            secrets,
            number_changed,
            expires_at,
            metadata,
            closed_at,
            guess: None,
            said,
            aliases,
            drawn: None,
            naming: None,
        };
        if number_changed {
            self.rename_number(asking, tenant, &mut revision).await?;
        }
        Ok(revision)
    }

    /// What the number was known by is another one now: its fingerprint, and sixteen digits that end in its last four.
    async fn rename_number(
        &self,
        asking: &Asking,
        tenant: &TenantRow,
        revision: &mut Revision,
    ) -> Result<(), OperationError> {
        let drawn = self.draw_alias(revision)?;
        if drawn.is_some() || has_fingerprints(tenant) {
            let scope = KeyScope::Tenant(tenant.id.clone());
            revision.naming = Some(self.keys.active(&scope, Purpose::Fingerprint).await?);
        }
        revision.drawn = drawn;
        let digest = |key: &HeldKey| fingerprint(&key.key, &tenant.id, &revision.secrets.pan);
        revision.fingerprint = revision.naming.as_ref().filter(|_| has_fingerprints(tenant)).map(digest);
        if let (Some(number), true) = (revision.fingerprint, deduplicates(tenant)) {
            revision.guess = self.try_update(asking, tenant, revision, number).await?;
        }
        Ok(())
    }

    /// New sixteen digits for a card that has some, where those end in another number's last four. The former ones lead to
    /// the card as before: whoever keeps them still pays with the card.
    fn draw_alias(&self, revision: &Revision) -> Result<Option<(PanShaped, u8)>, OperationError> {
        let shaped = |alias: &Alias| match alias {
            Alias::PanShaped(alias) => Some(alias.clone()),
            Alias::Foreign(_) => None,
        };
        let held: Vec<PanShaped> = revision.aliases.iter().filter_map(shaped).collect();
        let Some(newest) = held.last() else { return Ok(None) };
        let drawn = PanShaped::for_number(self.environment, &revision.secrets.pan, &*self.random)?;
        if newest.last4() == drawn.last4() {
            return Ok(None);
        }
        if held.len() >= PAN_SHAPED_MAX { Err(OperationError::AliasSpaceThin) } else { Ok(Some((drawn, 1))) }
    }

    /// Counts a number nobody has yet as tried, as creating a card of it would: whoever may create finds out next whether
    /// it was known.
    async fn try_update(
        &self,
        asking: &Asking,
        tenant: &TenantRow,
        revision: &Revision,
        number: Fingerprint,
    ) -> Result<Option<Guess>, OperationError> {
        let known = self.store.known(&tenant.id, &[number]).await?;
        if self.imports(asking) || known.iter().any(|(_, row)| is_live(row, asking.at)) {
            return Ok(None);
        }
        let shown = shown_digits(&revision.secrets.pan);
        let guess = self.guesses.begin(&asking.caller.workload, &tenant.id, shown.as_bytes(), number);
        guess.map(Some).map_err(|_| self.refused_guess())
    }

    /// Refuses whoever spent the tries for this BIN and last four, whatever the number is: also the card's own, for else the
    /// answer would say that it is.
    fn may_still_try(&self, asking: &Asking, tenant: &TenantRow, number: &Pan) -> Result<(), OperationError> {
        let caller = &asking.caller.workload;
        let spent = deduplicates(tenant)
            && !self.imports(asking)
            && self.guesses.are_spent(caller, &tenant.id, shown_digits(number).as_bytes(), None);
        if spent { Err(self.refused_guess()) } else { Ok(()) }
    }

    /// Draws other sixteen digits where those drawn are taken.
    pub(super) async fn draw_again(&self, revision: &mut Revision) -> Result<(), OperationError> {
        let Some((drawn, draws)) = &mut revision.drawn else { return Ok(()) };
        if self.store.aliases(&[Alias::PanShaped(drawn.clone()).hash()]).await?.is_empty() {
            return Ok(());
        }
        metrics::counter!("strongroom_alias_collisions_total").increment(1);
        if *draws >= DRAWS_MAX {
            return Err(OperationError::AliasSpaceThin);
        }
        *drawn = PanShaped::for_number(self.environment, &revision.secrets.pan, &*self.random)?;
        *draws += 1;
        Ok(())
    }
}

impl Revision {
    /// The facts as they are to be, as much of them as the tenant keeps.
    pub(super) fn facts(&self, tenant: &TenantRow) -> CardFacts {
        CardFacts::of(&self.secrets.pan, self.secrets.expiry, tenant.settings.facts)
    }

    /// The alias it gets, with the key of its MAC.
    pub(super) fn drawn(&self) -> Option<(&HeldKey, Alias)> {
        let (drawn, _) = self.drawn.as_ref()?;
        Some((self.naming.as_ref()?, Alias::PanShaped(drawn.clone())))
    }

    /// The patch, to be said of another version.
    pub(super) fn into_patch(self) -> CardPatch {
        let Self { secrets: CardSecrets { pan, holder, .. }, said, .. } = self;
        CardPatch {
            number: said.number.then_some(pan),
            expiry: said.expiry,
            holder: said.holder.then_some(holder),
            expires_at: said.expires_at,
            metadata: said.metadata,
            closed: said.closed,
        }
    }

    /// The card's other names after the change, the newest last.
    pub(super) fn into_aliases(self) -> Vec<Alias> {
        let drawn = self.drawn.map(|(drawn, _)| Alias::PanShaped(drawn));
        self.aliases.into_iter().chain(drawn).collect()
    }
}

fn too_much_metadata() -> OperationError {
    let detail = "the card would have more than 20 metadata entries";
    OperationError::InvalidCard(Problem::because(ProblemKind::InvalidCard, detail).at("/metadata"))
}
