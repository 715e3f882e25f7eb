//! `POST /v1/reviews/{kind}`: a person acknowledges what was reviewed.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use strongroom_domain::{Problem, ProblemKind, Timestamp};
use utoipa::ToSchema;

use super::show::unknown;
use crate::audit::{Event, Object};
use crate::authz::{ReviewAccess, ReviewLog};
use crate::http::body;
use crate::http::problem::{Denial, Refused};
use crate::operation::review::{FiledReview, Reviews, SignedReview};
use crate::operation::{Asking, OperationError, Vault};
use crate::review::{RECORD_BYTES_MAX, ReviewKind, SIGNATURE_BYTES_MAX};

/// A signed review.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = SignedReview)]
pub struct SignedReviewBody {
    /// What was signed, base64: the record in RFC 8785 JSON.
    #[schema(min_length = 4, max_length = 10924)]
    record: String,
    /// The signature, base64: by the key of the certificate this connection shows.
    #[schema(min_length = 4, max_length = 1368)]
    signature: String,
    /// That certificate (DER), base64.
    #[schema(min_length = 4, max_length = 16384)]
    certificate: String,
}

const FIELDS: &[&str] = &["/record", "/signature", "/certificate"];
/// Largest certificate.
const CERTIFICATE_BYTES_MAX: usize = 12 * 1024;

/// A review that is filed.
#[derive(Serialize, ToSchema)]
#[schema(as = FiledReview)]
pub struct FiledReviewBody {
    /// `access` or `log`.
    kind: &'static str,
    /// Counts from 1 within its kind.
    number: u64,
    /// Hash of what was signed: the log names it.
    #[schema(pattern = "^[0-9a-f]{64}$")]
    sha256: String,
    /// When it was filed.
    #[schema(value_type = String, format = DateTime)]
    reviewed_at: Timestamp,
    /// When the next is due.
    #[schema(value_type = String, format = DateTime)]
    due_at: Timestamp,
}

/// Acknowledge a review.
///
/// The record is what `GET` showed, with decision and remarks, signed by the key of the caller's own certificate. `conflict` if what was reviewed
/// is not in force any more, somebody else was first, or the digest is older than 12 hours. Twice is once.
#[utoipa::path(
    post,
    path = "/v1/reviews/{kind}",
    tag = "reviews",
    operation_id = "fileReview",
    params(("kind" = String, Path, description = "what was reviewed", pattern = "^(access|log)$")),
    request_body = SignedReviewBody,
    responses(
        (status = 201, description = "it is filed", body = FiledReviewBody),
        (status = 200, description = "it was filed before", body = FiledReviewBody),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn file(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(kind): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let kind = ReviewKind::parse(&kind);
    let filed = match kind {
        Some(ReviewKind::Access) => try_file::<ReviewAccess>(&vault, &asking, &headers, body).await,
        Some(ReviewKind::Log) => try_file::<ReviewLog>(&vault, &asking, &headers, body).await,
        None => Err(unknown()),
    };
    match filed {
        Ok(filed) => Ok(answer(filed)),
        Err(error) => {
            let event = kind.map_or(Event::ReviewRead, ReviewKind::event);
            let object = Object::Operation("POST /v1/reviews/{kind}");
            Err(Refused::new(&vault, &asking, event, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_file<A: Reviews>(
    vault: &Vault,
    asking: &Asking,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<FiledReview, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<A>(&asking.caller.workload)?;
    let permit = authorizer.decide::<A>(&asking.caller.workload, (), &())?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let SignedReviewBody { record, signature, certificate } =
        body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let record = decoded(&record, RECORD_BYTES_MAX, "/record")?;
    let record = String::from_utf8(record).map_err(|_| not_base64("/record"))?;
    let signature = decoded(&signature, SIGNATURE_BYTES_MAX, "/signature")?;
    let certificate = decoded(&certificate, CERTIFICATE_BYTES_MAX, "/certificate")?;
    vault.file_review(asking, permit, SignedReview { record, signature, certificate }).await
}

fn decoded(text: &str, bytes_max: usize, pointer: &'static str) -> Result<Vec<u8>, OperationError> {
    let bytes = STANDARD.decode(text).ok().filter(|bytes| bytes.len() <= bytes_max);
    bytes.ok_or_else(|| not_base64(pointer))
}

fn not_base64(pointer: &'static str) -> OperationError {
    let detail = "not base64 of what belongs there, or too long";
    OperationError::Request(Problem::because(ProblemKind::InvalidRequest, detail).at(pointer))
}

fn answer(filed: FiledReview) -> Response {
    let status = if filed.is_new { StatusCode::CREATED } else { StatusCode::OK };
    let body = FiledReviewBody {
        kind: filed.row.kind.as_str(),
        number: filed.row.number,
        sha256: hex::encode(filed.row.sha256),
        reviewed_at: filed.row.reviewed_at,
        due_at: filed.standing.due_at,
    };
    (status, Json(body)).into_response()
}
