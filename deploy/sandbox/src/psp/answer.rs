//! Answers and refusals, before they are delivered.

use serde_json::{Value, json};
use strongroom_domain::RandomUnavailable;

use super::card::CardRead;
use super::cards::Delivery;

/// An answer before it is delivered.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) body: Value,
    /// A body of XML instead.
    pub(super) xml: Option<String>,
    /// Whether a byte-order mark stands before the body.
    pub(super) marked: bool,
    /// Headers besides those of every answer.
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) delivery: Delivery,
    /// The card in the request, for the answers that echo it.
    pub(super) seen: Option<Seen>,
}

impl Reply {
    pub(super) fn new(status: u16, body: Value) -> Self {
        let (headers, delivery) = (Vec::new(), Delivery::Plain);
        Self { status, body, xml: None, marked: false, headers, delivery, seen: None }
    }

    pub(super) fn xml(status: u16, body: String) -> Self {
        Self { xml: Some(body), ..Self::new(status, Value::Null) }
    }

    /// The same after a byte-order mark.
    pub(super) fn with_mark(self) -> Self {
        Self { marked: true, ..self }
    }

    /// The same, delivered as the card in the request demands.
    pub(super) fn of_card(self, card: &CardRead) -> Self {
        let seen = Seen { number: card.number.clone(), cvc: card.cvc.clone() };
        Self { delivery: card.delivery, seen: Some(seen), ..self }
    }
}

/// The digits in a request.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) number: String,
    pub(super) cvc: Option<String>,
}

/// A request that is not answered with what it asked for.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: u16,
    pub(super) kind: &'static str,
    pub(super) code: Option<&'static str>,
    pub(super) decline_code: Option<&'static str>,
    pub(super) message: &'static str,
    pub(super) param: Option<&'static str>,
    /// The intent as it now is.
    pub(super) intent: Option<Box<Value>>,
}

impl Refusal {
    pub(super) fn invalid(message: &'static str, param: &'static str) -> Self {
        Self {
            status: 400,
            kind: "invalid_request_error",
            code: None,
            decline_code: None,
            message,
            param: Some(param),
            intent: None,
        }
    }

    pub(super) fn missing(param: &'static str) -> Self {
        Self::invalid("Missing required param.", param).coded("parameter_missing")
    }

    pub(super) fn unknown(status: u16, message: &'static str, param: &'static str) -> Self {
        let refusal = Self::invalid(message, param).coded("resource_missing");
        Self { status, ..refusal }
    }

    pub(super) fn card(code: &'static str, message: &'static str, param: &'static str) -> Self {
        let refusal = Self::invalid(message, param).coded(code);
        Self { status: 402, kind: "card_error", ..refusal }
    }

    pub(super) fn coded(self, code: &'static str) -> Self {
        Self { code: Some(code), ..self }
    }

    pub(super) fn broken() -> Self {
        let refusal = Self::invalid("The sandbox PSP cannot write its state or draw randomness.", "");
        Self { status: 500, kind: "api_error", param: None, ..refusal }
    }

    /// How Stripe writes it.
    pub(super) fn reply(self) -> Reply {
        let mut error = json!({ "type": self.kind, "message": self.message });
        let known = [("code", self.code), ("decline_code", self.decline_code), ("param", self.param)];
        for (name, value) in known {
            if let Some(value) = value {
                error[name] = value.into();
            }
        }
        if let Some(intent) = self.intent {
            error["payment_intent"] = *intent;
        }
        Reply::new(self.status, json!({ "error": error }))
    }
}

impl From<RandomUnavailable> for Refusal {
    fn from(_: RandomUnavailable) -> Self {
        Self::broken()
    }
}
