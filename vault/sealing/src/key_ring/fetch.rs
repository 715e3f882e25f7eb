//! Getting a key the ring does not hold: from the store and the KMS, or newly made.

use std::sync::Arc;

use strongroom_domain::{DataKeyId, Timestamp};

use super::cache::Request;
use super::{HeldKey, Inner, KeyError};
use crate::data_key::DataKey;
use crate::key::{KeyContext, KeyScope, KeyState, Purpose, WrappedKey};
use crate::kms::{KmsError, counted};
use crate::store::KeyStoreError;

/// A key, and until when it seals if it is the active one.
pub(super) struct Fetched {
    pub(super) held: HeldKey,
    /// Whether the KMS was asked. If not, the key keeps the age it has.
    pub(super) from_kms: bool,
    pub(super) seals_until: Option<Timestamp>,
}

impl From<KeyStoreError> for KeyError {
    fn from(KeyStoreError: KeyStoreError) -> Self {
        Self::Store
    }
}

impl From<KmsError> for KeyError {
    fn from(error: KmsError) -> Self {
        match error {
            KmsError::Denied => Self::Denied,
            KmsError::Mismatch => Self::Tampered,
            KmsError::Unreachable
            | KmsError::Throttled
            | KmsError::Credentials
            | KmsError::Unexpected
            | KmsError::NoRandomness => Self::Unavailable,
        }
    }
}

impl Inner {
    pub(super) async fn fetch(&self, request: &Request) -> Result<Fetched, KeyError> {
        let result = match request {
            Request::Active(scope, purpose) => self.fetch_active(scope, *purpose).await,
            Request::ById(scope, purpose, id) => self.fetch_by_id(scope, *purpose, *id).await,
        };
        if let Err(error) = &result {
            let (Request::Active(scope, purpose) | Request::ById(scope, purpose, _)) = request;
            tracing::warn!(%scope, %purpose, %error, "no data key");
        }
        result
    }

    async fn fetch_by_id(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
        id: DataKeyId,
    ) -> Result<Fetched, KeyError> {
        let row = match self.store.key(scope, purpose, id).await? {
            Some(row) if row.state.opens() => row,
            Some(_) => return Err(self.drop_key(id, KeyError::Denied)),
            None => return Err(self.drop_key(id, KeyError::Unknown)),
        };
        let held = self.unwrap(scope, purpose, id, &row).await?;
        Ok(Fetched { held, from_kms: true, seals_until: None })
    }

    async fn fetch_active(&self, scope: &KeyScope, purpose: Purpose) -> Result<Fetched, KeyError> {
        match self.store.active_key(scope, purpose).await? {
            Some(row) if self.seals_now(&row) => self.unwrap_active(scope, purpose, &row).await,
            _ => self.make_active(scope, purpose).await,
        }
    }

    fn seals_now(&self, row: &WrappedKey) -> bool {
        row.state.seals() && self.clock.now() < period_end(row)
    }

    async fn unwrap_active(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
        row: &WrappedKey,
    ) -> Result<Fetched, KeyError> {
        let known = self.state().cache.fresh(scope, purpose, row.id, self.clock.now());
        let from_kms = known.is_none();
        let held = match known {
            Some(held) => held,
            None => self.unwrap(scope, purpose, row.id, row).await?,
        };
        Ok(Fetched { held, from_kms, seals_until: Some(period_end(row)) })
    }

    /// Makes the first active key, or the successor of one whose period is over. Of replicas that do so at once the
    /// store lets one win; the others drop theirs.
    async fn make_active(&self, scope: &KeyScope, purpose: Purpose) -> Result<Fetched, KeyError> {
        let (key, row) = self.generate(scope, purpose).await?;
        let id = row.id;
        let winner = self.store.insert_key_if_first(row).await?;
        if winner.id == id {
            tracing::info!(%scope, %purpose, key_id = %id, kms_key = winner.kms_key, "made a data key");
            let held = HeldKey { id, key: Arc::new(key) };
            return Ok(Fetched { held, from_kms: true, seals_until: Some(period_end(&winner)) });
        }
        drop(key);
        if self.seals_now(&winner) {
            self.unwrap_active(scope, purpose, &winner).await
        } else {
            tracing::error!(%scope, %purpose, key_id = %winner.id, "the store prefers a key that may not seal");
            Err(KeyError::Unavailable)
        }
    }

    /// A new key, as it is used and as it is kept. Nobody has it yet.
    pub(super) async fn generate(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
    ) -> Result<(DataKey, WrappedKey), KeyError> {
        let id = DataKeyId::generate(&*self.clock, &*self.random).map_err(|_| KeyError::Unavailable)?;
        let context = self.context(scope, purpose, id);
        let provider = self.kms.provider();
        let (key, wrapped) =
            counted(provider, "generate-data-key", self.kms.generate_data_key(&context)).await?;
        let created_at = self.clock.now();
        let row = WrappedKey {
            id,
            scope: scope.clone(),
            purpose,
            wrapped: wrapped.bytes,
            provider: provider.to_owned(),
            kms_key: wrapped.kms_key,
            state: KeyState::Active,
            created_at,
            seals_until: created_at.plus(purpose.seals_for()),
        };
        Ok((key, row))
    }

    /// Unwraps a row as the key the caller asked for. What the row says it is counts for nothing.
    async fn unwrap(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
        id: DataKeyId,
        row: &WrappedKey,
    ) -> Result<HeldKey, KeyError> {
        let provider = self.kms.provider();
        if row.provider != provider {
            tracing::error!(
                %scope, %purpose, key_id = %id,
                "the key was wrapped by KMS provider {:?}, and {provider:?} is configured", row.provider
            );
            return Err(self.drop_key(id, KeyError::Tampered));
        }
        let context = self.context(scope, purpose, id);
        match counted(provider, "decrypt", self.kms.unwrap(&context, &row.wrapped, &row.kms_key)).await {
            Ok(key) => Ok(HeldKey { id, key: Arc::new(key) }),
            Err(error) => match KeyError::from(error) {
                final_error @ (KeyError::Denied | KeyError::Tampered) => {
                    tracing::error!(%scope, %purpose, key_id = %id, kms_key = row.kms_key, %error, "dropped a data key");
                    Err(self.drop_key(id, final_error))
                }
                passing => Err(passing),
            },
        }
    }

    fn context(&self, scope: &KeyScope, purpose: Purpose, key_id: DataKeyId) -> KeyContext {
        KeyContext { environment: self.environment, scope: scope.clone(), purpose, key_id }
    }

    fn drop_key(&self, id: DataKeyId, error: KeyError) -> KeyError {
        self.state().cache.remove(id);
        error
    }
}

/// When the key's period ends: what the row says, and never later than the purpose allows from the time inside the
/// UUIDv7 of the key, which the KMS has authenticated. A store cannot make a key seal for longer.
fn period_end(row: &WrappedKey) -> Timestamp {
    let made_at = row.id.as_uuid().get_timestamp().map(|made_at| {
        let (seconds, nanoseconds) = made_at.to_unix();
        let seconds = Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap_or(i64::MAX));
        seconds.plus(std::time::Duration::from_nanos(nanoseconds.into()))
    });
    // The id holds whole milliseconds of a moment before `created_at`; a minute covers a slow KMS.
    let slack = std::time::Duration::from_secs(60);
    made_at.map_or(row.seals_until, |at| row.seals_until.min(at.plus(row.purpose.seals_for()).plus(slack)))
}
