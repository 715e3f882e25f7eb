//! Giving the log's signing key a successor.
//!
//! Promises: one successor at a time, made in the transaction of its entry; who asks again before it signs is told of the same one.
//! The key before signs until the sequencer handed over.
//! Does not promise: that the log is handed over when this answers: the next checkpoint does, as a rule within a second.
//! Upholds: C-57.

use std::time::Duration;

use strongroom_domain::DataKeyId;

use super::{Asking, OperationError, Vault};
use crate::audit::{Event, KeyRef, Object};
use crate::authz::{ManageKeys, Permit};
use crate::store::keys::{KeyScope, Purpose, WrappedKey};
use crate::store::{Change, Committed, StoreError};

/// Hand-overs of one day, after which no successor is made by request: each stays in every receipt for ever.
const A_DAY_MAX: usize = 8;
const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A successor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Successor {
    /// The data key of the key that signs.
    pub former: DataKeyId,
    /// The data key of the one that is to sign.
    pub successor: DataKeyId,
    /// Whether it was made now; otherwise it was waiting.
    pub is_new: bool,
}

impl Vault {
    /// Makes a successor for the key that signs the log, unless one waits to be handed over to.
    pub async fn succeed_log_key(
        &self,
        asking: &Asking,
        permit: Permit<ManageKeys>,
    ) -> Result<Successor, OperationError> {
        let (signing, active) = self.log_key_rows().await?;
        if active != signing {
            return self.waits(asking, &permit, signing, active).await;
        }
        let since = asking.at.unix_micros() - i64::try_from(DAY.as_micros()).unwrap_or(i64::MAX);
        let made = self.store.hand_overs().await?;
        if made.iter().filter(|made| made.signed_at.unix_micros() > since).count() >= A_DAY_MAX {
            return Err(OperationError::RateLimited);
        }
        let key = self.keys.generate(&KeyScope::Service, Purpose::AuditSigning).await?;
        let successor = key.id;
        let entry = entry(asking, &permit, &key).because("successor");
        let change = Change::ReplaceKey { former: signing, key: Box::new(key), entry };
        match self.committer.commit(change).await? {
            Committed::Done => {
                tracing::info!(%successor, by = %asking.caller.workload, "the log's key has a successor");
                Ok(Successor { former: signing, successor, is_new: true })
            }
            // Another request was first, or the period ended meanwhile.
            _ => match self.log_key_rows().await? {
                (signing, active) if active != signing => self.waits(asking, &permit, signing, active).await,
                _ => Err(OperationError::Conflict),
            },
        }
    }

    /// The data key of the key that signs, and the active one.
    async fn log_key_rows(&self) -> Result<(DataKeyId, DataKeyId), OperationError> {
        let active = self.store.active_key(&KeyScope::Service, Purpose::AuditSigning).await;
        let active = active.map_err(|_| StoreError::Away("the store gave no data key"))?;
        let active = active.ok_or(OperationError::Conflict)?.id;
        Ok((self.store.log_signer(active).await?, active))
    }

    async fn waits(
        &self,
        asking: &Asking,
        permit: &Permit<ManageKeys>,
        former: DataKeyId,
        successor: DataKeyId,
    ) -> Result<Successor, OperationError> {
        let object = object(successor);
        let entry = Self::allowed(asking, Event::DekCreate, permit.decision(), object);
        self.record(entry.because("unchanged")).await?;
        Ok(Successor { former, successor, is_new: false })
    }
}

fn entry(asking: &Asking, permit: &Permit<ManageKeys>, key: &WrappedKey) -> crate::audit::Draft {
    let reference = KeyRef { dek_id: key.id, kek_ref: Some(key.kms_key.as_str().into()), kek_ver: None };
    Vault::allowed(asking, Event::DekCreate, permit.decision(), object(key.id)).with_key(reference)
}

fn object(id: DataKeyId) -> Object {
    Object::Key { id, tenant: None, purpose: Purpose::AuditSigning.as_str() }
}
