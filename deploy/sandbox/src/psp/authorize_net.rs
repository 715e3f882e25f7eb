//! Authorize.Net: `POST /xml/v1/request.api`, in JSON as its client for Node writes it, and in XML as the one for Python does.
//!
//! The transaction key is the PSP's API key; any login id has it.
//!
//! Promises: who asks is read from the body, as there; the same numbers decide as everywhere here; every answer is a 200 that begins
//! with a byte-order mark, in the notation of the request.
//! Does not promise: any call but `createTransactionRequest`, of which sales and refunds by the last four digits.

use serde_json::{Value, json};

use super::answer::{Refusal, Reply};
use super::card::{CardFields, CardRead};
use super::cards::{Delivery, Outcome};
use super::desk::Desk;
use super::ledger::Payment;
use super::request::Received;
use super::xml::{self, Fields};

const ROOT: &str = "createTransactionRequest";
const NAMESPACE: &str = "AnetApi/xml/v1/schema/AnetApiSchema.xsd";

/// A body, whichever notation it is in.
enum Asked {
    Json(Value),
    Xml(Fields),
}

impl Asked {
    fn read(body: &[u8]) -> Option<Self> {
        if body.trim_ascii_start().starts_with(b"<") {
            return xml::read(body).map(Self::Xml);
        }
        serde_json::from_slice(body).ok().map(Self::Json)
    }

    /// The text below the root: `merchantAuthentication/name`.
    fn text(&self, path: &str) -> Option<&str> {
        match self {
            Self::Json(value) => value.pointer(&format!("/{ROOT}/{path}"))?.as_str(),
            Self::Xml(fields) => fields.get(&format!("{ROOT}/{path}")).map(String::as_str),
        }
    }

    fn of_transaction(&self, path: &str) -> Option<&str> {
        self.text(&format!("transactionRequest/{path}"))
    }

    fn of_card(&self, name: &str) -> Option<&str> {
        self.of_transaction(&format!("payment/creditCard/{name}"))
    }
}

/// The login whose key stands in the body, or the refusal as Authorize.Net writes one.
pub(super) fn authenticate(request: &Received, api_key: Option<&str>) -> Result<String, Box<Reply>> {
    let Some(asked) = Asked::read(&request.body) else {
        return Err(Box::new(error(&Asked::Json(Value::Null), "E00003", "The request cannot be parsed.")));
    };
    let login = asked.text("merchantAuthentication/name").filter(|login| !login.is_empty());
    let key = asked.text("merchantAuthentication/transactionKey");
    match (login, key) {
        (Some(login), Some(key)) if api_key.is_none_or(|right| right == key) => Ok(login.to_owned()),
        _ => {
            let message = "User authentication failed due to invalid authentication values.";
            Err(Box::new(error(&asked, "E00007", message)))
        }
    }
}

pub(super) fn create(desk: &mut Desk<'_>, body: &[u8]) -> Result<Reply, Refusal> {
    let Some(asked) = Asked::read(body) else {
        return Ok(error(&Asked::Json(Value::Null), "E00003", "The request cannot be parsed."));
    };
    let amount = asked.of_transaction("amount").and_then(super::braintree::cents);
    let Some(amount) = amount else {
        return Ok(Told::error(3, "5", "A valid amount is required.").reply(&asked));
    };
    match asked.of_transaction("transactionType") {
        Some("authCaptureTransaction" | "authOnlyTransaction") => sale(desk, &asked, amount),
        Some("refundTransaction") => refund(desk, &asked),
        _ => Ok(error(&asked, "E00003", "The element 'transactionType' is invalid.")),
    }
}

fn sale(desk: &mut Desk<'_>, asked: &Asked, amount: u64) -> Result<Reply, Refusal> {
    let card = match desk.card(&card_fields(asked)) {
        Ok(card) => card,
        Err(refusal) => return Ok(unusable(&refusal).reply(asked)),
    };
    if card.delivery == Delivery::Redirect {
        return Ok(Reply::new(200, Value::Null).of_card(&card));
    }
    let payment = Payment {
        id: desk.id("an")?,
        amount,
        currency: "USD".to_owned(),
        reference: asked.of_transaction("order/invoiceNumber").map(str::to_owned),
        card: card.on_file.clone(),
        submitted: asked.of_transaction("transactionType") == Some("authCaptureTransaction"),
        created: desk.now.unix_seconds(),
    };
    desk.ledger.put_payment(payment.clone());
    Ok(Told::of(&payment, &card).reply(asked).of_card(&card))
}

/// By the last four digits of the card that paid, as there.
fn refund(desk: &Desk<'_>, asked: &Asked) -> Result<Reply, Refusal> {
    let found = asked.of_transaction("refTransId").and_then(|id| desk.ledger.payment(id));
    let Some(payment) = found.filter(|found| asked.of_card("cardNumber") == Some(found.card.last4.as_str()))
    else {
        let message = "The referenced transaction does not meet the criteria for issuing a credit.";
        return Ok(Told::error(3, "54", message).reply(asked));
    };
    let told = Told {
        code: 1,
        transaction: desk.id("an")?,
        account: format!("XXXX{}", payment.card.last4),
        brand: payment.card.brand.as_str().to_owned(),
        error: None,
    };
    Ok(told.reply(asked))
}

fn card_fields(asked: &Asked) -> CardFields<'_> {
    // What is no number is no month: refused as one.
    let number = |text: &str| text.parse().unwrap_or(u64::MAX);
    let (year, month) = asked.of_card("expirationDate").and_then(|date| date.split_once('-')).unzip();
    CardFields {
        number: asked.of_card("cardNumber"),
        cvc: asked.of_card("cardCode"),
        exp_month: month.map(number),
        exp_year: year.map(number),
    }
}

/// What is told of a transaction.
struct Told {
    code: u8,
    transaction: String,
    account: String,
    brand: String,
    error: Option<(&'static str, &'static str)>,
}

impl Told {
    fn of(payment: &Payment, card: &CardRead) -> Self {
        let (code, error) = match refused(card.on_file.outcome) {
            None => (1, None),
            Some(error) => (2, Some(error)),
        };
        let account = format!("XXXX{}", payment.card.last4);
        let brand = payment.card.brand.as_str().to_owned();
        Self { code, transaction: payment.id.clone(), account, brand, error }
    }

    fn error(code: u8, number: &'static str, text: &'static str) -> Self {
        let nothing = || String::new();
        Self {
            code,
            transaction: "0".into(),
            account: nothing(),
            brand: nothing(),
            error: Some((number, text)),
        }
    }

    fn reply(self, asked: &Asked) -> Reply {
        let reference = asked.text("refId").unwrap_or_default();
        // An error of the request is one of the whole; a refusal by the issuer is none.
        let (result, number, text) = match self.code {
            3 => ("Error", "E00027", "The transaction was unsuccessful."),
            _ => ("Ok", "I00001", "Successful."),
        };
        match asked {
            Asked::Json(_) => Reply::new(200, self.json(reference, [result, number, text])),
            Asked::Xml(_) => Reply::xml(200, self.xml(reference, [result, number, text])),
        }
        .with_mark()
    }

    fn json(&self, reference: &str, [result, number, text]: [&str; 3]) -> Value {
        let mut transaction = json!({
            "responseCode": self.code.to_string(), "transId": self.transaction,
            "accountNumber": self.account, "accountType": self.brand,
        });
        match self.error {
            Some((code, text)) => transaction["errors"] = json!([{ "errorCode": code, "errorText": text }]),
            None => {
                let approved = "This transaction has been approved.";
                transaction["messages"] = json!([{ "code": "1", "description": approved }]);
            }
        }
        let messages = json!({ "resultCode": result, "message": [{ "code": number, "text": text }] });
        json!({ "transactionResponse": transaction, "refId": reference, "messages": messages })
    }

    fn xml(&self, reference: &str, [result, number, text]: [&str; 3]) -> String {
        let outcome = match self.error {
            Some((code, text)) => format!(
                "<errors><error><errorCode>{code}</errorCode><errorText>{text}</errorText></error></errors>"
            ),
            None => "<messages><message><code>1</code>\
                     <description>This transaction has been approved.</description></message></messages>"
                .to_owned(),
        };
        let Self { code, transaction, account, brand, .. } = self;
        format!(
            "<?xml version=\"1.0\" encoding=\"utf-8\"?><createTransactionResponse \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xmlns=\"{NAMESPACE}\"><refId>{}</refId>\
             <messages><resultCode>{result}</resultCode><message><code>{number}</code><text>{text}</text></message>\
             </messages><transactionResponse><responseCode>{code}</responseCode>\
             <transId>{transaction}</transId><accountNumber>{account}</accountNumber>\
             <accountType>{brand}</accountType>{outcome}</transactionResponse></createTransactionResponse>\n",
            xml::escaped(reference),
        )
    }
}

/// Error code and text. `None`: approved.
const fn refused(outcome: Outcome) -> Option<(&'static str, &'static str)> {
    match outcome {
        Outcome::Approved => None,
        Outcome::Expired => Some(("8", "The credit card has expired.")),
        Outcome::IncorrectCvc => Some(("65", "This transaction has been declined.")),
        Outcome::ProcessingError => {
            Some(("19", "An error occurred during processing. Please try again in 5 minutes."))
        }
        Outcome::Declined
        | Outcome::InsufficientFunds
        | Outcome::Lost
        | Outcome::Stolen
        | Outcome::NotATestCard => Some(("2", "This transaction has been declined.")),
    }
}

/// Why a card cannot be charged at all.
fn unusable(refusal: &Refusal) -> Told {
    match refusal.code {
        Some("invalid_expiry_month" | "invalid_expiry_year") => {
            Told::error(3, "7", "Credit card expiration date is invalid.")
        }
        _ => Told::error(3, "6", "The credit card number is invalid."),
    }
}

/// A refusal of the whole request.
fn error(asked: &Asked, code: &str, text: &str) -> Reply {
    match asked {
        Asked::Json(_) => {
            let message = json!([{ "code": code, "text": text }]);
            Reply::new(200, json!({ "messages": { "resultCode": "Error", "message": message } }))
        }
        Asked::Xml(_) => Reply::xml(
            200,
            format!(
                "<?xml version=\"1.0\" encoding=\"utf-8\"?><ErrorResponse xmlns=\"{NAMESPACE}\"><messages>\
                 <resultCode>Error</resultCode><message><code>{code}</code><text>{text}</text></message></messages>\
                 </ErrorResponse>\n"
            ),
        ),
    }
    .with_mark()
}
