//! `GET /console/search`: entries of the log, found by what they name. `POST`: the same by a token or an alias, which is in no
//! address and so in no history, log or referrer; what it leads to, its reference, is.

use std::sync::Arc;

use axum::extract::rejection::BytesRejection;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use bytes::Bytes;
use http::HeaderMap;
use maud::{Markup, html};
use strongroom_domain::{Problem, ProblemKind, TenantId, TokenRef};
use strongroom_perimeter::Caller;

use super::cells::number;
use super::entries::{self, Shown};
use super::form;
use super::page::{Frame, Tab};
use crate::audit::{Event, Object};
use crate::authz::{ReadAudit, ReadTenantAudit, TenantScope};
use crate::http::problem::{Denial, Refused};
use crate::http::query::Parameters;
use crate::http::routes::find::wanted::{self, entry_cursor};
use crate::operation::find::FoundEntries;
use crate::operation::{Asking, OperationError, Vault};

/// What an address may say. A card is there by the reference of its token.
const ASKED: &[&str] =
    &["/card", "/tenant", "/workload", "/route", "/verb", "/outcome", "/from", "/until", "/order", "/cursor"];
/// What a form that is sent may say.
const SENT: &[&str] =
    &["/token", "/tenant", "/workload", "/route", "/verb", "/outcome", "/from", "/until", "/order"];
/// Entries of a page.
const SHOWN: &str = "50";

/// What was found, and how it may be shown.
struct Results {
    found: FoundEntries,
    card: Option<TokenRef>,
    proofs: bool,
}

/// By what stands in the address.
pub(super) async fn show(
    State(vault): State<Arc<Vault>>,
    caller: Caller,
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    let asked = form::of_query(query.as_deref(), ASKED);
    answer(&vault, &caller, &asking, "GET /console/search", asked).await
}

/// By a token or an alias.
pub(super) async fn by_token(
    State(vault): State<Arc<Vault>>,
    caller: Caller,
    asking: Asking,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let asked = form::of_body(&headers, body, SENT);
    match &asked {
        // Nothing in it that must not be in an address: there it can be kept, and sent to a colleague.
        Ok(asked) if !asked.contains_key("token") && may_search(&vault, &asking) => {
            let same = asked.iter().map(|(name, value)| (*name, value.as_str()));
            Ok(Redirect::to(&form::link("/console/search", same)).into_response())
        }
        _ => answer(&vault, &caller, &asking, "POST /console/search", asked).await,
    }
}

fn may_search(vault: &Vault, asking: &Asking) -> bool {
    let (authorizer, caller) = (vault.authorizer.load(), &asking.caller.workload);
    authorizer.admit::<ReadAudit>(caller).is_ok() || authorizer.admit::<ReadTenantAudit>(caller).is_ok()
}

async fn answer(
    vault: &Vault,
    caller: &Caller,
    asking: &Asking,
    call: &'static str,
    asked: Result<Parameters, Problem>,
) -> Result<Response, Refused> {
    let tenant = asked.as_ref().ok().and_then(|asked| TenantId::parse(asked.get("tenant")?).ok());
    match search(vault, asking, asked).await {
        Ok((asked, results)) => {
            let body = html! {
                (ask(&asked, results.as_ref()))
                @match &results {
                    Some(results) => (shown(&asked, results)),
                    None => p.note { "You read what the log says of single tenants: say of which." },
                }
            };
            Ok(Frame::new(vault, caller).page(Some(Tab::Search), "Search the audit log", &body))
        }
        Err(error) => {
            let object = tenant.map_or(Object::Operation(call), Object::Tenant);
            Err(Refused::new(vault, asking, Event::AuditRead, object, Denial::Forbidden, error).await)
        }
    }
}

/// Whoever reads the whole log does; whoever reads that of single tenants says of which, else there is only the form.
async fn search(
    vault: &Vault,
    asking: &Asking,
    asked: Result<Parameters, Problem>,
) -> Result<(Parameters, Option<Results>), OperationError> {
    let authorizer = vault.authorizer.load_full();
    let caller = &asking.caller.workload;
    if authorizer.admit::<ReadAudit>(caller).is_ok() {
        let permit = authorizer.decide::<ReadAudit>(caller, (), &())?;
        let asked = asked.map_err(OperationError::Request)?;
        let (filter, range) = wanted::entries(vault, &as_the_api_asks(&asked)?, None).await?;
        let found = vault.find_entries(asking, permit, &filter, range).await?;
        return Ok((asked, Some(Results { found, card: filter.token, proofs: true })));
    }
    authorizer.admit::<ReadTenantAudit>(caller)?;
    let asked = asked.map_err(OperationError::Request)?;
    let Some(tenant) = asked.get("tenant") else { return Ok((asked, None)) };
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let facts = vault.tenant_facts(&tenant).await?;
    let scope = TenantScope { tenant: tenant.clone() };
    let permit = authorizer.decide::<ReadTenantAudit>(caller, scope, &facts)?;
    let (filter, range) = wanted::entries(vault, &as_the_api_asks(&asked)?, Some(&tenant)).await?;
    let card = filter.token.clone();
    let found = vault.find_entries_of(asking, permit, filter, range).await?;
    Ok((asked, Some(Results { found, card, proofs: false })))
}

/// The API takes a token in its address; here a reference may stand there and nothing else of a card.
fn as_the_api_asks(asked: &Parameters) -> Result<Parameters, OperationError> {
    let mut parameters = asked.clone();
    if let Some(card) = parameters.remove("card") {
        let invalid = Problem::because(
            ProblemKind::InvalidRequest,
            "not the reference of a card; a token is asked for by the form, never by an address",
        );
        TokenRef::parse(&card).ok_or(OperationError::Request(invalid.at("/card")))?;
        parameters.insert("token", card);
    }
    parameters.insert("limit", SHOWN.to_owned());
    Ok(parameters)
}

fn ask(asked: &Parameters, results: Option<&Results>) -> Markup {
    let value = |name: &str| asked.get(name).map(String::as_str);
    let time = |name: &str| asked.get(name).map(|text| form::for_field(text));
    let card = results.and_then(|results| results.card.as_ref());
    let is_narrow = results.is_none_or(|results| !results.proofs);
    html! {
        section {
            form.ask method="post" action="/console/search" autocomplete="off" {
                div.wide {
                    label for="token" { "Token or alias " small { "is sent, never in an address" } }
                    input #token name="token" type="text" spellcheck="false" autocapitalize="none" placeholder=[card.map(|_| "another card")];
                }
                div.wide { label for="workload" { "Workload " small { "by it, or on its word" } } input #workload name="workload" value=[value("workload")] spellcheck="false" placeholder="spiffe://…"; }
                div {
                    label for="tenant" { "Tenant" }
                    input #tenant name="tenant" value=[value("tenant")] required[is_narrow] spellcheck="false";
                }
                div { label for="route" { "Route" } input #route name="route" value=[value("route")] spellcheck="false"; }
                div {
                    label for="verb" { "Event" }
                    select #verb name="verb" {
                        option value="" { "any" }
                        @for event in Event::ALL { option value=(event.as_str()) selected[value("verb") == Some(event.as_str())] { (event.as_str()) } }
                    }
                }
                (choice("outcome", "Outcome", value("outcome"), &[("", "any"), ("success", "success"), ("denied", "denied"), ("failure", "failure")]))
                div { label for="from" { "From " small { "UTC" } } input #from name="from" type="datetime-local" step="1" value=[time("from")]; }
                div { label for="until" { "Until " small { "UTC" } } input #until name="until" type="datetime-local" step="1" value=[time("until")]; }
                (choice("order", "Order", value("order"), &[("newest", "newest first"), ("oldest", "oldest first")]))
                div { button type="submit" { "Search" } }
            }
        }
    }
}

fn choice(name: &str, label: &str, chosen: Option<&str>, options: &[(&str, &str)]) -> Markup {
    html! {
        div {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                @for (value, text) in options { option value=(value) selected[chosen == Some(*value)] { (text) } }
            }
        }
    }
}

fn shown(asked: &Parameters, results: &Results) -> Markup {
    let found = &results.found;
    let first = page_of(asked, results, None);
    html! {
        section {
            @if let Some(card) = &results.card { p { "Of the card " code { (card.as_str()) } "." } }
            @if found.entries.is_empty() {
                p { @if found.next.is_some() { "None among the entries looked at for this page; more follow." } @else { "Nothing fits." } }
            } @else {
                (entries::table("Entries that fit everything said", &found.entries, Shown { proofs: results.proofs, written: true }))
            }
            p.more {
                @if asked.contains_key("cursor") { a href=(first) { "First page" } }
                @if let Some(next) = found.next { a rel="next" href=(page_of(asked, results, Some(next))) { "Next page" } }
            }
            p.soft { "Of " (number(found.indexed)) " entries that can be found; the last seconds are not among them. Each is held against the signed tree." }
        }
    }
}

/// The same question by the card's reference, from a place on.
fn page_of(asked: &Parameters, results: &Results, after: Option<u64>) -> String {
    let cursor = after.map(entry_cursor);
    let same = asked.iter().filter(|(name, _)| !matches!(**name, "token" | "card" | "cursor"));
    let same = same.map(|(name, value)| (*name, value.as_str()));
    let card = results.card.as_ref().map(|card| ("card", card.as_str()));
    let cursor = cursor.as_deref().map(|cursor| ("cursor", cursor));
    form::link("/console/search", same.chain(card).chain(cursor))
}
