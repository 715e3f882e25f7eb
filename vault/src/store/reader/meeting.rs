//! The tasks that answer look-ups: each has a connection of its own and answers whatever waits, one query for each kind.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;

use super::{ByNumber, ByScope, ByToken};
use crate::store::error::StoreError;
use crate::store::{CARDS_READ_MAX, Reading, Store};

/// Most look-ups answered by one query.
const BATCH_MAX: usize = 128;
/// How long a query may take before its connection is given up.
const READ_TIME_MAX: Duration = Duration::from_secs(5);

/// What is looked up by what.
#[async_trait]
pub(super) trait Question: Sized + 'static {
    /// What is asked for.
    type Key: Clone + Eq + Hash + Send + Sync;
    /// What it leads to.
    type Row: Clone + Send + Sync;

    /// How it is queued.
    fn lookup(asked: Asked<Self>) -> Lookup;

    /// The rows of these keys that are there, in no order. At most [`CARDS_READ_MAX`].
    async fn ask(
        reading: &mut dyn Reading,
        keys: &[Self::Key],
    ) -> Result<Vec<(Self::Key, Self::Row)>, StoreError>;
}

/// What waits.
pub(super) enum Lookup {
    Cards(Asked<ByToken>),
    Known(Asked<ByNumber>),
    Answers(Asked<ByScope>),
}

/// Keys, and who waits for their rows.
pub(super) struct Asked<Q: Question> {
    pub(super) keys: Vec<Q::Key>,
    pub(super) reply: oneshot::Sender<Result<Vec<Option<Q::Row>>, StoreError>>,
}

/// One task: ends with the last handle.
pub(super) async fn run(mut line: Line, waiting: Arc<Mutex<mpsc::Receiver<Lookup>>>) {
    loop {
        let mut lookups = Vec::new();
        if waiting.lock().await.recv_many(&mut lookups, BATCH_MAX).await == 0 {
            return;
        }
        let (mut cards, mut known, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for lookup in lookups {
            match lookup {
                Lookup::Cards(asked) => cards.push(asked),
                Lookup::Known(asked) => known.push(asked),
                Lookup::Answers(asked) => answers.push(asked),
            }
        }
        line.answer(cards).await;
        line.answer(known).await;
        line.answer(answers).await;
    }
}

/// A connection, made when it is needed.
pub(super) struct Line {
    store: Arc<dyn Store>,
    reading: Option<Box<dyn Reading>>,
}

impl Line {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, reading: None }
    }

    async fn answer<Q: Question>(&mut self, mut all: Vec<Asked<Q>>) {
        all.retain(|asked| !asked.reply.is_closed());
        if all.is_empty() {
            return;
        }
        let keys: HashSet<Q::Key> = all.iter().flat_map(|asked| asked.keys.iter().cloned()).collect();
        match self.rows::<Q>(keys).await {
            Ok(rows) => all.into_iter().for_each(|asked| asked.answer(&rows)),
            // One row that cannot be read must not fail the look-ups beside it.
            Err(StoreError::Corrupt(_)) if all.len() > 1 => {
                for asked in all {
                    match self.rows::<Q>(asked.keys.iter().cloned().collect()).await {
                        Ok(rows) => asked.answer(&rows),
                        Err(error) => drop(asked.reply.send(Err(error))),
                    }
                }
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    lookups = all.len(),
                    "a shared read failed"
                );
                for asked in all {
                    let _ = asked.reply.send(Err(match &error {
                        StoreError::Corrupt(what) => StoreError::Corrupt(what),
                        _ => StoreError::Away("a shared read failed"),
                    }));
                }
            }
        }
    }

    /// Reads rows; once more if the connection was lost, as every one is when the database restarts.
    async fn rows<Q: Question>(
        &mut self,
        keys: HashSet<Q::Key>,
    ) -> Result<HashMap<Q::Key, Q::Row>, StoreError> {
        let keys: Vec<Q::Key> = keys.into_iter().collect();
        let mut rows = HashMap::with_capacity(keys.len());
        for keys in keys.chunks(CARDS_READ_MAX) {
            let was_connected = self.reading.is_some();
            rows.extend(match self.read::<Q>(keys).await {
                Err(StoreError::Unavailable(_)) if was_connected => self.read::<Q>(keys).await?,
                other => other?,
            });
        }
        Ok(rows)
    }

    async fn read<Q: Question>(&mut self, keys: &[Q::Key]) -> Result<Vec<(Q::Key, Q::Row)>, StoreError> {
        let mut reading = match self.reading.take() {
            Some(reading) => reading,
            None => self.store.reading().await?,
        };
        let found = timeout(READ_TIME_MAX, Q::ask(reading.as_mut(), keys)).await;
        let found = found.unwrap_or(Err(StoreError::Away("a read took too long")));
        if matches!(found, Ok(_) | Err(StoreError::Corrupt(_))) {
            self.reading = Some(reading);
        }
        found
    }
}

impl<Q: Question> Asked<Q> {
    fn answer(self, rows: &HashMap<Q::Key, Q::Row>) {
        let found = self.keys.iter().map(|key| rows.get(key).cloned()).collect();
        let _ = self.reply.send(Ok(found));
    }
}
