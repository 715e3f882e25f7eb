//! `GET /v1/audit/entries` and `GET /v1/tenants/{tenant}/audit/entries`: entries of the log, found by what they name.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use strongroom_domain::TenantId;
use utoipa::ToSchema;

use super::wanted::{self, ENTRY_NAMES, entry_cursor};
use crate::audit::{Event, Object};
use crate::authz::{ReadAudit, ReadTenantAudit, TenantScope};
use crate::http::problem::{Denial, Refused};
use crate::http::query;
use crate::operation::find::FoundEntries;
use crate::operation::{Asking, OperationError, Vault};
use crate::store::find::LoggedLeaf;

/// A page of the audit log.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntryPage)]
pub struct EntryPageBody {
    /// In the order asked for. May be fewer than `limit` while `next_cursor` is there.
    entries: Vec<EntryBody>,
    /// Where the next page begins; null after the last.
    next_cursor: Option<String>,
    /// How many entries of the log can be found: what came later, within the last seconds, is not among them.
    indexed: u64,
}

/// An entry and where it stands.
#[derive(Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub struct EntryBody {
    /// Its index in the log: what an inclusion proof is of.
    index: u64,
    /// Its name: boot and number there.
    #[schema(example = "0190a0b0-c0d0-7e0f-8f00-112233445566/7")]
    id: String,
    /// Its leaf hash in the tree (RFC 6962).
    #[schema(pattern = "^[0-9a-f]{64}$")]
    leaf_hash: Option<String>,
    /// Whether the entry is the one the tree was made of. If not, it was changed or removed in the database.
    intact: bool,
    /// The entry (vault/docs/audit-format.md); null if it is not intact.
    #[schema(value_type = Option<Object>)]
    entry: Option<serde_json::Value>,
}

impl From<&LoggedLeaf> for EntryBody {
    fn from(logged: &LoggedLeaf) -> Self {
        let entry = logged.intact().and_then(|leaf| serde_json::from_slice(leaf.as_bytes()).ok());
        Self {
            index: logged.place,
            id: logged.id.to_string(),
            leaf_hash: logged.hash.map(|hash| hex::encode(hash.as_bytes())),
            intact: logged.intact().is_some(),
            entry,
        }
    }
}

impl From<FoundEntries> for EntryPageBody {
    fn from(found: FoundEntries) -> Self {
        Self {
            entries: found.entries.iter().map(EntryBody::from).collect(),
            next_cursor: found.next.map(entry_cursor),
            indexed: found.indexed,
        }
    }
}

/// Search the audit log.
///
/// Entries that fit everything said, in the order of the log. That it was read is on the log before the answer.
#[utoipa::path(
    get,
    path = "/v1/audit/entries",
    tag = "audit",
    operation_id = "findAuditEntries",
    params(
        ("token" = Option<String>, Query, description = "that name this card: its token, an alias, or its reference of 32 hex digits"),
        ("workload" = Option<String>, Query, description = "by this workload, or on its word"),
        ("route" = Option<String>, Query, description = "of this route"),
        ("tenant" = Option<String>, Query, description = "of this tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("verb" = Option<String>, Query, description = "of this event", example = "pan.forward"),
        ("outcome" = Option<String>, Query, description = "that ended so", pattern = "^(success|denied|failure)$"),
        ("from" = Option<String>, Query, description = "at this time or later (RFC 3339)", format = DateTime),
        ("until" = Option<String>, Query, description = "before this time (RFC 3339)", format = DateTime),
        ("order" = Option<String>, Query, description = "`newest` first unless said", pattern = "^(newest|oldest)$"),
        ("limit" = Option<u32>, Query, description = "most entries of the page, 100 unless said", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before", pattern = "^[b-df-hj-np-t]{16}$"),
    ),
    responses(
        (status = 200, description = "a page; the last has no `next_cursor`", body = EntryPageBody),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn find(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    match try_find(&vault, &asking, query.as_deref()).await {
        Ok(page) => Ok(Json(EntryPageBody::from(page)).into_response()),
        Err(error) => {
            let object = Object::Operation("GET /v1/audit/entries");
            Err(Refused::new(&vault, &asking, Event::AuditRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_find(
    vault: &Vault,
    asking: &Asking,
    query: Option<&str>,
) -> Result<FoundEntries, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadAudit>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ReadAudit>(&asking.caller.workload, (), &())?;
    let parameters = query::parse(query, ENTRY_NAMES).map_err(OperationError::Request)?;
    let (filter, range) = wanted::entries(vault, &parameters, None).await?;
    vault.find_entries(asking, permit, &filter, range).await
}

/// Search what the audit log says of a tenant.
///
/// For whoever may read the log of that tenant and no more.
#[utoipa::path(
    get,
    path = "/v1/tenants/{tenant}/audit/entries",
    tag = "audit",
    operation_id = "findTenantAuditEntries",
    params(
        ("tenant" = String, Path, description = "the tenant", pattern = "^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$"),
        ("token" = Option<String>, Query, description = "that name this card: its token, an alias, or its reference of 32 hex digits"),
        ("workload" = Option<String>, Query, description = "by this workload, or on its word"),
        ("route" = Option<String>, Query, description = "of this route"),
        ("verb" = Option<String>, Query, description = "of this event", example = "pan.forward"),
        ("outcome" = Option<String>, Query, description = "that ended so", pattern = "^(success|denied|failure)$"),
        ("from" = Option<String>, Query, description = "at this time or later (RFC 3339)", format = DateTime),
        ("until" = Option<String>, Query, description = "before this time (RFC 3339)", format = DateTime),
        ("order" = Option<String>, Query, description = "`newest` first unless said", pattern = "^(newest|oldest)$"),
        ("limit" = Option<u32>, Query, description = "most entries of the page, 100 unless said", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "`next_cursor` of the page before", pattern = "^[b-df-hj-np-t]{16}$"),
    ),
    responses(
        (status = 200, description = "a page; the last has no `next_cursor`", body = EntryPageBody),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn find_of_tenant(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(tenant): Path<String>,
    RawQuery(query): RawQuery,
) -> Result<Response, Refused> {
    match try_find_of_tenant(&vault, &asking, &tenant, query.as_deref()).await {
        Ok(page) => Ok(Json(EntryPageBody::from(page)).into_response()),
        Err(error) => {
            let object = TenantId::parse(&tenant)
                .map_or(Object::Operation("GET /v1/tenants/{tenant}/audit/entries"), Object::Tenant);
            Err(Refused::new(&vault, &asking, Event::AuditRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_find_of_tenant(
    vault: &Vault,
    asking: &Asking,
    tenant: &str,
    query: Option<&str>,
) -> Result<FoundEntries, OperationError> {
    let tenant = TenantId::parse(tenant).map_err(|_| OperationError::UnknownTenant)?;
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadTenantAudit>(&asking.caller.workload)?;
    let facts = vault.tenant_facts(&tenant).await?;
    let scope = TenantScope { tenant: tenant.clone() };
    let permit = authorizer.decide::<ReadTenantAudit>(&asking.caller.workload, scope, &facts)?;
    let names = &ENTRY_NAMES[..ENTRY_NAMES.len() - 1]; // the tenant is the path's
    let parameters = query::parse(query, names).map_err(OperationError::Request)?;
    let (filter, range) = wanted::entries(vault, &parameters, Some(&tenant)).await?;
    vault.find_entries_of(asking, permit, filter, range).await
}
