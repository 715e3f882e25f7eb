//! Transactions of Braintree's server API, in XML: `POST /merchants/{merchant}/transactions` and `GET …/{id}`.
//!
//! Promises: the same numbers decide as everywhere here; an approved transaction answers 201, a declined one 422 with the
//! transaction in it, both can be looked up.
//! Does not promise: any more of Braintree, nor its JSON.

use strongroom_domain::Brand;

use super::answer::{Refusal, Reply};
use super::card::CardFields;
use super::cards::{Delivery, Outcome};
use super::desk::Desk;
use super::ledger::Payment;
use super::stripe::intent::declined;
use super::xml::{self, Fields};

pub(super) fn create(desk: &mut Desk<'_>, body: &[u8]) -> Result<Reply, Refusal> {
    let Some(fields) = xml::read(body) else { return Ok(refused("Invalid request: the body is no XML.")) };
    let value = |name: &str| fields.get(&format!("transaction/{name}")).map(String::as_str);
    let Some(amount) = value("amount").and_then(cents) else {
        return Ok(refused("Amount is an invalid format."));
    };
    if value("type") != Some("sale") {
        return Ok(refused("Transaction type is invalid."));
    }
    let card = match desk.card(&card_fields(&fields)) {
        Ok(card) => card,
        Err(refusal) => return Ok(refused(refusal.message)),
    };
    if card.delivery == Delivery::Redirect {
        return Ok(Reply::xml(201, String::new()).of_card(&card));
    }
    let payment = Payment {
        id: desk.id("bt")?,
        amount,
        currency: "EUR".to_owned(),
        reference: value("order_id").map(str::to_owned),
        card: card.on_file.clone(),
        submitted: value("options/submit_for_settlement") == Some("true"),
        created: desk.now.unix_seconds(),
    };
    desk.ledger.put_payment(payment.clone());
    let shown = shown(&payment);
    let reply = match declined(payment.card.outcome) {
        None => Reply::xml(201, document(&shown)),
        Some(_) => Reply::xml(422, error(response(payment.card.outcome).1, &shown)),
    };
    Ok(reply.of_card(&card))
}

/// A look-up of nothing is 404 without a body.
pub(super) fn show(desk: &Desk<'_>, id: &str) -> Reply {
    match desk.ledger.payment(id) {
        Some(payment) => Reply::xml(200, document(&shown(payment))),
        None => Reply::xml(404, String::new()),
    }
}

fn card_fields(fields: &Fields) -> CardFields<'_> {
    let value = |name: &str| fields.get(&format!("transaction/credit_card/{name}")).map(String::as_str);
    let (month, year) = value("expiration_date").and_then(|date| date.split_once('/')).unzip();
    // What is no number is no month: refused as one.
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    CardFields {
        number: value("number"),
        cvc: value("cvv"),
        exp_month: month.or_else(|| value("expiration_month")).map(number),
        exp_year: year.or_else(|| value("expiration_year")).map(number),
    }
}

/// `10.00` is a thousand cents.
pub(super) fn cents(text: &str) -> Option<u64> {
    let (whole, part) = text.split_once('.').unwrap_or((text, "00"));
    let is_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if !is_digits(whole) || !is_digits(part) || part.len() > 2 {
        return None;
    }
    let part: u64 = format!("{part:0<2}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(100)?.checked_add(part)
}

fn shown(payment: &Payment) -> String {
    let card = &payment.card;
    let (code, text) = response(card.outcome);
    let status = match (declined(card.outcome).is_some(), payment.submitted) {
        (true, _) => "processor_declined",
        (false, true) => "submitted_for_settlement",
        (false, false) => "authorized",
    };
    let reference = payment.reference.as_deref().unwrap_or_default();
    format!(
        "<transaction>\n  <id>{}</id>\n  <status>{status}</status>\n  <type>sale</type>\n  <amount>{}.{:02}</amount>\n  \
         <currency-iso-code>{}</currency-iso-code>\n  <order-id>{}</order-id>\n  <credit-card>\n    <last-4>{}</last-4>\n    \
         <card-type>{}</card-type>\n    <expiration-month>{:02}</expiration-month>\n    \
         <expiration-year>{}</expiration-year>\n    <unique-number-identifier>{}</unique-number-identifier>\n  </credit-card>\n  \
         <processor-response-code>{code}</processor-response-code>\n  \
         <processor-response-text>{text}</processor-response-text>\n</transaction>",
        payment.id,
        payment.amount / 100,
        payment.amount % 100,
        payment.currency,
        xml::escaped(reference),
        card.last4,
        brand(card.brand),
        card.exp_month,
        card.exp_year,
        card.fingerprint,
    )
}

fn document(inside: &str) -> String {
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{inside}\n")
}

fn error(message: &str, inside: &str) -> String {
    document(&format!(
        "<api-error-response>\n<errors><errors type=\"array\"/></errors>\n<message>{message}</message>\n{inside}\n</api-error-response>"
    ))
}

fn refused(message: &str) -> Reply {
    Reply::xml(422, error(message, ""))
}

/// Braintree's code and words.
fn response(outcome: Outcome) -> (u16, &'static str) {
    match outcome {
        Outcome::Approved => (1000, "Approved"),
        Outcome::Declined | Outcome::NotATestCard => (2000, "Do Not Honor"),
        Outcome::InsufficientFunds => (2001, "Insufficient Funds"),
        Outcome::Expired => (2004, "Expired Card"),
        Outcome::IncorrectCvc => (2010, "Card Issuer Declined CVV"),
        Outcome::Lost => (2012, "Processor Declined - Possible Lost Card"),
        Outcome::Stolen => (2013, "Processor Declined - Possible Stolen Card"),
        Outcome::ProcessingError => (3000, "Processor Network Unavailable - Try Again"),
    }
}

fn brand(brand: Brand) -> &'static str {
    match brand.as_str() {
        "visa" => "Visa",
        "mastercard" => "MasterCard",
        "amex" => "American Express",
        _ => "Unknown",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_to_the_cent() {
        for (text, amount) in [("10.00", Some(1000)), ("10", Some(1000)), ("0.5", Some(50)), ("1.234", None)]
        {
            assert_eq!(cents(text), amount, "{text}");
        }
        for text in ["", ".5", "1.", "-1", "1e3", "99999999999999999999"] {
            assert_eq!(cents(text), None, "{text}");
        }
    }
}
