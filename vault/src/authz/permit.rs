//! The proof of a decision, and its opposite.

use std::fmt;
use std::marker::PhantomData;

use strongroom_domain::{DecisionId, WorkloadId};

use super::action::Action;

/// One decision, as the audit entry names it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Decision {
    /// Its own name.
    pub id: DecisionId,
    /// The policies that decided, by `@id`, sorted. Empty when no policy permits, or when code refused first.
    pub policy_ids: Vec<String>,
    /// Content hash of the bundle that decided.
    pub bundle_sha256: [u8; 32],
    /// Version of the bundle that decided.
    pub bundle_version: u64,
}

/// Proof that policy allowed action `A` on one subject. Made only by `Authorizer::decide`; not `Clone`.
///
/// ```
/// use strongroom_vault::authz::{Permit, TenantScope, Tokenize};
/// fn spend(permit: Permit<Tokenize>) -> TenantScope {
///     permit.into_subject()
/// }
/// ```
/// Its fields and its constructor are private, and it is spent once:
/// ```compile_fail,E0451
/// # use std::marker::PhantomData;
/// # use strongroom_domain::WorkloadId;
/// # use strongroom_vault::authz::{Decision, Permit, TenantScope, Tokenize};
/// fn forge(decision: Decision, workload: WorkloadId, subject: TenantScope) -> Permit<Tokenize> {
///     Permit { decision, workload, subject, action: PhantomData }
/// }
/// ```
/// ```compile_fail,E0624
/// # use strongroom_domain::WorkloadId;
/// # use strongroom_vault::authz::{Decision, Permit, TenantScope, Tokenize};
/// fn forge(decision: Decision, workload: WorkloadId, subject: TenantScope) -> Permit<Tokenize> {
///     Permit::new(decision, workload, subject)
/// }
/// ```
/// ```compile_fail,E0382
/// # use strongroom_vault::authz::{Permit, TenantScope, Tokenize};
/// fn twice(permit: Permit<Tokenize>) -> (TenantScope, TenantScope) {
///     (permit.into_subject(), permit.into_subject())
/// }
/// ```
#[must_use = "an unspent decision is an allow nobody audited"]
#[derive(Debug)]
pub struct Permit<A: Action> {
    decision: Decision,
    workload: WorkloadId,
    subject: A::Subject,
    action: PhantomData<fn() -> A>,
}

impl<A: Action> Permit<A> {
    pub(in crate::authz) const fn new(decision: Decision, workload: WorkloadId, subject: A::Subject) -> Self {
        Self { decision, workload, subject, action: PhantomData }
    }

    /// What the decision was about.
    pub const fn subject(&self) -> &A::Subject {
        &self.subject
    }

    /// Who asked.
    pub const fn workload(&self) -> &WorkloadId {
        &self.workload
    }

    /// The decision, for the audit entry.
    pub const fn decision(&self) -> &Decision {
        &self.decision
    }

    /// Spends the permit: its subject, to act on, and its decision, to record.
    pub fn into_parts(self) -> (A::Subject, Decision) {
        (self.subject, self.decision)
    }

    /// Spends the permit for its subject; the decision is already recorded.
    pub fn into_subject(self) -> A::Subject {
        self.subject
    }
}

/// A refusal. It is audited like a permit.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub struct Denied {
    /// The decision, for the audit entry.
    pub decision: Decision,
    /// Why, as the audit entry says it: `unknown-workload`, `no-policy`, `guardrail`, …
    pub reason: &'static str,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "denied: {}", self.reason)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::{OpenForward, Tokenize};

    static_assertions::assert_not_impl_any!(Permit<Tokenize>: Clone, Copy, Default, serde::Serialize);
    static_assertions::assert_not_impl_any!(Permit<OpenForward>: Clone, Copy, Default, serde::Serialize);
    static_assertions::assert_impl_all!(Permit<OpenForward>: Send, Sync);
}
