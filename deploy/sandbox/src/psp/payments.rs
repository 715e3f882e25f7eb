//! `/json/payments`: the same business as strict JSON, expiries as bare integers.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{Refusal, Reply};
use super::card::CardFields;
use super::cards::Delivery;
use super::desk::Desk;
use super::ledger::Payment;
use super::stripe::intent::declined;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewPayment {
    amount: u64,
    currency: String,
    reference: Option<String>,
    card: NewCard,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewCard {
    number: String,
    cvc: Option<String>,
    expiry_month: u64,
    expiry_year: u64,
    /// Read, so that it may be sent; a stand-in does nothing with a name.
    #[serde(rename = "name")]
    _name: Option<String>,
}

/// 201 when it is approved, 402 with the reason when it is not; both can be looked up by `id`.
pub(super) fn create(desk: &mut Desk<'_>, body: &[u8]) -> Result<Reply, Refusal> {
    let payment: NewPayment = serde_json::from_slice(body)
        .map_err(|_| Refusal::invalid("The body is not the JSON of a payment.", "body"))?;
    let card = desk.card(&CardFields {
        number: Some(&payment.card.number),
        cvc: payment.card.cvc.as_deref(),
        exp_month: Some(payment.card.expiry_month),
        exp_year: Some(payment.card.expiry_year),
    })?;
    if card.delivery == Delivery::Redirect {
        return Ok(Reply::new(201, Value::Null).of_card(&card));
    }
    let payment = Payment {
        id: desk.id("pay_")?,
        amount: payment.amount,
        currency: payment.currency,
        reference: payment.reference,
        card: card.on_file.clone(),
        submitted: true,
        created: desk.now.unix_seconds(),
    };
    desk.ledger.put_payment(payment.clone());
    let status = if declined(payment.card.outcome).is_none() { 201 } else { 402 };
    Ok(Reply::new(status, shown(&payment)).of_card(&card))
}

pub(super) fn show(desk: &Desk<'_>, id: &str) -> Result<Reply, Refusal> {
    let payment = desk.ledger.payment(id);
    payment.map(|payment| Reply::new(200, shown(payment))).ok_or(Refusal::unknown(
        404,
        "No such payment.",
        "payment",
    ))
}

fn shown(payment: &Payment) -> Value {
    let card = &payment.card;
    let mut shown = json!({
        "id": payment.id,
        "status": "approved",
        "amount": payment.amount,
        "currency": payment.currency,
        "reference": payment.reference,
        "card": {
            "brand": card.brand.as_str(),
            "last4": card.last4,
            "expiry_month": card.exp_month,
            "expiry_year": card.exp_year,
            "fingerprint": card.fingerprint,
        },
        "created": payment.created,
    });
    if let Some((code, decline_code, message)) = declined(card.outcome) {
        shown["status"] = "declined".into();
        shown["error"] = json!({ "code": code, "decline_code": decline_code, "message": message });
    }
    shown
}
