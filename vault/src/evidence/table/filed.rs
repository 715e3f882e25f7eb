//! Tables of what people and earlier bundles filed: reviews, differences of access, proofs, rotations, the register of PSPs.

use serde_json::Value;

use super::{Table, maybe, texts, time};
use crate::evidence::facts::{Facts, Reviews};

pub(in crate::evidence) fn reviews(facts: &Facts) -> Table {
    let row = |review: &crate::evidence::facts::HeldReview| {
        let entry = &review.entry;
        let mut cells = vec![entry.index.to_string(), time(entry.at)];
        cells.extend(texts([entry.kind.as_str(), &entry.number.to_string(), &review.person, &entry.actor]));
        cells.extend(texts([&entry.decision, &review.remarks, &review.what, &entry.sha256]));
        cells.push(review.wrong.unwrap_or("holds").to_owned());
        cells
    };
    let columns = &[
        "entry",
        "when",
        "of",
        "number",
        "person",
        "identity",
        "says",
        "remarks",
        "what was reviewed",
        "sha-256",
        "signature",
    ];
    let rows = facts.reviews.iter().flat_map(|reviews| &reviews.filed).map(row).collect();
    Table::new("reviews", columns, rows).without(facts.log.filed.not_itemised)
}

pub(in crate::evidence) fn review_standings(facts: &Facts) -> Table {
    let row = |reviews: &Reviews| {
        let state = if reviews.overdue { "OVERDUE" } else { "in time" };
        let numbers = [u64::from(reviews.days), reviews.filed.len() as u64, reviews.late, reviews.wrong()];
        let mut cells = texts([reviews.kind.as_str()]);
        cells.extend(numbers.map(|number| number.to_string()));
        cells.extend([maybe(reviews.last), maybe(reviews.due_at), state.to_owned()]);
        cells
    };
    let columns = &[
        "of",
        "within days",
        "in the period",
        "late",
        "without a record that holds",
        "last",
        "due",
        "state",
    ];
    Table::new("review-standings", columns, facts.reviews.iter().map(row).collect())
}

pub(in crate::evidence) fn access_changes(facts: &Facts) -> Table {
    let difference = &facts.access.difference;
    let added = difference.added.iter().map(|row| access_change("new", row));
    let removed = difference.removed.iter().map(|row| access_change("gone", row));
    let columns = &[
        "change",
        "who",
        "roles",
        "action",
        "tenants",
        "on behalf of",
        "route/account",
        "host",
        "calls",
        "policies",
    ];
    Table::new("access-changes", columns, removed.chain(added).collect())
}

fn access_change(change: &str, row: &Value) -> Vec<String> {
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    let list = |name: &str, between: &str| {
        let texts = row[name].as_array().into_iter().flatten().filter_map(Value::as_str);
        texts.collect::<Vec<_>>().join(between)
    };
    let call = |call: &Value| {
        let attributes = call["attributes"].as_array().into_iter().flatten().filter_map(Value::as_str);
        let attributes = attributes.collect::<Vec<_>>().join(" ");
        let text = |name: &str| call[name].as_str().unwrap_or_default().to_owned();
        format!("{} {} ({attributes})", text("method"), text("path"))
    };
    let calls: Vec<String> = row["calls"].as_array().into_iter().flatten().map(call).collect();
    vec![
        change.to_owned(),
        text("workload"),
        list("roles", " "),
        text("action"),
        list("tenants", "; "),
        text("caller"),
        text("account"),
        text("host"),
        calls.join("; "),
        list("policies", " "),
    ]
}

pub(in crate::evidence) fn proofs(facts: &Facts) -> Table {
    let findings = facts.proofs.iter().flat_map(|proofs| &proofs.findings);
    let row = |finding: &crate::evidence::proofs::ProvedFinding| {
        let kinds = [finding.kinds, finding.kinds_permitted].map(|kinds| kinds.to_string());
        let mut cells = texts([&finding.id, &finding.says]);
        cells.extend(kinds);
        cells.push(finding.outcome.clone());
        cells
    };
    let columns = &["statement", "says", "kinds of request", "ever permitted", "outcome"];
    Table::new("policy-proofs", columns, findings.map(row).collect())
}

pub(in crate::evidence) fn rotations(facts: &Facts) -> Table {
    let row = |row: &crate::evidence::tally::Rotation| {
        let mut cells = vec![row.index.to_string(), time(row.at)];
        cells.extend(texts([
            &row.scope,
            &row.purpose,
            &row.key,
            &row.kms_key,
            &row.follows,
            row.what.words(),
        ]));
        cells
    };
    let columns = &["entry", "when", "whose", "purpose", "key", "wrapped by", "takes over from", "what"];
    let rows = facts.log.rotations.rows.iter().map(row).collect();
    Table::new("rotations", columns, rows).without(facts.log.rotations.not_itemised)
}

pub(in crate::evidence) fn psp_register(facts: &Facts) -> Table {
    let rows = facts.psp_register.iter().flat_map(|register| &register.rows);
    let row = |row: &crate::evidence::facts::RegisterRow| {
        texts([
            &row.route,
            &row.name,
            &row.attestation,
            &row.attested_on,
            &row.valid_until,
            &row.document_sha256,
            row.standing.words(),
        ])
    };
    let columns =
        &["route", "who", "attestation", "attested on", "valid until", "document sha-256", "standing"];
    Table::new("psp-register", columns, rows.map(row).collect())
}
