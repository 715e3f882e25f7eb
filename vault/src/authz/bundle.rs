//! The policy bundle: one set of files with a content hash and a rising version.
//!
//! Promises: a `Bundle` that exists is consistent: every policy is valid against the schema and has an `@id`, every
//! role, caller, route and account a binding names exists.
//! Does not promise: that anybody signed it.

mod files;
mod policies;
mod routes;
mod workloads;

pub use files::PolicySource;
pub use policies::PolicyFacts;
pub use routes::{PlannedRoute, Routes};
pub use workloads::{BoundTenants, Person, WorkloadFacts};

pub(super) use policies::{Policies, slice};

use std::collections::BTreeMap;

use serde::Deserialize;
use strongroom_domain::{Environment, WorkloadId};

use files::Files;

/// Why a bundle is refused: the file, and a sentence that says what to change there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {what}")]
pub struct BundleError {
    /// The file, by its path inside the bundle.
    pub file: String,
    /// What is wrong there.
    pub what: String,
}

impl BundleError {
    pub(super) fn new(file: impl Into<String>, what: impl Into<String>) -> Self {
        Self { file: file.into(), what: what.into() }
    }
}

/// One consistent set of policies, workloads, routes and accounts.
pub struct Bundle {
    /// Where it decides.
    pub environment: Environment,
    /// Rises with every change.
    pub version: u64,
    /// Hash of every file's path and bytes.
    pub sha256: [u8; 32],
    /// Hash of each file, by its path in the bundle.
    pub file_sha256: BTreeMap<String, [u8; 32]>,
    /// Who there is, and what each is bound to.
    pub workloads: BTreeMap<WorkloadId, WorkloadFacts>,
    /// Where cards may go.
    pub routes: Routes,
    /// What is allowed but looks like a mistake; shown by `vault policy check`.
    pub warnings: Vec<String>,
    pub(super) policies: Policies,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct BundleFile {
    version: u64,
}

impl Bundle {
    /// Reads and validates a bundle. Pure but for reading the files.
    ///
    /// # Errors
    /// Whatever does not validate is refused; nothing is guessed or skipped.
    pub fn load(source: &PolicySource, environment: Environment) -> Result<Self, BundleError> {
        let files = Files::read(source)?;
        let mut warnings = files.unexpected();
        let header: BundleFile = toml::from_str(files.required("bundle.toml")?)
            .map_err(|error| BundleError::new("bundle.toml", error.message()))?;
        let routes = Routes::read(&files, environment, &mut warnings)?;
        let policies = Policies::read(&files, &mut warnings)?;
        let workloads = workloads::read(files.required("workloads.json")?, &routes, &policies)?;
        Ok(Self {
            environment,
            version: header.version,
            sha256: files.sha256(),
            file_sha256: files.each_sha256(),
            workloads,
            routes,
            warnings,
            policies,
        })
    }

    /// Whether this bundle may take the place of `running`: it is newer, or the very same. Two bundles of one version
    /// with different content are a mistake, or an attempt.
    #[must_use]
    pub fn may_replace(&self, running: &Self) -> bool {
        self.version > running.version || self.sha256 == running.sha256
    }

    /// The schema and the policies, each under its `@id`, for whoever reasons about them: nothing is decided by these.
    #[must_use]
    pub const fn cedar(&self) -> (&cedar_policy::Schema, &cedar_policy::PolicySet) {
        (&self.policies.schema, &self.policies.set)
    }

    /// The policies, by `@id`.
    pub fn policies(&self) -> impl Iterator<Item = &PolicyFacts> {
        self.policies.facts.values()
    }
}

#[cfg(test)]
mod tests;
