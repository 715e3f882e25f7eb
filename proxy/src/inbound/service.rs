//! One message from its header to its answer.

use std::collections::BTreeSet;
use std::sync::Arc;

use arc_swap::ArcSwap;
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use sha2::{Digest as _, Sha256};
use strongroom_domain::route::{Inbound, Sender};
use strongroom_domain::{Clock, Token};
use strongroom_perimeter::limits::read_body;
use strongroom_perimeter::listener::RouteLabel;
use strongroom_perimeter::problem::ProblemResponse;
use strongroom_perimeter::{Caller, RequestInfo};
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use super::book::{Book, Entry};
use super::refused::Refused;
use crate::forward::takes;
use crate::inject::{Injections, Taken, check_clean, take};
use crate::measure;
use crate::scrub::{self, ScrubRules};
use crate::sign::Message;
use crate::upstream::Answer;
use crate::vault::{NewCard, VaultClient};

/// Tells the platform which entry took a message.
const ENTRY: HeaderName = HeaderName::from_static("strongroom-inbound");
/// Tells the platform what two deliveries of one message have in common.
const MESSAGE_ID: HeaderName = HeaderName::from_static("strongroom-message-id");

static NO_FIELDS: BTreeSet<String> = BTreeSet::new();

/// What the inbound listener serves.
pub(super) struct Service {
    pub(super) book: ArcSwap<Book>,
    /// Reached as the inbound identity.
    pub(super) vault: Arc<VaultClient>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) message_bytes_max: usize,
    pub(super) answer_bytes_max: usize,
    /// Messages under way, so that a drain can wait for them.
    pub(super) messages: TaskTracker,
}

/// One handler for every method and path.
pub(super) fn router(service: Arc<Service>) -> Router {
    Router::new().fallback(handle).with_state(service)
}

async fn handle(State(service): State<Arc<Service>>, request: Request<Body>) -> Response {
    let (parts, body) = request.into_parts();
    let id = RequestInfo::id_of(&parts);
    let entry = service.book.load().find(parts.uri.path()).filter(|_| parts.uri.query().is_none());
    let name = entry.as_ref().map_or("none", |entry| entry.declared.name.as_str()).to_owned();
    let received = match entry {
        None => Err(Refused::UnknownPath),
        // A message that began runs to its end, whoever hangs up.
        Some(entry) => {
            let running = service.messages.spawn(service.clone().receive(entry, parts, body));
            running.await.unwrap_or(Err(Refused::Defect))
        }
    };
    let mut response = match received {
        Ok(response) => {
            measure::inbound(&name, "passed");
            response
        }
        Err(refused) => {
            tell(&name, &refused);
            ProblemResponse(refused.problem(), id).into_response()
        }
    };
    response.extensions_mut().insert(RouteLabel(format!("/inbound/{name}").into()));
    response
}

/// Counts a message that was refused, and logs it once.
fn tell(name: &str, refused: &Refused) {
    let result = refused.problem().kind.slug();
    measure::inbound(name, result);
    if refused.is_ours() {
        let error = refused as &dyn std::error::Error;
        tracing::error!(entry = name, result, error, "an inbound message failed");
    } else {
        tracing::warn!(entry = name, result, reason = %refused, "an inbound message was refused");
    }
}

impl Service {
    async fn receive(
        self: Arc<Self>,
        entry: Arc<Entry>,
        mut parts: Parts,
        body: Body,
    ) -> Result<Response, Refused> {
        if parts.method != Method::POST {
            return Err(Refused::Method);
        }
        if let Sender::Certificate(senders) = &entry.declared.sender {
            let caller = parts.extensions.get::<Caller>().ok_or(Refused::Stranger)?;
            if !senders.contains(&caller.workload) {
                return Err(Refused::Stranger);
            }
        }
        let is_anyone = matches!(entry.declared.sender, Sender::Anyone(_));
        let count = || entry.bucket.take(Instant::now()).map_err(Refused::TooMany);
        if is_anyone {
            count()?;
        }
        let body = read_body(body, self.message_bytes_max).await.map_err(Refused::Body)?;
        self.verify(&entry, &mut parts, &body)?;
        // Whoever cannot sign takes nothing from whoever can.
        if !is_anyone {
            count()?;
        }
        if !takes(&entry.declared.call, &parts.headers) {
            return Err(Refused::MediaType);
        }
        let taken = take(&entry.declared, &parts.headers, &body)?;
        let info = parts.extensions.get::<RequestInfo>().copied().ok_or(Refused::Defect)?;
        let sender = match &entry.declared.sender {
            Sender::Signed(_) => String::new(),
            Sender::Certificate(_) => {
                parts.extensions.get::<Caller>().ok_or(Refused::Stranger)?.workload.to_string()
            }
            Sender::Anyone(_) => info.id.to_string(),
        };
        let headers = Self::outgoing(&entry.declared, &parts.headers, &taken)?;
        // First a way to the platform: no token is made for a message that cannot be passed on.
        let ready = entry.platform.ready().await?;
        let tokens = match self.tokenize(&entry.declared, &taken, &sender, &info).await {
            Ok(tokens) => tokens,
            Err(refused) => {
                ready.give_back();
                return Err(refused);
            }
        };
        let (body, injections) = taken.write(&tokens)?;
        let answer = entry.platform.send(ready, headers, Bytes::from(body), self.answer_bytes_max).await?;
        self.back(answer, &injections)
    }

    /// The signature is over the bytes as they came.
    fn verify(&self, entry: &Entry, parts: &mut Parts, body: &Bytes) -> Result<(), Refused> {
        let Some(verifier) = &entry.verifier else { return Ok(()) };
        let target = parts.uri.path().to_owned();
        let (method, headers) = (parts.method.clone(), &mut parts.headers);
        let message = Message { method: &method, target: &target, headers, body: body.clone() };
        Ok(verifier.verify(&message, self.clock.now())?)
    }

    /// The headers of the message that goes on: only what the entry names, and what names the message.
    fn outgoing(declared: &Inbound, came: &HeaderMap, taken: &Taken) -> Result<HeaderMap, Refused> {
        let mut headers = HeaderMap::new();
        let named = declared.pass_headers.iter().map(String::as_str).chain([CONTENT_TYPE.as_str()]);
        for name in named {
            let name = HeaderName::try_from(name).map_err(|_| Refused::Defect)?;
            for value in came.get_all(&name) {
                headers.append(name.clone(), value.clone());
            }
        }
        let value = |text: &str| HeaderValue::try_from(text).map_err(|_| Refused::Defect);
        headers.insert(ENTRY, value(declared.name.as_str())?);
        headers.insert(MESSAGE_ID, value(&taken.message_id)?);
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        // Only what travels on is searched: a sender's own trace ids are nobody's card.
        check_clean(None, "/", &headers)?;
        Ok(headers)
    }

    /// A token for each card, the same for each delivery of one message.
    async fn tokenize(
        &self,
        declared: &Inbound,
        taken: &Taken,
        sender: &str,
        info: &RequestInfo,
    ) -> Result<Vec<Token>, Refused> {
        let traceparent = info.traceparent.to_string();
        let mut tokens = Vec::with_capacity(taken.cards.len());
        for (index, card) in taken.cards.iter().enumerate() {
            let new = NewCard {
                number: &card.number,
                cvc: card.cvc.as_ref(),
                expiry: card.expiry,
                holder: card.holder.as_ref(),
            };
            let key = key(declared, &taken.message_id, index, sender);
            tokens.push(self.vault.tokenize(&declared.tenant, &new, &key, &traceparent).await?);
        }
        measure::inbound_cards(declared.name.as_str(), tokens.len());
        Ok(tokens)
    }

    /// The platform's answer, searched for what the message held.
    fn back(&self, answer: Answer, injections: &Injections) -> Result<Response, Refused> {
        let Answer { status, headers, body } = answer;
        if status.is_redirection() {
            return Err(Refused::PlatformRedirects);
        }
        let rules = ScrubRules { ids: &NO_FIELDS, cvc_fields: &NO_FIELDS };
        let mut kept = HeaderMap::new();
        for name in [CONTENT_TYPE, RETRY_AFTER] {
            kept.extend(headers.get(&name).map(|value| (name, value.clone())));
        }
        scrub::scrub_headers(&mut kept, injections, &rules);
        let encoding = headers.get(CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("unreadable"));
        let body = scrub::decode(encoding, body, self.answer_bytes_max)?;
        let kind = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let scrubbed = scrub::scrub_body(kind, body, injections, &rules);
        let mut response = Response::new(Body::from(scrubbed.body));
        (*response.status_mut(), *response.headers_mut()) = (status, kept);
        Ok(response)
    }
}

/// What the vault knows a delivery by: entry, card and the sender's own name for the message, which holds no card number.
///
/// And who sent it: a certificate's workload, or, where anybody may send, the request. Else whoever knows the name of another's message
/// could ask, number by number, which one it held, since a key that comes with another card is refused.
fn key(declared: &Inbound, message_id: &str, index: usize, sender: &str) -> String {
    let mut name = Sha256::new().chain_update(message_id.as_bytes());
    if !sender.is_empty() {
        // A message's name has no line end.
        name.update(format!("\n{sender}"));
    }
    format!("inbound:{}:{index}:{}", declared.name, hex::encode(name.finalize()))
}
