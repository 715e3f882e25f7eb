//! A request that shows it, in the words of policies.

use std::fmt;

use cedar_policy::{Authorizer, Decision, Entities, EntityUid, EvalResult, PolicySet, Request};
use serde::Serialize;

/// A request with the facts it needs, and the policies that permit it.
#[derive(Debug, Serialize)]
pub struct Example {
    /// Who.
    pub principal: String,
    /// What.
    pub action: String,
    /// Of what.
    pub resource: String,
    /// With what.
    pub context: String,
    /// What is known of those it speaks of.
    pub facts: Vec<String>,
    /// The policies that permit it, by `@id`.
    pub permitted_by: Vec<String>,
    #[serde(skip)]
    asked: (Request, Entities),
}

impl Example {
    /// Asks the engine, which has the last word.
    pub(crate) fn new(request: Request, entities: Entities, permitting: &PolicySet) -> Self {
        let named = |uid: Option<&EntityUid>| uid.map_or_else(|| "anybody".to_owned(), ToString::to_string);
        let mut example = Self {
            principal: named(request.principal()),
            action: named(request.action()),
            resource: named(request.resource()),
            context: request.context().map_or_else(String::new, ToString::to_string),
            facts: facts(&entities),
            permitted_by: Vec::new(),
            asked: (request, entities),
        };
        example.permitted_by = example.permitted_by_of(permitting);
        example
    }

    fn permitted_by_of(&self, set: &PolicySet) -> Vec<String> {
        let response = Authorizer::new().is_authorized(&self.asked.0, set, &self.asked.1);
        // The vault denies when a policy fails; so does this.
        let failed = response.diagnostics().errors().next().is_some();
        let allowed = response.decision() == Decision::Allow && !failed;
        let mut ids: Vec<String> = response.diagnostics().reason().map(ToString::to_string).collect();
        ids.sort_unstable();
        if allowed { ids } else { Vec::new() }
    }

    pub(crate) fn is_permitted_by(&self, set: &PolicySet) -> bool {
        !self.permitted_by_of(set).is_empty()
    }
}

/// A line for each entity of which anything is known: `Workload::"a" in [Role::"proxy"] { routes: [] }`.
fn facts(entities: &Entities) -> Vec<String> {
    let mut lines = Vec::new();
    for entity in entities.iter() {
        let uid = entity.uid();
        let mut parents: Vec<String> =
            entities.ancestors(&uid).into_iter().flatten().map(ToString::to_string).collect();
        parents.sort_unstable();
        let mut attributes: Vec<String> =
            entity.attrs().map(|(name, value)| attribute(name, value.ok())).collect();
        attributes.sort_unstable();
        if parents.is_empty() && attributes.is_empty() {
            continue;
        }
        let parents =
            if parents.is_empty() { String::new() } else { format!(" in [{}]", parents.join(", ")) };
        let attributes =
            if attributes.is_empty() { String::new() } else { format!(" {{ {} }}", attributes.join(", ")) };
        lines.push(format!("{uid}{parents}{attributes}"));
    }
    lines.sort_unstable();
    lines
}

fn attribute(name: &str, value: Option<EvalResult>) -> String {
    value.map_or_else(|| format!("{name}: unknown"), |value| format!("{name}: {value}"))
}

impl fmt::Display for Example {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "    principal  {}", self.principal)?;
        writeln!(f, "    action     {}", self.action)?;
        writeln!(f, "    resource   {}", self.resource)?;
        writeln!(f, "    context    {}", self.context)?;
        for fact in &self.facts {
            writeln!(f, "    where      {fact}")?;
        }
        write!(f, "    by         {}", self.permitted_by.join(", "))
    }
}
