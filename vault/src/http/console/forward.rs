//! `GET /console/tenants/{tenant}/forwards/{id}`: one forward, from the request to the PSP's answer.
//!
//! What the log says of it is for whoever reads the log, or that tenant's part of it. What the proxy told of the answer is in the
//! forward's row, and is shown to whoever may read forwards; both are held against each other.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::Response;
use maud::html;
use strongroom_domain::{ForwardId, TenantId};
use strongroom_perimeter::Caller;

use super::entries::{self, Shown};
use super::page::{Frame, Tab};
use super::story;
use crate::audit::{Event, Object};
use crate::authz::{ForwardScope, ReadAudit, ReadForward, ReadTenantAudit, TenantScope};
use crate::http::problem::{Denial, Refused};
use crate::operation::console::{Explained, LogReader};
use crate::operation::{Asking, OperationError, Vault};
use crate::store::ForwardRow;

/// The forward a page is about.
struct Told {
    id: ForwardId,
    explained: Explained,
    row: Option<ForwardRow>,
    proofs: bool,
}

/// The page.
pub(super) async fn show(
    State(vault): State<Arc<Vault>>,
    caller: Caller,
    asking: Asking,
    Path((tenant, id)): Path<(String, String)>,
) -> Result<Response, Refused> {
    match look(&vault, &asking, &tenant, &id).await {
        Ok(told) => {
            let shown = Shown { proofs: told.proofs, written: true };
            let body = html! {
                (story::tell(&told.explained.entries, told.row.as_ref()))
                section {
                    h2 { "What the log says of it" }
                    @if told.explained.entries.is_empty() {
                        p {
                            "No entry of it can be found. If it was opened within the last seconds, look again; if not, its row says another time than its \
                             entries: read the log itself."
                        }
                    } @else {
                        (entries::table("Entries of this forward, each held against the signed tree", &told.explained.entries, shown))
                    }
                }
            };
            let title = format!("Forward {}", told.id);
            Ok(Frame::new(&vault, &caller).page(Some(Tab::Search), &title, &body))
        }
        Err(error) => {
            let object = object(&tenant, &id);
            Err(Refused::new(&vault, &asking, Event::AuditRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn look(vault: &Vault, asking: &Asking, tenant: &str, id: &str) -> Result<Told, OperationError> {
    let authorizer = vault.authorizer.load_full();
    let caller = &asking.caller.workload;
    let reads_all = authorizer.admit::<ReadAudit>(caller).is_ok();
    if !reads_all {
        authorizer.admit::<ReadTenantAudit>(caller)?;
    }
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let id = ForwardId::parse(id).ok_or(OperationError::UnknownForward)?;
    let facts = vault.tenant_facts(&tenant).await?;
    let reader = if reads_all {
        LogReader::All(authorizer.decide::<ReadAudit>(caller, (), &())?)
    } else {
        let scope = TenantScope { tenant: tenant.clone() };
        LogReader::Tenant(authorizer.decide::<ReadTenantAudit>(caller, scope, &facts)?)
    };
    let explained = vault.explain_forward(asking, reader, &tenant, id).await?;
    // Whoever has no such grant at all is not asked about; whoever has it for other tenants is, and refused.
    let row = if authorizer.admit::<ReadForward>(caller).is_ok() {
        let scope = ForwardScope { tenant, forward: id };
        match authorizer.decide::<ReadForward>(caller, scope.clone(), &facts) {
            Ok(permit) => Some(vault.read_forward(asking, permit).await?),
            Err(denied) => {
                let object = Object::Forward { id, tenant: Some(scope.tenant) };
                match vault.refuse(asking, Event::ForwardRead, object, denied.into()).await {
                    OperationError::Denied(_) => None,
                    unwritten => return Err(unwritten),
                }
            }
        }
    } else {
        None
    };
    Ok(Told { id, explained, row, proofs: reads_all })
}

fn object(tenant: &str, id: &str) -> Object {
    match (TenantId::parse(tenant).ok(), ForwardId::parse(id)) {
        (tenant, Some(id)) => Object::Forward { id, tenant },
        (Some(tenant), None) => Object::Tenant(tenant),
        (None, None) => Object::Operation("GET /console/tenants/{tenant}/forwards/{id}"),
    }
}
