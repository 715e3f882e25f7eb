//! Who may call: those on whose behalf `workloads.json` lets a proxy open forwards, each at the routes it is bound to.
//!
//! A `pass` call, and an `allow` call without a token, ask the vault nothing, and still move money under the account's
//! own credential. A certificate of the house alone is no permission for that.
//!
//! Promises: a caller the bundle does not name, or not for this route and account, reaches no PSP, with or without a
//! token.
//! Does not promise: to tell proxies apart. Where a bundle has several, a caller of one is a caller of all; the vault
//! binds each to its own.
//! Trusts: the vault to have refused a bundle that is not consistent; only what is needed here is read.
//! Upholds: C-18.

use std::collections::{BTreeSet, HashMap};
use std::path::Path;

use serde::Deserialize;
use strongroom_domain::WorkloadId;
use strongroom_domain::route::{AccountName, RouteName};

use super::book::{RouteBookError, text};

/// In a binding: every route.
const EVERY: &str = "*";

/// The callers of the bundle and where each may go.
#[derive(Debug, Default)]
pub struct Callers(HashMap<WorkloadId, Binding>);

#[derive(Debug, Default)]
struct Binding {
    /// Route names, or `*`.
    routes: BTreeSet<String>,
    /// `<route>/<account>`.
    accounts: BTreeSet<String>,
}

#[derive(Deserialize)]
struct WorkloadsFile {
    workloads: Vec<Workload>,
}

#[derive(Deserialize)]
struct Workload {
    id: WorkloadId,
    #[serde(default)]
    routes: BTreeSet<String>,
    #[serde(default)]
    accounts: BTreeSet<String>,
    #[serde(default)]
    callers: BTreeSet<WorkloadId>,
}

impl Callers {
    /// Reads `workloads.json` below `policies`.
    pub fn read(policies: &Path) -> Result<Self, RouteBookError> {
        let path = policies.join("workloads.json");
        Self::parse(&text(&path)?).map_err(|source| RouteBookError::Workloads { path, source })
    }

    fn parse(text: &str) -> Result<Self, serde_json::Error> {
        let WorkloadsFile { workloads } = serde_json::from_str(text)?;
        let callers: BTreeSet<WorkloadId> =
            workloads.iter().flat_map(|workload| workload.callers.iter().cloned()).collect();
        let bound = workloads.into_iter().filter(|workload| callers.contains(&workload.id));
        let bound = bound.map(|Workload { id, routes, accounts, .. }| (id, Binding { routes, accounts }));
        Ok(Self(bound.collect()))
    }

    /// Whether a caller may reach an account of a route.
    #[must_use]
    pub fn may(&self, caller: &WorkloadId, route: &RouteName, account: &AccountName) -> bool {
        self.0.get(caller).is_some_and(|binding| {
            binding.routes.contains(EVERY)
                || binding.routes.contains(route.as_str())
                || binding.accounts.contains(&format!("{route}/{account}"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_caller_needs_a_proxy_that_speaks_for_it_and_a_binding_of_its_own() {
        let callers = Callers::parse(
            r#"{ "workloads": [
                { "id": "spiffe://a/proxy", "roles": ["proxy"], "routes": ["*"],
                  "callers": ["spiffe://a/all", "spiffe://a/one", "spiffe://a/account", "spiffe://a/none", "spiffe://a/gone"] },
                { "id": "spiffe://a/all", "about": "x", "roles": ["orchestrator"], "routes": ["*"] },
                { "id": "spiffe://a/one", "roles": ["orchestrator"], "routes": ["psp"] },
                { "id": "spiffe://a/account", "roles": ["orchestrator"], "accounts": ["psp/default"] },
                { "id": "spiffe://a/none", "roles": ["orchestrator"] },
                { "id": "spiffe://a/other", "roles": ["checkout"], "routes": ["*"] }
            ] }"#,
        )
        .unwrap();
        let may = |who: &str, route: &str, account: &str| {
            let caller = WorkloadId::parse(&format!("spiffe://a/{who}")).unwrap();
            callers.may(&caller, &RouteName::parse(route).unwrap(), &RouteName::parse(account).unwrap())
        };
        for (who, route, account, allowed) in [
            ("all", "psp", "default", true),
            ("all", "other", "second", true),
            ("one", "psp", "second", true),
            ("one", "other", "default", false),
            ("account", "psp", "default", true),
            ("account", "psp", "second", false),
            ("none", "psp", "default", false),
            ("gone", "psp", "default", false),
            ("other", "psp", "default", false),
            ("proxy", "psp", "default", false),
            ("stranger", "psp", "default", false),
        ] {
            assert_eq!(may(who, route, account), allowed, "{who} {route}/{account}");
        }
    }

    #[test]
    fn what_is_no_list_of_workloads_is_refused() {
        for wrong in
            ["", "{}", r#"{ "workloads": [{ "routes": [] }] }"#, r#"{ "workloads": [{ "id": "nobody" }] }"#]
        {
            assert!(Callers::parse(wrong).is_err(), "{wrong}");
        }
    }
}
