//! A forward's story for those it is about, and what is found out of one whose outcome is unknown.
//!
//! Promises: what the PSP says is written once, of a forward whose outcome is unknown and of no other; it never takes
//! back what was known. That a payment never arrived is not taken before the PSP can have had it.
//! Does not promise: that it is true. Whoever holds the grant speaks for the PSP, and the entry names them (T-30).
//! Upholds: C-46.

use std::time::Duration;

use crate::audit::{Event, Object};
use crate::authz::{ForwardScope, Permit, ReadForward, ReconcileForward};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::{Change, Committed, ForwardRow, ForwardState, PspSays, Reconciled};

/// How long after it was opened a payment may still arrive at the PSP: far beyond every timeout of a route, and as long as
/// a proxy may still tell.
const ARRIVES_WITHIN: Duration = super::SILENT_AFTER;

/// What somebody found out at the PSP.
pub struct Finding {
    /// What the PSP says.
    pub says: PspSays,
    /// HTTP status of its answer, if it is known.
    pub status: Option<u16>,
    /// Its own name of the payment.
    pub psp_reference: Option<String>,
}

impl Vault {
    /// One forward's story, for those whose tenant's it is.
    pub async fn read_forward(
        &self,
        asking: &Asking,
        permit: Permit<ReadForward>,
    ) -> Result<ForwardRow, OperationError> {
        let row = self.forward_of(permit.subject()).await?;
        let entry = Self::allowed(asking, Event::ForwardRead, permit.decision(), object(&row));
        self.record(entry).await?;
        Ok(row)
    }

    /// Writes what the PSP says. The same again changes nothing.
    pub async fn reconcile_forward(
        &self,
        asking: &Asking,
        permit: Permit<ReconcileForward>,
        finding: Finding,
    ) -> Result<ForwardRow, OperationError> {
        let row = self.forward_of(permit.subject()).await?;
        let entry = Self::allowed(asking, Event::ForwardReconcile, permit.decision(), object(&row));
        if was_said(&row, &finding) {
            self.record(entry.because("unchanged")).await?;
            return Ok(row);
        }
        if row.state != ForwardState::Unknown {
            return Err(OperationError::Conflict);
        }
        let may_arrive = row.opened_at.plus(ARRIVES_WITHIN) > asking.at;
        if finding.says == PspSays::NeverArrived && may_arrive {
            return Err(OperationError::TooEarly);
        }
        let says = finding.says;
        let reconciled = Reconciled {
            says,
            status: finding.status,
            psp_reference: finding.psp_reference,
            by: asking.caller.workload.clone(),
            at: asking.at,
        };
        let (tenant, id) = (row.tenant.clone(), row.id);
        let change = Change::ReconcileForward {
            tenant,
            id,
            reconciled: Box::new(reconciled.clone()),
            entry: entry.because(says.as_str()),
        };
        match self.committer.commit(change).await? {
            Committed::Done => {
                metrics::counter!("strongroom_forwards_reconciled_total", "says" => says.as_str())
                    .increment(1);
                Ok(ForwardRow { state: says.state(), reconciled: Some(reconciled), ..row })
            }
            Committed::Missing => Err(OperationError::UnknownForward),
            // Somebody else was faster, and perhaps with the same word: the next try says which.
            Committed::Conflict => Err(OperationError::Conflict),
            Committed::Replay(_) | Committed::KeyNotActive | Committed::Taken(_) => {
                Err(OperationError::Defect("what is found out needs neither key, replay nor reference"))
            }
        }
    }

    /// Another tenant's forward is none.
    async fn forward_of(&self, scope: &ForwardScope) -> Result<ForwardRow, OperationError> {
        let row = self.store.forward(scope.forward).await?;
        row.filter(|row| row.tenant == scope.tenant).ok_or(OperationError::UnknownForward)
    }
}

fn was_said(row: &ForwardRow, finding: &Finding) -> bool {
    row.reconciled.as_ref().is_some_and(|said| {
        said.says == finding.says
            && said.status == finding.status
            && said.psp_reference == finding.psp_reference
    })
}

fn object(row: &ForwardRow) -> Object {
    Object::Forward { id: row.id, tenant: Some(row.tenant.clone()) }
}
