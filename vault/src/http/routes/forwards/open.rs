//! `POST /v1/forwards`: the one door out, for proxies only.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::State;
use axum::extract::rejection::BytesRejection;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::ExposeSecret;
use serde::Deserialize;
use strongroom_domain::route::{Attribute, AttributeSet};
use strongroom_domain::{CardName, Problem, ProblemKind, WorkloadId};
use utoipa::ToSchema;
use zeroize::Zeroizing;

use crate::authz::{NamedCard, OpenForward, OpenForwardSubject, RouteClaim, RouteFacts, WantedCard};
use crate::http::body;
use crate::http::problem::{Denial, Refused};
use crate::operation::forward::{CARDS_MAX, Opened, Released, Wanted, reference_of};
use crate::operation::{Asking, OperationError, Vault};

/// What a proxy asks for. Caller, origin and attempt are its word and logged as such.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = ForwardRequest)]
pub struct ForwardBody {
    /// On whose behalf (SPIFFE ID).
    #[schema(
        pattern = "^(spiffe://[a-z0-9._-]+(/[A-Za-z0-9._-]+)+|dns:[a-z0-9.-]+)$",
        example = "spiffe://strongroom.test/orchestrator"
    )]
    caller: String,
    /// SHA-256 of that caller's certificate, 64 hex digits.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    caller_cert_sha256: String,
    /// Where the caller's connection came from, `address:port`.
    #[schema(value_type = Option<String>, pattern = "^([0-9]{1,3}(\\.[0-9]{1,3}){3}|\\[[0-9a-fA-F:.]+\\]):[0-9]{1,5}$", example = "192.0.2.7:50000")]
    origin: Option<SocketAddr>,
    /// Route name.
    route: String,
    /// SHA-256 of the route file the proxy holds, 64 hex digits.
    #[schema(pattern = "^[0-9a-fA-F]{64}$")]
    route_sha256: String,
    /// Account name.
    account: String,
    /// HTTP method of the call, upper case.
    method: String,
    /// Path of the call, without query.
    path: String,
    /// Host the proxy is connected to.
    host: String,
    /// One to eight cards.
    #[schema(min_items = 1, max_items = 8)]
    cards: Vec<ForwardCard>,
    /// The PSP idempotency key of this payment attempt.
    #[schema(min_length = 1, max_length = 1024)]
    attempt: Option<String>,
    /// The merchant's payment reference, for calls the route lets through once for each; not looked at for others. Kept keyed.
    #[schema(max_length = 255)]
    reference: Option<String>,
}

/// One card of a forward.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForwardCard {
    /// Its token; an alias where it stands for the number.
    token: String,
    /// What the call needs of it: `number`, `cvc`, `exp`, `holder`.
    #[schema(value_type = Vec<AttributeName>, min_items = 1)]
    attributes: Vec<Attribute>,
}

/// What a call may need of a card.
#[derive(ToSchema)]
#[schema(as = Attribute, rename_all = "lowercase")]
pub enum AttributeName {
    /// The card number.
    Number,
    /// The verification code.
    Cvc,
    /// The expiry.
    Exp,
    /// The cardholder's name.
    Holder,
}

/// An opened forward. The answer is written by hand, so that no type of this program can serialize a card number.
#[derive(ToSchema)]
#[schema(as = Forward)]
#[expect(dead_code, reason = "describes what `write` writes; a test holds them together")]
pub struct ForwardOpened {
    /// The forward's id.
    id: String,
    /// Whose cards these are.
    tenant: String,
    /// In the order asked, each with only what was asked.
    cards: Vec<ReleasedCard>,
}

/// What is released of one card.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what `write` writes")]
pub struct ReleasedCard {
    /// The card number.
    #[schema(extensions(("x-pci-data" = json!("pan"))))]
    number: Option<String>,
    /// The verification code; its one use.
    #[schema(extensions(("x-pci-data" = json!("sad"))))]
    cvc: Option<String>,
    /// 1 to 12.
    exp_month: Option<u8>,
    /// 2000 to 2099.
    exp_year: Option<u16>,
    /// Cardholder name.
    holder: Option<String>,
}

const FIELDS: &[&str] = &[
    "/caller",
    "/caller_cert_sha256",
    "/origin",
    "/route",
    "/route_sha256",
    "/account",
    "/method",
    "/path",
    "/host",
    "/cards",
    "/attempt",
    "/reference",
];
/// Longest attempt a proxy may name; PSP idempotency keys end at 255.
const ATTEMPT_BYTES_MAX: usize = 1_024;

/// Open a forward.
#[utoipa::path(
    post,
    path = "/v1/forwards",
    tag = "forwards",
    operation_id = "openForward",
    request_body = ForwardBody,
    responses(
        (status = 201, description = "the forward is open and on the log; the card data", body = ForwardOpened, links(
            ("outcome" = (operation_id = "recordOutcome", parameters(("id" = "$response.body#/id")))),
            ("story" = (operation_id = "showForward", parameters(("id" = "$response.body#/id")))),
        )),
        (status = "default", description = "a problem", body = crate::http::problem::ProblemBody, content_type = "application/problem+json"),
    ),
)]
pub async fn open(
    State(vault): State<Arc<Vault>>,
    asking: Asking,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Result<Response, Refused> {
    let mut wanted = None;
    match try_open(&vault, &asking, &headers, body, &mut wanted).await {
        Ok(opened) => Ok(answer(&opened)),
        Err(error) => {
            let error = vault.refuse_forward(&asking, wanted.as_ref(), error).await;
            Err(Refused::telling(&error, Denial::TokenNotFound, Some(asking.request.id)))
        }
    }
}

async fn try_open(
    vault: &Vault,
    asking: &Asking,
    headers: &HeaderMap,
    body: Result<Bytes, BytesRejection>,
    seen: &mut Option<Wanted>,
) -> Result<Opened, OperationError> {
    let authorizer = vault.authorizer.load_full();
    authorizer.admit::<OpenForward>(&asking.caller.workload)?;
    let bytes = body::bytes(body).map_err(OperationError::Request)?;
    let parsed: ForwardBody = body::parse(headers, &bytes, FIELDS).map_err(OperationError::Request)?;
    let route_sha256 = sha256(&parsed.route_sha256, "/route_sha256")?;
    let route = authorizer.check_route(&parsed.claim(&route_sha256))?;
    let cards = vault.resolve(&parsed.names()?).await?;
    let wanted = seen.insert(parsed.into_wanted(route, cards)?);
    authorizer.must_not_be_suspended(&wanted.caller)?;
    let (tenant, rows) = vault.find_cards(asking, wanted).await?;
    let facts = vault.tenant_facts(&tenant).await?;
    let cards =
        wanted.cards.iter().map(|(card, attributes)| WantedCard { card: *card, attributes: *attributes });
    let subject = OpenForwardSubject {
        caller: wanted.caller.clone(),
        tenant,
        route: wanted.route.clone(),
        cards: cards.collect(),
    };
    let permit = authorizer.decide(&asking.caller.workload, subject, &facts)?;
    vault.open_forward(asking, permit, wanted, rows).await
}

fn answer(opened: &Opened) -> Response {
    let body = write(opened);
    let mut response = (StatusCode::CREATED, Bytes::from_owner(body)).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Room for eight cards with the longest names, so that the buffer never grows and leaves a copy behind.
const ANSWER_BYTES_MAX: usize = 8 * 1_024;

/// The one place of this program where card data becomes an answer.
fn write(opened: &Opened) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(ANSWER_BYTES_MAX));
    out.extend_from_slice(
        format!(r#"{{"id":"{}","tenant":"{}","cards":["#, opened.id, opened.tenant).as_bytes(),
    );
    for (place, card) in opened.cards.iter().enumerate() {
        if place > 0 {
            out.push(b',');
        }
        write_card(&mut out, card);
    }
    out.extend_from_slice(b"]}");
    out
}

fn write_card(out: &mut Vec<u8>, card: &Released) {
    let mut separator = b'{';
    let mut member = |out: &mut Vec<u8>, name: &str, value: &dyn Fn(&mut Vec<u8>)| {
        out.push(separator);
        separator = b',';
        out.extend_from_slice(format!("\"{name}\":").as_bytes());
        value(out);
    };
    if card.attributes.contains(Attribute::Number) {
        #[expect(clippy::disallowed_methods, reason = "the forward's answer: audited and durable")]
        let number = card.secrets.pan.expose_secret();
        member(out, "number", &|out| write_text(out, number));
    }
    if let Some(cvc) = &card.cvc {
        #[expect(clippy::disallowed_methods, reason = "the forward's answer: audited and durable")]
        let cvc = cvc.expose_secret();
        member(out, "cvc", &|out| write_text(out, cvc));
    }
    if let Some(expiry) = card.secrets.expiry.filter(|_| card.attributes.contains(Attribute::Exp)) {
        member(out, "exp_month", &|out| out.extend_from_slice(expiry.month().to_string().as_bytes()));
        member(out, "exp_year", &|out| out.extend_from_slice(expiry.year().to_string().as_bytes()));
    }
    if let Some(holder) = card.secrets.holder.as_ref().filter(|_| card.attributes.contains(Attribute::Holder))
    {
        #[expect(clippy::disallowed_methods, reason = "the forward's answer: audited and durable")]
        let holder = holder.expose_secret();
        member(out, "holder", &|out| write_text(out, holder));
    }
    out.push(b'}');
}

/// A JSON string, written straight into the buffer.
fn write_text(out: &mut Vec<u8>, text: &str) {
    serde_json::to_writer(out, text).expect("a text always serializes into memory");
}

impl ForwardBody {
    fn claim<'a>(&'a self, route_sha256: &'a [u8; 32]) -> RouteClaim<'a> {
        RouteClaim {
            route: &self.route,
            route_sha256,
            account: &self.account,
            method: &self.method,
            path: &self.path,
            host: &self.host,
            attributes: self.cards.iter().flat_map(|card| card.attributes.iter().copied()).collect(),
        }
    }

    /// What its cards are called. Before anything is looked up of them: each card of a refused forward is an entry of
    /// its own.
    fn names(&self) -> Result<Vec<CardName>, OperationError> {
        if self.cards.len() > CARDS_MAX {
            return Err(invalid("a forward names one to eight different tokens", "/cards"));
        }
        let name = |card: &ForwardCard| {
            let name = CardName::parse(&card.token).ok()?;
            (!name.is_for_numbers_only() || card.attributes.contains(&Attribute::Number)).then_some(name)
        };
        self.cards.iter().map(|card| name(card).ok_or(OperationError::UnknownToken)).collect()
    }

    fn into_wanted(self, route: RouteFacts, named: Vec<NamedCard>) -> Result<Wanted, OperationError> {
        let caller = WorkloadId::parse(&self.caller)
            .map_err(|_| invalid("the caller is no workload's name", "/caller"))?;
        if self
            .attempt
            .as_ref()
            .is_some_and(|attempt| attempt.is_empty() || attempt.len() > ATTEMPT_BYTES_MAX)
        {
            return Err(invalid("the attempt is empty or longer than 1,024 bytes", "/attempt"));
        }
        let mut cards = Vec::with_capacity(self.cards.len());
        for (card, named) in self.cards.iter().zip(named) {
            let attributes: AttributeSet = card.attributes.iter().copied().collect();
            if attributes.is_empty() {
                return Err(invalid("a card without attributes", "/cards"));
            }
            cards.push((named, attributes));
        }
        let reference = reference_of(route.call().once.is_some(), self.reference.as_deref())?;
        Ok(Wanted {
            caller,
            caller_certificate_sha256: sha256(&self.caller_cert_sha256, "/caller_cert_sha256")?,
            origin: self.origin,
            route,
            cards,
            attempt: self.attempt,
            reference,
        })
    }
}

fn invalid(detail: &'static str, pointer: &'static str) -> OperationError {
    OperationError::Request(Problem::because(ProblemKind::InvalidRequest, detail).at(pointer))
}

fn sha256(text: &str, pointer: &'static str) -> Result<[u8; 32], OperationError> {
    let mut digest = [0; 32];
    hex::decode_to_slice(text, &mut digest).map_err(|_| invalid("not 64 hex digits", pointer))?;
    Ok(digest)
}
