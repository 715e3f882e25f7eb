//! Where each card of a request comes to lie: in a row of its own, or with the one its number has already.
//!
//! Promises: the answer about a known card holds the known token and, for the rest, what the request said: nothing of the
//! stored card, and nothing in another form than for a new one.

use std::collections::HashMap;

use strongroom_domain::{Alias, Brand, CardFacts, DataKeyId, Pan, Token};
use strongroom_sealing::{Fingerprint, HeldKey, SealContext, seal};

use super::rename::Known;
use super::{CardDraft, Drafted, Order, deduplicates};
use crate::audit::{CardChange, Draft, Event, KeyRef, Object};
use crate::operation::card::owner;
use crate::operation::names::alias_row;
use crate::operation::{OperationError, Vault, policy_of};
use crate::sad::CodeOwner;
use crate::store::{AliasRow, CardRow, KnownCard, Names};

/// First version of every row.
pub const FIRST_VERSION: u64 = 1;

/// What became of one card of a request.
pub type Became<'a> = Result<Made, &'a OperationError>;

/// A card that has a token.
pub struct Made {
    /// What the caller is told of it. Of a known card: its token, and what the request said.
    pub row: CardRow,
    /// The sixteen digits it got.
    pub pan_shaped: Option<Alias>,
    /// The token of another vault that leads to it from now on.
    pub foreign: Option<Alias>,
    standing: Standing,
}

impl Made {
    /// The same, of a card whose number came with this version: its codes belong there.
    fn at_number(mut self, number_version: u64) -> Self {
        self.row.number_version = number_version;
        self
    }
}

enum Standing {
    /// It has a row of its own.
    New,
    /// It was there, sealed by this key.
    Known(DataKeyId),
}

/// A request's cards, ready to commit.
pub(super) struct Placed {
    pub(super) body: Vec<u8>,
    pub(super) cards: Vec<CardRow>,
    pub(super) names: Names,
    pub(super) owners: Vec<Option<CodeOwner>>,
    pub(super) entries: Vec<Draft>,
}

impl Vault {
    /// Seals what is new, finds what is known, and writes the answer and the entries of both.
    pub(super) fn place(
        &self,
        order: &Order<'_>,
        key: &HeldKey,
        drafts: &[Drafted],
        known: &HashMap<Fingerprint, Known>,
    ) -> Result<Placed, OperationError> {
        let mut names = Names { unique: deduplicates(order.tenant), ..Names::default() };
        // Two cards of one request may have one number: the second is known by the first.
        let mut first: HashMap<Fingerprint, Token> = HashMap::new();
        let mut became: Vec<Became<'_>> = Vec::with_capacity(drafts.len());
        for draft in drafts {
            let draft = match draft {
                Ok(draft) => draft,
                Err(error) => {
                    became.push(Err(error));
                    continue;
                }
            };
            let fingerprint = draft.fingerprint.filter(|_| names.unique);
            let made = match fingerprint {
                Some(number) if let Some(known) = known.get(&number) => {
                    let (tenant, token) = (order.tenant.id.clone(), known.row.token.hash());
                    let card = KnownCard { tenant, fingerprint: number, token };
                    if !names.known.contains(&card) {
                        names.known.push(card);
                    }
                    let made = echo(
                        order,
                        draft,
                        known.row.token.clone(),
                        known.row.data_key,
                        known.pan_shaped.as_ref(),
                    );
                    made.at_number(known.row.number_version)
                }
                Some(number) if let Some(token) = first.get(&number) => {
                    echo(order, draft, token.clone(), key.id, None)
                }
                _ => {
                    first.extend(fingerprint.map(|number| (number, draft.token.clone())));
                    self.seal_new(order, key, draft)?
                }
            };
            became.push(Ok(made));
        }
        names.unique &= !first.is_empty();
        names.aliases = aliases(order, &became);
        let body = (order.answer.write)(&became);
        let entries = entries(order, &became, key);
        let owners = became.iter().map(|became| became.as_ref().ok().map(|made| owner(&made.row))).collect();
        let cards = became.into_iter().flatten().filter(|made| matches!(made.standing, Standing::New));
        Ok(Placed { body, cards: cards.map(|made| made.row).collect(), names, owners, entries })
    }

    fn seal_new(&self, order: &Order<'_>, key: &HeldKey, draft: &CardDraft) -> Result<Made, OperationError> {
        let facts = CardFacts::of(&draft.secrets.pan, draft.secrets.expiry, order.tenant.settings.facts);
        let context = SealContext {
            environment: self.environment,
            tenant: &order.tenant.id,
            token: draft.token.hash(),
            data_key: key.id,
            facts: &facts,
            row_version: FIRST_VERSION,
            expires_at: draft.expires_at,
        };
        let record = seal(&key.key, &context, &draft.secrets, &*self.random)?;
        let row = CardRow { record, data_key: key.id, ..bare_row(order, draft, draft.token.clone(), key.id) };
        Ok(made(draft, row, Standing::New, None))
    }
}

/// What is told of a card that is there already: its token and what the request said.
fn echo(
    order: &Order<'_>,
    draft: &CardDraft,
    token: Token,
    data_key: DataKeyId,
    pan_shaped: Option<&Alias>,
) -> Made {
    let row = bare_row(order, draft, token, data_key);
    made(draft, row, Standing::Known(data_key), pan_shaped)
}

fn made(draft: &CardDraft, row: CardRow, standing: Standing, pan_shaped: Option<&Alias>) -> Made {
    let drawn = draft.pan_shaped.as_ref();
    Made {
        row,
        // A known card keeps the alias it has.
        pan_shaped: drawn.map(|(drawn, _)| pan_shaped.cloned().unwrap_or(Alias::PanShaped(drawn.clone()))),
        foreign: draft.foreign.clone().map(Alias::Foreign),
        standing,
    }
}

/// The row of a card that was just brought, without its record.
fn bare_row(order: &Order<'_>, draft: &CardDraft, token: Token, data_key: DataKeyId) -> CardRow {
    let CardDraft { secrets, expires_at, metadata, fingerprint, .. } = draft;
    let facts = CardFacts::of(&secrets.pan, secrets.expiry, order.tenant.settings.facts);
    let (brand, length) = shown_of(&facts, &secrets.pan);
    CardRow {
        token,
        tenant: order.tenant.id.clone(),
        record: Vec::new(),
        data_key,
        brand,
        length,
        facts,
        row_version: FIRST_VERSION,
        number_version: FIRST_VERSION,
        expires_at: *expires_at,
        metadata: metadata.clone(),
        created_at: order.asking.at,
        updated_at: order.asking.at,
        deleted_at: None,
        destroy_after: None,
        closed_at: None,
        fingerprint: *fingerprint,
    }
}

/// Brand and length, where the tenant keeps facts of its numbers.
pub(in crate::operation) fn shown_of(facts: &CardFacts, pan: &Pan) -> (Option<Brand>, Option<u8>) {
    let shown = facts.bin.non_empty().is_some() || facts.last4.non_empty().is_some();
    let brand = shown.then(|| pan.brand()).filter(|brand| *brand != Brand::Unknown);
    (brand, shown.then(|| pan.length()))
}

/// The rows of the aliases that are asked for.
fn aliases(order: &Order<'_>, became: &[Became<'_>]) -> Vec<AliasRow> {
    let Some(key) = &order.naming else { return Vec::new() };
    let of = |made: &Made| {
        let token = made.row.token.hash();
        let aliases = [made.pan_shaped.clone(), made.foreign.clone()];
        aliases.into_iter().flatten().map(move |alias| (alias, token)).collect::<Vec<_>>()
    };
    let named = became.iter().flatten().flat_map(of);
    let row = |(alias, token)| alias_row(key, &order.tenant.id, alias, token, order.asking.at);
    named.map(row).collect()
}

/// One entry for each card, also for those that were refused.
fn entries(order: &Order<'_>, became: &[Became<'_>], key: &HeldKey) -> Vec<Draft> {
    let Order { asking, permit, tenant, .. } = order;
    let of_tenant = || Object::Tenant(tenant.id.clone());
    let allowed = Vault::allowed(asking, Event::PanTokenize, permit.decision(), of_tenant());
    let entry = |became: &Became<'_>| {
        let made = match became {
            Ok(made) => made,
            Err(error) => {
                return asking
                    .entry(error.event(Event::PanTokenize), error.outcome(), of_tenant())
                    .because(error.reason())
                    .by_policy(policy_of(permit.decision()));
            }
        };
        let row = &made.row;
        let object = Object::Token { token: row.token.token_ref(), tenant: Some(row.tenant.clone()) };
        let entry = allowed.clone().about(object);
        match made.standing {
            Standing::New => {
                entry.with_key(KeyRef::of(key.id)).changing(CardChange::of(row.row_version, &row.record))
            }
            Standing::Known(sealed_by) => entry.with_key(KeyRef::of(sealed_by)).because("known"),
        }
    };
    became.iter().map(entry).collect()
}
