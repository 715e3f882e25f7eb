//! What must hold of every bundle: Cedar policies that permit more than any bundle may.

use std::collections::BTreeSet;

use cedar_policy::{
    ActionConstraint, Effect, EntityUid, Policy, PolicyId, PolicySet, Schema, ValidationMode, Validator,
};
use sha2::{Digest, Sha256};

/// A file of them.
pub struct Invariants {
    /// Each, in the order of their ids.
    pub list: Vec<Invariant>,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
}

/// One: whatever the bundle permits of its actions, it permits too.
pub struct Invariant {
    /// Its `@id`.
    pub id: String,
    /// Its `@says`: the same in plain words.
    pub says: String,
    /// Itself alone.
    pub(crate) set: PolicySet,
    /// Its actions; none: every action.
    actions: Option<BTreeSet<EntityUid>>,
}

/// Why a file is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the invariants are refused: {0}")]
pub struct InvalidInvariants(String);

impl Invariants {
    /// Reads a file and holds it against the bundle's schema.
    ///
    /// # Errors
    /// A policy that does not fit the schema, or has no words; and an action no invariant names.
    pub fn parse(text: &str, schema: &Schema) -> Result<Self, InvalidInvariants> {
        let refused = |what: String| InvalidInvariants(what);
        let parsed: PolicySet = text.parse().map_err(|error| refused(format!("{error}")))?;
        let mut list = Vec::new();
        for policy in parsed.policies() {
            list.push(Invariant::read(policy).map_err(refused)?);
        }
        list.sort_by(|one, other| one.id.cmp(&other.id));
        if let Some([one, ..]) = list.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(refused(format!("two have the @id {}", one.id)));
        }
        for invariant in &list {
            let result = Validator::new(schema.clone()).validate(&invariant.set, ValidationMode::Strict);
            if let Some(error) = result.validation_errors().next() {
                return Err(refused(error.to_string()));
            }
        }
        let named: BTreeSet<&EntityUid> =
            list.iter().filter_map(|one| one.actions.as_ref()).flatten().collect();
        if let Some(action) = schema.actions().find(|action| !named.contains(action)) {
            return Err(refused(format!("none of them names {action}: say what must hold of it")));
        }
        Ok(Self { list, sha256: hex::encode(Sha256::digest(text.as_bytes())) })
    }
}

impl Invariant {
    fn read(policy: &Policy) -> Result<Self, String> {
        let id = policy.annotation("id").ok_or("each needs an @id")?.to_owned();
        let says =
            policy.annotation("says").ok_or(format!("{id}: it needs @says, in plain words"))?.to_owned();
        if policy.effect() != Effect::Permit {
            return Err(format!("{id}: it says what may be permitted, so it is a `permit`"));
        }
        let actions = match policy.action_constraint() {
            ActionConstraint::Any => None,
            ActionConstraint::Eq(one) => Some(BTreeSet::from([one])),
            ActionConstraint::In(several) => Some(several.into_iter().collect()),
        };
        let set = PolicySet::from_policies([policy.new_id(PolicyId::new(&id))])
            .map_err(|error| error.to_string())?;
        Ok(Self { id, says, set, actions })
    }

    /// Whether it speaks of an action.
    pub(crate) fn is_about(&self, action: &EntityUid) -> bool {
        self.actions.as_ref().is_none_or(|actions| actions.contains(action))
    }
}
