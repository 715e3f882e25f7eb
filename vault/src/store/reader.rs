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
use tokio::sync::{Mutex, mpsc, oneshot};

use self::meeting::{Asked, Line, Lookup, Question};
use super::error::StoreError;
use super::rows::{CardRow, IdempotencyRow};
use super::{Reading, Store};

/// Most look-ups that wait: a second of them at 10,000 a second would have timed out in the queue.
const QUEUE_MAX: usize = 4_096;
/// Most keys of one look-up: a batch of the API has 100.
const KEYS_MAX: usize = 128;
/// Connections that read, each with one query at a time. With one, every look-up waits for the one before; with more than
/// a few, none finds company.
const READINGS: usize = 2;

/// A handle to the tasks that read. Cheap to clone; the tasks end with the last handle.
#[derive(Clone, Debug)]
pub struct CardReader {
    queue: mpsc::Sender<Lookup>,
}

impl CardReader {
    /// Starts the tasks.
    #[must_use]
    pub fn start(store: Arc<dyn Store>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..READINGS {
            tokio::spawn(meeting::run(Line::new(Arc::clone(&store)), Arc::clone(&waiting)));
        }
        Self { queue }
    }

    /// The cards of these tokens, in the order asked; `None` where there is no such token. Hidden and expired cards
    /// are among them: what they mean is the operation's to say.
    pub async fn cards(&self, tokens: Vec<TokenHash>) -> Result<Vec<Option<CardRow>>, StoreError> {
        self.ask::<ByToken>(tokens).await
    }

    /// The cards these fingerprints of one tenant lead to, in the order asked; hidden and expired ones as they are.
    pub async fn known(
        &self,
        tenant: &TenantId,
        numbers: &[Fingerprint],
    ) -> Result<Vec<Option<CardRow>>, StoreError> {
        self.ask::<ByNumber>(numbers.iter().map(|number| (tenant.clone(), *number)).collect()).await
    }

    /// What was answered under this idempotency scope, if its time is not over at `now`.
    pub async fn answer(
        &self,
        scope: [u8; 32],
        now: Timestamp,
    ) -> Result<Option<IdempotencyRow>, StoreError> {
        let found = self.ask::<ByScope>(vec![scope]).await?.pop().flatten();
        Ok(found.filter(|row| row.expires_at > now))
    }

    async fn ask<Q: Question>(&self, keys: Vec<Q::Key>) -> Result<Vec<Option<Q::Row>>, StoreError> {
        if keys.len() > KEYS_MAX {
            return Err(StoreError::Full);
        }
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Q::lookup(Asked { keys, reply })).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Full,
            mpsc::error::TrySendError::Closed(_) => StoreError::Away("the readers ended"),
        })?;
        answer.await.unwrap_or(Err(StoreError::Away("the readers ended")))
    }
}

/// Cards by their tokens.
pub(super) struct ByToken;

#[async_trait]
impl Question for ByToken {
    type Key = TokenHash;
    type Row = CardRow;

    fn lookup(asked: Asked<Self>) -> Lookup {
        Lookup::Cards(asked)
    }

    async fn ask(
        reading: &mut dyn Reading,
        keys: &[TokenHash],
    ) -> Result<Vec<(TokenHash, CardRow)>, StoreError> {
        let rows = reading.cards(keys).await?;
        Ok(rows.into_iter().map(|row| (row.token.hash(), row)).collect())
    }
}

/// Cards by their numbers' fingerprints.
pub(super) struct ByNumber;

#[async_trait]
impl Question for ByNumber {
    type Key = (TenantId, Fingerprint);
    type Row = CardRow;

    fn lookup(asked: Asked<Self>) -> Lookup {
        Lookup::Known(asked)
    }

    async fn ask(
        reading: &mut dyn Reading,
        keys: &[Self::Key],
    ) -> Result<Vec<(Self::Key, CardRow)>, StoreError> {
        let mut tenants: HashMap<&TenantId, Vec<Fingerprint>> = HashMap::new();
        for (tenant, number) in keys {
            tenants.entry(tenant).or_default().push(*number);
        }
        let mut found = Vec::new();
        for (tenant, numbers) in tenants {
            let rows = reading.known(tenant, &numbers).await?;
            found.extend(rows.into_iter().map(|(number, row)| ((tenant.clone(), number), row)));
        }
        Ok(found)
    }
}

/// Stored answers by their idempotency scopes.
pub(super) struct ByScope;

#[async_trait]
impl Question for ByScope {
    type Key = [u8; 32];
    type Row = IdempotencyRow;

    fn lookup(asked: Asked<Self>) -> Lookup {
        Lookup::Answers(asked)
    }

    async fn ask(
        reading: &mut dyn Reading,
        keys: &[[u8; 32]],
    ) -> Result<Vec<([u8; 32], IdempotencyRow)>, StoreError> {
        let rows = reading.answers(keys).await?;
        Ok(rows.into_iter().map(|row| (row.scope, row)).collect())
    }
}
