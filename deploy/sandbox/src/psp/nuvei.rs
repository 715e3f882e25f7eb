//! Nuvei's REST 1.0: `payment.do` and `refundTransaction.do` below `/ppp/api/v1/`, or `/ppp//api/v1/` as its client writes it.
//!
//! The merchant's secret key is the PSP's API key; any merchant and site have it.
//!
//! Promises: the checksum in the body is verified from the request alone, by code that shares nothing with the proxy; the same
//! numbers decide as everywhere here; every answer is a 200 with a `status`, as there.
//! Does not promise: any more of Nuvei; sessions are not looked at.

use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::answer::{Refusal, Reply};
use super::card::CardFields;
use super::cards::{Delivery, Outcome};
use super::desk::Desk;
use super::ledger::Payment;
use super::request::Received;

/// What the checksum of a payment is over, before the secret.
const OF_PAYMENT: [&str; 6] =
    ["/merchantId", "/merchantSiteId", "/clientRequestId", "/amount", "/currency", "/timeStamp"];
/// The same of a refund.
const OF_REFUND: [&str; 11] = [
    "/merchantId",
    "/merchantSiteId",
    "/clientRequestId",
    "/clientUniqueId",
    "/amount",
    "/currency",
    "/relatedTransactionId",
    "/authCode",
    "/comment",
    "/urlDetails/notificationUrl",
    "/timeStamp",
];

/// The merchant whose key made the checksum, or the refusal as Nuvei writes one.
pub(super) fn authenticate(request: &Received, api_key: Option<&str>) -> Result<String, Box<Reply>> {
    let asked: Value = serde_json::from_slice(&request.body).unwrap_or_default();
    let parts: &[&str] = if request.path.ends_with("/payment.do") { &OF_PAYMENT } else { &OF_REFUND };
    let merchant = asked["merchantId"].as_str().filter(|merchant| !merchant.is_empty());
    let right = api_key.is_none_or(|secret| {
        let said: String = parts.iter().map(|at| written(asked.pointer(at))).collect();
        asked["checksum"].as_str() == Some(hex::encode(Sha256::digest(format!("{said}{secret}"))).as_str())
    });
    match merchant {
        Some(merchant) if right => Ok(merchant.to_owned()),
        _ => Err(Box::new(error(1001, "Invalid checksum"))),
    }
}

/// As JavaScript writes a member into a text; nothing where there is none.
fn written(value: Option<&Value>) -> String {
    match value {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

pub(super) fn pay(desk: &mut Desk<'_>, body: &[u8]) -> Result<Reply, Refusal> {
    let Ok(asked) = serde_json::from_slice::<Value>(body) else { return Ok(error(1069, "Invalid request")) };
    let text = |at: &str| asked.pointer(at).and_then(Value::as_str);
    let amount = text("/amount").and_then(super::braintree::cents);
    let (Some(amount), Some(currency)) = (amount, text("/currency")) else {
        return Ok(error(1019, "Invalid amount"));
    };
    let of_card = |name: &str| text(&format!("/paymentOption/card/{name}"));
    // What is no number is no month: refused as one.
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    let card = desk.card(&CardFields {
        number: of_card("cardNumber"),
        cvc: of_card("CVV"),
        exp_month: of_card("expirationMonth").map(number),
        exp_year: of_card("expirationYear").map(number),
    });
    let Ok(card) = card else { return Ok(error(1004, "Invalid card data")) };
    if card.delivery == Delivery::Redirect {
        return Ok(Reply::new(200, Value::Null).of_card(&card));
    }
    let payment = Payment {
        id: desk.id("nv")?,
        amount,
        currency: currency.to_owned(),
        reference: text("/clientUniqueId").map(str::to_owned),
        card: card.on_file.clone(),
        submitted: true,
        created: desk.now.unix_seconds(),
    };
    desk.ledger.put_payment(payment.clone());
    let mut shown = shown(&asked, &payment.id, "Sale");
    let masked = format!("{}****{}", &card.number[..1], payment.card.last4);
    shown["paymentOption"] = json!({ "card": {
        "ccCardNumber": masked, "last4Digits": payment.card.last4, "cardBrand": payment.card.brand.as_str(),
        "ccExpMonth": format!("{:02}", payment.card.exp_month), "ccExpYear": payment.card.exp_year.to_string(),
    }});
    if let Some(reason) = refused(payment.card.outcome) {
        shown["transactionStatus"] = "DECLINED".into();
        shown["gwErrorCode"] = (-1).into();
        shown["gwErrorReason"] = reason.into();
    }
    Ok(Reply::new(200, shown).of_card(&card))
}

pub(super) fn refund(desk: &Desk<'_>, body: &[u8]) -> Result<Reply, Refusal> {
    let asked: Value = serde_json::from_slice(body).unwrap_or_default();
    let related = asked["relatedTransactionId"].as_str().and_then(|id| desk.ledger.payment(id));
    match related {
        Some(_) => Ok(Reply::new(200, shown(&asked, &desk.id("nv")?, "Credit"))),
        None => Ok(error(1017, "Related transaction not found")),
    }
}

fn shown(asked: &Value, id: &str, kind: &str) -> Value {
    json!({
        "status": "SUCCESS", "errCode": 0, "reason": "", "version": "1.0",
        "transactionStatus": "APPROVED", "transactionType": kind, "transactionId": id,
        "gwErrorCode": 0, "gwErrorReason": "",
        "merchantId": asked["merchantId"], "merchantSiteId": asked["merchantSiteId"],
        "clientRequestId": asked["clientRequestId"], "clientUniqueId": asked["clientUniqueId"],
    })
}

/// `None`: approved.
const fn refused(outcome: Outcome) -> Option<&'static str> {
    match outcome {
        Outcome::Approved => None,
        Outcome::InsufficientFunds => Some("Insufficient Funds"),
        Outcome::Lost => Some("Lost Card"),
        Outcome::Stolen => Some("Stolen Card"),
        Outcome::Expired => Some("Expired Card"),
        Outcome::IncorrectCvc => Some("Invalid CVV2"),
        Outcome::ProcessingError => Some("System Error"),
        Outcome::Declined | Outcome::NotATestCard => Some("Decline"),
    }
}

fn error(code: u16, reason: &str) -> Reply {
    Reply::new(200, json!({ "status": "ERROR", "errCode": code, "reason": reason, "version": "1.0" }))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use http::HeaderMap;

    use super::*;

    fn request(path: &str, body: &'static str) -> Received {
        let (headers, body) = (HeaderMap::new(), Bytes::from_static(body.as_bytes()));
        Received { method: "POST".into(), path: path.into(), query: None, headers, body }
    }

    /// The sum is of `sha256sum` over the six texts and the key, by hand.
    #[test]
    fn a_checksum_is_taken_for_what_it_was_made_over_and_for_nothing_else() {
        let body = r#"{"merchantId":"m","merchantSiteId":"s","clientRequestId":"r","amount":"10.99","currency":"EUR",
            "timeStamp":"20260102030405","checksum":"278c8a7f874bb2fba468f2fb95bdee9c4ce5d3fa8cdf3e616c10cc6070d7039c"}"#;
        let whose = |path: &str, body: &'static str, key: &str| {
            authenticate(&request(path, body), Some(key)).map_err(|reply| reply.body["errCode"].clone())
        };
        let payment = "/ppp//api/v1/payment.do";
        assert_eq!(whose(payment, body, "a key of this test"), Ok("m".into()));
        assert_eq!(whose(payment, body, "another key"), Err(1001.into()));
        let other: &'static str = Box::leak(body.replace("10.99", "10.98").into_boxed_str());
        assert_eq!(whose(payment, other, "a key of this test"), Err(1001.into()));
        assert_eq!(whose(payment, "{", "a key of this test"), Err(1001.into()));
    }
}
