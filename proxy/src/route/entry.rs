//! How a request finds its route: by host name, or by the first segment of its path.
//!
//! Promises: two routes never claim one name; a request that says two things about its host is refused.

use std::collections::HashMap;
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::{Method, Version};
use strongroom_domain::route::RouteName;

/// The routes by the names callers use.
pub struct Entry<T> {
    by_name: HashMap<RouteName, Arc<T>>,
    by_host: HashMap<String, Arc<T>>,
}

/// Where a request goes and what it asks for there.
pub struct Target<T> {
    /// The destination.
    pub destination: Arc<T>,
    /// Path and query below the route, as they came.
    pub path_and_query: String,
}

impl<T> Target<T> {
    /// The path without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query.split_once('?').map_or(&self.path_and_query, |(path, _)| path)
    }

    /// The query, empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.path_and_query.split_once('?').map_or("", |(_, query)| query)
    }
}

/// Two routes want the same host name.
#[derive(Debug, thiserror::Error)]
#[error("two routes are reached by the host name `{0}`; a name in `hosts` belongs to one route")]
pub struct EntryError(String);

/// Why a request finds no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryRefused {
    /// `CONNECT`, or a target with a scheme and host: this listener is no general proxy.
    #[error("the proxy takes plain paths only: no connect, no absolute targets")]
    NotAPath,
    /// No `Host`, several, or one that contradicts `:authority`.
    #[error("the request does not name one host")]
    AmbiguousHost,
    /// No such route.
    #[error("no route has this host name or path")]
    NoRoute,
}

impl<T> Entry<T> {
    /// Routes with their own host names; with a suffix, each is also reached as `<route>.<suffix>`.
    pub fn new(
        routes: impl IntoIterator<Item = (RouteName, Vec<String>, Arc<T>)>,
        suffix: Option<&str>,
    ) -> Result<Self, EntryError> {
        let mut entry = Self { by_name: HashMap::new(), by_host: HashMap::new() };
        for (name, mut hosts, destination) in routes {
            hosts.extend(suffix.map(|suffix| format!("{name}.{suffix}")));
            hosts.sort_unstable();
            hosts.dedup();
            for host in hosts {
                if entry.by_host.insert(host.clone(), destination.clone()).is_some() {
                    return Err(EntryError(host));
                }
            }
            entry.by_name.insert(name, destination);
        }
        Ok(entry)
    }

    /// Finds the route of a request.
    pub fn find(&self, request: &Parts) -> Result<Target<T>, EntryRefused> {
        let http1 = request.version <= Version::HTTP_11;
        if request.method == Method::CONNECT || (http1 && request.uri.authority().is_some()) {
            return Err(EntryRefused::NotAPath);
        }
        let target = request.uri.path_and_query().ok_or(EntryRefused::NotAPath)?.as_str();
        if !target.starts_with('/') {
            return Err(EntryRefused::NotAPath);
        }
        if let Some(destination) = self.by_host.get(&host(request)?) {
            return Ok(Target { destination: destination.clone(), path_and_query: target.to_owned() });
        }
        let rest = &target[1..];
        let end = rest.find(['/', '?']).unwrap_or(rest.len());
        let name = RouteName::parse(&rest[..end]).ok_or(EntryRefused::NoRoute)?;
        let destination = self.by_name.get(&name).ok_or(EntryRefused::NoRoute)?.clone();
        let below = &rest[end..];
        let slash = if below.starts_with('/') { "" } else { "/" };
        Ok(Target { destination, path_and_query: format!("{slash}{below}") })
    }
}

/// The host asked for, lower case, without port.
fn host(request: &Parts) -> Result<String, EntryRefused> {
    let mut values = request.headers.get_all(HOST).iter();
    let header =
        values.next().map(|value| value.to_str().map_err(|_| EntryRefused::AmbiguousHost)).transpose()?;
    if values.next().is_some() {
        return Err(EntryRefused::AmbiguousHost);
    }
    let text = match (header, request.uri.authority()) {
        (Some(header), Some(authority)) if header.eq_ignore_ascii_case(authority.as_str()) => header,
        (Some(header), None) => header,
        (None, Some(authority)) => authority.as_str(),
        (Some(_), Some(_)) | (None, None) => return Err(EntryRefused::AmbiguousHost),
    };
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => text,
    };
    Ok(host.trim_end_matches('.').to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn entry() -> Entry<&'static str> {
        let name = |text| RouteName::parse(text).unwrap();
        let routes = [
            (name("stripe"), vec!["api.stripe.com".to_owned()], Arc::new("stripe")),
            (name("adyen"), Vec::new(), Arc::new("adyen")),
        ];
        Entry::new(routes, Some("proxy.internal")).unwrap()
    }

    fn find(method: &str, uri: &str, hosts: &[&str]) -> Result<(&'static str, String), EntryRefused> {
        let mut request = Request::builder().method(method).uri(uri);
        for host in hosts {
            request = request.header(HOST, *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        entry().find(&parts).map(|target| (*target.destination, target.path_and_query))
    }

    #[test]
    fn host_or_first_segment_names_the_route() {
        for (uri, host, route, rest) in [
            ("/stripe/v1/tokens?x=/y", "proxy", "stripe", "/v1/tokens?x=/y"),
            ("/stripe", "proxy", "stripe", "/"),
            ("/stripe?a", "proxy", "stripe", "/?a"),
            ("/stripe//v1", "proxy", "stripe", "//v1"),
            ("/v1/tokens", "api.stripe.com", "stripe", "/v1/tokens"),
            ("/v1/tokens", "API.Stripe.com:443", "stripe", "/v1/tokens"),
            ("/v72/payments", "adyen.proxy.internal:8443", "adyen", "/v72/payments"),
            ("/stripe/v1", "adyen.proxy.internal", "adyen", "/stripe/v1"),
        ] {
            assert_eq!(find("POST", uri, &[host]), Ok((route, rest.to_owned())), "{uri} {host}");
        }
    }

    #[test]
    fn everything_else_finds_none() {
        for (method, uri, hosts, refusal) in [
            ("POST", "/other/v1", &["proxy"][..], EntryRefused::NoRoute),
            ("POST", "/", &["proxy"], EntryRefused::NoRoute),
            ("POST", "//stripe/v1", &["proxy"], EntryRefused::NoRoute),
            ("POST", "/v1/tokens", &["evil.example"], EntryRefused::NoRoute),
            ("POST", "/stripe/v1", &[], EntryRefused::AmbiguousHost),
            ("POST", "/stripe/v1", &["a", "b"], EntryRefused::AmbiguousHost),
            ("POST", "https://api.stripe.com/v1", &["api.stripe.com"], EntryRefused::NotAPath),
            ("CONNECT", "api.stripe.com:443", &["api.stripe.com"], EntryRefused::NotAPath),
            ("OPTIONS", "*", &["proxy"], EntryRefused::NotAPath),
        ] {
            assert_eq!(find(method, uri, hosts), Err(refusal), "{method} {uri}");
        }
    }

    #[test]
    fn http_2_names_its_host_in_the_target() {
        let request =
            Request::builder().version(Version::HTTP_2).uri("https://adyen.proxy.internal/v72/payments");
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(*entry().find(&parts).unwrap().destination, "adyen");
        parts.headers.insert(HOST, "api.stripe.com".parse().unwrap());
        assert_eq!(entry().find(&parts).err(), Some(EntryRefused::AmbiguousHost));
    }

    #[test]
    fn one_name_one_route() {
        let name = |text| RouteName::parse(text).unwrap();
        let host = || vec!["psp.example".to_owned()];
        let routes = [(name("a"), host(), Arc::new(())), (name("b"), host(), Arc::new(()))];
        assert!(Entry::new(routes, None).is_err());
    }
}
