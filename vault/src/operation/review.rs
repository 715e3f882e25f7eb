//! Reviews: what is to be reviewed, and that a person acknowledged it.
//!
//! Promises: a review is filed only if the key of the caller's own certificate signed it, if it is of what is in force or on the log now,
//! and if it follows the last one; its entry is in the same transaction.
//! Upholds: C-04, C-68.

use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::{Problem, ProblemKind, Timestamp};

use super::{Asking, OperationError, Vault};
use crate::audit::{Event, Object};
use crate::authz::{AccessReview, Action, Authorizer, Permit, ReviewAccess, ReviewLog};
use crate::review::{
    AccessSubject, DigestError, InvalidRecord, LogDigest, LogSubject, ReviewKind, ReviewRecord, Says,
    Standing, Unsigned, Until, access_sha256, digest, record_sha256, verify,
};
use crate::store::{Change, Committed, Filed, ReviewRow, StoreError};

/// How long somebody may read a digest before it is signed: longer, and what came since is more than what was read.
const READING_TIME_MAX: Duration = Duration::from_secs(12 * 3_600);

/// An action that is a review.
pub trait Reviews: Action<Subject = (), Facts = ()> {
    /// Of what.
    const REVIEWED: ReviewKind;
}

impl Reviews for ReviewAccess {
    const REVIEWED: ReviewKind = ReviewKind::Access;
}

impl Reviews for ReviewLog {
    const REVIEWED: ReviewKind = ReviewKind::Log;
}

/// What is to be reviewed.
pub struct ShownReview {
    /// What is signed, once decision and remarks are said.
    pub record: ReviewRecord,
    /// The access matrix, if that is reviewed.
    pub matrix: Option<AccessReview>,
    /// The log's digest, if that is.
    pub digest: Option<LogDigest>,
    /// When the last one was, if there was one.
    pub last: Option<Timestamp>,
    /// Whether it is time.
    pub standing: Standing,
}

/// A review as a person hands it in.
pub struct SignedReview {
    /// What was signed.
    pub record: String,
    /// The signature.
    pub signature: Vec<u8>,
    /// The certificate whose key made it, DER.
    pub certificate: Vec<u8>,
}

/// A review that is filed.
pub struct FiledReview {
    /// As it is kept.
    pub row: ReviewRow,
    /// Whether this call filed it; not if it was there already.
    pub is_new: bool,
    /// When the next is due.
    pub standing: Standing,
}

/// What a record must be now, but for what its person says.
struct Drawn {
    record: ReviewRecord,
    matrix: Option<AccessReview>,
    digest: Option<LogDigest>,
    /// When the entry after the last was written.
    next: Option<Timestamp>,
}

impl Vault {
    /// What is to be reviewed now.
    pub async fn show_review<A: Reviews>(
        &self,
        asking: &Asking,
        permit: Permit<A>,
    ) -> Result<ShownReview, OperationError> {
        let last = self.store.last_review(A::REVIEWED).await?;
        let Drawn { record, matrix, digest, .. } =
            self.draw_review(asking, A::REVIEWED, last.as_ref(), Until::Newest).await?;
        let (event, object) = match A::REVIEWED {
            ReviewKind::Access => (Event::ReviewRead, Object::Service("policies")),
            ReviewKind::Log => (Event::AuditRead, Object::Log),
        };
        let entry = Self::allowed(asking, event, permit.decision(), object);
        let entry = match (&record.access, &record.entries) {
            (Some(access), _) => entry.counting(access.grants),
            (_, Some(entries)) => entry.because("digest").counting(entries.size - entries.from),
            (None, None) => entry,
        };
        self.record(entry).await?;
        let standing = self.standing_after(A::REVIEWED, last.as_ref(), asking.at).await?;
        Ok(ShownReview { record, matrix, digest, last: last.map(|row| row.reviewed_at), standing })
    }

    /// Files a review.
    pub async fn file_review<A: Reviews>(
        &self,
        asking: &Asking,
        permit: Permit<A>,
        signed: SignedReview,
    ) -> Result<FiledReview, OperationError> {
        let kind = A::REVIEWED;
        let record = ReviewRecord::parse(&signed.record).map_err(invalid)?;
        must_be_signed(asking, &signed)?;
        let sha256 = record_sha256(&signed.record);
        let last = self.store.last_review(kind).await?;
        let is_there = last.as_ref().is_some_and(|last| record.kind == kind && record.number <= last.number);
        if is_there && let Some(row) = self.filed_before(&record, sha256).await? {
            let entry = Self::allowed(asking, kind.event(), permit.decision(), Object::Review(sha256));
            self.record(entry.because("unchanged").counting(row.number)).await?;
            let standing = self.standing_after(kind, Some(&row), asking.at).await?;
            return Ok(FiledReview { row, is_new: false, standing });
        }
        let until = record.entries.as_ref().map_or(Until::Newest, |entries| Until::Size(entries.size));
        let Drawn { record: drawn, next, .. } = self.draw_review(asking, kind, last.as_ref(), until).await?;
        let (decision, remarks, number) = (record.decision, record.remarks.clone(), record.number);
        let is_fresh = next.is_none_or(|next| next.plus(READING_TIME_MAX) > asking.at);
        if record != (ReviewRecord { decision, remarks, ..drawn }) || !is_fresh {
            return Err(OperationError::Conflict);
        }
        let SignedReview { record, signature, certificate } = signed;
        let reviewed_at = asking.at;
        let row = ReviewRow { kind, number, sha256, record, signature, certificate, reviewed_at };
        let entry = Self::allowed(asking, kind.event(), permit.decision(), Object::Review(sha256));
        let entry = entry.because(decision.as_str()).counting(number);
        let filed = Box::new(Filed::Review(row.clone()));
        if self.committer.commit(Change::File { filed, entry }).await? != Committed::Done {
            return Err(OperationError::Conflict); // somebody else was first
        }
        metrics::counter!("strongroom_reviews_total", "kind" => kind.as_str(), "decision" => decision.as_str())
            .increment(1);
        let standing = self.standing_after(kind, Some(&row), asking.at).await?;
        Ok(FiledReview { row, is_new: true, standing })
    }

    /// Whether a review is overdue.
    pub async fn review_standing(&self, kind: ReviewKind) -> Result<Standing, OperationError> {
        let last = self.store.last_review(kind).await?;
        self.standing_after(kind, last.as_ref(), self.clock.now()).await
    }

    async fn standing_after(
        &self,
        kind: ReviewKind,
        last: Option<&ReviewRow>,
        now: Timestamp,
    ) -> Result<Standing, OperationError> {
        let began = match last {
            Some(row) => row.reviewed_at,
            None => began(self.store.boots().await?.iter().map(|boot| boot.started_at), now),
        };
        Ok(self.evidence.config().reviews.standing(kind, began, now))
    }

    async fn filed_before(
        &self,
        record: &ReviewRecord,
        sha256: [u8; 32],
    ) -> Result<Option<ReviewRow>, OperationError> {
        let Some(before) = record.number.checked_sub(1) else { return Ok(None) };
        let rows = self.store.reviews(record.kind, before).await?;
        Ok(rows.into_iter().find(|row| row.sha256 == sha256))
    }

    /// What a record of this kind must be now.
    async fn draw_review(
        &self,
        asking: &Asking,
        kind: ReviewKind,
        last: Option<&ReviewRow>,
        until: Until,
    ) -> Result<Drawn, OperationError> {
        let authorizer = self.authorizer.load_full();
        let person = authorizer.person_of(&asking.caller.workload).ok_or(OperationError::Conflict)?.clone();
        let ground = &self.evidence;
        let record = ReviewRecord {
            v: ReviewRecord::format(),
            kind,
            log: ground.origin().as_str().to_owned(),
            environment: self.environment,
            number: last.map_or(0, |row| row.number) + 1,
            previous: last.map(|row| hex::encode(row.sha256)),
            reviewer: asking.caller.workload.clone(),
            person,
            decision: Says::Approved,
            remarks: String::new(),
            access: None,
            entries: None,
        };
        match kind {
            ReviewKind::Access => draw_access(record, authorizer).await,
            ReviewKind::Log => self.draw_log(record, last, until).await,
        }
    }

    async fn draw_log(
        &self,
        record: ReviewRecord,
        last: Option<&ReviewRow>,
        until: Until,
    ) -> Result<Drawn, OperationError> {
        let ground = &self.evidence;
        let _one = ground.begin().ok_or(OperationError::RateLimited)?;
        let before = last.map(end_of).transpose()?;
        let from = before.as_ref().map_or((0, None), |(size, root)| (*size, Some(root.as_str())));
        let keys = self.log_keys().await?;
        let (digest, next) = digest(&*self.store, &keys, from, until).await.map_err(refusal)?;
        let sha256 = digest.sha256().ok_or(OperationError::Defect("counts have a canonical form"))?;
        let entries = LogSubject {
            from: digest.from,
            size: digest.size,
            root: digest.root.clone(),
            digest_sha256: hex::encode(sha256),
            refused: digest.refused(),
            findings: digest.findings(),
        };
        let record = ReviewRecord { entries: Some(entries), ..record };
        Ok(Drawn { record, matrix: None, digest: Some(digest), next })
    }
}

async fn draw_access(record: ReviewRecord, authorizer: Arc<Authorizer>) -> Result<Drawn, OperationError> {
    // Asking policy for every grant takes its time: not on a thread that serves.
    let matrix = tokio::task::spawn_blocking(move || authorizer.access()).await;
    let matrix = matrix.map_err(|_| OperationError::Defect("the access matrix could not be made"))?;
    let record = ReviewRecord { access: Some(subject(&matrix)?), ..record };
    Ok(Drawn { record, matrix: Some(matrix), digest: None, next: None })
}

/// When a log began whose instances started then.
fn began(starts: impl Iterator<Item = Timestamp>, now: Timestamp) -> Timestamp {
    starts.min().unwrap_or(now)
}

fn subject(matrix: &AccessReview) -> Result<AccessSubject, OperationError> {
    let (_, sha256) = access_sha256(matrix).ok_or(OperationError::Defect("a matrix has a canonical form"))?;
    Ok(AccessSubject {
        access_sha256: hex::encode(sha256),
        bundle_sha256: matrix.bundle_sha256.clone(),
        bundle_version: matrix.bundle_version,
        grants: matrix.rows.len() as u64,
    })
}

/// Where the last review of the log ended. Its row must be the one that was signed.
fn end_of(row: &ReviewRow) -> Result<(u64, String), OperationError> {
    let record = ReviewRecord::parse(&row.record).ok().filter(|_| record_sha256(&row.record) == row.sha256);
    let entries = record.and_then(|record| record.entries).ok_or(OperationError::LogDamaged)?;
    Ok((entries.size, entries.root))
}

/// By the key of the very certificate the caller showed.
fn must_be_signed(asking: &Asking, signed: &SignedReview) -> Result<(), OperationError> {
    use sha2::Digest as _;
    let wrong = |detail, pointer| {
        OperationError::Request(Problem::because(ProblemKind::InvalidRequest, detail).at(pointer))
    };
    if <[u8; 32]>::from(sha2::Sha256::digest(&signed.certificate)) != asking.caller.certificate_sha256 {
        return Err(wrong("the certificate is not the one this connection showed", "/certificate"));
    }
    verify(&signed.record, &signed.signature, &signed.certificate).map_err(|error| match error {
        Unsigned::Certificate => wrong("the certificate cannot be read", "/certificate"),
        Unsigned::Signature => wrong("the certificate's key did not sign this record", "/signature"),
    })
}

fn invalid(error: InvalidRecord) -> OperationError {
    let (kind, detail) = match error {
        InvalidRecord::Malformed => {
            (ProblemKind::InvalidRequest, "the record is not a review's in its canonical form")
        }
        InvalidRecord::Remarks => (
            ProblemKind::InvalidRequest,
            "remarks are not at most 1,000 bytes of text without control characters, or missing where something is to be followed up",
        ),
        InvalidRecord::CardData => {
            (ProblemKind::PanInRequest, "the remarks hold a card number or a token; nothing was filed")
        }
    };
    OperationError::Request(Problem::because(kind, detail).at("/record"))
}

fn refusal(error: DigestError) -> OperationError {
    match error {
        DigestError::Store(error) => error.into(),
        DigestError::NoCheckpoint => StoreError::Away("nothing of the log is signed yet").into(),
        DigestError::NoSuchTree => OperationError::Conflict,
        DigestError::Checkpoint(_) | DigestError::Altered => OperationError::LogDamaged,
        DigestError::Defect => OperationError::Defect("counting ended with a defect"),
    }
}
