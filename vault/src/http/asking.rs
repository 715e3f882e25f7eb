//! Who asks: put together from what the listener found out, once per request.

use std::sync::Arc;

use axum::extract::FromRequestParts;
use http::request::Parts;
use strongroom_perimeter::{Caller, RequestInfo};

use super::problem::Refused;
use crate::audit::Receipts;
use crate::operation::{Asking, OperationError, Vault};

impl FromRequestParts<Arc<Vault>> for Asking {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, vault: &Arc<Vault>) -> Result<Self, Refused> {
        let request = parts.extensions.get::<RequestInfo>().cloned();
        let caller = parts.extensions.get::<Caller>().cloned();
        let receipts = parts.extensions.get::<Receipts>().cloned().unwrap_or_default();
        match (caller, request) {
            (Some(caller), Some(request)) => Ok(Self { caller, request, at: vault.clock.now(), receipts }),
            (_, request) => Err(Refused::without_entry(
                OperationError::Defect("a request without caller passed the listener"),
                request.map(|request| request.id),
            )),
        }
    }
}
