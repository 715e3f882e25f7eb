//! Making evidence: who may, one at a time, and the word of it on the log before it leaves.
//!
//! Promises: a bundle leaves only after an entry with its manifest's hash is durable; each making is an entry, also one that failed, and one
//! whose caller went away: the making is a task of its own, and keeps its place until its entry is written.
//! Does not promise: an entry of a making that the end of the process cut off.
//! Upholds: C-62.

use std::sync::Arc;

use super::{Asking, OperationError, Vault};
use crate::audit::{Event, LogKeys, Object, SigningError};
use crate::authz::{Permit, ReadEvidence};
use crate::evidence::{Assembled, CollectError, Kept, PolicyProofs, Sources, Wanted, assemble, collect};
use crate::store::{BundleRow, Change, Committed, Filed};

/// What a making that came to nothing is about.
pub const OBJECT: Object = Object::Operation("GET /v1/evidence");
/// Tenants read at once.
const TENANTS_AT_ONCE: u32 = 100;

/// A bundle that was made.
pub struct MadeEvidence {
    /// The whole of it as a zip.
    pub zip: Vec<u8>,
    /// SHA-256 of its manifest: the log names it.
    pub manifest_sha256: [u8; 32],
}

impl Vault {
    /// The keys of the log, the one that signs now and those that lead to it.
    pub(crate) async fn log_keys(&self) -> Result<LogKeys, OperationError> {
        match self.evidence.keys(&*self.store).await {
            Ok(keys) => Ok(keys.keys),
            Err(SigningError::Store(error)) => Err(error.into()),
            Err(SigningError::Key(error)) => Err(error.into()),
            Err(SigningError::Keys(_)) => Err(OperationError::LogDamaged),
        }
    }

    /// Makes a bundle. What goes wrong is on the log when this returns.
    pub async fn make_evidence(
        self: &Arc<Self>,
        asking: &Asking,
        permit: Permit<ReadEvidence>,
        wanted: Wanted,
        proofs: Option<PolicyProofs>,
    ) -> Result<MadeEvidence, OperationError> {
        let (vault, asking) = (Arc::clone(self), asking.clone());
        let making = tokio::spawn(async move {
            match vault.make(&asking, permit, wanted, proofs).await {
                Ok(made) => Ok(made),
                Err(error) => {
                    let (event, object) = (error.event(Event::EvidenceMake), OBJECT);
                    Err(vault.refuse(&asking, event, object, error).await)
                }
            }
        });
        making.await.unwrap_or(Err(OperationError::Defect("the making of a bundle ended with a defect")))
    }

    async fn make(
        &self,
        asking: &Asking,
        permit: Permit<ReadEvidence>,
        wanted: Wanted,
        proofs: Option<PolicyProofs>,
    ) -> Result<MadeEvidence, OperationError> {
        let _one = self.evidence.begin().ok_or(OperationError::RateLimited)?;
        let authorizer = self.authorizer.load_full();
        let in_force = hex::encode(authorizer.bundle_sha256());
        if proofs.as_ref().is_some_and(|proofs| proofs.bundle.sha256 != in_force) {
            return Err(OperationError::Conflict); // another came into force since they were read
        }
        let sources = Sources {
            store: &self.store,
            authorizer,
            ground: &self.evidence,
            retention: self.kept_by_each(asking).await?,
            made_at: asking.at,
            made_by: asking.caller.workload.as_str(),
            proofs,
        };
        let collected = collect(sources, wanted).await.map_err(refusal)?;
        let entries = collected.facts.log.entries;
        let access = collected.facts.access.matrix.clone();
        let assembled = tokio::task::spawn_blocking(move || assemble(&collected, wanted.period)).await;
        let Ok(Ok(Assembled { zip, manifest_sha256, manifest })) = assembled else {
            return Err(OperationError::Defect("a bundle could not be put together"));
        };
        let object = Object::Evidence(manifest_sha256);
        let entry = Self::allowed(asking, Event::EvidenceMake, permit.decision(), object).counting(entries);
        // What the next bundle is compared with; the entry names it by its manifest.
        let row = BundleRow { sha256: manifest_sha256, made_at: asking.at, manifest, access };
        let filed = Box::new(Filed::Bundle(row));
        if self.committer.commit(Change::File { filed, entry }).await? != Committed::Done {
            return Err(OperationError::Defect("two bundles had one manifest"));
        }
        metrics::counter!("strongroom_evidence_made_total").increment(1);
        tracing::info!(entries, by = %asking.caller.workload, "evidence was made");
        Ok(MadeEvidence { zip, manifest_sha256 })
    }

    async fn kept_by_each(&self, asking: &Asking) -> Result<Vec<Kept>, OperationError> {
        let (mut all, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.tenants_after(after.as_ref(), TENANTS_AT_ONCE).await?;
            let Some(last) = page.last() else { return Ok(all) };
            after = Some(last.id.clone());
            for tenant in page {
                let reported = self.reported(tenant, asking.at).await?;
                let retention = reported.tenant.settings.retention.as_ref();
                all.push(Kept {
                    tenant: reported.tenant.id.to_string(),
                    days: retention.map(|retention| retention.days),
                    reason: retention.map(|retention| retention.reason.clone()),
                    oldest: reported.oldest,
                    past_due: reported.past_due,
                });
            }
        }
    }
}

fn refusal(error: CollectError) -> OperationError {
    match error {
        CollectError::Store(error) => error.into(),
        CollectError::NotSigned => {
            crate::store::StoreError::Away("the log is not signed up to the end of the period yet").into()
        }
        CollectError::Checkpoint(_) | CollectError::Altered => {
            metrics::counter!("strongroom_evidence_refused_total").increment(1);
            OperationError::LogDamaged
        }
        CollectError::Defect => OperationError::Defect("measuring ended with a defect"),
    }
}
