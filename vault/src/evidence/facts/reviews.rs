//! Reviews of the period, each held against its entry on the log; and whether they came in time.
//!
//! Upholds: C-68, C-69.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use strongroom_domain::Timestamp;

use crate::evidence::Period;
use crate::evidence::tally::{Filed, ReviewEntry};
use crate::review::{ReviewKind, ReviewRecord, ReviewsConfig, due_after, record_sha256, verify};
use crate::store::ReviewRow;

/// Reviews of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Reviews {
    /// Of what.
    pub kind: ReviewKind,
    /// Days within which the next is due.
    pub days: u32,
    /// Those of the period.
    pub filed: Vec<HeldReview>,
    /// How many of them came later than they were due.
    pub late: u64,
    /// When the last one before the end of the period was.
    pub last: Option<Timestamp>,
    /// Overdue from then on; none if the log has no entry.
    pub due_at: Option<Timestamp>,
    /// Whether one was overdue at the end of the period.
    pub overdue: bool,
}

/// A review and what its record says.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct HeldReview {
    /// Its entry.
    #[serde(flatten)]
    pub entry: ReviewEntry,
    /// What is wrong with its record; none if it holds.
    pub wrong: Option<&'static str>,
    /// Whose identity it was.
    pub person: String,
    /// What they said.
    pub remarks: String,
    /// What was reviewed.
    pub what: String,
    /// Its record, signature and certificate, as a file, if they hold.
    #[serde(skip)]
    pub file: Option<ReviewFile>,
}

/// A review as a bundle files it: everything to verify it with.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewFile {
    /// Its entry's place in the log.
    pub index: u64,
    /// What was signed, after `"strongroom/review/v1" 00`.
    pub record: String,
    /// The signature, base64.
    pub signature: String,
    /// The certificate whose key made it (DER), base64.
    pub certificate: String,
}

/// Both kinds.
pub(in crate::evidence) fn reviews(
    filed: &Filed,
    rows: Vec<ReviewRow>,
    config: ReviewsConfig,
    began: Option<Timestamp>,
    period: Period,
) -> [Reviews; 2] {
    let rows: HashMap<String, ReviewRow> =
        rows.into_iter().map(|row| (hex::encode(row.sha256), row)).collect();
    ReviewKind::ALL.map(|kind| {
        let days = config.days(kind);
        let (mut before, mut late, mut last) = (began, 0, None);
        for review in filed.of(kind) {
            let is_late = before.is_some_and(|before| review.at >= due_after(before, days));
            late += u64::from(is_late && period.holds(review.at));
            (before, last) = (Some(review.at), Some(review.at));
        }
        let due_at = before.map(|before| due_after(before, days));
        let of_period = filed.of(kind).filter(|review| period.holds(review.at));
        let held = of_period.map(|entry| HeldReview::of(entry, rows.get(&entry.sha256))).collect();
        let overdue = due_at.is_some_and(|due| due <= period.until);
        Reviews { kind, days, filed: held, late, last, due_at, overdue }
    })
}

impl Reviews {
    /// How many of the period have no record that holds.
    pub(in crate::evidence) fn wrong(&self) -> u64 {
        self.filed.iter().filter(|review| review.wrong.is_some()).count() as u64
    }
}

impl HeldReview {
    fn of(entry: &ReviewEntry, row: Option<&ReviewRow>) -> Self {
        let held = row.ok_or("the store has no record of it").and_then(|row| record_of(entry, row));
        let (person, remarks, what) = match &held {
            Ok(record) => (record.person.as_str().to_owned(), record.remarks.clone(), what(record)),
            Err(_) => Default::default(),
        };
        let file = row.filter(|_| held.is_ok()).map(|row| ReviewFile {
            index: entry.index,
            record: row.record.clone(),
            signature: STANDARD.encode(&row.signature),
            certificate: STANDARD.encode(&row.certificate),
        });
        Self { entry: entry.clone(), wrong: held.err(), person, remarks, what, file }
    }

    /// The path of its file.
    pub(in crate::evidence) fn path(&self) -> String {
        format!("reviews/{}-{}.json", self.entry.kind.as_str(), self.entry.number)
    }
}

impl ReviewFile {
    /// Whether the key of the certificate in it signed the record in it.
    pub(in crate::evidence) fn holds(&self) -> bool {
        let decoded = |text: &String| STANDARD.decode(text).ok();
        let Some((signature, certificate)) = decoded(&self.signature).zip(decoded(&self.certificate)) else {
            return false;
        };
        ReviewRecord::parse(&self.record).is_ok() && verify(&self.record, &signature, &certificate).is_ok()
    }
}

/// The record, if it is the one the log names, signed by the certificate the log names.
fn record_of(entry: &ReviewEntry, row: &ReviewRow) -> Result<ReviewRecord, &'static str> {
    if hex::encode(record_sha256(&row.record)) != entry.sha256 {
        return Err("the record in the store is not the one the log names");
    }
    let record = ReviewRecord::parse(&row.record).map_err(|_| "its record cannot be read")?;
    if hex::encode(Sha256::digest(&row.certificate)) != entry.certificate_sha256 {
        return Err("the certificate in the store is not the one the log names");
    }
    verify(&row.record, &row.signature, &row.certificate).map_err(|_| "its signature does not hold")?;
    let same = record.kind == entry.kind
        && record.number == entry.number
        && record.reviewer.as_str() == entry.actor
        && record.decision.as_str() == entry.decision;
    if same { Ok(record) } else { Err("its record says something else than its entry") }
}

fn what(record: &ReviewRecord) -> String {
    match (&record.access, &record.entries) {
        (Some(access), _) => format!(
            "{} grants of policy bundle {} (matrix {})",
            access.grants, access.bundle_version, access.access_sha256
        ),
        (_, Some(log)) => format!(
            "entries {} to before {}: {} refused or failed, {} findings (counts {})",
            log.from, log.size, log.refused, log.findings, log.digest_sha256
        ),
        (None, None) => String::new(),
    }
}
