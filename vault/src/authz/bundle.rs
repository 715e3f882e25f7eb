//! The policy bundle: one set of files with a content hash and a rising version.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use strongroom_domain::route::{Account, Route, RouteName};

/// Where the bundle's files are.
#[derive(Clone, Debug)]
pub enum PolicySource {
    /// A folder like `policies/`.
    Folder(PathBuf),
    /// Files in memory: path inside the bundle, with `/`, and text.
    Files(Vec<(String, String)>),
}

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
