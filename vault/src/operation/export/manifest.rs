//! What a run says of itself: counts, digests, and who agreed to it. No card data.

use std::collections::BTreeMap;

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use strongroom_domain::{RequestId, Timestamp, WorkloadId};

use super::encrypt::Digest;
use super::{ExportRequest, OperationError};
use crate::store::{ExportApproval, ExportRow};

/// Fewest lines whose SHA-256 is written down. Of a card whose token, BIN and last four are known a thousand lines remain:
/// the digest of a few would tell which; of sixteen it does not.
const HASHED_LINES_MIN: u64 = 16;

/// What went into the file so far.
#[derive(Clone, Default)]
pub(super) struct Tally {
    pub(super) cards: u64,
    pub(super) by_brand: BTreeMap<&'static str, u64>,
    /// When the newest and the oldest of the cards came in.
    pub(super) newest: Option<Timestamp>,
    pub(super) oldest: Option<Timestamp>,
    /// Aliases that had no room in the file: a line has one, and `pan_shaped` ones mean nothing elsewhere.
    pub(super) aliases_left_out: u64,
    pub(super) lines: Digest,
}

/// The manifest of one run, members in the order of RFC 8785.
#[derive(Serialize)]
pub(super) struct Manifest<'a> {
    pub(super) aliases_left_out: u64,
    pub(super) approval: Said<'a>,
    pub(super) began_at: Timestamp,
    pub(super) by_brand: &'a BTreeMap<&'static str, u64>,
    pub(super) cards: u64,
    pub(super) ended_at: Timestamp,
    pub(super) export: strongroom_domain::ExportId,
    /// The encrypted file; none if it was not made to its end.
    pub(super) file: Option<Hashed>,
    /// The plaintext: lines, each with its line end.
    pub(super) lines: Hashed,
    pub(super) log: LogReference,
    pub(super) newest_created_at: Option<Timestamp>,
    pub(super) oldest_created_at: Option<Timestamp>,
    pub(super) request: &'a ExportRequest,
    pub(super) request_sha256: String,
    pub(super) run: u32,
    pub(super) run_by: &'a WorkloadId,
    /// `complete`, or why not.
    pub(super) state: &'static str,
    pub(super) v: u32,
}

/// Who approved.
#[derive(Serialize)]
pub(super) struct Said<'a> {
    at: Timestamp,
    by: &'a WorkloadId,
    person: &'a str,
}

/// Bytes by length and digest.
#[derive(Serialize)]
pub(super) struct Hashed {
    bytes: u64,
    /// None: so few lines could be guessed from it.
    sha256: Option<String>,
}

/// How the entries of this run are found on the log.
#[derive(Serialize)]
pub(super) struct LogReference {
    /// `req.id` of every entry.
    request_id: RequestId,
    /// Their events.
    events: [&'static str; 2],
}

impl LogReference {
    pub(super) const fn of(request_id: RequestId) -> Self {
        let events = [crate::audit::Event::ExportRun.as_str(), crate::audit::Event::PanExport.as_str()];
        Self { request_id, events }
    }
}

impl<'a> Said<'a> {
    pub(super) fn of(approval: &'a ExportApproval) -> Self {
        Self { at: approval.at, by: &approval.by, person: &approval.person }
    }
}

impl Hashed {
    pub(super) fn file(digest: &Digest) -> Self {
        Self { bytes: digest.bytes(), sha256: Some(hex::encode(digest.sha256())) }
    }

    pub(super) fn lines(tally: &Tally) -> Self {
        let sha256 = (tally.cards >= HASHED_LINES_MIN).then(|| hex::encode(tally.lines.sha256()));
        Self { bytes: tally.lines.bytes(), sha256 }
    }
}

impl Manifest<'_> {
    /// Version of its form.
    pub(super) const VERSION: u32 = 1;

    /// RFC 8785 JSON and its SHA-256.
    pub(super) fn write(&self) -> Result<(String, [u8; 32]), OperationError> {
        let text = serde_json_canonicalizer::to_string(self)
            .map_err(|_| OperationError::Defect("counts, names and times have a canonical form"))?;
        let sha256 = Sha256::digest(text.as_bytes()).into();
        Ok((text, sha256))
    }
}

/// The hash of what was agreed to, as texts write it.
pub(super) fn request_sha256(row: &ExportRow) -> String {
    hex::encode(row.sha256)
}
