//! A forward's whole story, as it is shown: who, where to, by which rule, how it went, what was found out later.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};
use strongroom_domain::{ForwardId, Timestamp};
use utoipa::ToSchema;

use crate::store::{ForwardGrounds, ForwardRow, Reconciled};

/// A forward's story. No card data.
#[derive(Serialize, ToSchema)]
#[schema(as = ForwardStory)]
pub struct StoryBody<'a> {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    id: ForwardId,
    /// `open`, `answered`, `not-sent` or `unknown`.
    state: &'static str,
    /// Whose cards.
    tenant: &'a str,
    /// On whose behalf, by the proxy's word.
    caller: &'a str,
    /// The proxy that opened it.
    proxy: &'a str,
    /// Where to.
    route: &'a str,
    /// Under which PSP account.
    account: &'a str,
    /// PSP host.
    host: &'a str,
    /// HTTP method.
    method: &'a str,
    /// Path at the PSP.
    path: &'a str,
    /// References of the tokens.
    cards: Vec<&'a str>,
    /// What was released of them.
    attributes: Vec<&'static str>,
    /// Why it was opened; null for one that was opened before this was kept.
    grounds: Option<GroundsBody<'a>>,
    /// When card data was released.
    #[schema(value_type = String, format = DateTime)]
    opened_at: Timestamp,
    /// When the outcome became known, or that nobody knows it.
    #[schema(value_type = Option<String>, format = DateTime)]
    closed_at: Option<Timestamp>,
    /// What the proxy told of the outcome.
    #[schema(value_type = Option<ToldBody>)]
    outcome: Option<&'a serde_json::Value>,
    /// What was found out at the PSP when the outcome was unknown.
    reconciled: Option<ReconciledBody<'a>>,
}

/// Why a forward was opened.
#[derive(Serialize, ToSchema)]
#[schema(as = ForwardGrounds)]
pub struct GroundsBody<'a> {
    /// SHA-256 of the caller's certificate, as the proxy saw it.
    caller_cert_sha256: &'a str,
    /// Where the caller's connection came from, as the proxy saw it.
    #[schema(value_type = Option<String>)]
    origin: Option<SocketAddr>,
    /// The path as the route lists it: the rule that took the request.
    call: &'a str,
    /// SHA-256 of the route file.
    route_sha256: &'a str,
    /// The policies that permitted it.
    policies: Vec<&'a str>,
    /// Version of the policy bundle.
    bundle_version: u64,
    /// Its content hash.
    bundle_sha256: &'a str,
    /// The request that opened it: finds its audit entries.
    request_id: &'a str,
    /// Whether a payment reference came with it and is kept, keyed: no other forward leaves under the same.
    at_most_once: bool,
}

/// What was found out at the PSP.
#[derive(Serialize, ToSchema)]
#[schema(as = ForwardReconciled)]
pub struct ReconciledBody<'a> {
    /// `answered` or `never-arrived`.
    says: &'static str,
    /// HTTP status of the PSP's answer.
    #[schema(minimum = 100, maximum = 599)]
    status: Option<u16>,
    /// The PSP's own name of the payment.
    psp_reference: Option<&'a str>,
    /// On whose word.
    by: &'a str,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// What is kept of an outcome, and shown.
#[derive(Serialize, ToSchema)]
#[schema(as = ForwardTold)]
pub struct ToldBody {
    /// HTTP status of the PSP's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 100, maximum = 599)]
    pub(super) status: Option<u16>,
    /// Milliseconds from the first byte sent to the last byte received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) upstream_ms: Option<u64>,
    /// Card data found in the answer and replaced.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) scrubbed: Option<u32>,
    /// Digit runs that looked like card numbers and passed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) pan_suspected: Option<u32>,
    /// The PSP's own name of the request, at most 200 visible characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) psp_request_id: Option<String>,
    /// How long each stage at the proxy took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) timings: Option<TimingsBody>,
}

/// How long each stage of a forward took at the proxy, in microseconds; those it did not come to are left out.
#[derive(Clone, Copy, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ForwardTimings)]
pub struct TimingsBody {
    /// Reading the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_us: Option<u64>,
    /// Checking it and finding tokens.
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_us: Option<u64>,
    /// A connection to the PSP.
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_us: Option<u64>,
    /// Opening the forward here.
    #[serde(skip_serializing_if = "Option::is_none")]
    open_us: Option<u64>,
    /// Writing card data into its places.
    #[serde(skip_serializing_if = "Option::is_none")]
    inject_us: Option<u64>,
    /// Encrypting and signing.
    #[serde(skip_serializing_if = "Option::is_none")]
    sign_us: Option<u64>,
    /// From the first byte sent to the last byte received.
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_us: Option<u64>,
    /// Decoding and scrubbing the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    scrub_us: Option<u64>,
}

impl<'a> From<&'a ForwardRow> for StoryBody<'a> {
    fn from(row: &'a ForwardRow) -> Self {
        Self {
            id: row.id,
            state: row.state.as_str(),
            tenant: row.tenant.as_str(),
            caller: row.caller.as_str(),
            proxy: row.proxy.as_str(),
            route: row.route.as_str(),
            account: row.account.as_str(),
            host: &row.host,
            method: &row.method,
            path: &row.path,
            cards: row.cards.iter().map(strongroom_domain::TokenRef::as_str).collect(),
            attributes: row.attributes.iter().map(strongroom_domain::route::Attribute::as_str).collect(),
            grounds: row.grounds.as_ref().map(GroundsBody::from),
            opened_at: row.opened_at,
            closed_at: row.closed_at,
            outcome: row.outcome.as_ref(),
            reconciled: row.reconciled.as_ref().map(ReconciledBody::from),
        }
    }
}

impl<'a> From<&'a ForwardGrounds> for GroundsBody<'a> {
    fn from(grounds: &'a ForwardGrounds) -> Self {
        Self {
            caller_cert_sha256: &grounds.caller_cert_sha256,
            origin: grounds.origin,
            call: &grounds.call,
            route_sha256: &grounds.route_sha256,
            policies: grounds.policies.iter().map(String::as_str).collect(),
            bundle_version: grounds.bundle_version,
            bundle_sha256: &grounds.bundle_sha256,
            request_id: &grounds.request_id,
            at_most_once: grounds.at_most_once,
        }
    }
}

impl<'a> From<&'a Reconciled> for ReconciledBody<'a> {
    fn from(reconciled: &'a Reconciled) -> Self {
        Self {
            says: reconciled.says.as_str(),
            status: reconciled.status,
            psp_reference: reconciled.psp_reference.as_deref(),
            by: reconciled.by.as_str(),
            at: reconciled.at,
        }
    }
}
