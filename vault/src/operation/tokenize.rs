//! Tokenizing: a card goes in, a token comes out, and the number is sealed before anybody hears of it.
//!
//! Promises: an answered token is on disk with its record and its audit entry. A refused card leaves nothing but its entry.
//! Does not promise: one token per number. Dedupe is a tenant's choice and off by default.
//! Upholds: C-01, C-04, C-05, C-06.

use strongroom_domain::{
    Brand, CardFacts, Cvc, Expiry, Holder, Metadata, Pan, TenantId, Timestamp, Token, TokenHash,
};
use strongroom_sealing::{CardSecrets, HeldKey, KeyScope, Purpose, SealContext, idempotency_digest, seal};
use zeroize::Zeroizing;

use super::idempotency::{REMEMBERED, Scope, Working};
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
        let tenant_id = permit.subject().tenant.clone();
        let tenant = self.tenant(&tenant_id).await?.filter(|row| row.status == TenantStatus::Active);
        let tenant = tenant.ok_or(OperationError::UnknownTenant)?;
        self.limits.tokenize(&asking.caller.workload).map_err(|_| OperationError::RateLimited)?;
        self.accepted.check(&card.pan).map_err(|_| OperationError::NumberNotAccepted)?;
        let brands = tenant.settings.brands.as_ref();
        if brands.is_some_and(|brands| !brands.contains(&card.pan.brand())) {
            return Err(OperationError::BrandNotAccepted);
        }
        let NewCard { pan, expiry, holder, mut cvc, expires_at, metadata } = card;
        let repeat = match once {
            None => None,
            Some(once) => match self.repeat_of(asking, &tenant_id, once).await? {
                Repeat::First { scope, digest, working } => Some((scope, digest, working)),
                Repeat::Again(row) => return self.replay(asking, &permit, row, cvc.take()).await,
            },
        };
        let key = self.keys.active(&KeyScope::Tenant(tenant_id.clone()), Purpose::Card).await?;
        let secrets = CardSecrets { pan, expiry, holder };
        let row = self.seal_new(asking, &tenant, &key, secrets, expires_at, metadata)?;
        let answer = write(&row);
        let token = row.token.hash();
        // The token is not yet known to anybody, so its code cannot be taken before the commit.
        if let Some(cvc) = cvc.take() {
            self.cvcs.put(token, cvc).map_err(|_| OperationError::ShelfFull)?;
        }
        let idempotency = repeat.as_ref().map(|(scope, digest, _)| {
            Box::new(IdempotencyRow {
                scope: *scope,
                digest: *digest,
                status: 201,
                answer: answer.clone(),
                expires_at: asking.at.plus(REMEMBERED),
            })
        });
        let digest = repeat.as_ref().map(|(_, digest, _)| *digest);
        let entry = Self::tokenized_entry(asking, &permit, &row, &key);
        let committed =
            self.committer.commit(Change::InsertCard { card: Box::new(row), idempotency, entry }).await;
        if !matches!(committed, Ok(Committed::Done)) {
            self.cvcs.forget(token);
        }
        match committed? {
            Committed::Done => Ok(Tokenized { answer, replayed: false }),
            // Another replica was faster under the same key.
            Committed::Replay(row) if Some(row.digest) == digest => {
                self.replay(asking, &permit, row, None).await
            }
            Committed::Replay(_) => Err(OperationError::IdempotencyKeyReused),
            // The key was retired between sealing and commit; the caller's retry finds its successor.
            Committed::KeyNotActive => {
                self.keys.forget(key.id);
                Err(OperationError::Conflict)
            }
            Committed::Conflict | Committed::Missing => {
                Err(OperationError::Defect("a new token was already taken"))
            }
        }
    }

    fn seal_new(
        &self,
        asking: &Asking,
        tenant: &TenantRow,
        key: &HeldKey,
        secrets: CardSecrets,
        expires_at: Option<Timestamp>,
        metadata: Metadata,
    ) -> Result<CardRow, OperationError> {
        let token = Token::generate(self.environment, &*self.random)?;
        let facts = CardFacts::of(&secrets.pan, secrets.expiry, tenant.settings.facts);
        let context = SealContext {
            environment: self.environment,
            tenant: &tenant.id,
            token: token.hash(),
            data_key: key.id,
            facts: &facts,
            row_version: FIRST_VERSION,
            expires_at,
        };
        let record = seal(&key.key, &context, &secrets, &*self.random)?;
        let shown = facts.bin.non_empty().is_some() || facts.last4.non_empty().is_some();
        Ok(CardRow {
            tenant: tenant.id.clone(),
            record,
            data_key: key.id,
            brand: shown.then(|| secrets.pan.brand()).filter(|brand| *brand != Brand::Unknown),
            length: shown.then(|| secrets.pan.length()),
            row_version: FIRST_VERSION,
            expires_at,
            metadata,
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

    /// Whether this key was used before, and for the same request.
    async fn repeat_of(
        &self,
        asking: &Asking,
        tenant: &TenantId,
        once: Once,
    ) -> Result<Repeat, OperationError> {
        let caller = &asking.caller.workload;
        let scope = once.key.scope(caller, tenant);
        let working = self.in_flight.begin(scope).ok_or(OperationError::IdempotencyInFlight)?;
        let key = self.keys.active(&KeyScope::Tenant(tenant.clone()), Purpose::Idempotency).await?;
        let digest = idempotency_digest(
            &key.key,
            caller.as_str(),
            tenant.as_str(),
            &once.request,
            &once.canonical_body,
        );
        match self.store.idempotent(&scope, asking.at).await? {
            None => Ok(Repeat::First { scope, digest, working }),
            Some(row) if row.digest == digest => Ok(Repeat::Again(row)),
            Some(_) => Err(OperationError::IdempotencyKeyReused),
        }
    }

    /// The first answer again. A verification code that came with the repeat is attached anew: the first may be used up.
    async fn replay(
        &self,
        asking: &Asking,
        permit: &Permit<Tokenize>,
        row: IdempotencyRow,
        cvc: Option<Cvc>,
    ) -> Result<Tokenized, OperationError> {
        let token = token_of(&row.answer).ok_or(OperationError::Defect("a stored answer holds no token"))?;
        let tenant = &permit.subject().tenant;
        let card = self.store.card(tenant, token).await?;
        if let (Some(cvc), Some(_)) = (cvc, card.filter(|card| card.deleted_at.is_none())) {
            self.cvcs.put(token, cvc).map_err(|_| OperationError::ShelfFull)?;
        }
        let object = Object::Token { token: token.token_ref(), tenant: Some(tenant.clone()) };
        let entry = Self::allowed(asking, Event::IdempotencyReplay, permit.decision(), object);
        self.record(entry).await?;
        Ok(Tokenized { answer: row.answer, replayed: true })
    }
}

enum Repeat {
    First { scope: Scope, digest: [u8; 32], working: Working },
    Again(IdempotencyRow),
}

fn token_of(answer: &[u8]) -> Option<TokenHash> {
    let answer: serde_json::Value = serde_json::from_slice(answer).ok()?;
    Some(Token::parse(answer.get("token")?.as_str()?).ok()?.hash())
}
