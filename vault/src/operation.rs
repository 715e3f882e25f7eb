//! The service in plain Rust: no HTTP, no SQL. Every operation takes its [`Permit`](crate::authz::Permit) by value.
//!
//! Promises: no effect without its audit entry, committed with it; one entry for every verb and outcome (PCI DSS 10.2).
//! Upholds: C-04, C-05, C-07.

pub mod card;
pub mod console;
pub mod error;
pub mod events;
pub mod evidence;
pub mod export;
pub mod find;
pub mod forward;
mod idempotency;
pub mod keys;
pub mod limits;
pub mod log;
pub mod matching;
mod names;
pub mod read;
pub mod reaper;
pub mod receipt;
pub mod restore;
pub mod retention;
pub mod review;
pub mod suspension;
pub mod tenant;
pub mod tokenize;
pub mod update;

pub use error::OperationError;
pub use idempotency::{IdempotencyKey, InFlight, InvalidIdempotencyKey};

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use strongroom_domain::test_numbers::AcceptedNumbers;
use strongroom_domain::{Clock, Environment, Random, TenantId, Timestamp};
use strongroom_perimeter::{Caller, RequestInfo};
use strongroom_sealing::KeyRing;

use crate::audit::{Actor, Draft, Event, Label, Object, Outcome, Pol, Receipts, Req, Source, Tls};
use crate::authz::{Authorizer, Decision, Denied, Suspended, TenantFacts};
use crate::evidence::EvidenceGround;
use crate::sad::CvcShelf;
use crate::store::{CardReader, Change, Committer, Outbox, Retention, Store, TenantRow, TenantStatus};

/// Everything an operation needs, wired by `app`.
pub struct Vault {
    /// `live` or `test`.
    pub environment: Environment,
    /// Which numbers may enter.
    pub accepted: AcceptedNumbers,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Data keys.
    pub keys: KeyRing,
    /// Reads.
    pub store: Arc<dyn Store>,
    /// Reads of many tokens, met.
    pub reader: CardReader,
    /// Writes.
    pub committer: Committer,
    /// Policy, swapped whole when it is reloaded.
    pub authorizer: ArcSwap<Authorizer>,
    /// Who is suspended: every authorizer of this vault refuses them.
    pub suspended: Arc<Suspended>,
    /// Verification codes.
    pub cvcs: CvcShelf,
    /// Limits per principal.
    pub limits: limits::Limits,
    /// Exports.
    pub exports: export::Exports,
    /// Numbers tried on tenants that deduplicate.
    pub guesses: limits::guesses::Guesses,
    /// Tenants, each read at most twice a second.
    pub tenants: tenant::Directory,
    /// Forwards whose outcomes are to come.
    pub recent_forwards: forward::RecentForwards,
    /// Requests in flight by idempotency key.
    pub in_flight: idempotency::InFlight,
    /// What time does to cards.
    pub reaper: reaper::Reaper,
    /// How long a new tenant keeps cards, unless it says otherwise.
    pub retention: Retention,
    /// How long an erased card stays before it is destroyed.
    pub erase_hold: Duration,
    /// Who is told what becomes of cards.
    pub outbox: Outbox,
    /// What evidence is made with.
    pub evidence: Arc<EvidenceGround>,
    /// What the console showed a moment ago.
    pub console: console::Console,
}

/// Who asks, in which request, when.
#[derive(Clone)]
pub struct Asking {
    /// The mTLS peer.
    pub caller: Caller,
    /// The request.
    pub request: RequestInfo,
    /// When it began.
    pub at: Timestamp,
    /// Where its entries stand.
    pub receipts: Receipts,
}

impl Asking {
    /// The beginning of every entry about this request.
    pub fn entry(&self, event: Event, outcome: Outcome, object: Object) -> Draft {
        let id = self.caller.workload.clone();
        let actor = Actor::Workload { id, cert_sha256: Some(self.caller.certificate_sha256) };
        self.entry_of(actor, event, outcome, object)
    }

    /// The same, where the caller acts on the word of another.
    pub(crate) fn entry_of(&self, actor: Actor, event: Event, outcome: Outcome, object: Object) -> Draft {
        let tls = self.caller.tls;
        let tls = Tls { version: tls.version, suite: tls.suite, group: tls.group };
        let source = Source { peer: self.caller.peer, tls: Some(tls) };
        let traceparent = Label::parse(&self.request.traceparent.to_string()).ok();
        let req = Req { id: self.request.id, traceparent, idem_ref: None };
        Draft::by_peer(self.at, event, outcome, actor, source, object)
            .in_request(req)
            .receipted(self.receipts.clone())
    }
}

/// A decision as an entry names it.
pub(crate) fn policy_of(decision: &Decision) -> Pol {
    let id = decision.policy_ids.iter().filter_map(|id| Label::parse(id).ok()).collect();
    Pol { id, rev: Some(decision.bundle_version), sha256: decision.bundle_sha256 }
}

impl Vault {
    /// The entry of a success that policy allowed.
    pub(crate) fn allowed(asking: &Asking, event: Event, decision: &Decision, object: Object) -> Draft {
        asking.entry(event, Outcome::Success, object).by_policy(policy_of(decision))
    }

    /// Writes an entry that belongs to no other change.
    pub(crate) async fn record(&self, entry: Draft) -> Result<(), OperationError> {
        self.committer.commit(Change::Entry { entry }).await?;
        Ok(())
    }

    /// Writes entries that belong to no other change.
    pub(crate) async fn record_all(&self, entries: Vec<Draft>) -> Result<(), OperationError> {
        self.committer.commit(Change::Entries { entries }).await?;
        Ok(())
    }

    /// Writes the entry of a refusal and gives the error back; if it cannot be written, that is the error.
    pub async fn refuse(
        &self,
        asking: &Asking,
        event: Event,
        object: Object,
        error: OperationError,
    ) -> OperationError {
        let entry = asking.entry(event, error.outcome(), object);
        self.write_refusal(entry, error).await
    }

    pub(crate) async fn write_refusal(&self, entry: Draft, error: OperationError) -> OperationError {
        if matches!(error, OperationError::Commit(_)) {
            return error; // the log is what failed; metrics and the process log tell
        }
        let entry = entry.because(error.reason());
        let entry = match &error {
            OperationError::Denied(Denied { decision, .. }) => entry.by_policy(policy_of(decision)),
            _ => entry,
        };
        match self.record(entry).await {
            Ok(()) => error,
            Err(unwritten) => unwritten,
        }
    }

    /// A tenant, if it is there.
    pub(crate) async fn tenant(&self, id: &TenantId) -> Result<Option<Arc<TenantRow>>, OperationError> {
        Ok(self.tenants.find(id, &self.store).await?)
    }

    /// What policy needs to know of a tenant.
    pub async fn tenant_facts(&self, id: &TenantId) -> Result<TenantFacts, OperationError> {
        let row = self.tenant(id).await?;
        Ok(row.map_or_else(
            || TenantFacts::unknown(id.clone()),
            |row| TenantFacts {
                id: id.clone(),
                groups: row.settings.groups.clone(),
                suspended: row.status == TenantStatus::Suspended,
            },
        ))
    }
}
