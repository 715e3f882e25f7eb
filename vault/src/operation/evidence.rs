//! Making evidence: who may, one at a time, and the word of it on the log before it leaves.
//!
//! Promises: a bundle leaves only after an entry with its manifest's hash is durable; each making is an entry, also one that failed.
//! Upholds: C-62.

use std::sync::Arc;

use super::{Asking, OperationError, Vault};
use crate::audit::{Event, Object};
use crate::authz::{Permit, ReadEvidence};
use crate::evidence::{CollectError, Kept, Sources, Wanted, assemble, collect};

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
    /// Makes a bundle.
    pub async fn make_evidence(
        &self,
        asking: &Asking,
        permit: Permit<ReadEvidence>,
        wanted: Wanted,
    ) -> Result<MadeEvidence, OperationError> {
        let _one = self.evidence.begin().ok_or(OperationError::RateLimited)?;
        let sources = Sources {
            store: &self.store,
            authorizer: self.authorizer.load_full(),
            ground: &self.evidence,
            retention: self.kept_by_each(asking).await?,
            made_at: asking.at,
            made_by: asking.caller.workload.as_str(),
        };
        let collected = collect(sources, wanted).await.map_err(refusal)?;
        let entries = collected.facts.log.entries;
        let ground = Arc::clone(&self.evidence);
        let assembled =
            tokio::task::spawn_blocking(move || assemble(&collected, wanted.period, &ground)).await;
        let Ok(Ok(assembled)) = assembled else {
            return Err(OperationError::Defect("a bundle could not be put together"));
        };
        let object = Object::Evidence(assembled.manifest_sha256);
        let entry = Self::allowed(asking, Event::EvidenceMake, permit.decision(), object);
        self.record(entry.counting(entries)).await?;
        metrics::counter!("strongroom_evidence_made_total").increment(1);
        tracing::info!(entries, by = %asking.caller.workload, "evidence was made");
        Ok(MadeEvidence { zip: assembled.zip, manifest_sha256: assembled.manifest_sha256 })
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
