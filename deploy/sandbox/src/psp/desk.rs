//! The desk every request comes to: who asks, whether it was asked before, who answers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use strongroom_domain::test_numbers::{AcceptedNumbers, DEFAULT_TEST_RANGE, TestRange};
use strongroom_domain::{Clock, Environment, Random, RandomUnavailable, Timestamp};

use super::answer::{Refusal, Reply};
use super::call::Call;
use super::cards::Delivery;
use super::ledger::{Attempt, Ledger, letters};
use super::log::RequestLog;
use super::request::{Form, Received};
use super::{PspConfig, PspError, adyen, authorize_net, braintree, cybersource, nuvei, payments, stripe};

/// What an answer is made with.
pub(super) struct Desk<'a> {
    pub(super) ledger: &'a mut Ledger,
    pub(super) now: Timestamp,
    random: &'a dyn Random,
    pub(super) numbers: &'a AcceptedNumbers,
}

impl Desk<'_> {
    /// A new identifier: 96 random bits in letters.
    pub(super) fn id(&self, prefix: &str) -> Result<String, RandomUnavailable> {
        let mut bytes = [0_u8; 12];
        self.random.fill(&mut bytes)?;
        Ok(format!("{prefix}{}", letters(&bytes)))
    }
}

/// Everything requests share.
pub(super) struct Shared {
    log: RequestLog,
    ledger: Mutex<Ledger>,
    counts: Mutex<BTreeMap<&'static str, u64>>,
    numbers: AcceptedNumbers,
    api_key: Option<String>,
    pub(super) slow: Duration,
    clock: Arc<dyn Clock>,
    pub(super) random: Arc<dyn Random>,
}

impl Shared {
    pub(super) fn open(
        config: &PspConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Result<Self, PspError> {
        let folder = &config.folder;
        std::fs::create_dir_all(folder).map_err(|error| PspError::file(folder, error))?;
        let log = folder.join("psp.log");
        let ranges = TestRange::parse(DEFAULT_TEST_RANGE).into_iter().collect();
        Ok(Self {
            log: RequestLog::open(log.clone()).map_err(|error| PspError::file(&log, error))?,
            ledger: Mutex::new(Ledger::open(&folder.join("psp-state.jsonl"), &*random)?),
            counts: Mutex::new(BTreeMap::new()),
            numbers: AcceptedNumbers::new(Environment::Test, ranges),
            api_key: config.api_key.clone(),
            slow: config.slow,
            clock,
            random,
        })
    }

    pub(super) fn counts(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.counts).clone()
    }

    pub(super) fn log_file(&self) -> &Path {
        &self.log.path
    }

    /// Writes the request down, then answers it. The files are written where requests are answered: this is a sandbox.
    pub(super) fn answer(&self, request: &Received, peer: SocketAddr) -> Reply {
        let now = self.clock.now();
        let call = Call::of(&request.method, &request.path);
        *lock(&self.counts).entry(call.pattern()).or_default() += 1;
        if let Err(error) = self.log.record(request, peer, now) {
            tracing::error!(%error, "the sandbox psp cannot write its log");
            return Refusal::broken().reply();
        }
        let mut ledger = lock(&self.ledger);
        let mut desk = Desk { ledger: &mut ledger, now, random: &*self.random, numbers: &self.numbers };
        let mut reply = self.attend(&mut desk, call, request).unwrap_or_else(Refusal::reply);
        if let Ok(id) = desk.id("req_") {
            reply.headers.push(("request-id", id));
        }
        if let Err(error) = ledger.commit() {
            tracing::error!(%error, "the sandbox psp cannot write its state");
            return Refusal::broken().reply();
        }
        reply
    }

    /// Who asks, and was it asked before?
    fn attend(&self, desk: &mut Desk<'_>, call: Call<'_>, request: &Received) -> Result<Reply, Refusal> {
        let api_key = self.api_key.as_deref();
        let credential = match call {
            Call::AdyenPayment | Call::AdyenRefund(_) => {
                adyen::authenticate(request.header("x-api-key"), api_key)
            }
            Call::CyberSourcePayment => cybersource::authenticate(request, api_key),
            Call::AuthorizeNet => authorize_net::authenticate(request, api_key),
            Call::NuveiPayment | Call::NuveiRefund => nuvei::authenticate(request, api_key),
            _ => Ok(self.authenticate(request)?),
        };
        let credential = match credential {
            Ok(credential) => credential,
            Err(refused) => return Ok(*refused),
        };
        let key = request.header("idempotency-key").filter(|_| request.method == "POST");
        let Some(key) = key else { return dispatch(desk, call, request) };
        let parts = [request.method.as_bytes(), request.path.as_bytes(), &request.body];
        match desk.ledger.attempt(&credential, key, &parts, desk.now) {
            Attempt::Again(answered) => {
                let body = serde_json::from_str(&answered.body).unwrap_or(Value::Null);
                let mut reply = Reply::new(answered.status, body);
                reply.headers.push(("idempotent-replayed", "true".to_owned()));
                Ok(reply)
            }
            Attempt::Reused => Err(Refusal {
                kind: "idempotency_error",
                param: None,
                ..Refusal::invalid(
                    "Keys for idempotent requests can only be used with the same parameters they were first used with.",
                    "",
                )
            }),
            Attempt::First { scope, digest } => {
                let reply = dispatch(desk, call, request).unwrap_or_else(Refusal::reply);
                // As Stripe: what failed before anything was done is not remembered.
                if matches!(reply.status, 200..300 | 402) && reply.delivery != Delivery::Redirect {
                    desk.ledger.answer(scope, digest, reply.status, reply.body.to_string(), desk.now);
                }
                Ok(reply)
            }
        }
    }

    fn authenticate(&self, request: &Received) -> Result<String, Refusal> {
        let refused = |message| Refusal { status: 401, param: None, ..Refusal::invalid(message, "") };
        let credential = request.credential().ok_or_else(|| {
            refused("You did not provide an API key: send it as `Authorization: Bearer KEY`.")
        })?;
        match &self.api_key {
            Some(right) if *right != credential => Err(refused("Invalid API Key provided.")),
            _ => Ok(credential),
        }
    }
}

fn dispatch(desk: &mut Desk<'_>, call: Call<'_>, request: &Received) -> Result<Reply, Refusal> {
    let form = || Form::parse(&request.body).ok_or(Refusal::invalid("The body is no form in UTF-8.", "body"));
    match call {
        Call::CreateMethod => stripe::method::create(desk, &form()?),
        Call::ShowMethod(id) => stripe::method::show(desk, id),
        Call::CreateIntent => stripe::intent::create(desk, &form()?),
        Call::ShowIntent(id) => stripe::intent::show(desk, id),
        Call::ConfirmIntent(id) => stripe::intent::confirm(desk, id, &form()?),
        Call::CaptureIntent(id) => stripe::intent::capture(desk, id, &form()?),
        Call::CancelIntent(id) => stripe::intent::cancel(desk, id, &form()?),
        Call::CreateRefund => stripe::refund::create(desk, &form()?),
        Call::ShowRefund(id) => stripe::refund::show(desk, id),
        Call::CreatePayment => payments::create(desk, &request.body),
        Call::ShowPayment(id) => payments::show(desk, id),
        Call::CreateTransaction => braintree::create(desk, &request.body),
        Call::ShowTransaction(id) => Ok(braintree::show(desk, id)),
        Call::AdyenPayment => adyen::create(desk, &request.body),
        Call::AdyenRefund(id) => adyen::refund(desk, id, &request.body),
        Call::CyberSourcePayment => cybersource::create(desk, &request.body),
        Call::AuthorizeNet => authorize_net::create(desk, &request.body),
        Call::NuveiPayment => nuvei::pay(desk, &request.body),
        Call::NuveiRefund => nuvei::refund(desk, &request.body),
        Call::Redirected | Call::Unknown => {
            Err(Refusal { status: 404, param: None, ..Refusal::invalid("Unrecognized request URL.", "") })
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
