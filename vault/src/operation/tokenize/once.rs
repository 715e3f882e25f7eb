//! The same request twice is one effect: first and later requests under one idempotency key.

use strongroom_domain::{Cvc, DataKeyId, TenantId, Timestamp, Token, TokenHash};
use strongroom_sealing::{HeldKey, KeyScope, Purpose, idempotency_digest};
use zeroize::Zeroizing;

use super::{Drafted, Tokenized};
use crate::audit::{Event, Object};
use crate::authz::{Permit, Tokenize};
use crate::operation::card::owner;
use crate::operation::idempotency::{REMEMBERED, Scope, StoredAnswer, Working};
use crate::operation::{Asking, IdempotencyKey, OperationError, Vault};
use crate::sad::CodeOwner;
use crate::store::IdempotencyRow;

/// An idempotency key with what it is compared by: the canonical body without the verification codes.
pub struct Once {
    /// The caller's key.
    pub key: IdempotencyKey,
    /// `POST /v1/…`.
    pub request: String,
    /// RFC 8785, without the verification codes.
    pub canonical_body: Zeroizing<Vec<u8>>,
}

pub(in crate::operation) enum Repeat {
    First(First),
    Again(StoredAnswer),
}

/// The first request under its idempotency key.
pub(in crate::operation) struct First {
    once: Once,
    status: u16,
    scope: Scope,
    key: DataKeyId,
    digest: [u8; 32],
    _working: Working,
}

impl First {
    pub(in crate::operation) fn row(&self, now: Timestamp, answer: &[u8]) -> IdempotencyRow {
        IdempotencyRow {
            scope: self.scope,
            digest: self.digest,
            status: self.status,
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

impl Vault {
    /// Whether this idempotency key was used before, and for the same request. `status` is that of the answer to come.
    pub(in crate::operation) async fn begin_once(
        &self,
        asking: &Asking,
        tenant: &TenantId,
        once: Once,
        status: u16,
    ) -> Result<Repeat, OperationError> {
        let scope = once.key.scope(&asking.caller.workload, tenant);
        let working = self.in_flight.begin(scope).ok_or(OperationError::IdempotencyInFlight)?;
        if let Some(row) = self.reader.answer(scope, asking.at).await? {
            return self.same_request(asking, tenant, &once, row).await.map(Repeat::Again);
        }
        let key = self.keys.active(&KeyScope::Tenant(tenant.clone()), Purpose::Idempotency).await?;
        let digest = once.digest(&key, asking, tenant);
        Ok(Repeat::First(First { once, status, scope, key: key.id, digest, _working: working }))
    }

    pub(in crate::operation) async fn earlier_of(
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

    /// What codes belong to that come with a repeat, by their card's place: the cards of the first answer that still have
    /// the number the request says.
    pub(super) async fn owners(
        &self,
        asking: &Asking,
        tenant: &TenantId,
        stored: &StoredAnswer,
        drafts: &[Drafted],
    ) -> Result<Vec<Option<CodeOwner>>, OperationError> {
        let mut owners = Vec::with_capacity(drafts.len());
        for (token, draft) in tokens_of(&stored.body).into_iter().zip(drafts) {
            let (Some(token), Ok(draft)) = (token, draft) else {
                owners.push(None);
                continue;
            };
            let card = self.live_card(tenant, token, asking.at).await?;
            owners.push(match card {
                Some(card) if self.unseal(&card).await?.pan.same_as(&draft.secrets.pan) => Some(owner(&card)),
                _ => None,
            });
        }
        Ok(owners)
    }

    /// The first answer again. Verification codes that came with the repeat, by their card's place, are attached anew:
    /// the first may be used up.
    pub(super) async fn replay(
        &self,
        asking: &Asking,
        permit: &Permit<Tokenize>,
        stored: StoredAnswer,
        drafts: &[Drafted],
        codes: Vec<Option<Cvc>>,
    ) -> Result<Tokenized, OperationError> {
        let tokens = tokens_of(&stored.body);
        let tenant = &permit.subject().tenant;
        if codes.iter().any(Option::is_some) {
            let owners = self.owners(asking, tenant, &stored, drafts).await?;
            for (owner, code) in owners.into_iter().zip(codes) {
                let (Some(owner), Some(code)) = (owner, code) else { continue };
                self.cvcs.put(owner, code).map_err(|_| OperationError::ShelfFull)?;
            }
        }
        let again = |object| Self::allowed(asking, Event::IdempotencyReplay, permit.decision(), object);
        let of = |token: TokenHash| Object::Token { token: token.token_ref(), tenant: Some(tenant.clone()) };
        let mut entries: Vec<_> = tokens.into_iter().flatten().map(|token| again(of(token))).collect();
        if entries.is_empty() {
            entries.push(again(Object::Tenant(tenant.clone())));
        }
        self.record_all(entries).await?;
        Ok(Tokenized { answer: stored.body, replayed: true })
    }
}

/// The tokens an answer gave, by their card's place: one card's, or those of a batch.
pub(in crate::operation) fn tokens_of(answer: &[u8]) -> Vec<Option<TokenHash>> {
    let answer: serde_json::Value = serde_json::from_slice(answer).unwrap_or_default();
    let token = |card: &serde_json::Value| Some(Token::parse(card.get("token")?.as_str()?).ok()?.hash());
    match answer.get("results").and_then(serde_json::Value::as_array) {
        Some(results) => results.iter().map(|result| token(result.get("card")?)).collect(),
        None => vec![token(&answer)],
    }
}
