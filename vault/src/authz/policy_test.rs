//! Policy tests: files of requests with the decision and the policies that must decide, beside the policies.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::ask::Ask;
use super::engine::Authorizer;

/// One file of tests.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTests {
    /// The tests.
    pub tests: Vec<PolicyTest>,
}

/// One request and what must come of it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyTest {
    /// What it shows.
    pub name: String,
    /// The request.
    pub ask: Ask,
    /// What must come of it.
    pub expect: Expected,
}

/// What must come of a request.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "lowercase", deny_unknown_fields)]
pub enum Expected {
    /// Allowed, by exactly these policies.
    Allow(BTreeSet<String>),
    /// Denied, for this reason, by exactly these policies.
    Deny {
        /// `no-policy`, `guardrail`, `unknown-route`, …
        reason: String,
        /// The guardrails that forbid.
        #[serde(default)]
        policies: BTreeSet<String>,
    },
}

/// Why a file of tests cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("not a file of policy tests: {0}")]
pub struct PolicyTestError(#[from] serde_json::Error);

impl PolicyTests {
    /// Reads a file.
    pub fn parse(text: &str) -> Result<Self, PolicyTestError> {
        Ok(serde_json::from_str(text)?)
    }
}

impl PolicyTest {
    /// Asks, and holds the answer against what is expected. The error says what came instead.
    pub fn run(&self, authorizer: &Authorizer) -> Result<(), String> {
        let answer = authorizer.answer(&self.ask).map_err(|error| error.to_string())?;
        let decided: BTreeSet<String> = answer.policies.iter().cloned().collect();
        let as_expected = match &self.expect {
            Expected::Allow(policies) => answer.allowed && decided == *policies,
            Expected::Deny { reason, policies } => {
                !answer.allowed && answer.reason == reason && decided == *policies
            }
        };
        if as_expected {
            return Ok(());
        }
        let decision = if answer.allowed { "allow" } else { "deny" };
        let policies: Vec<String> = decided.into_iter().collect();
        Err(format!("it is {decision}: {} [{}]", answer.reason, policies.join(", ")))
    }
}
