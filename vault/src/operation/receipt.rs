//! Reading receipts: what was written about a request, and the proof that it is in the signed log.
//!
//! Promises: a reader with a tenant's grant gets changes and forwards of that tenant that were made, and nothing else: a refusal
//! tells an unknown token from another's, a tokenization a known number from a new one, a match which cards are one number, a
//! reading of the log what is being looked into. Each reading is an entry, durable before the answer (PCI DSS 10.2.1.3).
//! Upholds: C-13, C-31, C-55.

use strongroom_domain::TenantId;

use super::{Asking, OperationError, Vault};
use crate::audit::{Event, Leaf, Object, Outcome, ProveError, Proven, ProvenState, ReceiptId, Seen, prove};
use crate::authz::{Permit, ReadAudit, ReadReceipt};

/// What a tenant's readers are shown: changes and forwards.
const SHOWN_TO_READERS: [Event; 10] = [
    Event::PanTokenize,
    Event::PanForward,
    Event::ForwardOutcome,
    Event::ForwardReconcile,
    Event::RecordUpdate,
    Event::RecordShred,
    Event::RecordRestore,
    Event::IdempotencyReplay,
    Event::TenantCreate,
    Event::TenantChange,
];

/// Who reads.
pub enum Reader {
    /// Whoever reads the whole log.
    Auditor(Permit<ReadAudit>),
    /// Whoever reads what was done for one tenant.
    Tenant(Permit<ReadReceipt>),
}

/// The entries of a receipt.
pub struct Found {
    id: ReceiptId,
    leaves: Vec<Leaf>,
    tenant: Option<TenantId>,
    tokenizes: bool,
}

impl Found {
    /// The receipt.
    #[must_use]
    pub const fn id(&self) -> ReceiptId {
        self.id
    }

    /// Whose they are, if all of them are changes or forwards of one tenant that were made.
    #[must_use]
    pub const fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }
}

impl Vault {
    /// The entries of a receipt, all of them or none.
    pub async fn find_receipt(&self, id: ReceiptId) -> Result<Found, OperationError> {
        let first = id.first();
        let stored = self.store.entries_of(first.boot, first.seq, id.count()).await?;
        if !stored.iter().map(|entry| entry.id).eq(id.entries()) {
            return Err(OperationError::UnknownReceipt);
        }
        let leaves: Vec<Leaf> = stored.into_iter().map(|entry| entry.leaf).collect();
        // What cannot be read is nobody's.
        let seen: Vec<Option<Seen>> = leaves.iter().map(Seen::of).collect();
        let tenant = seen.first().and_then(tenant_of);
        let is_theirs = |one: &Option<Seen>| one.as_ref().is_some_and(is_made) && tenant_of(one) == tenant;
        let tokenizes = seen.iter().flatten().any(|one| one.evt == Event::PanTokenize.as_str());
        let tenant = tenant.clone().filter(|_| seen.iter().all(is_theirs));
        Ok(Found { id, leaves, tenant, tokenizes })
    }

    /// Proves them, and writes down that they were read.
    pub async fn read_receipt(
        &self,
        asking: &Asking,
        reader: Reader,
        found: Found,
    ) -> Result<Proven, OperationError> {
        let Found { id, leaves, tenant, tokenizes } = found;
        let (decision, shows_all) = match &reader {
            Reader::Auditor(permit) => (permit.decision(), true),
            Reader::Tenant(permit) => {
                let scope = permit.subject();
                if scope.receipt != id || Some(&scope.tenant) != tenant.as_ref() {
                    return Err(OperationError::Defect("a permit was spent on another receipt"));
                }
                (permit.decision(), !tokenizes)
            }
        };
        let proven = prove(&*self.store, id, &leaves).await.map_err(|error| match error {
            ProveError::Store(error) => OperationError::Store(error),
            ProveError::Damaged => OperationError::LogDamaged,
        })?;
        let entry = Self::allowed(asking, Event::AuditRead, decision, Object::Receipt { id, tenant })
            .counting(u64::from(id.count()));
        let is_pending = proven.state == ProvenState::Pending;
        self.record(if is_pending { entry.because("pending") } else { entry }).await?;
        let state = if is_pending { "pending" } else { "sequenced" };
        metrics::counter!("strongroom_receipts_read_total", "state" => state).increment(1);
        Ok(if shows_all { proven } else { proven.without_leaves() })
    }
}

fn tenant_of(seen: &Option<Seen>) -> Option<TenantId> {
    TenantId::parse(seen.as_ref()?.obj.tenant.as_deref()?).ok()
}

fn is_made(seen: &Seen) -> bool {
    seen.out == Outcome::Success.as_str() && SHOWN_TO_READERS.iter().any(|event| seen.evt == event.as_str())
}
