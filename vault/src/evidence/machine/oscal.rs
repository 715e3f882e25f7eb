//! OSCAL 1.2: what the software supports (component definition) and what was observed of it in the period (assessment results).

use serde_json::{Value, json};

use super::requirements::{SUPPORTED, Supported};
use super::{derived_id, of_bundle};
use crate::evidence::facts::Facts;
use crate::review::ReviewKind;

const OSCAL: &str = "1.2.1";

fn metadata(facts: &Facts, title: &str) -> Value {
    json!({
        "title": title,
        "last-modified": facts.about.made_at,
        "version": facts.about.version,
        "oscal-version": OSCAL,
        "remarks": "Software supports a requirement; whether an organisation meets it is for its assessor to say.",
    })
}

pub(super) fn component_definition(facts: &Facts) -> Value {
    let version = facts.about.version;
    let source = derived_id("catalogue", &["pci-dss-4.0.1"]);
    let requirement = |supported: &Supported| {
        json!({
            "uuid": derived_id("implemented", &[version, supported.number]),
            "control-id": supported.control(),
            "description": supported.how,
        })
    };
    let requirements: Vec<Value> = SUPPORTED.iter().map(requirement).collect();
    json!({ "component-definition": {
        "uuid": derived_id("component-definition", &[version]),
        "metadata": metadata(facts, "Strongroom vault: requirements it supports"),
        "components": [{
            "uuid": derived_id("component", &[version]),
            "type": "software",
            "title": "strongroom-vault",
            "description": "Replaces card numbers with tokens; releases card data through one audited door.",
            "control-implementations": [{
                "uuid": derived_id("implementation", &[version]),
                "source": format!("#{source}"),
                "description": "Support for requirements of PCI DSS 4.0.1, by their numbers.",
                "implemented-requirements": requirements,
            }],
        }],
        "back-matter": { "resources": [{
            "uuid": source,
            "title": "PCI DSS 4.0.1",
            "description": "Numbers only: the standard is published by the PCI Security Standards Council, not as an OSCAL catalogue.",
        }] },
    } })
}

pub(super) fn assessment_results(facts: &Facts) -> Value {
    let plan = derived_id("plan", &["none"]);
    let selection: Vec<Value> =
        SUPPORTED.iter().map(|supported| json!({ "control-id": supported.control() })).collect();
    let observation = |supported: &Supported| {
        json!({
            "uuid": of_bundle(facts, supported.number),
            "title": supported.control(),
            "description": supported.how,
            "methods": ["EXAMINE"],
            "collected": facts.about.made_at,
            "relevant-evidence": [{ "href": format!("../{}", supported.file), "description": counted(facts, supported) }],
        })
    };
    let observations: Vec<Value> = SUPPORTED.iter().map(observation).collect();
    json!({ "assessment-results": {
        "uuid": of_bundle(facts, "assessment-results"),
        "metadata": metadata(facts, "Strongroom vault: observations of a period"),
        "import-ap": { "href": format!("#{plan}") },
        "results": [{
            "uuid": of_bundle(facts, "result"),
            "title": "Observations",
            "description": "Counted from the signed log, the store and the running configuration.",
            "start": facts.about.period.from,
            "end": facts.about.period.until,
            "reviewed-controls": { "control-selections": [{ "include-controls": selection }] },
            "observations": observations,
        }],
        "back-matter": { "resources": [{
            "uuid": plan,
            "title": "No assessment plan",
            "description": "These observations were made by the software itself, outside any assessment plan.",
        }] },
    } })
}

/// The number an observation is about, where it has one.
fn counted(facts: &Facts, supported: &Supported) -> String {
    let events = |fits: fn(&str) -> bool| facts.log.events.sum(|key| fits(key.requirement));
    match supported.number {
        "3.2.1" => format!("{} cards kept past their time", facts.past_due()),
        "3.6.1.1" | "3.7.4" => format!("{} data keys", facts.keys.len()),
        "3.7.5" => format!("{} keys that came into use", facts.log.rotations.rows.len()),
        "7.2.4" | "10.4.1" => {
            let reviews = facts.reviews.iter().filter(|one| one.kind == kind_of(supported.number));
            reviews.map(|one| format!("{} reviews, overdue: {}", one.filed.len(), one.overdue)).collect()
        }
        "7.2.1" | "7.2.5" => format!("{} grants", facts.access.grants.len()),
        "10.2.1" => format!("{} entries", events(|requirement| requirement.starts_with("10.2.1"))),
        "10.2.1.4" => format!("{} refusals and failures", facts.log.refusals.sum(|_| true)),
        "10.2.1.6" => format!("{} missing numbers", facts.log.boots.missing()),
        "10.3.4" => format!("{} entries under one signed root", facts.about.checkpoint_size),
        _ => "see the file".to_owned(),
    }
}

fn kind_of(number: &str) -> ReviewKind {
    if number == "10.4.1" { ReviewKind::Log } else { ReviewKind::Access }
}
