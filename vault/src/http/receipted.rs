//! Every answer names the receipts of what was written about it.
//!
//! Promises: what the header names is durable; an answer about which nothing was written has none.
//! Upholds: C-55.

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderName, HeaderValue};
use utoipa::openapi::header::HeaderBuilder;
use utoipa::openapi::path::Operation;
use utoipa::openapi::schema::{ObjectBuilder, Type};
use utoipa::openapi::{Object, RefOr};

use crate::audit::Receipts;

/// Receipts of the request, separated by commas where there are several.
const RECEIPT: HeaderName = HeaderName::from_static("strongroom-receipt");

pub(super) async fn name_receipts(mut request: Request, next: Next) -> Response {
    let receipts = Receipts::default();
    request.extensions_mut().insert(receipts.clone());
    let mut response = next.run(request).await;
    let told: Vec<String> = receipts.so_far().iter().map(ToString::to_string).collect();
    if !told.is_empty()
        && let Ok(value) = HeaderValue::try_from(told.join(", "))
    {
        response.headers_mut().insert(RECEIPT, value);
    }
    response
}

/// Says so of an operation in the contract.
pub(super) fn describe(operation: &mut Operation) -> &mut Operation {
    for response in operation.responses.responses.values_mut() {
        if let RefOr::T(response) = response {
            let schema: Object = ObjectBuilder::new().schema_type(Type::String).build();
            let header = HeaderBuilder::new()
                .schema(Some(schema))
                .description(Some("receipts of the entries written about this request, separated by commas"))
                .build();
            response.headers.insert("Strongroom-Receipt".to_owned(), header.into());
        }
    }
    operation
}
