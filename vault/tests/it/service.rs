//! A whole vault in this process: real listener, real store, real policies, a throw-away PKI.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_domain::{Clock, Random, Timestamp};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::client::{Client, Exchange};
use strongroom_sandbox::pki::{Pki, Server};
use strongroom_vault::app::{self, App};
use strongroom_vault::config::VaultConfig;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// A published test number (Visa).
pub(crate) const VISA: &str = "4242424242424242";

pub(crate) struct Service {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) pki: Pki,
    pub(crate) config: VaultConfig,
    pub(crate) address: SocketAddr,
    pub(crate) ops: SocketAddr,
    stop: CancellationToken,
    running: JoinHandle<std::io::Result<()>>,
}

/// A clock that is ahead.
struct Later(Duration);

impl Clock for Later {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.0)
    }
}

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A configuration for a fresh folder with the shipped policies and one route of a test PSP. A busy machine is no slow
/// peer: what the listener's time limits do is for the tests of the listener.
pub(crate) fn configuration(folder: &Path, pki: &Pki, store: &str) -> String {
    let server = pki.server(Server::Vault).unwrap();
    let key_file = folder.join("kms.key");
    if !key_file.exists() {
        let mut key = [0; 32];
        strongroom_domain::Random::fill(&SystemRandom::new(), &mut key).unwrap();
        write_private(&key_file, &key);
    }
    format!(
        "environment = \"test\"\ninstance = \"vault-1\"\n\
         [api]\naddress = \"127.0.0.1:0\"\ncertificate_file = {:?}\nkey_file = {:?}\nclient_ca_file = {:?}\ncrl_files = [{:?}]\n\
         [api.limits]\nreload_interval_ms = 200\nhandshake_timeout_ms = 60000\nheader_timeout_ms = 60000\n\
         body_timeout_ms = 60000\nidle_timeout_ms = 600000\nconnection_age_max_ms = 3600000\n\
         [ops]\naddress = \"127.0.0.1:0\"\n\
         [store]\n{store}\n\
         [kms]\nprovider = \"file\"\nkey_file = {key_file:?}\n\
         [policies]\nfolder = {:?}\n\
         [audit]\nfolder = {:?}\n\
         [watch]\noff = [{}]\n\
         [limits]\ntokenize_per_second = 100000\nforward_per_second = 100000\nforward_per_day = 10000000\ntoken_forwards_per_minute = 100000\n",
        server.certificate_pem_path,
        server.key_pem_path,
        pki.ca_file(),
        pki.crl_file(),
        policies(folder),
        folder.join("signed-log"),
        rules(),
    )
}

/// Every rule: tests count entries, and what the rules find is for the tests of the rules.
fn rules() -> String {
    let names = strongroom_vault::watch::Rule::ALL.iter().map(|rule| format!("{:?}", rule.as_str()));
    names.collect::<Vec<_>>().join(", ")
}

pub(crate) fn sqlite(folder: &Path) -> String {
    format!("driver = \"sqlite\"\npath = {:?}", folder.join("vault.db"))
}

/// The shipped bundle plus the route of a PSP that does not exist: what the vault knows of a PSP is its file.
fn policies(folder: &Path) -> PathBuf {
    let target = folder.join("policies");
    if !target.exists() {
        bundle(&repository().join("policies"), &target);
        std::fs::write(
            target.join("accounts/psp/m-501.toml"),
            "tenants = [\"m-501\"]\ncredential_file = \"m-501\"\nupstream = \"https://m501.psp.example\"\n",
        )
        .unwrap();
        std::fs::write(target.join("routes/once.toml"), ONCE).unwrap();
        std::fs::create_dir_all(target.join("accounts/once")).unwrap();
        for account in ["default", "second"] {
            let file = target.join(format!("accounts/once/{account}.toml"));
            std::fs::write(file, "tenants = [\"*\"]\ncredential_file = \"once\"\n").unwrap();
        }
    }
    target
}

/// Some release's bundle plus that route.
pub(crate) fn bundle(shipped: &Path, target: &Path) {
    copy(shipped, target);
    std::fs::create_dir_all(target.join("routes")).unwrap();
    std::fs::create_dir_all(target.join("accounts/psp")).unwrap();
    std::fs::write(target.join("routes/psp.toml"), ROUTE).unwrap();
    std::fs::write(
        target.join("accounts/psp/default.toml"),
        "tenants = [\"*\"]\ncredential_file = \"psp\"\n",
    )
    .unwrap();
}

pub(crate) const ROUTE: &str = r#"
[route.psp]
upstream = "https://api.psp.example"
credential = { header = "Authorization", scheme = "Bearer" }
[[route.psp.allow]]
method = "POST"
path = "/v1/charges"
body = "json"
inject = [
    { at = "/card/number", value = "number" },
    { at = "/card/cvc", value = "cvc", from = "/card/number" },
    { at = "/card/exp", value = "exp", format = "MM/YY", from = "/card/number" },
    { at = "/card/holder", value = "holder", from = "/card/number" },
]
[[route.psp.allow]]
method = "POST"
path = "/v1/charges/{id}"
body = "json"
inject = [{ at = "/number", value = "number" }]
[[route.psp.allow]]
method = "POST"
path = "/v1/tokens"
body = "json"
inject = [{ at = "/number", value = "number" }, { at = "/cvc", value = "cvc", from = "/number" }]
"#;

/// A PSP that charges again when it is asked again.
pub(crate) const ONCE: &str = r#"
[route.once]
upstream = "https://api.once.example"
credential = { header = "Authorization", scheme = "Bearer" }
[[route.once.allow]]
method = "POST"
path = "/payments"
body = "json"
inject = [{ at = "/number", value = "number" }, { at = "/cvc", value = "cvc", from = "/number" }]
mode = "at-most-once"
reference = "/order"
"#;

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target)
        } else {
            std::fs::copy(entry.path(), target).map(|_| ()).unwrap()
        }
    }
}

fn write_private(path: &Path, bytes: &[u8]) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    file.write_all(bytes).unwrap();
}

/// Gives workloads these grants besides the shipped ones, in a folder with a configuration.
pub(crate) fn grant(folder: &Path, grants: &Value) {
    let file = folder.join("policies/workloads.json");
    let mut shipped: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    let workloads = shipped["workloads"].as_array_mut().unwrap();
    for grant in grants.as_array().unwrap() {
        workloads.retain(|workload| workload["id"] != grant["id"]);
        workloads.push(grant.clone());
    }
    std::fs::write(file, shipped.to_string()).unwrap();
}

impl Service {
    /// A fresh vault on SQLite.
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(folder.path());
        Self::start_on(folder, &store).await
    }

    /// A fresh vault on SQLite where these workloads have these grants besides the shipped ones.
    pub(crate) async fn start_granting(grants: &Value) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(folder.path());
        Self::start_granting_on(folder, &store, grants, "").await
    }

    /// The same on the given store, with these settings besides.
    pub(crate) async fn start_granting_on(
        folder: tempfile::TempDir,
        store: &str,
        grants: &Value,
        settings: &str,
    ) -> Self {
        let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
        let text = configuration(folder.path(), &pki, store) + settings;
        grant(folder.path(), grants);
        let config = VaultConfig::parse(Path::new("vault.toml"), &text).unwrap();
        app::migrate(&config).await.unwrap();
        Self::run(folder, pki, config).await
    }

    /// A fresh vault on SQLite whose log is watched, with these settings of the rules.
    pub(crate) async fn start_watched(folder: tempfile::TempDir, settings: &str) -> Self {
        let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
        let text = configuration(folder.path(), &pki, &sqlite(folder.path()));
        let text = text.replace(&format!("off = [{}]", rules()), settings);
        let config = VaultConfig::parse(Path::new("vault.toml"), &text).unwrap();
        app::migrate(&config).await.unwrap();
        Self::run(folder, pki, config).await
    }

    /// A fresh vault on SQLite with this randomness.
    pub(crate) async fn start_with(random: Arc<dyn Random>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
        let text = configuration(folder.path(), &pki, &sqlite(folder.path()));
        let config = VaultConfig::parse(Path::new("vault.toml"), &text).unwrap();
        app::migrate(&config).await.unwrap();
        Self::run_by(folder, pki, config, Arc::new(SystemClock), random).await
    }

    /// A fresh vault on SQLite with these limits besides.
    pub(crate) async fn start_limited(limits: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = sqlite(folder.path());
        Self::start_as(folder, &store, limits).await
    }

    /// A fresh vault on the given store.
    pub(crate) async fn start_on(folder: tempfile::TempDir, store: &str) -> Self {
        Self::start_as(folder, store, "").await
    }

    async fn start_as(folder: tempfile::TempDir, store: &str, limits: &str) -> Self {
        let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
        let text = configuration(folder.path(), &pki, store) + limits;
        let config = VaultConfig::parse(Path::new("vault.toml"), &text).unwrap();
        app::migrate(&config).await.unwrap();
        Self::run(folder, pki, config).await
    }

    /// Stops in order and starts again when that much time has passed.
    pub(crate) async fn restart_after(self, passed: Duration) -> Self {
        let Self { folder, pki, config, stop, running, .. } = self;
        stop.cancel();
        running.await.unwrap().unwrap();
        Self::run_at(folder, pki, config, Arc::new(Later(passed))).await
    }

    async fn run(folder: tempfile::TempDir, pki: Pki, config: VaultConfig) -> Self {
        Self::run_at(folder, pki, config, Arc::new(SystemClock)).await
    }

    async fn run_at(folder: tempfile::TempDir, pki: Pki, config: VaultConfig, clock: Arc<dyn Clock>) -> Self {
        Self::run_by(folder, pki, config, clock, Arc::new(SystemRandom::new())).await
    }

    async fn run_by(
        folder: tempfile::TempDir,
        pki: Pki,
        config: VaultConfig,
        clock: Arc<dyn Clock>,
        random: Arc<dyn Random>,
    ) -> Self {
        let metrics = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder().handle();
        let app = App::start(config.clone(), clock, random, metrics).await.unwrap();
        let (address, ops, stop) = (app.api_address(), app.ops_address().unwrap(), CancellationToken::new());
        let running = tokio::spawn(app.run(stop.clone()));
        Self { folder, pki, config, address, ops, stop, running }
    }

    /// Stops in order and starts again on the same folder.
    pub(crate) async fn restart(self) -> Self {
        let Self { folder, pki, config, stop, running, .. } = self;
        stop.cancel();
        running.await.unwrap().unwrap();
        Self::run(folder, pki, config).await
    }

    pub(crate) async fn stop(self) -> (tempfile::TempDir, VaultConfig) {
        self.stop.cancel();
        self.running.await.unwrap().unwrap();
        (self.folder, self.config)
    }

    pub(crate) fn client(&self, workload: &str) -> Client {
        let identity = self.pki.client(workload).unwrap();
        Client::new(&self.pki, Some(&identity), Server::Vault, self.address).unwrap()
    }

    pub(crate) async fn send(
        &self,
        workload: &str,
        method: &str,
        path: &str,
        body: Option<&Value>,
    ) -> Exchange {
        self.send_with(workload, method, path, &[], body).await
    }

    pub(crate) async fn send_with(
        &self,
        workload: &str,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Exchange {
        let bytes = body.map(|body| body.to_string().into_bytes()).unwrap_or_default();
        let mut all = headers.to_vec();
        if body.is_some() {
            all.push(("content-type", "application/json"));
        }
        self.client(workload).send(method, path, &all, &bytes).await.unwrap()
    }

    /// Onboards a tenant in the group the shipped grants are for.
    pub(crate) async fn onboard(&self, tenant: &str) {
        self.onboard_as(tenant, json!({})).await;
    }

    /// The same, with these settings.
    pub(crate) async fn onboard_as(&self, tenant: &str, mut settings: Value) {
        settings["groups"] = json!(["merchants"]);
        let path = format!("/v1/tenants/{tenant}");
        let exchange = self.send("platform", "PUT", &path, Some(&settings)).await;
        assert!(matches!(exchange.status(), 200 | 201), "{}", exchange.json());
    }

    /// Tokenizes and gives the token.
    pub(crate) async fn tokenize(&self, tenant: &str, card: &Value) -> String {
        let exchange =
            self.send("checkout", "POST", &format!("/v1/tenants/{tenant}/cards"), Some(card)).await;
        assert_eq!(exchange.status(), 201, "{}", exchange.json());
        exchange.json()["token"].as_str().unwrap().to_owned()
    }

    /// Asks for a forward as the proxy.
    pub(crate) async fn forward(&self, token: &str, attributes: &[&str]) -> Exchange {
        self.send("proxy", "POST", "/v1/forwards", Some(&self.wanted(&[token], attributes))).await
    }

    /// A forward request for these tokens.
    pub(crate) fn wanted(&self, tokens: &[&str], attributes: &[&str]) -> Value {
        wanted(tokens, attributes)
    }

    /// Every audit entry so far, oldest first.
    pub(crate) async fn entries(&self) -> Vec<Value> {
        let store = app::open_store(&self.config.store).await.unwrap();
        let entries = strongroom_vault::audit::tail(&*store, 100_000).await.unwrap();
        entries.iter().map(|entry| serde_json::from_slice(entry.leaf.as_bytes()).unwrap()).collect()
    }

    /// The newest audit entry of this event with this reason, once what runs by itself has written it.
    pub(crate) async fn awaited(&self, event: &str, reason: &str) -> Value {
        for _ in 0..200 {
            let mut entries = self.entries().await.into_iter().rev();
            if let Some(entry) = entries.find(|entry| entry["evt"] == event && entry["rsn"] == reason) {
                return entry;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("no {event} because {reason} on the log")
    }

    /// The newest audit entry of this event.
    pub(crate) async fn newest(&self, event: &str) -> Value {
        let entries = self.entries().await;
        entries
            .into_iter()
            .rev()
            .find(|entry| entry["evt"] == event)
            .unwrap_or_else(|| panic!("no {event} on the log"))
    }
}

/// A forward request of the proxy, for these tokens.
pub(crate) fn wanted(tokens: &[&str], attributes: &[&str]) -> Value {
    use sha2::Digest as _;
    let cards: Vec<_> =
        tokens.iter().map(|token| json!({ "token": token, "attributes": attributes })).collect();
    json!({
        "caller": "spiffe://strongroom.test/orchestrator",
        "caller_cert_sha256": "00".repeat(32),
        "route": "psp",
        "route_sha256": hex::encode(sha2::Sha256::digest(ROUTE)),
        "account": "default",
        "method": "POST",
        "path": "/v1/charges",
        "host": "api.psp.example",
        "cards": cards,
    })
}

/// The same to the PSP whose payments are let through once, under this reference.
pub(crate) fn wanted_once(token: &str, attributes: &[&str], reference: &str) -> Value {
    use sha2::Digest as _;
    let mut body = wanted(&[token], attributes);
    body["route"] = json!("once");
    body["route_sha256"] = json!(hex::encode(sha2::Sha256::digest(ONCE)));
    body["path"] = json!("/payments");
    body["host"] = json!("api.once.example");
    body["reference"] = json!(reference);
    body
}

/// One plain request to a probe's address.
pub(crate) async fn plain_get(address: SocketAddr, path: &str) -> String {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}
