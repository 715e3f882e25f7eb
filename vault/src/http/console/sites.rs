//! Requests that other sites make a browser send. A client certificate goes along with every one of them, and `SameSite` is
//! about cookies, so the browser's own word of where a request began decides (Fetch Metadata, and `Origin` where there is none).
//!
//! Promises: a form is taken from the console's own pages alone; from elsewhere nothing is loaded into another page, and a
//! link, which somebody followed, opens a page and no more.
//! Does not promise: anything of programs: one that holds the certificate can write what header it likes, and may.
//! Upholds: C-67.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Uri};
use strongroom_domain::{Problem, ProblemKind};

use crate::audit::{Event, Object};
use crate::http::problem::{Denial, Refused};
use crate::operation::{Asking, OperationError, Vault};

pub(super) async fn refuse_other_sites(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    request: Request,
    next: Next,
) -> Response {
    if is_from_here(request.method(), request.uri(), request.headers()) {
        return next.run(request).await;
    }
    metrics::counter!("strongroom_console_cross_site_total").increment(1);
    let detail = "the browser says that another site sent this; nothing was done";
    let problem = OperationError::Request(Problem::because(ProblemKind::Forbidden, detail));
    let object = Object::Operation(super::ROOT);
    Refused::new(&vault, &asking, Event::AuditRead, object, Denial::Forbidden, problem).await.into_response()
}

fn is_from_here(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let says = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match headers.get("sec-fetch-site").map(|value| value.as_bytes()) {
        Some(b"same-origin") => true,
        Some(b"none") => reads, // typed, or from a bookmark
        Some(_) => {
            reads && says("sec-fetch-mode") == Some("navigate") && says("sec-fetch-dest") == Some("document")
        }
        None if reads => true, // no browser of these years
        None => {
            let host = uri.authority().map(http::uri::Authority::as_str).or_else(|| says(HOST.as_str()));
            let origin = says(ORIGIN.as_str()).and_then(|origin| origin.strip_prefix("https://"));
            origin.is_some() && origin == host
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderName, HeaderValue};

    fn taken(method: Method, headers: &[(&'static str, &'static str)]) -> bool {
        let pairs = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        is_from_here(&method, &Uri::from_static("/console/search"), &HeaderMap::from_iter(pairs))
    }

    #[test]
    fn forms_come_from_here_and_links_open_pages() {
        const FOLLOWED: [(&str, &str); 2] = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        for (method, headers, right) in [
            (Method::POST, &[("sec-fetch-site", "same-origin"), ("origin", "null")][..], true),
            (Method::POST, &[("sec-fetch-site", "cross-site"), FOLLOWED[0], FOLLOWED[1]], false),
            (Method::POST, &[("sec-fetch-site", "same-site"), FOLLOWED[0], FOLLOWED[1]], false),
            (Method::POST, &[("sec-fetch-site", "none"), FOLLOWED[0], FOLLOWED[1]], false),
            (Method::POST, &[("origin", "https://vault:7400"), ("host", "vault:7400")], true),
            (Method::POST, &[("origin", "https://vault:7401"), ("host", "vault:7400")], false),
            (Method::POST, &[("origin", "http://vault:7400"), ("host", "vault:7400")], false),
            (Method::POST, &[("origin", "null"), ("host", "vault:7400")], false),
            (Method::POST, &[("host", "vault:7400")], false),
            (Method::POST, &[], false),
            (Method::GET, &[], true),
            (Method::GET, &[("sec-fetch-site", "none"), FOLLOWED[0], FOLLOWED[1]], true),
            (Method::GET, &[("sec-fetch-site", "same-origin"), ("sec-fetch-mode", "cors")], true),
            (Method::GET, &[("sec-fetch-site", "cross-site"), FOLLOWED[0], FOLLOWED[1]], true),
            (Method::GET, &[("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")], false),
            (Method::GET, &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors")], false),
            (
                Method::GET,
                &[("sec-fetch-site", "cross-site"), FOLLOWED[0], ("sec-fetch-dest", "iframe")],
                false,
            ),
            (Method::GET, &[("sec-fetch-site", "anything")], false),
        ] {
            assert_eq!(taken(method.clone(), headers), right, "{method} {headers:?}");
        }
    }
}
