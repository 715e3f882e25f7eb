//! Routes and their accounts, as the bundle holds them.

use std::collections::BTreeMap;
use std::sync::Arc;

use strongroom_domain::Environment;
use strongroom_domain::route::{Account, Route, RouteName};

use super::BundleError;
use super::files::Files;

/// The routes of a bundle, each with its accounts.
#[derive(Clone, Debug, Default)]
pub struct Routes(BTreeMap<RouteName, PlannedRoute>);

/// A route and the accounts one may have there.
#[derive(Clone, Debug)]
pub struct PlannedRoute {
    /// The route.
    pub route: Arc<Route>,
    /// Its accounts, by name.
    pub accounts: Vec<Arc<Account>>,
}

impl Routes {
    pub(super) fn read(
        files: &Files,
        environment: Environment,
        warnings: &mut Vec<String>,
    ) -> Result<Self, BundleError> {
        let mut routes = Self::default();
        let mut hosts: BTreeMap<String, String> = BTreeMap::new();
        for (stem, path, text) in files.with_ending("routes", ".toml") {
            let route = Route::parse(stem, text, environment)
                .map_err(|error| BundleError::new(path, error.to_string()))?;
            for host in &route.hosts {
                if let Some(other) = hosts.insert(host.clone(), stem.to_owned()) {
                    return Err(BundleError::new(path, format!("host `{host}` is also route `{other}`'s")));
                }
            }
            let accounts = read_accounts(files, &route)?;
            if accounts.is_empty() {
                warnings.push(format!("{path}: no account under accounts/{stem}/, so nobody can use it"));
            }
            routes.0.insert(route.name.clone(), PlannedRoute { route: Arc::new(route), accounts });
        }
        for folder in files.account_folders() {
            if routes.find(folder).is_none() {
                return Err(BundleError::new(
                    format!("accounts/{folder}"),
                    format!("there is no routes/{folder}.toml"),
                ));
            }
        }
        Ok(routes)
    }

    /// The route of this name.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&PlannedRoute> {
        self.0.get(&RouteName::parse(name)?)
    }

    /// Every route, by name.
    pub fn iter(&self) -> impl Iterator<Item = &PlannedRoute> {
        self.0.values()
    }
}

impl PlannedRoute {
    /// The account of this name.
    #[must_use]
    pub fn account(&self, name: &str) -> Option<&Arc<Account>> {
        self.accounts.iter().find(|account| account.name.as_str() == name)
    }
}

fn read_accounts(files: &Files, route: &Route) -> Result<Vec<Arc<Account>>, BundleError> {
    let folder = format!("accounts/{}", route.name);
    let accounts = files.with_ending(&folder, ".toml").map(|(stem, path, text)| {
        Account::parse(stem, text, route)
            .map(Arc::new)
            .map_err(|error| BundleError::new(path, error.to_string()))
    });
    accounts.collect()
}
