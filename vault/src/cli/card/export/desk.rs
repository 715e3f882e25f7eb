//! The calls these commands make. Every request that comes back is held against its hash, computed here.

use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde::Deserialize;
use serde_json::{Value, json};
use strongroom_domain::{ExportId, TenantId};

use crate::cli::CliError;
use crate::cli::client::{Answer, Api, ApiArgs, Call, Door, Patience};
use crate::operation::export::ExportRequest;

/// How long to wait for a vault that is away or busy: a person waits too.
const PATIENCE: Patience = Patience(Duration::from_secs(30));

/// One connection to the vault, about one tenant's exports.
pub(super) struct Desk {
    pub(super) api: Api,
    door: Door,
    tenant: TenantId,
}

/// An export as the vault shows it. It may show more than this program knows.
#[derive(Deserialize)]
pub(super) struct Export {
    pub(super) id: ExportId,
    pub(super) sha256: String,
    pub(super) request: ExportRequest,
    pub(super) state: String,
    pub(super) approval: Option<Approval>,
    pub(super) runs: Vec<Run>,
}

#[derive(Deserialize)]
pub(super) struct Approval {
    pub(super) person: String,
}

#[derive(Deserialize)]
pub(super) struct Run {
    pub(super) run: u64,
    pub(super) manifest: Option<Value>,
}

#[derive(Deserialize)]
struct Exports {
    exports: Vec<Export>,
}

impl Desk {
    pub(super) fn new(args: &ApiArgs, tenant: &TenantId) -> Result<Self, CliError> {
        let api = Api::new(args)?;
        Ok(Self { door: api.door(), api, tenant: tenant.clone() })
    }

    /// Not asked again after a lost answer: that would be a second request.
    pub(super) async fn request(&mut self, wanted: &Value) -> Result<Export, CliError> {
        let call = self.call(Method::POST, "", Some(wanted))?;
        checked(read(&self.door.ask(&call).await?)?)
    }

    pub(super) async fn export(&mut self, id: ExportId) -> Result<Export, CliError> {
        let call = self.call(Method::GET, &format!("/{id}"), None)?;
        checked(read(&PATIENCE.ask(&mut self.door, &call).await?)?)
    }

    pub(super) async fn exports(&mut self) -> Result<Vec<Export>, CliError> {
        let call = self.call(Method::GET, "", None)?;
        let Exports { exports } = read(&PATIENCE.ask(&mut self.door, &call).await?)?;
        exports.into_iter().map(checked).collect()
    }

    pub(super) async fn approve(&mut self, id: ExportId, sha256: &str) -> Result<Export, CliError> {
        let call = self.call(Method::PUT, &format!("/{id}/approval"), Some(&json!({ "sha256": sha256 })))?;
        checked(read(&PATIENCE.ask(&mut self.door, &call).await?)?)
    }

    pub(super) fn call(&self, method: Method, path: &str, body: Option<&Value>) -> Result<Call, CliError> {
        let path = format!("/v1/tenants/{}/exports{path}", self.tenant);
        let body = body.map(serde_json::to_vec).transpose()?.map_or_else(Bytes::new, Bytes::from);
        Ok(Call { method, path, headers: Vec::new(), body })
    }
}

fn checked(export: Export) -> Result<Export, CliError> {
    let computed = export.request.sha256().map(hex::encode)?;
    if computed != export.sha256 || export.request.id != export.id {
        return Err("the vault's hash is not the one of what it shows: do not approve it".into());
    }
    Ok(export)
}

fn read<T: serde::de::DeserializeOwned>(answer: &Answer) -> Result<T, CliError> {
    if !answer.status.is_success() {
        return Err(refusal(answer).into());
    }
    serde_json::from_slice(&answer.body)
        .map_err(|_| "the vault's answer is not one this program understands; use its own version".into())
}

/// The refusal as a sentence. `pointer` and `detail` are constants of the vault.
pub(super) fn refusal(answer: &Answer) -> String {
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = [&told["pointer"], &told["detail"]].into_iter().filter_map(Value::as_str);
    format!("{} {}", answer.refusal(), detail.collect::<Vec<_>>().join(" ")).trim_end().to_owned()
}
