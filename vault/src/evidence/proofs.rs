//! Policy proofs in a bundle: what `strongroom-policy prove --out` wrote, held against the policy bundle in force.
//!
//! Promises: proofs that are taken in are of the very files in force, policies and schema, and of the invariants that are in them.
//! Does not promise: that the prover was run. The service links no solver: whoever doubts runs it again on what is in the file.
//! Upholds: C-69.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use strongroom_domain::token::holds_token_shape;
use strongroom_domain::{Environment, scan};

use crate::authz::Bundle;

/// Largest file of proofs that is taken.
pub const PROOFS_BYTES_MAX: usize = 512 * 1024;
/// What a file of proofs calls itself.
pub const PROOFS_FORMAT: &str = "strongroom-proofs/1";
/// Where it stands in a bundle.
pub(super) const PROOFS: &str = "proofs/policy.json";

/// What was proved of a policy bundle, and what went into it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyProofs {
    /// Of which form it is.
    pub format: String,
    /// The program that asked.
    pub tool: String,
    /// The solver that answered.
    pub solver: String,
    /// The policy bundle.
    pub bundle: ProvedBundle,
    /// Policies and schema, by their path in the bundle.
    pub inputs: BTreeMap<String, String>,
    /// What had to hold.
    pub invariants: ProvedInvariants,
    /// What came of each.
    pub findings: Vec<ProvedFinding>,
}

/// A policy bundle that was proved.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvedBundle {
    /// Where it decides.
    pub environment: Environment,
    /// Its hash.
    pub sha256: String,
    /// Its version.
    pub version: u64,
}

/// The file of invariants.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvedInvariants {
    /// Its hash.
    pub sha256: String,
    /// Itself.
    pub text: String,
}

/// What came of one invariant.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProvedFinding {
    /// Its id.
    pub id: String,
    /// In plain words.
    pub says: String,
    /// Kinds of request it is about.
    pub kinds: u64,
    /// Kinds of them that are ever permitted.
    pub kinds_permitted: u64,
    /// `holds`, `refuted` or `fails`.
    pub outcome: String,
    /// What shows otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub example: Option<Value>,
}

/// Why proofs are not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadProofs {
    /// Not what the prover writes.
    #[error("not a file of strongroom-policy prove --out")]
    Malformed,
    /// Of another policy bundle than the one in force.
    #[error("not of the policy bundle in force")]
    AnotherBundle,
    /// What is in it does not make the hashes it names, or not all of the bundle's policies are in it.
    #[error("not of the policies, schema and invariants it names")]
    Inputs,
    /// It holds a card number.
    #[error("it holds a card number")]
    CardData,
}

impl PolicyProofs {
    /// Reads a file and holds it against the policy bundle in force.
    pub fn read(bytes: &[u8], bundle: &Bundle) -> Result<Self, BadProofs> {
        if bytes.len() > PROOFS_BYTES_MAX {
            return Err(BadProofs::Malformed);
        }
        if scan::first_pan(bytes).is_some() {
            return Err(BadProofs::CardData);
        }
        let proofs: Self = serde_json::from_slice(bytes).map_err(|_| BadProofs::Malformed)?;
        // As it will stand in the bundle: what was given may spell digits as escapes.
        let plain = serde_json::to_vec(&proofs).map_err(|_| BadProofs::Malformed)?;
        if scan::first_pan(&plain).is_some() || holds_token_shape(&plain) {
            return Err(BadProofs::CardData);
        }
        let outcomes = ["holds", "refuted", "fails"];
        let known = proofs.findings.iter().all(|finding| outcomes.contains(&finding.outcome.as_str()));
        if proofs.format != PROOFS_FORMAT || !known || proofs.findings.is_empty() {
            return Err(BadProofs::Malformed);
        }
        let same = proofs.bundle.sha256 == hex::encode(bundle.sha256)
            && proofs.bundle.version == bundle.version
            && proofs.bundle.environment == bundle.environment;
        if !same {
            return Err(BadProofs::AnotherBundle);
        }
        let of_bundle = bundle.file_sha256.iter().filter(|(path, _)| is_input(path));
        let inputs = proofs.inputs.iter().map(|(path, text)| (path, <[u8; 32]>::from(Sha256::digest(text))));
        let whole = inputs.eq(of_bundle.map(|(path, sha256)| (path, *sha256)));
        let invariants = &proofs.invariants;
        if whole && hex::encode(Sha256::digest(&invariants.text)) == invariants.sha256 {
            Ok(proofs)
        } else {
            Err(BadProofs::Inputs)
        }
    }

    /// How many hold.
    #[must_use]
    pub fn hold(&self) -> u64 {
        self.findings.iter().filter(|finding| finding.outcome == "holds").count() as u64
    }

    /// How many do not.
    #[must_use]
    pub fn refuted(&self) -> u64 {
        self.findings.len() as u64 - self.hold()
    }
}

/// Whether a file of a policy bundle is what proofs are of.
#[must_use]
pub fn is_input(path: &str) -> bool {
    path.ends_with(".cedar") || path.ends_with(".cedarschema")
}
