//! The forms for machines: CycloneDX bills of materials and OSCAL documents.
//!
//! Promises: ids are derived from what is described, so the same facts give the same documents.
//! Does not promise: control texts: PCI DSS is not published as an OSCAL catalogue. Ids here are `pci-dss-` and the number.

mod cbom;
mod oscal;
mod requirements;
mod sbom;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid, Variant, Version};

use super::AssembleError;
use super::facts::Facts;

/// Each document by its name.
pub(super) fn documents(facts: &Facts) -> Result<[(&'static str, Value); 4], AssembleError> {
    Ok([
        ("sbom.cdx.json", sbom::sbom(facts)?),
        ("cbom.cdx.json", cbom::cbom(facts)),
        ("component-definition.oscal.json", oscal::component_definition(facts)),
        ("assessment-results.oscal.json", oscal::assessment_results(facts)),
    ])
}

/// An id of what is named by these texts (of the form of RFC 9562 version 5).
fn derived_id(label: &str, parts: &[&str]) -> Uuid {
    let mut hash = Sha256::new().chain_update("strongroom/evidence-id/v1\0").chain_update(label);
    for part in parts {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    Builder::from_bytes(bytes).with_variant(Variant::RFC4122).with_version(Version::Sha1).into_uuid()
}

/// What makes one bundle's documents different from another's.
fn of_bundle(facts: &Facts, label: &str) -> Uuid {
    let about = &facts.about;
    let (from, until) = (about.period.from.to_string(), about.period.until.to_string());
    derived_id(label, &[&about.log, &about.checkpoint_root, &from, &until])
}
