//! `PATCH /v1/tenants/{tenant}/cards/{token}`: another number, expiry or note under the same token.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::BytesRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use secrecy::SecretString;
use serde::Deserialize;
use strongroom_domain::{Environment, Metadata, MetadataPatch, Problem, ProblemKind, Timestamp};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, SchemaType, Type};

use super::create::{parse_end, parse_expiry, parse_holder, parse_number, with_etag};
use super::facts::CardFactsBody;
use super::show::{object, permit};
use crate::audit::Event;
use crate::http::problem::{Denial, Refused};
use crate::http::{body, conditional};
use crate::operation::card::ShownCard;
use crate::operation::update::CardPatch;
use crate::operation::{Asking, OperationError, Vault};

/// What changes of a card, as JSON Merge Patch (RFC 7396): what is left out stays, `null` removes.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = CardPatch)]
pub struct CardPatchBody {
    /// The new number: 12 to 19 digits with a valid check digit; single spaces and dashes between digits are ignored. One
    /// that another token has is fine.
    #[serde(default, deserialize_with = "body::present")]
    #[schema(value_type = Option<String>, nullable = false, write_only, min_length = 12, max_length = 37, pattern = "^[0-9]([ -]?[0-9]){11,18}$", example = "4242424242424242", extensions(("x-pci-data" = json!("pan"))))]
    number: Option<Option<SecretString>>,
    /// 1 to 12; with `exp_year` or not at all. `null` with `exp_year` removes the expiry.
    #[serde(default, deserialize_with = "body::present")]
    #[schema(value_type = Option<u8>, minimum = 1, maximum = 12)]
    exp_month: Option<Option<u8>>,
    /// 2000 to 2099.
    #[serde(default, deserialize_with = "body::present")]
    #[schema(value_type = Option<u16>, minimum = 2000, maximum = 2099)]
    exp_year: Option<Option<u16>>,
    /// Cardholder name, at most 70 bytes of UTF-8.
    #[serde(default, deserialize_with = "body::present")]
    #[schema(value_type = Option<String>, write_only, min_length = 1, max_length = 70)]
    holder: Option<Option<SecretString>>,
    /// When the token stops to work (RFC 3339); must be in the future. Rounded down to the second. `null`: not by itself.
    #[serde(default, deserialize_with = "body::present")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Option<Timestamp>>,
    #[serde(default, deserialize_with = "body::present")]
    #[schema(schema_with = metadata_schema)]
    metadata: Option<Option<MetadataPatch>>,
    /// Whether its issuer closed the card. Left out, a new number or expiry says that it did not.
    #[serde(default, deserialize_with = "body::present")]
    #[schema(value_type = Option<bool>)]
    closed: Option<Option<bool>>,
}

/// What `MetadataPatch` takes.
fn metadata_schema() -> utoipa::openapi::Object {
    let name = ObjectBuilder::new().schema_type(Type::String).pattern(Some("^[A-Za-z0-9_.-]{1,40}$"));
    let text = ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::String, Type::Null]))
        .max_length(Some(Metadata::VALUE_BYTES_MAX));
    ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::Object, Type::Null]))
        .description(Some(
            "Texts by name, at most 20 of 500 bytes; `null` removes one, at most 20, and `null` for the whole removes all. No \
             more than 20 then. No card numbers, no tokens.",
        ))
        .property_names(Some(name))
        .additional_properties(Some(text))
        .build()
}

const FIELDS: &[&str] =
    &["/number", "/exp_month", "/exp_year", "/holder", "/expires_at", "/metadata", "/closed"];

/// Change a card under its token.
///
/// `If-Match` must name the version the change is of: without it 428, and 412 if the card has another one by now. So it is safe
/// to send again, and `Idempotency-Key` means nothing to it. A new number takes its facts and its fingerprint with it, and ends
/// a verification code that waits.
#[utoipa::path(
    patch,
    path = "/v1/tenants/{tenant}/cards/{token}",
    tag = "cards",
    operation_id = "updateCard",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("token" = String, Path, description = "the token, or an alias of the card", pattern = "^[A-Za-z0-9._~:-]{8,128}$"),
        ("If-Match" = String, Header, description = "the `ETag` of the card as it was read", pattern = "^(W/)?\"[!#-+.-~-]*\"( *, *(W/)?\"[!#-+.-~-]*\")*$", example = "\"1\""),
    ),
    request_body(content((CardPatchBody = "application/merge-patch+json"), (CardPatchBody = "application/json"))),
    responses(
        (status = 200, description = "the card's facts after the change", body = CardFactsBody<'_>, headers(("ETag" = String, description = "the card's version, for `If-Match`"))),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn update(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path((tenant, token)): Path<(String, String)>,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    match try_update(&vault, &asking, (&tenant, &token), &headers, body).await {
        Ok(shown) => {
            let answer = Json(CardFactsBody::from(&shown.row).named(&shown.aliases)).into_response();
            Ok(with_etag(shown.row.row_version, answer))
        }
        Err(error) => {
            let object = object(&tenant, &token);
            Err(Refused::new(&vault, &asking, Event::RecordUpdate, object, Denial::TokenNotFound, error)
                .await)
        }
    }
}

async fn try_update(
    vault: &Vault,
    asking: &Asking,
    (tenant, token): (&str, &str),
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<ShownCard, OperationError> {
    let permit = permit(vault, asking, tenant, token).await?;
    let expected = conditional::if_match(headers)?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let parsed: CardPatchBody =
        body::parse_patch(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let patch = parsed.check(vault.environment, asking.at).map_err(OperationError::InvalidCard)?;
    vault.update_card(asking, permit, patch, &expected).await
}

impl CardPatchBody {
    /// Field by field; each refusal names its field and holds nothing of it.
    pub(super) fn check(self, environment: Environment, now: Timestamp) -> Result<CardPatch, Problem> {
        let Self { number, exp_month, exp_year, holder, expires_at, metadata, closed } = self;
        let expiry = match (exp_month, exp_year) {
            (None, None) => None,
            (month, year) => Some(parse_expiry(month.flatten(), year.flatten())?),
        };
        let number = match number {
            None => None,
            Some(Some(number)) => Some(parse_number(&number, environment)?),
            Some(None) => {
                let detail = "a card has a number: it cannot be removed";
                return Err(Problem::because(ProblemKind::InvalidCard, detail).at("/number"));
            }
        };
        let patch = CardPatch {
            number,
            expiry,
            holder: holder
                .map(|holder| holder.map(|holder| parse_holder(&holder)).transpose())
                .transpose()?,
            expires_at: expires_at.map(|at| at.map(|at| parse_end(at, now)).transpose()).transpose()?,
            metadata,
            closed: closed.map(Option::unwrap_or_default),
        };
        if patch.is_empty() {
            return Err(Problem::because(ProblemKind::InvalidRequest, "the patch changes nothing"));
        }
        Ok(patch)
    }
}
