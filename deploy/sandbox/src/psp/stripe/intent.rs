//! `/v1/payment_intents`.

use serde_json::{Value, json};

use super::{method, number};
use crate::psp::answer::{Refusal, Reply};
use crate::psp::card::CardRead;
use crate::psp::cards::{Delivery, Outcome};
use crate::psp::desk::Desk;
use crate::psp::ledger::{Intent, IntentStatus, Method};
use crate::psp::request::Form;

const METHOD_DATA: &str = "payment_method_data";

pub(in crate::psp) fn create(desk: &mut Desk<'_>, form: &Form) -> Result<Reply, Refusal> {
    let amount = number(form, "amount", "amount")?.ok_or(Refusal::missing("amount"))?;
    if amount == 0 {
        return Err(Refusal::invalid("The amount is at least 1.", "amount").coded("amount_too_small"));
    }
    let currency = form.value("currency").ok_or(Refusal::missing("currency"))?.to_ascii_lowercase();
    if currency.len() != 3 || !currency.bytes().all(|byte| byte.is_ascii_lowercase()) {
        return Err(Refusal::invalid("Invalid currency.", "currency"));
    }
    let card = card_of(desk, form)?;
    if let Some(card) = card.as_ref().filter(|card| card.delivery == Delivery::Redirect) {
        return Ok(Reply::new(200, Value::Null).of_card(card));
    }
    let found = method_of(desk, form, card.as_ref())?;
    let id = desk.id("pi_")?;
    let mut intent = Intent {
        client_secret: desk.id(&format!("{id}_secret_"))?,
        id,
        status: IntentStatus::RequiresPaymentMethod,
        amount,
        capturable: 0,
        received: 0,
        refunded: 0,
        currency,
        manual_capture: form.value("capture_method") == Some("manual"),
        method: None,
        charge: None,
        declined: None,
        description: form.value("description").map(str::to_owned),
        metadata: form.map("metadata"),
        cancellation_reason: None,
        canceled: None,
        created: desk.now.unix_seconds(),
    };
    attach(&mut intent, found.as_ref());
    let result = if form.value("confirm") == Some("true") {
        let method = found.ok_or(Refusal::invalid(
            "You cannot confirm this PaymentIntent because it's missing a payment method.",
            "payment_method",
        ))?;
        charge(desk, intent, &method)
    } else {
        desk.ledger.put_intent(intent.clone());
        Ok(Reply::new(200, shown(&intent)))
    };
    result.map(|reply| with_card(reply, card.as_ref()))
}

pub(in crate::psp) fn show(desk: &Desk<'_>, id: &str) -> Result<Reply, Refusal> {
    Ok(Reply::new(200, shown(&find(desk, id)?)))
}

pub(in crate::psp) fn confirm(desk: &mut Desk<'_>, id: &str, form: &Form) -> Result<Reply, Refusal> {
    let mut intent = find(desk, id)?;
    if !matches!(intent.status, IntentStatus::RequiresPaymentMethod | IntentStatus::RequiresConfirmation) {
        return Err(unexpected_state(&intent));
    }
    let card = card_of(desk, form)?;
    if let Some(card) = card.as_ref().filter(|card| card.delivery == Delivery::Redirect) {
        return Ok(Reply::new(200, Value::Null).of_card(card));
    }
    let found = method_of(desk, form, card.as_ref())?;
    attach(&mut intent, found.as_ref());
    let method = intent.method.as_deref().and_then(|id| desk.ledger.method(id)).cloned();
    let method = method.ok_or(Refusal::invalid(
        "You cannot confirm this PaymentIntent because it's missing a payment method.",
        "payment_method",
    ))?;
    charge(desk, intent, &method).map(|reply| with_card(reply, card.as_ref()))
}

pub(in crate::psp) fn capture(desk: &mut Desk<'_>, id: &str, form: &Form) -> Result<Reply, Refusal> {
    let mut intent = find(desk, id)?;
    if intent.status != IntentStatus::RequiresCapture {
        return Err(unexpected_state(&intent));
    }
    let amount = number(form, "amount_to_capture", "amount_to_capture")?.unwrap_or(intent.capturable);
    if amount == 0 || amount > intent.capturable {
        return Err(Refusal::invalid("The amount is not 1 up to what can be captured.", "amount_to_capture")
            .coded("amount_too_large"));
    }
    (intent.received, intent.capturable) = (amount, 0);
    intent.status = IntentStatus::Succeeded;
    desk.ledger.put_intent(intent.clone());
    Ok(Reply::new(200, shown(&intent)))
}

pub(in crate::psp) fn cancel(desk: &mut Desk<'_>, id: &str, form: &Form) -> Result<Reply, Refusal> {
    let mut intent = find(desk, id)?;
    if matches!(intent.status, IntentStatus::Succeeded | IntentStatus::Canceled) {
        return Err(unexpected_state(&intent));
    }
    intent.status = IntentStatus::Canceled;
    intent.capturable = 0;
    intent.canceled = Some(desk.now.unix_seconds());
    intent.cancellation_reason = form.value("cancellation_reason").map(str::to_owned);
    desk.ledger.put_intent(intent.clone());
    Ok(Reply::new(200, shown(&intent)))
}

fn find(desk: &Desk<'_>, id: &str) -> Result<Intent, Refusal> {
    let intent = desk.ledger.intent(id).cloned();
    intent.ok_or(Refusal::unknown(404, "No such payment_intent.", "intent"))
}

/// The card given in this very request, if one is.
fn card_of(desk: &Desk<'_>, form: &Form) -> Result<Option<CardRead>, Refusal> {
    form.holds(METHOD_DATA).then(|| method::read(desk, form, METHOD_DATA)).transpose()
}

fn method_of(desk: &mut Desk<'_>, form: &Form, card: Option<&CardRead>) -> Result<Option<Method>, Refusal> {
    if let Some(card) = card {
        return method::keep(desk, form, METHOD_DATA, card).map(Some);
    }
    let Some(id) = form.value("payment_method") else { return Ok(None) };
    let method = desk.ledger.method(id).cloned();
    method.map(Some).ok_or(Refusal::unknown(400, "No such PaymentMethod.", "payment_method"))
}

fn attach(intent: &mut Intent, method: Option<&Method>) {
    if let Some(method) = method {
        intent.method = Some(method.id.clone());
        intent.status = IntentStatus::RequiresConfirmation;
    }
}

fn with_card(reply: Reply, card: Option<&CardRead>) -> Reply {
    match card {
        Some(card) => reply.of_card(card),
        None => reply,
    }
}

/// Takes the money, or says why not.
fn charge(desk: &mut Desk<'_>, mut intent: Intent, method: &Method) -> Result<Reply, Refusal> {
    intent.charge = Some(desk.id("ch_")?);
    let declined = refusal(method.card.outcome);
    if let Some(refusal) = declined {
        intent.status = IntentStatus::RequiresPaymentMethod;
        intent.method = None;
        intent.declined = Some(method.card.outcome);
        desk.ledger.put_intent(intent.clone());
        return Err(Refusal { intent: Some(Box::new(shown(&intent))), ..refusal });
    }
    intent.declined = None;
    if intent.manual_capture {
        intent.capturable = intent.amount;
        intent.status = IntentStatus::RequiresCapture;
    } else {
        intent.received = intent.amount;
        intent.status = IntentStatus::Succeeded;
    }
    desk.ledger.put_intent(intent.clone());
    Ok(Reply::new(200, shown(&intent)))
}

fn refusal(outcome: Outcome) -> Option<Refusal> {
    let (code, decline_code, message) = declined(outcome)?;
    let refusal = Refusal::card(code, message, "");
    Some(Refusal { decline_code, param: None, ..refusal })
}

/// Code, decline code and words of a declined payment.
pub(in crate::psp) fn declined(
    outcome: Outcome,
) -> Option<(&'static str, Option<&'static str>, &'static str)> {
    Some(match outcome {
        Outcome::Approved => return None,
        Outcome::Declined => ("card_declined", Some("generic_decline"), "Your card was declined."),
        Outcome::InsufficientFunds => {
            ("card_declined", Some("insufficient_funds"), "Your card has insufficient funds.")
        }
        Outcome::Lost => ("card_declined", Some("lost_card"), "Your card was declined."),
        Outcome::Stolen => ("card_declined", Some("stolen_card"), "Your card was declined."),
        Outcome::Expired => ("expired_card", None, "Your card has expired."),
        Outcome::IncorrectCvc => ("incorrect_cvc", None, "Your card's security code is incorrect."),
        Outcome::ProcessingError => (
            "processing_error",
            None,
            "An error occurred while processing your card. Try again in a little bit.",
        ),
        Outcome::NotATestCard => (
            "card_declined",
            Some("test_mode_live_card"),
            "Your card was declined. Your request was in test mode, but used a non test card.",
        ),
    })
}

fn unexpected_state(intent: &Intent) -> Refusal {
    let refusal = Refusal::invalid("The PaymentIntent's status does not allow this.", "")
        .coded("payment_intent_unexpected_state");
    Refusal { param: None, intent: Some(Box::new(shown(intent))), ..refusal }
}

fn shown(intent: &Intent) -> Value {
    let last_error = intent.declined.and_then(declined).map(|(code, decline_code, message)| {
        json!({ "type": "card_error", "code": code, "decline_code": decline_code, "message": message })
    });
    json!({
        "id": intent.id,
        "object": "payment_intent",
        "amount": intent.amount,
        "amount_capturable": intent.capturable,
        "amount_received": intent.received,
        "canceled_at": intent.canceled,
        "cancellation_reason": intent.cancellation_reason,
        "capture_method": if intent.manual_capture { "manual" } else { "automatic" },
        "client_secret": intent.client_secret,
        "confirmation_method": "automatic",
        "created": intent.created,
        "currency": intent.currency,
        "customer": null,
        "description": intent.description,
        "last_payment_error": last_error,
        "latest_charge": intent.charge,
        "livemode": false,
        "metadata": intent.metadata,
        "next_action": null,
        "payment_method": intent.method,
        "payment_method_types": ["card"],
        "status": intent.status,
    })
}
