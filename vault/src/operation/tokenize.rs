//! Tokenizing: a card goes in, a token comes out, and the number is sealed before anybody hears of it.
//!
//! Promises: an answered token is on disk with its record and its audit entry. A refused card leaves nothing but its entry.
//! Does not promise: one token per number. Dedupe is a tenant's choice and off by default.
//! Upholds: C-01, C-04, C-05, C-06.

use std::sync::Arc;

use strongroom_domain::{
    Brand, CardFacts, Cvc, DataKeyId, Expiry, Holder, Metadata, Pan, TenantId, Timestamp, Token, TokenHash,
};
use strongroom_sealing::{CardSecrets, HeldKey, KeyScope, Purpose, SealContext, idempotency_digest, seal};
use zeroize::Zeroizing;

use super::card::is_live;
use super::idempotency::{REMEMBERED, Scope, StoredAnswer, Working};
use super::{Asking, IdempotencyKey, OperationError, Vault};
use crate::audit::{CardChange, Draft, Event, KeyRef, Object};
use crate::authz::{Permit, Tokenize};
use crate::store::{CardRow, Change, Committed, IdempotencyRow, TenantRow, TenantStatus};

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

/// An idempotency key with what it is compared by: the canonical body without the verification code.
pub struct Once {
    /// The caller's key.
    pub key: IdempotencyKey,
    /// `POST /v1/…`.
    pub request: String,
    /// RFC 8785, without the verification code.
    pub canonical_body: Zeroizing<Vec<u8>>,
}

/// What the caller gets: the card's facts, never its number.
pub struct Tokenized {
    /// The answer's body, the same bytes for every replay.
    pub answer: Vec<u8>,
    /// Whether an earlier request made it.
    pub replayed: bool,
}

/// How a finished card is written for the caller: given by `http`, so that the stored answer and the sent one are one.
pub type WriteAnswer = fn(&CardRow) -> Vec<u8>;

impl Vault {
    /// Seals a card under a new token.
    pub async fn tokenize(
        &self,
        asking: &Asking,
        permit: Permit<Tokenize>,
        card: NewCard,
        once: Option<Once>,
        write: WriteAnswer,
    ) -> Result<Tokenized, OperationError> {
        let tenant = self.admit(asking, &permit, &card).await?;
        let NewCard { pan, expiry, holder, cvc, expires_at, metadata } = card;
        let repeat = match once {
            None => None,
            Some(once) => match self.begin_once(asking, &tenant.id, once).await? {
                Repeat::First(first) => Some(first),
                Repeat::Again(stored) => return self.replay(asking, &permit, stored, cvc).await,
            },
        };
        let draft = CardDraft { secrets: CardSecrets { pan, expiry, holder }, expires_at, metadata };
        let token = Token::generate(self.environment, &*self.random)?;
        // The token is not yet known to anybody, so its code cannot be taken before the commit.
        if let Some(cvc) = cvc {
            self.cvcs.put(token.hash(), cvc).map_err(|_| OperationError::ShelfFull)?;
        }
        let hash = token.hash();
        let stored = self.store_new(asking, &permit, &tenant, token, &draft, repeat.as_ref(), write).await;
        match stored {
            Ok(Stored::New(answer)) => Ok(Tokenized { answer, replayed: false }),
            // Another replica was faster under the same idempotency key: its card is the one, this code belongs to it.
            Ok(Stored::Earlier(row)) => {
                let earlier = self.earlier_of(asking, &tenant.id, repeat, row).await;
                match earlier.as_ref().ok().and_then(|stored| token_of(&stored.body)) {
                    Some(to) => self.cvcs.hand_over(hash, to),
                    None => self.cvcs.forget(hash),
                }
                self.replay(asking, &permit, earlier?, None).await
            }
            Err(error) => {
                self.cvcs.forget(hash);
                Err(error)
            }
        }
    }

    /// Whether this card may come in at all: decided before anything is looked up or drawn.
    async fn admit(
        &self,
        asking: &Asking,
        permit: &Permit<Tokenize>,
        card: &NewCard,
    ) -> Result<Arc<TenantRow>, OperationError> {
        let tenant = self.tenant(&permit.subject().tenant).await?;
        let tenant =
            tenant.filter(|row| row.status == TenantStatus::Active).ok_or(OperationError::UnknownTenant)?;
        self.limits.tokenize(&asking.caller.workload).map_err(|_| OperationError::RateLimited)?;
        self.accepted.check(&card.pan).map_err(|_| OperationError::NumberNotAccepted)?;
        let brands = tenant.settings.brands.as_ref();
        if brands.is_some_and(|brands| !brands.contains(&card.pan.brand())) {
            return Err(OperationError::BrandNotAccepted);
        }
        Ok(tenant)
    }

    /// Seals and commits. A key that is retired between the two is replaced by its successor, once.
    #[expect(clippy::too_many_arguments, reason = "one commit's parts, each checked elsewhere")]
    async fn store_new(
        &self,
        asking: &Asking,
        permit: &Permit<Tokenize>,
        tenant: &TenantRow,
        token: Token,
        draft: &CardDraft,
        repeat: Option<&First>,
        write: WriteAnswer,
    ) -> Result<Stored, OperationError> {
        for _ in 0..2 {
            let key = self.keys.active(&KeyScope::Tenant(tenant.id.clone()), Purpose::Card).await?;
            let row = self.seal_new(asking, tenant, &key, token.clone(), draft)?;
            let answer = write(&row);
            let idempotency = repeat.map(|first| Box::new(first.row(asking.at, &answer)));
            let entry = Self::tokenized_entry(asking, permit, &row, &key);
            let change = Change::InsertCard { card: Box::new(row), idempotency, entry };
            match self.committer.commit(change).await? {
                Committed::Done => return Ok(Stored::New(answer)),
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
        token: Token,
        draft: &CardDraft,
    ) -> Result<CardRow, OperationError> {
        let CardDraft { secrets, expires_at, metadata } = draft;
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
            token,
            facts,
        })
    }

    fn tokenized_entry(asking: &Asking, permit: &Permit<Tokenize>, row: &CardRow, key: &HeldKey) -> Draft {
        let object = Object::Token { token: row.token.token_ref(), tenant: Some(row.tenant.clone()) };
        Self::allowed(asking, Event::PanTokenize, permit.decision(), object)
            .with_key(KeyRef::of(key.id))
            .changing(CardChange::of(row.row_version, &row.record))
    }

    /// Whether this idempotency key was used before, and for the same request.
    async fn begin_once(
        &self,
        asking: &Asking,
        tenant: &TenantId,
        once: Once,
    ) -> Result<Repeat, OperationError> {
        let scope = once.key.scope(&asking.caller.workload, tenant);
        let working = self.in_flight.begin(scope).ok_or(OperationError::IdempotencyInFlight)?;
        if let Some(row) = self.store.idempotent(&scope, asking.at).await? {
            return self.same_request(asking, tenant, &once, row).await.map(Repeat::Again);
        }
        let key = self.keys.active(&KeyScope::Tenant(tenant.clone()), Purpose::Idempotency).await?;
        let digest = once.digest(&key, asking, tenant);
        Ok(Repeat::First(First { once, scope, key: key.id, digest, _working: working }))
    }

    async fn earlier_of(
        &self,
        asking: &Asking,
        tenant: &TenantId,
        first: Option<First>,
        row: IdempotencyRow,
    ) -> Result<StoredAnswer, OperationError> {
        let first = first.ok_or(OperationError::Defect("a replay without an idempotency key"))?;
        self.same_request(asking, tenant, &first.once, row).await
    }

    /// The stored answer, if it is this request's. Its digest was keyed by the key of its time.
    async fn same_request(
        &self,
        asking: &Asking,
        tenant: &TenantId,
        once: &Once,
        row: IdempotencyRow,
    ) -> Result<StoredAnswer, OperationError> {
        let stored = StoredAnswer::read(&row.answer)
            .ok_or(OperationError::Defect("a stored answer cannot be read"))?;
        let scope = KeyScope::Tenant(tenant.clone());
        let key = self.keys.by_id(&scope, Purpose::Idempotency, stored.key).await?;
        if once.digest(&key, asking, tenant) == row.digest {
            Ok(stored)
        } else {
            Err(OperationError::IdempotencyKeyReused)
        }
    }

    /// The first answer again. A verification code that came with the repeat is attached anew: the first may be used up.
    async fn replay(
        &self,
        asking: &Asking,
        permit: &Permit<Tokenize>,
        stored: StoredAnswer,
        cvc: Option<Cvc>,
    ) -> Result<Tokenized, OperationError> {
        let token = token_of(&stored.body).ok_or(OperationError::Defect("a stored answer holds no token"))?;
        let tenant = &permit.subject().tenant;
        if let Some(cvc) = cvc {
            let card = self.store.card(tenant, token).await?;
            if card.is_some_and(|card| is_live(&card, asking.at)) {
                self.cvcs.put(token, cvc).map_err(|_| OperationError::ShelfFull)?;
            }
        }
        let object = Object::Token { token: token.token_ref(), tenant: Some(tenant.clone()) };
        self.record(Self::allowed(asking, Event::IdempotencyReplay, permit.decision(), object)).await?;
        Ok(Tokenized { answer: stored.body, replayed: true })
    }
}

/// A card about to be stored, checked and not yet sealed.
struct CardDraft {
    secrets: CardSecrets,
    expires_at: Option<Timestamp>,
    metadata: Metadata,
}

/// What a commit made of it.
enum Stored {
    New(Vec<u8>),
    Earlier(IdempotencyRow),
}

enum Repeat {
    First(First),
    Again(StoredAnswer),
}

/// The first request under its idempotency key.
struct First {
    once: Once,
    scope: Scope,
    key: DataKeyId,
    digest: [u8; 32],
    _working: Working,
}

impl First {
    fn row(&self, now: Timestamp, answer: &[u8]) -> IdempotencyRow {
        IdempotencyRow {
            scope: self.scope,
            digest: self.digest,
            status: 201,
            answer: StoredAnswer { key: self.key, body: answer.to_vec() }.write(),
            expires_at: now.plus(REMEMBERED),
        }
    }
}

impl Once {
    fn digest(&self, key: &HeldKey, asking: &Asking, tenant: &TenantId) -> [u8; 32] {
        let caller = asking.caller.workload.as_str();
        idempotency_digest(&key.key, caller, tenant.as_str(), &self.request, &self.canonical_body)
    }
}

fn token_of(answer: &[u8]) -> Option<TokenHash> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    Some(Token::parse(answer.get("token")?.as_str()?).ok()?.hash())
}
