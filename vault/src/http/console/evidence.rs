//! `GET /console/evidence`: the form for an evidence bundle, and the bundles that were made. `POST /console/evidence/bundle`: makes one.

use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::Response;
use bytes::Bytes;
use http::header::CONTENT_DISPOSITION;
use http::{HeaderMap, HeaderValue};
use maud::{Markup, html};
use strongroom_domain::{Problem, Timestamp};
use strongroom_perimeter::Caller;

use super::entries::{self, Shown};
use super::form;
use super::page::{Frame, Tab};
use crate::audit::{Event, Object};
use crate::authz::{Permit, ReadAudit, ReadEvidence};
use crate::evidence::{Period, Wanted};
use crate::http::problem::{Denial, Refused};
use crate::http::query::Parameters;
use crate::http::routes::evidence::{answer, wanted};
use crate::operation::find::FoundEntries;
use crate::operation::{Asking, OperationError, Vault};
use crate::store::find::{EntryFilter, EntryRange};

const SENT: &[&str] = &["/from", "/to", "/sample"];
/// Bundles that were made, of which the page tells.
const MADE_SHOWN: u32 = 10;
const DAYS_90: std::time::Duration = std::time::Duration::from_secs(90 * 86_400);

/// The form.
pub(super) async fn show(
    State(vault): State<Arc<Vault>>,
    caller: Caller,
    asking: Asking,
) -> Result<Response, Refused> {
    match look(&vault, &asking).await {
        Ok(made) => {
            let body = html! {
                p.lead {
                    "What an assessor files for PCI DSS 4.0.1: pages, CSV and JSON of the signed log, samples the checkpoint picks with their proofs, OSCAL and \
                     CycloneDX, under a manifest the log's key signs. Making it reads the whole log: one at a time, and it may take minutes."
                }
                (ask(asking.at))
                @if let Some(made) = made { (told(&made)) }
            };
            Ok(Frame::new(&vault, &caller).page(Some(Tab::Evidence), "Evidence", &body))
        }
        Err(error) => Err(refused(&vault, &asking, "GET /console/evidence", error).await),
    }
}

/// Makes a bundle, to be saved as a file.
pub(super) async fn make(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let asked = form::of_body(&headers, body, SENT);
    let (permit, wanted) = match admitted(&vault, &asking, asked) {
        Ok(admitted) => admitted,
        Err(error) => return Err(refused(&vault, &asking, "POST /console/evidence/bundle", error).await),
    };
    match vault.make_evidence(&asking, permit, wanted, None).await {
        Ok(made) => Ok(as_file(answer(made), wanted.period)),
        // A making that came to nothing has its entry.
        Err(error) => Err(Refused::telling(&error, Denial::Forbidden, Some(asking.request.id))),
    }
}

async fn refused(vault: &Vault, asking: &Asking, call: &'static str, error: OperationError) -> Refused {
    let object = Object::Operation(call);
    Refused::new(vault, asking, Event::EvidenceMake, object, Denial::Forbidden, error).await
}

/// The bundles that were made stand on the log; whoever may not read that sees the form alone.
async fn look(vault: &Vault, asking: &Asking) -> Result<Option<FoundEntries>, OperationError> {
    let authorizer = vault.authorizer.load_full();
    let caller = &asking.caller.workload;
    authorizer.admit::<ReadEvidence>(caller)?;
    if authorizer.admit::<ReadAudit>(caller).is_err() {
        return Ok(None);
    }
    let permit = authorizer.decide::<ReadAudit>(caller, (), &())?;
    let verb = Some(Event::EvidenceMake.as_str().to_owned());
    let filter = EntryFilter { verb, ..EntryFilter::default() };
    let range = EntryRange { newest_first: true, after: None, limit: MADE_SHOWN };
    vault.find_entries(asking, permit, &filter, range).await.map(Some)
}

fn admitted(
    vault: &Vault,
    asking: &Asking,
    asked: Result<Parameters, Problem>,
) -> Result<(Permit<ReadEvidence>, Wanted), OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadEvidence>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ReadEvidence>(&asking.caller.workload, (), &())?;
    let asked = asked.map_err(OperationError::Request)?;
    let as_the_api = form::link("", asked.iter().map(|(name, value)| (*name, value.as_str())));
    Ok((permit, wanted(as_the_api.strip_prefix('?'), asking.at).map_err(OperationError::Request)?))
}

fn as_file(mut answer: Response, Period { from, until }: Period) -> Response {
    let name = format!("attachment; filename=\"evidence-{}-to-{}.zip\"", day(from), day(until));
    let name = HeaderValue::try_from(name).expect("days are a header's value");
    answer.headers_mut().insert(CONTENT_DISPOSITION, name);
    answer
}

fn day(at: Timestamp) -> String {
    at.to_string().chars().take(10).collect()
}

fn ask(now: Timestamp) -> Markup {
    html! {
        section {
            h2 { "Make a bundle" }
            form.ask method="post" action="/console/evidence/bundle" autocomplete="off" {
                div { label for="from" { "From " small { "the first day" } } input #from name="from" type="date" value=(day(now.minus(DAYS_90))) required; }
                div { label for="to" { "To " small { "the day after the last" } } input #to name="to" type="date" value=(day(now)) required; }
                div { label for="sample" { "Sample " small { "entries of each requirement" } } input #sample name="sample" type="number" min="0" max="500" value="25" required; }
                div { button type="submit" { "Make and download" } }
            }
            p.soft { "Verify it with " code { "strongroom-vault evidence verify" } ". That it was made is an entry of the log, with the hash of its manifest." }
        }
    }
}

fn told(made: &FoundEntries) -> Markup {
    html! {
        section {
            h2 { "Made so far" }
            @if made.entries.is_empty() { p { "None yet." } }
            @else { (entries::table("Bundles that were made, by the hash of the manifest", &made.entries, Shown { proofs: true, written: false })) }
        }
    }
}
