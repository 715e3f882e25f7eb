//! Signing keys of tests: by the data key's number.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};

use async_trait::async_trait;
use strongroom_domain::DataKeyId;
use strongroom_sealing::{DataKey, KeyError, LogSigner};
use strongroom_vault::audit::{LogKey, LogSigners, Origin, SigningError};

pub(crate) fn origin() -> Origin {
    Origin::parse("strongroom.test/log").unwrap()
}

pub(crate) fn signer(number: u8) -> LogSigner {
    LogSigner::derive(&DataKey::take(&mut [number; 32]), origin().as_str())
}

/// The public key of a number.
pub(crate) fn log_key(number: u8) -> LogKey {
    LogKey::of(&signer(number), &origin())
}

pub(crate) fn data_key(number: u8) -> DataKeyId {
    DataKeyId::from_uuid(uuid::Uuid::from_u128(number.into()))
}

/// Whatever the database says, it signs with this.
pub(crate) struct One(pub(crate) u8);

#[async_trait]
impl LogSigners for One {
    async fn due(&self) -> Result<DataKeyId, SigningError> {
        Ok(data_key(7))
    }

    async fn signer(&self, _: DataKeyId) -> Result<Arc<LogSigner>, SigningError> {
        Ok(Arc::new(signer(self.0)))
    }
}

/// Keys that succeed one another.
pub(crate) struct Successive {
    due: AtomicU8,
    away: AtomicBool,
}

impl Successive {
    pub(crate) fn from(number: u8) -> Arc<Self> {
        Arc::new(Self { due: AtomicU8::new(number), away: AtomicBool::new(false) })
    }

    /// The key that is to sign from now on.
    pub(crate) fn now(&self, number: u8) {
        self.due.store(number, Ordering::SeqCst);
    }

    /// Whether keys that are not held can be had.
    pub(crate) fn away(&self, away: bool) {
        self.away.store(away, Ordering::SeqCst);
    }
}

#[async_trait]
impl LogSigners for Successive {
    async fn due(&self) -> Result<DataKeyId, SigningError> {
        Ok(data_key(self.due.load(Ordering::SeqCst)))
    }

    async fn signer(&self, key: DataKeyId) -> Result<Arc<LogSigner>, SigningError> {
        if self.away.load(Ordering::SeqCst) {
            return Err(KeyError::Unavailable.into());
        }
        Ok(Arc::new(signer(u8::try_from(key.as_uuid().as_u128()).unwrap())))
    }
}
