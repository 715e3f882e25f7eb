//! Which headers travel: the caller's to the PSP, the PSP's to the caller.
//!
//! Promises: a PSP sees the caller's headers less those of this hop, under its own host name, and no trace of a proxy;
//! a caller sees the PSP's less those of that hop and any advice to leave the path (`Alt-Svc`).
//! Upholds: C-19.

use http::header::{
    ACCEPT_ENCODING, CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, FORWARDED, HOST, TE,
    TRAILER, TRANSFER_ENCODING, UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue};
use strongroom_domain::route::Upstream;

/// Names another way to the PSP: a client that follows it has left the proxy.
const ALT_SVC: HeaderName = HeaderName::from_static("alt-svc");

/// The header a request leaves with.
///
/// The encoding asked for is always `identity`: an answer has to be readable to be scrubbed.
#[must_use]
pub fn outgoing(from_caller: &HeaderMap, upstream: &Upstream) -> HeaderMap {
    let mut headers = without_hop(from_caller);
    for name in [HOST, CONTENT_LENGTH, EXPECT, VIA, FORWARDED] {
        headers.remove(name);
    }
    let forwarding: Vec<_> = headers.keys().filter(|name| tells_of_a_proxy(name)).cloned().collect();
    for name in forwarding {
        headers.remove(name);
    }
    headers.insert(HOST, host(upstream));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    headers
}

/// The header an answer goes back with. Its body has been decoded.
#[must_use]
pub fn incoming(from_psp: &HeaderMap) -> HeaderMap {
    let mut headers = without_hop(from_psp);
    for name in [CONTENT_LENGTH, CONTENT_ENCODING, ALT_SVC] {
        headers.remove(name);
    }
    headers
}

/// RFC 9110 §7.6.1: what `Connection` names, and what always belongs to one connection.
pub(crate) fn without_hop(from: &HeaderMap) -> HeaderMap {
    let mut headers = from.clone();
    let named = from.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    for name in named.flat_map(|value| value.split(',')).map(str::trim) {
        // Never the content type, though a caller may name it: without it the PSP could read another kind of body than
        // the one the places were found in.
        match HeaderName::try_from(name) {
            Ok(name) if name != CONTENT_TYPE => drop(headers.remove(name)),
            Ok(_) | Err(_) => {}
        }
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in ["keep-alive", "http2-settings", "proxy-connection"] {
        headers.remove(name);
    }
    headers
}

/// Headers by which frameworks take another method, path or host than the request line's. The route lists the call, so
/// none of them may speak; without them the call would be another one than the caller meant, so it is refused.
const STEERING: [&str; 7] = [
    "x-http-method-override",
    "x-http-method",
    "x-method-override",
    "x-original-url",
    "x-original-host",
    "x-rewrite-url",
    "x-host",
];

/// Whether a request asks for another call than its request line does.
#[must_use]
pub fn steer(from_caller: &HeaderMap) -> bool {
    STEERING.iter().any(|name| from_caller.contains_key(*name))
}

fn tells_of_a_proxy(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("proxy-") || name.starts_with("x-forwarded-") || name == "x-real-ip"
}

fn host(upstream: &Upstream) -> HeaderValue {
    let text = match upstream.port {
        443 => upstream.host.clone(),
        port => format!("{}:{port}", upstream.host),
    };
    HeaderValue::try_from(text).expect("a parsed upstream is letters, digits, dots, hyphens and a port")
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::route::Roots;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn what_belongs_to_one_hop_stays_there() {
        let upstream = Upstream {
            host: "api.psp.example".into(),
            port: 443,
            roots: Roots::WebPki,
            private_addresses: Vec::new(),
        };
        let sent = outgoing(
            &headers(&[
                ("host", "proxy.internal"),
                ("connection", "keep-alive, X-Hop, Content-Type"),
                ("content-type", "application/json"),
                ("x-hop", "1"),
                ("keep-alive", "timeout=5"),
                ("transfer-encoding", "chunked"),
                ("content-length", "3"),
                ("te", "trailers"),
                ("expect", "100-continue"),
                ("via", "1.1 a"),
                ("forwarded", "for=1.2.3.4"),
                ("x-forwarded-for", "1.2.3.4"),
                ("proxy-authorization", "Basic eA=="),
                ("accept-encoding", "br, gzip"),
                ("stripe-version", "2026-01-01"),
                ("idempotency-key", "k"),
            ]),
            &upstream,
        );
        let expected = headers(&[
            ("host", "api.psp.example"),
            ("accept-encoding", "identity"),
            ("content-type", "application/json"),
            ("stripe-version", "2026-01-01"),
            ("idempotency-key", "k"),
        ]);
        assert_eq!(sent, expected);
        assert_eq!(
            outgoing(&HeaderMap::new(), &Upstream { port: 8443, ..upstream })["host"],
            "api.psp.example:8443"
        );
    }

    #[test]
    fn an_answer_keeps_its_own_headers_and_no_advice_to_leave() {
        let back = incoming(&headers(&[
            ("content-type", "application/json"),
            ("content-encoding", "gzip"),
            ("content-length", "20"),
            ("alt-svc", "h3=\":443\""),
            ("connection", "close"),
            ("request-id", "req_1"),
        ]));
        assert_eq!(back, headers(&[("content-type", "application/json"), ("request-id", "req_1")]));
    }
}
