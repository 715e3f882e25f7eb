//! Tokenizing a card that came in: for the inbound identity, never the forwarding one.
//!
//! Promises: the number goes into one body, which is wiped; a call that is repeated under the same key makes no second
//! token.
//! Upholds: C-53.

use bytes::Bytes;
use http::{HeaderValue, Method, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use strongroom_domain::{Expiry, TenantId, Token};
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use super::{ANSWER_BYTES_MAX, Answer, MalformedAnswer, OpenError, VaultClient, request, wire};
use crate::body::json;
use crate::upstream::SendError;

/// Names a message at the vault.
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// Room for every field, each byte of the longest escaped: growth would leave copies behind.
const BODY_BYTES: usize = 1_024;

/// A card to tokenize.
pub struct NewCard<'a> {
    /// Its number.
    pub number: &'a SecretString,
    /// Its verification code.
    pub cvc: Option<&'a SecretString>,
    /// Its expiry.
    pub expiry: Option<Expiry>,
    /// Its holder's name.
    pub holder: Option<&'a SecretString>,
}

#[derive(Deserialize)]
struct Created {
    token: String,
}

impl VaultClient {
    /// Makes a token, or gives the one it made under this key before.
    pub async fn tokenize(
        &self,
        tenant: &TenantId,
        card: &NewCard<'_>,
        key: &str,
        traceparent: &str,
    ) -> Result<Token, OpenError> {
        let deadline = Instant::now() + self.open_timeout;
        let answer = timeout_at(deadline, self.create(tenant, card, key, traceparent, deadline)).await;
        let answer = answer.map_err(|_| OpenError::TimedOut)??;
        if answer.status != StatusCode::CREATED {
            let (kind, first) = wire::problem(&answer.body);
            return Err(OpenError::Refused { status: answer.status, kind, first });
        }
        let created: Created = serde_json::from_slice(&answer.body).map_err(|_| MalformedAnswer)?;
        Ok(Token::parse(&created.token).map_err(|_| MalformedAnswer)?)
    }

    async fn create(
        &self,
        tenant: &TenantId,
        card: &NewCard<'_>,
        key: &str,
        traceparent: &str,
        deadline: Instant,
    ) -> Result<Answer, OpenError> {
        let (at, ready) = self.ready().await?;
        let path = format!("/v1/tenants/{tenant}/cards");
        let body = Bytes::from_owner(body(card));
        let mut request =
            request(Method::POST, &path, &self.addresses[at].authority, body, Some(traceparent));
        let key = HeaderValue::try_from(key).map_err(|_| MalformedAnswer)?;
        request.headers_mut().insert(IDEMPOTENCY_KEY, key);
        let answer = match ready.send(request, deadline, ANSWER_BYTES_MAX).await {
            Err(SendError::NotSent(request)) => {
                let fresh = self.addresses[at].pool.connect().await.map_err(OpenError::Unreachable)?;
                fresh.send(*request, deadline, ANSWER_BYTES_MAX).await
            }
            answer => answer,
        };
        answer.map_err(OpenError::NoAnswer)
    }
}

fn body(card: &NewCard<'_>) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(String::with_capacity(BODY_BYTES));
    text.push_str("{\"number\":");
    quote(card.number, &mut text);
    for (name, value) in [(",\"cvc\":", card.cvc), (",\"holder\":", card.holder)] {
        if let Some(value) = value {
            text.push_str(name);
            quote(value, &mut text);
        }
    }
    if let Some(expiry) = card.expiry {
        text.push_str(&format!(",\"exp_month\":{},\"exp_year\":{}", expiry.month(), expiry.year()));
    }
    text.push('}');
    Zeroizing::new(std::mem::take(&mut *text).into_bytes())
}

#[expect(clippy::disallowed_methods, reason = "goes into the request to the vault; wiped after")]
fn quote(value: &SecretString, into: &mut Zeroizing<String>) {
    into.push('"');
    json::escape_into(value.expose_secret(), into);
    into.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_written_as_the_vault_reads_it() {
        let (number, cvc, holder): (SecretString, SecretString, SecretString) =
            ("4242 4242 4242 4242".into(), "737".into(), "ZO\u{cb} \"Q\"".into());
        let card = NewCard {
            number: &number,
            cvc: Some(&cvc),
            expiry: Expiry::new(3, 2030).ok(),
            holder: Some(&holder),
        };
        let value: serde_json::Value = serde_json::from_slice(&body(&card)).unwrap();
        let expected = serde_json::json!({
            "number": "4242 4242 4242 4242", "cvc": "737", "holder": "ZO\u{cb} \"Q\"", "exp_month": 3, "exp_year": 2030
        });
        assert_eq!(value, expected);
        let bare = NewCard { number: &number, cvc: None, expiry: None, holder: None };
        assert_eq!(body(&bare).as_slice(), b"{\"number\":\"4242 4242 4242 4242\"}");
    }
}
