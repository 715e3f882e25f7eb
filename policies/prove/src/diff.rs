//! What a change of a bundle newly permits: by its policies, for every request there can be; and by its workloads, routes and
//! accounts, for those there are.

use std::collections::BTreeSet;

use serde::Serialize;
use strongroom_vault::authz::{AccessReview, AccessRow, Authorizer, BundleDiff};

use crate::example::Example;
use crate::prover::{Kind, ProofError, Prover};

/// What came of a comparison.
#[derive(Debug, Serialize)]
pub struct Difference {
    /// Kinds of request compared: action × who × what.
    pub kinds: usize,
    /// Kinds of request of which the new policies permit one that the old ones do not, each with one.
    pub policies: Vec<Widening>,
    /// What workloads of the new bundle can do that they could not, each in a line: the access review of one less the other's.
    pub access: Vec<String>,
    /// What changed, by name.
    pub changed: BundleDiff,
}

/// One kind of request that is permitted more often.
#[derive(Debug, Serialize)]
pub struct Widening {
    /// The kind.
    pub kind: String,
    /// A request that is permitted now and was not.
    pub example: Example,
}

impl Difference {
    /// Whether anything is permitted that was not.
    #[must_use]
    pub fn widens(&self) -> bool {
        !self.policies.is_empty() || !self.access.is_empty()
    }
}

/// Compares two bundles. Both are read by the new one's schema: where the old one's policies do not fit it, nothing is decided.
pub async fn diff(prover: &mut Prover, old: &Authorizer, new: &Authorizer) -> Result<Difference, ProofError> {
    let (_, before) = old.bundle().cedar();
    let (schema, after) = new.bundle().cedar();
    let kinds = Kind::all(schema);
    let mut policies = Vec::new();
    for kind in &kinds {
        let (after, before) = (kind.compile(after)?, kind.compile(before)?);
        if let Some(example) = prover.beyond(kind, &after, &before).await? {
            policies.push(Widening { kind: kind.to_string(), example });
        }
    }
    let access = new_access(&old.access(), &new.access());
    Ok(Difference {
        kinds: kinds.len(),
        policies,
        access,
        changed: BundleDiff::between(old.bundle(), new.bundle()),
    })
}

/// One thing a workload can do: whose, and the rest of it.
type Ability = (String, String);

/// The abilities of the new review that the old one has neither of that tenant nor of every tenant.
fn new_access(old: &AccessReview, new: &AccessReview) -> Vec<String> {
    let before: BTreeSet<Ability> = old.rows.iter().flat_map(abilities).collect();
    let had = |(tenant, what): &Ability| {
        before.contains(&(tenant.clone(), what.clone())) || before.contains(&("*".to_owned(), what.clone()))
    };
    let after: BTreeSet<Ability> = new.rows.iter().flat_map(abilities).collect();
    after
        .into_iter()
        .filter(|ability| !had(ability))
        .map(|(tenant, what)| if tenant.is_empty() { what } else { format!("{what}, of tenants: {tenant}") })
        .collect()
}

fn abilities(row: &AccessRow) -> Vec<Ability> {
    let mut whats = vec![format!("{} can {}", row.workload, row.action.as_str())];
    if let (Some(caller), Some(account), Some(host)) = (&row.caller, &row.account, &row.host) {
        whats = row
            .calls
            .iter()
            .flat_map(|call| {
                let to = format!("{account} at {host}: {} {}", call.method, call.path);
                let who = &whats[0];
                call.attributes.iter().map(move |attribute| format!("{who} for {caller} to {to} {attribute}"))
            })
            .collect();
    }
    let tenants = if row.tenants.is_empty() { vec![String::new()] } else { row.tenants.clone() };
    whats.iter().flat_map(|what| tenants.iter().map(move |tenant| (tenant.clone(), what.clone()))).collect()
}
