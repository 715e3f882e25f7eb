//! Who may do what: the policy bundle, and the proofs it hands out.
//!
//! Promises: an operation that takes a [`Permit`] cannot be reached without a decision of the loaded bundle about the
//! very subject the permit carries. Default deny; an error while deciding is a denial.
//! Does not promise: that the facts given to it are true. Tenant groups and suspension come from the store, caller and
//! destination of a forward are the proxy's word (T-01).
//! Trusts: the bundle's files, which is why their hash is in every decision.
//! Upholds: C-05.

mod action;
mod bundle;
mod engine;
mod permit;
mod route;

pub use action::{
    Action, ActionKind, AttachCvc, CardScope, EraseCard, ForwardFacts, Import, ManageKeys, ManageTenant,
    MatchFingerprint, NamedCard, OpenCaptureSession, OpenForward, OpenForwardSubject, ReadAudit, ReadCard,
    ReadEvidence, RecordOutcome, TenantFacts, TenantScope, Tokenize, UpdateCard, WantedCard,
};
pub use bundle::{PlannedRoute, PolicySource, Routes};
pub use engine::{Authorizer, BundleError};
pub use permit::{Decision, Denied, Permit};
pub use route::{RouteClaim, RouteFacts};
