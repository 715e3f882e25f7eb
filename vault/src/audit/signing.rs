//! Which key signs the log now, and which ones did before.
//!
//! Promises: the key that signs is the newest successor of a chain of hand-overs, or the first key; nothing else is taken for it.
//! Trusts: the store for the order of the keys, not for their worth: every key unwraps as the service's own, every hand-over is
//! signed by both of its keys.
//! Upholds: C-57.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use strongroom_domain::{DataKeyId, Timestamp};
use strongroom_sealing::{KeyError, LogSigner};

use super::checkpoint::{Checkpoint, LogKey, Origin};
use super::hand_over::{BadKeys, HandOver, LogKeys};
use crate::store::log::KeptHandOver;
use crate::store::{Store, StoreError};

/// Where signing keys come from.
#[async_trait]
pub trait LogSigners: Send + Sync {
    /// The data key whose signer is to sign from now on: the active one, or a successor if its period is over.
    async fn due(&self) -> Result<DataKeyId, SigningError>;

    /// The signer of a data key.
    async fn signer(&self, key: DataKeyId) -> Result<Arc<LogSigner>, SigningError>;
}

/// Why it is not known what signs.
#[derive(Debug, thiserror::Error)]
pub enum SigningError {
    /// The key.
    #[error("the log's signing key cannot be had")]
    Key(#[from] KeyError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// What the database says of the log's keys does not hold.
    #[error("the hand-overs in the database do not lead to the key that signs: {0}")]
    Keys(#[from] BadKeys),
}

/// The key that signs.
pub(crate) struct Signing {
    id: DataKeyId,
    pub(crate) signer: Arc<LogSigner>,
    pub(crate) keys: LogKeys,
    /// Data keys that sign or signed.
    used: HashSet<DataKeyId>,
}

impl Signing {
    /// What the database says signs now.
    pub(crate) async fn now(
        store: &dyn Store,
        signers: &dyn LogSigners,
        origin: &Origin,
    ) -> Result<Self, SigningError> {
        let id = store.log_signer(signers.due().await?).await?;
        let kept = store.hand_overs().await?;
        let signer = signers.signer(id).await?;
        let notes: Vec<&str> = kept.iter().map(|hand_over| hand_over.note.as_str()).collect();
        let key = LogKey::of(&signer, origin);
        let keys = LogKeys::follow(&key, &notes)?;
        let is_newest = kept.last().is_none_or(|last| last.successor == id) && *keys.newest() == key;
        let is_counted = kept.iter().map(|hand_over| hand_over.number).eq(0..kept.len() as u64);
        if !is_newest || !is_counted {
            return Err(BadKeys::Unknown.into());
        }
        let of = |kept: &KeptHandOver| [kept.former, kept.successor];
        let used = kept.iter().flat_map(of).chain(std::iter::once(id)).collect();
        Ok(Self { id, signer, keys, used })
    }

    /// Whether this is another key than those that sign or signed. One that signed before does not come back.
    pub(crate) fn gives_way_to(&self, due: DataKeyId) -> bool {
        !self.used.contains(&due)
    }

    /// The hand-over to a successor at this checkpoint.
    pub(crate) fn hand_over(
        &self,
        checkpoint: &Checkpoint,
        successor: DataKeyId,
        signer: &LogSigner,
        at: Timestamp,
    ) -> KeptHandOver {
        KeptHandOver {
            number: self.keys.hand_overs().len() as u64,
            size: checkpoint.size,
            former: self.id,
            successor,
            note: HandOver::sign(checkpoint, &self.signer, signer),
            signed_at: at,
        }
    }

    /// After a hand-over that is durable.
    pub(crate) fn handed_over(
        mut self,
        made: &KeptHandOver,
        signer: Arc<LogSigner>,
    ) -> Result<Self, SigningError> {
        self.used.insert(made.successor);
        let keys = self.keys.and(&made.note).ok_or(BadKeys::HandOver(made.number))?;
        Ok(Self { id: made.successor, signer, keys, used: self.used })
    }

    /// How long ago the key that signs was made.
    pub(crate) fn age(&self, now: Timestamp) -> Duration {
        now.since(made_at(self.id))
    }
}

/// When a data key was made, by its own id: the store cannot make it younger.
pub(crate) fn made_at(key: DataKeyId) -> Timestamp {
    let (seconds, _) = key.as_uuid().get_timestamp().map_or((0, 0), |made| made.to_unix());
    Timestamp::from_unix_seconds(i64::try_from(seconds).unwrap_or(0))
}
