//! Who may do what: the policy bundle, and the proofs it hands out.
//!
//! Promises: an operation that takes a [`Permit`] cannot be reached without a decision of the loaded bundle about the
//! very subject the permit carries. Default deny; an error while deciding is a denial.
//! Does not promise: that the facts given to it are true. Tenant groups and suspension come from the store, caller and
//! destination of a forward are the proxy's word (T-01).
//! Trusts: the bundle's files, which is why their hash is in every decision.
//! Upholds: C-05, C-64.

mod access;
mod action;
mod ask;
mod bundle;
mod conform;
mod diff;
mod engine;
mod entities;
#[cfg(test)]
mod fixture;
mod permit;
mod policy_test;
mod route;
mod suspended;

pub use access::{AccessCall, AccessReview, AccessRow};
pub use action::{
    Action, ActionKind, AttachCvc, CardScope, EraseCard, ExportCards, ExportScope, ForwardFacts,
    ForwardScope, Import, ManageEvents, ManageKeys, ManageTenant, MatchFingerprint, NamedCard,
    OpenCaptureSession, OpenForward, OpenForwardSubject, ReadAudit, ReadCard, ReadCards, ReadEvidence,
    ReadForward, ReadReceipt, ReadTenantAudit, ReceiptScope, ReconcileForward, RecordOutcome, RestoreCard,
    RestoreScope, RestoredCards, ResumeWorkload, ReviewAccess, ReviewLog, SuspendWorkload, TenantCards,
    TenantFacts, TenantScope, Tokenize, UpdateCard, UpdateCards, WantedCard,
};
pub use ask::{Answer, Ask, AskForward, AskTenant, IncompleteAsk};
pub use bundle::{
    BoundTenants, Bundle, BundleError, Person, PlannedRoute, PolicyFacts, PolicySource, Routes, WorkloadFacts,
};
pub use diff::{BundleDiff, Changes};
pub use engine::Authorizer;
pub use permit::{Decision, Denied, Permit};
pub use policy_test::{PolicyTest, PolicyTestError, PolicyTests};
pub use route::{RouteClaim, RouteFacts};
pub use suspended::{SUSPENDED, Suspended};
