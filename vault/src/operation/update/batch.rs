//! Changes of many cards in one commit, as an account updater brings them.
//!
//! Promises: what is wrong with one update is its own answer and holds none of the others back; those that are made are
//! made together. An update that names no version is made of whatever version is there, once.

use std::collections::{HashMap, HashSet};

use strongroom_domain::{CardName, Problem, ProblemKind, TokenHash};
use strongroom_sealing::{KeyScope, Purpose};

use super::revise::Revision;
use super::{CardPatch, updated_entry};
use crate::audit::{Draft, Event, Object};
use crate::authz::{NamedCard, Permit, UpdateCards};
use crate::operation::card::is_live;
use crate::operation::idempotency::StoredAnswer;
use crate::operation::tokenize::{ATTEMPTS_MAX, First, Once, Repeat, Tokenized, accept_number, tokens_of};
use crate::operation::{Asking, OperationError, Vault, policy_of};
use crate::store::{CardRow, Change, Committed, TenantRow};

/// Most updates of one call: as many as a batch has new cards.
pub const UPDATES_MAX: usize = 100;

/// One update.
pub struct UpdateItem {
    /// Of which card; none if the text is no name of one.
    pub name: Option<CardName>,
    /// What is to change.
    pub patch: Result<CardPatch, Problem>,
    /// The version it is of, if that matters.
    pub expected: Option<u64>,
}

/// What became of one update: the card as it is now.
pub type Updated<'a> = Result<&'a CardRow, &'a OperationError>;

/// How the answer is written: given by `http`, so that the stored answer and the sent one are one.
#[derive(Clone, Copy)]
pub struct UpdateAnswer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub write: fn(&[Updated<'_>]) -> Vec<u8>,
}

/// One request: what is the same for all its updates.
struct Order<'a> {
    asking: &'a Asking,
    permit: &'a Permit<UpdateCards>,
    tenant: &'a TenantRow,
    answer: UpdateAnswer,
    /// The cards named, by the updates' places.
    named: Vec<Option<NamedCard>>,
}

/// An update on its way in, or why it is not made.
type Slot = Result<Revised, OperationError>;

struct Revised {
    revision: Revision,
    expected: Option<u64>,
}

impl Vault {
    /// Changes many cards, each by itself, in one commit.
    pub async fn update_cards(
        &self,
        asking: &Asking,
        permit: Permit<UpdateCards>,
        items: Vec<UpdateItem>,
        once: Option<Once>,
        answer: UpdateAnswer,
    ) -> Result<Tokenized, OperationError> {
        let tenant = self.updating_tenant(&permit.subject().tenant).await.map_err(|error| match error {
            OperationError::UnknownToken => OperationError::UnknownTenant,
            other => other,
        })?;
        self.limit_updates(asking, items.len() as u64)?;
        let named = self.names_of(&items).await?;
        let order = Order { asking, permit: &permit, tenant: &tenant, answer, named };
        let first = match once {
            None => None,
            Some(once) => match self.begin_once(asking, &tenant.id, once, answer.status).await? {
                Repeat::First(first) => Some(first),
                Repeat::Again(stored) => return self.replay_updates(&order, stored).await,
            },
        };
        let mut slots = self.revise_all(&order, items).await?;
        self.store_all(&order, &mut slots, first).await
    }

    /// The cards the updates name. Names that lead nowhere are of a card nobody has.
    async fn names_of(&self, items: &[UpdateItem]) -> Result<Vec<Option<NamedCard>>, OperationError> {
        let names: Vec<CardName> = items.iter().filter_map(|item| item.name.clone()).collect();
        let mut resolved = self.resolve(&names).await?.into_iter();
        Ok(items.iter().map(|item| item.name.as_ref().and_then(|_| resolved.next())).collect())
    }

    async fn revise_all(
        &self,
        order: &Order<'_>,
        items: Vec<UpdateItem>,
    ) -> Result<Vec<Slot>, OperationError> {
        let rows = self.rows_of(order, order.named.iter().flatten().map(|card| card.token).collect()).await?;
        let mut taken = HashSet::new();
        let mut slots = Vec::with_capacity(items.len());
        for (item, named) in items.into_iter().zip(&order.named) {
            let here = named.filter(|card| card.environment == self.environment);
            let row = here.and_then(|card| rows.get(&card.token)).cloned();
            let slot = match row {
                Some(row) if !taken.insert(row.token.hash()) => {
                    let detail = "an update before it in this call is of the same card";
                    Err(OperationError::InvalidCard(Problem::because(ProblemKind::InvalidCard, detail)))
                }
                Some(row) => self.revise_one(order, row, item).await,
                None => Err(OperationError::UnknownToken),
            };
            slots.push(own(slot)?);
        }
        Ok(slots)
    }

    async fn revise_one(&self, order: &Order<'_>, row: CardRow, item: UpdateItem) -> Slot {
        let UpdateItem { patch, expected, .. } = item;
        let patch = patch.map_err(OperationError::InvalidCard)?;
        if let Some(pan) = &patch.number {
            accept_number(self, order.tenant, pan)?;
        }
        if expected.is_some_and(|expected| expected != row.row_version) {
            return Err(OperationError::Stale);
        }
        let revision = self.revise(order.asking, order.tenant, row, patch).await?;
        Ok(Revised { revision, expected })
    }

    /// The tenant's live cards among these.
    async fn rows_of(
        &self,
        order: &Order<'_>,
        tokens: Vec<TokenHash>,
    ) -> Result<HashMap<TokenHash, CardRow>, OperationError> {
        let rows = self.reader.cards(tokens).await?.into_iter().flatten();
        let here = rows.filter(|row| row.tenant == order.tenant.id && is_live(row, order.asking.at));
        Ok(here.map(|row| (row.token.hash(), row)).collect())
    }

    /// Seals and commits, again where a key, an alias or a card changed under it.
    async fn store_all(
        &self,
        order: &Order<'_>,
        slots: &mut [Slot],
        first: Option<First>,
    ) -> Result<Tokenized, OperationError> {
        let scope = KeyScope::Tenant(order.tenant.id.clone());
        for _ in 0..ATTEMPTS_MAX {
            let key = self.keys.active(&scope, Purpose::Card).await?;
            let reseal = |revised: &Revised| self.reseal(order.asking, order.tenant, &key, &revised.revision);
            let updates = slots.iter().flatten().map(reseal).collect::<Result<Vec<_>, _>>()?;
            let rows: Vec<CardRow> = updates.iter().map(|update| update.card.clone()).collect();
            let updated = updated(slots, &rows);
            let body = (order.answer.write)(&updated);
            let entries = order.entries(slots, &updated);
            let idempotency = first.as_ref().map(|first| Box::new(first.row(order.asking.at, &body)));
            match self.committer.commit(Change::UpdateCards { updates, idempotency, entries }).await? {
                Committed::Done => {
                    for (revised, row) in slots.iter_mut().flatten().zip(&rows) {
                        self.was_updated(&mut revised.revision, row);
                    }
                    return Ok(Tokenized { answer: body, replayed: false });
                }
                Committed::Replay(row) => {
                    let stored = self.earlier_of(order.asking, &order.tenant.id, first, row).await?;
                    return self.replay_updates(order, stored).await;
                }
                Committed::KeyNotActive => self.keys.forget(key.id),
                Committed::Conflict => self.revise_again(order, slots).await?,
                Committed::Missing | Committed::Taken(_) => {
                    return Err(OperationError::Defect("an update is of a card"));
                }
            }
        }
        Err(OperationError::Conflict)
    }

    /// After a commit that was refused: updates of cards that changed meanwhile are made of what those became, unless they
    /// name the version they are of.
    async fn revise_again(&self, order: &Order<'_>, slots: &mut [Slot]) -> Result<(), OperationError> {
        let tokens = slots.iter().flatten().map(|revised| revised.revision.row.token.hash()).collect();
        let mut rows = self.rows_of(order, tokens).await?;
        for slot in slots {
            let Ok(revised) = slot else { continue };
            let (token, version) = (revised.revision.row.token.hash(), revised.revision.row.row_version);
            let row = match rows.remove(&token) {
                Some(row) if row.row_version == version => {
                    if let Err(error) = own(self.draw_again(&mut revised.revision).await)? {
                        *slot = Err(error);
                    }
                    continue;
                }
                Some(_) if revised.expected.is_some() => Err(OperationError::Stale),
                Some(row) => Ok(row),
                None => Err(OperationError::UnknownToken),
            };
            *slot = match (row, std::mem::replace(slot, Err(OperationError::UnknownToken))) {
                (Ok(row), Ok(before)) => {
                    let patch = before.revision.into_patch();
                    let revision = self.revise(order.asking, order.tenant, row, patch).await;
                    own(revision.map(|revision| Revised { revision, expected: None }))?
                }
                (Err(error), _) | (_, Err(error)) => Err(error),
            };
        }
        Ok(())
    }

    /// The first answer again; nothing is changed.
    async fn replay_updates(
        &self,
        order: &Order<'_>,
        stored: StoredAnswer,
    ) -> Result<Tokenized, OperationError> {
        let decision = order.permit.decision();
        let again = |object| Self::allowed(order.asking, Event::IdempotencyReplay, decision, object);
        let tenant = &order.tenant.id;
        let of = |token: TokenHash| Object::Token { token: token.token_ref(), tenant: Some(tenant.clone()) };
        let tokens = tokens_of(&stored.body).into_iter().flatten();
        let mut entries: Vec<Draft> = tokens.map(|token| again(of(token))).collect();
        if entries.is_empty() {
            entries.push(again(Object::Tenant(tenant.clone())));
        }
        self.record_all(entries).await?;
        Ok(Tokenized { answer: stored.body, replayed: true })
    }
}

/// Each update's card, or why there is none. `rows` are those of the updates that are made.
fn updated<'a>(slots: &'a [Slot], rows: &'a [CardRow]) -> Vec<Updated<'a>> {
    let mut made = rows.iter();
    let one = |slot: &'a Slot| match slot {
        Ok(_) => Ok(made.next().expect("a row for each update that is made")),
        Err(error) => Err(error),
    };
    slots.iter().map(one).collect()
}

impl Order<'_> {
    /// One entry for each update, also for those that are refused.
    fn entries(&self, slots: &[Slot], updated: &[Updated<'_>]) -> Vec<Draft> {
        let decision = self.permit.decision();
        let mut entries = Vec::with_capacity(slots.len());
        for ((slot, updated), named) in slots.iter().zip(updated).zip(&self.named) {
            entries.push(match (slot, *updated) {
                (Ok(revised), Ok(row)) => updated_entry(self.asking, decision, &revised.revision, row),
                (Err(error), _) | (_, Err(error)) => self.refusal(error, named.as_ref()),
            });
        }
        entries
    }

    fn refusal(&self, error: &OperationError, named: Option<&NamedCard>) -> Draft {
        let tenant = self.tenant.id.clone();
        let object = match named {
            Some(card) => Object::Token { token: card.token.token_ref(), tenant: Some(tenant) },
            None => Object::Tenant(tenant),
        };
        self.asking
            .entry(error.event(Event::RecordUpdate), error.outcome(), object)
            .because(error.reason())
            .by_policy(policy_of(self.permit.decision()))
    }
}

/// What is wrong with one update is its own; what is wrong here fails the whole call.
fn own<T>(slot: Result<T, OperationError>) -> Result<Result<T, OperationError>, OperationError> {
    match slot {
        Err(
            error @ (OperationError::UnknownToken
            | OperationError::Stale
            | OperationError::InvalidCard(_)
            | OperationError::NumberNotAccepted
            | OperationError::BrandNotAccepted
            | OperationError::GuessLimited
            | OperationError::AliasSpaceThin),
        ) => Ok(Err(error)),
        Err(error) => Err(error),
        Ok(right) => Ok(Ok(right)),
    }
}
