//! `/v1/payment_methods`.

use serde_json::{Value, json};

use super::card_fields;
use crate::psp::answer::{Refusal, Reply};
use crate::psp::card::CardRead;
use crate::psp::cards::Delivery;
use crate::psp::desk::Desk;
use crate::psp::ledger::Method;
use crate::psp::request::Form;

pub(in crate::psp) fn create(desk: &mut Desk<'_>, form: &Form) -> Result<Reply, Refusal> {
    let card = read(desk, form, "")?;
    if card.delivery == Delivery::Redirect {
        return Ok(Reply::new(200, Value::Null).of_card(&card));
    }
    let method = keep(desk, form, "", &card)?;
    Ok(Reply::new(200, shown(&method)).of_card(&card))
}

pub(in crate::psp) fn show(desk: &Desk<'_>, id: &str) -> Result<Reply, Refusal> {
    let method = desk.ledger.method(id);
    method.map(|method| Reply::new(200, shown(method))).ok_or(Refusal::unknown(
        404,
        "No such payment_method.",
        "payment_method",
    ))
}

/// Reads the card of a payment method whose fields lie below `parent` (empty: at the top).
pub(super) fn read(desk: &Desk<'_>, form: &Form, parent: &str) -> Result<CardRead, Refusal> {
    match form.value(&name(parent, "type")) {
        Some("card") => desk.card(&card_fields(form, &name(parent, "card"))),
        Some(_) => Err(Refusal::invalid("The sandbox knows the type `card` only.", "type")),
        None => Err(Refusal::missing("type")),
    }
}

pub(super) fn keep(
    desk: &mut Desk<'_>,
    form: &Form,
    parent: &str,
    card: &CardRead,
) -> Result<Method, Refusal> {
    let method = Method {
        id: desk.id("pm_")?,
        card: card.on_file.clone(),
        holder: form.value(&format!("{}[name]", name(parent, "billing_details"))).map(str::to_owned),
        metadata: form.map(&name(parent, "metadata")),
        created: desk.now.unix_seconds(),
    };
    desk.ledger.put_method(method.clone());
    Ok(method)
}

pub(super) fn shown(method: &Method) -> Value {
    let card = &method.card;
    json!({
        "id": method.id,
        "object": "payment_method",
        "allow_redisplay": "unspecified",
        "billing_details": { "address": null, "email": null, "name": method.holder, "phone": null },
        "card": {
            "brand": card.brand.as_str(),
            "checks": {
                "address_line1_check": null,
                "address_postal_code_check": null,
                "cvc_check": card.has_cvc.then_some("unchecked"),
            },
            "country": "US",
            "display_brand": card.brand.as_str(),
            "exp_month": card.exp_month,
            "exp_year": card.exp_year,
            "fingerprint": card.fingerprint,
            "funding": "credit",
            "last4": card.last4,
            "wallet": null,
        },
        "created": method.created,
        "customer": null,
        "livemode": false,
        "metadata": method.metadata,
        "type": "card",
    })
}

fn name(parent: &str, field: &str) -> String {
    if parent.is_empty() { field.to_owned() } else { format!("{parent}[{field}]") }
}
