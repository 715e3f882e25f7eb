//! Tokenizing: a card goes in, a token comes out, and the number is sealed before anybody hears of it.
//!
//! Promises: an answered token is on disk with its record and its audit entry. A refused card leaves nothing but its entry.
//! The cards of a batch come in together, in one commit; one that is refused does not hold the others back.
//! Does not promise: one token per number. Dedupe is a tenant's choice and off by default.
//! Upholds: C-01, C-04, C-05, C-06.

mod once;

use std::sync::Arc;

use strongroom_domain::{Brand, CardFacts, Cvc, Expiry, Holder, Metadata, Pan, Timestamp, Token, TokenHash};
use strongroom_sealing::{CardSecrets, HeldKey, KeyScope, Purpose, SealContext, seal};

pub use self::once::Once;
use self::once::{First, Repeat, tokens_of};
use super::{Asking, OperationError, Vault, policy_of};
use crate::audit::{CardChange, Draft, Event, KeyRef, Object};
use crate::authz::{Import, Permit, Tokenize};
use crate::store::{CardRow, Change, Committed, IdempotencyRow, TenantRow, TenantStatus};

/// Most cards of one batch (design §5): with the longest names and metadata still one body and one short commit.
pub const BATCH_MAX: usize = 100;

/// First version of every row.
const FIRST_VERSION: u64 = 1;

/// A card that came in, every field checked.
pub struct NewCard {
    /// The number.
    pub pan: Pan,
    /// When it ends.
    pub expiry: Option<Expiry>,
    /// Whose it is.
    pub holder: Option<Holder>,
    /// Its verification code: memory only.
    pub cvc: Option<Cvc>,
    /// When the token stops to work; whole seconds.
    pub expires_at: Option<Timestamp>,
    /// The caller's own notes.
    pub metadata: Metadata,
}

/// What the caller gets: the cards' facts, never their numbers.
pub struct Tokenized {
    /// The answer's body, the same bytes for every replay.
    pub answer: Vec<u8>,
    /// Whether an earlier request made it.
    pub replayed: bool,
}

/// What became of one card of a request.
pub type Became<'a> = Result<CardRow, &'a OperationError>;

/// How finished cards are written for the caller: given by `http`, so that the stored answer and the sent one are one.
#[derive(Clone, Copy)]
pub struct Answer {
    /// Its HTTP status.
    pub status: u16,
    /// Its body.
    pub write: fn(&[Became<'_>]) -> Vec<u8>,
}

impl Vault {
    /// Seals a card under a new token.
    pub async fn tokenize(
        &self,
        asking: &Asking,
        permit: Permit<Tokenize>,
        card: NewCard,
        once: Option<Once>,
        answer: Answer,
    ) -> Result<Tokenized, OperationError> {
        let tenant = self.taking_tenant(&permit).await?;
        self.limits.tokenize(&asking.caller.workload, 1).map_err(|_| OperationError::RateLimited)?;
        self.accept(&tenant, &card)?;
        self.tokenize_all(asking, &permit, &tenant, vec![Ok(card)], once, answer).await
    }

    /// Seals many cards, each under a new token, in one commit. What is wrong with one is its own answer.
    pub async fn tokenize_batch(
        &self,
        asking: &Asking,
        permit: Permit<Tokenize>,
        cards: Vec<Result<NewCard, OperationError>>,
        once: Option<Once>,
        answer: Answer,
    ) -> Result<Tokenized, OperationError> {
        let tenant = self.taking_tenant(&permit).await?;
        let caller = &asking.caller.workload;
        let count = cards.len() as u64;
        let limited = if self.authorizer.load().admit::<Import>(caller).is_ok() {
            self.limits.import(caller, count)
        } else {
            self.limits.tokenize(caller, count)
        };
        limited.map_err(|_| OperationError::RateLimited)?;
        let accepted = |card| self.accept(&tenant, &card).map(|()| card);
        let cards = cards.into_iter().map(|card| card.and_then(accepted)).collect();
        self.tokenize_all(asking, &permit, &tenant, cards, once, answer).await
    }

    /// The tenant, if it takes cards: decided before anything is looked up or drawn.
    async fn taking_tenant(&self, permit: &Permit<Tokenize>) -> Result<Arc<TenantRow>, OperationError> {
        let tenant = self.tenant(&permit.subject().tenant).await?;
        tenant.filter(|row| row.status == TenantStatus::Active).ok_or(OperationError::UnknownTenant)
    }

    /// Whether this card may come in at all.
    fn accept(&self, tenant: &TenantRow, card: &NewCard) -> Result<(), OperationError> {
        self.accepted.check(&card.pan).map_err(|_| OperationError::NumberNotAccepted)?;
        let brands = tenant.settings.brands.as_ref();
        if brands.is_some_and(|brands| !brands.contains(&card.pan.brand())) {
            return Err(OperationError::BrandNotAccepted);
        }
        Ok(())
    }

    async fn tokenize_all(
        &self,
        asking: &Asking,
        permit: &Permit<Tokenize>,
        tenant: &TenantRow,
        cards: Vec<Result<NewCard, OperationError>>,
        once: Option<Once>,
        answer: Answer,
    ) -> Result<Tokenized, OperationError> {
        let drawn = cards.into_iter().map(|card| self.draw(card)).collect::<Result<Vec<_>, _>>()?;
        let (drafts, codes): (Vec<_>, Vec<_>) = drawn.into_iter().unzip();
        let repeat = match once {
            None => None,
            Some(once) => match self.begin_once(asking, &tenant.id, once, answer.status).await? {
                Repeat::First(first) => Some(first),
                Repeat::Again(stored) => return self.replay(asking, permit, stored, codes).await,
            },
        };
        let shelved = self.shelve(&drafts, codes)?;
        match self.store_new(asking, permit, tenant, &drafts, repeat.as_ref(), answer).await {
            Ok(Stored::New(answer)) => Ok(Tokenized { answer, replayed: false }),
            // Another replica was faster under the same idempotency key: its cards are the ones, these codes belong to them.
            Ok(Stored::Earlier(row)) => {
                let earlier = self.earlier_of(asking, &tenant.id, repeat, row).await;
                let tokens = earlier.as_ref().map(|stored| tokens_of(&stored.body)).unwrap_or_default();
                self.hand_over(&shelved, &tokens);
                self.replay(asking, permit, earlier?, Vec::new()).await
            }
            Err(error) => {
                self.hand_over(&shelved, &[]);
                Err(error)
            }
        }
    }

    /// A new token for a card, and the card's verification code apart from it.
    fn draw(
        &self,
        card: Result<NewCard, OperationError>,
    ) -> Result<(Result<CardDraft, OperationError>, Option<Cvc>), OperationError> {
        let NewCard { pan, expiry, holder, cvc, expires_at, metadata } = match card {
            Ok(card) => card,
            Err(error) => return Ok((Err(error), None)),
        };
        let token = Token::generate(self.environment, &*self.random)?;
        let secrets = CardSecrets { pan, expiry, holder };
        Ok((Ok(CardDraft { token, secrets, expires_at, metadata }), cvc))
    }

    /// Shelves the codes, all or none, and says by place which card has one. The tokens are not yet known to anybody,
    /// so no code can be taken before the commit.
    fn shelve(
        &self,
        drafts: &[Result<CardDraft, OperationError>],
        codes: Vec<Option<Cvc>>,
    ) -> Result<Vec<Option<TokenHash>>, OperationError> {
        let mut shelved = Vec::with_capacity(drafts.len());
        for (draft, code) in drafts.iter().zip(codes) {
            let (Ok(draft), Some(code)) = (draft, code) else {
                shelved.push(None);
                continue;
            };
            let token = draft.token.hash();
            if self.cvcs.put(token, code).is_err() {
                self.hand_over(&shelved, &[]);
                return Err(OperationError::ShelfFull);
            }
            shelved.push(Some(token));
        }
        Ok(shelved)
    }

    /// Gives each shelved code to the card at its place in `to`; without one it is wiped.
    fn hand_over(&self, shelved: &[Option<TokenHash>], to: &[Option<TokenHash>]) {
        for (place, from) in shelved.iter().enumerate() {
            match (from, to.get(place).copied().flatten()) {
                (None, _) => {}
                (Some(from), Some(to)) => self.cvcs.hand_over(*from, to),
                (Some(from), None) => self.cvcs.forget(*from),
            }
        }
    }

    /// Seals and commits. A key that is retired between the two is replaced by its successor, once.
    async fn store_new(
        &self,
        asking: &Asking,
        permit: &Permit<Tokenize>,
        tenant: &TenantRow,
        drafts: &[Result<CardDraft, OperationError>],
        repeat: Option<&First>,
        answer: Answer,
    ) -> Result<Stored, OperationError> {
        for _ in 0..2 {
            let key = self.keys.active(&KeyScope::Tenant(tenant.id.clone()), Purpose::Card).await?;
            let mut became = Vec::with_capacity(drafts.len());
            for draft in drafts {
                became.push(match draft {
                    Ok(draft) => Ok(self.seal_new(asking, tenant, &key, draft)?),
                    Err(error) => Err(error),
                });
            }
            let body = (answer.write)(&became);
            let idempotency = repeat.map(|first| Box::new(first.row(asking.at, &body)));
            let entries = Self::tokenized_entries(asking, permit, &became, &key);
            let cards = became.into_iter().flatten().collect();
            match self.committer.commit(Change::InsertCards { cards, idempotency, entries }).await? {
                Committed::Done => return Ok(Stored::New(body)),
                Committed::Replay(row) => return Ok(Stored::Earlier(row)),
                Committed::KeyNotActive => self.keys.forget(key.id),
                Committed::Conflict | Committed::Missing => {
                    return Err(OperationError::Defect("a new token was already taken"));
                }
            }
        }
        Err(OperationError::Conflict)
    }

    fn seal_new(
        &self,
        asking: &Asking,
        tenant: &TenantRow,
        key: &HeldKey,
        draft: &CardDraft,
    ) -> Result<CardRow, OperationError> {
        let CardDraft { token, secrets, expires_at, metadata } = draft;
        let facts = CardFacts::of(&secrets.pan, secrets.expiry, tenant.settings.facts);
        let context = SealContext {
            environment: self.environment,
            tenant: &tenant.id,
            token: token.hash(),
            data_key: key.id,
            facts: &facts,
            row_version: FIRST_VERSION,
            expires_at: *expires_at,
        };
        let record = seal(&key.key, &context, secrets, &*self.random)?;
        let shown = facts.bin.non_empty().is_some() || facts.last4.non_empty().is_some();
        Ok(CardRow {
            tenant: tenant.id.clone(),
            record,
            data_key: key.id,
            brand: shown.then(|| secrets.pan.brand()).filter(|brand| *brand != Brand::Unknown),
            length: shown.then(|| secrets.pan.length()),
            row_version: FIRST_VERSION,
            expires_at: *expires_at,
            metadata: metadata.clone(),
            created_at: asking.at,
            updated_at: asking.at,
            deleted_at: None,
            destroy_after: None,
            token: token.clone(),
            facts,
        })
    }

    /// One entry for each card, also for those that were refused.
    fn tokenized_entries(
        asking: &Asking,
        permit: &Permit<Tokenize>,
        became: &[Became<'_>],
        key: &HeldKey,
    ) -> Vec<Draft> {
        let tenant = || Object::Tenant(permit.subject().tenant.clone());
        let allowed = Self::allowed(asking, Event::PanTokenize, permit.decision(), tenant());
        let allowed = allowed.with_key(KeyRef::of(key.id));
        let entry = |became: &Became<'_>| match became {
            Ok(row) => {
                let object = Object::Token { token: row.token.token_ref(), tenant: Some(row.tenant.clone()) };
                allowed.clone().about(object).changing(CardChange::of(row.row_version, &row.record))
            }
            Err(error) => asking
                .entry(Event::PanTokenize, error.outcome(), tenant())
                .because(error.reason())
                .by_policy(policy_of(permit.decision())),
        };
        became.iter().map(entry).collect()
    }
}

/// A card about to be stored, checked and not yet sealed.
struct CardDraft {
    token: Token,
    secrets: CardSecrets,
    expires_at: Option<Timestamp>,
    metadata: Metadata,
}

/// What a commit made of it.
enum Stored {
    New(Vec<u8>),
    Earlier(IdempotencyRow),
}
