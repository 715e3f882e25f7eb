//! `POST /v1/tenants/{tenant}/exports/{id}/runs`: the answer is the age file.
//!
//! Promises: plaintext is in no answer. An answer that ends without its last piece ends as an error, never as if it were whole.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use axum::response::Response;
use futures_util::stream;
use http::{HeaderName, HeaderValue, header};
use tokio::sync::mpsc;

use super::view::{object, permit};
use crate::audit::Event;
use crate::http::problem::{Denial, Refused};
use crate::operation::export::{Begun, Piece};
use crate::operation::{Asking, OperationError, Vault};

/// The number of the run.
const RUN: HeaderName = HeaderName::from_static("strongroom-export-run");
/// Cards there were when it began.
const CARDS: HeaderName = HeaderName::from_static("strongroom-export-cards");

/// Run an approved export.
///
/// By one of the two people. The answer is the file, encrypted to the recipient; what it is says the run's `manifest`
/// afterwards. Each run is audited card by card, and there are only so many. A file that came in part is of no use: run again.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/exports/{id}/runs",
    tag = "exports",
    operation_id = "runExport",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("id" = String, Path, description = "the export", format = Uuid),
    ),
    responses(
        (status = 200, description = "an age file (age-encryption.org/v1)", body = Vec<u8>, content_type = "application/octet-stream",
            headers(
                ("strongroom-export-run" = u32, description = "the run's number"),
                ("strongroom-export-cards" = u64, description = "cards there were when it began"),
            )),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn run(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Refused> {
    match try_run(&vault, &asking, &tenant, &id).await {
        Ok(begun) => Ok(answer(begun)),
        Err(error) => {
            let object = object(&tenant, Some(&id));
            Err(Refused::new(&vault, &asking, Event::ExportRun, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_run(
    vault: &Arc<Vault>,
    asking: &Asking,
    tenant: &str,
    id: &str,
) -> Result<Begun, OperationError> {
    let (permit, person) = permit(vault, asking, tenant, Some(id)).await?;
    vault.run_export(asking, permit, person).await
}

/// The run ended without a word of its end.
#[derive(Debug, thiserror::Error)]
#[error("the run broke")]
struct RunBroke;

fn answer(begun: Begun) -> Response {
    let Begun { run, cards, pieces } = begun;
    let mut response = Response::new(Body::from_stream(stream::unfold(Some(pieces), next)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    headers.insert(RUN, run.into());
    headers.insert(CARDS, cards.into());
    response
}

type Pieces = Option<mpsc::Receiver<Piece>>;

async fn next(pieces: Pieces) -> Option<(Result<bytes::Bytes, RunBroke>, Pieces)> {
    let mut pieces = pieces?;
    match pieces.recv().await {
        Some(Piece::Bytes(bytes)) => Some((Ok(bytes), Some(pieces))),
        Some(Piece::End) => None,
        None => Some((Err(RunBroke), None)),
    }
}
