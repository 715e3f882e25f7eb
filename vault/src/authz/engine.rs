//! Deciding. Until policies are read, every answer is no.

use std::sync::Arc;

use strongroom_domain::{Clock, DecisionId, Environment, Random, RandomUnavailable, WorkloadId};

use super::action::Action;
use super::bundle::{PolicySource, Routes};
use super::permit::{Decision, Denied, Permit};
use super::route::{RouteClaim, RouteFacts};

/// Why a bundle is refused: the sentence says which file and what to change.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {what}")]
pub struct BundleError {
    /// The file, by its path inside the bundle.
    pub file: String,
    /// What is wrong there.
    pub what: String,
}

/// Decides by one loaded bundle. Immutable: a reload makes another.
pub struct Authorizer {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    routes: Routes,
    bundle_sha256: [u8; 32],
}

impl Authorizer {
    /// Reads and validates a bundle. Pure but for reading the files; anything that does not validate is refused.
    pub fn load(
        source: &PolicySource,
        environment: Environment,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, BundleError> {
        let _ = (source, environment);
        Ok(Self { clock, random, routes: Routes::default(), bundle_sha256: [0; 32] })
    }

    /// Decides whether `caller` may do `A` to `subject`. Default deny.
    pub fn decide<A: Action>(
        &self,
        caller: &WorkloadId,
        subject: A::Subject,
        facts: &A::Facts,
    ) -> Result<Permit<A>, Denied> {
        let refused = |reason| Denied { decision: self.decision(Vec::new()), reason };
        A::question(&subject, facts).map_err(refused)?;
        let _ = caller;
        Err(refused("no-policy"))
    }

    /// Whether any policy could ever permit `caller` to do `A`: asked before a token is looked up, so that an
    /// identity without the grant learns nothing from the look-up.
    pub fn admit<A: Action>(&self, caller: &WorkloadId) -> Result<(), Denied> {
        let _ = caller;
        Err(Denied { decision: self.decision(Vec::new()), reason: "unknown-workload" })
    }

    /// Holds a proxy's claim against the route files: route known with the same bytes, account known, host the
    /// route's, method and path listed under `allow`, attributes within that call's.
    pub fn check_route(&self, claim: &RouteClaim<'_>) -> Result<RouteFacts, Denied> {
        RouteFacts::check(&self.routes, self.bundle_sha256, claim)
            .map_err(|reason| Denied { decision: self.decision(Vec::new()), reason })
    }

    /// The routes of the bundle.
    #[must_use]
    pub const fn routes(&self) -> &Routes {
        &self.routes
    }

    /// Content hash of the bundle.
    #[must_use]
    pub const fn bundle_sha256(&self) -> &[u8; 32] {
        &self.bundle_sha256
    }

    fn decision(&self, policy_ids: Vec<String>) -> Decision {
        let id = DecisionId::generate(&*self.clock, &*self.random)
            .unwrap_or_else(|RandomUnavailable| DecisionId::from_uuid(uuid::Uuid::nil()));
        Decision { id, policy_ids, bundle_sha256: self.bundle_sha256, bundle_version: 0 }
    }
}
