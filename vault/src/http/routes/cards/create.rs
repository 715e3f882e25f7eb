//! `POST /v1/tenants/{tenant}/cards`: a card number in, a token out.

use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::SecretString;
use serde::Deserialize;
use strongroom_domain::alias::Foreign;
use strongroom_domain::{
    Cvc, Environment, Expiry, Holder, InvalidPan, Metadata, Pan, Problem, ProblemKind, TenantId, Timestamp,
};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

use super::facts;
use crate::audit::{Event, Object};
use crate::authz::{TenantScope, Tokenize};
use crate::http::problem::{Denial, Refused};
use crate::http::{body, conditional, idempotency};
use crate::operation::tokenize::{Answer, FIRST_VERSION, NewCard, Tokenized};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::TokenFormat;

/// A card to tokenize.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = NewCard)]
pub struct NewCardBody {
    /// 12 to 19 digits with a valid check digit; single spaces and dashes between digits are ignored.
    #[schema(value_type = String, write_only, min_length = 12, max_length = 37, pattern = "^[0-9]([ -]?[0-9]){11,18}$", example = "4242424242424242", extensions(("x-pci-data" = json!("pan"))))]
    number: SecretString,
    /// 1 to 12; with `exp_year` or not at all.
    #[schema(minimum = 1, maximum = 12)]
    exp_month: Option<u8>,
    /// 2000 to 2099.
    #[schema(minimum = 2000, maximum = 2099)]
    exp_year: Option<u16>,
    /// Cardholder name, at most 70 bytes of UTF-8.
    #[schema(value_type = Option<String>, write_only, min_length = 1, max_length = 70)]
    holder: Option<SecretString>,
    /// Verification code, 3 or 4 digits. Kept in memory for one forward and never stored.
    #[schema(value_type = Option<String>, write_only, pattern = "^[0-9]{3,4}$", extensions(("x-pci-data" = json!("sad"))))]
    cvc: Option<SecretString>,
    /// When the token stops to work (RFC 3339); must be in the future. Rounded down to the second.
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// At most 20 names of 40 bytes with texts of 500 bytes. No card numbers, no tokens.
    #[schema(schema_with = metadata_schema)]
    metadata: Option<Metadata>,
    /// The token's format: `pan_shaped` gives sixteen digits beside the token, where the tenant's settings allow it.
    format: Option<Format>,
    /// The token another vault gave this card: it leads to the card from now on. 8 to 128 letters, digits and `-._~:`,
    /// with a letter among them; unique in the vault.
    #[schema(value_type = Option<String>, pattern = "^[A-Za-z0-9._~:-]{8,128}$", example = "c06d0789-0a38-40be-b7cc-c28a718f76f1")]
    alias: Option<String>,
}

/// What `Metadata` takes.
fn metadata_schema() -> utoipa::openapi::Object {
    let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9_.-]{1,40}$"));
    let text = ObjectBuilder::new().schema_type(Type::String).max_length(Some(Metadata::VALUE_BYTES_MAX));
    ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Object, Type::Null]))
        .description(Some(
            "At most 20 names of 40 bytes with texts of 500 bytes. No card numbers, no tokens.",
        ))
        .max_properties(Some(Metadata::ENTRIES_MAX))
        .property_names(Some(name))
        .additional_properties(Some(text))
        .build()
}

/// How the token looks.
#[derive(Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `tok_live_…` or `tok_test_…`.
    Opaque,
    /// The same, and sixteen digits that lead to the card too.
    PanShaped,
}

const FIELDS: &[&str] = &[
    "/number",
    "/exp_month",
    "/exp_year",
    "/holder",
    "/cvc",
    "/expires_at",
    "/metadata",
    "/format",
    "/alias",
];

/// Tokenize a card.
#[utoipa::path(
    post,
    path = "/v1/tenants/{tenant}/cards",
    tag = "cards",
    operation_id = "createCard",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("Idempotency-Key" = Option<String>, Header, description = "1 to 255 visible characters; remembered 24 hours per caller and tenant", pattern = "^(\"[!#-~]{1,255}\"|[!#-~]{1,255})$"),
    ),
    request_body = NewCardBody,
    responses(
        (status = 201, description = "the token and the card's facts; `Idempotency-Replayed: true` if an earlier request made it", body = facts::CardFactsBody<'_>, headers(("ETag" = String, description = "the version of a card that came in, for `If-Match`")), links(
            ("card" = (operation_id = "showCard", parameters(("tenant" = "$request.path.tenant"), ("token" = "$response.body#/token")))),
            ("erase" = (operation_id = "eraseCard", parameters(("tenant" = "$request.path.tenant"), ("token" = "$response.body#/token")))),
            ("restore" = (operation_id = "restoreCard", parameters(("tenant" = "$request.path.tenant"), ("token" = "$response.body#/token")))),
        )),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn create(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    match try_create(&vault, &asking, &tenant, &headers, body).await {
        // Also where the number was known: no header tells it from a new one.
        Ok(tokenized) => Ok(with_etag(FIRST_VERSION, answer(StatusCode::CREATED, tokenized))),
        Err(error) => {
            let object = TenantId::parse(&tenant)
                .map_or(Object::Operation("POST /v1/tenants/{tenant}/cards"), Object::Tenant);
            Err(Refused::new(&vault, &asking, Event::PanTokenize, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_create(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Tokenized, OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<Tokenize>(&asking.caller.workload)?;
    let facts = vault.tenant_facts(&tenant).await?;
    let subject = TenantScope { tenant: tenant.clone() };
    let permit = authorizer.decide(&asking.caller.workload, subject, &facts)?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let parsed: NewCardBody = body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let request = || format!("POST /v1/tenants/{tenant}/cards");
    let once = idempotency::once(headers, request, &bytes)?;
    let card = parsed.check(vault.environment, asking.at).map_err(OperationError::InvalidCard)?;
    let answer = Answer { status: StatusCode::CREATED.as_u16(), write: facts::write_one };
    vault.tokenize(asking, permit, card, once, answer).await
}

/// The same answer, saying which version of the card it shows.
pub(super) fn with_etag(version: u64, mut response: Response) -> Response {
    response.headers_mut().insert(header::ETAG, conditional::etag(version));
    response
}

/// Sends what was stored for replays, byte for byte.
pub(super) fn answer(status: StatusCode, tokenized: Tokenized) -> Response {
    let mut response = (status, tokenized.answer).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if tokenized.replayed {
        headers.insert("idempotency-replayed", HeaderValue::from_static("true"));
    }
    response
}

impl NewCardBody {
    /// Field by field; each refusal names its field and holds nothing of it.
    pub(super) fn check(self, environment: Environment, now: Timestamp) -> Result<NewCard, Problem> {
        let invalid = |detail, pointer| Problem::because(ProblemKind::InvalidCard, detail).at(pointer);
        let Self { number, exp_month, exp_year, holder, cvc, expires_at, metadata, format, alias } = self;
        let expiry = parse_expiry(exp_month, exp_year)?;
        let expires_at = expires_at.map(|at| parse_end(at, now)).transpose()?;
        Ok(NewCard {
            pan: parse_number(&number, environment)?,
            expiry,
            holder: holder.map(|holder| parse_holder(&holder)).transpose()?,
            cvc: cvc.map(Cvc::parse).transpose().map_err(|_| invalid("cvc is not 3 or 4 digits", "/cvc"))?,
            expires_at,
            metadata: metadata.unwrap_or_default(),
            format: match format {
                None | Some(Format::Opaque) => TokenFormat::Token,
                Some(Format::PanShaped) => TokenFormat::PanShaped,
            },
            alias: alias.map(|alias| parse_alias(&alias)).transpose()?,
        })
    }
}

pub(super) fn parse_expiry(month: Option<u8>, year: Option<u16>) -> Result<Option<Expiry>, Problem> {
    let invalid = |detail, pointer| Problem::because(ProblemKind::InvalidCard, detail).at(pointer);
    match (month, year) {
        (None, None) => Ok(None),
        (Some(month), Some(year)) => Expiry::new(month, year)
            .map(Some)
            .map_err(|_| invalid("the expiry is not a month 1 to 12 of a year 2000 to 2099", "/exp_month")),
        (None, Some(_)) => Err(invalid("exp_year needs exp_month", "/exp_month")),
        (Some(_), None) => Err(invalid("exp_month needs exp_year", "/exp_year")),
    }
}

/// When the token stops to work: a whole second, and not over.
pub(super) fn parse_end(at: Timestamp, now: Timestamp) -> Result<Timestamp, Problem> {
    let at = Timestamp::from_unix_seconds(at.unix_seconds());
    let detail = "expires_at is not in the future";
    if at > now { Ok(at) } else { Err(Problem::because(ProblemKind::InvalidCard, detail).at("/expires_at")) }
}

pub(super) fn parse_number(number: &SecretString, environment: Environment) -> Result<Pan, Problem> {
    #[expect(clippy::disallowed_methods, reason = "parsed into `Pan`, the type that keeps it")]
    let text = secrecy::ExposeSecret::expose_secret(number);
    if strongroom_domain::Token::parse(text).is_ok() {
        return Err(Problem::because(ProblemKind::InvalidCard, "this is a token already").at("/number"));
    }
    Pan::parse(text, environment).map_err(|error| {
        let detail = match error {
            InvalidPan::NotDigits => "the number holds something other than digits, spaces and dashes",
            InvalidPan::Length => "the number is not 12 to 19 digits long",
            InvalidPan::CheckDigit => "the number has a wrong check digit",
        };
        Problem::because(ProblemKind::InvalidCard, detail).at("/number")
    })
}

fn parse_alias(alias: &str) -> Result<Foreign, Problem> {
    Foreign::parse(alias).map_err(|_| {
        if strongroom_domain::scan::holds_pan(alias) {
            metrics::counter!("strongroom_pan_unexpected_total", "where" => "alias").increment(1);
        }
        let detail = "alias is not 8 to 128 letters, digits and -._~: with a letter, or is a number or a token of ours";
        Problem::because(ProblemKind::InvalidCard, detail).at("/alias")
    })
}

pub(super) fn parse_holder(holder: &SecretString) -> Result<Holder, Problem> {
    #[expect(clippy::disallowed_methods, reason = "parsed into `Holder`, the type that keeps it")]
    let text = secrecy::ExposeSecret::expose_secret(holder);
    let detail = "holder is not 1 to 70 bytes of text without control characters or card numbers";
    Holder::parse(text).map_err(|_| Problem::because(ProblemKind::InvalidCard, detail).at("/holder"))
}
