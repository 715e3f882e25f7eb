//! A finding as OCSF 1.8 says it: Detection Finding (2004), Compliance Finding (2003) for a control that failed, Data Security
//! Finding (2006) for a card number where none belongs.
//!
//! Promises: what the entry says and no more; made from the entry, so that whoever has the line can ask for its proof.

use serde_json::{Value, json};

use super::rules::Rule;
use crate::audit::Seen;

const DETECTION: u32 = 2004;
const COMPLIANCE: u32 = 2003;
const DATA_SECURITY: u32 = 2006;

/// The line of a finding's entry, with its end. None if the entry is no finding. Without a place it has no `sequence`: the
/// entry is not in the signed log yet.
#[must_use]
pub fn line(place: Option<u64>, seen: &Seen) -> Option<String> {
    let finding = seen.finding.as_ref()?;
    let rule = seen.rsn.as_deref()?;
    let class = match Rule::ALL.iter().find(|known| known.as_str() == rule) {
        Some(Rule::ControlFailed | Rule::LogStalled | Rule::AccessReviewOverdue | Rule::LogReviewOverdue) => {
            COMPLIANCE
        }
        Some(Rule::PanUnexpected) => DATA_SECURITY,
        _ => DETECTION,
    };
    let mut event = base(class, rule, seen, finding);
    if let Some(place) = place {
        event["metadata"]["sequence"] = json!(place);
    }
    let evidence = evidence(finding);
    if class == DATA_SECURITY {
        // This class has no evidences; what they hold stands beside it.
        for (name, value) in evidence.as_object().into_iter().flatten() {
            event[if name == "data" { "unmapped" } else { name }] = value.clone();
        }
    } else {
        event["evidences"] = json!([evidence]);
    }
    if class == COMPLIANCE {
        event["compliance"] = json!({
            "control": rule, "standards": ["PCI DSS 4.0.1"], "requirements": ["10.7.2"], "status_id": 3, "status": "Fail",
        });
    }
    Some(format!("{event}\n"))
}

/// What every class has.
fn base(class: u32, rule: &str, seen: &Seen, finding: &Value) -> Value {
    let (severity_id, severity) = match finding["severity"].as_str() {
        Some("low") => (2, "Low"),
        Some("medium") => (3, "Medium"),
        Some("high") => (4, "High"),
        Some("critical") => (5, "Critical"),
        _ => (0, "Unknown"),
    };
    let time = seen.ts.unix_micros() / 1_000;
    let uid = format!("{}/{}", seen.boot_id, seen.instance_seq);
    json!({
        "activity_id": 1, "activity_name": "Create", "category_uid": 2, "category_name": "Findings",
        "class_uid": class, "type_uid": class * 100 + 1, "time": time,
        "severity_id": severity_id, "severity": severity, "status_id": 1, "status": "New",
        "message": sentence(rule, finding),
        "metadata": {
            "version": "1.8.0", "uid": uid, "log_name": "strongroom audit log",
            "product": { "name": "Strongroom vault", "vendor_name": "Strongroom", "version": env!("CARGO_PKG_VERSION") },
        },
        "finding_info": {
            "uid": uid, "title": rule, "types": [rule], "created_time": time,
            "analytic": { "name": rule, "type_id": 1, "type": "Rule" },
            "related_events_count": finding["count"],
        },
        "resources": [resource(seen)],
    })
}

/// Who, where to, and which entries it rests on.
fn evidence(finding: &Value) -> Value {
    let mut data = json!({});
    for name in ["first_index", "last_index", "count", "limit", "seconds"] {
        data[name] = finding[name].clone();
    }
    let mut evidence = json!({ "data": data });
    if let Some(principal) = finding["principal"].as_str() {
        evidence["actor"] = json!({ "user": { "name": principal, "type_id": 3, "type": "System" } });
        if let Some(sha256) = finding["certificate_sha256"].as_str() {
            evidence["actor"]["user"]["credential_uid"] = json!(sha256);
        }
    }
    if let Some(route) = finding["route"].as_str() {
        evidence["dst_endpoint"] = json!({ "name": route });
    }
    evidence
}

fn resource(seen: &Seen) -> Value {
    let mut resource = json!({ "type": seen.obj.r#type, "uid": seen.obj.r#ref });
    if let Some(tenant) = &seen.obj.tenant {
        resource["group"] = json!({ "name": tenant });
    }
    resource
}

fn sentence(rule: &str, finding: &Value) -> String {
    let principal = finding["principal"].as_str().unwrap_or("the service");
    let (count, limit) = (&finding["count"], &finding["limit"]);
    match finding["seconds"].as_u64() {
        Some(seconds) if seconds > 0 => {
            format!("{rule}: {count} within {seconds} s by {principal}, of {limit} let pass")
        }
        _ => format!("{rule}: by {principal}"),
    }
}
