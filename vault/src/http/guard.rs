//! Card numbers in paths, queries and headers: refused and counted before anything else sees them (PCI DSS 3.5.1, 12.10.7).

use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use percent_encoding::percent_decode_str;
use strongroom_domain::{Problem, ProblemKind, scan};
use strongroom_perimeter::RequestInfo;
use strongroom_perimeter::problem::ProblemResponse;

pub(super) async fn refuse_card_data_outside_bodies(request: Request, next: Next) -> Response {
    let Some(place) = place_of_card_data(&request) else { return next.run(request).await };
    metrics::counter!("strongroom_pan_unexpected_total", "where" => place).increment(1);
    tracing::warn!(place, "a card number stands outside a body; refused");
    let detail = "a card number stands in the path, query or a header; nothing was done";
    let problem = Problem::because(ProblemKind::PanInRequest, detail);
    let id = request.extensions().get::<RequestInfo>().map(|info| info.id);
    id.map_or_else(
        || StatusCode::BAD_REQUEST.into_response(),
        |id| ProblemResponse(problem, id).into_response(),
    )
}

fn place_of_card_data(request: &Request) -> Option<&'static str> {
    let target = request.uri().path_and_query().map_or("", |target| target.as_str());
    if scan::first_pan(&percent_decode_str(target).collect::<Vec<u8>>()).is_some() {
        return Some("target");
    }
    let in_headers = request.headers().values().any(|value| scan::first_pan(value.as_bytes()).is_some());
    in_headers.then_some("header")
}
