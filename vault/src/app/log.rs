//! Beginning the audit log: its MAC, its committer, its sequencer.

use std::sync::Arc;

use strongroom_domain::ids::BootId;
use strongroom_domain::{Clock, Random};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sealing::{InstanceMac, KeyRing, KeyScope, Kms, LogSigner, Purpose};

use tokio_util::sync::CancellationToken;

use super::apart::{Apart, Urgency};
use super::{StartError, open};
use crate::audit::{BucketExport, EntryMac, InstanceId, LogBucket, LogFolder, LogKey, Sequencer};
use crate::config::VaultConfig;
use crate::evidence::EvidenceGround;
use crate::store::{Committer, CommitterTask, LogIdentity, Outbox, Store};

/// The audit log begins with a key of its own, which cannot be announced on it before it exists.
pub(super) async fn begin(
    config: &VaultConfig,
    kms: &Arc<dyn Kms>,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
    outbox: Outbox,
) -> Result<(Committer, CommitterTask, Sequencer, Option<BucketExport>), StartError> {
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
    let signer = signer(config, &ring, store).await?;
    let origin = config.origin().map_err(StartError::Config)?;
    let identity = LogIdentity { instance, boot, mac, mac_key: held.id };
    let (committer, task) =
        Committer::start_telling(Arc::clone(store), Arc::clone(clock), identity, outbox).await?;
    let apart = open::open_store_apart(&config.store).await?;
    let sequencer = Sequencer::new(apart, Arc::clone(clock), boot, signer, &origin, folder);
    tracing::info!(log_key = %sequencer.key(), "checkpoints of the audit log are verified with this key");
    Ok(match bucket {
        None => (committer, task, sequencer, None),
        Some(bucket) => {
            let (sequencer, export) = sequencer.exporting_to(Arc::new(bucket));
            (committer, task, sequencer, Some(export))
        }
    })
}

/// What evidence is made with: the log's own key signs it.
pub(super) async fn evidence(
    config: &VaultConfig,
    kms: &Arc<dyn Kms>,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<EvidenceGround, StartError> {
    let ring = open::service_keys(config, kms, store, clock, random)?;
    let signer = signer(config, &ring, store).await?;
    Ok(EvidenceGround::new(signer, &config.origin().map_err(StartError::Config)?, config.clone()))
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
    Ok(LogKey::of(&signer(config, &ring, &store).await?, &origin))
}

/// The log keeps the key it began with: every later `audit-signing` key signs entries, not checkpoints.
async fn signer(
    config: &VaultConfig,
    ring: &KeyRing,
    store: &Arc<dyn Store>,
) -> Result<LogSigner, StartError> {
    let active = ring.active(&KeyScope::Service, Purpose::AuditSigning).await?;
    let first = store.log_signer(active.id).await?;
    let held = ring.by_id(&KeyScope::Service, Purpose::AuditSigning, first).await?;
    let origin = config.origin().map_err(StartError::Config)?;
    Ok(LogSigner::derive(&held.key, origin.as_str()))
}
