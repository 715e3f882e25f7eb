//! `/v1/refunds`.

use serde_json::{Value, json};

use super::number;
use crate::psp::answer::{Refusal, Reply};
use crate::psp::desk::Desk;
use crate::psp::ledger::Refund;
use crate::psp::request::Form;

pub(in crate::psp) fn create(desk: &mut Desk<'_>, form: &Form) -> Result<Reply, Refusal> {
    let intent = match (form.value("payment_intent"), form.value("charge")) {
        (Some(id), _) => desk.ledger.intent(id),
        (None, Some(charge)) => desk.ledger.intent_of_charge(charge),
        (None, None) => return Err(Refusal::missing("payment_intent")),
    };
    let mut intent = intent.cloned().ok_or(Refusal::unknown(
        404,
        "No such payment_intent or charge.",
        "payment_intent",
    ))?;
    let left = intent.received - intent.refunded;
    if left == 0 {
        return Err(Refusal::invalid("There is nothing to refund, or nothing more.", "payment_intent")
            .coded("charge_already_refunded"));
    }
    let amount = number(form, "amount", "amount")?.unwrap_or(left);
    if amount == 0 || amount > left {
        return Err(Refusal::invalid("The amount is not 1 up to what is left of the charge.", "amount")
            .coded("amount_too_large"));
    }
    let refund = Refund {
        id: desk.id("re_")?,
        intent: intent.id.clone(),
        charge: intent.charge.clone(),
        amount,
        currency: intent.currency.clone(),
        reason: form.value("reason").map(str::to_owned),
        metadata: form.map("metadata"),
        created: desk.now.unix_seconds(),
    };
    intent.refunded += amount;
    desk.ledger.put_intent(intent);
    desk.ledger.put_refund(refund.clone());
    Ok(Reply::new(200, shown(&refund)))
}

pub(in crate::psp) fn show(desk: &Desk<'_>, id: &str) -> Result<Reply, Refusal> {
    let refund = desk.ledger.refund(id);
    refund.map(|refund| Reply::new(200, shown(refund))).ok_or(Refusal::unknown(
        404,
        "No such refund.",
        "refund",
    ))
}

fn shown(refund: &Refund) -> Value {
    json!({
        "id": refund.id,
        "object": "refund",
        "amount": refund.amount,
        "charge": refund.charge,
        "created": refund.created,
        "currency": refund.currency,
        "metadata": refund.metadata,
        "payment_intent": refund.intent,
        "reason": refund.reason,
        "status": "succeeded",
    })
}
