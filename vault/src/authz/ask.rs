//! Asking without permitting: what would policy say to this? For policy tests, the matrix and the access review.

use serde::{Deserialize, Serialize};
use strongroom_domain::route::Attribute;
use strongroom_domain::{Environment, TenantId, TokenHash, WorkloadId};

use super::action::{
    ActionKind, ForwardFacts, NamedCard, OpenForwardSubject, Question, Shape, TenantFacts, WantedCard,
};
use super::engine::{Authorizer, Verdict};
use super::route::RouteClaim;

/// A request as files write it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ask {
    /// Who asks. For `OpenForward` and `RecordOutcome` the proxy.
    pub workload: WorkloadId,
    /// For what.
    pub action: ActionKind,
    /// About whom; left out for the vault's own actions and `RecordOutcome`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<AskTenant>,
    /// What the token's prefix says; the vault's own environment if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token_environment: Option<Environment>,
    /// For `OpenForward`: where to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub forward: Option<AskForward>,
    /// For `RecordOutcome`: the proxy that opened the forward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub opened_by: Option<WorkloadId>,
}

/// A tenant as files write it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskTenant {
    /// Its name.
    pub id: TenantId,
    /// Its groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Whether it is suspended.
    #[serde(default)]
    pub suspended: bool,
}

/// A forward as files write it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AskForward {
    /// On whose behalf.
    pub caller: WorkloadId,
    /// Route name.
    pub route: String,
    /// SHA-256 of the proxy's route file, in hex; the bundle's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub route_sha256: Option<String>,
    /// Account name.
    pub account: String,
    /// HTTP method.
    pub method: String,
    /// Path below the route.
    pub path: String,
    /// Host; the route's own if left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// What is asked for.
    pub attributes: Vec<Attribute>,
}

/// What would be said.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Answer {
    /// Whether it is allowed.
    pub allowed: bool,
    /// `allowed`, or why not.
    pub reason: &'static str,
    /// The policies that decide, by `@id`.
    pub policies: Vec<String>,
}

/// A request that lacks what its action needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the action needs `{0}`")]
pub struct IncompleteAsk(&'static str);

impl Authorizer {
    /// What code and policy say. No permit comes of it, and nothing is audited.
    pub fn answer(&self, ask: &Ask) -> Result<Answer, IncompleteAsk> {
        let tenant = || ask.tenant.as_ref().map(AskTenant::facts).ok_or(IncompleteAsk("tenant"));
        let verdict = match ask.action.shape() {
            Shape::Tenant => self.judge(&ask.workload, ask.action, &Question::Tenant(&tenant()?)),
            Shape::Card => {
                let environment = self.environment_of(ask);
                let tenant = tenant()?;
                self.judge(&ask.workload, ask.action, &Question::Card { tenant: &tenant, environment })
            }
            Shape::Service => self.judge(&ask.workload, ask.action, &Question::Service),
            Shape::Outcome => {
                let opened_by = ask.opened_by.clone().ok_or(IncompleteAsk("opened_by"))?;
                self.judge(&ask.workload, ask.action, &Question::Outcome(&ForwardFacts { opened_by }))
            }
            Shape::Forward => {
                let forward = ask.forward.as_ref().ok_or(IncompleteAsk("forward"))?;
                self.judge_forward(ask, forward, &tenant()?)
            }
        };
        Ok(Answer { allowed: verdict.allowed, reason: verdict.reason, policies: verdict.policy_ids })
    }

    /// In the order of the operation: grant, route, then policy.
    fn judge_forward(&self, ask: &Ask, forward: &AskForward, tenant: &TenantFacts) -> Verdict {
        if let Err(reason) = self.may_ever(&ask.workload, ask.action) {
            return Verdict::denied(reason);
        }
        let planned = self.routes().find(&forward.route);
        let account = planned.and_then(|planned| planned.account(&forward.account));
        let own_host =
            planned.zip(account).map_or("", |(planned, account)| account.upstream(&planned.route).0);
        let own_hash = planned.map_or([0; 32], |planned| planned.route.sha256);
        let mut route_sha256 = own_hash;
        if let Some(text) = &forward.route_sha256
            && hex::decode_to_slice(text, &mut route_sha256).is_err()
        {
            return Verdict::denied("other-route-file");
        }
        let attributes = forward.attributes.iter().copied().collect();
        let claim = RouteClaim {
            route: &forward.route,
            route_sha256: &route_sha256,
            account: &forward.account,
            method: &forward.method,
            path: &forward.path,
            host: forward.host.as_deref().unwrap_or(own_host),
            attributes,
        };
        let route = match self.find_route(&claim) {
            Ok(route) => route,
            Err(reason) => return Verdict::denied(reason),
        };
        let card = NamedCard { token: TokenHash::from_bytes([0; 32]), environment: self.environment_of(ask) };
        let cards = vec![WantedCard { card, attributes }];
        let subject =
            OpenForwardSubject { caller: forward.caller.clone(), tenant: tenant.id.clone(), route, cards };
        self.judge(&ask.workload, ask.action, &Question::Forward { tenant, subject: &subject })
    }

    fn environment_of(&self, ask: &Ask) -> Environment {
        ask.token_environment.unwrap_or(self.bundle().environment)
    }
}

impl AskTenant {
    fn facts(&self) -> TenantFacts {
        TenantFacts { id: self.id.clone(), groups: self.groups.clone(), suspended: self.suspended }
    }
}
