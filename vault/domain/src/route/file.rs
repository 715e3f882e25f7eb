//! Reading a route file: the only way a [`Route`] is made.

mod findings;
mod inbound;

pub use inbound::{Inbound, OtherPlace, Platform, Sender, TimeUnit, TimestampHeader, Verification};

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::identity::{self, IdentityTable};
use super::key_id::{self, KeyIdPlace};
use super::places;
use super::protect::ProtectTable;
use super::reference::Mode;
use super::{
    AllowedCall, Attribute, BodyFormat, CredentialPlace, Credentials, Encryption, ExpiryFormat, Inject,
    JsonForm, PassedCall, PathPattern, ReferencePlace, Roots, Route, RouteName, Signing, Source, Upstream,
};
use crate::alias::Foreign;
use crate::environment::Environment;

/// Why a route file is refused.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRoute {
    /// Not TOML, or an unknown setting; the message has the line.
    #[error("route file cannot be read: {0}")]
    Syntax(#[from] toml::de::Error),
    /// A value is wrong.
    #[error("route `{route}`: {reason}")]
    Value {
        /// The route's name.
        route: String,
        /// What is wrong with it.
        reason: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteFile {
    route: BTreeMap<String, RouteTable>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RouteTable {
    upstream: String,
    #[serde(default)]
    hosts: Vec<String>,
    roots_file: Option<PathBuf>,
    #[serde(default)]
    private_addresses: Vec<std::net::IpAddr>,
    #[serde(default)]
    credentials: Credentials,
    #[serde(default)]
    credential: CredentialTable,
    #[serde(default)]
    identity: Vec<IdentityTable>,
    #[serde(default)]
    key_id: Vec<KeyIdPlace>,
    sign: Option<Signing>,
    idempotency: Option<HeaderTable>,
    request_id: Option<HeaderTable>,
    #[serde(default = "default_unknown_outcome_status")]
    unknown_outcome_status: u16,
    #[serde(default = "default_connect_timeout_ms")]
    connect_timeout_ms: u64,
    #[serde(default = "default_upstream_timeout_ms")]
    upstream_timeout_ms: u64,
    #[serde(default = "default_in_flight_max")]
    in_flight_max: usize,
    #[serde(default)]
    protect: ProtectTable,
    #[serde(default)]
    allow: Vec<AllowTable>,
    #[serde(default)]
    pass: Vec<PassTable>,
}

const fn default_unknown_outcome_status() -> u16 {
    502
}

/// Well inside the shortest SDK timeout known (30 s).
const fn default_upstream_timeout_ms() -> u64 {
    25_000
}

const fn default_connect_timeout_ms() -> u64 {
    3_000
}

const fn default_in_flight_max() -> usize {
    256
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct CredentialTable {
    header: Option<String>,
    scheme: Option<String>,
    #[serde(default)]
    refused_fields: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HeaderTable {
    header: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct AllowTable {
    method: String,
    path: String,
    body: BodyFormat,
    namespace: Option<String>,
    inject: Vec<InjectTable>,
    encrypt: Option<Encryption>,
    #[serde(default)]
    mode: Mode,
    reference: Option<String>,
    #[serde(default)]
    ids: BTreeSet<String>,
    #[serde(default)]
    cvc_fields: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PassTable {
    method: String,
    path: String,
    #[serde(default)]
    ids: BTreeSet<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InjectTable {
    at: String,
    value: Attribute,
    format: Option<ExpiryFormat>,
    from: Option<String>,
    #[serde(default)]
    json: JsonForm,
    #[serde(default)]
    aliases: Vec<String>,
}

impl Route {
    /// Parses one route file. The file's name (without ending) must be the route's name.
    ///
    /// # Errors
    /// A sentence with the route and what to change. Private addresses and unpinned credentials are refused in `live`.
    pub fn parse(file_stem: &str, text: &str, environment: Environment) -> Result<Self, InvalidRoute> {
        let mut file: RouteFile = toml::from_str(text)?;
        let invalid = |reason: String| InvalidRoute::Value { route: file_stem.to_owned(), reason };
        let table = file.route.remove(file_stem).filter(|_| file.route.is_empty());
        let table =
            table.ok_or_else(|| invalid(format!("the file holds one table, `[route.{file_stem}]`")))?;
        let name = RouteName::parse(file_stem)
            .ok_or_else(|| invalid("its name is not lower-case letters, digits and hyphens".into()))?;
        let route = table.into_route(name, text).map_err(&invalid)?;
        route.check(environment).map_err(invalid)?;
        Ok(route)
    }

    fn check(&self, environment: Environment) -> Result<(), String> {
        if environment == Environment::Live {
            if !self.upstream.private_addresses.is_empty() {
                return Err("`private_addresses` is for `environment = \"test\"`".into());
            }
            if self.credentials == Credentials::Unpinned {
                return Err("`credentials = \"unpinned\"` is for `environment = \"test\"`".into());
            }
        }
        if !matches!(self.unknown_outcome_status, 502 | 424) {
            return Err("`unknown_outcome_status` is 502 or 424".into());
        }
        if self.in_flight_max == 0 || self.upstream_timeout.is_zero() || self.connect_timeout.is_zero() {
            return Err("timeouts and `in_flight_max` are above 0".into());
        }
        let whole = self.connect_timeout + self.upstream_timeout;
        if whole.max(self.protect.total_timeout.unwrap_or_default()) > CALL_TIME_MAX {
            return Err("a call takes four minutes at most, connecting and waiting together".into());
        }
        self.protect.check(environment, self)?;
        self.check_credential()?;
        check_calls(&self.allow, &self.pass)?;
        if let Some(Signing::Checksum(checksum)) = &self.signing {
            checksum.fits(self)?;
        }
        let faults = self.allow.iter().flat_map(places::faults);
        faults.map(|fault| Err(fault.reason)).next().unwrap_or(Ok(()))
    }

    fn check_credential(&self) -> Result<(), String> {
        let place = &self.credential_place;
        match &place.header {
            None if place.scheme.is_some() => return Err("`credential`: a scheme needs a header".into()),
            None if self.signing.is_none() && self.identity.is_empty() => {
                return Err(
                    "`credential` needs a `header`: nothing else of the route says whose call it is".into()
                );
            }
            Some(header)
                if self.signing.iter().any(|signing| signing.headers().contains(&header.as_str())) =>
            {
                return Err(format!("`credential`: `{header}` holds the signature"));
            }
            None | Some(_) => {}
        }
        identity::check(self)
    }
}

/// A call is listed once, or once for each format of its body. Then all of them declare the same attributes: what the
/// vault releases for a method and a path does not depend on how the proxy says the body is written.
fn check_calls(allow: &[AllowedCall], pass: &[PassedCall]) -> Result<(), String> {
    let twice = |method: &str, path: &PathPattern| Err(format!("{method} {} is listed twice", path.as_str()));
    for (index, call) in allow.iter().enumerate() {
        for other in allow[..index].iter().filter(|other| other.is_at(&call.method, &call.path)) {
            if other.body == call.body {
                return twice(&call.method, &call.path);
            }
            let alike = |what, is_so: bool| {
                let why = || format!("{}: its formats do not declare {what}", call.path.as_str());
                if is_so { Ok(()) } else { Err(why()) }
            };
            alike("the same attributes", other.attributes() == call.attributes())?;
            alike("one mode", other.once.is_some() == call.once.is_some())?;
        }
    }
    for (index, call) in pass.iter().enumerate() {
        let before = pass[..index].iter().any(|other| other.is_at(&call.method, &call.path));
        if before || allow.iter().any(|other| other.is_at(&call.method, &call.path)) {
            return twice(&call.method, &call.path);
        }
    }
    Ok(())
}

impl AllowedCall {
    fn is_at(&self, method: &str, path: &PathPattern) -> bool {
        self.method == method && self.path == *path
    }
}

impl PassedCall {
    fn is_at(&self, method: &str, path: &PathPattern) -> bool {
        self.method == method && self.path == *path
    }
}

impl RouteTable {
    fn into_route(mut self, name: RouteName, text: &str) -> Result<Route, String> {
        self.sign.as_mut().map_or(Ok(()), Signing::check)?;
        key_id::check(&mut self.key_id)?;
        let (host, port) = parse_upstream(&self.upstream)?;
        let hosts = self.hosts.into_iter().map(|host| {
            let right =
                !host.is_empty() && host == host.to_ascii_lowercase() && !host.contains([':', '/', ' ']);
            if right { Ok(host) } else { Err("`hosts` are lower-case names without port".to_owned()) }
        });
        Ok(Route {
            name,
            upstream: Upstream {
                host,
                port,
                roots: self.roots_file.map_or(Roots::WebPki, Roots::File),
                private_addresses: self.private_addresses,
            },
            hosts: hosts.collect::<Result<_, _>>()?,
            credentials: self.credentials,
            credential_place: CredentialPlace {
                header: self.credential.header.as_deref().map(header).transpose()?,
                scheme: self.credential.scheme,
                refused_fields: self.credential.refused_fields,
            },
            identity: self.identity.into_iter().map(IdentityTable::into_place).collect::<Result<_, _>>()?,
            key_ids: self.key_id,
            signing: self.sign,
            idempotency_header: self.idempotency.map(|table| header(&table.header)).transpose()?,
            request_id_header: self.request_id.map(|table| header(&table.header)).transpose()?,
            unknown_outcome_status: self.unknown_outcome_status,
            connect_timeout: Duration::from_millis(self.connect_timeout_ms),
            upstream_timeout: Duration::from_millis(self.upstream_timeout_ms),
            in_flight_max: self.in_flight_max,
            protect: self.protect.into_protect()?,
            allow: self.allow.into_iter().map(AllowTable::into_call).collect::<Result<_, _>>()?,
            pass: self.pass.into_iter().map(PassTable::into_call).collect::<Result<_, _>>()?,
            sha256: Sha256::digest(text.as_bytes()).into(),
        })
    }
}

impl AllowTable {
    fn into_call(self) -> Result<AllowedCall, String> {
        Ok(AllowedCall {
            method: method(self.method)?,
            path: path(&self.path)?,
            body: self.body,
            namespace: self.namespace,
            inject: self.inject.into_iter().map(InjectTable::into_inject).collect::<Result<_, _>>()?,
            encryption: self.encrypt,
            once: ReferencePlace::of(self.mode, self.reference)?,
            ids: self.ids,
            cvc_fields: self.cvc_fields,
        })
    }
}

impl PassTable {
    fn into_call(self) -> Result<PassedCall, String> {
        Ok(PassedCall { method: method(self.method)?, path: path(&self.path)?, ids: self.ids })
    }
}

/// Longest a call may take. The vault takes a forward of which it heard nothing for 15 minutes for one that no request of can
/// still be on its way: the ten minutes a proxy goes on telling come out of that too.
const CALL_TIME_MAX: Duration = Duration::from_secs(240);
/// Shorter beginnings are those of ordinary words.
const ALIAS_BEGINNING_BYTES_MIN: usize = 3;
/// Fewest characters of a foreign alias.
const FOREIGN_BYTES_MIN: usize = 8;

impl InjectTable {
    fn into_inject(self) -> Result<Inject, String> {
        let source = self.from.map_or(Source::Own, |from| Source::Carried { from });
        // Filled up, it must be an alias: then it is no beginning of a number or of a token of ours.
        let begins_an_alias = |beginning: &String| {
            beginning.len() >= ALIAS_BEGINNING_BYTES_MIN
                && Foreign::parse(&format!("{beginning:x<FOREIGN_BYTES_MIN$}")).is_ok()
        };
        if !self.aliases.is_empty() && (self.value != Attribute::Number || source != Source::Own) {
            return Err("`aliases` are for places of `value = \"number\"` without `from`".into());
        }
        if !self.aliases.iter().all(begins_an_alias) {
            return Err("`aliases` lists beginnings of another vault's tokens: at least 3 letters, digits or -._~:, not of ours".into());
        }
        Ok(Inject {
            at: self.at,
            attribute: self.value,
            format: self.format,
            json_form: self.json,
            source,
            aliases: self.aliases,
        })
    }
}

/// `https://host[:port]`, nothing more: no user, path or query.
pub(super) fn parse_upstream(text: &str) -> Result<(String, u16), String> {
    let wrong = || "`upstream` is https://HOST or https://HOST:PORT, lower case, without path".to_owned();
    let authority = text.strip_prefix("https://").ok_or_else(wrong)?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !host.ends_with(':') => (host, port.parse().map_err(|_| wrong())?),
        _ => (authority, 443),
    };
    let right =
        host.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-.".contains(&byte));
    if right && !host.is_empty() && port != 0 { Ok((host.to_owned(), port)) } else { Err(wrong()) }
}

pub(super) fn header(name: &str) -> Result<String, String> {
    let right =
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if right { Ok(name.to_ascii_lowercase()) } else { Err(format!("`{name}` is no header name")) }
}

fn method(text: String) -> Result<String, String> {
    if matches!(text.as_str(), "GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE") {
        Ok(text)
    } else {
        Err(format!("`{text}` is no method a route can list"))
    }
}

fn path(text: &str) -> Result<PathPattern, String> {
    PathPattern::parse(text).ok_or_else(|| format!("`{text}` is no path pattern"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route::Call;

    const SMALL: &str = r#"
        [route.psp]
        upstream = "https://api.psp.example"
        credential = { header = "Authorization", scheme = "Bearer", refused_fields = ["key"] }
        [[route.psp.allow]]
        method = "POST"
        path = "/v1/cards"
        body = "form"
        inject = [
            { at = "card[number]", value = "number" },
            { at = "card[cvc]", value = "cvc", from = "card[number]" },
            { at = "card[exp_month]", value = "exp", format = "M", from = "card[number]" },
        ]
        [[route.psp.pass]]
        method = "GET"
        path = "/v1/cards/{id}"
    "#;

    #[test]
    fn a_call_takes_four_minutes_at_most() {
        let with = |times: &str| {
            let text = SMALL.replacen("        credential", &format!("{times}\n        credential"), 1);
            Route::parse("psp", &text, Environment::Live).map_err(|error| error.to_string())
        };
        assert!(with("connect_timeout_ms = 3000\nupstream_timeout_ms = 237000").is_ok());
        let told = with("connect_timeout_ms = 3000\nupstream_timeout_ms = 237001").unwrap_err();
        assert!(told.contains("four minutes"), "{told}");
        for (total, right) in [(240_000, true), (240_001, false)] {
            let text = format!("{SMALL}\n[route.psp.protect]\ntotal_timeout_ms = {total}");
            assert_eq!(Route::parse("psp", &text, Environment::Live).is_ok(), right, "{total}");
        }
    }

    #[test]
    fn a_route_is_found_by_method_and_path() {
        let route = Route::parse("psp", SMALL, Environment::Live).unwrap();
        assert_eq!((route.upstream.host.as_str(), route.upstream.port), ("api.psp.example", 443));
        assert!(route.credential_place.refused_fields.contains("key"));
        let Some(Call::Allowed(call)) = route.call("POST", "/v1/cards") else { panic!("allowed") };
        assert_eq!(call.attributes().iter().count(), 3);
        assert!(matches!(route.call("GET", "/v1/cards/c_1"), Some(Call::Passed(_))));
        assert!(route.call("GET", "/v1/cards").is_none() && route.call("POST", "/v1/cards/c_1").is_none());
    }

    #[test]
    fn inconsistent_routes_are_refused() {
        for (from, to) in [
            ("https://api.psp.example", "http://api.psp.example"),
            ("https://api.psp.example", "https://user@api.psp.example"),
            ("https://api.psp.example", "https://api.psp.example/v1"),
            ("\"/v1/cards\"", "\"v1/cards\""),
            ("POST", "CONNECT"),
            ("from = \"card[number]\"", "from = \"card[pan]\""),
            ("format = \"M\", ", ""),
            ("card[cvc]", "card[number]"),
            ("value = \"number\"", "value = \"holder\""),
            ("body = \"form\"", "body = \"json\""),
            ("body = \"form\"", "body = \"form\"\n        namespace = \"urn:x\""),
            ("card[cvc]", "header:host"),
            ("card[cvc]", "header:X-Code"),
            ("value = \"cvc\"", "value = \"cryptogram\""),
            ("[route.psp]", "[route.other]"),
            (
                "method = \"GET\"\n        path = \"/v1/cards/{id}\"",
                "method = \"POST\"\n        path = \"/v1/cards\"",
            ),
            ("credential =", "credentials = \"unpinned\"\n        credential ="),
            ("credential =", "private_addresses = [\"127.0.0.1\"]\n        credential ="),
            ("credential =", "surprise = 1\n        credential ="),
        ] {
            assert!(SMALL.contains(from), "{from}");
            assert!(Route::parse("psp", &SMALL.replace(from, to), Environment::Live).is_err(), "{to}");
        }
        assert!(Route::parse("other", SMALL, Environment::Live).is_err());
    }

    #[test]
    fn one_path_may_take_two_formats_that_declare_the_same() {
        let both = |more: &str| {
            let text = format!(
                "{SMALL}[[route.psp.allow]]\nmethod = \"POST\"\npath = \"/v1/cards\"\nbody = \"json\"\n\
                 inject = [{{ at = \"/n\", value = \"number\" }}, {{ at = \"/c\", value = \"cvc\" }}{more}]"
            );
            Route::parse("psp", &text, Environment::Live)
        };
        let route = both(", { at = \"/m\", value = \"exp\", format = \"MM\" }").unwrap();
        let Some(Call::Allowed(first)) = route.call("POST", "/v1/cards") else { panic!("allowed") };
        assert_eq!(first.body, BodyFormat::Form);
        let formats: Vec<_> = route.formats(first).map(|call| call.body).collect();
        assert_eq!(formats, [BodyFormat::Form, BodyFormat::Json]);
        assert!(both("").unwrap_err().to_string().contains("same attributes"));
    }
}
