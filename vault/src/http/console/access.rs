//! `GET /console/access`: who may do what to whose cards, and where they can go, by the bundle in force.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use maud::{Markup, html};
use strongroom_perimeter::Caller;

use super::cells::{number, search};
use super::form;
use super::page::{Frame, Tab};
use crate::audit::{Event, Object};
use crate::authz::{AccessReview, AccessRow, ReadEvidence};
use crate::http::problem::{Denial, Refused};
use crate::http::query::Parameters;
use crate::operation::{Asking, OperationError, Vault};

const ASKED: &[&str] = &["/workload", "/action"];
/// Grants a page shows; by workload or action all of them can be seen, and the evidence has a file of them.
const ROWS_SHOWN: usize = 300;

/// The matrix.
pub(super) async fn show(
    State(vault): State<Arc<Vault>>,
    caller: Caller,
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    match look(&vault, &asking, query.as_deref()).await {
        Ok((asked, review)) => {
            let body = html! {
                p.lead {
                    "Each row is an answer of the policies in force; everything that is not here is denied. Bundle version "
                    (review.bundle_version) ", SHA-256 " code { (review.bundle_sha256) } "."
                }
                (ask(&asked, &review))
                (shown(&asked, &review))
            };
            Ok(Frame::new(&vault, &caller).page(Some(Tab::Access), "Who may do what", &body))
        }
        Err(error) => {
            let object = Object::Operation("GET /console/access");
            Err(Refused::new(&vault, &asking, Event::EvidenceRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn look(
    vault: &Vault,
    asking: &Asking,
    query: Option<&str>,
) -> Result<(Parameters, Arc<AccessReview>), OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadEvidence>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ReadEvidence>(&asking.caller.workload, (), &())?;
    let asked = form::of_query(query, ASKED).map_err(OperationError::Request)?;
    Ok((asked, vault.access_review(asking, permit).await?))
}

/// Only what the review has can be chosen, so nothing of the address is shown.
fn ask(asked: &Parameters, review: &AccessReview) -> Markup {
    let workloads: BTreeSet<&str> = review.rows.iter().map(|row| row.workload.as_str()).collect();
    let actions: BTreeSet<&str> = review.rows.iter().map(|row| row.action.as_str()).collect();
    let is = |name: &str, value: &str| asked.get(name).is_some_and(|chosen| chosen == value);
    html! {
        section {
            form.ask method="get" action="/console/access" {
                div.wide {
                    label for="workload" { "Workload" }
                    select #workload name="workload" {
                        option value="" { "all" }
                        @for workload in workloads { option value=(workload) selected[is("workload", workload)] { (workload) } }
                    }
                }
                div {
                    label for="action" { "Action" }
                    select #action name="action" {
                        option value="" { "all" }
                        @for action in actions { option value=(action) selected[is("action", action)] { (action) } }
                    }
                }
                div { button type="submit" { "Show" } }
            }
        }
    }
}

fn shown(asked: &Parameters, review: &AccessReview) -> Markup {
    let fits = |name: &str, value: &str| asked.get(name).is_none_or(|wanted| wanted == value);
    let rows: Vec<&AccessRow> = review
        .rows
        .iter()
        .filter(|row| fits("workload", row.workload.as_str()) && fits("action", row.action.as_str()))
        .collect();
    html! {
        section {
            @if rows.is_empty() { p { "No grant fits." } } @else { (table(&rows)) }
            @if rows.len() > ROWS_SHOWN {
                p.note { "The first " (ROWS_SHOWN) " of " (number(rows.len() as u64)) " grants: choose a workload or an action to see the others." }
            }
        }
    }
}

fn table(rows: &[&AccessRow]) -> Markup {
    let caption = format!("{} grants", number(rows.len() as u64));
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead {
                    tr {
                        th scope="col" { "Who" } th scope="col" { "As" } th scope="col" { "May" } th scope="col" { "Tenants" }
                        th scope="col" { "Where to, and what of a card" } th scope="col" { "By policy" }
                    }
                }
                tbody { @for row in rows.iter().take(ROWS_SHOWN) { (line(row)) } }
            }
        }
    }
}

fn line(row: &AccessRow) -> Markup {
    html! {
        tr {
            th scope="row" {
                (search("workload", row.workload.as_str()))
                @if let Some(person) = &row.person { br; span.reason { "held by " (person.as_str()) } }
            }
            td { @for (place, role) in row.roles.iter().enumerate() { @if place > 0 { ", " } (role) } }
            td { strong { (row.action) } }
            td { @if row.tenants.is_empty() { span.reason { "of no tenant" } } @else { (row.tenants.join(", ")) } }
            td {
                @if let (Some(account), Some(host)) = (&row.account, &row.host) {
                    code { (account) } " at " code { (host) }
                    @if let Some(caller) = &row.caller { br; span.reason { "for " code { (caller) } } }
                    details {
                        summary { (row.calls.len()) " calls" }
                        ul { @for call in &row.calls { li { code { (call) } } } }
                    }
                }
            }
            td { @for (place, policy) in row.policies.iter().enumerate() { @if place > 0 { ", " } code { (policy) } } }
        }
    }
}
