//! `CONNECT`: a tunnel that ends here, so that an SDK which knows nothing but a proxy setting reaches its route.
//!
//! Promises: a tunnel opens only to the upstream of a registered route, for a caller the bundle names for that route and
//! account; every other one is refused before a byte of it is read, with a document SDKs take for an error. Nothing is
//! connected here: requests inside go through the engine like any other.
//! Does not promise: that whoever speaks inside is somebody else than the mTLS peer. Proxy credentials name an account;
//! a password in them is not looked at, and neither travels on.
//! Upholds: C-18, C-36, C-37.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::request::Parts;
use http::{Extensions, HeaderMap, HeaderName, Version};
use strongroom_domain::Timestamp;
use strongroom_domain::route::{AccountName, RouteName};
use strongroom_perimeter::Caller;
use strongroom_perimeter::listener::{RouteLabel, Tunnel};

use crate::measure;
use crate::registry::Registry;
use crate::rescue::Failure;
use crate::route::{Bound, Destination, EntryRefused, host_of};

/// Names the route where several have one upstream; the relay always sends it.
pub const ROUTE_HEADER: HeaderName = HeaderName::from_static("strongroom-route");

/// Opens a tunnel, or says why not; with the destination, where one was found.
pub fn open(
    registry: &Registry,
    parts: &mut Parts,
    bound: Option<&Bound>,
    now: Timestamp,
) -> Result<Response, (Failure, Option<Arc<Destination>>)> {
    let caller = parts.extensions.remove::<Caller>().ok_or((Failure::NoCaller, None))?;
    let no_entry = |refused| (Failure::Entry(refused), None);
    let bound = find(registry, parts, bound).map_err(no_entry)?;
    let may =
        |one: &&Arc<Destination>| registry.callers.may(&caller.workload, &bound.route, &one.account.name);
    // Where the account is open, the key each request names inside is held to the same binding.
    let first = registry.entry.in_tunnel(&bound).next().ok_or_else(|| no_entry(EntryRefused::NoAccount))?;
    let Some(destination) = registry.entry.in_tunnel(&bound).find(may).cloned() else {
        return Err((Failure::CallerRefused, Some(first.clone())));
    };
    let refused = |failure| (failure, Some(destination.clone()));
    let authority = registry.authority.as_ref();
    let authority = authority.ok_or_else(|| refused(Failure::Entry(EntryRefused::NoTunnel)))?;
    if !authority.permits(&destination.upstream.host) {
        return Err(refused(Failure::Entry(EntryRefused::NoTunnel)));
    }
    let tls = authority
        .tls_for(&destination.upstream.host, now)
        .map_err(|error| refused(Failure::TunnelCertificate(error)))?;
    measure::tunnel(bound.route.as_str(), "opened");
    let label = RouteLabel(format!("/{} CONNECT", bound.route).into());
    let mut inside = Extensions::new();
    inside.insert(bound);
    let mut response = Response::new(Body::empty());
    response.extensions_mut().insert(Tunnel { tls, inside });
    response.extensions_mut().insert(label);
    Ok(response)
}

fn find(registry: &Registry, parts: &Parts, bound: Option<&Bound>) -> Result<Bound, EntryRefused> {
    // A tunnel inside a tunnel, or over HTTP/2, where each would be a stream among others.
    if parts.extensions.get::<Bound>().is_some() || parts.version >= Version::HTTP_2 {
        return Err(EntryRefused::NotAPath);
    }
    let authority = parts.uri.authority().ok_or(EntryRefused::NotAPath)?;
    let port = authority.port_u16().ok_or(EntryRefused::NotAPath)?;
    let host = host_of(authority.as_str());
    let hosts = &mut parts.headers.get_all(HOST).iter();
    let named = hosts.next().map(|value| value.to_str().map(host_of).unwrap_or_default());
    if hosts.next().is_some() || named.is_some_and(|named| named != host) {
        return Err(EntryRefused::AmbiguousHost);
    }
    let named_account = account(&parts.headers)?;
    let named_route = route(&parts.headers)?;
    let Some(Bound { route, account, .. }) = bound else {
        return registry.entry.connect(&host, port, named_route.as_ref(), named_account.as_ref());
    };
    // On a port of one route, and perhaps one account, a tunnel leads nowhere else either.
    if named_route.is_some_and(|named| named != *route) {
        return Err(EntryRefused::NoRoute);
    }
    if account.is_some() && named_account.is_some() && *account != named_account {
        return Err(EntryRefused::NoAccount);
    }
    let account = account.as_ref().or(named_account.as_ref());
    registry.entry.connect(&host, port, Some(route), account)
}

fn route(headers: &HeaderMap) -> Result<Option<RouteName>, EntryRefused> {
    let Some(value) = only(headers, &ROUTE_HEADER).map_err(|Several| EntryRefused::NoRoute)? else {
        return Ok(None);
    };
    RouteName::parse(value).map(Some).ok_or(EntryRefused::NoRoute)
}

/// The account named as the user of Basic credentials.
fn account(headers: &HeaderMap) -> Result<Option<AccountName>, EntryRefused> {
    let value = only(headers, &PROXY_AUTHORIZATION).map_err(|Several| EntryRefused::NoAccount)?;
    let Some(user) = value.map(basic_user).transpose()?.filter(|user| !user.is_empty()) else {
        return Ok(None);
    };
    AccountName::parse(&user).map(Some).ok_or(EntryRefused::NoAccount)
}

/// The user of Basic credentials (RFC 7617).
pub(crate) fn basic_user(value: &str) -> Result<String, EntryRefused> {
    let (scheme, rest) = value.split_once(' ').ok_or(EntryRefused::NoAccount)?;
    let decoded = BASE64_STANDARD.decode(rest.trim()).map_err(|_| EntryRefused::NoAccount)?;
    let text = String::from_utf8(decoded).map_err(|_| EntryRefused::NoAccount)?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return Err(EntryRefused::NoAccount);
    }
    Ok(text.split_once(':').map_or(text.as_str(), |(user, _)| user).to_owned())
}

pub(crate) struct Several;

/// The one value of a header; several are nobody's to choose from.
pub(crate) fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Several> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Ok(None),
        (Some(value), None) => value.to_str().map(Some).map_err(|_| Several),
        (Some(_), Some(_)) => Err(Several),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn the_user_of_the_credentials_names_the_account() {
        let account = |values: &[&'static str]| {
            let values = values.iter().map(|value| (PROXY_AUTHORIZATION, HeaderValue::from_static(value)));
            account(&values.collect()).map(|account| account.map(|name| name.to_string()))
        };
        assert_eq!(account(&[]), Ok(None));
        assert_eq!(account(&["Basic Og=="]), Ok(None)); // ":"
        assert_eq!(account(&["Basic bTUwMTo="]), Ok(Some("m501".into())));
        assert_eq!(account(&["basic bTUwMTp4Onk="]), Ok(Some("m501".into()))); // "m501:x:y"
        assert_eq!(account(&["Basic bS01MDE="]), Ok(Some("m-501".into())));
        for wrong in [
            &["Basic ***"][..],
            &["Basic"],
            &["Bearer bTUwMTo="],
            &["Basic TS01MDE6"], // "M-501:"
            &["Basic bTUwMTo=", "Basic bTUwMTo="],
        ] {
            assert_eq!(account(wrong), Err(EntryRefused::NoAccount), "{wrong:?}");
        }
    }
}
