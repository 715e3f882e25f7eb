//! `GET /console/blast-radius`: which cards' data a workload had released, and where to.

use std::sync::Arc;

use axum::extract::{RawQuery, State};
use axum::response::Response;
use maud::{Markup, html};
use strongroom_perimeter::Caller;

use super::cells::{card, moment, number, search};
use super::form;
use super::page::{Frame, Tab};
use crate::audit::{Event, Object, ReceiptId};
use crate::authz::ReadAudit;
use crate::http::problem::{Denial, Refused};
use crate::http::query::Parameters;
use crate::http::routes::find::wanted::{self, use_cursor};
use crate::operation::find::{Reached, ReachedCard, Use};
use crate::operation::{Asking, OperationError, Vault};

const ASKED: &[&str] = &["/workload", "/certificate_sha256", "/from", "/until", "/cursor"];

/// The form, and what it found if it says whose reach.
pub(super) async fn show(
    State(vault): State<Arc<Vault>>,
    caller: Caller,
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    match look(&vault, &asking, query.as_deref()).await {
        Ok((asked, reached)) => {
            let body = html! {
                p.lead { "Every release of card data for a workload, or to a proxy, card by card: what a stolen identity reached." }
                (ask(&asked))
                @if let Some(reached) = reached { (shown(&asked, &reached)) }
            };
            Ok(Frame::new(&vault, &caller).page(Some(Tab::Reach), "Blast radius", &body))
        }
        Err(error) => {
            let object = Object::Operation("GET /console/blast-radius");
            Err(Refused::new(&vault, &asking, Event::AuditRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn look(
    vault: &Vault,
    asking: &Asking,
    query: Option<&str>,
) -> Result<(Parameters, Option<Reached>), OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadAudit>(&asking.caller.workload)?;
    let asked = form::of_query(query, ASKED).map_err(OperationError::Request)?;
    if asked.is_empty() {
        return Ok((asked, None));
    }
    let permit = authorizer.decide::<ReadAudit>(&asking.caller.workload, (), &())?;
    let (reach, after, limit) = wanted::reach(&asked).map_err(OperationError::Request)?;
    let reached = vault.reach(asking, permit, &reach, after, limit).await?;
    Ok((asked, Some(reached)))
}

fn ask(asked: &Parameters) -> Markup {
    let value = |name: &str| asked.get(name).map(String::as_str);
    let time = |name: &str| asked.get(name).map(|text| form::for_field(text));
    html! {
        section {
            form.ask method="get" action="/console/blast-radius" autocomplete="off" {
                div.wide { label for="workload" { "Workload" } input #workload name="workload" value=[value("workload")] required spellcheck="false" placeholder="spiffe://…"; }
                div.wide { label for="certificate_sha256" { "Certificate " small { "SHA-256, if only one is meant" } } input #certificate_sha256 name="certificate_sha256" value=[value("certificate_sha256")] spellcheck="false"; }
                div { label for="from" { "From " small { "UTC" } } input #from name="from" type="datetime-local" step="1" value=[time("from")]; }
                div { label for="until" { "Until " small { "UTC" } } input #until name="until" type="datetime-local" step="1" value=[time("until")]; }
                div { button type="submit" { "Show" } }
            }
        }
    }
}

fn shown(asked: &Parameters, reached: &Reached) -> Markup {
    let releases: usize = reached.cards.iter().map(|card| card.uses.len()).sum();
    let same = || {
        let same = asked.iter().filter(|(name, _)| **name != "cursor");
        same.map(|(name, value)| (*name, value.as_str()))
    };
    let next = reached.next.map(use_cursor);
    html! {
        section {
            @if reached.cards.is_empty() {
                p { @if next.is_some() { "None among the releases looked at for this page; more follow." } @else { "No card data was released to it." } }
            } @else {
                (table(&reached.cards, releases))
            }
            p.more {
                @if asked.contains_key("cursor") { a href=(form::link("/console/blast-radius", same())) { "First page" } }
                @if let Some(next) = &next { a rel="next" href=(form::link("/console/blast-radius", same().chain([("cursor", next.as_str())]))) { "Next page" } }
            }
            p.soft { "Of " (number(reached.indexed)) " entries that can be found. The cards named here are named by the entry of this look." }
        }
    }
}

fn table(cards: &[ReachedCard], releases: usize) -> Markup {
    let caption = format!("{} cards, {releases} releases on this page", cards.len());
    html! {
        div.scroll tabindex="0" role="region" aria-label=(caption) {
            table {
                caption { (caption) }
                thead {
                    tr {
                        th scope="col" { "Card" } th scope="col" { "Tenant" } th scope="col" { "Released at" } th scope="col" { "For" }
                        th scope="col" { "To" } th scope="col" { "Of the card" } th.n scope="col" { "Entry" }
                    }
                }
                tbody { @for card in cards { @for (place, one) in card.uses.iter().enumerate() { (row(card, one, place == 0)) } } }
            }
        }
    }
}

fn row(reached: &ReachedCard, one: &Use, is_first: bool) -> Markup {
    let facts = reached.facts.as_ref();
    let proof = ReceiptId::of(one.logged.id);
    let dst = one.seen.as_ref().and_then(|seen| seen.dst.as_ref());
    html! {
        tr {
            th scope="row" {
                @if is_first {
                    @if let Some(token) = &reached.token { (card(token.as_str())) } @else { "unknown" }
                    @if let Some(facts) = facts {
                        br; span.reason { (reached.brand().map_or("", |brand| brand.as_str())) " " (facts.facts.bin.as_str()) "…" (facts.facts.last4.as_str()) }
                    }
                } @else { span.reason { "the same" } }
            }
            td { @if let Some(facts) = facts { (search("tenant", facts.tenant.as_str())) } }
            @match &one.seen {
                None => td colspan="4" { strong.bad { "✕ Not the entry of the tree: changed or removed in the database." } },
                Some(seen) => {
                    td.when { (moment(seen.ts)) }
                    td { (search("workload", &seen.actor.id)) @if let Some(proxy) = &seen.asserted_by { br; span.reason { "by the word of " code { (proxy) } } } }
                    td {
                        @match dst {
                            Some(dst) => { (search("route", &dst.route_id)) "/" (dst.account) br; span.reason { (dst.host) } },
                            None => "the recipient of an export",
                        }
                        @if let (Some(id), Some(facts)) = (dst.and_then(|dst| dst.forward_id.as_deref()), facts) {
                            br; a href=(form::forward(facts.tenant.as_str(), id)) { "explain this forward" }
                        }
                    }
                    td { @if let Some(dst) = dst { (dst.attributes.join(", ")) } }
                },
            }
            td.n { a href={ "/console/receipts/" (proof) } { span.mono { (one.place) } } }
        }
    }
}
