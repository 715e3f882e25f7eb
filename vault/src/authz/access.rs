//! The access review: who can do what to whose cards, and where they can go, asked of the bundle itself.
//!
//! Promises: each row is an answer policy gave, not a reading of its text.
//! Does not promise: an answer for each tenant. Each group and each tenant a binding names is asked about with a tenant
//! that is in good standing; policies that look at single tenants besides show only in their own row.

use std::collections::BTreeSet;
use std::fmt;

use serde::Serialize;
use strongroom_domain::route::{AttributeSet, TenantScope as Served};
use strongroom_domain::{Environment, TenantId, TokenHash, WorkloadId};

use super::action::{
    ActionKind, ForwardFacts, NamedCard, OpenForwardSubject, Question, Shape, TenantFacts, WantedCard,
};
use super::bundle::PlannedRoute;
use super::engine::{Authorizer, Verdict};
use super::route::RouteClaim;

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
                    rows.extend(self.forward_row(id, caller, planned, account.name.as_str(), scopes));
                }
            }
        }
        rows
    }

    /// The calls of one route to one account on behalf of one caller. Calls that not all tenants may make make a row
    /// of their own, so that no row says more than policy did.
    fn forward_row(
        &self,
        id: &WorkloadId,
        caller: &WorkloadId,
        planned: &PlannedRoute,
        account: &str,
        scopes: &[Scope],
    ) -> Vec<AccessRow> {
        let mut rows: Vec<AccessRow> = Vec::new();
        for (index, call) in planned.route.allow.iter().enumerate() {
            let attributes = call.attributes();
            let claim = RouteClaim {
                route: planned.route.name.as_str(),
                route_sha256: &planned.route.sha256,
                account,
                method: &call.method,
                path: &sample_path(call.path.as_str()),
                host: &planned.route.upstream.host,
                attributes,
            };
            let Ok(route) = self.find_route(&claim) else { continue };
            let served = &route.account().tenants;
            let served_scopes: Vec<Scope> = scopes_served(scopes, served);
            let ask = |tenant: &TenantFacts| {
                let environment = self.bundle().environment;
                let card = NamedCard { token: TokenHash::from_bytes([0; 32]), environment };
                let cards = vec![WantedCard { card, attributes }];
                let (caller, tenant_id, route) = (caller.clone(), tenant.id.clone(), route.clone());
                let subject = OpenForwardSubject { caller, tenant: tenant_id, route, cards };
                self.ask_policy(id, ActionKind::OpenForward, &Question::Forward { tenant, subject: &subject })
            };
            let mut row = self.empty_row(id, ActionKind::OpenForward);
            row.policies = row.add_tenants(&served_scopes, ask);
            row.caller = Some(caller.clone());
            row.account = Some(format!("{}/{account}", planned.route.name));
            row.host = Some(planned.route.upstream.host.clone());
            let call = &planned.route.allow[index];
            let (method, path) = (call.method.clone(), call.path.as_str().to_owned());
            let call = AccessCall { method, path, attributes };
            let same =
                |other: &&mut AccessRow| other.tenants == row.tenants && other.policies == row.policies;
            match rows.iter_mut().find(same) {
                Some(other) => other.calls.push(call),
                None if row.tenants.is_empty() => {}
                None => rows.push(AccessRow { calls: vec![call], ..row }),
            }
        }
        rows
    }

    /// Every tenant, every group and every single tenant that a binding or an account names.
    fn scopes(&self) -> Vec<Scope> {
        let in_group = |group: &str| TenantFacts {
            id: TenantId::parse("any").expect("a lower-case word is a tenant's name"),
            groups: vec![group.to_owned()],
            suspended: false,
        };
        let mut scopes = std::collections::BTreeMap::from([("*".to_owned(), in_group("*"))]);
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
fn scopes_served(scopes: &[Scope], served: &[Served]) -> Vec<Scope> {
    if served.contains(&Served::Any) {
        return scopes.to_vec();
    }
    let mut narrowed = Vec::new();
    for (shown, tenant) in scopes {
        for one in served {
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

/// A path the pattern matches: each `{name}` stands for itself without braces.
fn sample_path(pattern: &str) -> String {
    pattern.replace(['{', '}'], "")
}

impl fmt::Display for AccessReview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "bundle version {} sha256 {} environment {}",
            self.bundle_version, self.bundle_sha256, self.environment
        )?;
        let mut table = vec![["who", "as", "may", "tenants", "where", "for", "by"].map(str::to_owned)];
        table.extend(self.rows.iter().map(AccessRow::cells));
        let widths: [usize; 7] =
            std::array::from_fn(|column| table.iter().map(|row| row[column].len()).max().unwrap_or(0));
        for row in &table {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        write!(f, "Everything else is denied.")
    }
}

impl AccessRow {
    fn cells(&self) -> [String; 7] {
        let roles: Vec<&str> = self.roles.iter().map(String::as_str).collect();
        let calls: Vec<String> = self.calls.iter().map(AccessCall::to_string).collect();
        let place = match (&self.account, &self.host) {
            (Some(account), Some(host)) => format!("{account} at {host}: {}", calls.join("; ")),
            _ => "-".to_owned(),
        };
        let tenants = if self.tenants.is_empty() { "-".to_owned() } else { self.tenants.join(", ") };
        [
            self.workload.to_string(),
            roles.join(", "),
            self.action.to_string(),
            tenants,
            place,
            self.caller.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            self.policies.join(", "),
        ]
    }
}

impl fmt::Display for AccessCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.attributes.iter().map(|attribute| attribute.as_str()).collect();
        write!(f, "{} {} ({})", self.method, self.path, names.join(" "))
    }
}
