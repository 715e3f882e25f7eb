//! One call from match to outcome: the steps of design §6, in their order.
//!
//! Promises: card data leaves the vault only when a connection to the PSP is in hand, and leaves the proxy only over that
//! connection, or over one made anew because the first took no byte. A request is sent once, and not once the vault may
//! have given it up, however long this machine slept. No answer goes back unscrubbed.
//! Does not promise: that a caller who goes away stops anything: once begun, a call runs to its end.
//! Upholds: C-15, C-16, C-17, C-18, C-19, C-41, C-45, C-46.

mod answer;
mod explain;
mod plan;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use strongroom_domain::route::{Call, PaymentReference};
use strongroom_domain::{Clock, ForwardId, Random, Timestamp};
use strongroom_perimeter::{Caller, RequestInfo};
use tokio::time::{Instant, timeout_at};

use crate::inject::{Injected, Injections, Plan, Wanted};
use crate::measure::{self, InFlight, Stage, Stages};
use crate::outcome::OutcomeQueue;
use crate::protect::{self, Admitted, Limited, Passage, Scope, Spent, Verdict};
use crate::rescue::{self, Failure};
use crate::route::{Destination, Target};
use crate::sign::{Message, SignError};
use crate::upstream::{Answer, ConnectError, Ready, SendError};
use crate::vault::{OpenError, OpenRequest, Opened, OutcomeReport, Timings, VaultClient, WantedCard};

pub use answer::Answered;
pub use explain::{Outline, names, outline, rehearse};
use plan::Planned;
pub(crate) use plan::takes;

/// How long after it was asked for a forward is sent at most, by the wall clock, which goes on while a machine is suspended:
/// the deadline does not. More than a call takes, and well below the 15 minutes after which the vault takes a silent forward
/// for unknown and a person may free its payment's reference.
const SEND_WITHIN: Duration = Duration::from_secs(5 * 60);

/// What every call needs.
pub struct Engine {
    /// The vault.
    pub vault: Arc<VaultClient>,
    /// Where outcomes are left.
    pub outcomes: OutcomeQueue,
    /// The time signatures name.
    pub clock: Arc<dyn Clock>,
    /// Chance, for encryption.
    pub random: Arc<dyn Random>,
    /// Largest answer of a PSP, as it comes and decoded.
    pub answer_bytes_max: usize,
}

/// One call, read completely.
pub struct Order {
    /// Where it goes.
    pub target: Target<Destination>,
    /// Its method.
    pub method: Method,
    /// Its headers, as they came.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
    /// Who asks.
    pub caller: Caller,
    /// What names it.
    pub info: RequestInfo,
    /// Its time and places; given back when it ends.
    pub admitted: Admitted,
}

/// How a call ended.
pub struct Ended {
    /// The scrubbed answer, or why there is none.
    pub result: Result<Answered, Failure>,
    /// The forward, if one was opened.
    pub forward: Option<ForwardId>,
    /// The receipts of its entries on the vault's log.
    pub receipts: Option<HeaderValue>,
    /// `allow`, `pass`, or `none` where the route lists no such call.
    pub kind: &'static str,
    /// How long each stage took.
    pub stages: Stages,
}

impl Engine {
    /// Runs one call to its end.
    pub async fn run(self: Arc<Self>, order: Order, stages: Stages) -> Ended {
        let mut run = Run {
            engine: &self,
            order: &order,
            stages,
            forward: None,
            receipts: None,
            kind: "none",
            passage: None,
            asked: None,
        };
        let result = run.work().await;
        Ended { result, forward: run.forward, receipts: run.receipts, kind: run.kind, stages: run.stages }
    }
}

struct Run<'a> {
    engine: &'a Engine,
    order: &'a Order,
    stages: Stages,
    forward: Option<ForwardId>,
    receipts: Option<HeaderValue>,
    kind: &'static str,
    passage: Option<Passage>,
    /// When the forward was asked for.
    asked: Option<Timestamp>,
}

impl<'a> Run<'a> {
    async fn work(&mut self) -> Result<Answered, Failure> {
        let order = self.order;
        let planned = self.stages.time_sync(Stage::Plan, || Planned::new(order));
        let planned = planned.inspect(|planned| self.kind = planned.kind())?;
        let destination = &*order.target.destination;
        let budget = order.admitted.budget;
        budget.check(Instant::now())?;
        let _slot = destination.slot().ok_or_else(|| shed(destination))?;
        let passage = destination.guard.breaker.admit(&order.caller.workload, Instant::now());
        let passage = passage.map_err(Failure::CircuitOpen)?;
        self.passage = Some(passage);
        let _counted = InFlight::begin(destination.route.name.as_str());

        let ready = timeout_at(budget.begin_until(), destination.pool.ready());
        let ready = self.stages.time(Stage::Connect, ready).await.map_err(|_| Spent)?;
        let ready = ready.map_err(|error| self.unconnected(error))?;
        let call = planned.call;
        let (request, secrets) = match self.complete(planned).await {
            Ok(complete) => complete,
            Err(failure) => {
                ready.give_back();
                return Err(failure);
            }
        };
        let answer = self.send(ready, request).await?;
        let named = destination.route.request_id_header.as_deref();
        let scrubbed = self.stages.time_sync(Stage::Scrub, || {
            answer::finish(answer, &secrets, call, named, self.engine.answer_bytes_max)
        });
        self.close(scrubbed)
    }

    /// Opens the forward, injects, encrypts and signs: what comes out is what is sent.
    async fn complete(
        &mut self,
        mut planned: Planned<'a>,
    ) -> Result<(Request<Full<Bytes>>, Injections), Failure> {
        let (body, secrets) = match planned.plan.take() {
            None => (std::mem::take(&mut planned.body), Injections::default()),
            Some(plan) => {
                let attempt = plan::attempt(&self.order.target.destination.route, &planned.headers);
                let injected = self.open_and_inject(plan, attempt, planned.reference.as_ref()).await?;
                take_headers(&mut planned.headers, injected.headers);
                (Bytes::from_owner(injected.body), injected.secrets)
            }
        };
        let (engine, order) = (self.engine, self.order);
        let sealed = match (&planned.form, planned.call) {
            (None, Call::Passed(_)) => Ok((planned.headers, body)),
            _ => self.stages.time_sync(Stage::Sign, || seal(engine, order, planned, body)),
        };
        let (headers, body) = sealed.inspect_err(|_| self.report(OutcomeReport::bare("not-sent")))?;
        Ok((request(order, headers, body), secrets))
    }

    /// Opens the forward and writes the card data into its places.
    async fn open_and_inject(
        &mut self,
        plan: Plan,
        attempt: Option<&str>,
        reference: Option<&PaymentReference>,
    ) -> Result<Injected, Failure> {
        let budget = self.order.admitted.budget;
        budget.check(Instant::now())?;
        let wanted = plan.wanted();
        let reference = reference.map(PaymentReference::as_str);
        let asked = OpenRequest { reference, ..self.open_request(&wanted, attempt) };
        let traceparent = self.order.info.traceparent.to_string();
        // Given up halfway, an open may have taken the payment's reference: it is waited for, and `not-sent` gives it back.
        let until = if reference.is_some() { budget.ends() } else { budget.begin_until() };
        self.asked = Some(self.engine.clock.now());
        let opening = self.engine.vault.open(&asked, &traceparent, until);
        let opened = self.stages.time(Stage::Open, opening).await;
        let Opened { id, cards, receipts } = opened.map_err(|error| {
            let late =
                matches!(error, OpenError::Unreachable(_) | OpenError::NoAnswer(_) | OpenError::TimedOut);
            match budget.check(Instant::now()) {
                Err(spent) if late => Failure::Spent(spent),
                Ok(()) | Err(_) => Failure::Open(error),
            }
        })?;
        (self.forward, self.receipts) = (Some(id), receipts);
        let injected = self.stages.time_sync(Stage::Inject, || plan.inject(&cards));
        injected.map_err(|error| {
            self.report(OutcomeReport::bare("not-sent"));
            Failure::Inject(error)
        })
    }

    fn open_request<'w>(&self, wanted: &'w [Wanted], attempt: Option<&'w str>) -> OpenRequest<'w>
    where
        'a: 'w,
    {
        let Order { target, method, caller, .. } = self.order;
        let Destination { route, account, upstream, .. } = &*target.destination;
        OpenRequest {
            caller: &caller.workload,
            caller_cert_sha256: hex::encode(caller.certificate_sha256),
            route: route.name.as_str(),
            route_sha256: hex::encode(route.sha256),
            account: account.name.as_str(),
            method: method.as_str(),
            path: target.path(),
            host: &upstream.host,
            cards: wanted
                .iter()
                .map(|one| WantedCard { token: one.name.as_str(), attributes: one.attributes })
                .collect(),
            attempt,
            reference: None,
            origin: caller.peer.to_string(),
        }
    }

    /// Sends once. The deadline counts from the first byte.
    async fn send(&mut self, ready: Ready, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let order = self.order;
        if let Err(spent) = order.admitted.budget.check(Instant::now()) {
            ready.give_back();
            self.report(OutcomeReport::bare("not-sent"));
            return Err(spent.into());
        }
        let (began, ends) = (Instant::now(), order.admitted.budget.ends());
        let (clock, asked) = (&self.engine.clock, self.asked);
        let in_time = || asked.is_none_or(|asked| clock.now() <= asked.plus(SEND_WITHIN));
        let bounds = (ends, self.engine.answer_bytes_max);
        let sending = exchange(&order.target.destination, ready, request, bounds, &in_time);
        let sent = self.stages.time(Stage::Upstream, sending).await;
        let whole_time = began + order.target.destination.route.upstream_timeout <= ends;
        if let Ok(answer) = &sent {
            self.judge(Verdict::of_status(answer.status));
        }
        sent.map_err(|failure| self.unsent(failure, whole_time))
    }

    /// Says what became of a request that has no complete answer.
    fn unsent(&mut self, failure: Unsent, whole_time: bool) -> Failure {
        match failure {
            Unsent::Connect(error) => {
                self.report(OutcomeReport::bare("not-sent"));
                self.unconnected(error)
            }
            Unsent::Late => {
                self.report(OutcomeReport::bare("not-sent"));
                let because = "this machine slept, or its clock jumped, after it was opened";
                tracing::error!(because, "a forward was not sent");
                Spent.into()
            }
            Unsent::Sent(error) => {
                self.judge(Verdict::of_exchange(&error, whole_time));
                self.report(OutcomeReport {
                    upstream_ms: self.upstream_ms(),
                    ..OutcomeReport::bare("unknown")
                });
                Failure::Unanswered(error)
            }
        }
    }

    /// Leaves the outcome of a complete answer to be recorded, and hands the answer on.
    fn close(&self, finished: answer::Finished) -> Result<Answered, Failure> {
        let answer::Finished { result, status, replaced, suspected, psp_request_id } = finished;
        measure::scrubbed(self.order.target.destination.route.name.as_str(), replaced, suspected);
        let outcome = if matches!(result, Err(Failure::Undecodable(_))) { "unknown" } else { "answered" };
        self.report(OutcomeReport {
            outcome,
            status: Some(status.as_u16()),
            upstream_ms: self.upstream_ms(),
            scrubbed: Some(replaced),
            pan_suspected: Some(suspected),
            psp_request_id,
            timings: None,
        });
        result
    }

    /// Tells the breaker, once, what this call says of the PSP.
    fn judge(&mut self, verdict: Verdict) {
        if let Some(passage) = self.passage.take() {
            passage.tell(verdict, Instant::now());
        }
    }

    fn report(&self, report: OutcomeReport) {
        if let Some(id) = self.forward {
            let timings = Some(Timings::of(&self.stages));
            self.engine.outcomes.push(id, OutcomeReport { timings, ..report });
        }
    }

    fn upstream_ms(&self) -> Option<u64> {
        self.stages.of(Stage::Upstream).map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX))
    }

    fn unconnected(&mut self, error: ConnectError) -> Failure {
        self.judge(Verdict::of_connect(&error));
        measure::connect_failed(
            self.order.target.destination.route.name.as_str(),
            rescue::connect_reason(&error),
        );
        Failure::Connect(error)
    }
}

/// The declared headers with card data, in the place of those that came.
fn take_headers(headers: &mut HeaderMap, filled: Vec<(HeaderName, HeaderValue)>) {
    for (name, value) in filled {
        headers.insert(name, value);
    }
}

fn shed(destination: &Destination) -> Failure {
    let limited = Limited::Places { scope: Scope::Route };
    protect::refused(destination.route.name.as_str(), limited);
    limited.into()
}

/// Encrypts and signs, in this order: the last touch a request gets.
fn seal(
    engine: &Engine,
    order: &Order,
    planned: Planned<'_>,
    mut body: Bytes,
) -> Result<(HeaderMap, Bytes), SignError> {
    let Planned { call, mut headers, keys, form, .. } = planned;
    if let Call::Allowed(call) = call
        && let Some(encryption) = &call.encryption
    {
        let recipient = keys.recipient.as_ref().ok_or(SignError::Failed)?;
        body = recipient.encrypt(encryption, &body, &mut headers, &*engine.random)?;
    }
    if let (Some(signer), Some(form)) = (&keys.signer, &form) {
        let target = order.target.path_and_query.as_str();
        let mut message = Message { method: &order.method, target, headers: &mut headers, body };
        signer.sign(form, &mut message, engine.clock.now())?;
        body = message.body;
    }
    Ok((headers, body))
}

enum Unsent {
    /// The vault may have given the forward up.
    Late,
    Connect(ConnectError),
    Sent(SendError),
}

/// One exchange. Only a request that came back untouched goes over a second, new connection.
async fn exchange(
    destination: &Destination,
    ready: Ready,
    request: Request<Full<Bytes>>,
    (ends, answer_bytes_max): (Instant, usize),
    in_time: &(dyn Fn() -> bool + Sync),
) -> Result<Answer, Unsent> {
    if !in_time() {
        return Err(Unsent::Late);
    }
    let until = || ends.min(Instant::now() + destination.route.upstream_timeout);
    let request = match ready.send(request, until(), answer_bytes_max).await {
        Err(SendError::NotSent(request)) => *request,
        answer => return answer.map_err(Unsent::Sent),
    };
    let fresh = timeout_at(ends, destination.pool.connect()).await;
    let fresh = fresh.unwrap_or(Err(ConnectError::TimedOut)).map_err(Unsent::Connect)?;
    if !in_time() {
        return Err(Unsent::Late);
    }
    match fresh.send(request, until(), answer_bytes_max).await {
        Err(SendError::NotSent(_)) => {
            Err(Unsent::Connect(ConnectError::Tcp(std::io::ErrorKind::ConnectionAborted.into())))
        }
        answer => answer.map_err(Unsent::Sent),
    }
}

fn request(order: &Order, headers: HeaderMap, body: Bytes) -> Request<Full<Bytes>> {
    let mut request = Request::new(Full::new(body));
    *request.method_mut() = order.method.clone();
    *request.uri_mut() = Uri::try_from(order.target.path_and_query.as_str())
        .expect("path and query were part of a parsed target, and begin with a slash");
    *request.headers_mut() = headers;
    request
}
