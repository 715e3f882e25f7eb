//! What proxy and vault say to each other, in JSON.
//!
//! Promises: card data read here goes straight into wiped strings. Fields this version does not know are passed over,
//! because `/v1` only adds.

use std::fmt;

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use serde::{Deserialize, Deserializer, Serialize};
use strongroom_domain::route::AttributeSet;
use strongroom_domain::{Expiry, FirstState, ForwardId, ProblemKind, WorkloadId};

use crate::inject::ReleasedCard;
use crate::measure::{Stage, Stages};

/// `POST /v1/forwards`.
#[derive(Serialize)]
pub struct OpenRequest<'a> {
    /// Who asked the proxy.
    pub caller: &'a WorkloadId,
    /// SHA-256 of the caller's certificate, hex.
    pub caller_cert_sha256: String,
    /// The route.
    pub route: &'a str,
    /// SHA-256 of the route file, hex: the vault answers only proxies that hold its own.
    pub route_sha256: String,
    /// The account at the PSP.
    pub account: &'a str,
    /// Upper case.
    pub method: &'a str,
    /// Below the route, without query.
    pub path: &'a str,
    /// The PSP's host.
    pub host: &'a str,
    /// Each token once.
    pub cards: Vec<WantedCard<'a>>,
    /// The PSP's idempotency key, if the request has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<&'a str>,
    /// The merchant's payment reference, if the route lets each through once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<&'a str>,
    /// Where the caller connected from.
    pub origin: String,
}

/// One token and what is asked of its card.
#[derive(Serialize)]
pub struct WantedCard<'a> {
    /// The whole token.
    pub token: &'a str,
    /// What its places need.
    pub attributes: AttributeSet,
}

impl OpenRequest<'_> {
    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings, numbers and lists always serialise")
    }
}

/// A forward that is open: card data for one request.
#[derive(Debug)]
pub struct Opened {
    /// Its id.
    pub id: ForwardId,
    /// The cards, in the order asked.
    pub cards: Vec<ReleasedCard>,
    /// The receipts of its entries on the vault's log; none from a vault of the release before.
    pub receipts: Option<HeaderValue>,
}

/// The vault's answer is not what this version reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the documented answer of `POST /v1/forwards`")]
pub struct MalformedAnswer;

impl Opened {
    /// Reads a 201.
    pub fn parse(body: &[u8]) -> Result<Self, MalformedAnswer> {
        // serde's messages can quote the input, which is card data here: dropped on purpose.
        let wire: OpenedWire = serde_json::from_slice(body).map_err(|_| MalformedAnswer)?;
        let cards = wire.cards.into_iter().map(CardWire::into_card).collect::<Option<_>>();
        Ok(Self { id: wire.id, cards: cards.ok_or(MalformedAnswer)?, receipts: None })
    }
}

/// Names the receipts of what the vault wrote on its log.
pub const RECEIPTS: HeaderName = HeaderName::from_static("strongroom-receipt");
/// Longest list of receipts: the vault names sixteen, each of at most 60 bytes.
const RECEIPTS_BYTES_MAX: usize = 1_024;

/// The receipts of an answer, if it names any and they are written as the vault writes them.
pub(super) fn receipts(headers: &HeaderMap) -> Option<HeaderValue> {
    let value = headers.get(RECEIPTS)?;
    let right = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'a'..=b'f' | b'-' | b'.' | b',' | b' ');
    let bytes = value.as_bytes();
    ((1..=RECEIPTS_BYTES_MAX).contains(&bytes.len()) && bytes.iter().all(right)).then(|| value.clone())
}

#[derive(Deserialize)]
struct OpenedWire {
    id: ForwardId,
    cards: Vec<CardWire>,
}

#[derive(Deserialize)]
struct CardWire {
    number: Option<Secret>,
    cvc: Option<Secret>,
    exp_month: Option<u8>,
    exp_year: Option<u16>,
    holder: Option<Secret>,
}

impl CardWire {
    fn into_card(self) -> Option<ReleasedCard> {
        let expiry = match (self.exp_month, self.exp_year) {
            (Some(month), Some(year)) => Some(Expiry::new(month, year).ok()?),
            (None, None) => None,
            _ => return None,
        };
        Some(ReleasedCard {
            number: self.number.map(|secret| secret.0),
            cvc: self.cvc.map(|secret| secret.0),
            expiry,
            holder: self.holder.map(|secret| secret.0),
        })
    }
}

struct Secret(SecretString);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Secret;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Secret, E> {
                Ok(Secret(SecretString::from(text)))
            }
        }
        deserializer.deserialize_str(Visitor)
    }
}

/// `PUT /v1/forwards/{id}/outcome`.
#[derive(Serialize, Clone, PartialEq, Eq, Debug)]
pub struct OutcomeReport {
    /// `answered`, `not-sent` or `unknown`.
    pub outcome: &'static str,
    /// The PSP's status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// From the first byte sent to the last byte received.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_ms: Option<u64>,
    /// Values replaced or masked in the answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scrubbed: Option<u32>,
    /// Digit runs that pass the check digit alone and were left.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pan_suspected: Option<u32>,
    /// The PSP's own name for the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub psp_request_id: Option<String>,
    /// How long each stage took. A vault of the release before does not take it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,
}

/// How long each stage of a call took, in microseconds.
#[derive(Serialize, Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Timings {
    #[serde(skip_serializing_if = "Option::is_none")]
    receive_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    plan_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    connect_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inject_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sign_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    upstream_us: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    scrub_us: Option<u64>,
}

impl Timings {
    /// As far as a call came.
    #[must_use]
    pub fn of(stages: &Stages) -> Self {
        let us = |stage| stages.of(stage).map(|took| u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
        Self {
            receive_us: us(Stage::Receive),
            plan_us: us(Stage::Plan),
            connect_us: us(Stage::Connect),
            open_us: us(Stage::Open),
            inject_us: us(Stage::Inject),
            sign_us: us(Stage::Sign),
            upstream_us: us(Stage::Upstream),
            scrub_us: us(Stage::Scrub),
        }
    }
}

impl OutcomeReport {
    /// An outcome of which nothing more is known.
    #[must_use]
    pub const fn bare(outcome: &'static str) -> Self {
        Self {
            outcome,
            status: None,
            upstream_ms: None,
            scrubbed: None,
            pan_suspected: None,
            psp_request_id: None,
            timings: None,
        }
    }

    pub(super) fn to_json(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("strings and numbers always serialise")
    }
}

/// The first forward under a payment reference, as the vault tells of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct First {
    /// Its id.
    pub forward: ForwardId,
    /// What is known of it.
    pub state: FirstState,
}

/// The type of a problem document, if it is one this version knows, and the forward it is about.
pub(super) fn problem(body: &[u8]) -> (Option<ProblemKind>, Option<First>) {
    #[derive(Deserialize)]
    struct Document<'a> {
        #[serde(borrow, rename = "type")]
        uri: &'a str,
        forward_id: Option<ForwardId>,
        #[serde(borrow)]
        state: Option<&'a str>,
    }
    let Ok(document) = serde_json::from_slice::<Document<'_>>(body) else { return (None, None) };
    let kind = ProblemKind::ALL.iter().copied().find(|kind| kind.type_uri() == document.uri);
    let state = document.state.and_then(FirstState::parse);
    let first = document.forward_id.zip(state).map(|(forward, state)| First { forward, state });
    (kind, first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::route::Attribute;

    const ID: &str = "0190a0b0-c0d0-7e0f-8f00-112233445566";

    #[test]
    fn receipts_are_passed_on_as_the_vault_writes_them_or_not_at_all() {
        let said =
            |text: &str| receipts(&HeaderMap::from_iter([(RECEIPTS, HeaderValue::try_from(text).unwrap())]));
        let receipt = "019aa5a0-0000-7000-8000-000000000001.17.2, 019aa5a0-0000-7000-8000-000000000001.20";
        assert_eq!(said(receipt).unwrap(), receipt);
        for wrong in ["", "019AA5A0.1", "tok_live_x", "a\"b", &"1.".repeat(600)] {
            assert_eq!(said(wrong), None, "{wrong}");
        }
        assert_eq!(receipts(&HeaderMap::new()), None);
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the test compares the number it wrote")]
    fn an_opened_forward_is_read_into_wiped_strings() {
        use secrecy::ExposeSecret as _;
        let body = format!(
            r#"{{"id":"{ID}","tenant":"acme","new_field":1,"cards":[
            {{"number":"4111111111111111","cvc":"123","exp_month":12,"exp_year":2030,"holder":"Zo\u00eb"}},{{}}]}}"#
        );
        let opened = Opened::parse(body.as_bytes()).unwrap();
        assert_eq!(opened.id.to_string(), ID);
        assert_eq!(opened.cards[0].number.as_ref().unwrap().expose_secret(), "4111111111111111");
        assert_eq!(opened.cards[0].holder.as_ref().unwrap().expose_secret(), "Zoë");
        assert_eq!(opened.cards[0].expiry, Some(Expiry::new(12, 2030).unwrap()));
        assert!(opened.cards[1].number.is_none() && opened.cards[1].expiry.is_none());
        assert!(!format!("{opened:?}").contains("4111"));
    }

    #[test]
    fn half_an_answer_is_none() {
        for wrong in [
            "",
            "{}",
            r#"{"id":"x","cards":[]}"#,
            r#"{"id":"0190a0b0-c0d0-7e0f-8f00-112233445566","cards":[{"exp_month":12}]}"#,
            r#"{"id":"0190a0b0-c0d0-7e0f-8f00-112233445566","cards":[{"exp_month":13,"exp_year":2030}]}"#,
            r#"{"id":"0190a0b0-c0d0-7e0f-8f00-112233445566","cards":[{"number":4111111111111111}]}"#,
        ] {
            assert_eq!(Opened::parse(wrong.as_bytes()).unwrap_err(), MalformedAnswer, "{wrong}");
        }
    }

    #[test]
    fn the_open_request_reads_as_documented() {
        let caller = WorkloadId::parse("spiffe://strongroom.test/orchestrator").unwrap();
        let attributes = [Attribute::Number, Attribute::Exp].into_iter().collect();
        let asked = OpenRequest {
            caller: &caller,
            caller_cert_sha256: "00".into(),
            route: "stripe",
            route_sha256: "11".into(),
            account: "default",
            method: "POST",
            path: "/v1/payment_methods",
            host: "api.stripe.com",
            cards: vec![WantedCard { token: "tok", attributes }],
            attempt: None,
            reference: Some("order-1"),
            origin: "10.0.0.1:5000".into(),
        };
        let value: serde_json::Value = serde_json::from_slice(&asked.to_json()).unwrap();
        assert_eq!(value["cards"][0]["attributes"], serde_json::json!(["number", "exp"]));
        assert!(value.get("attempt").is_none());
        assert_eq!(value["reference"], "order-1");
        let report = OutcomeReport { status: Some(200), ..OutcomeReport::bare("answered") };
        assert_eq!(report.to_json(), br#"{"outcome":"answered","status":200}"#);
        let timings = Some(Timings { open_us: Some(900), ..Timings::default() });
        let timed = OutcomeReport { timings, ..OutcomeReport::bare("not-sent") };
        assert_eq!(timed.to_json(), br#"{"outcome":"not-sent","timings":{"open_us":900}}"#);
    }

    #[test]
    fn problems_are_known_by_their_type() {
        let known = br#"{"type":"urn:strongroom:problem:token-not-found","title":"x","status":404}"#;
        assert_eq!(problem(known), (Some(ProblemKind::TokenNotFound), None));
        assert_eq!(problem(br#"{"type":"about:blank"}"#), (None, None));
        assert_eq!(problem(b"<html>"), (None, None));
        let taken = |state: &str| {
            let kind = ProblemKind::ReferenceTaken.type_uri();
            problem(format!(r#"{{"type":"{kind}","forward_id":"{ID}","state":"{state}"}}"#).as_bytes())
        };
        let first = First { forward: ForwardId::parse(ID).unwrap(), state: FirstState::Unknown };
        assert_eq!(taken("unknown"), (Some(ProblemKind::ReferenceTaken), Some(first)));
        assert_eq!(taken("whatever").1, None, "a word this version does not know is not passed on");
    }
}
