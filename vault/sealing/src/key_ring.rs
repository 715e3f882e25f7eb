//! Unwrapped data keys, held for minutes.
//!
//! A key is fetched once for all who wait for it, refreshed in the background before it is too old, and gone when it
//! is. The KMS is never on the path of an ordinary request.
//!
//! Promises: no key is served past its maximal age; one KMS call per key and refresh however many wait; *denied* drops
//! a key at once; *unreachable* serves while keys are fresh and fails afterwards.
//! Does not promise: that a key wiped here was the only copy; a caller may hold it until its request ends.
//! Trusts: the store for availability only: scope, purpose and id of a key come from the caller and are bound in by
//! the KMS, and a key's period counts from the time inside its own id.
//! Upholds: C-12.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use strongroom_domain::{Clock, DataKeyId, Environment, Random};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::data_key::DataKey;
use crate::key::{KeyScope, Purpose, WrappedKey};
use crate::kms::{Kms, KmsError, counted};
use crate::store::KeyStore;

mod cache;
mod fetch;
#[cfg(test)]
mod tests;

use cache::{Cache, Found, Request};

/// Longest life of an unwrapped key (design §4).
const MAX_AGE_CAP: Duration = Duration::from_secs(3_600);
/// Shortest: below it the KMS would be on the path of ordinary requests.
const MAX_AGE_FLOOR: Duration = Duration::from_secs(5);
/// How often keys past their age are looked for and wiped.
const SWEEP_EVERY: Duration = Duration::from_secs(1);

/// A key, and its name for the record or digest it makes.
#[derive(Clone, Debug)]
pub struct HeldKey {
    /// Its id.
    pub id: DataKeyId,
    /// The key.
    pub key: Arc<DataKey>,
}

/// Why no key can be had.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The KMS does not answer and the key is no longer fresh. Safe to retry: 503 with Retry-After.
    #[error("the key is unavailable")]
    Unavailable,
    /// The KMS or the key's state forbids its use.
    #[error("the use of the key is denied")]
    Denied,
    /// No such key under this scope and purpose.
    #[error("no such key")]
    Unknown,
    /// The store did not answer. Safe to retry.
    #[error("the key store is unavailable")]
    Store,
    /// The wrapped key does not unwrap in its context: altered, moved, or wrapped by another KMS. Page a human.
    #[error("the wrapped key does not belong to its context")]
    Tampered,
}

/// How long and how many keys are held.
#[derive(Clone, Copy, Debug)]
pub struct KeyRingConfig {
    max_age: Duration,
    keys_max: NonZeroUsize,
}

/// The maximal age is not 5 to 3,600 seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("keys may be held for 5 to 3600 seconds")]
pub struct InvalidKeyRingConfig;

impl KeyRingConfig {
    /// Holds at most `keys_max` keys for at most `max_age` (5 s to 1 h).
    pub fn new(max_age: Duration, keys_max: NonZeroUsize) -> Result<Self, InvalidKeyRingConfig> {
        if (MAX_AGE_FLOOR..=MAX_AGE_CAP).contains(&max_age) {
            Ok(Self { max_age, keys_max })
        } else {
            Err(InvalidKeyRingConfig)
        }
    }
}

impl Default for KeyRingConfig {
    /// 300 s; 10,000 keys, which is three thousand busy tenants and under half a megabyte of locked memory.
    fn default() -> Self {
        Self { max_age: Duration::from_secs(300), keys_max: NonZeroUsize::new(10_000).expect("not zero") }
    }
}

/// The data keys of one process. A handle: clones share the keys. Needs a tokio runtime around its calls.
#[derive(Clone)]
pub struct KeyRing(Arc<Inner>);

struct Inner {
    kms: Arc<dyn Kms>,
    store: Arc<dyn KeyStore>,
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    environment: Environment,
    state: Mutex<State>,
}

struct State {
    cache: Cache,
    /// Fetches under way: who asks for the same key meanwhile waits for the same answer.
    flights: std::collections::HashMap<Request, Flight>,
    sweeper: Option<JoinHandle<()>>,
}

type Outcome = Result<HeldKey, KeyError>;
type Flight = watch::Receiver<Option<Outcome>>;

impl KeyRing {
    /// A ring with no keys yet.
    #[must_use]
    pub fn new(
        kms: Arc<dyn Kms>,
        store: Arc<dyn KeyStore>,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
        environment: Environment,
        config: KeyRingConfig,
    ) -> Self {
        let cache = Cache::new(config.max_age, config.keys_max.get());
        let state = Mutex::new(State { cache, flights: std::collections::HashMap::new(), sweeper: None });
        Self(Arc::new(Inner { kms, store, clock, random, environment, state }))
    }

    /// The key that seals for this scope and purpose now. Made on first use and when the last one's period is over.
    ///
    /// If the store then says the key is not active any more (rotated elsewhere): [`Self::forget`] it and ask again.
    pub async fn active(&self, scope: &KeyScope, purpose: Purpose) -> Result<HeldKey, KeyError> {
        self.get(Request::Active(scope.clone(), purpose)).await
    }

    /// One key, to open what it sealed.
    pub async fn by_id(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
        id: DataKeyId,
    ) -> Result<HeldKey, KeyError> {
        self.get(Request::ById(scope.clone(), purpose, id)).await
    }

    /// Makes a key for whoever keeps it: a successor of one whose period is not over. It is in no ring and seals nothing until it
    /// is the active one in the store.
    pub async fn generate(&self, scope: &KeyScope, purpose: Purpose) -> Result<WrappedKey, KeyError> {
        let (_, wrapped) = self.0.generate(scope, purpose).await?;
        Ok(wrapped)
    }

    /// Drops a key: it was rotated, suspended or destroyed.
    pub fn forget(&self, id: DataKeyId) {
        let mut state = self.0.state();
        state.cache.remove(id);
        state.cache.tell();
    }

    /// Drops every key past its age. The ring does this by itself every second.
    pub fn sweep(&self) {
        self.0.sweep();
    }

    /// The held keys and how long ago each was unwrapped.
    #[must_use]
    pub fn ages(&self) -> Vec<(DataKeyId, Duration)> {
        self.0.state().cache.ages(self.0.clock.now())
    }

    /// Whether the KMS answers and its key is usable. For readiness.
    pub async fn check(&self) -> Result<(), KmsError> {
        counted(self.0.kms.provider(), "check", self.0.kms.check()).await
    }

    async fn get(&self, request: Request) -> Outcome {
        let mut flight = {
            let mut state = self.0.state();
            match state.cache.find(&request, self.0.clock.now()) {
                Found::Fresh(held) => return Ok(held),
                Found::Aging(held) => {
                    self.join_or_start(&mut state, request);
                    return Ok(held);
                }
                Found::Paused(error) => return Err(error),
                Found::Missing => self.join_or_start(&mut state, request),
            }
        };
        let landed = flight.wait_for(Option::is_some).await;
        // A fetch that ended without an answer panicked; the next caller starts a new one.
        landed.ok().and_then(|outcome| outcome.clone()).unwrap_or(Err(KeyError::Unavailable))
    }

    /// The fetch under way for this request, or a new one. It runs in its own task: a caller that goes away does not
    /// end it for the others.
    fn join_or_start(&self, state: &mut State, request: Request) -> Flight {
        if let Some(flight) = state.flights.get(&request).filter(|flight| flight.has_changed().is_ok()) {
            return flight.clone();
        }
        let (land, flight) = watch::channel(None);
        state.flights.insert(request.clone(), flight.clone());
        let inner = Arc::clone(&self.0);
        tokio::spawn(async move {
            // Age counts from before the call: whatever the KMS takes is already part of it.
            let started = inner.clock.now();
            let result = inner.fetch(&request).await;
            let outcome = inner.settle(request, started, result);
            land.send_replace(Some(outcome));
        });
        flight
    }
}

impl std::fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRing({} keys)", self.0.state().cache.len())
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep(&self) {
        let now = self.clock.now();
        let mut state = self.state();
        state.cache.sweep(now);
        state.cache.tell();
        let oldest = state.cache.ages(now).into_iter().map(|(_, age)| age).max().unwrap_or_default();
        metrics::gauge!("strongroom_key_cache_oldest_seconds").set(oldest.as_secs_f64());
    }

    /// Puts the result of a fetch into the cache and ends the flight.
    fn settle(
        self: &Arc<Self>,
        request: Request,
        started: strongroom_domain::Timestamp,
        result: Result<fetch::Fetched, KeyError>,
    ) -> Outcome {
        let jitter = self.jitter();
        let mut state = self.state();
        state.flights.remove(&request);
        let outcome = match result {
            Ok(fetched) => Ok(state.cache.insert(&request, fetched, started, jitter)),
            Err(error) => {
                state.cache.pause(request, error, self.clock.now());
                Err(error)
            }
        };
        state.cache.tell();
        if outcome.is_ok() && state.sweeper.as_ref().is_none_or(JoinHandle::is_finished) {
            state.sweeper = Some(self.spawn_sweeper());
        }
        outcome
    }

    /// 0 to 255: spreads the refreshes of keys, and of replicas, that were fetched together.
    fn jitter(&self) -> u8 {
        let mut byte = [0];
        // Without randomness there is no spread, and nothing else is lost.
        self.random.fill(&mut byte).map_or(0, |()| byte[0])
    }

    /// Ends with the ring.
    fn spawn_sweeper(self: &Arc<Self>) -> JoinHandle<()> {
        let ring = Arc::downgrade(self);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                match ring.upgrade() {
                    Some(inner) => inner.sweep(),
                    None => return,
                }
            }
        })
    }
}
