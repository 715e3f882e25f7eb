//! `PUT /v1/tenants/{tenant}`: onboarding, as often as one likes.

use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use serde::Deserialize;
use strongroom_domain::{Brand, FactsKept, Problem, ProblemKind, TenantId};
use utoipa::ToSchema;

use super::show::{TenantBody, answer, object, permit};
use crate::audit::Event;
use crate::http::body;
use crate::http::problem::ConfirmBody;
use crate::http::problem::{Denial, Refused};
use crate::http::query;
use crate::http::routes::cards::list::BrandName;
use crate::operation::retention::CardsDue;
use crate::operation::tenant::{Put, Wanted};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::{Dedupe, InvalidRetention, Retention, TenantSettings, TenantStatus, TokenFormat};

/// What a tenant is to be. What is not said has its default, also when it was different before.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Tenant)]
pub struct TenantPut {
    /// Groups that grants are given to, at most 16.
    #[serde(default)]
    #[schema(value_type = Vec<GroupName>, max_items = 16)]
    groups: Vec<String>,
    /// Which facts are kept beside the sealed record.
    #[serde(default)]
    #[schema(value_type = FactsBody)]
    facts: FactsKept,
    /// Brands the tenant takes; null is all.
    #[schema(value_type = Option<Vec<BrandName>>, min_items = 1)]
    brands: Option<Vec<Brand>>,
    /// What a second tokenization of one number gives: a new token, or the one it has.
    #[serde(default)]
    #[schema(value_type = DedupeBody)]
    dedupe: Dedupe,
    /// Whether fingerprints of numbers are kept, for callers with the MatchFingerprint grant.
    #[serde(default)]
    fingerprints: bool,
    /// Formats beside the token that may be asked for: `pan_shaped`.
    #[serde(default)]
    #[schema(value_type = Vec<FormatBody>)]
    formats: Vec<TokenFormat>,
    /// A suspended tenant's cards are neither made, shown, changed nor forwarded; they can be erased and restored.
    #[serde(default)]
    suspended: bool,
    /// How long cards are kept. If left out it stays as it is; a new tenant has the service's own.
    retention: Option<RetentionPut>,
}

/// How long cards are kept and why (PCI DSS 3.2.1).
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Retention)]
pub struct RetentionPut {
    /// Days after a card's last change; then it is hidden, and destroyed after the hold.
    #[schema(minimum = 1, maximum = 3650)]
    days: u32,
    /// The business reason, for an assessor: at most 200 bytes.
    #[schema(min_length = 1, max_length = 200)]
    reason: String,
    /// Needed where the period gets shorter: how many cards that ends at once, as `?dry_run=true` told within the hour.
    confirm: Option<ConfirmBody>,
}

/// A group's name.
#[derive(ToSchema)]
#[schema(value_type = String, pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$")]
#[expect(dead_code, reason = "describes one of `groups`")]
pub struct GroupName(String);

/// What a second tokenization of one number gives.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum DedupeBody {
    /// A new token.
    Off,
    /// The token the number has already.
    ReturnExisting,
}

/// A format beside the token.
#[derive(ToSchema)]
#[schema(rename_all = "snake_case")]
pub enum FormatBody {
    /// Sixteen digits that are no card number.
    PanShaped,
}

/// Which facts are kept.
#[derive(ToSchema)]
#[schema(rename_all = "kebab-case")]
pub enum FactsBody {
    /// First and last digits within PCI DSS 3.4.1.
    BinAndLast4,
    /// None.
    None,
}

const FIELDS: &[&str] = &[
    "/groups",
    "/facts",
    "/brands",
    "/dedupe",
    "/fingerprints",
    "/formats",
    "/suspended",
    "/retention",
    "/days",
    "/reason",
    "/confirm",
    "/count",
    "/as_of",
];
const NAMES: &[&str] = &["/dry_run"];
/// Groups of one tenant: each costs every decision a little.
const GROUPS_MAX: usize = 16;

/// Create or change a tenant.
#[utoipa::path(
    put,
    path = "/v1/tenants/{tenant}",
    tag = "tenants",
    operation_id = "putTenant",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("dry_run" = Option<bool>, Query, description = "`true`: change nothing, answer what the tenant would be and what a shorter retention would end"),
        ("If-Match" = Option<String>, Header, description = "the version in quotes; another present version is a conflict", pattern = "^\"?[0-9]{1,18}\"?$"),
    ),
    request_body = TenantPut,
    responses(
        (status = 200, description = "the tenant as it is now, or would be", body = TenantBody<'_>),
        (status = 201, description = "the tenant is new", body = TenantBody<'_>),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn put(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    match try_put(&vault, &asking, &tenant, query.as_deref(), &headers, body).await {
        Ok(done) => Ok(done),
        Err(error) => {
            Err(Refused::new(&vault, &asking, Event::TenantChange, object(&tenant), Denial::Forbidden, error)
                .await)
        }
    }
}

async fn try_put(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    query: Option<&str>,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let permit = permit(vault, asking, &tenant).await?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let parsed: TenantPut = body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let wanted = parsed.check(headers).map_err(OperationError::Request)?;
    let dry_run = dry_run(query).map_err(OperationError::Request)?;
    if dry_run {
        let Put { tenant, due, .. } = vault.try_tenant(asking, permit, wanted).await?;
        return Ok(answer(&tenant, due));
    }
    let Put { tenant, created, due } = vault.put_tenant(asking, permit, wanted).await?;
    let status = if created { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, answer(&tenant, due)).into_response())
}

fn dry_run(query: Option<&str>) -> Result<bool, Problem> {
    match query::parse(query, NAMES)?.get("dry_run").map(String::as_str) {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => {
            Err(Problem::because(ProblemKind::InvalidRequest, "dry_run is true or false").at("/dry_run"))
        }
    }
}

impl RetentionPut {
    fn check(self) -> Result<(Retention, Option<CardsDue>), Problem> {
        let Self { days, reason, confirm } = self;
        let retention = Retention::new(days, &reason).map_err(|error| match error {
            InvalidRetention::Days => {
                Problem::because(ProblemKind::InvalidRequest, "days is not 1 to 3650").at("/retention/days")
            }
            InvalidRetention::Reason => Problem::because(
                ProblemKind::InvalidRequest,
                "reason is not 1 to 200 bytes of text without control characters, card numbers or tokens",
            )
            .at("/retention/reason"),
        })?;
        Ok((retention, confirm.map(|ConfirmBody { count, as_of }| CardsDue { count, as_of })))
    }
}

impl TenantPut {
    fn check(self, headers: &HeaderMap) -> Result<Wanted, Problem> {
        let invalid = |detail| Problem::because(ProblemKind::InvalidRequest, detail);
        let mut groups = self.groups;
        groups.sort_unstable();
        groups.dedup();
        if groups.len() > GROUPS_MAX || groups.iter().any(|group| TenantId::parse(group).is_err()) {
            return Err(invalid(
                "groups are at most 16 names of lower-case letters, digits and inner hyphens",
            )
            .at("/groups"));
        }
        if self.brands.as_ref().is_some_and(|brands| brands.is_empty() || brands.contains(&Brand::Unknown)) {
            return Err(invalid("brands is null or a list of at least one known brand").at("/brands"));
        }
        let expected_version = headers.get(header::IF_MATCH).map(|value| {
            let text = value.to_str().unwrap_or_default().trim_matches('"');
            text.parse().map_err(|_| invalid("If-Match is not a version in quotes"))
        });
        let mut formats = self.formats;
        formats.dedup();
        if formats.iter().any(|format| *format != TokenFormat::PanShaped) {
            return Err(
                invalid("formats is a list of `pan_shaped`; the token itself is always there").at("/formats")
            );
        }
        if !formats.is_empty() && self.facts == FactsKept::None {
            return Err(invalid(
                "a pan_shaped alias shows the last four digits, which this tenant keeps not",
            )
            .at("/formats"));
        }
        let settings = TenantSettings {
            groups,
            facts: self.facts,
            brands: self.brands,
            dedupe: self.dedupe,
            fingerprints: self.fingerprints,
            formats,
            ..TenantSettings::default()
        };
        let status = if self.suspended { TenantStatus::Suspended } else { TenantStatus::Active };
        let (retention, confirmed) = match self.retention.map(RetentionPut::check).transpose()? {
            Some((retention, confirmed)) => (Some(retention), confirmed),
            None => (None, None),
        };
        let expected_version = expected_version.transpose()?;
        Ok(Wanted { settings, retention, confirmed, status, expected_version })
    }
}
