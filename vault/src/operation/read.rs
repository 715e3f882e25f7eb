//! Reading the facts of many cards: those a caller names, and a tenant's, page by page.
//!
//! Promises: every card somebody was shown is named on the log before the answer leaves. Unknown, expired, erased and other
//! tenants' tokens are one and the same nothing.
//! Upholds: C-04, C-13, C-23.

use std::collections::HashMap;

use strongroom_domain::{CardName, TenantId, TokenHash};

use super::card::is_live;
use super::{Asking, OperationError, Vault};
use crate::audit::{Draft, Event, Object};
use crate::authz::{NamedCard, Permit, ReadCards, TenantCards};
use crate::store::{CardFilter, CardPage, CardPlace, CardRow};

/// Most tokens of one look-up (design §5).
pub const LOOKUP_TOKENS_MAX: usize = 100;
/// Most cards of one page: as many as a look-up names.
pub const PAGE_CARDS_MAX: u32 = 100;

/// What part of a list is wanted.
pub struct Wanted {
    /// Which cards.
    pub filter: CardFilter,
    /// After which place.
    pub after: Option<CardPlace>,
    /// How many, at most [`PAGE_CARDS_MAX`].
    pub limit: u32,
}

impl Vault {
    /// The cards of these names in their order, each with an entry of its own; `None` for what is no name of a card and for
    /// whatever the permit does not cover.
    pub async fn look_up_cards(
        &self,
        asking: &Asking,
        permit: Permit<ReadCards>,
        names: &[Option<CardName>],
    ) -> Result<Vec<Option<CardRow>>, OperationError> {
        let TenantCards { tenant, environment } = permit.subject();
        let known: Vec<CardName> = names.iter().flatten().cloned().collect();
        let mut resolved = self.resolve(&known).await?.into_iter();
        let named: Vec<Option<NamedCard>> =
            names.iter().map(|name| name.as_ref().and_then(|_| resolved.next())).collect();
        let of_here = named.iter().flatten().filter(|card| card.environment == *environment);
        let rows = self.reader.cards(of_here.map(|card| card.token).collect()).await?;
        let found: HashMap<TokenHash, CardRow> = rows
            .into_iter()
            .flatten()
            .filter(|row| row.tenant == *tenant && is_live(row, asking.at))
            .map(|row| (row.token.hash(), row))
            .collect();
        let of = |name: &Option<NamedCard>| found.get(&name.as_ref()?.token).cloned();
        let cards: Vec<_> = named.iter().map(of).collect();
        let entries = named.iter().zip(&cards).map(|(name, card)| {
            let object = object(tenant, name.as_ref());
            match card {
                Some(_) => Self::allowed(asking, Event::PanLookup, permit.decision(), object),
                None => not_found(asking, object),
            }
        });
        self.record_all(entries.collect()).await?;
        metrics::counter!("strongroom_cards_shown_total", "by" => "lookup").increment(found.len() as u64);
        Ok(cards)
    }

    /// One page of a tenant's cards, newest first. One entry says how many and names them.
    pub async fn list_cards(
        &self,
        asking: &Asking,
        permit: Permit<ReadCards>,
        wanted: Wanted,
    ) -> Result<CardPage, OperationError> {
        let tenant = &permit.subject().tenant;
        self.tenant(tenant).await?.ok_or(OperationError::UnknownTenant)?;
        let limit = wanted.limit.min(PAGE_CARDS_MAX);
        let page = self.store.list(tenant, &wanted.filter, wanted.after, limit, asking.at).await?;
        let shown = page.cards.len() as u64;
        let entry = Self::allowed(asking, Event::PanList, permit.decision(), Object::Tenant(tenant.clone()))
            .counting(shown)
            .naming(page.cards.iter().map(|row| row.token.token_ref()).collect());
        self.record(entry).await?;
        metrics::counter!("strongroom_cards_shown_total", "by" => "list").increment(shown);
        Ok(page)
    }
}

fn object(tenant: &TenantId, name: Option<&NamedCard>) -> Object {
    name.map_or_else(
        || Object::Tenant(tenant.clone()),
        |card| Object::Token { token: card.token.token_ref(), tenant: Some(tenant.clone()) },
    )
}

fn not_found(asking: &Asking, object: Object) -> Draft {
    let error = OperationError::UnknownToken;
    asking.entry(Event::PanLookup, error.outcome(), object).because(error.reason())
}
