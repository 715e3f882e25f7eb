//! One house, and every request made in it remembered.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_perimeter::telemetry::Level;
use strongroom_sandbox::client::{Client, Exchange};
use strongroom_sandbox::house::{House, HouseOptions};
use strongroom_sandbox::psp::cards;

use crate::events::ground::{Certificate, Receiver, Reply, secret};
use crate::postgres::PostgresServer;

/// Where the vault keeps things, and where those lie on disk.
pub(super) struct Ground {
    pub(super) house: House,
    pub(super) _folder: tempfile::TempDir,
    pub(super) at_rest: Vec<PathBuf>,
    pub(super) postgres: Option<PostgresServer>,
    /// What every caller was answered.
    pub(super) answers: Vec<u8>,
    /// By operation of the contract, or door of the proxy: how often it was done and refused.
    pub(super) covered: BTreeMap<String, (u32, u32)>,
    pub(super) forwards: u32,
    /// Who is told what becomes of cards.
    pub(super) receiver: Receiver,
    pub(super) _hooks: tempfile::TempDir,
    pub(super) needles: Vec<(String, String)>,
    pub(super) codes: Vec<(String, String)>,
}

impl Ground {
    pub(super) async fn new(postgres: Option<PostgresServer>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut options = HouseOptions::new(folder.path());
        options.level = Level::Trace;
        options.slow = Duration::from_millis(200);
        let store = postgres.as_ref().map(PostgresServer::store_config);
        let store = store.unwrap_or_else(|| {
            format!("driver = \"sqlite\"\npath = {:?}\n", folder.path().join("vault/vault.db"))
        });
        let hooks = tempfile::tempdir().unwrap();
        let certificate = Certificate::issue(hooks.path(), "receiver");
        let key = secret(hooks.path(), "key", "A");
        let receiver = Receiver::start(&certificate, |_| Reply::Status(204)).await;
        let hook = receiver.webhook("all", &certificate.authority, &[&key]);
        options.store = Some(store);
        let mut workloads: Value =
            serde_json::from_str(include_str!("../../../../policies/workloads.json")).unwrap();
        let people = crate::exports::people().as_array().unwrap().clone();
        let custodian = json!({ "id": "spiffe://strongroom.test/custodian", "about": "looks after the keys", "roles": ["custodian"] });
        workloads["workloads"].as_array_mut().unwrap().extend(people.into_iter().chain([custodian]));
        options.policies = vec![("workloads.json".into(), workloads.to_string())];
        options.settings = format!("[export]\nenabled = true\n\n{hook}");
        let house = House::start(options).await.unwrap();
        let mut at_rest = vec![house.folder().vault()];
        at_rest.extend(postgres.as_ref().map(PostgresServer::data));
        Self {
            house,
            _folder: folder,
            at_rest,
            postgres,
            receiver,
            _hooks: hooks,
            answers: Vec::new(),
            covered: BTreeMap::new(),
            forwards: 0,
            needles: Vec::new(),
            codes: Vec::new(),
        }
    }

    /// A number nobody else uses, remembered as a needle.
    pub(super) fn mark(&mut self, what: &str) -> String {
        let random = strongroom_perimeter::chance::SystemRandom::new();
        let mut number = cards::random_number(&random).unwrap();
        // In a row of SQLite a card's first eight and last four digits and its expiry lie side by side: after eight nines they
        // look like a number of the test range from the third on.
        while number.starts_with("99999999") {
            number = cards::random_number(&random).unwrap();
        }
        self.needles.push((format!("{what} {}", self.needles.len()), number.clone()));
        number
    }

    /// A published number with a meaning at the PSP, remembered as a needle if it can be one: packed into bytes, a
    /// number of nothing but zeros between is in every file.
    pub(super) fn known(&mut self, number: &str) -> String {
        if is_findable(number) && !self.needles.iter().any(|(_, known)| known == number) {
            self.needles.push((format!("known {}", self.needles.len()), number.to_owned()));
        }
        number.to_owned()
    }

    pub(super) fn code(&mut self, code: &str) -> String {
        self.codes.push((format!("code {}", self.codes.len()), code.to_owned()));
        code.to_owned()
    }

    pub(super) async fn vault(&mut self, operation: &str, who: &str, request: Request<'_>) -> Exchange {
        let client = self.house.vault_client(who).unwrap();
        let exchange = request.send(&client).await;
        let carries_card_data = operation == "openForward" && exchange.status() == 201;
        if carries_card_data {
            self.forwards += 1;
        } else {
            self.answers.extend_from_slice(&exchange.received);
        }
        self.count(operation, (200..300).contains(&exchange.status()));
        exchange
    }

    pub(super) async fn proxy(&mut self, door: &str, request: Request<'_>) -> Exchange {
        let client = self.house.proxy_client("orchestrator").unwrap();
        let exchange = request.send(&client).await;
        self.answers.extend_from_slice(&exchange.received);
        self.count(&format!("proxy: {door}"), exchange.status() == 200);
        exchange
    }

    pub(super) fn count(&mut self, door: &str, done: bool) {
        let (success, failure) = self.covered.entry(door.to_owned()).or_default();
        *(if done { success } else { failure }) += 1;
    }

    pub(super) async fn token(&mut self, card: &Value) -> String {
        let path = "/v1/tenants/acme/cards";
        let created = self.vault("createCard", "checkout", Request::json("POST", path, card)).await;
        assert_eq!(created.status(), 201, "{}", created.json());
        created.json()["token"].as_str().unwrap().to_owned()
    }
}

pub(super) struct Request<'a> {
    pub(super) method: &'a str,
    pub(super) path: &'a str,
    pub(super) headers: Vec<(&'a str, &'a str)>,
    pub(super) body: Vec<u8>,
}

impl<'a> Request<'a> {
    pub(super) fn bare(method: &'a str, path: &'a str) -> Self {
        Self { method, path, headers: Vec::new(), body: Vec::new() }
    }

    pub(super) fn json(method: &'a str, path: &'a str, body: &Value) -> Self {
        Self::text(method, path, &body.to_string())
    }

    pub(super) fn text(method: &'a str, path: &'a str, body: &str) -> Self {
        Self {
            headers: vec![("content-type", "application/json")],
            body: body.into(),
            ..Self::bare(method, path)
        }
    }

    pub(super) fn form(path: &'a str, body: &str) -> Self {
        let headers = vec![
            ("content-type", "application/x-www-form-urlencoded"),
            ("authorization", "Bearer strongroom"),
        ];
        Self { headers, body: body.into(), ..Self::bare("POST", path) }
    }

    pub(super) fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.retain(|(held, _)| *held != name);
        self.headers.push((name, value));
        self
    }

    pub(super) async fn send(self, client: &Client) -> Exchange {
        match client.send(self.method, self.path, &self.headers, &self.body).await {
            Ok(exchange) => exchange,
            Err(no_answer) => no_answer.exchange,
        }
    }
}

/// Whether a search for this number says anything: packed into bytes, one with little but zeros is in every file.
pub(super) fn is_findable(number: &str) -> bool {
    !number.contains("00000000")
}
