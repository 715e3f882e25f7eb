//! An export as callers see it, and what every call on exports begins with.

use serde::Serialize;
use strongroom_domain::{ExportId, TenantId, Timestamp};
use utoipa::ToSchema;

use crate::audit::Object;
use crate::authz::{ExportCards, ExportScope, Permit, Person};
use crate::operation::export::{ExportRequest, ShownExport};
use crate::operation::{Asking, OperationError, Vault};

/// An export: what was asked for, who approved it, what its runs made. No card data.
#[derive(Serialize, ToSchema)]
#[schema(as = Export)]
pub struct ExportBody<'a> {
    /// Its id.
    #[schema(value_type = String, format = Uuid)]
    id: ExportId,
    /// SHA-256 of the request: what the second person says.
    sha256: String,
    /// What was asked for. The hash is of this object in the form of RFC 8785, behind `strongroom/export-request/v1` and a
    /// zero byte.
    #[schema(value_type = ExportRequestBody)]
    request: &'a ExportRequest,
    /// `requested`, `approved` or `over`.
    state: &'static str,
    /// Who approved it; null if nobody did.
    approval: Option<ApprovalBody<'a>>,
    /// Its runs, first to last.
    runs: Vec<RunBody<'a>>,
}

/// What was asked for.
#[derive(ToSchema)]
#[schema(as = ExportRequest)]
#[expect(dead_code, reason = "describes what `ExportRequest` serializes to")]
pub struct ExportRequestBody {
    /// The export's id.
    #[schema(format = Uuid)]
    id: String,
    /// `live` or `test`.
    environment: String,
    /// Whose cards.
    tenant: String,
    /// Which of them.
    filter: super::request::FilterBody,
    /// The age recipient.
    recipient: String,
    /// Most cards.
    cards_max: u64,
    /// Until when it may be approved and run.
    #[schema(format = DateTime)]
    not_after: String,
    /// Why.
    purpose: String,
    /// The identity that asked.
    requested_by: String,
    /// The person it is of.
    person: String,
    /// When.
    #[schema(format = DateTime)]
    requested_at: String,
}

/// The second person's word.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportApproval)]
pub struct ApprovalBody<'a> {
    /// The identity.
    by: &'a str,
    /// The person it is of.
    person: &'a str,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

/// One run.
#[derive(Serialize, ToSchema)]
#[schema(as = ExportRun)]
pub struct RunBody<'a> {
    /// Its number, from 1.
    run: u32,
    /// Who ran it.
    by: &'a str,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    began_at: Timestamp,
    /// When it ended; null while it runs, and if the vault was killed under it.
    #[schema(value_type = Option<String>, format = DateTime)]
    ended_at: Option<Timestamp>,
    /// Counts, digests and who agreed (vault/docs/export.md); null until it ended.
    #[schema(value_type = Option<Object>)]
    manifest: Option<serde_json::Value>,
}

impl<'a> ExportBody<'a> {
    pub(super) fn of(shown: &'a ShownExport, now: Timestamp) -> Self {
        let ShownExport { row, request, runs } = shown;
        let state = match &row.approval {
            _ if now >= row.not_after => "over",
            Some(_) => "approved",
            None => "requested",
        };
        let approval = row.approval.as_ref().map(|approval| ApprovalBody {
            by: approval.by.as_str(),
            person: &approval.person,
            at: approval.at,
        });
        let run = |run: &'a crate::store::ExportRunRow| RunBody {
            run: run.run,
            by: run.by.as_str(),
            began_at: run.began_at,
            ended_at: run.ended_at,
            manifest: run.manifest.as_deref().and_then(|text| serde_json::from_str(text).ok()),
        };
        let runs = runs.iter().map(run).collect();
        Self { id: row.id, sha256: hex::encode(row.sha256), request, state, approval, runs }
    }
}

/// Grant first: who may not export learns nothing of what is there, nor whether exports are on.
pub(super) async fn permit(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    export: Option<&str>,
) -> Result<(Permit<ExportCards>, Person), OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ExportCards>(&asking.caller.workload)?;
    let facts = vault.tenant_facts(&tenant).await?;
    let export = match export {
        None => None,
        Some(id) => Some(ExportId::parse(id).ok_or(OperationError::UnknownExport)?),
    };
    let permit = authorizer.decide(&asking.caller.workload, ExportScope { tenant, export }, &facts)?;
    let person = authorizer.person_of(&asking.caller.workload).cloned();
    Ok((permit, person.ok_or(OperationError::Defect("a guardrail lets only people export"))?))
}

/// What a refusal is about.
pub(super) fn object(tenant: &str, export: Option<&str>) -> Object {
    match (TenantId::parse(tenant), export.and_then(ExportId::parse)) {
        (Ok(tenant), Some(id)) => Object::Export { id, tenant },
        (Ok(tenant), None) => Object::Tenant(tenant),
        (Err(_), _) => Object::Operation("/v1/tenants/{tenant}/exports"),
    }
}
