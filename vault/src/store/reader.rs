//! Reads that many requests make at once meet here: look-ups in flight while a query runs join the next one (design §9).
//!
//! Promises: a look-up is answered by a query that began after it was made. However many ask at once, few connections are
//! waited for, so a crowd is never taken for a database that is away.

mod meeting;

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use strongroom_domain::{TenantId, Timestamp, TokenHash};
use strongroom_sealing::Fingerprint;

use self::meeting::{Meeting, Question};
use super::Store;
use super::error::StoreError;
use super::rows::{CardRow, IdempotencyRow};

/// A handle to the tasks that read. Cheap to clone; the tasks end with the last handle.
#[derive(Clone, Debug)]
pub struct CardReader {
    cards: Meeting<ByToken>,
    known: Meeting<ByNumber>,
    answers: Meeting<ByScope>,
}

impl CardReader {
    /// Starts the tasks.
    #[must_use]
    pub fn start(store: Arc<dyn Store>) -> Self {
        Self { cards: Meeting::start(&store), known: Meeting::start(&store), answers: Meeting::start(&store) }
    }

    /// The cards of these tokens, in the order asked; `None` where there is no such token. Hidden and expired cards
    /// are among them: what they mean is the operation's to say.
    pub async fn cards(&self, tokens: Vec<TokenHash>) -> Result<Vec<Option<CardRow>>, StoreError> {
        self.cards.ask(tokens).await
    }

    /// The cards these fingerprints of one tenant lead to, in the order asked; hidden and expired ones as they are.
    pub async fn known(
        &self,
        tenant: &TenantId,
        numbers: &[Fingerprint],
    ) -> Result<Vec<Option<CardRow>>, StoreError> {
        self.known.ask(numbers.iter().map(|number| (tenant.clone(), *number)).collect()).await
    }

    /// What was answered under this idempotency scope, if its time is not over at `now`.
    pub async fn answer(
        &self,
        scope: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<IdempotencyRow>, StoreError> {
        let found = self.answers.ask(vec![scope]).await?.pop().flatten();
        Ok(found.filter(|row| row.expires_at > now))
    }
}

/// Cards by their tokens.
struct ByToken;

#[async_trait]
impl Question for ByToken {
    type Key = TokenHash;
    type Row = CardRow;

    async fn ask(store: &dyn Store, keys: &[TokenHash]) -> Result<Vec<(TokenHash, CardRow)>, StoreError> {
        let rows = store.cards(keys).await?;
        Ok(rows.into_iter().map(|row| (row.token.hash(), row)).collect())
    }
}

/// Cards by their numbers' fingerprints.
struct ByNumber;

#[async_trait]
impl Question for ByNumber {
    type Key = (TenantId, Fingerprint);
    type Row = CardRow;

    async fn ask(store: &dyn Store, keys: &[Self::Key]) -> Result<Vec<(Self::Key, CardRow)>, StoreError> {
        let mut tenants: HashMap<&TenantId, Vec<Fingerprint>> = HashMap::new();
        for (tenant, number) in keys {
            tenants.entry(tenant).or_default().push(*number);
        }
        let mut found = Vec::new();
        for (tenant, numbers) in tenants {
            let rows = store.known(tenant, &numbers).await?;
            found.extend(rows.into_iter().map(|(number, row)| ((tenant.clone(), number), row)));
        }
        Ok(found)
    }
}

/// Stored answers by their idempotency scopes.
struct ByScope;

#[async_trait]
impl Question for ByScope {
    type Key = [u8; 32];
    type Row = IdempotencyRow;

    async fn ask(
        store: &dyn Store,
        keys: &[[u8; 32]],
    ) -> Result<Vec<([u8; 32], IdempotencyRow)>, StoreError> {
        let rows = store.answers(keys).await?;
        Ok(rows.into_iter().map(|row| (row.scope, row)).collect())
    }
}
