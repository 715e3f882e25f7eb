//! `GET /v1/evidence`, `POST /v1/evidence`: the evidence bundle of a period, as a zip; with proofs of the policies where they are given.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use strongroom_domain::{Problem, ProblemKind, Timestamp};

use crate::audit::Event;
use crate::authz::{Permit, ReadEvidence};
use crate::evidence::{BadProofs, Period, PolicyProofs, SAMPLE_MAX, Wanted};
use crate::http::problem::{Denial, Refused};
use crate::http::{body, query};
use crate::operation::evidence::{MadeEvidence, OBJECT};
use crate::operation::{Asking, OperationError, Vault};

/// Names the manifest: the log has it too.
const MANIFEST: HeaderName = HeaderName::from_static("strongroom-evidence-manifest");
const NAMES: &[&str] = &["/from", "/to", "/sample"];
/// Entries of a sample unless said.
const SAMPLE: u32 = 25;

/// Make evidence.
///
/// Reads the whole log, so one bundle is made at a time and may take minutes. `to` must have passed. What is in it: vault/docs/evidence.md.
#[utoipa::path(
    get,
    path = "/v1/evidence",
    tag = "evidence",
    operation_id = "makeEvidence",
    params(
        ("from" = String, Query, description = "the first moment of the period", format = DateTime),
        ("to" = String, Query, description = "the first moment after it, which has passed", format = DateTime),
        ("sample" = Option<u32>, Query, description = "entries of each requirement to show with their proofs, 25 unless said", minimum = 0, maximum = 500),
    ),
    responses(
        (status = 200, description = "a zip", body = Vec<u8>, content_type = "application/zip",
            headers(("strongroom-evidence-manifest" = String, description = "SHA-256 of its manifest, in hex; the log names it too"))),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn make(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let asked = admitted(&vault, &asking, query.as_deref());
    made(&vault, &asking, asked.map(|(permit, wanted)| (permit, wanted, None))).await
}

/// Make evidence, with proofs of the policies in it.
///
/// The body is what `strongroom-policy prove --out` wrote of the very policy bundle that is in force; `conflict` if it is of another.
#[utoipa::path(
    post,
    path = "/v1/evidence",
    tag = "evidence",
    operation_id = "makeEvidenceWithProofs",
    params(
        ("from" = String, Query, description = "the first moment of the period", format = DateTime),
        ("to" = String, Query, description = "the first moment after it, which has passed", format = DateTime),
        ("sample" = Option<u32>, Query, description = "entries of each requirement to show with their proofs, 25 unless said", minimum = 0, maximum = 500),
    ),
    request_body(content = Object, description = "the file of proofs, at most 512 KiB", content_type = "application/json"),
    responses(
        (status = 200, description = "a zip", body = Vec<u8>, content_type = "application/zip",
            headers(("strongroom-evidence-manifest" = String, description = "SHA-256 of its manifest, in hex; the log names it too"))),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn make_with_proofs(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let asked = admitted(&vault, &asking, query.as_deref()).and_then(|(permit, wanted)| {
        let proofs = proofs(&vault, &headers, body).map_err(OperationError::Request)?;
        Ok((permit, wanted, Some(proofs)))
    });
    made(&vault, &asking, asked).await
}

type Asked = (Permit<ReadEvidence>, Wanted, Option<PolicyProofs>);

async fn made(
    vault: &Arc<Vault>,
    asking: &Asking,
    asked: Result<Asked, OperationError>,
) -> Result<Response, Refused> {
    let (permit, wanted, proofs) = match asked {
        Ok(asked) => asked,
        Err(error) => {
            let event = Event::EvidenceMake;
            return Err(Refused::new(vault, asking, event, OBJECT, Denial::Forbidden, error).await);
        }
    };
    match vault.make_evidence(asking, permit, wanted, proofs).await {
        Ok(made) => Ok(answer(made)),
        Err(error) => Err(Refused::telling(&error, Denial::Forbidden, Some(asking.request.id))),
    }
}

fn admitted(
    vault: &Vault,
    asking: &Asking,
    query: Option<&str>,
) -> Result<(Permit<ReadEvidence>, Wanted), OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadEvidence>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ReadEvidence>(&asking.caller.workload, (), &())?;
    Ok((permit, wanted(query, asking.at).map_err(OperationError::Request)?))
}

fn proofs(
    vault: &Vault,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<PolicyProofs, Problem> {
    let bytes = body::bytes(body)?;
    body::parse::<serde::de::IgnoredAny>(headers, &bytes, &[])?;
    PolicyProofs::read(&bytes, vault.authorizer.load().bundle()).map_err(|error| match error {
        BadProofs::Malformed => {
            Problem::because(ProblemKind::InvalidRequest, "not a file of strongroom-policy prove --out")
        }
        BadProofs::Inputs => Problem::because(
            ProblemKind::InvalidRequest,
            "the proofs are not of the policies, schema and statements they name",
        )
        .at("/inputs"),
        BadProofs::AnotherBundle => {
            Problem::because(ProblemKind::Conflict, "the proofs are not of the policy bundle in force")
                .at("/bundle")
        }
        BadProofs::CardData => {
            Problem::because(ProblemKind::PanInRequest, "the proofs hold a card number; nothing was made")
        }
    })
}

pub(in crate::http) fn wanted(query: Option<&str>, now: Timestamp) -> Result<Wanted, Problem> {
    let parameters = query::parse(query, NAMES)?;
    let invalid = |detail, pointer| Problem::because(ProblemKind::InvalidRequest, detail).at(pointer);
    let time = |name: &str, pointer| {
        let text = parameters.get(name).ok_or_else(|| invalid("the period has no such end", pointer))?;
        Timestamp::parse_rfc3339(text).ok_or_else(|| invalid("not an RFC 3339 date-time", pointer))
    };
    let period = Period { from: time("from", "/from")?, until: time("to", "/to")? };
    if period.until > now {
        return Err(invalid("the period has not passed", "/to"));
    }
    if period.from >= period.until {
        return Err(invalid("the period ends before it begins", "/from"));
    }
    let sample = match parameters.get("sample").map(|sample| sample.parse::<u32>()) {
        None => SAMPLE,
        Some(Ok(sample)) if sample <= SAMPLE_MAX => sample,
        Some(_) => return Err(invalid("sample is not 0 to 500", "/sample")),
    };
    Ok(Wanted { period, sample })
}

pub(in crate::http) fn answer(made: MadeEvidence) -> Response {
    let mut response = Response::new(Body::from(made.zip));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/zip"));
    let name = hex::encode(made.manifest_sha256);
    headers.insert(MANIFEST, HeaderValue::try_from(name).expect("hex digits are a header's value"));
    response
}
