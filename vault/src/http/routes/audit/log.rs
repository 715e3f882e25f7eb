//! `GET /v1/audit/log/{path}`: the signed log as C2SP tlog-tiles lays it out, for the security team.
//!
//! Its contract is that specification and `vault/docs/audit-log.md`, not the OpenAPI document: paths of any number of parts,
//! and bytes.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use strongroom_perimeter::listener::Unchanging;

use crate::audit::{Event, LogFile, Object, Served};
use crate::authz::ReadAudit;
use crate::http::problem::{Denial, Refused};
use crate::operation::{Asking, OperationError, Vault};

/// Where the log's files stand.
pub const PATH: &str = "/v1/audit/log/{*path}";

/// One file.
pub async fn file(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    Path(path): Path<String>,
) -> Result<Response, Refused> {
    let file = LogFile::parse(&path);
    match try_read(&vault, &asking, file).await {
        Ok((file, served)) => Ok(answer(file, served)),
        Err(error) => {
            let object = file.map_or(Object::Operation("GET /v1/audit/log/{path}"), Object::LogFile);
            Err(Refused::new(&vault, &asking, Event::AuditRead, object, Denial::Forbidden, error).await)
        }
    }
}

async fn try_read(
    vault: &Vault,
    asking: &Asking,
    file: Option<LogFile>,
) -> Result<(LogFile, Served), OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<ReadAudit>(&asking.caller.workload)?;
    let permit = authorizer.decide::<ReadAudit>(&asking.caller.workload, (), &())?;
    let file = file.ok_or(OperationError::UnknownLogFile)?;
    Ok((file, vault.read_log(asking, permit, file).await?))
}

fn answer(file: LogFile, served: Served) -> Response {
    let kind = match file {
        LogFile::Checkpoint | LogFile::History(_) | LogFile::HandOver(_) => "text/plain; charset=utf-8",
        LogFile::Tile(..) | LogFile::Bundle(..) => "application/octet-stream",
    };
    let mut response = ([(CONTENT_TYPE, HeaderValue::from_static(kind))], served.bytes).into_response();
    if served.is_final {
        response.extensions_mut().insert(Unchanging);
    }
    response
}
