//! Look-ups of one kind: a bounded queue, and the few tasks that answer whatever waits with one query.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};

use crate::store::error::StoreError;
use crate::store::{CARDS_READ_MAX, Store};

/// Most look-ups that wait: a second of them at 10,000 a second would have timed out in the queue.
const QUEUE_MAX: usize = 4_096;
/// Most look-ups answered by one query.
const BATCH_MAX: usize = 128;
/// Most keys of one look-up: a batch of the API has 100.
const KEYS_MAX: usize = 128;
/// Queries at once. With one, every look-up waits for the one before; with more than a few, none finds company.
const QUERIES: usize = 2;

/// What is looked up by what.
#[async_trait]
pub(super) trait Question: 'static {
    /// What is asked for.
    type Key: Clone + Eq + Hash + Send + Sync;
    /// What it leads to.
    type Row: Clone + Send + Sync;

    /// The rows of these keys that are there, in no order. At most [`CARDS_READ_MAX`].
    async fn ask(store: &dyn Store, keys: &[Self::Key]) -> Result<Vec<(Self::Key, Self::Row)>, StoreError>;
}

/// Where look-ups of one kind meet.
pub(super) struct Meeting<Q: Question> {
    queue: mpsc::Sender<Lookup<Q>>,
}

struct Lookup<Q: Question> {
    keys: Vec<Q::Key>,
    reply: oneshot::Sender<Result<Vec<Option<Q::Row>>, StoreError>>,
}

impl<Q: Question> Clone for Meeting<Q> {
    fn clone(&self) -> Self {
        Self { queue: self.queue.clone() }
    }
}

impl<Q: Question> std::fmt::Debug for Meeting<Q> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Meeting").finish_non_exhaustive()
    }
}

impl<Q: Question> Meeting<Q> {
    /// Starts the tasks; they end with the last handle.
    pub(super) fn start(store: &Arc<dyn Store>) -> Self {
        let (queue, waiting) = mpsc::channel(QUEUE_MAX);
        let waiting = Arc::new(Mutex::new(waiting));
        for _ in 0..QUERIES {
            tokio::spawn(run(Arc::clone(store), Arc::clone(&waiting)));
        }
        Self { queue }
    }

    /// What these keys lead to, in the order asked.
    pub(super) async fn ask(&self, keys: Vec<Q::Key>) -> Result<Vec<Option<Q::Row>>, StoreError> {
        if keys.len() > KEYS_MAX {
            return Err(StoreError::Full);
        }
        let (reply, answer) = oneshot::channel();
        self.queue.try_send(Lookup { keys, reply }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StoreError::Full,
            mpsc::error::TrySendError::Closed(_) => StoreError::Away("the readers ended"),
        })?;
        answer.await.unwrap_or(Err(StoreError::Away("the readers ended")))
    }
}

async fn run<Q: Question>(store: Arc<dyn Store>, waiting: Arc<Mutex<mpsc::Receiver<Lookup<Q>>>>) {
    loop {
        let mut lookups = Vec::new();
        if waiting.lock().await.recv_many(&mut lookups, BATCH_MAX).await == 0 {
            return;
        }
        lookups.retain(|lookup| !lookup.reply.is_closed());
        answer_all(store.as_ref(), lookups).await;
    }
}

async fn answer_all<Q: Question>(store: &dyn Store, lookups: Vec<Lookup<Q>>) {
    let keys: HashSet<Q::Key> = lookups.iter().flat_map(|lookup| lookup.keys.iter().cloned()).collect();
    match read::<Q>(store, keys).await {
        Ok(rows) => lookups.into_iter().for_each(|lookup| lookup.answer(&rows)),
        // One row that cannot be read must not fail the look-ups beside it.
        Err(StoreError::Corrupt(_)) if lookups.len() > 1 => {
            for lookup in lookups {
                match read::<Q>(store, lookup.keys.iter().cloned().collect()).await {
                    Ok(rows) => lookup.answer(&rows),
                    Err(error) => drop(lookup.reply.send(Err(error))),
                }
            }
        }
        Err(error) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                lookups = lookups.len(),
                "a shared read failed"
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

impl<Q: Question> Lookup<Q> {
    fn answer(self, rows: &HashMap<Q::Key, Q::Row>) {
        let found = self.keys.iter().map(|key| rows.get(key).cloned()).collect();
        let _ = self.reply.send(Ok(found));
    }
}

/// Reads rows; once more if the connection was lost, as every pooled one is when the database restarts.
async fn read<Q: Question>(
    store: &dyn Store,
    keys: HashSet<Q::Key>,
) -> Result<HashMap<Q::Key, Q::Row>, StoreError> {
    let keys: Vec<Q::Key> = keys.into_iter().collect();
    let mut rows = HashMap::with_capacity(keys.len());
    for keys in keys.chunks(CARDS_READ_MAX) {
        rows.extend(match Q::ask(store, keys).await {
            Err(StoreError::Unavailable(_)) => Q::ask(store, keys).await?,
            other => other?,
        });
    }
    Ok(rows)
}
