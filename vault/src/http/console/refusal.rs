//! Problems as pages: a browser gets the words and the status that others get as a problem document.

use axum::body::Body;
use axum::response::Response;
use http::header::{ACCEPT, CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use maud::html;
use serde_json::Value;
use strongroom_perimeter::Caller;

use super::cells::facts;
use super::page::Frame;
use crate::operation::Vault;

/// Problem documents have some hundred bytes.
const DOCUMENT_BYTES_MAX: usize = 16 * 1024;

/// Whether the answer is for somebody who reads pages.
pub(super) fn wants_page(headers: &HeaderMap) -> bool {
    let accepts = headers.get(ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accepts.split(',').any(|kind| kind.split(';').next().unwrap_or_default().trim() == "text/html")
}

/// The same answer as a page, if it is a problem.
pub(super) async fn as_page(vault: &Vault, caller: &Caller, answer: Response) -> Response {
    let is_problem =
        answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/problem+json");
    if !is_problem {
        return answer;
    }
    let (mut parts, body) = answer.into_parts();
    let document: Value = match Limited::new(body, DOCUMENT_BYTES_MAX).collect().await {
        Ok(bytes) => serde_json::from_slice(&bytes.to_bytes()).unwrap_or_default(),
        Err(_) => Value::Null,
    };
    let page = page(vault, caller, parts.status, &document);
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.extend(page.headers().clone());
    Response::from_parts(parts, page.into_body())
}

fn page(vault: &Vault, caller: &Caller, status: StatusCode, document: &Value) -> Response<Body> {
    let text = |name: &str| document.get(name).and_then(Value::as_str);
    let title = text("title").unwrap_or("something is wrong here");
    let mut title = title.to_owned();
    if let Some(first) = title.get_mut(..1) {
        first.make_ascii_uppercase();
    }
    let field = text("pointer").map(|pointer| html! { code { (pointer.trim_start_matches('/')) } });
    let said = text("detail").filter(|detail| Some(*detail) != text("title"));
    let body = html! {
        section {
            @if let Some(said) = said { p { (said) "." } }
            (facts(&[
                ("Status", Some(html! { (status.as_u16()) })),
                ("Field", field),
                ("Problem", text("type").map(|kind| html! { code { (kind) } })),
                ("Request", text("request_id").map(|id| html! { code { (id) } })),
            ]))
            p.soft { "Name the request when you ask somebody about it: it is in the vault's own log too." }
            p { a href="/console/search" { "To the search" } }
        }
    };
    Frame::new(vault, caller).page(None, &title, &body)
}
