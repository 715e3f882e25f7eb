//! The console: pages for people with the security role's client certificate, on the api listener.
//!
//! Promises: it only reads; each page asks through the operations and permits of the API, so that nobody sees more here than
//! there, and each look is an entry. Nothing is loaded from elsewhere; what may run or style a page is named by its hash in the
//! page's policy. A token is taken by POST alone and is on no page, in no link and in no history.
//! Does not promise: pages for people who have no client certificate: there is no other way to sign in.
//! Upholds: C-66, C-67.

mod access;
mod cells;
mod entries;
mod evidence;
mod form;
mod forward;
mod overview;
mod page;
mod reach;
mod receipt;
mod refusal;
mod search;
mod story;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use strongroom_perimeter::Caller;

use crate::operation::Vault;

/// Where the console is.
pub(super) const ROOT: &str = "/console";

/// Its pages. They are no part of the contract: what they say is for people.
pub(super) fn routes() -> Router<Arc<Vault>> {
    Router::new()
        .route(ROOT, get(overview::show))
        .route("/console/", get(|| async { Redirect::permanent(ROOT) }))
        .route("/console/live", get(overview::live))
        .route("/console/search", get(search::show).post(search::by_token))
        .route("/console/blast-radius", get(reach::show))
        .route("/console/tenants/{tenant}/forwards/{id}", get(forward::show))
        .route("/console/receipts/{id}", get(receipt::show))
        .route("/console/access", get(access::show))
        .route("/console/evidence", get(evidence::show))
        .route("/console/evidence/bundle", post(evidence::make))
}

/// Whether this path is the console's.
pub(super) fn is_at(path: &str) -> bool {
    path == ROOT || path.starts_with("/console/")
}

/// Gives every answer below the console's root its headers, and a browser a page where others get a problem document.
pub(super) async fn finish(State(vault): State<Arc<Vault>>, request: Request, next: Next) -> Response {
    if !is_at(request.uri().path()) {
        return next.run(request).await;
    }
    let wants_page = refusal::wants_page(request.headers());
    let caller = request.extensions().get::<Caller>().cloned();
    let mut answer = next.run(request).await;
    if let Some(caller) = caller.filter(|_| wants_page) {
        answer = refusal::as_page(&vault, &caller, answer).await;
    }
    page::protect(answer.headers_mut());
    answer.into_response()
}
