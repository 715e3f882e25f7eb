//! Adyen's Checkout API: `POST /v72/payments` and refunds, at both spellings and the two latest versions of its paths.
//!
//! Promises: the same numbers decide as everywhere here; a refusal by the issuer is a 200 with `resultCode`, one of the request
//! a 4xx with `errorCode`, as Adyen's SDKs read them.
//! Does not promise: any more of Adyen; holder names steer nothing.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Refusal, Reply};
use super::card::CardFields;
use super::cards::{Delivery, Outcome};
use super::desk::Desk;
use super::ledger::Payment;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewPayment {
    amount: Option<Amount>,
    reference: Option<String>,
    merchant_account: Option<String>,
    payment_method: Option<Method>,
}

#[derive(Deserialize)]
struct Amount {
    value: u64,
    currency: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Method {
    number: Option<String>,
    cvc: Option<String>,
    expiry_month: Option<String>,
    expiry_year: Option<String>,
}

/// The API key, or its refusal as Adyen writes one.
pub(super) fn authenticate(given: Option<&str>, right: Option<&str>) -> Result<String, Box<Reply>> {
    match (given, right) {
        (Some(given), right) if !given.is_empty() && right.is_none_or(|right| right == given) => {
            Ok(given.to_owned())
        }
        _ => Err(Box::new(error(401, "000", "HTTP Status Response - Unauthorized", "security"))),
    }
}

pub(super) fn create(desk: &mut Desk<'_>, body: &[u8]) -> Result<Reply, Refusal> {
    let Ok(payment) = serde_json::from_slice::<NewPayment>(body) else {
        return Ok(invalid("702", "The request is no JSON of a payment"));
    };
    if payment.merchant_account.is_none_or(|account| account.is_empty()) {
        return Ok(error(403, "901", "Invalid Merchant Account", "security"));
    }
    let Some(Amount { value, currency }) = payment.amount else {
        return Ok(invalid("100", "No amount specified"));
    };
    let Some(reference) = payment.reference else {
        return Ok(invalid("130", "Reference Missing"));
    };
    let Some(method) = payment.payment_method else {
        return Ok(invalid("14_0408", "No payment method specified"));
    };
    let number = |text: &Option<String>| text.as_ref().map(|text| text.parse().unwrap_or(u64::MAX));
    let card = desk.card(&CardFields {
        number: method.number.as_deref(),
        cvc: method.cvc.as_deref(),
        exp_month: number(&method.expiry_month),
        exp_year: number(&method.expiry_year),
    });
    let card = match card {
        Ok(card) => card,
        Err(refusal) => return Ok(unusable(&refusal)),
    };
    if card.delivery == Delivery::Redirect {
        return Ok(Reply::new(200, Value::Null).of_card(&card));
    }
    let payment = Payment {
        id: desk.id("PSP")?,
        amount: value,
        currency,
        reference: Some(reference),
        card: card.on_file.clone(),
        submitted: false,
        created: desk.now.unix_seconds(),
    };
    desk.ledger.put_payment(payment.clone());
    Ok(Reply::new(200, shown(&payment)).of_card(&card))
}

/// Received, not done: Adyen says by webhook what became of it.
pub(super) fn refund(desk: &Desk<'_>, id: &str, body: &[u8]) -> Result<Reply, Refusal> {
    let Ok(asked) = serde_json::from_slice::<Value>(body) else {
        return Ok(invalid("702", "The request is no JSON of a refund"));
    };
    if desk.ledger.payment(id).is_none() {
        return Ok(invalid("167", "Original pspReference required for this operation"));
    }
    let body = json!({
        "merchantAccount": asked["merchantAccount"], "paymentPspReference": id, "pspReference": desk.id("PSP")?,
        "amount": asked["amount"], "status": "received",
    });
    Ok(Reply::new(201, body))
}

fn shown(payment: &Payment) -> Value {
    let card = &payment.card;
    let mut shown = json!({
        "pspReference": payment.id,
        "merchantReference": payment.reference,
        "amount": { "currency": payment.currency, "value": payment.amount },
        "resultCode": "Authorised",
        "additionalData": {
            "cardSummary": card.last4,
            "expiryDate": format!("{}/{}", card.exp_month, card.exp_year),
            "paymentMethod": card.brand.as_str(),
        },
    });
    if let Some((result, code, reason)) = refused(card.outcome) {
        shown["resultCode"] = result.into();
        shown["refusalReasonCode"] = code.into();
        shown["refusalReason"] = reason.into();
    }
    shown
}

/// Result code, refusal code and reason. `None`: authorised.
const fn refused(outcome: Outcome) -> Option<(&'static str, &'static str, &'static str)> {
    match outcome {
        Outcome::Approved => None,
        Outcome::Declined | Outcome::NotATestCard => Some(("Refused", "2", "Refused")),
        Outcome::InsufficientFunds => Some(("Refused", "12", "Not enough balance")),
        Outcome::Lost | Outcome::Stolen => Some(("Refused", "5", "Blocked Card")),
        Outcome::Expired => Some(("Refused", "6", "Expired Card")),
        Outcome::IncorrectCvc => Some(("Refused", "24", "CVC Declined")),
        Outcome::ProcessingError => Some(("Error", "4", "Acquirer Error")),
    }
}

/// Why a card cannot be charged at all.
fn unusable(refusal: &Refusal) -> Reply {
    match refusal.code {
        Some("invalid_cvc") => invalid("103", "CVC is not the right length"),
        Some("invalid_expiry_month" | "invalid_expiry_year") => invalid("129", "Expiry Date Invalid"),
        Some("parameter_missing") => invalid("14_0408", "The card is not complete"),
        _ => invalid("101", "Invalid card number"),
    }
}

fn invalid(code: &str, message: &str) -> Reply {
    error(422, code, message, "validation")
}

fn error(status: u16, code: &str, message: &str, kind: &str) -> Reply {
    Reply::new(status, json!({ "status": status, "errorCode": code, "message": message, "errorType": kind }))
}
