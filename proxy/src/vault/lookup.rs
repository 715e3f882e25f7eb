//! Facts of cards, for a person or service that may read them: never the proxy, which has no read verb.

use bytes::Bytes;
use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::json;
use strongroom_domain::{Brand, CardName, TenantId};
use tokio::time::{Instant, timeout_at};

use super::{MalformedAnswer, OpenError, VaultClient, wire};
use crate::inject::Known;

#[derive(Deserialize)]
struct Found {
    results: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    card: Option<Facts>,
}

#[derive(Deserialize)]
struct Facts {
    brand: Option<String>,
    length: Option<u8>,
}

impl VaultClient {
    /// Facts of these cards, in their order; `None`: the vault shows this identity no such card.
    pub async fn look_up(
        &self,
        tenant: &TenantId,
        names: &[CardName],
    ) -> Result<Vec<Option<Known>>, OpenError> {
        let deadline = Instant::now() + self.open_timeout;
        let path = format!("/v1/tenants/{tenant}/cards/lookup");
        let tokens: Vec<_> = names.iter().map(CardName::as_str).collect();
        let body = Bytes::from(json!({ "tokens": tokens }).to_string());
        let exchange = self.exchange(Method::POST, &path, body, None, deadline);
        let answer = timeout_at(deadline, exchange).await.map_err(|_| OpenError::TimedOut)??;
        if answer.status != StatusCode::OK {
            let (kind, first) = wire::problem(&answer.body);
            return Err(OpenError::Refused { status: answer.status, kind, first });
        }
        let found: Found = serde_json::from_slice(&answer.body).map_err(|_| MalformedAnswer)?;
        if found.results.len() != names.len() {
            return Err(MalformedAnswer.into());
        }
        let known = |facts: Facts| Known {
            brand: facts.brand.as_deref().map(Brand::from_name),
            length: facts.length,
        };
        Ok(found.results.into_iter().map(|item| item.card.map(known)).collect())
    }
}
