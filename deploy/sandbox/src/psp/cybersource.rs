//! CyberSource's payments: `POST /pts/v2/payments`, taken only when signed over the bytes that arrived.
//!
//! The shared secret is the PSP's API key in base64; any merchant and key id have it.
//!
//! Promises: both of its authentications are verified here from the request alone, by code that shares nothing with the
//! proxy: the HTTP signature over host, date, target, merchant and digest, the JWT with HS256 and the digest in its claims;
//! the digest is that of the body as it arrived.
//! Does not promise: clocks, replays, RS256, or any more of CyberSource.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ring::hmac;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::answer::{Refusal, Reply};
use super::card::CardFields;
use super::cards::{Delivery, Outcome};
use super::desk::Desk;
use super::ledger::Payment;
use super::request::Received;

/// Headers a signature covers at least, with a body.
const COVERED: [&str; 4] = ["host", "date", "digest", MERCHANT];
const MERCHANT: &str = "v-c-merchant-id";

/// The merchant whose key signed this request, or the refusal as CyberSource writes one.
pub(super) fn authenticate(request: &Received, api_key: Option<&str>) -> Result<String, Box<Reply>> {
    let signed = api_key.and_then(|key| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        match (request.header("signature"), request.header("authorization")) {
            (Some(signature), None) => by_signature(request, signature, &key),
            (None, Some(token)) => by_token(request, token, &key),
            _ => None,
        }
    });
    let refused = || json!({ "response": { "rmsg": "Authentication Failed" } });
    signed.ok_or_else(|| Box::new(Reply::new(401, refused())))
}

fn by_signature(request: &Received, given: &str, key: &hmac::Key) -> Option<String> {
    let parameter = |name: &str| {
        let mut found = given.split(", ").filter_map(|part| part.strip_prefix(name)?.strip_prefix("=\""));
        found.next()?.strip_suffix('"')
    };
    parameter("keyid")?;
    let names: Vec<_> = parameter("headers")?.split(' ').collect();
    let target = names.iter().any(|name| name.trim_matches(['(', ')']) == "request-target");
    if !target || !COVERED.iter().all(|name| names.contains(name)) {
        return None;
    }
    if request.header("digest")? != format!("SHA-256={}", digest(request)) {
        return None;
    }
    let line = |name: &&str| match name.trim_matches(['(', ')']) {
        "request-target" => Some(format!("{name}: {} {}", request.method.to_ascii_lowercase(), request.path)),
        _ => Some(format!("{name}: {}", request.header(name)?)),
    };
    let lines = names.iter().map(line).collect::<Option<Vec<_>>>()?.join("\n");
    let signature = STANDARD.decode(parameter("signature")?).ok()?;
    hmac::verify(key, lines.as_bytes(), &signature).ok()?;
    request.header(MERCHANT).map(str::to_owned)
}

fn by_token(request: &Received, given: &str, key: &hmac::Key) -> Option<String> {
    let (signed, signature) = given.strip_prefix("Bearer ")?.rsplit_once('.')?;
    hmac::verify(key, signed.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    let part = |text: &str| serde_json::from_slice::<Value>(&URL_SAFE_NO_PAD.decode(text).ok()?).ok();
    let (head, claims) = signed.split_once('.')?;
    let (head, claims) = (part(head)?, part(claims)?);
    let says = |name: &str, value: &str| claims[name].as_str() == Some(value);
    let right = head["alg"] == "HS256"
        && head["kid"].is_string()
        && says("digest", &digest(request))
        && says("request-resource-path", &request.path)
        && claims["request-method"]
            .as_str()
            .is_some_and(|method| method.eq_ignore_ascii_case(&request.method));
    claims[MERCHANT].as_str().filter(|_| right).map(str::to_owned)
}

fn digest(request: &Received) -> String {
    STANDARD.encode(Sha256::digest(&request.body))
}

pub(super) fn create(desk: &mut Desk<'_>, body: &[u8]) -> Result<Reply, Refusal> {
    let Ok(asked) = serde_json::from_slice::<Value>(body) else { return Ok(invalid("body")) };
    let text = |at: &str| asked.pointer(at).and_then(Value::as_str);
    let amount = text("/orderInformation/amountDetails/totalAmount").and_then(super::braintree::cents);
    let (Some(amount), Some(currency)) = (amount, text("/orderInformation/amountDetails/currency")) else {
        return Ok(invalid("orderInformation.amountDetails"));
    };
    let card = |name: &str| text(&format!("/paymentInformation/card/{name}"));
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    let read = desk.card(&CardFields {
        number: card("number"),
        cvc: card("securityCode"),
        exp_month: card("expirationMonth").map(number),
        exp_year: card("expirationYear").map(number),
    });
    let Ok(read) = read else { return Ok(invalid("paymentInformation.card")) };
    if read.delivery == Delivery::Redirect {
        return Ok(Reply::new(201, Value::Null).of_card(&read));
    }
    let payment = Payment {
        id: desk.id("cs")?,
        amount,
        currency: currency.to_owned(),
        reference: text("/clientReferenceInformation/code").map(str::to_owned),
        card: read.on_file.clone(),
        submitted: asked.pointer("/processingInformation/capture") == Some(&Value::Bool(true)),
        created: desk.now.unix_seconds(),
    };
    desk.ledger.put_payment(payment.clone());
    Ok(Reply::new(201, shown(&payment)).of_card(&read))
}

fn shown(payment: &Payment) -> Value {
    let amount = format!("{}.{:02}", payment.amount / 100, payment.amount % 100);
    let mut shown = json!({
        "id": payment.id,
        "status": "AUTHORIZED",
        "reconciliationId": payment.id,
        "clientReferenceInformation": { "code": payment.reference },
        "orderInformation": { "amountDetails": { "authorizedAmount": amount, "currency": payment.currency } },
        "paymentInformation": { "tokenizedCard": { "suffix": payment.card.last4 } },
    });
    if let Some((reason, message)) = refused(payment.card.outcome) {
        shown["status"] = "DECLINED".into();
        shown["errorInformation"] = json!({ "reason": reason, "message": message });
        shown["orderInformation"] = json!({ "amountDetails": { "currency": payment.currency } });
    }
    shown
}

/// Reason and message. `None`: authorized.
const fn refused(outcome: Outcome) -> Option<(&'static str, &'static str)> {
    match outcome {
        Outcome::Approved => None,
        Outcome::InsufficientFunds => {
            Some(("INSUFFICIENT_FUND", "Decline - Insufficient funds in the account."))
        }
        Outcome::Lost | Outcome::Stolen => Some(("STOLEN_LOST_CARD", "Decline - Stolen or lost card.")),
        Outcome::Expired => Some(("EXPIRED_CARD", "Decline - Expired card.")),
        Outcome::IncorrectCvc => Some(("CV_FAILED", "Decline - The verification number did not match.")),
        Outcome::ProcessingError => {
            Some(("PROCESSOR_ERROR", "Decline - The processor could not be reached."))
        }
        Outcome::Declined | Outcome::NotATestCard => {
            Some(("PROCESSOR_DECLINED", "Decline - General decline of the card."))
        }
    }
}

fn invalid(field: &str) -> Reply {
    let body = json!({
        "status": "INVALID_REQUEST", "reason": "INVALID_DATA",
        "message": "Declined - One or more fields in the request contains invalid data",
        "details": [{ "field": field, "reason": "INVALID_DATA" }],
    });
    Reply::new(400, body)
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use http::{HeaderMap, HeaderName, HeaderValue};

    /// Signed with `openssl dgst -sha256 -hmac` over the string below, by hand.
    fn signed(body: &'static str, digest: &str, signature: &str) -> Received {
        let list = "host date request-target digest v-c-merchant-id";
        let signature =
            format!("keyid=\"k\", algorithm=\"HmacSHA256\", headers=\"{list}\", signature=\"{signature}\"");
        let headers = [
            ("host", "psp.test".to_owned()),
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT".into()),
            ("digest", format!("SHA-256={digest}")),
            (MERCHANT, "acme".into()),
            ("signature", signature),
        ];
        let headers: HeaderMap = headers
            .into_iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::try_from(value).unwrap()))
            .collect();
        Received {
            method: "POST".into(),
            path: "/pts/v2/payments".into(),
            query: None,
            headers,
            body: Bytes::from_static(body.as_bytes()),
        }
    }

    const DIGEST: &str = "AVq9f1zFei3ZS3WQ8ErYCEJzkF7jPsXOvq5iJ2qX+GI=";
    const SIGNATURE: &str = "Zv2gakyVKSiCaqu4YYdTeAb/QhValfC8Bv0w0nqLMis=";
    const KEY: &str = "a key of this test alone";

    #[test]
    fn a_signature_is_taken_for_the_body_it_was_made_over_and_for_no_other() {
        let whose = |request: &Received, key| authenticate(request, key).map_err(|reply| reply.status);
        assert_eq!(whose(&signed("{\"a\":1}", DIGEST, SIGNATURE), Some(KEY)), Ok("acme".into()));
        for (request, key) in [
            (signed("{\"a\":2}", DIGEST, SIGNATURE), Some(KEY)),
            (signed("{\"a\":1}", "AAAA", SIGNATURE), Some(KEY)),
            (signed("{\"a\":1}", DIGEST, "AAAA"), Some(KEY)),
            (signed("{\"a\":1}", DIGEST, SIGNATURE), Some("another key of this test")),
            (signed("{\"a\":1}", DIGEST, SIGNATURE), None),
        ] {
            assert_eq!(whose(&request, key), Err(401));
        }
        let mut other = signed("{\"a\":1}", DIGEST, SIGNATURE);
        other.headers.insert(MERCHANT, HeaderValue::from_static("globex"));
        assert_eq!(whose(&other, Some(KEY)), Err(401));
    }
}
