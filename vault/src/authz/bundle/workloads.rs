//! `workloads.json`: who there is, as what, and what each is bound to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use strongroom_domain::{TenantId, WorkloadId};

use super::BundleError;
use super::policies::Policies;
use super::routes::Routes;

const FILE: &str = "workloads.json";
/// In a binding: every tenant, every route of the bundle.
const EVERY: &str = "*";

/// One workload and its bindings.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadFacts {
    /// Its mTLS identity.
    pub id: WorkloadId,
    /// Whose it is, if a person holds it. Several identities of one person are one person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<Person>,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub about: String,
    /// Its roles, of those the schema lists.
    pub roles: BTreeSet<String>,
    /// The tenants it may touch at all.
    #[serde(default)]
    pub tenants: BoundTenants,
    /// The routes its forwards may take, with every account there; `*`: every route of the bundle.
    #[serde(default)]
    pub routes: BTreeSet<String>,
    /// Single accounts, `<route>/<account>`, besides.
    #[serde(default)]
    pub accounts: BTreeSet<String>,
    /// For a proxy: on whose behalf it may open forwards.
    #[serde(default)]
    pub callers: BTreeSet<WorkloadId>,
}

/// A person, as the bundle names them: 1 to 63 lower-case letters, digits and inner hyphens.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize)]
#[serde(transparent)]
pub struct Person(std::sync::Arc<str>);

impl Person {
    /// ```
    /// # use strongroom_vault::authz::Person;
    /// assert!(Person::parse("person-1").is_some());
    /// assert!(Person::parse("Person 1").is_none());
    /// ```
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        TenantId::parse(text).ok().map(|name| Self(name.as_str().into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for Person {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        let detail = "a person is 1 to 63 lower-case letters, digits and inner hyphens";
        Self::parse(&text).ok_or_else(|| serde::de::Error::custom(detail))
    }
}

/// Tenants a workload is bound to.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BoundTenants {
    /// Groups; `*`: every tenant.
    #[serde(default)]
    pub groups: BTreeSet<String>,
    /// Single tenants.
    #[serde(default)]
    pub ids: BTreeSet<TenantId>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WorkloadsFile {
    workloads: Vec<WorkloadFacts>,
}

pub(super) fn read(
    text: &str,
    routes: &Routes,
    policies: &Policies,
) -> Result<BTreeMap<WorkloadId, WorkloadFacts>, BundleError> {
    let refused = |what: String| BundleError::new(FILE, what);
    let file: WorkloadsFile = serde_json::from_str(text).map_err(|error| refused(error.to_string()))?;
    let mut workloads = BTreeMap::new();
    for mut workload in file.workloads {
        let id = workload.id.clone();
        workload.check(routes, policies).map_err(|what| refused(format!("workload `{id}`: {what}")))?;
        workload.expand(routes);
        if workloads.insert(id.clone(), workload).is_some() {
            return Err(refused(format!("workload `{id}` is listed twice")));
        }
    }
    for workload in workloads.values() {
        if let Some(caller) = workload.callers.iter().find(|caller| !workloads.contains_key(*caller)) {
            return Err(refused(format!(
                "workload `{}`: caller `{caller}` is no workload of this file",
                workload.id
            )));
        }
    }
    Ok(workloads)
}

impl WorkloadFacts {
    fn check(&self, routes: &Routes, policies: &Policies) -> Result<(), String> {
        if self.roles.is_empty() {
            return Err("it needs at least one role".into());
        }
        if let Some(role) = self.roles.iter().find(|role| !policies.knows_role(role)) {
            return Err(format!("schema.cedarschema lists no role `{role}`"));
        }
        let is_group = |group: &str| group == EVERY || TenantId::parse(group).is_ok();
        if let Some(group) = self.tenants.groups.iter().find(|group| !is_group(group)) {
            return Err(format!("group `{group}` is neither `*` nor lower-case letters, digits and hyphens"));
        }
        let unknown = |route: &&String| *route != EVERY && routes.find(route).is_none();
        if let Some(route) = self.routes.iter().find(unknown) {
            return Err(format!("there is no routes/{route}.toml"));
        }
        let known = |account: &str| {
            let (route, name) = account.split_once('/')?;
            routes.find(route)?.account(name)
        };
        if let Some(account) = self.accounts.iter().find(|account| known(account).is_none()) {
            return Err(format!("there is no accounts/{account}.toml"));
        }
        if !self.callers.is_empty() && !self.roles.contains("proxy") {
            return Err("only a proxy has callers".into());
        }
        Ok(())
    }

    /// Writes `*` of routes out, so that policy only ever compares names.
    fn expand(&mut self, routes: &Routes) {
        if self.routes.remove(EVERY) {
            self.routes.extend(routes.iter().map(|planned| planned.route.name.to_string()));
        }
    }
}
