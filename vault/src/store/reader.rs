//! Reads of cards meet here: look-ups in flight while a query runs join the next one (design §9).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use strongroom_domain::TokenHash;
use tokio::sync::{Mutex, mpsc, oneshot};

use super::error::StoreError;
use super::rows::CardRow;
use super::{CARDS_READ_MAX, Store};

/// Most look-ups that wait: a second of them at 10,000 a second would have timed out in the queue.
const QUEUE_MAX: usize = 4_096;
/// Most look-ups answered by one query.
const BATCH_MAX: usize = 128;
/// Most tokens of one look-up: a batch look-up of the API has 100.
const TOKENS_MAX: usize = 128;
/// Queries at once. With one, every look-up waits for the one before; with more than a few, none finds company.
const QUERIES: usize = 2;

/// A handle to the tasks that read cards. Cheap to clone; the tasks end with the last handle.
#[derive(Clone, Debug)]
pub struct CardReader {
    queue: mpsc::Sender<Lookup>,
}

#[derive(Debug)]
struct Lookup {
    tokens: Vec<TokenHash>,
    reply: oneshot::Sender<Result<Vec<Option<CardRow>>, StoreError>>,
}

impl CardReader {
    /// Starts the tasks.
    #[must_use]
    pub fn start(store: Arc<dyn Store>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..QUERIES {
            tokio::spawn(run(Arc::clone(&store), Arc::clone(&waiting)));
        }
        Self { queue }
    }

    /// The cards of these tokens, in the order asked; `None` where there is no such token. Hidden and expired cards
    /// are among them: what they mean is the operation's to say.
    pub async fn cards(&self, tokens: Vec<TokenHash>) -> Result<Vec<Option<CardRow>>, StoreError> {
        if tokens.len() > TOKENS_MAX {
            return Err(StoreError::Full);
        }
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Lookup { tokens, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Full,
            mpsc::error::TrySendError::Closed(_) => StoreError::Away("the readers ended"),
        })?;
        answer.await.unwrap_or(Err(StoreError::Away("the readers ended")))
    }
}

async fn run(store: Arc<dyn Store>, waiting: Arc<Mutex<mpsc::Receiver<Lookup>>>) {
    loop {
        let mut lookups = Vec::new();
        if waiting.lock().await.recv_many(&mut lookups, BATCH_MAX).await == 0 {
            return;
        }
        lookups.retain(|lookup| !lookup.reply.is_closed());
        answer_all(store.as_ref(), lookups).await;
    }
}

async fn answer_all(store: &dyn Store, lookups: Vec<Lookup>) {
    let tokens: HashSet<TokenHash> =
        lookups.iter().flat_map(|lookup| lookup.tokens.iter().copied()).collect();
    match read(store, &tokens).await {
        Ok(cards) => {
            for lookup in lookups {
                let found = lookup.tokens.iter().map(|token| cards.get(token).cloned()).collect();
                let _ = lookup.reply.send(Ok(found));
            }
        }
        // One row that cannot be read must not fail the look-ups beside it.
        Err(StoreError::Corrupt(_)) if lookups.len() > 1 => {
            for lookup in lookups {
                let tokens = lookup.tokens.iter().copied().collect();
                let found = read(store, &tokens)
                    .await
                    .map(|cards| lookup.tokens.iter().map(|token| cards.get(token).cloned()).collect());
                let _ = lookup.reply.send(found);
            }
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                lookups = lookups.len(),
                "cards were not read"
            );
            for lookup in lookups {
                let _ = lookup.reply.send(Err(match &error {
                    StoreError::Corrupt(what) => StoreError::Corrupt(what),
                    _ => StoreError::Away("a shared read failed"),
                }));
            }
        }
    }
}

/// Reads cards; once more if the connection was lost, as every pooled one is when the database restarts.
async fn read(
    store: &dyn Store,
    tokens: &HashSet<TokenHash>,
) -> Result<HashMap<TokenHash, CardRow>, StoreError> {
    let tokens: Vec<TokenHash> = tokens.iter().copied().collect();
    let mut cards = HashMap::with_capacity(tokens.len());
    for tokens in tokens.chunks(CARDS_READ_MAX) {
        let rows = match store.cards(tokens).await {
            Err(StoreError::Unavailable(_)) => store.cards(tokens).await?,
            other => other?,
        };
        cards.extend(rows.into_iter().map(|row| (row.token.hash(), row)));
    }
    Ok(cards)
}
