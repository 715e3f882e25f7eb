//! `GET /console`: the log at a glance: traffic, refusals, findings, head, and how old keys are. `GET /console/live`: the same
//! without the keys, for the page's script.
//!
//! A look costs two page reads of the index of 20 entries, 10,000 index rows counted and four rows read, once every two seconds however
//! many look; and, once a minute, the inventory of keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;
use maud::{Markup, html};
use strongroom_domain::Timestamp;
use strongroom_perimeter::Caller;

use super::cells::{duration, moment, number};
use super::entries::{self, Shown};
use super::page::{self, Frame, Tab};
use crate::audit::{Event, Object, Outcome};
use crate::authz::{ReadAudit, ReadEvidence};
use crate::http::problem::{Denial, Refused};
use crate::operation::console::{KeyAges, Overview};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::find::ACTIVITY_PLACES_MAX;

/// Minutes of the picture.
const MINUTES: i64 = 60;
const ROWS: Shown = Shown { proofs: true, written: false };

/// The page.
pub(super) async fn show(
    State(vault): State<Arc<Vault>>,
    caller: Caller,
    asking: Asking,
) -> Result<Response, Refused> {
    let looked = async {
        let overview = look(&vault, &asking).await?;
        Ok::<_, OperationError>((overview, keys(&vault, &asking).await?))
    };
    let (overview, keys) = match looked.await {
        Ok(looked) => looked,
        Err(error) => return Err(refused(&vault, &asking, "GET /console", error).await),
    };
    let body = html! {
        div #live-control { a href=(super::ROOT) { "Refresh" } }
        (live_part(&overview))
        @if let Some(keys) = keys { (key_part(&keys, overview.as_of)) }
        (page::script())
    };
    Ok(Frame::new(&vault, &caller).page(Some(Tab::Overview), "Overview", &body))
}

/// What the script puts in the place of what it had.
pub(super) async fn live(State(vault): State<Arc<Vault>>, asking: Asking) -> Result<Response, Refused> {
    match look(&vault, &asking).await {
        Ok(overview) => Ok(page::bare("Overview", &live_part(&overview))),
        Err(error) => Err(refused(&vault, &asking, "GET /console/live", error).await),
    }
}

async fn look(vault: &Vault, asking: &Asking) -> Result<Arc<Overview>, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadAudit>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ReadAudit>(&asking.caller.workload, (), &())?;
    vault.overview(asking, permit).await
}

/// None for whoever has the log's grant and not the evidence's.
async fn keys(vault: &Vault, asking: &Asking) -> Result<Option<Arc<KeyAges>>, OperationError> {
    let authorizer = vault.authorizer.load_full();
    if authorizer.admit::<ReadEvidence>(&asking.caller.workload).is_err() {
        return Ok(None);
    }
    let permit = authorizer.decide::<ReadEvidence>(&asking.caller.workload, (), &())?;
    vault.key_ages(asking, permit).await.map(Some)
}

async fn refused(vault: &Vault, asking: &Asking, call: &'static str, error: OperationError) -> Refused {
    let object = Object::Operation(call);
    Refused::new(vault, asking, Event::AuditRead, object, Denial::Forbidden, error).await
}

fn live_part(overview: &Overview) -> Markup {
    html! {
        div #live {
            (figures(overview))
            (behind(overview))
            section {
                h2 { "Entries a minute" }
                (picture(overview))
            }
            section {
                h2 { "Findings" }
                @if overview.findings.is_empty() { p { "No rule has found anything." } }
                @else { (entries::table("The newest findings of the rules", &overview.findings, ROWS)) }
                p.more { a href="/console/search?verb=anomaly.found" { "All findings" } }
            }
            section {
                h2 { "Refusals" }
                @if overview.refusals.is_empty() { p { "Nobody was refused anything." } }
                @else { (entries::table("The newest refusals", &overview.refusals, ROWS)) }
                p.more { a href="/console/search?outcome=denied" { "All refusals" } }
            }
            p.soft { "As of " (moment(overview.as_of)) "." }
        }
    }
}

fn figures(overview: &Overview) -> Markup {
    let of = |verb: Option<Event>, outcome: Outcome| {
        let fits = |row: &&crate::store::find::ActivityRow| {
            verb.is_none_or(|verb| row.verb == verb.as_str()) && row.outcome == outcome.as_str()
        };
        overview.activity.iter().filter(fits).map(|row| row.entries).sum::<u64>()
    };
    let all: u64 = overview.activity.iter().map(|row| row.entries).sum();
    let since = overview.activity.iter().map(|row| row.minute).min();
    let denied = of(None, Outcome::Denied);
    let share = if all == 0 { 0.0 } else { denied as f64 * 100.0 / all as f64 };
    html! {
        dl.figures {
            div {
                dt { "Cards released to PSPs" }
                dd { (number(of(Some(Event::PanForward), Outcome::Success))) small { "of " (counted(all, since)) } }
            }
            div { dt { "Cards tokenized" } dd { (number(of(Some(Event::PanTokenize), Outcome::Success))) small { "of the same entries" } } }
            div { dt { "Refusals" } dd { (number(denied)) small { (format!("{share:.1} %")) " of the same entries" } } }
            div { dt { "Failures" } dd { (number(of(None, Outcome::Failure))) small { "allowed, and did not work" } } }
            div {
                dt { "Log" }
                dd {
                    (number(overview.size))
                    small {
                        "entries; signed " @match &overview.checkpoint {
                            Some((checkpoint, at)) => { "up to " (number(checkpoint.size)) " at " (moment(*at)) },
                            None => "never yet",
                        }
                    }
                }
            }
        }
        @if let Some((checkpoint, _)) = &overview.checkpoint {
            p.soft { "Root of the newest checkpoint: " code { (hex::encode(checkpoint.root.as_bytes())) } }
        }
    }
}

fn counted(all: u64, since: Option<Timestamp>) -> Markup {
    html! {
        "the newest " (number(all)) " entries"
        @if let Some(since) = since { ", since " (moment(since)) }
    }
}

/// What is not up to date, if anything.
fn behind(overview: &Overview) -> Markup {
    let unsigned = overview
        .checkpoint
        .as_ref()
        .map_or(overview.size, |(signed, _)| overview.size.saturating_sub(signed.size));
    let unfound = overview.size.saturating_sub(overview.indexed);
    let unwatched = overview.size.saturating_sub(overview.watched);
    let age = overview.checkpoint.as_ref().map(|(_, at)| overview.as_of.since(*at).as_secs());
    html! {
        @if unsigned > 0 && age.is_none_or(|age| age > 10) {
            p.note.alarm { strong { (number(unsigned)) " entries are not signed" } ", and the newest checkpoint is " (duration(age.unwrap_or_default())) " old." }
        }
        @if unfound > 5_000 { p.note { (number(unfound)) " entries cannot be found yet: the index is behind." } }
        @if unwatched > 5_000 { p.note { (number(unwatched)) " entries were not looked at by the rules yet." } }
    }
}

/// Bars of the last hour of the counted entries.
fn picture(overview: &Overview) -> Markup {
    const WIDTH: f64 = 20.0;
    const HEIGHT: f64 = 80.0;
    let mut minutes: BTreeMap<i64, (u64, u64)> = BTreeMap::new();
    let last = overview.as_of.unix_seconds().div_euclid(60);
    for row in &overview.activity {
        let minute = row.minute.unix_seconds().div_euclid(60);
        if (last - MINUTES < minute) && minute <= last {
            let (all, no) = minutes.entry(minute).or_default();
            *all = all.saturating_add(row.entries);
            *no = no.saturating_add(if row.outcome == Outcome::Success.as_str() { 0 } else { row.entries });
        }
    }
    let most = minutes.values().map(|(all, _)| *all).max().unwrap_or(0).max(1);
    let tall = |count: u64| HEIGHT * count as f64 / most as f64;
    let width = WIDTH * MINUTES as f64;
    let label = format!("Entries of each of the last {MINUTES} minutes; at most {most} in one");
    html! {
        svg xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {width:.0} {:.0}", HEIGHT + 32.0)) role="img" aria-label=(label) {
            line.axis x1="0" y1=(HEIGHT + 12.0) x2=(width) y2=(HEIGHT + 12.0) {}
            text x="0" y="9" { (number(most)) " in a minute" }
            @for (minute, (all, no)) in &minutes {
                @let x = WIDTH * (minute - (last - MINUTES) - 1) as f64 + 1.0;
                rect.all x=(px(x)) y=(px(HEIGHT + 12.0 - tall(*all))) width=(px(WIDTH - 2.0)) height=(px(tall(*all))) {
                    title { (moment_text(*minute)) ": " (all) " entries, " (no) " of them refused or failed" }
                }
                rect.no x=(px(x)) y=(px(HEIGHT + 12.0 - tall(*no))) width=(px(WIDTH - 2.0)) height=(px(tall(*no))) {}
            }
            text x="0" y=(HEIGHT + 28.0) { (moment_text(last - MINUTES + 1)) }
            text x=(width) y=(HEIGHT + 28.0) text-anchor="end" { (moment_text(last)) }
        }
        p.key { span { "entries" } span.no { "of them refused or failed" } }
        @if overview.activity.iter().map(|row| row.entries).sum::<u64>() >= ACTIVITY_PLACES_MAX {
            p.soft { "The newest " (number(ACTIVITY_PLACES_MAX)) " entries are counted; what came before them is not in the picture." }
        }
    }
}

fn px(number: f64) -> String {
    format!("{number:.1}")
}

fn moment_text(minute: i64) -> String {
    let text = Timestamp::from_unix_seconds(minute.saturating_mul(60)).to_string();
    text.get(11..16).unwrap_or_default().to_owned()
}

fn key_part(keys: &KeyAges, now: Timestamp) -> Markup {
    let overdue: u64 = keys.groups.values().map(|group| group.overdue).sum();
    html! {
        section {
            h2 { "Data keys" }
            @if overdue > 0 { p.note.alarm { strong { (number(overdue)) " keys are past their period" } " and still counted as active: the next card makes a new one." } }
            div.pair {
                (groups(keys, now))
                (ending(keys, now))
            }
            @if keys.is_cut { p.soft { "The first " (number(keys.counted)) " keys are counted; evidence counts all." } }
        }
    }
}

fn groups(keys: &KeyAges, now: Timestamp) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Keys by purpose" {
            table {
                caption { "By what they are for" }
                thead { tr { th scope="col" { "Purpose" } th.n scope="col" { "Sealing" } th.n scope="col" { "Only opening or gone" } th scope="col" { "Oldest that seals" } } }
                tbody {
                    @for (purpose, group) in &keys.groups {
                        tr {
                            th scope="row" { (purpose) }
                            td.n { (number(group.active)) }
                            td.n { (number(group.others)) }
                            td { @if let Some(oldest) = group.oldest { (duration(now.since(oldest).as_secs())) " old" } @else { "none" } }
                        }
                    }
                }
            }
        }
    }
}

fn ending(keys: &KeyAges, now: Timestamp) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Keys whose periods end first" {
            table {
                caption { "Whose periods end first" }
                thead { tr { th scope="col" { "Key" } th scope="col" { "Of" } th scope="col" { "Made" } th scope="col" { "Seals until" } } }
                tbody {
                    @for key in &keys.ending {
                        tr {
                            td { code { (key.id) } }
                            td { (key.scope) ", " (key.purpose) }
                            td.when { (moment(key.created_at)) }
                            td.when {
                                (moment(key.seals_until)) " "
                                @if key.seals_until <= now { span.tag.bad { "✕ past" } }
                                @else { span.reason { "in " (duration(key.seals_until.since(now).as_secs())) } }
                            }
                        }
                    }
                }
            }
        }
    }
}
