//! `GET /v1/tenants/{tenant}/cards`: a tenant's cards, newest first, page by page.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strongroom_domain::{Brand, Digits, Expiry, Problem, ProblemKind, TenantId, Timestamp};
use utoipa::ToSchema;

use super::cursor;
use super::facts::CardFactsBody;
use crate::audit::{Event, Object};
use crate::authz::{Permit, ReadCards, TenantCards};
use crate::http::problem::{Denial, Refused};
use crate::http::query::{self, Parameters};
use crate::operation::read::{PAGE_CARDS_MAX, Wanted};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::CardFilter;

/// A page of cards.
#[derive(Serialize, ToSchema)]
#[schema(as = CardPage)]
pub struct CardPageBody<'a> {
    /// Newest first; may be fewer than `limit`, also none, while `next_cursor` is there.
    cards: Vec<CardFactsBody<'a>>,
    /// Where the next page begins; null after the last.
    next_cursor: Option<String>,
}

/// Brands a list can be asked for.
#[derive(ToSchema)]
#[schema(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is the scheme's own name")]
pub enum BrandName {
    Visa,
    Mastercard,
    Amex,
    Discover,
    Diners,
    Jcb,
    UnionPay,
    Maestro,
    Elo,
    RuPay,
    Mir,
}

const NAMES: &[&str] =
    &["/last4", "/brand", "/expiring_before", "/created_after", "/created_before", "/limit", "/cursor"];
/// Cards of a page nobody gave a size.
const LIMIT_DEFAULT: u32 = 20;

/// List a tenant's cards.
///
/// Newest first. A card that is there when the first page is read is on exactly one page, however many are added
/// meanwhile; erased and expired cards are on none. A cursor belongs to the tenant and the filter it was given for.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/cards",
    tag = "cards",
    operation_id = "listCards",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("last4" = Option<String>, Query, description = "last four digits", pattern = "^[0-9]{4}$"),
        ("brand" = Option<BrandName>, Query, description = "brand"),
        ("expiring_before" = Option<String>, Query, description = "cards that end before this month, `YYYY-MM`; cards without expiry do not end", pattern = "^20[0-9]{2}-(0[1-9]|1[0-2])$"),
        ("created_after" = Option<String>, Query, description = "cards that came in after this (RFC 3339)", format = DateTime),
        ("created_before" = Option<String>, Query, description = "cards that came in before this (RFC 3339)", format = DateTime),
        ("limit" = Option<u32>, Query, description = "most cards of the page, 20 unless said", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before", pattern = "^[b-df-hj-np-t]{98}$"),
    ),
    responses(
        (status = 200, description = "a page; the last has no `next_cursor`", body = CardPageBody<'_>, links(
            ("next" = (operation_id = "listCards", parameters(("tenant" = "$request.path.tenant"), ("cursor" = "$response.body#/next_cursor")))),
        )),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn list(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    match try_list(&vault, &asking, &tenant, query.as_deref()).await {
        Ok(page) => Ok(page),
        Err(error) => {
            let object = TenantId::parse(&tenant)
                .map_or(Object::Operation("GET /v1/tenants/{tenant}/cards"), Object::Tenant);
            Err(Refused::new(&vault, &asking, Event::PanList, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_list(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    query: Option<&str>,
) -> Result<Response, OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let permit = permit(vault, asking, &tenant).await?;
    let parameters = query::parse(query, NAMES).map_err(OperationError::Request)?;
    let wanted = wanted(&parameters, &tenant).map_err(OperationError::Request)?;
    let filter = wanted.filter;
    let page = vault.list_cards(asking, permit, wanted).await?;
    let body = CardPageBody {
        cards: page.cards.iter().map(CardFactsBody::from).collect(),
        next_cursor: page.next.map(|next| cursor::write(&next, &tenant, &filter)),
    };
    Ok(Json(body).into_response())
}

/// Grant first: who may not read learns nothing of what is there.
pub(super) async fn permit(
    vault: &Vault,
    asking: &Asking,
    tenant: &TenantId,
) -> Result<Permit<ReadCards>, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadCards>(&asking.caller.workload)?;
    let facts = vault.tenant_facts(tenant).await?;
    let subject = TenantCards { tenant: tenant.clone(), environment: vault.environment };
    Ok(authorizer.decide(&asking.caller.workload, subject, &facts)?)
}

/// Parameter by parameter; each refusal names its own and holds nothing of it.
fn wanted(parameters: &Parameters, tenant: &TenantId) -> Result<Wanted, Problem> {
    let filter = CardFilter {
        last4: read(parameters, "/last4", "last4 is not four digits", |text| {
            Digits::parse(text).filter(|_| text.len() == 4)
        })?,
        brand: read(parameters, "/brand", "brand is not one this service knows", |text| {
            Some(Brand::from_name(text)).filter(|brand| *brand != Brand::Unknown)
        })?,
        expiring_before: read(
            parameters,
            "/expiring_before",
            "expiring_before is not YYYY-MM of 2000 to 2099",
            month,
        )?,
        created_after: time(parameters, "/created_after")?,
        created_before: time(parameters, "/created_before")?,
    };
    let limit = read(parameters, "/limit", "limit is not a number from 1 to 100", |text| {
        let number = text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?;
        number.filter(|limit| (1..=PAGE_CARDS_MAX).contains(limit))
    })?;
    let after = read(parameters, "/cursor", "the cursor is not one of this list", |text| {
        cursor::read(text, tenant, &filter)
    })?;
    Ok(Wanted { filter, after, limit: limit.unwrap_or(LIMIT_DEFAULT) })
}

fn read<T>(
    parameters: &Parameters,
    pointer: &'static str,
    detail: &'static str,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>, Problem> {
    let Some(text) = parameters.get(&pointer[1..]) else { return Ok(None) };
    let invalid = || Problem::because(ProblemKind::InvalidRequest, detail).at(pointer);
    parse(text).map(Some).ok_or_else(invalid)
}

fn time(parameters: &Parameters, pointer: &'static str) -> Result<Option<Timestamp>, Problem> {
    read(
        parameters,
        pointer,
        "not an RFC 3339 date-time; a `+` in it must be written %2B",
        Timestamp::parse_rfc3339,
    )
}

/// `YYYY-MM`.
fn month(text: &str) -> Option<Expiry> {
    let (year, month) = text.split_once('-').filter(|(year, month)| (year.len(), month.len()) == (4, 2))?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(year) || !digits(month) {
        return None;
    }
    Expiry::new(month.parse().ok()?, year.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_brand_can_be_asked_for() {
        let schema = serde_json::to_value(<BrandName as utoipa::PartialSchema>::schema()).unwrap();
        let names: Vec<&str> =
            schema["enum"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(names.len(), 11);
        for name in names {
            assert_eq!(Brand::from_name(name).as_str(), name);
        }
    }

    #[test]
    fn months_are_four_digits_a_dash_and_two() {
        assert_eq!(month("2027-01"), Expiry::new(1, 2027).ok());
        for wrong in [
            "", "2027", "2027-1", "2027-13", "2027-00", "1999-12", "2100-01", "+027-01", "2027-+1", "27-0001",
        ] {
            assert_eq!(month(wrong), None, "{wrong}");
        }
    }
}
