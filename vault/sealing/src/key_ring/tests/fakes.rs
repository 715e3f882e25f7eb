//! A clock, a KMS and a store that do as they are told.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strongroom_domain::{Clock, DataKeyId, Timestamp};
use tokio::sync::Semaphore;

use crate::data_key::DataKey;
use crate::key::{KeyContext, KeyScope, KeyState, Purpose, WrappedKey};
use crate::kms::{Kms, KmsError, Wrapped};
use crate::store::{KeyStore, KeyStoreError};

pub(super) struct FakeClock(pub(super) AtomicI64);

impl FakeClock {
    pub(super) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as i64, Ordering::SeqCst);
    }

    pub(super) fn step_back(&self, by: Duration) {
        self.0.fetch_sub(by.as_micros() as i64, Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(self.0.load(Ordering::SeqCst))
    }
}

/// Remembers what it wrapped under which context. Errors are told beforehand; calls wait while the gate is shut.
pub(super) struct FakeKms {
    pub(super) wrapped: Mutex<HashMap<Vec<u8>, (KeyContext, u8)>>,
    pub(super) errors: Mutex<VecDeque<KmsError>>,
    pub(super) always: Mutex<Option<KmsError>>,
    pub(super) panics: AtomicUsize,
    pub(super) gate: Semaphore,
    pub(super) generated: AtomicUsize,
    pub(super) unwrapped: AtomicUsize,
}

impl FakeKms {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            wrapped: Mutex::default(),
            errors: Mutex::default(),
            always: Mutex::default(),
            panics: AtomicUsize::new(0),
            gate: Semaphore::new(Semaphore::MAX_PERMITS),
            generated: AtomicUsize::new(0),
            unwrapped: AtomicUsize::new(0),
        })
    }

    pub(super) fn calls(&self) -> (usize, usize) {
        (self.generated.load(Ordering::SeqCst), self.unwrapped.load(Ordering::SeqCst))
    }

    pub(super) fn say(&self, error: Option<KmsError>) {
        *self.always.lock().unwrap() = error;
    }

    pub(super) fn shut(&self) {
        self.gate.forget_permits(Semaphore::MAX_PERMITS);
    }

    pub(super) async fn pass(&self) -> Result<(), KmsError> {
        drop(self.gate.acquire().await.unwrap());
        assert_eq!(self.panics.swap(0, Ordering::SeqCst), 0, "told to panic");
        if let Some(error) = self.errors.lock().unwrap().pop_front() {
            return Err(error);
        }
        self.always.lock().unwrap().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl Kms for FakeKms {
    fn provider(&self) -> &'static str {
        "fake"
    }

    async fn generate_data_key(&self, context: &KeyContext) -> Result<(DataKey, Wrapped), KmsError> {
        let number = self.generated.fetch_add(1, Ordering::SeqCst);
        self.pass().await?;
        let byte = u8::try_from(number + 1).unwrap();
        let blob = vec![byte; 8];
        self.wrapped.lock().unwrap().insert(blob.clone(), (context.clone(), byte));
        Ok((DataKey::take(&mut [byte; 32]), Wrapped { bytes: blob, kms_key: "fake:1".to_owned() }))
    }

    async fn unwrap(&self, context: &KeyContext, wrapped: &[u8], _: &str) -> Result<DataKey, KmsError> {
        self.unwrapped.fetch_add(1, Ordering::SeqCst);
        self.pass().await?;
        match self.wrapped.lock().unwrap().get(wrapped) {
            Some((known, byte)) if known == context => Ok(DataKey::take(&mut [*byte; 32])),
            _ => Err(KmsError::Mismatch),
        }
    }

    async fn check(&self) -> Result<(), KmsError> {
        self.pass().await
    }
}

#[derive(Default)]
pub(super) struct FakeStore {
    pub(super) rows: Mutex<Vec<WrappedKey>>,
    pub(super) down: Mutex<bool>,
    pub(super) reads: AtomicUsize,
}

impl FakeStore {
    pub(super) fn up(&self) -> Result<(), KeyStoreError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        if *self.down.lock().unwrap() { Err(KeyStoreError) } else { Ok(()) }
    }

    pub(super) fn change(&self, id: DataKeyId, change: impl FnOnce(&mut WrappedKey)) {
        change(self.rows.lock().unwrap().iter_mut().find(|row| row.id == id).unwrap());
    }

    pub(super) fn set_state(&self, id: DataKeyId, state: KeyState) {
        self.change(id, |row| row.state = state);
    }

    pub(super) fn state_of(&self, id: DataKeyId) -> KeyState {
        self.rows.lock().unwrap().iter().find(|row| row.id == id).unwrap().state
    }
}

#[async_trait]
impl KeyStore for FakeStore {
    async fn active_key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
    ) -> Result<Option<WrappedKey>, KeyStoreError> {
        self.up()?;
        let rows = self.rows.lock().unwrap();
        let mine = rows.iter().filter(|row| row.scope == *scope && row.purpose == purpose);
        Ok(mine.filter(|row| row.state == KeyState::Active).max_by_key(|row| row.created_at).cloned())
    }

    async fn key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
        id: DataKeyId,
    ) -> Result<Option<WrappedKey>, KeyStoreError> {
        self.up()?;
        let rows = self.rows.lock().unwrap();
        Ok(rows.iter().find(|row| row.scope == *scope && row.purpose == purpose && row.id == id).cloned())
    }

    async fn insert_key_if_first(&self, key: WrappedKey) -> Result<WrappedKey, KeyStoreError> {
        self.up()?;
        let mut rows = self.rows.lock().unwrap();
        let mine = |row: &&mut WrappedKey| {
            row.scope == key.scope && row.purpose == key.purpose && row.state == KeyState::Active
        };
        if let Some(winner) = rows.iter_mut().filter(mine).find(|row| row.seals_until > key.created_at) {
            return Ok(winner.clone());
        }
        rows.iter_mut().filter(mine).for_each(|row| row.state = KeyState::Deactivated);
        rows.push(key.clone());
        Ok(key)
    }
}
