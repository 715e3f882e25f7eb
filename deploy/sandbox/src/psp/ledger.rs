//! What the PSP remembers: payment methods, payments, refunds, and answers under an idempotency key.
//!
//! A journal of JSON lines, the last word on each id wins; the whole of it is in memory. A last line that a crash tore is
//! dropped at the next start.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;

use ring::hmac;
use serde::{Deserialize, Serialize};
use strongroom_domain::{Brand, Random, Timestamp};

use super::PspError;
use super::cards::Outcome;
use super::log::open_private;

/// How long an answer is given again under its key, as Stripe has it.
const ANSWER_KEPT_SECONDS: i64 = 24 * 60 * 60;

/// What is kept of a card: never its number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct CardOnFile {
    pub(super) brand: Brand,
    pub(super) last4: String,
    pub(super) exp_month: u8,
    pub(super) exp_year: u16,
    pub(super) fingerprint: String,
    pub(super) has_cvc: bool,
    pub(super) outcome: Outcome,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Method {
    pub(super) id: String,
    pub(super) card: CardOnFile,
    pub(super) holder: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) created: i64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum IntentStatus {
    RequiresPaymentMethod,
    RequiresConfirmation,
    RequiresCapture,
    Succeeded,
    Canceled,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Intent {
    pub(super) id: String,
    pub(super) client_secret: String,
    pub(super) status: IntentStatus,
    pub(super) amount: u64,
    pub(super) capturable: u64,
    pub(super) received: u64,
    pub(super) refunded: u64,
    pub(super) currency: String,
    pub(super) manual_capture: bool,
    pub(super) method: Option<String>,
    pub(super) charge: Option<String>,
    pub(super) declined: Option<Outcome>,
    pub(super) description: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) cancellation_reason: Option<String>,
    pub(super) canceled: Option<i64>,
    pub(super) created: i64,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Refund {
    pub(super) id: String,
    pub(super) intent: String,
    pub(super) charge: Option<String>,
    pub(super) amount: u64,
    pub(super) currency: String,
    pub(super) reason: Option<String>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) created: i64,
}

/// A payment of the JSON API, or a transaction of Braintree's.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Payment {
    pub(super) id: String,
    pub(super) amount: u64,
    pub(super) currency: String,
    pub(super) reference: Option<String>,
    pub(super) card: CardOnFile,
    /// To be settled at once: what Braintree's transactions say of themselves.
    #[serde(default)]
    pub(super) submitted: bool,
    pub(super) created: i64,
}

/// An answer given under an idempotency key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Answered {
    /// Keyed hash of credential and key.
    scope: String,
    /// Keyed hash of the request.
    digest: String,
    pub(super) status: u16,
    pub(super) body: String,
    at: i64,
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Line {
    Key { hex: String },
    Method(Method),
    Intent(Intent),
    Refund(Refund),
    Payment(Payment),
    Answered(Answered),
}

/// What is known of an idempotency key.
pub(super) enum Attempt {
    /// Nothing: go on.
    First { scope: String, digest: String },
    /// The same request was answered.
    Again(Answered),
    /// Another request used the key.
    Reused,
}

pub(super) struct Ledger {
    journal: File,
    waiting: Vec<u8>,
    key: hmac::Key,
    methods: HashMap<String, Method>,
    intents: HashMap<String, Intent>,
    refunds: HashMap<String, Refund>,
    payments: HashMap<String, Payment>,
    answered: HashMap<String, Answered>,
}

impl Ledger {
    pub(super) fn open(path: &Path, random: &dyn Random) -> Result<Self, PspError> {
        let file = |error| PspError::file(path, error);
        let journal = open_private(path).map_err(file)?;
        let text = fs::read(path).map_err(file)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        journal.set_len(whole as u64).map_err(file)?;
        let mut ledger = Self {
            journal,
            waiting: Vec::new(),
            key: hmac::Key::new(hmac::HMAC_SHA256, &[]),
            methods: HashMap::new(),
            intents: HashMap::new(),
            refunds: HashMap::new(),
            payments: HashMap::new(),
            answered: HashMap::new(),
        };
        if whole == 0 {
            let mut key = [0_u8; 32];
            random.fill(&mut key)?;
            ledger.learn(Line::Key { hex: hex::encode(key) });
            ledger.commit().map_err(file)?;
        }
        for (number, line) in text[..whole].split(|&byte| byte == b'\n').enumerate() {
            if line.is_empty() {
                continue;
            }
            let line = serde_json::from_slice(line)
                .map_err(|_| PspError::State { path: path.to_path_buf(), line: number + 1 })?;
            ledger.apply(line);
        }
        Ok(ledger)
    }

    pub(super) fn method(&self, id: &str) -> Option<&Method> {
        self.methods.get(id)
    }

    pub(super) fn intent(&self, id: &str) -> Option<&Intent> {
        self.intents.get(id)
    }

    pub(super) fn intent_of_charge(&self, charge: &str) -> Option<&Intent> {
        self.intents.values().find(|intent| intent.charge.as_deref() == Some(charge))
    }

    pub(super) fn refund(&self, id: &str) -> Option<&Refund> {
        self.refunds.get(id)
    }

    pub(super) fn payment(&self, id: &str) -> Option<&Payment> {
        self.payments.get(id)
    }

    pub(super) fn put_method(&mut self, method: Method) {
        self.learn(Line::Method(method));
    }

    pub(super) fn put_intent(&mut self, intent: Intent) {
        self.learn(Line::Intent(intent));
    }

    pub(super) fn put_refund(&mut self, refund: Refund) {
        self.learn(Line::Refund(refund));
    }

    pub(super) fn put_payment(&mut self, payment: Payment) {
        self.learn(Line::Payment(payment));
    }

    /// Same number, same text; without the key nobody can try numbers out.
    pub(super) fn fingerprint(&self, number: &str) -> String {
        letters(&hmac::sign(&self.key, number.as_bytes()).as_ref()[..8])
    }

    pub(super) fn attempt(&self, credential: &str, key: &str, request: &[&[u8]], now: Timestamp) -> Attempt {
        let scope = self.digest(&[b"scope", credential.as_bytes(), key.as_bytes()]);
        let digest = self.digest(request);
        match self.answered.get(&scope) {
            Some(answered) if now.unix_seconds() - answered.at >= ANSWER_KEPT_SECONDS => {
                Attempt::First { scope, digest }
            }
            Some(answered) if answered.digest == digest => Attempt::Again(answered.clone()),
            Some(_) => Attempt::Reused,
            None => Attempt::First { scope, digest },
        }
    }

    pub(super) fn answer(
        &mut self,
        scope: String,
        digest: String,
        status: u16,
        body: String,
        now: Timestamp,
    ) {
        self.learn(Line::Answered(Answered { scope, digest, status, body, at: now.unix_seconds() }));
    }

    /// Writes what was put since the last time, in one write.
    pub(super) fn commit(&mut self) -> io::Result<()> {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() { Ok(()) } else { self.journal.write_all(&waiting) }
    }

    fn learn(&mut self, line: Line) {
        if let Ok(text) = serde_json::to_vec(&line) {
            self.waiting.extend_from_slice(&text);
            self.waiting.push(b'\n');
        }
        self.apply(line);
    }

    fn apply(&mut self, line: Line) {
        match line {
            Line::Key { hex } => {
                self.key = hmac::Key::new(hmac::HMAC_SHA256, &hex::decode(hex).unwrap_or_default());
            }
            Line::Method(method) => drop(self.methods.insert(method.id.clone(), method)),
            Line::Intent(intent) => drop(self.intents.insert(intent.id.clone(), intent)),
            Line::Refund(refund) => drop(self.refunds.insert(refund.id.clone(), refund)),
            Line::Payment(payment) => drop(self.payments.insert(payment.id.clone(), payment)),
            Line::Answered(answered) => drop(self.answered.insert(answered.scope.clone(), answered)),
        }
    }

    fn digest(&self, parts: &[&[u8]]) -> String {
        let mut context = hmac::Context::with_key(&self.key);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        hex::encode(context.sign())
    }
}

/// Two letters a byte, no digit: what is made of it can never look like a card number.
pub(super) fn letters(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|nibble| char::from(b'a' + nibble)).collect()
}
