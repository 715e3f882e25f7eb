//! Requests that other sites make a browser send. A client certificate goes along with every one of them, and `SameSite` is
//! about cookies, so the browser's own word of where a request began decides (Fetch Metadata, and `Origin` where there is none).
//!
//! Promises: of what another site asks, the API does nothing, and neither policy nor an operation sees it; the console takes a
//! form from its own pages alone, and from elsewhere a link, which somebody followed, opens a page and no more.
//! Does not promise: anything of programs: one that holds the certificate can write what header it likes, and may; nor, for
//! the API, of browsers before 2023, which do not say where a request began.
//! Upholds: C-67.

use std::sync::Arc;

use axum::extract::{FromRequestParts as _, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, Method, Uri};
use strongroom_domain::{Problem, ProblemKind};

use super::console;
use super::problem::{Denial, Refused};
use crate::audit::{Event, Object};
use crate::operation::{Asking, OperationError, Vault};

/// Where a request began, by the browser's word (Fetch Metadata).
const SITE: &str = "sec-fetch-site";
/// What a refusal of anything but a page is about.
const API: &str = "/v1";

/// Before any operation: what another site asked for is refused with an entry.
pub(super) async fn refuse_other_sites(
    State(vault): State<Arc<Vault>>,
    request: Request,
    next: Next,
) -> Response {
    let is_console = console::is_at(request.uri().path());
    let is_taken = if is_console {
        is_from_here(request.method(), request.uri(), request.headers())
    } else {
        is_from_no_other_site(request.headers())
    };
    if is_taken {
        return next.run(request).await;
    }
    let (event, place) = if is_console { (Event::AuditRead, console::ROOT) } else { (Event::AuthzDeny, API) };
    metrics::counter!("strongroom_cross_site_total").increment(1);
    let (mut parts, _) = request.into_parts();
    let asking = match Asking::from_request_parts(&mut parts, &vault).await {
        Ok(asking) => asking,
        Err(refused) => return refused.into_response(),
    };
    let detail = "the browser says that another site sent this; nothing was done";
    let problem = OperationError::Request(Problem::because(ProblemKind::Forbidden, detail));
    let object = Object::Operation(place);
    Refused::new(&vault, &asking, event, object, Denial::Forbidden, problem).await.into_response()
}

/// The API is for programs, which say nothing of sites, and for pages of this one: no link from elsewhere leads into it.
fn is_from_no_other_site(headers: &HeaderMap) -> bool {
    headers.get_all(SITE).iter().all(|site| matches!(site.as_bytes(), b"same-origin" | b"none"))
}

/// A page of the console may be opened from elsewhere; its forms may not be sent from there.
fn is_from_here(method: &Method, uri: &Uri, headers: &HeaderMap) -> bool {
    let says = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let reads = matches!(*method, Method::GET | Method::HEAD);
    match headers.get(SITE).map(|value| value.as_bytes()) {
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
    fn the_api_is_asked_by_programs_and_this_site_alone() {
        for (sites, right) in [
            (&["same-origin"][..], true),
            (&["none"], true),
            (&[], true),
            (&["same-site"], false),
            (&["cross-site"], false),
            (&["Same-Origin"], false),
            (&[""], false),
            (&["same-origin", "cross-site"], false),
        ] {
            let mut headers = HeaderMap::new();
            for site in sites {
                headers.append(SITE, HeaderValue::from_static(site));
            }
            assert_eq!(is_from_no_other_site(&headers), right, "{sites:?}");
        }
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
