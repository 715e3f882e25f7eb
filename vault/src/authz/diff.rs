//! What changes when one bundle takes another's place: for the activation's audit entry, and for a person.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bundle::Bundle;

/// Names that came, went or now mean something else.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct Changes {
    /// New.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub added: Vec<String>,
    /// Gone.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub removed: Vec<String>,
    /// Still there, with another content.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub changed: Vec<String>,
}

/// The difference of two bundles.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct BundleDiff {
    /// Policies, by `@id`.
    pub policies: Changes,
    /// Workloads, by identity; changed: other roles or bindings.
    pub workloads: Changes,
    /// Routes, by name; changed: another byte in the file.
    pub routes: Changes,
    /// Destinations: `host:port`.
    pub hosts: Changes,
    /// Places card data may be put into: `route METHOD path at attribute`.
    pub places: Changes,
    /// Accounts: `route/account`; changed: other tenants or credentials.
    pub accounts: Changes,
}

impl BundleDiff {
    /// What it takes to get from `old` to `new`.
    #[must_use]
    pub fn between(old: &Bundle, new: &Bundle) -> Self {
        let (old, new) = (Contents::of(old), Contents::of(new));
        Self {
            policies: changes(&old.policies, &new.policies),
            workloads: changes(&old.workloads, &new.workloads),
            routes: changes(&old.routes, &new.routes),
            hosts: changes(&old.hosts, &new.hosts),
            places: changes(&old.places, &new.places),
            accounts: changes(&old.accounts, &new.accounts),
        }
    }

    /// Whether card data can reach somewhere it could not before: a new host, place or account, or a changed account.
    #[must_use]
    pub fn is_alarm(&self) -> bool {
        let news = [&self.hosts.added, &self.places.added, &self.accounts.added, &self.accounts.changed];
        news.into_iter().any(|names| !names.is_empty())
    }

    /// Whether nothing changes that is listed here.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// Name → content, for each kind of thing in a bundle.
#[derive(Default)]
struct Contents {
    policies: BTreeMap<String, String>,
    workloads: BTreeMap<String, String>,
    routes: BTreeMap<String, String>,
    hosts: BTreeMap<String, String>,
    places: BTreeMap<String, String>,
    accounts: BTreeMap<String, String>,
}

impl Contents {
    fn of(bundle: &Bundle) -> Self {
        let mut contents = Self::default();
        for policy in bundle.policies() {
            contents.policies.insert(policy.id.clone(), policy.text.clone());
        }
        for (id, facts) in &bundle.workloads {
            contents.workloads.insert(id.to_string(), format!("{facts:?}"));
        }
        for planned in bundle.routes.iter() {
            let route = &planned.route;
            let upstream = &route.upstream;
            contents.routes.insert(route.name.to_string(), hex::encode(route.sha256));
            contents
                .hosts
                .insert(format!("{}:{}", upstream.host, upstream.port), format!("{:?}", upstream.roots));
            for call in &route.allow {
                for inject in &call.inject {
                    let (path, at, what) = (call.path.as_str(), &inject.at, inject.attribute);
                    let place = format!("{} {} {path} {at} {what}", route.name, call.method);
                    contents.places.insert(place, String::new());
                }
            }
            for account in &planned.accounts {
                if let Some((host, port)) = &account.own_upstream {
                    contents.hosts.insert(format!("{host}:{port}"), format!("{:?}", upstream.roots));
                }
                contents.accounts.insert(format!("{}/{}", route.name, account.name), format!("{account:?}"));
            }
        }
        contents
    }
}

fn changes(old: &BTreeMap<String, String>, new: &BTreeMap<String, String>) -> Changes {
    let missing_in = |other: &BTreeMap<String, String>, names: &BTreeMap<String, String>| {
        names.keys().filter(|name| !other.contains_key(*name)).cloned().collect()
    };
    let differs = |name: &&String| old.get(*name).is_some_and(|content| new.get(*name) != Some(content));
    let changed = new.keys().filter(differs).cloned().collect();
    Changes { added: missing_in(old, new), removed: missing_in(new, old), changed }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authz::fixture::{Files, files, load, with};

    fn diff(new: &Files) -> BundleDiff {
        BundleDiff::between(load(&files()).unwrap().bundle(), load(new).unwrap().bundle())
    }

    #[test]
    fn nothing_changes_nothing() {
        let same = diff(&files());
        assert!(same.is_empty() && !same.is_alarm());
        assert!(diff(&with("bundle.toml", "1", "2")).is_empty());
    }

    #[test]
    fn a_new_place_host_or_account_is_an_alarm() {
        let place = "{ at = \"/cvc\", value = \"cvc\" }, { at = \"/number\"";
        let place = diff(&with("routes/psp.toml", "{ at = \"/number\"", place));
        assert_eq!(place.places.added, ["psp POST /cards/{id} /cvc cvc"]);
        assert_eq!(place.routes.changed, ["psp"]);
        let host = diff(&with("routes/psp.toml", "https://psp.example", "https://psp.example:8443"));
        assert_eq!(
            (host.hosts.added, host.hosts.removed),
            (vec!["psp.example:8443".into()], vec!["psp.example:443".into()])
        );
        let own = "upstream = \"https://m501.psp.example\"\ncredential_file";
        let own = diff(&with("accounts/psp/globex.toml", "credential_file", own));
        assert_eq!(
            (own.hosts.added.as_slice(), own.is_alarm()),
            (&["m501.psp.example:443".into()][..], true)
        );
        let mut files = files();
        files.insert("accounts/psp/new.toml".into(), "tenants = [\"*\"]\ncredential_file = \"n\"".into());
        let account = diff(&files);
        assert_eq!(account.accounts.added, ["psp/new"]);
        let changed = diff(&with("accounts/psp/globex.toml", "globex\"]", "globex\", \"acme\"]"));
        assert_eq!(changed.accounts.changed, ["psp/globex"]);
        assert!(place.places.removed.is_empty() && account.is_alarm() && changed.is_alarm());
    }

    #[test]
    fn policies_and_workloads_are_told_apart_by_content() {
        let policy = diff(&with("custody.cedar", "Action::\"ManageKeys\"", "Action::\"ReadEvidence\""));
        assert_eq!(policy.policies.changed, ["custodian-manages-keys"]);
        assert!(!policy.is_alarm());
        let workload = diff(&with("workloads.json", "[\"security\"]", "[\"support\"]"));
        assert_eq!(workload.workloads.changed, ["spiffe://strongroom.test/security"]);
        let gone = diff(&with("workloads.json", "strongroom.test/security", "strongroom.test/reviewers"));
        assert_eq!((gone.workloads.added.len(), gone.workloads.removed.len()), (1, 1));
    }
}
