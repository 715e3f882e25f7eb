//! What a person signs: who, of what, with which decision (`vault/docs/reviews.md`).
//!
//! ```text
//! signed = "strongroom/review/v1" 00 ‖ the record, RFC 8785 JSON
//! ```
//!
//! Promises: a record reads back only from the bytes it is written as; remarks are bounded and hold no card number and no token.
//! What is signed here is nothing TLS ever signs (RFC 8446 §4.4.3 begins with 64 spaces).

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use strongroom_domain::{Environment, WorkloadId, scan, token};

use super::ReviewKind;
use crate::authz::{AccessReview, Person};

/// Largest record.
pub const RECORD_BYTES_MAX: usize = 8 * 1024;
/// Longest remarks in bytes: some sentences for whoever reads the review.
pub const REMARKS_BYTES_MAX: usize = 1_000;
/// What stands before a record where it is signed.
const LABEL: &[u8] = b"strongroom/review/v1\0";
/// What stands before an access matrix in its hash.
const ACCESS_LABEL: &[u8] = b"strongroom/access/v1\0";
/// Format of records.
const FORMAT: u32 = 1;

/// A review, as its person signs it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReviewRecord {
    /// Format, 1.
    pub v: u32,
    /// Of what.
    pub kind: ReviewKind,
    /// The log's name.
    pub log: String,
    /// `live` or `test`.
    pub environment: Environment,
    /// Counts from 1 within its kind.
    pub number: u64,
    /// Hash of the review before; none of the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<String>,
    /// By which identity.
    pub reviewer: WorkloadId,
    /// Whose that is.
    pub person: Person,
    /// What it says.
    pub decision: Says,
    /// In words; may be empty where nothing is to be followed up.
    pub remarks: String,
    /// What was reviewed, if it was access.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub access: Option<AccessSubject>,
    /// What was reviewed, if it was the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entries: Option<LogSubject>,
}

/// What a review says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Says {
    /// It is as it should be.
    Approved,
    /// Something is to be followed up; the remarks say what.
    FollowUp,
}

impl Says {
    /// As records and entries write it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Approved => "approved",
            Self::FollowUp => "follow-up",
        }
    }
}

/// An access matrix.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessSubject {
    /// `SHA-256("strongroom/access/v1" 00 ‖ the matrix, RFC 8785 JSON)`, in hex.
    pub access_sha256: String,
    /// Hash of the policy bundle it is of, workloads among it.
    pub bundle_sha256: String,
    /// Version of that.
    pub bundle_version: u64,
    /// Its grants.
    pub grants: u64,
}

/// Entries of the log.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogSubject {
    /// The first one: where the review before ended.
    pub from: u64,
    /// The first one that is not: the size of the tree.
    pub size: u64,
    /// The root of that tree, in hex.
    pub root: String,
    /// Hash of the counts ([`super::LogDigest::sha256`]), in hex.
    pub digest_sha256: String,
    /// How many refusals and failures are among them.
    pub refused: u64,
    /// How many findings of rules.
    pub findings: u64,
}

/// Not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRecord {
    /// Not what a record is, or not as it is written.
    #[error("not a review's record in its canonical form")]
    Malformed,
    /// The remarks are too long, have control characters, or are missing where something is to be followed up.
    #[error("remarks are not at most 1,000 bytes of text without control characters, or missing")]
    Remarks,
    /// The remarks hold a card number or a token.
    #[error("remarks hold a card number or a token")]
    CardData,
}

impl ReviewRecord {
    /// Reads what was signed.
    pub fn parse(text: &str) -> Result<Self, InvalidRecord> {
        if text.len() > RECORD_BYTES_MAX {
            return Err(InvalidRecord::Malformed);
        }
        let record: Self = serde_json::from_str(text).map_err(|_| InvalidRecord::Malformed)?;
        record.check_remarks()?;
        let of_its_kind = match record.kind {
            ReviewKind::Access => record.access.is_some() && record.entries.is_none(),
            ReviewKind::Log => record.entries.is_some() && record.access.is_none(),
        };
        let is_written_so = record.canonical().is_some_and(|canonical| canonical == text);
        if record.v == FORMAT && of_its_kind && is_written_so {
            Ok(record)
        } else {
            Err(InvalidRecord::Malformed)
        }
    }

    fn check_remarks(&self) -> Result<(), InvalidRecord> {
        let text = &self.remarks;
        if scan::holds_pan(text) || token::holds_token_shape(text.as_bytes()) {
            return Err(InvalidRecord::CardData);
        }
        let is_said = self.decision == Says::Approved || !text.trim().is_empty();
        let fits = text.len() <= REMARKS_BYTES_MAX && !text.chars().any(char::is_control);
        if is_said && fits { Ok(()) } else { Err(InvalidRecord::Remarks) }
    }

    /// RFC 8785 JSON. None only by a defect.
    #[must_use]
    pub fn canonical(&self) -> Option<String> {
        serde_json_canonicalizer::to_string(self).ok()
    }

    /// The format this program writes.
    #[must_use]
    pub const fn format() -> u32 {
        FORMAT
    }
}

/// The bytes that are signed.
pub(super) fn signed_bytes(record: &str) -> Vec<u8> {
    [LABEL, record.as_bytes()].concat()
}

/// Their hash: what the log names a review by.
#[must_use]
pub fn record_sha256(record: &str) -> [u8; 32] {
    Sha256::digest(signed_bytes(record)).into()
}

/// An access matrix in RFC 8785 JSON, and its hash. None only by a defect.
#[must_use]
pub fn access_sha256(matrix: &AccessReview) -> Option<(String, [u8; 32])> {
    let text = serde_json_canonicalizer::to_string(matrix).ok()?;
    let sha256 = Sha256::new().chain_update(ACCESS_LABEL).chain_update(&text).finalize().into();
    Some((text, sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> ReviewRecord {
        ReviewRecord {
            v: 1,
            kind: ReviewKind::Log,
            log: "vault.example.com/test".into(),
            environment: Environment::Test,
            number: 2,
            previous: Some("ab".repeat(32)),
            reviewer: WorkloadId::parse("spiffe://strongroom.test/reviewer").unwrap(),
            person: Person::parse("one").unwrap(),
            decision: Says::Approved,
            remarks: String::new(),
            access: None,
            entries: Some(LogSubject {
                from: 0,
                size: 7,
                root: "00".repeat(32),
                digest_sha256: "11".repeat(32),
                refused: 1,
                findings: 0,
            }),
        }
    }

    #[test]
    fn a_record_reads_back_only_as_it_is_written() {
        let text = record().canonical().unwrap();
        assert_eq!(ReviewRecord::parse(&text), Ok(record()));
        assert_ne!(record_sha256(&text), record_sha256(&text.replace("\"number\":2", "\"number\":3")));
        for wrong in [
            format!("{text} "),
            text.replace("\"v\":1", "\"v\":2"),
            text.replace("\"kind\":\"log\"", "\"kind\":\"access\""),
            text.replace("\"v\":1", "\"v\":1,\"w\":1"),
            text.replace(",\"v\":1", ""),
            text.replacen('{', "{\"v\":1,", 1),
        ] {
            assert_eq!(ReviewRecord::parse(&wrong), Err(InvalidRecord::Malformed), "{wrong}");
        }
    }

    #[test]
    fn remarks_are_bounded_and_hold_no_card_data() {
        let with = |decision, remarks: &str| {
            let record = ReviewRecord { decision, remarks: remarks.to_owned(), ..record() };
            ReviewRecord::parse(&record.canonical().unwrap()).map(|_| ())
        };
        assert_eq!(with(Says::Approved, "all is as it should be"), Ok(()));
        assert_eq!(with(Says::FollowUp, "ask for the grants of support"), Ok(()));
        assert_eq!(with(Says::FollowUp, " "), Err(InvalidRecord::Remarks));
        assert_eq!(with(Says::Approved, &"x".repeat(REMARKS_BYTES_MAX)), Ok(()));
        assert_eq!(with(Says::Approved, &"x".repeat(REMARKS_BYTES_MAX + 1)), Err(InvalidRecord::Remarks));
        assert_eq!(with(Says::Approved, "two\nlines"), Err(InvalidRecord::Remarks));
        assert_eq!(with(Says::FollowUp, "seen 4242 4242 4242 4242"), Err(InvalidRecord::CardData));
        let random = strongroom_perimeter::chance::SystemRandom::new();
        let token = strongroom_domain::Token::generate(Environment::Test, &random).unwrap();
        assert_eq!(with(Says::FollowUp, token.as_str()), Err(InvalidRecord::CardData));
    }
}
