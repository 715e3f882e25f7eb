//! The calls these commands make.

use std::time::Duration;

use bytes::Bytes;
use http::header::IF_MATCH;
use http::{HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Map, Value};
use strongroom_domain::TenantId;

use crate::cli::CliError;
use crate::cli::client::{Answer, Call, Door, Patience};

/// How long to wait for a vault that is away or busy: a person waits too.
const PATIENCE: Patience = Patience(Duration::from_secs(30));

/// A tenant's settings as the API takes them.
pub(super) type Settings = Map<String, Value>;

/// One connection to the vault.
pub(super) struct Desk {
    door: Door,
}

/// The vault's refusal as a sentence. The same request fails again.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(String);

impl Desk {
    pub(super) const fn new(door: Door) -> Self {
        Self { door }
    }

    /// One tenant and its version; none if there is no such tenant.
    pub(super) async fn tenant(
        &mut self,
        tenant: &TenantId,
    ) -> Result<Option<(Value, Option<HeaderValue>)>, CliError> {
        let answer = self.ask(Method::GET, format!("/v1/tenants/{tenant}"), Vec::new(), None).await?;
        if answer.status == StatusCode::NOT_FOUND {
            return Ok(None);
        }
        let etag = answer.etag();
        Ok(Some((granted(&answer)?, etag)))
    }

    /// What a tenant would be.
    pub(super) async fn try_put(
        &mut self,
        tenant: &TenantId,
        wanted: &Settings,
    ) -> Result<Result<Value, Refusal>, CliError> {
        let path = format!("/v1/tenants/{tenant}?dry_run=true");
        let answer = self.ask(Method::PUT, path, Vec::new(), Some(wanted)).await?;
        Ok(granted(&answer))
    }

    /// Makes a tenant what is wanted, if it is still at the version seen.
    pub(super) async fn put(
        &mut self,
        tenant: &TenantId,
        wanted: &Settings,
        etag: Option<HeaderValue>,
    ) -> Result<Result<Value, Refusal>, CliError> {
        let headers = etag.map(|etag| (IF_MATCH, etag)).into_iter().collect();
        let answer = self.ask(Method::PUT, format!("/v1/tenants/{tenant}"), headers, Some(wanted)).await?;
        Ok(granted(&answer))
    }

    /// One page of a list by tenant.
    pub(super) async fn page(&mut self, path: &str, after: Option<&str>) -> Result<Value, CliError> {
        let path = after.map_or_else(|| path.to_owned(), |after| format!("{path}?after={after}"));
        let answer = self.ask(Method::GET, path, Vec::new(), None).await?;
        Ok(granted(&answer)?)
    }

    async fn ask(
        &mut self,
        method: Method,
        path: String,
        headers: Vec<(HeaderName, HeaderValue)>,
        body: Option<&Settings>,
    ) -> Result<Answer, CliError> {
        let body = body.map(serde_json::to_vec).transpose()?.map_or_else(Bytes::new, Bytes::from);
        Ok(PATIENCE.ask(&mut self.door, &Call { method, path, headers, body }).await?)
    }
}

fn granted(answer: &Answer) -> Result<Value, Refusal> {
    if answer.status.is_success() {
        return serde_json::from_slice(&answer.body)
            .map_err(|_| Refusal("the vault answered something that is not JSON".into()));
    }
    // `pointer` and `detail` are constants of the vault: they name the setting and what is wrong with it.
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    let detail = [&told["pointer"], &told["detail"]].into_iter().filter_map(Value::as_str);
    let detail = detail.collect::<Vec<_>>().join(" ");
    Err(Refusal(format!("{} {detail}", answer.refusal()).trim_end().to_owned()))
}
