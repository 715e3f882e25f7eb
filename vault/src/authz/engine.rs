//! Deciding: what code knows first, then what policy says. Default deny.
//!
//! Promises: an error while policies are evaluated is a denial; so is a missing fact. Each decision, either way, has an
//! id, the policies that decided and the hash of the bundle.
//! Upholds: C-05.

mod memory;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use cedar_policy::{Entities, Entity, EntityUid, PolicySet};
use strongroom_domain::{Clock, DecisionId, Environment, Random, RandomUnavailable, Timestamp, WorkloadId};

use super::action::{Action, ActionKind, Question};
use super::bundle::{Bundle, BundleError, Person, PolicySource, Routes, slice as slice_of};
use super::conform;
use super::entities::Vocabulary;
use super::permit::{Decision, Denied, Permit};
use super::route::{RouteClaim, RouteFacts};
use super::suspended::{SUSPENDED, Suspended};
use memory::{Asked, Memory};

/// Decides by one loaded bundle. Immutable: a reload makes another.
pub struct Authorizer {
    clock: Arc<dyn Clock>,
    random: Arc<dyn Random>,
    bundle: Bundle,
    vocabulary: Vocabulary,
    known: HashMap<WorkloadId, Known>,
    cedar: cedar_policy::Authorizer,
    memory: Memory,
    suspended: Arc<Suspended>,
}

/// A workload as policy is shown it.
struct Known {
    uid: EntityUid,
    entity: Entity,
    /// Itself alone; what a question brings is added to a copy.
    entities: Entities,
    /// By position in [`ActionKind::ALL`].
    slices: Arc<[Slice]>,
}

/// The policies that can have a say about one action for one set of roles.
struct Slice {
    action: EntityUid,
    policies: PolicySet,
    /// Whether any of them permits.
    permits: bool,
}

/// What came of a question.
pub(super) struct Verdict {
    pub(super) allowed: bool,
    /// `allowed`, or why not.
    pub(super) reason: &'static str,
    /// The policies that decided, sorted.
    pub(super) policy_ids: Vec<String>,
}

/// The reason of an allow.
const ALLOWED: &str = "allowed";

impl Verdict {
    pub(super) const fn denied(reason: &'static str) -> Self {
        Self { allowed: false, reason, policy_ids: Vec::new() }
    }
}

impl Authorizer {
    /// Reads and validates a bundle and prepares it for deciding. Pure but for reading the files.
    ///
    /// # Errors
    /// Whatever does not validate is refused, with the file and what to change.
    pub fn load(
        source: &PolicySource,
        environment: Environment,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, BundleError> {
        Self::prepare(Bundle::load(source, environment)?, clock, random)
    }

    /// For asking without permitting: `vault policy test` and `access`. Having no randomness, it can decide nothing.
    pub fn for_review(source: &PolicySource, environment: Environment) -> Result<Self, BundleError> {
        Self::load(source, environment, Arc::new(Stopped), Arc::new(Dry))
    }

    fn prepare(bundle: Bundle, clock: Arc<dyn Clock>, random: Arc<dyn Random>) -> Result<Self, BundleError> {
        let vocabulary = Vocabulary::new(bundle.environment);
        conform::check(&bundle, &vocabulary)?;
        let mut by_roles: HashMap<&BTreeSet<String>, Arc<[Slice]>> = HashMap::new();
        let mut known = HashMap::with_capacity(bundle.workloads.len());
        for (id, facts) in &bundle.workloads {
            let slices = by_roles
                .entry(&facts.roles)
                .or_insert_with(|| slices(&bundle.policies.set, &vocabulary, &facts.roles));
            let entity = vocabulary.names.workload_entity(facts);
            let entities = Entities::from_entities([entity.clone()], None)
                .map_err(|error| BundleError::new("workloads.json", format!("workload `{id}`: {error}")))?;
            let slices = Arc::clone(slices);
            known.insert(id.clone(), Known { uid: vocabulary.names.workload(id), entity, entities, slices });
        }
        let cedar = cedar_policy::Authorizer::new();
        let (memory, suspended) = (Memory::default(), Arc::default());
        Ok(Self { clock, random, bundle, vocabulary, known, cedar, memory, suspended })
    }

    /// The same, refusing whoever is suspended.
    #[must_use]
    pub fn refusing(self, suspended: Arc<Suspended>) -> Self {
        Self { suspended, ..self }
    }

    /// Decides whether `caller` may do `A` to `subject`, given what the store says of it.
    pub fn decide<A: Action>(
        &self,
        caller: &WorkloadId,
        subject: A::Subject,
        facts: &A::Facts,
    ) -> Result<Permit<A>, Denied> {
        let verdict = match A::question(&subject, facts) {
            Ok(question) if self.is_suspended(caller, &question) => Verdict::denied(SUSPENDED),
            Ok(question) => self.judge(caller, A::KIND, &question),
            Err(reason) => Verdict::denied(reason),
        };
        let decision = self.decision(verdict.policy_ids);
        match (verdict.allowed, decision) {
            (true, Ok(decision)) => Ok(Permit::new(decision, caller.clone(), subject)),
            (true, Err(decision)) => Err(Denied { decision, reason: "no-randomness" }),
            (false, Ok(decision) | Err(decision)) => Err(Denied { decision, reason: verdict.reason }),
        }
    }

    /// Whether any policy could ever permit `caller` to do `A`. Asked before a token is looked up, so that an identity
    /// without the grant learns nothing from the look-up.
    pub fn admit<A: Action>(&self, caller: &WorkloadId) -> Result<(), Denied> {
        self.must_not_be_suspended(caller)?;
        self.may_ever(caller, A::KIND).map_err(|reason| self.denied(reason))
    }

    /// Refuses a workload that is suspended. [`Self::decide`] and [`Self::admit`] ask it of who asks; of whom he asks for,
    /// before anything is looked up, whoever knows that first.
    pub fn must_not_be_suspended(&self, workload: &WorkloadId) -> Result<(), Denied> {
        if self.suspended.holds(workload) { Err(self.denied(SUSPENDED)) } else { Ok(()) }
    }

    /// Whether who asks is suspended, or whom he asks for.
    fn is_suspended(&self, caller: &WorkloadId, question: &Question<'_>) -> bool {
        let behind = match question {
            Question::Forward { subject, .. } => Some(&subject.caller),
            Question::Tenant(_) | Question::Card { .. } | Question::Outcome(_) | Question::Service => None,
        };
        self.suspended.holds(caller) || behind.is_some_and(|behind| self.suspended.holds(behind))
    }

    pub(super) fn may_ever(&self, caller: &WorkloadId, action: ActionKind) -> Result<(), &'static str> {
        match self.slice(caller, action) {
            None => Err("unknown-workload"),
            Some((_, slice)) if !slice.permits => Err("no-policy"),
            Some(_) => Ok(()),
        }
    }

    /// Holds a proxy's claim against the route files: route known with the same bytes, account known, host the
    /// route's, method and path listed under `allow`, attributes within that call's.
    pub fn check_route(&self, claim: &RouteClaim<'_>) -> Result<RouteFacts, Denied> {
        self.find_route(claim).map_err(|reason| self.denied(reason))
    }

    pub(super) fn find_route(&self, claim: &RouteClaim<'_>) -> Result<RouteFacts, &'static str> {
        RouteFacts::check(&self.bundle.routes, self.bundle.sha256, claim)
    }

    /// The roles of a workload, as `workloads.json` lists them.
    #[must_use]
    pub fn roles_of(&self, workload: &WorkloadId) -> Option<&BTreeSet<String>> {
        self.bundle.workloads.get(workload).map(|facts| &facts.roles)
    }

    /// Whose identity this is, as `workloads.json` says; none for a service.
    #[must_use]
    pub fn person_of(&self, workload: &WorkloadId) -> Option<&Person> {
        self.bundle.workloads.get(workload)?.person.as_ref()
    }

    /// The bundle that decides.
    #[must_use]
    pub const fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The routes of the bundle.
    #[must_use]
    pub const fn routes(&self) -> &Routes {
        &self.bundle.routes
    }

    /// Content hash of the bundle.
    #[must_use]
    pub const fn bundle_sha256(&self) -> &[u8; 32] {
        &self.bundle.sha256
    }

    /// What code and policy say to a question. No permit comes of it.
    pub(super) fn judge(&self, caller: &WorkloadId, action: ActionKind, question: &Question<'_>) -> Verdict {
        if !self.known.contains_key(caller) {
            return Verdict::denied("unknown-workload");
        }
        if let Question::Forward { subject, .. } = question {
            if !self.known.contains_key(&subject.caller) {
                return Verdict::denied("unknown-caller");
            }
            if let Err(reason) = subject.route.must_fit(subject, &self.bundle.sha256) {
                return Verdict::denied(reason);
            }
        }
        let asked = Asked::new(caller, action, question);
        if let Some(policy_ids) = self.memory.of(&asked) {
            return Verdict { allowed: true, reason: ALLOWED, policy_ids };
        }
        let verdict = self.ask_policy(caller, action, question);
        if verdict.allowed {
            self.memory.keep(asked, verdict.policy_ids.clone());
        }
        verdict
    }

    /// What policy alone says.
    pub(super) fn ask_policy(
        &self,
        caller: &WorkloadId,
        action: ActionKind,
        question: &Question<'_>,
    ) -> Verdict {
        let Some((known, slice)) = self.slice(caller, action) else {
            return Verdict::denied("unknown-workload");
        };
        let request = self.vocabulary.request(&known.uid, &slice.action, question, None);
        let entities = known.entities.clone().add_entities(self.brought_by(question), None);
        let (Ok(request), Ok(entities)) = (request, entities) else {
            return Verdict::denied("policy-error");
        };
        let response = self.cedar.is_authorized(&request, &slice.policies, &entities);
        let mut policy_ids: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        policy_ids.sort_unstable();
        let allowed = response.decision() == cedar_policy::Decision::Allow;
        // Cedar skips a policy that fails to evaluate. A skipped guardrail must not be an allow.
        if response.diagnostics().errors().next().is_some() {
            return Verdict { allowed: false, reason: "policy-error", policy_ids };
        }
        let reason = match (allowed, policy_ids.is_empty()) {
            (true, _) => ALLOWED,
            (false, true) => "no-policy",
            (false, false) => "guardrail",
        };
        Verdict { allowed, reason, policy_ids }
    }

    /// The entities a question speaks of, besides who asks.
    fn brought_by(&self, question: &Question<'_>) -> Vec<Entity> {
        let names = &self.vocabulary.names;
        match question {
            Question::Tenant(tenant) | Question::Card { tenant, .. } => vec![names.tenant_entity(tenant)],
            Question::Forward { tenant, subject } => {
                let caller = self.known.get(&subject.caller).map(|known| known.entity.clone());
                std::iter::once(names.tenant_entity(tenant)).chain(caller).collect()
            }
            Question::Outcome(_) | Question::Service => Vec::new(),
        }
    }

    fn slice(&self, caller: &WorkloadId, action: ActionKind) -> Option<(&Known, &Slice)> {
        let known = self.known.get(caller)?;
        known.slices.get(action as usize).map(|slice| (known, slice))
    }

    fn denied(&self, reason: &'static str) -> Denied {
        let (Ok(decision) | Err(decision)) = self.decision(Vec::new());
        Denied { decision, reason }
    }

    /// Names a decision. Without randomness the name is made of the time alone, and the decision can only be a no.
    fn decision(&self, policy_ids: Vec<String>) -> Result<Decision, Decision> {
        let (bundle_sha256, bundle_version) = (self.bundle.sha256, self.bundle.version);
        let named = |id| Decision { id, policy_ids, bundle_sha256, bundle_version };
        match DecisionId::generate(&*self.clock, &*self.random) {
            Ok(id) => Ok(named(id)),
            Err(RandomUnavailable) => {
                Err(named(DecisionId::generate(&*self.clock, &Zeros).expect("zeros never run out")))
            }
        }
    }
}

struct Stopped;

impl Clock for Stopped {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(0)
    }
}

struct Dry;

impl Random for Dry {
    fn fill(&self, _: &mut [u8]) -> Result<(), RandomUnavailable> {
        Err(RandomUnavailable)
    }
}

struct Zeros;

impl Random for Zeros {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        out.fill(0);
        Ok(())
    }
}

fn slices(set: &PolicySet, vocabulary: &Vocabulary, roles: &BTreeSet<String>) -> Arc<[Slice]> {
    let slice = |kind: &ActionKind| {
        let action = vocabulary.names.action(*kind);
        let policies = slice_of(set, &vocabulary.names, &action, roles);
        let permits = policies.policies().any(|policy| policy.effect() == cedar_policy::Effect::Permit);
        Slice { action, policies, permits }
    };
    ActionKind::ALL.iter().map(slice).collect()
}

#[cfg(test)]
mod tests;
