//! One attempt: a signed request (Standard Webhooks) and what came of it.
//!
//! Promises: nothing of an answer is kept but its status and `Retry-After`; one that is large is not read to its end.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST, RETRY_AFTER, USER_AGENT};
use http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use http_body_util::Full;
use strongroom_domain::Timestamp;
use strongroom_perimeter::outbound::{Answer, ConnectError, SendError};
use tokio::time::Instant;

use super::Webhook;
use crate::events::attempt::Attempt;
use crate::events::body::MEDIA_TYPE;

/// Most of an answer that is read: receivers say by the status what they have to say.
const ANSWER_BYTES_MAX: usize = 16 * 1024;
/// Longest wait a receiver can ask for.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3_600);

impl Webhook {
    /// Posts one event, within the destination's time.
    pub(in crate::events) async fn attempt(&self, id: &str, body: Vec<u8>, now: Timestamp) -> Attempt {
        let deadline = Instant::now() + self.timeout;
        let Some(mut request) = self.request(id, body, now) else { return Attempt::Away("defect") };
        let mut ready = match self.pool.ready().await {
            Ok(ready) => ready,
            Err(error) => return Attempt::Away(unreached(&error)),
        };
        loop {
            match ready.send(request, deadline, ANSWER_BYTES_MAX).await {
                Ok(answer) => return judged(&answer),
                // It lay idle and was closed: nothing was sent, so a new connection is no second attempt.
                Err(SendError::NotSent(back)) if Instant::now() < deadline => request = *back,
                Err(error) => return Attempt::Refused { met: unanswered(&error).into(), wait: None },
            }
            ready = match self.pool.connect().await {
                Ok(ready) => ready,
                Err(error) => return Attempt::Away(unreached(&error)),
            };
        }
    }

    fn request(&self, id: &str, body: Vec<u8>, now: Timestamp) -> Option<Request<Full<Bytes>>> {
        let seconds = now.unix_seconds();
        let signatures: Vec<String> = self.keys.iter().map(|key| key.sign(id, seconds, &body)).collect();
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.target.clone();
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        headers.insert(
            USER_AGENT,
            HeaderValue::from_static(concat!("strongroom-vault/", env!("CARGO_PKG_VERSION"))),
        );
        headers.insert(HeaderName::from_static("webhook-id"), HeaderValue::from_str(id).ok()?);
        headers.insert(HeaderName::from_static("webhook-timestamp"), HeaderValue::from(seconds));
        let signatures = HeaderValue::from_str(&signatures.join(" ")).ok()?;
        headers.insert(HeaderName::from_static("webhook-signature"), signatures);
        Some(request)
    }
}

/// Any 2xx is taken. A redirect is refused like everything else: it is never followed.
fn judged(answer: &Answer) -> Attempt {
    if answer.status.is_success() {
        return Attempt::Taken;
    }
    if answer.status == StatusCode::GONE {
        return Attempt::Gone;
    }
    let wait = answer.headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Attempt::Refused {
        met: format!("status-{}", answer.status.as_u16()),
        wait: wait.map(|seconds| Duration::from_secs(seconds).min(RETRY_AFTER_MAX)),
    }
}

const fn unreached(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Unresolved(_) => "unresolved",
        ConnectError::ForbiddenAddress(_) => "forbidden-address",
        ConnectError::Tcp(_) => "tcp",
        ConnectError::Tls(_) => "tls",
        ConnectError::TimedOut => "connect-timed-out",
        ConnectError::Http(_) => "http",
    }
}

const fn unanswered(error: &SendError) -> &'static str {
    match error {
        SendError::NotSent(_) => "not-sent",
        SendError::Broken(_) => "broken",
        SendError::TimedOut => "timed-out",
        SendError::TooLarge => "answer-too-large",
    }
}
