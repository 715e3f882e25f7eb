//! `GET /console/receipts/{id}`: entries as they are written, and the proof that they are in the signed log.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use maud::{Markup, html};
use strongroom_perimeter::Caller;

use super::cells::{facts, number};
use super::entries::pretty;
use super::page::{Frame, Tab};
use crate::audit::{Event, Object, Proven, ProvenEntry, ProvenState, ReceiptId};
use crate::authz::ReadAudit;
use crate::http::problem::{Denial, Refused};
use crate::operation::receipt::Reader;
use crate::operation::{Asking, OperationError, Vault};

/// The page. For whoever reads the whole log: a tenant's readers have the API.
pub(super) async fn show(
    State(vault): State<Arc<Vault>>,
    caller: Caller,
    asking: Asking,
    Path(text): Path<String>,
) -> Result<Response, Refused> {
    let id = ReceiptId::parse(&text);
    match look(&vault, &asking, id).await {
        Ok((proven, key)) => {
            Ok(Frame::new(&vault, &caller).page(Some(Tab::Search), "Receipt", &shown(&proven, &key)))
        }
        Err(error) => {
            let unnamed = Object::Operation("GET /console/receipts/{id}");
            let object = id.map_or(unnamed, |id| Object::Receipt { id, tenant: None });
            Err(Refused::new(&vault, &asking, Event::AuditRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn look(
    vault: &Vault,
    asking: &Asking,
    id: Option<ReceiptId>,
) -> Result<(Proven, String), OperationError> {
    let authorizer = vault.authorizer.load_full();
    let caller = &asking.caller.workload;
    authorizer.admit::<ReadAudit>(caller)?;
    let found = vault.find_receipt(id.ok_or(OperationError::UnknownReceipt)?).await?;
    let reader = Reader::Auditor(authorizer.decide::<ReadAudit>(caller, (), &())?);
    let key = vault.log_keys().await?.newest().to_string();
    Ok((vault.read_receipt(asking, reader, found).await?, key))
}

fn shown(proven: &Proven, key: &str) -> Markup {
    html! {
        section {
            (facts(&[
                ("Receipt", Some(html! { code { (proven.id) } })),
                ("State", Some(match proven.state {
                    ProvenState::Sequenced => html! { span.tag.good { "in the signed log" } },
                    ProvenState::Pending => html! { span.tag.warn { "! in no checkpoint yet" } ": look again in a second" },
                })),
                ("The log's key", Some(html! { code { (key) } })),
            ]))
            p.soft {
                "Needs nobody's word: fetch " code { "/v1/audit/receipts/" (proven.id) } " into a file and verify it offline by "
                code { "strongroom-vault audit receipt FILE --vkey KEY" } ". The key above is as good as the way it came here: take it from where you keep it."
            }
        }
        @for entry in &proven.entries { (one(entry)) }
        @if let Some(checkpoint) = &proven.checkpoint {
            section { h2 { "The checkpoint that signs the tree" } pre { (checkpoint) } }
        }
    }
}

fn one(entry: &ProvenEntry) -> Markup {
    html! {
        section {
            h2 { "Entry " (number(entry.index)) }
            (facts(&[("Leaf hash", Some(html! { code { (entry.leaf_hash) } }))]))
            @if let Some(leaf) = &entry.leaf { pre { (pretty(leaf.as_bytes())) } }
            details {
                summary { "Proof of inclusion: " (entry.proof.len()) " hashes" }
                pre { @for hash in &entry.proof { (hash) "\n" } }
            }
        }
    }
}
