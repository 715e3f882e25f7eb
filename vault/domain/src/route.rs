//! Routes: where card data may go, and into which places of which requests.
//!
//! One TOML file per PSP under `policies/routes/`. Proxy and vault read the same files: the proxy to match and inject,
//! the vault to release only what the file allows for that method and path, and only to proxies that hold the very
//! same bytes ([`Route::sha256`]).
//!
//! Promises: a `Route` that exists is consistent: every selector fits its body, every place is declared once.

mod account;
mod checker;
mod file;
mod identity;
mod key_id;
mod path;
mod place;
mod places;
mod protect;
mod reference;
mod selector;
mod signing;

pub use account::{Account, AccountName, ClientCertificateFiles, InvalidAccount, TenantScope};
pub use checker::Finding;
pub use file::{
    Inbound, InvalidRoute, OtherPlace, Platform, Sender, TimeUnit, TimestampHeader, Verification,
};
pub use identity::{ANY, IdentityAt, IdentityPlace, IdentityValue, Sha256Hex};
pub use key_id::{KeyIdForm, KeyIdPlace};
pub use path::PathPattern;
pub use place::{Attribute, AttributeSet, ExpiryFormat, HEADER_PREFIX, Inject, JsonForm, Source};
pub use protect::{BreakerSettings, Protect, Rate, check_place};
pub use reference::{InvalidReference, PaymentReference, ReferencePlace};
pub use signing::{
    ChecksumCall, ChecksumSigning, Encryption, HashName, HmacSigning, MessageAlgorithm, MessageSigning,
    Output, Part, RecipientKeyFile, SecretEncoding, Signing, SigningKeyFiles, lies_inside,
};

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// A route's name: a first path segment, `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct RouteName(std::sync::Arc<str>);

impl RouteName {
    /// Parses a name; the grammar is a tenant's.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        crate::TenantId::parse(text).ok().map(|name| Self(name.as_str().into()))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> serde::Deserialize<'de> for RouteName {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            serde::de::Error::custom("not a name: 1 to 63 lower-case letters, digits and inner hyphens")
        })
    }
}

impl fmt::Display for RouteName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One registered PSP destination and everything that may be done there.
#[derive(Clone, Debug)]
pub struct Route {
    /// Its name, and its first path segment for entry by path.
    pub name: RouteName,
    /// The only destination. A property of the route, never of a request.
    pub upstream: Upstream,
    /// Host names by which callers reach this route (entry by host), lower case, without port.
    pub hosts: BTreeSet<String>,
    /// Who sets the PSP credential.
    pub credentials: Credentials,
    /// Where the PSP credential travels.
    pub credential_place: CredentialPlace,
    /// Where else requests name the account.
    pub identity: Vec<IdentityPlace>,
    /// Where requests name the account by its key.
    pub key_ids: Vec<KeyIdPlace>,
    /// How requests are signed, if the PSP wants it.
    pub signing: Option<Signing>,
    /// Header under which the PSP recognises a repeated attempt, lower case.
    pub idempotency_header: Option<String>,
    /// Header of answers in which the PSP names the request, lower case; none: where PSPs name it as a rule.
    pub request_id_header: Option<String>,
    /// Status for `psp-outcome-unknown`: 502, or 424 where the SDK retries 5xx under a new key.
    pub unknown_outcome_status: u16,
    /// How long connecting (TCP and TLS) may take.
    pub connect_timeout: Duration,
    /// How long the PSP may take from the first byte sent to the last byte received.
    pub upstream_timeout: Duration,
    /// Requests at this PSP at once; more are shed.
    pub in_flight_max: usize,
    /// Rates, places per caller, breaker, deadline, pins.
    pub protect: Protect,
    /// Calls that carry card data.
    pub allow: Vec<AllowedCall>,
    /// Calls that carry none: confirm, refund, retrieve.
    pub pass: Vec<PassedCall>,
    /// SHA-256 of the file's bytes.
    pub sha256: [u8; 32],
}

/// A destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Upstream {
    /// Host name or address, lower case.
    pub host: String,
    /// Port, 443 unless written.
    pub port: u16,
    /// Whom TLS trusts there.
    pub roots: Roots,
    /// Private or loopback addresses this route may connect to all the same: `environment = "test"` only.
    pub private_addresses: Vec<std::net::IpAddr>,
}

/// Whom TLS trusts at a destination.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Roots {
    /// The WebPKI roots compiled in.
    WebPki,
    /// Only the certificates in this PEM file, relative to the route file's folder.
    File(PathBuf),
}

/// Who sets the PSP credential.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    /// The proxy sets the account's own and refuses the caller's.
    #[default]
    Account,
    /// The caller's must match a SHA-256 the account lists.
    Pinned,
    /// The caller's passes as it is: `environment = "test"` only.
    Unpinned,
}

/// Where the PSP credential travels.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CredentialPlace {
    /// Header name, lower case. None: the signature, or a secret among `identity`, is the credential.
    pub header: Option<String>,
    /// What stands before the credential: `Bearer`, `Basic`, or nothing.
    pub scheme: Option<String>,
    /// Names of query and top-level body fields by which the PSP would take another credential: refused.
    pub refused_fields: BTreeSet<String>,
}

/// How a body is read and written, and how its places are named.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BodyFormat {
    /// `application/x-www-form-urlencoded` (WHATWG URL). A place is a decoded name: `card[number]`.
    Form,
    /// RFC 8259. A place is a JSON Pointer (RFC 6901): `/source/number`.
    Json,
    /// One GraphQL request as JSON. A place is a pointer below `/variables/`: card data is never part of the query.
    Graphql,
    /// XML 1.0 in UTF-8. A place is the names from the root to an element, `order/card/number`, or to an attribute of it,
    /// `order/card/expiry@month`.
    Xml,
    /// `multipart/form-data` (RFC 7578). A place is a part's name.
    Multipart,
}

/// One call that carries card data.
#[derive(Clone, Debug)]
pub struct AllowedCall {
    /// Upper case.
    pub method: String,
    /// Path below the route, beginning with `/`.
    pub path: PathPattern,
    /// How its body is read.
    pub body: BodyFormat,
    /// The namespace every element on the way to a place is in; none: they are in none. For XML only.
    pub namespace: Option<String>,
    /// The declared places, each at most once.
    pub inject: Vec<Inject>,
    /// What is encrypted to the PSP after injection.
    pub encryption: Option<Encryption>,
    /// Where the merchant's payment reference stands, if one is let through once; none: the PSP tells repeats apart.
    pub once: Option<ReferencePlace>,
    /// Answer fields that hold references and are never masked, in the body's selector form.
    pub ids: BTreeSet<String>,
    /// Answer fields that may hold the verification code, besides those named like one.
    pub cvc_fields: BTreeSet<String>,
}

impl AllowedCall {
    /// The attributes this call may ask the vault for.
    #[must_use]
    pub fn attributes(&self) -> AttributeSet {
        self.inject.iter().map(|inject| inject.attribute).collect()
    }
}

/// One call that passes without card data.
#[derive(Clone, Debug)]
pub struct PassedCall {
    /// Upper case.
    pub method: String,
    /// Path below the route.
    pub path: PathPattern,
    /// Answer fields that hold references and are never masked.
    pub ids: BTreeSet<String>,
}

/// What a route says of one method and path.
#[derive(Clone, Copy, Debug)]
pub enum Call<'a> {
    /// Card data may be injected at the declared places.
    Allowed(&'a AllowedCall),
    /// Passes without card data; a token in it is an error.
    Passed(&'a PassedCall),
}

impl<'a> Call<'a> {
    /// The call, if it may carry card data.
    #[must_use]
    pub const fn allowed(&self) -> Option<&'a AllowedCall> {
        match self {
            Self::Allowed(call) => Some(call),
            Self::Passed(_) => None,
        }
    }
}

impl Route {
    /// Finds the call for a method (upper case) and a path (no query). `None`: the route does not list it. Of several
    /// that differ in their body's format it is the first ([`Self::formats`]); all of them declare the same attributes.
    #[must_use]
    pub fn call(&self, method: &str, path: &str) -> Option<Call<'_>> {
        let allowed = self.allow.iter().find(|call| call.method == method && call.path.matches(path));
        let passed = || self.pass.iter().find(|call| call.method == method && call.path.matches(path));
        allowed.map(Call::Allowed).or_else(|| passed().map(Call::Passed))
    }

    /// The calls that differ from this one in nothing but the format of their bodies, itself among them: some PSPs read
    /// both JSON and XML at one path.
    pub fn formats<'a>(&'a self, call: &'a AllowedCall) -> impl Iterator<Item = &'a AllowedCall> {
        self.allow.iter().filter(move |other| other.method == call.method && other.path == call.path)
    }
}
