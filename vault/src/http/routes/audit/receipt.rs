//! `GET /v1/audit/receipts/{id}`: the entries of a receipt, and the proof that they are in the signed log.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderValue, StatusCode};

use crate::audit::{Event, Object, Proven, ProvenState, ReceiptId};
use crate::authz::{ReadAudit, ReadReceipt, ReceiptScope};
use crate::http::problem::{Denial, Refused};
use crate::operation::receipt::Reader;
use crate::operation::{Asking, OperationError, Vault};

/// Seconds until a checkpoint covers what is committed now, as a rule.
const AGAIN_AFTER: HeaderValue = HeaderValue::from_static("1");

/// Read a receipt.
///
/// The entries it names, where they stand in the log, and the proof that they are in the tree a signed checkpoint is of. Every
/// answer about which something was written names its receipts in `Strongroom-Receipt`.
#[utoipa::path(
    get,
    path = "/v1/audit/receipts/{id}",
    tag = "audit",
    operation_id = "readReceipt",
    params(
        (
            "id" = String, Path, description = "the receipt, as `Strongroom-Receipt` named it",
            pattern = "^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(\\.(0|[1-9][0-9]{0,17})){1,2}$",
        ),
    ),
    responses(
        (status = 200, description = "the entries and their proofs", body = Proven),
        (status = 202, description = "committed, and in no checkpoint yet: ask again after `Retry-After`", body = Proven),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn receipt(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(text): Path<String>,
) -> Result<Response, Refused> {
    let id = ReceiptId::parse(&text);
    match try_read(&vault, &asking, id).await {
        Ok(proven) => Ok(answer(proven)),
        Err(error) => {
            let object = id.map_or(Object::Operation("GET /v1/audit/receipts/{id}"), |id| Object::Receipt {
                id,
                tenant: None,
            });
            let denial = Denial::ReceiptNotFound;
            Err(Refused::new(&vault, &asking, Event::AuditRead, object, denial, error).await)
        }
    }
}

/// Whether the caller may read any receipt is decided before the entries are looked for; which, by whose they are.
async fn try_read(vault: &Vault, asking: &Asking, id: Option<ReceiptId>) -> Result<Proven, OperationError> {
    let authorizer = vault.authorizer.load_full();
    let caller = &asking.caller.workload;
    let reads_all = authorizer.admit::<ReadAudit>(caller).is_ok();
    if !reads_all {
        authorizer.admit::<ReadReceipt>(caller)?;
    }
    let found = vault.find_receipt(id.ok_or(OperationError::UnknownReceipt)?).await?;
    let reader = if reads_all {
        Reader::Auditor(authorizer.decide::<ReadAudit>(caller, (), &())?)
    } else {
        let tenant = found.tenant().ok_or(OperationError::UnknownReceipt)?.clone();
        let facts = vault.tenant_facts(&tenant).await?;
        let scope = ReceiptScope { tenant, receipt: found.id() };
        Reader::Tenant(authorizer.decide::<ReadReceipt>(caller, scope, &facts)?)
    };
    vault.read_receipt(asking, reader, found).await
}

fn answer(proven: Proven) -> Response {
    match proven.state {
        ProvenState::Sequenced => Json(proven).into_response(),
        ProvenState::Pending => {
            (StatusCode::ACCEPTED, [(RETRY_AFTER, AGAIN_AFTER)], Json(proven)).into_response()
        }
    }
}
