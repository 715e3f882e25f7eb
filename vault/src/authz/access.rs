//! The access review: who can do what to whose cards, and where they can go, asked of the bundle itself.
//!
//! Promises: each row is an answer policy gave, not a reading of its text.
//! Does not promise: an answer for each tenant. Each group and each tenant a binding names is asked about with a tenant
//! that is in good standing; policies that look at single tenants besides show only in their own row.

mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use strongroom_domain::route::{Account, AttributeSet, TenantScope as Served};
use strongroom_domain::{Environment, TenantId, TokenHash, WorkloadId};

use super::action::{
    ActionKind, ForwardFacts, NamedCard, OpenForwardSubject, Question, Shape, TenantFacts, WantedCard,
};
use super::bundle::{Person, PlannedRoute};
use super::engine::{Authorizer, Verdict};
use super::route::RouteFacts;

/// Who can do what, by one bundle.
#[derive(Clone, Debug, Serialize)]
pub struct AccessReview {
    /// Environment it is of.
    pub environment: Environment,
    /// Version of the bundle.
    pub bundle_version: u64,
    /// Content hash of the bundle, in hex.
    pub bundle_sha256: String,
    /// Every grant; what is not here is denied.
    pub rows: Vec<AccessRow>,
}

/// One grant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AccessRow {
    /// Who.
    pub workload: WorkloadId,
    /// Whose identity it is, if a person holds it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    /// As what.
    pub roles: BTreeSet<String>,
    /// What.
    pub action: ActionKind,
    /// Whose: `*`, `group NAME`, or a tenant's name. Empty where the action is about no tenant.
    pub tenants: Vec<String>,
    /// For `OpenForward`: on whose behalf.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub caller: Option<WorkloadId>,
    /// For `OpenForward`: `route/account`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// For `OpenForward`: the host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// For `OpenForward`: the calls, and what each takes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub calls: Vec<AccessCall>,
    /// The policies that permit.
    pub policies: Vec<String>,
}

/// One call that card data may be put into.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct AccessCall {
    /// HTTP method.
    pub method: String,
    /// Path, as the route lists it.
    pub path: String,
    /// What it takes.
    pub attributes: AttributeSet,
}

/// Tenants to ask about: what a row shows, and a tenant that stands for it.
type Scope = (String, TenantFacts);

impl Authorizer {
    /// Who can do what. Asks every workload × action × group, and for forwards × caller × account × call.
    #[must_use]
    pub fn access(&self) -> AccessReview {
        let scopes = self.scopes();
        let mut rows = Vec::new();
        for id in self.bundle().workloads.keys() {
            for action in ActionKind::ALL.iter().filter(|action| self.may_ever(id, **action).is_ok()) {
                match action {
                    ActionKind::OpenForward => rows.extend(self.forward_rows(id, &scopes)),
                    _ => rows.extend(self.plain_row(id, *action, &scopes)),
                }
            }
        }
        let bundle = self.bundle();
        let (environment, bundle_version) = (bundle.environment, bundle.version);
        AccessReview { environment, bundle_version, bundle_sha256: hex::encode(bundle.sha256), rows }
    }

    fn plain_row(&self, id: &WorkloadId, action: ActionKind, scopes: &[Scope]) -> Option<AccessRow> {
        let environment = self.bundle().environment;
        let mut row = self.empty_row(id, action);
        if action.shape() == Shape::Service {
            return row.permitted_by(self.ask_policy(id, action, &Question::Service));
        }
        if action.shape() == Shape::Outcome {
            let own = ForwardFacts { opened_by: id.clone() };
            return row.permitted_by(self.ask_policy(id, action, &Question::Outcome(&own)));
        }
        let ask = |tenant: &TenantFacts| match action.shape() {
            Shape::Card => self.ask_policy(id, action, &Question::Card { tenant, environment }),
            _ => self.ask_policy(id, action, &Question::Tenant(tenant)),
        };
        let by = row.add_tenants(scopes, ask);
        (!row.tenants.is_empty()).then_some(AccessRow { policies: by, ..row })
    }

    fn forward_rows(&self, id: &WorkloadId, scopes: &[Scope]) -> Vec<AccessRow> {
        let mut rows = Vec::new();
        for caller in self.bundle().workloads.keys() {
            for planned in self.routes().iter() {
                for account in &planned.accounts {
                    let scopes = served(scopes, &account.tenants);
                    rows.extend(self.account_rows(id, caller, planned, account, &scopes));
                }
            }
        }
        rows
    }

    /// The calls to one account on behalf of one caller. Calls that other tenants may make, or other policies permit,
    /// stand in rows of their own, so that no row says more than policy did.
    fn account_rows(
        &self,
        id: &WorkloadId,
        caller: &WorkloadId,
        planned: &PlannedRoute,
        account: &Arc<Account>,
        scopes: &[Scope],
    ) -> Vec<AccessRow> {
        let mut rows: Vec<AccessRow> = Vec::new();
        for (index, call) in planned.route.allow.iter().enumerate() {
            let route = RouteFacts::of_call(&planned.route, account, index, self.bundle().sha256);
            let mut row = self.empty_row(id, ActionKind::OpenForward);
            row.policies = row.add_tenants(scopes, |tenant| self.ask_forward(id, caller, tenant, &route));
            let same =
                |other: &&mut AccessRow| other.tenants == row.tenants && other.policies == row.policies;
            let (method, path) = (call.method.clone(), call.path.as_str().to_owned());
            let call = AccessCall { method, path, attributes: call.attributes() };
            match rows.iter_mut().find(same) {
                Some(other) => other.calls.push(call),
                None if row.tenants.is_empty() => {}
                None => {
                    row.caller = Some(caller.clone());
                    row.account = Some(format!("{}/{}", planned.route.name, account.name));
                    row.host = Some(account.upstream(&planned.route).0.to_owned());
                    row.calls.push(call);
                    rows.push(row);
                }
            }
        }
        rows
    }

    /// Asks for everything the call declares.
    fn ask_forward(
        &self,
        id: &WorkloadId,
        caller: &WorkloadId,
        tenant: &TenantFacts,
        route: &RouteFacts,
    ) -> Verdict {
        let card =
            NamedCard { token: TokenHash::from_bytes([0; 32]), environment: self.bundle().environment };
        let subject = OpenForwardSubject {
            caller: caller.clone(),
            tenant: tenant.id.clone(),
            route: route.clone(),
            cards: vec![WantedCard { card, attributes: route.call().attributes() }],
        };
        self.ask_policy(id, ActionKind::OpenForward, &Question::Forward { tenant, subject: &subject })
    }

    /// Every tenant, every group and every single tenant that a binding names.
    fn scopes(&self) -> Vec<Scope> {
        let in_group = |group: &str| TenantFacts {
            id: TenantId::parse("any").expect("a lower-case word is a tenant's name"),
            groups: vec![group.to_owned()],
            suspended: false,
        };
        let mut scopes = BTreeMap::from([("*".to_owned(), in_group("*"))]);
        for facts in self.bundle().workloads.values() {
            for group in facts.tenants.groups.iter().filter(|group| *group != "*") {
                scopes.insert(format!("group {group}"), in_group(group));
            }
            for id in &facts.tenants.ids {
                scopes.insert(id.to_string(), TenantFacts::unknown(id.clone()));
            }
        }
        scopes.into_iter().collect()
    }

    fn empty_row(&self, id: &WorkloadId, action: ActionKind) -> AccessRow {
        AccessRow {
            workload: id.clone(),
            person: self.person_of(id).cloned(),
            roles: self.roles_of(id).cloned().unwrap_or_default(),
            action,
            tenants: Vec::new(),
            caller: None,
            account: None,
            host: None,
            calls: Vec::new(),
            policies: Vec::new(),
        }
    }
}

impl AccessRow {
    fn permitted_by(self, verdict: Verdict) -> Option<Self> {
        verdict.allowed.then_some(Self { policies: verdict.policy_ids, ..self })
    }

    /// Adds the scopes that are allowed and returns the policies that permit. `*` alone where all are.
    fn add_tenants(&mut self, scopes: &[Scope], ask: impl Fn(&TenantFacts) -> Verdict) -> Vec<String> {
        let mut policies = BTreeSet::new();
        for (shown, tenant) in scopes {
            let verdict = ask(tenant);
            if verdict.allowed {
                policies.extend(verdict.policy_ids);
                self.tenants.push(shown.clone());
            }
        }
        if self.tenants.len() == scopes.len() && self.tenants.iter().any(|shown| shown == "*") {
            self.tenants = vec!["*".to_owned()];
        }
        policies.into_iter().collect()
    }
}

/// The scopes an account can serve: all, or each scope narrowed to each tenant the account names.
fn served(scopes: &[Scope], by: &[Served]) -> Vec<Scope> {
    if by.contains(&Served::Any) {
        return scopes.to_vec();
    }
    let mut narrowed = Vec::new();
    for (shown, tenant) in scopes {
        for one in by {
            let Served::One(id) = one else { continue };
            let facts = TenantFacts { id: id.clone(), ..tenant.clone() };
            match shown.as_str() {
                shown if shown == id.as_str() => narrowed.push((shown.to_owned(), facts)),
                "*" => narrowed.push((id.to_string(), facts)),
                shown if shown.starts_with("group ") => narrowed.push((format!("{id} in {shown}"), facts)),
                _ => {}
            }
        }
    }
    narrowed
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::fixture::{files, load, with, workload};

    fn rows(review: &AccessReview, action: ActionKind) -> Vec<&AccessRow> {
        review.rows.iter().filter(|row| row.action == action).collect()
    }

    #[test]
    fn the_review_says_who_reaches_whose_cards_where() {
        let review = load(&files()).unwrap().access();
        let [default, globex] = rows(&review, ActionKind::OpenForward)[..] else { panic!("two accounts") };
        assert_eq!(
            (&default.workload, default.caller.as_ref()),
            (&workload("proxy"), Some(&workload("orchestrator")))
        );
        assert_eq!(
            (default.account.as_deref(), default.host.as_deref()),
            (Some("psp/default"), Some("psp.example"))
        );
        assert_eq!(default.tenants, ["group merchants"]);
        assert_eq!(default.calls[0].to_string(), "POST /cards/{id} (number exp)");
        assert_eq!(globex.tenants, ["globex in group merchants"]);
        let [manage] = rows(&review, ActionKind::ManageTenant)[..] else { panic!("one platform") };
        assert_eq!(manage.tenants, ["*"]);
        assert_eq!(rows(&review, ActionKind::MatchFingerprint).len(), 1);
        assert_eq!(rows(&review, ActionKind::RecordOutcome).len(), 1);
    }

    #[test]
    fn what_policy_no_longer_permits_leaves_the_review() {
        let without = with(
            "workloads.json",
            "\"callers\": [\"spiffe://strongroom.test/orchestrator\"]",
            "\"callers\": []",
        );
        assert_eq!(rows(&load(&without).unwrap().access(), ActionKind::OpenForward).len(), 0);
        let single = with("workloads.json", "\"groups\": [\"merchants\"]", "\"ids\": [\"acme\"]");
        let review = load(&single).unwrap().access();
        assert_eq!(rows(&review, ActionKind::Tokenize)[0].tenants, ["acme"]);
    }

    #[test]
    fn the_table_has_a_line_for_each_row() {
        let review = load(&files()).unwrap().access();
        let table = review.to_string();
        assert_eq!(table.lines().count(), review.rows.len() + 3);
        assert!(table.contains("psp/default at psp.example: POST /cards/{id} (number exp)"), "{table}");
    }
}
