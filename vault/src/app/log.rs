//! Beginning the audit log: its MAC, its committer, its sequencer, and the keys it is signed with.
//!
//! Promises: a successor of the signing key is made with an entry of its own, but for the one a start needs before there is a log.
//! Upholds: C-57.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use strongroom_domain::ids::BootId;
use strongroom_domain::{Clock, DataKeyId, Random};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sealing::{InstanceMac, KeyRing, KeyScope, Kms, LogSigner, Purpose, SEALS_FOR};

use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::apart::{Apart, Urgency};
use super::{StartError, open};
use crate::audit::{
    BucketExport, EntryMac, InstanceId, LogBucket, LogFolder, LogKey, LogSigners, Origin, Sequencer,
    SigningError, made_at,
};
use crate::config::VaultConfig;
use crate::evidence::EvidenceGround;
use crate::store::{AuditedKeys, Committer, CommitterTask, LogIdentity, Outbox, Store, StoreError};

/// A log that began.
pub(super) struct Begun {
    pub(super) committer: Committer,
    pub(super) task: CommitterTask,
    pub(super) sequencer: Sequencer,
    pub(super) bucket: Option<BucketExport>,
    pub(super) signers: Arc<dyn LogSigners>,
}

/// The audit log begins with a key of its own, which cannot be announced on it before it exists.
pub(super) async fn begin(
    config: &VaultConfig,
    kms: &Arc<dyn Kms>,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
    outbox: Outbox,
) -> Result<Begun, StartError> {
    let instance =
        InstanceId::parse(&config.instance).map_err(|error| StartError::Config(error.to_string()))?;
    let boot = BootId::generate(&**clock, &**random)?;
    let folder = match &config.audit.folder {
        None => None,
        Some(folder) => {
            let unusable = |source| StartError::LogFolder { folder: folder.clone(), source };
            Some(LogFolder::open(folder).map_err(unusable)?)
        }
    };
    let bucket = config.audit.bucket.as_ref().map(|bucket| LogBucket::open(bucket, Arc::clone(clock)));
    let bucket = bucket.transpose().map_err(|error| StartError::Config(error.to_string()))?;
    let ring = open::service_keys(config, kms, store, clock, random)?;
    let held = ring.active(&KeyScope::Service, Purpose::AuditSigning).await?;
    let mac = InstanceMac::derive(&held.key, instance.as_str(), boot);
    let mac = EntryMac::new(move |leaf| mac.mac(leaf));
    let (signing, signer) = signer(config, &ring, store).await?;
    let origin = config.origin().map_err(StartError::Config)?;
    tracing::info!(
        log_key = %LogKey::of(&signer, &origin),
        "checkpoints of the audit log are verified with this key, or by the hand-overs that lead to it"
    );
    let identity = LogIdentity { instance, boot, mac, mac_key: held.id };
    let (committer, task) =
        Committer::start_telling(Arc::clone(store), Arc::clone(clock), identity, outbox).await?;
    let apart = open::open_store_apart(&config.store).await?;
    let audited = AuditedKeys::new(Arc::clone(store), committer.clone(), Arc::clone(clock));
    let (kms, random) = (Arc::clone(kms), Arc::clone(random));
    let ring = config.keys.ring().map_err(StartError::Config)?;
    let ring = KeyRing::new(kms, Arc::new(audited), Arc::clone(clock), random, config.environment, ring);
    let held = Mutex::new((signing, Arc::new(signer)));
    // Requests that take all connections keep nobody from signing.
    let (of_store, of_clock) = (open::open_store_apart(&config.store).await?, Arc::clone(clock));
    let signers: Arc<dyn LogSigners> =
        Arc::new(RingSigners { ring, store: of_store, clock: of_clock, origin: origin.clone(), held });
    let here = Arc::new(OnServing { signers: Arc::clone(&signers), serving: Handle::current() });
    let sequencer = Sequencer::new(apart, Arc::clone(clock), boot, here, &origin, folder);
    let (sequencer, bucket) = match bucket {
        None => (sequencer, None),
        Some(bucket) => {
            let (sequencer, export) = sequencer.exporting_to(Arc::new(bucket));
            (sequencer, Some(export))
        }
    };
    Ok(Begun { committer, task, sequencer, bucket, signers })
}

/// What evidence is made with: the log's own key signs it.
pub(super) fn evidence(
    config: &VaultConfig,
    signers: Arc<dyn LogSigners>,
) -> Result<EvidenceGround, StartError> {
    Ok(EvidenceGround::new(signers, config.origin().map_err(StartError::Config)?, config.clone()))
}

/// Signers from the service's own keys.
struct RingSigners {
    ring: KeyRing,
    store: Arc<dyn Store>,
    clock: Arc<dyn Clock>,
    origin: Origin,
    /// The one that was asked for last.
    held: Mutex<(DataKeyId, Arc<LogSigner>)>,
}

#[async_trait]
impl LogSigners for RingSigners {
    async fn due(&self) -> Result<DataKeyId, SigningError> {
        // What the store says now: the ring says what it was minutes ago.
        let active = self.store.active_key(&KeyScope::Service, Purpose::AuditSigning).await;
        let active = active.map_err(|_| StoreError::Away("the store gave no data key"))?;
        match active {
            Some(row) if self.clock.now() < row.seals_until.min(made_at(row.id).plus(SEALS_FOR)) => {
                Ok(row.id)
            }
            // Its period is over. As long as no successor can be made, it goes on.
            Some(row) => {
                let made = self.ring.active(&KeyScope::Service, Purpose::AuditSigning).await;
                if let Err(error) = &made {
                    let error = error as &dyn std::error::Error;
                    tracing::warn!(
                        error,
                        "the log's key is over its period and has no successor yet: it signs on"
                    );
                }
                Ok(made.map_or(row.id, |held| held.id))
            }
            None => Ok(self.ring.active(&KeyScope::Service, Purpose::AuditSigning).await?.id),
        }
    }

    async fn signer(&self, key: DataKeyId) -> Result<Arc<LogSigner>, SigningError> {
        let known = |held: &(DataKeyId, Arc<LogSigner>)| (held.0 == key).then(|| Arc::clone(&held.1));
        if let Some(signer) = known(&self.held.lock().unwrap_or_else(PoisonError::into_inner)) {
            return Ok(signer);
        }
        let held = self.ring.by_id(&KeyScope::Service, Purpose::AuditSigning, key).await?;
        let signer = Arc::new(LogSigner::derive(&held.key, self.origin.as_str()));
        *self.held.lock().unwrap_or_else(PoisonError::into_inner) = (key, Arc::clone(&signer));
        Ok(signer)
    }
}

/// Signers asked for where requests are served: the connections to the KMS live there, and what keeps keys fresh.
struct OnServing {
    signers: Arc<dyn LogSigners>,
    serving: Handle,
}

#[async_trait]
impl LogSigners for OnServing {
    async fn due(&self) -> Result<DataKeyId, SigningError> {
        let signers = Arc::clone(&self.signers);
        let asked = self.serving.spawn(async move { signers.due().await }).await;
        asked.unwrap_or_else(|_| Err(ended_with_a_defect()))
    }

    async fn signer(&self, key: DataKeyId) -> Result<Arc<LogSigner>, SigningError> {
        let signers = Arc::clone(&self.signers);
        let asked = self.serving.spawn(async move { signers.signer(key).await }).await;
        asked.unwrap_or_else(|_| Err(ended_with_a_defect()))
    }
}

fn ended_with_a_defect() -> SigningError {
    StoreError::Away("asking for the log's key ended with a defect").into()
}

/// Runs the sequencer until `stop`, and then the export to its end. That either ends by a defect is told at once, not at the end
/// of the process.
pub(super) fn run(
    sequencer: Sequencer,
    bucket: Option<BucketExport>,
    stop: CancellationToken,
) -> std::io::Result<Apart> {
    Apart::start("log-sequencer", Urgency::AsRequests, move || async move {
        let sequenced = CancellationToken::new();
        let bucket = bucket.map(|bucket| tokio::spawn(bucket.run(sequenced.clone())));
        if tokio::spawn(sequencer.run(stop)).await.is_err() {
            metrics::gauge!("strongroom_log_refused").set(1.0);
            metrics::gauge!("strongroom_log_leader").set(0.0);
            tracing::error!("the sequencer ended with a defect: the audit log is not signed any more");
        }
        sequenced.cancel();
        // Its last look is bounded.
        if let Some(bucket) = bucket
            && bucket.await.is_err()
        {
            tracing::error!("the export to object storage ended with a defect");
        }
    })
}

/// The public key of the log this configuration is for.
pub async fn log_key(config: &VaultConfig) -> Result<LogKey, StartError> {
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) =
        (Arc::new(SystemClock), Arc::new(SystemRandom::new()));
    let kms = open::open_kms(config, &random).await?;
    let store = open::open_store(&config.store).await?;
    let ring = open::service_keys(config, &kms, &store, &clock, &random)?;
    let origin = config.origin().map_err(StartError::Config)?;
    Ok(LogKey::of(&signer(config, &ring, &store).await?.1, &origin))
}

/// The key that signs the log: the newest successor, or the first one.
async fn signer(
    config: &VaultConfig,
    ring: &KeyRing,
    store: &Arc<dyn Store>,
) -> Result<(DataKeyId, LogSigner), StartError> {
    // Whoever only asks makes no successor.
    let active = store.active_key(&KeyScope::Service, Purpose::AuditSigning).await;
    let active = active.map_err(|_| StoreError::Away("the store gave no data key"))?;
    let proposed = match active {
        Some(row) => row.id,
        None => ring.active(&KeyScope::Service, Purpose::AuditSigning).await?.id,
    };
    let signing = store.log_signer(proposed).await?;
    let held = ring.by_id(&KeyScope::Service, Purpose::AuditSigning, signing).await?;
    let origin = config.origin().map_err(StartError::Config)?;
    Ok((signing, LogSigner::derive(&held.key, origin.as_str())))
}
