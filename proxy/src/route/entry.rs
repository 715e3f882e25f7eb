//! How a request finds its route and account: by host name, by the first segments of its path, by where it came in (a
//! port, a tunnel), or by the key it names.
//!
//! Promises: two routes never claim one name, nor one another's below the suffix; a request that says two things about its host or its account is refused; a
//! tunnel leads to the upstream of a registered route or nowhere; an account is named, is the only one, or is `default`:
//! never guessed.
//! Upholds: C-36, C-37, C-49.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use http::header::HOST;
use http::request::Parts;
use http::{HeaderMap, Method, Version};
use strongroom_domain::route::{AccountName, KeyIdPlace, RouteName};

use super::key_id::{KeyIds, SharedKeyId};

/// The account of a request that names none, where there are several.
const DEFAULT_ACCOUNT: &str = "default";

/// The routes by the names callers use.
pub struct Entry<T> {
    routes: HashMap<RouteName, Accounts<T>>,
    by_host: HashMap<String, RouteName>,
    suffix: Option<String>,
    /// Host and port of every upstream, for tunnels.
    upstreams: HashMap<(String, u16), Vec<(RouteName, AccountName)>>,
}

/// One route, as an [`Entry`] lists it.
pub struct Listed<T> {
    /// Its name.
    pub name: RouteName,
    /// Host names of its own.
    pub hosts: Vec<String>,
    /// Where requests name the account by its key.
    pub key_ids: Vec<KeyIdPlace>,
    /// Its accounts.
    pub accounts: Vec<ListedAccount<T>>,
}

/// One account of a [`Listed`] route.
pub struct ListedAccount<T> {
    /// Its name.
    pub name: AccountName,
    /// Host and port its calls go to.
    pub upstream: (String, u16),
    /// What requests call its key.
    pub key_id: Option<String>,
    /// What is found.
    pub destination: Arc<T>,
}

struct Accounts<T> {
    by_name: BTreeMap<AccountName, Arc<T>>,
    upstreams: HashMap<AccountName, (String, u16)>,
    keys: KeyIds,
}

impl<T> Accounts<T> {
    fn find(&self, named: Option<&AccountName>) -> Result<&Arc<T>, EntryRefused> {
        let found = match named {
            Some(name) => self.by_name.get(name),
            None if self.by_name.len() == 1 => self.by_name.values().next(),
            None => {
                let mut all = self.by_name.iter();
                all.find(|(name, _)| name.as_str() == DEFAULT_ACCOUNT).map(|(_, found)| found)
            }
        };
        found.ok_or(EntryRefused::NoAccount)
    }

    /// The account of a request that names one by its place, by its key, by both alike, or not at all.
    fn of_request(&self, named: Option<&AccountName>, headers: &HeaderMap) -> Result<&Arc<T>, EntryRefused> {
        match (self.keys.named(headers)?, named) {
            (Some(by_key), Some(named)) if by_key != named => {
                // An account nobody has is told as such: it is the name that is wrong.
                self.find(Some(named)).and(Err(EntryRefused::OtherKeyId))
            }
            (by_key, named) => self.find(named.or(by_key)),
        }
    }
}

/// Where a request came in, if that alone says what it is for: a port of one route, a tunnel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bound {
    /// The route.
    pub route: RouteName,
    /// The account; without one, as if a request had named none.
    pub account: Option<AccountName>,
    /// Inside a tunnel: the host and port it was opened to. A request inside may name no other host, nor a key of an
    /// account elsewhere.
    pub upstream: Option<(String, u16)>,
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

/// Names that do not say one thing.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Two routes want the same host name.
    #[error("two routes are reached by the host name `{0}`; a name in `hosts` belongs to one route")]
    Host(String),
    /// A name in `hosts` that the suffix gives to a route or an account already.
    #[error(
        "route `{0}`: `hosts` has `{1}`, and names below `host_suffix` are those of routes and their accounts by themselves; \
         take it out"
    )]
    BelowSuffix(RouteName, String),
    /// Two accounts of a route have the same key id.
    #[error("route `{0}`: accounts `{1}` and `{2}` have one key id; requests that name it would be either's")]
    KeyId(RouteName, AccountName, AccountName),
}

/// Why a request finds no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EntryRefused {
    /// `CONNECT` where it leads nowhere, or a target that is not `https`: this is no general proxy.
    #[error("the target is neither a path nor an https address of a route")]
    NotAPath,
    /// No host, several, or one that contradicts another or the tunnel.
    #[error("the request does not name one host")]
    AmbiguousHost,
    /// No such route.
    #[error("no route has this host name or path")]
    NoRoute,
    /// The route has no such account, or none was named and none is the default.
    #[error("the route has no such account, or the request names none")]
    NoAccount,
    /// The request names a key that is no account's, or several.
    #[error("the request names no one key of an account")]
    UnknownKeyId,
    /// The request names an account, and the key of another one.
    #[error("the request names the key of another account than its own")]
    OtherKeyId,
    /// Several routes have this upstream.
    #[error("several routes lead to this host")]
    SeveralRoutes,
    /// The proxy has no certificate authority, or none that may speak for this host.
    #[error("this proxy opens no tunnel to this host")]
    NoTunnel,
}

impl<T> Entry<T> {
    /// Routes with their own host names; with a suffix, each is also reached as `<route>.<suffix>`, and each account as
    /// `<account>.<route>.<suffix>`.
    pub fn new(
        routes: impl IntoIterator<Item = Listed<T>>,
        suffix: Option<&str>,
    ) -> Result<Self, EntryError> {
        let mut entry = Self {
            routes: HashMap::new(),
            by_host: HashMap::new(),
            suffix: suffix.map(str::to_owned),
            upstreams: HashMap::new(),
        };
        for Listed { name, mut hosts, key_ids, accounts } in routes {
            let own = suffix.map(|suffix| format!("{name}.{suffix}"));
            let is_below = |host: &&String| {
                suffix
                    .and_then(|suffix| host.strip_suffix(suffix))
                    .is_some_and(|labels| labels.ends_with('.'))
            };
            if let Some(below) = hosts.iter().filter(is_below).find(|host| Some(*host) != own.as_ref()) {
                return Err(EntryError::BelowSuffix(name, below.clone()));
            }
            hosts.extend(own);
            hosts.sort_unstable();
            hosts.dedup();
            for host in hosts {
                if entry.by_host.insert(host.clone(), name.clone()).is_some() {
                    return Err(EntryError::Host(host));
                }
            }
            let ids = accounts.iter().filter_map(|one| Some((one.key_id.clone()?, one.name.clone())));
            let keys = KeyIds::new(key_ids, ids)
                .map_err(|SharedKeyId(one, other)| EntryError::KeyId(name.clone(), one, other))?;
            let mut of_route = Accounts { by_name: BTreeMap::new(), upstreams: HashMap::new(), keys };
            for account in accounts {
                of_route.upstreams.insert(account.name.clone(), account.upstream.clone());
                let upstream = entry.upstreams.entry(account.upstream).or_default();
                upstream.push((name.clone(), account.name.clone()));
                of_route.by_name.insert(account.name, account.destination);
            }
            entry.routes.insert(name, of_route);
        }
        Ok(entry)
    }

    /// Every destination, each account's.
    pub fn destinations(&self) -> impl Iterator<Item = &Arc<T>> {
        self.routes.values().flat_map(|accounts| accounts.by_name.values())
    }

    /// The destination of a route and account.
    pub fn account(&self, route: &RouteName, account: Option<&AccountName>) -> Result<&Arc<T>, EntryRefused> {
        self.routes.get(route).ok_or(EntryRefused::NoRoute)?.find(account)
    }

    /// Finds the route and account of a request, which came in at a place that says it or says it itself.
    pub fn find(&self, request: &Parts, bound: Option<&Bound>) -> Result<Target<T>, EntryRefused> {
        let target = origin_form(request)?;
        let host = named_host(request)?;
        let (headers, path_and_query) = (&request.headers, target.to_owned());
        if let Some(bound) = bound {
            if let (Some((expected, _)), Some(named)) = (&bound.upstream, &host)
                && expected != named
            {
                return Err(EntryRefused::AmbiguousHost);
            }
            return Ok(Target { destination: self.in_bounds(bound, headers)?.clone(), path_and_query });
        }
        let host = host.ok_or(EntryRefused::AmbiguousHost)?;
        if let Some((route, account)) = self.by_host(&host)? {
            let destination = self.of_route(&route)?.of_request(account.as_ref(), headers)?.clone();
            return Ok(Target { destination, path_and_query });
        }
        self.by_path(target, headers)
    }

    fn of_route(&self, route: &RouteName) -> Result<&Accounts<T>, EntryRefused> {
        self.routes.get(route).ok_or(EntryRefused::NoRoute)
    }

    /// The account of a request that came in where that says the route. In a tunnel it is one with the tunnel's upstream.
    fn in_bounds(&self, bound: &Bound, headers: &HeaderMap) -> Result<&Arc<T>, EntryRefused> {
        let accounts = self.of_route(&bound.route)?;
        let Some(upstream) = bound.upstream.as_ref().filter(|_| bound.account.is_none()) else {
            return accounts.of_request(bound.account.as_ref(), headers);
        };
        let by_key = accounts.keys.named(headers)?;
        if by_key.is_some_and(|account| accounts.upstreams.get(account) != Some(upstream)) {
            return Err(EntryRefused::OtherKeyId);
        }
        let default = || self.at(upstream, &bound.route).find(|name| name.as_str() == DEFAULT_ACCOUNT);
        accounts.find(Some(by_key.or_else(default).ok_or(EntryRefused::NoAccount)?))
    }

    /// The accounts of a route that have an upstream.
    fn at<'a>(
        &'a self,
        upstream: &(String, u16),
        route: &'a RouteName,
    ) -> impl Iterator<Item = &'a AccountName> {
        let all = self.upstreams.get(upstream).into_iter().flatten();
        all.filter(move |(name, _)| name == route).map(|(_, account)| account)
    }

    /// Every destination a tunnel may be for: its account's, or, where it named none, those a key may name inside.
    pub fn in_tunnel<'a>(&'a self, bound: &'a Bound) -> impl Iterator<Item = &'a Arc<T>> {
        let accounts = self.routes.get(&bound.route);
        let named = bound.account.iter();
        let open = bound.upstream.as_ref().filter(|_| bound.account.is_none());
        let open = open.into_iter().flat_map(|upstream| self.at(upstream, &bound.route));
        named.chain(open).filter_map(move |name| accounts?.by_name.get(name))
    }

    /// Whether nothing but a request's path says its route: it names one host, which is no route's.
    pub fn is_by_path(&self, request: &Parts) -> bool {
        let host = named_host(request).ok().flatten();
        host.is_some_and(|host| matches!(self.by_host(&host), Ok(None)))
    }

    /// `/<route>/…`, or `/<route>/@<account>/…`.
    fn by_path(&self, target: &str, headers: &HeaderMap) -> Result<Target<T>, EntryRefused> {
        let (name, below) = segment(&target[1..]);
        let name = RouteName::parse(name).ok_or(EntryRefused::NoRoute)?;
        let (account, below) = match below.strip_prefix("/@") {
            None => (None, below),
            Some(rest) => {
                let (account, below) = segment(rest);
                (Some(AccountName::parse(account).ok_or(EntryRefused::NoAccount)?), below)
            }
        };
        let destination = self.of_route(&name)?.of_request(account.as_ref(), headers)?.clone();
        let slash = if below.starts_with('/') { "" } else { "/" };
        Ok(Target { destination, path_and_query: format!("{slash}{below}") })
    }

    fn by_host(&self, host: &str) -> Result<Option<(RouteName, Option<AccountName>)>, EntryRefused> {
        if let Some(route) = self.by_host.get(host) {
            return Ok(Some((route.clone(), None)));
        }
        let Some(labels) = self.suffix.as_deref().and_then(|suffix| host.strip_suffix(suffix)) else {
            return Ok(None);
        };
        let Some((account, route)) = labels.strip_suffix('.').and_then(|labels| labels.split_once('.'))
        else {
            return Ok(None);
        };
        let route = RouteName::parse(route).ok_or(EntryRefused::NoRoute)?;
        let account = AccountName::parse(account).ok_or(EntryRefused::NoAccount)?;
        Ok(Some((route, Some(account))))
    }

    /// Finds what a tunnel to this upstream is for. The route need be named only where several have it; the account stays
    /// open where several have it, none is named, and requests inside may name one by its key.
    pub fn connect(
        &self,
        host: &str,
        port: u16,
        route: Option<&RouteName>,
        account: Option<&AccountName>,
    ) -> Result<Bound, EntryRefused> {
        let key = (host.to_owned(), port);
        let all = self.upstreams.get(&key).ok_or(EntryRefused::NoRoute)?.iter();
        let here: Vec<_> = all.filter(|(name, _)| route.is_none_or(|route| route == name)).collect();
        let routes: BTreeSet<_> = here.iter().map(|(name, _)| name).collect();
        let mut routes = routes.into_iter();
        let route = match (routes.next(), routes.next()) {
            (Some(route), None) => route,
            (None, _) => return Err(EntryRefused::NoRoute),
            (Some(_), Some(_)) => return Err(EntryRefused::SeveralRoutes),
        };
        // Only accounts that have this very upstream: a merchant's own host says which merchant.
        let found = match account {
            Some(named) => here.iter().find(|(_, name)| name == named),
            None if here.len() == 1 => here.first(),
            None if self.of_route(route)?.keys.is_used() => None,
            None => here.iter().find(|(_, name)| name.as_str() == DEFAULT_ACCOUNT),
        };
        let is_open = account.is_none() && here.len() > 1 && self.of_route(route)?.keys.is_used();
        let account = match found {
            Some((_, account)) => Some(account.clone()),
            None if is_open => None,
            None => return Err(EntryRefused::NoAccount),
        };
        Ok(Bound { route: route.clone(), account, upstream: Some(key) })
    }
}

/// A first path segment, and what follows it.
fn segment(text: &str) -> (&str, &str) {
    text.split_at(text.find(['/', '?']).unwrap_or(text.len()))
}

/// Path and query. An absolute `https` target is one too, since all of this comes inside TLS (some SDKs write them).
fn origin_form(request: &Parts) -> Result<&str, EntryRefused> {
    let absolute = request.uri.authority().is_some();
    let https = request.uri.scheme_str().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https"));
    if request.method == Method::CONNECT || (absolute && !https) {
        return Err(EntryRefused::NotAPath);
    }
    let target = request.uri.path_and_query().ok_or(EntryRefused::NotAPath)?.as_str();
    if target.starts_with('/') { Ok(target) } else { Err(EntryRefused::NotAPath) }
}

/// The host asked for: the one of `Host`, of an absolute target or `:authority`, or of both if they agree.
fn named_host(request: &Parts) -> Result<Option<String>, EntryRefused> {
    let mut values = request.headers.get_all(HOST).iter();
    let header =
        values.next().map(|value| value.to_str().map_err(|_| EntryRefused::AmbiguousHost)).transpose()?;
    if values.next().is_some() {
        return Err(EntryRefused::AmbiguousHost);
    }
    let authority = request.uri.authority().map(http::uri::Authority::as_str);
    let http2_differs = request.version > Version::HTTP_11
        && matches!((header, authority), (Some(a), Some(b)) if !a.eq_ignore_ascii_case(b));
    if http2_differs || authority.is_some_and(|authority| authority.contains('@')) {
        return Err(EntryRefused::AmbiguousHost);
    }
    match (header.map(host_of), authority.map(host_of)) {
        (Some(header), Some(authority)) if header != authority => Err(EntryRefused::AmbiguousHost),
        (header, authority) => Ok(header.or(authority)),
    }
}

/// A host without its port, lower case.
pub fn host_of(text: &str) -> String {
    let host = match text.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => text,
    };
    host.trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests;
