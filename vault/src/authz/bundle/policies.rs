//! The Cedar part of the bundle: schema, families and guardrails.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::ffi::DetailedError;
use cedar_policy::{
    ActionConstraint, Effect, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, PrincipalConstraint,
    Schema, ValidationMode, Validator,
};

use strongroom_domain::scan;

use super::BundleError;
use super::files::Files;
use crate::authz::entities::Names;

const SCHEMA: &str = "schema.cedarschema";
const GUARDRAILS: &str = "guardrails.cedar";

/// Every policy of a bundle, valid against its schema, each under its own `@id`.
pub(in crate::authz) struct Policies {
    pub(in crate::authz) schema: Schema,
    pub(in crate::authz) set: PolicySet,
    pub(in crate::authz) facts: BTreeMap<String, PolicyFacts>,
}

/// One policy, for people.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize)]
pub struct PolicyFacts {
    /// Its `@id`.
    pub id: String,
    /// The file it is in.
    pub file: String,
    /// `permit` or `forbid`.
    pub effect: &'static str,
    /// Its text, as Cedar prints it.
    pub text: String,
}

impl Policies {
    pub(super) fn read(files: &Files, warnings: &mut Vec<String>) -> Result<Self, BundleError> {
        let schema = read_schema(files.required(SCHEMA)?, warnings)?;
        files.required(GUARDRAILS)?;
        let mut policies = Self { schema, set: PolicySet::new(), facts: BTreeMap::new() };
        for (_, path, text) in files.with_ending("", ".cedar") {
            policies.add_file(path, text)?;
        }
        policies.validate(files, warnings)?;
        Ok(policies)
    }

    /// Whether the schema lists a role. Asked by building one: an entity of an enumerated type that is not listed
    /// does not conform.
    pub(super) fn knows_role(&self, role: &str) -> bool {
        let role = Entity::with_uid(Names::new().role(role));
        Entities::from_entities([role], Some(&self.schema)).is_ok()
    }

    fn add_file(&mut self, path: &str, text: &str) -> Result<(), BundleError> {
        let parsed: PolicySet = text.parse().map_err(|error: cedar_policy::ParseErrors| {
            BundleError::new(path, explain(&(&error).into(), text))
        })?;
        if let Some(template) = parsed.templates().next() {
            let name = template.annotation("id").unwrap_or("without @id");
            return Err(BundleError::new(path, format!("policy `{name}`: templates are not used here")));
        }
        let mut found: Vec<&Policy> = parsed.policies().collect();
        if found.is_empty() {
            return Err(BundleError::new(path, "holds no policy"));
        }
        found.sort_by_key(|policy| policy.to_string());
        for policy in found {
            self.add(path, policy)?;
        }
        Ok(())
    }

    fn add(&mut self, path: &str, policy: &Policy) -> Result<(), BundleError> {
        let id = policy.annotation("id").filter(|id| is_policy_name(id)).ok_or_else(|| {
            let text = policy.to_string();
            let first = text.lines().next().unwrap_or_default().to_owned();
            BundleError::new(path, format!("every policy needs an @id of lower-case words: `{first}`"))
        })?;
        let refused = |what: &str| BundleError::new(path, format!("policy `{id}`: {what}"));
        check_manner(path, policy).map_err(refused)?;
        if let Some(other) = self.facts.get(id) {
            return Err(refused(&format!("the same @id is also in {}", other.file)));
        }
        let effect = if policy.effect() == Effect::Permit { "permit" } else { "forbid" };
        let facts =
            PolicyFacts { id: id.to_owned(), file: path.to_owned(), effect, text: policy.to_string() };
        self.facts.insert(id.to_owned(), facts);
        self.set.add(policy.new_id(PolicyId::new(id))).map_err(|error| refused(&error.to_string()))
    }

    fn validate(&self, files: &Files, warnings: &mut Vec<String>) -> Result<(), BundleError> {
        let result = Validator::new(self.schema.clone()).validate(&self.set, ValidationMode::Strict);
        let mut errors: Vec<_> = result
            .validation_errors()
            .map(|error| (error.policy_id().to_string(), DetailedError::from(error)))
            .collect();
        errors.sort_by(|(id, _), (other, _)| id.cmp(other));
        if let Some((id, error)) = errors.first() {
            let file = self.facts.get(id).map_or(SCHEMA, |facts| facts.file.as_str());
            let text = files.required(file)?;
            // Cedar's message names the policy again.
            let what = explain(error, text).replace(&format!("for policy `{id}`, "), "");
            return Err(BundleError::new(file, format!("policy `{id}`: {what}")));
        }
        warnings.extend(result.validation_warnings().map(|warning| {
            let id = warning.policy_id().to_string();
            let file = self.facts.get(&id).map_or(SCHEMA, |facts| facts.file.as_str());
            format!("{file}: {warning}")
        }));
        Ok(())
    }
}

fn read_schema(text: &str, warnings: &mut Vec<String>) -> Result<Schema, BundleError> {
    let (schema, found) = Schema::from_cedarschema_str(text)
        .map_err(|error| BundleError::new(SCHEMA, explain(&(&error).into(), text)))?;
    warnings.extend(found.map(|warning| format!("{SCHEMA}: {warning}")));
    if !schema.is_complete() {
        return Err(BundleError::new(SCHEMA, "external declarations would leave policies unvalidated"));
    }
    if let Some(group) = schema.action_groups().next() {
        return Err(BundleError::new(
            SCHEMA,
            format!("action groups are not used here: list the actions of {group}"),
        ));
    }
    Ok(schema)
}

/// The manner of the bundle: families only permit, to somebody, something; guardrails only forbid.
fn check_manner(path: &str, policy: &Policy) -> Result<(), &'static str> {
    match (policy.effect(), path == GUARDRAILS) {
        (Effect::Forbid, true) => Ok(()),
        (Effect::Permit, true) => Err("guardrails.cedar holds only `forbid`"),
        (Effect::Forbid, false) => Err("a `forbid` belongs in guardrails.cedar"),
        (Effect::Permit, false) => match (policy.principal_constraint(), policy.action_constraint()) {
            (PrincipalConstraint::Any | PrincipalConstraint::Is(_), _) => {
                Err("a permit names whom it is for: `principal in Role::\"…\"`")
            }
            (_, ActionConstraint::Any) => Err("a permit names its actions"),
            _ => Ok(()),
        },
    }
}

/// `[a-z0-9]` words joined by hyphens, and no digits that could be a card number: these names stand in audit entries.
fn is_policy_name(id: &str) -> bool {
    let right = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    !id.is_empty() && id.len() <= 64 && id.bytes().all(right) && !scan::holds_pan(id)
}

/// A Cedar error with its line in `text`.
fn explain(error: &DetailedError, text: &str) -> String {
    let at = error.source_locations.first().map(|label| label.loc.start);
    let line = at.and_then(|at| text.get(..at)).map(|before| before.matches('\n').count() + 1);
    let hint = error.help.as_deref().map_or_else(String::new, |help| format!(" ({help})"));
    match line {
        Some(line) => format!("line {line}: {}{hint}", error.message),
        None => format!("{}{hint}", error.message),
    }
}

/// The subset of policies that can have a say when somebody with `roles` asks for `action`.
///
/// Cedar evaluates every policy it is given. Leaving out those whose scope cannot match changes no decision, because
/// such a policy is never satisfied; whatever cannot be told from the scope stays in.
pub(in crate::authz) fn slice(
    set: &PolicySet,
    names: &Names,
    action: &EntityUid,
    roles: &BTreeSet<String>,
) -> PolicySet {
    let roles: BTreeSet<EntityUid> = roles.iter().map(|role| names.role(role)).collect();
    // Everything is `in` itself, so a single workload can stand where a role does.
    let may_be_in = |of: &EntityUid| roles.contains(of) || *of.type_name() == names.workload_type;
    let may_match = |policy: &&Policy| {
        let of_action = match policy.action_constraint() {
            ActionConstraint::Any => true,
            ActionConstraint::Eq(one) => one == *action,
            ActionConstraint::In(several) => several.contains(action),
        };
        let of_principal = match policy.principal_constraint() {
            PrincipalConstraint::Any | PrincipalConstraint::Eq(_) => true,
            PrincipalConstraint::Is(kind) => kind == names.workload_type,
            PrincipalConstraint::In(of) => may_be_in(&of),
            PrincipalConstraint::IsIn(kind, of) => kind == names.workload_type && may_be_in(&of),
        };
        of_action && of_principal
    };
    PolicySet::from_policies(set.policies().filter(may_match).cloned())
        .expect("policies of one set have different ids")
}
