//! A vault that knows some cards and does what it is told. It speaks the real mTLS listener's protocol.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{post, put};
use http::StatusCode;
use serde_json::{Value, json};
use strongroom_domain::{FirstState, ForwardId, Problem, ProblemKind, RequestId};
use strongroom_perimeter::Caller;
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::listener::{Listener, ListenerConfig};
use strongroom_perimeter::problem::ProblemResponse;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::pki::{Authority, Files};

/// What the vault does with one open.
pub(crate) enum OnOpen {
    Refuse(ProblemKind),
    After(Duration),
    When(Arc<Notify>),
    Garbage,
}

#[derive(Default)]
struct Memory {
    cards: BTreeMap<String, Value>,
    script: VecDeque<OnOpen>,
    outcome_script: VecDeque<StatusCode>,
    opens: Vec<Value>,
    callers: Vec<String>,
    outcomes: Vec<(String, Value)>,
    created: Vec<Created>,
    create_script: VecDeque<ProblemKind>,
    /// The forward of each payment reference.
    references: BTreeMap<String, String>,
}

/// A card that was tokenized, under which key and token.
#[derive(Clone)]
pub(crate) struct Created {
    pub(crate) tenant: String,
    pub(crate) key: String,
    pub(crate) card: Value,
    pub(crate) token: String,
}

#[derive(Clone)]
pub(crate) struct Vault {
    pub(crate) address: SocketAddr,
    memory: Arc<Mutex<Memory>>,
    stop: CancellationToken,
}

impl Vault {
    pub(crate) async fn start(authority: &Authority, files: &Files) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), authority, files).await
    }

    pub(crate) async fn start_at(address: SocketAddr, authority: &Authority, files: &Files) -> Self {
        let config = listener_config(address, authority, files);
        let clock = Arc::new(SystemClock);
        let listener = Listener::bind(config, clock, Arc::new(SystemRandom::new())).unwrap();
        let vault =
            Self { address: listener.local_addr(), memory: Arc::default(), stop: CancellationToken::new() };
        let router = Router::new()
            .route("/v1/forwards", post(open))
            .route("/v1/forwards/{id}/outcome", put(outcome))
            .route("/v1/tenants/{tenant}/cards", post(create))
            .with_state(vault.clone());
        tokio::spawn(listener.serve(router, vault.stop.clone()));
        vault
    }

    pub(crate) fn knows(&self, token: &str, card: Value) {
        self.memory.lock().unwrap().cards.insert(token.to_owned(), card);
    }

    pub(crate) fn then(&self, on_open: OnOpen) {
        self.memory.lock().unwrap().script.push_back(on_open);
    }

    /// Answers the next outcome with this status and does not keep it.
    pub(crate) fn then_outcome(&self, status: StatusCode) {
        self.memory.lock().unwrap().outcome_script.push_back(status);
    }

    /// Refuses the next card that comes in.
    pub(crate) fn then_create(&self, kind: ProblemKind) {
        self.memory.lock().unwrap().create_script.push_back(kind);
    }

    /// Every call that tokenized, in order.
    pub(crate) fn created(&self) -> Vec<Created> {
        self.memory.lock().unwrap().created.clone()
    }

    /// Every open, refused or not, as it came.
    pub(crate) fn opens(&self) -> Vec<Value> {
        self.memory.lock().unwrap().opens.clone()
    }

    /// Who connected for each open.
    pub(crate) fn callers(&self) -> Vec<String> {
        self.memory.lock().unwrap().callers.clone()
    }

    /// Waits for that many outcomes.
    pub(crate) async fn outcomes(&self, number: usize) -> Vec<Value> {
        for _ in 0..500 {
            let outcomes = self.memory.lock().unwrap().outcomes.clone();
            if outcomes.len() >= number {
                return outcomes.into_iter().map(|(_, outcome)| outcome).collect();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("no {number} outcomes came");
    }

    pub(crate) fn outcomes_now(&self) -> usize {
        self.memory.lock().unwrap().outcomes.len()
    }

    /// Takes no more connections and closes those there are.
    pub(crate) fn die(&self) {
        self.stop.cancel();
    }
}

pub(crate) fn listener_config(address: SocketAddr, authority: &Authority, files: &Files) -> ListenerConfig {
    toml::from_str(&format!(
        "address = \"{address}\"\ncertificate_file = {:?}\nkey_file = {:?}\nclient_ca_file = {:?}\n\
         limits = {{ drain_timeout_ms = 100 }}",
        files.certificate, files.key, authority.file
    ))
    .unwrap()
}

async fn open(State(vault): State<Vault>, caller: Caller, body: String) -> Response {
    let asked: Value = serde_json::from_str(&body).unwrap();
    let (on_open, number) = {
        let mut memory = vault.memory.lock().unwrap();
        memory.opens.push(asked.clone());
        memory.callers.push(caller.workload.to_string());
        (memory.script.pop_front(), memory.opens.len() as u128)
    };
    match on_open {
        Some(OnOpen::Refuse(kind)) => return problem(kind),
        Some(OnOpen::Garbage) => return (StatusCode::CREATED, "{\"id\":1}").into_response(),
        Some(OnOpen::After(pause)) => tokio::time::sleep(pause).await,
        Some(OnOpen::When(told)) => told.notified().await,
        None => {}
    }
    let id = Uuid::from_u128(0x0190_a0b0_c0d0_7e0f_8f00_0000_0000_0000 + number);
    if let Some(reference) = asked["reference"].as_str()
        && let Some(refused) = taken(&vault, reference, &id.to_string())
    {
        return refused;
    }
    let mut released = Vec::new();
    for wanted in asked["cards"].as_array().unwrap() {
        let memory = vault.memory.lock().unwrap();
        let Some(card) = memory.cards.get(wanted["token"].as_str().unwrap()) else {
            return problem(ProblemKind::TokenNotFound);
        };
        let Some(part) = release(card, wanted) else { return problem(ProblemKind::AttributeUnavailable) };
        released.push(part);
    }
    let body = json!({ "id": id.to_string(), "tenant": "acme", "cards": released });
    (StatusCode::CREATED, [("strongroom-receipt", RECEIPT)], axum::Json(body)).into_response()
}

/// The receipt of every forward here.
pub(crate) const RECEIPT: &str = "019aa5a0-0000-7000-8000-000000000001.17";

/// A new token, or the one made under this key before.
async fn create(
    State(vault): State<Vault>,
    Path(tenant): Path<String>,
    headers: http::HeaderMap,
    body: String,
) -> Response {
    let mut memory = vault.memory.lock().unwrap();
    if let Some(kind) = memory.create_script.pop_front() {
        return problem(kind);
    }
    let key = headers["idempotency-key"].to_str().unwrap().to_owned();
    let known = memory.created.iter().find(|created| created.key == key);
    let token = known.map(|created| created.token.clone()).unwrap_or_else(|| {
        strongroom_domain::Token::generate(strongroom_domain::Environment::Test, &SystemRandom::new())
            .unwrap()
            .as_str()
            .to_owned()
    });
    let card = serde_json::from_str(&body).unwrap();
    memory.created.push(Created { tenant, key, card, token: token.clone() });
    (StatusCode::CREATED, axum::Json(json!({ "token": token, "brand": "visa" }))).into_response()
}

/// Takes the reference for this forward; the refusal, if it is another's.
fn taken(vault: &Vault, reference: &str, id: &str) -> Option<Response> {
    let mut memory = vault.memory.lock().unwrap();
    let outcome_of = |first: &String| {
        let told = memory.outcomes.iter().find(|(forward, _)| forward == first);
        told.map(|(_, outcome)| outcome["outcome"].as_str().unwrap().to_owned())
    };
    let first = memory.references.get(reference).map(|first| (first.clone(), outcome_of(first)));
    if let Some((first, outcome)) = first
        && outcome.as_deref() != Some("not-sent")
    {
        let state = FirstState::parse(outcome.as_deref().unwrap_or("in-flight")).unwrap();
        let forward = ForwardId::parse(&first).unwrap();
        let problem = Problem::new(ProblemKind::ReferenceTaken).of_forward(forward).in_state(state);
        return Some(ProblemResponse(problem, RequestId::from_uuid(Uuid::nil())).into_response());
    }
    memory.references.insert(reference.to_owned(), id.to_owned());
    None
}

/// Only what was asked, all of it or nothing.
fn release(card: &Value, wanted: &Value) -> Option<Value> {
    let mut part = json!({});
    for attribute in wanted["attributes"].as_array().unwrap() {
        let names: &[&str] = match attribute.as_str().unwrap() {
            "exp" => &["exp_month", "exp_year"],
            "number" => &["number"],
            "cvc" => &["cvc"],
            "holder" => &["holder"],
            other => panic!("no attribute {other}"),
        };
        for name in names {
            part[*name] = card.get(*name)?.clone();
        }
    }
    Some(part)
}

async fn outcome(State(vault): State<Vault>, Path(id): Path<String>, body: String) -> StatusCode {
    let mut memory = vault.memory.lock().unwrap();
    if let Some(status) = memory.outcome_script.pop_front() {
        return status;
    }
    memory.outcomes.push((id, serde_json::from_str(&body).unwrap()));
    StatusCode::NO_CONTENT
}

fn problem(kind: ProblemKind) -> Response {
    ProblemResponse(Problem::new(kind), RequestId::from_uuid(Uuid::nil())).into_response()
}
