//! A whole small world: caller, proxy, vault and PSP, each with its own certificate, on loopback.

mod files;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderMap, Request};
use http_body_util::Full;
use metrics_exporter_prometheus::PrometheusBuilder;
use serde_json::{Value, json};
use strongroom_domain::Clock;
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::tls::{ClientTlsConfig, anonymous_client_config, client_config};
use strongroom_proxy::app::{Ambient, Proxy};
use strongroom_proxy::authority;
use strongroom_proxy::config::{ConnectConfig, DnsConfig, LimitsConfig, ProxyConfig, VaultConfig};
use strongroom_proxy::upstream::{Admission, Answer, Dialer, Pool, Resolve};
use tokio::net::TcpStream;
use tokio::time::Instant;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use crate::pki::{self, Authority, Files};
use crate::psp::Psp;
use crate::vault::{Vault, listener_config};

use files::{write, write_policies};

pub(crate) const TOKEN: &str = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";
pub(crate) const NUMBER: &str = "4242424242424242";
pub(crate) const HOST: &str = "api.psp.test";

pub(crate) struct World {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) house: Authority,
    pub(crate) psp: Psp,
    pub(crate) vault: Vault,
    pub(crate) proxy: SocketAddr,
    /// Ports of one route each.
    pub(crate) ports: Vec<SocketAddr>,
    /// Where senders connect, if the proxy receives messages.
    pub(crate) inbound: Option<SocketAddr>,
    /// What names lead to.
    pub(crate) names: Arc<Table>,
    caller: Files,
    pool: Pool,
    stop: CancellationToken,
    _vault_files: Files,
}

/// What differs from the usual world.
pub(crate) struct Setup {
    /// Text added inside the route's table.
    pub(crate) route: String,
    pub(crate) account: String,
    /// The route's credential place.
    pub(crate) credential: &'static str,
    /// Text added to the call that takes JSON.
    pub(crate) encrypt: &'static str,
    /// What names resolve to.
    pub(crate) resolves: Vec<SocketAddr>,
    /// The upstream's host.
    pub(crate) upstream_host: String,
    /// The name in the PSP's certificate.
    pub(crate) certificate_name: String,
    /// Whether a CA the route does not pin signs that certificate.
    pub(crate) foreign_ca: bool,
    pub(crate) versions: Vec<&'static rustls::SupportedProtocolVersion>,
    /// Vault addresses tried before the real one.
    pub(crate) dead_vaults: Vec<String>,
    pub(crate) private_addresses: String,
    /// Files below the world's folder: other accounts, their credentials.
    pub(crate) files: Vec<(&'static str, String)>,
    /// Whether the proxy has a connect authority, for the upstream's host.
    pub(crate) connect: bool,
    /// Other settings of the proxy.
    pub(crate) change: fn(&mut ProxyConfig),
    /// Whether the PSP asks for certificates of a CA of its own. Merchants `merchant-a` and `merchant-b` have one.
    pub(crate) psp_asks: bool,
    /// Routes as they are shipped, but for where they lead: to this world's PSP.
    pub(crate) shipped: Vec<&'static str>,
    /// Name servers the proxy asks instead of the table of names.
    pub(crate) dns: Vec<SocketAddr>,
    /// The proxy's clock.
    pub(crate) clock: Arc<dyn Clock>,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            route: "credentials = \"account\"".into(),
            account: "tenants = [\"*\"]\ncredential_file = \"psp.key\"".into(),
            credential: r#"{ header = "Authorization", scheme = "Bearer", refused_fields = ["key"] }"#,
            encrypt: "",
            resolves: vec!["127.0.0.1:0".parse().unwrap()],
            upstream_host: HOST.into(),
            certificate_name: HOST.into(),
            foreign_ca: false,
            versions: vec![&rustls::version::TLS13],
            dead_vaults: Vec::new(),
            private_addresses: "[\"127.0.0.1\"]".into(),
            files: Vec::new(),
            connect: false,
            change: |_| {},
            psp_asks: false,
            shipped: Vec::new(),
            dns: Vec::new(),
            clock: Arc::new(SystemClock),
        }
    }
}

impl Setup {
    /// With tunnels, and a second account whose key is another.
    pub(crate) fn with_tunnels() -> Self {
        Self { connect: true, files: second_account(""), ..Self::default() }
    }
}

/// Account `m-501` with a credential of its own.
pub(crate) fn second_account(more: &str) -> Vec<(&'static str, String)> {
    vec![
        (
            "policies/accounts/psp/m-501.toml",
            format!("tenants = [\"*\"]\ncredential_file = \"m-501.key\"\n{more}"),
        ),
        ("m-501.key", "sk_merchant_501\n".into()),
    ]
}

/// Answers every name with one list of addresses, which a test may change.
pub(crate) struct Table(Mutex<Vec<SocketAddr>>);

impl Table {
    pub(crate) fn change(&self, addresses: Vec<SocketAddr>) {
        *self.0.lock().unwrap() = addresses;
    }
}

#[async_trait]
impl Resolve for Table {
    async fn resolve(&self, _: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses = self.0.lock().unwrap();
        Ok(addresses.iter().map(|address| SocketAddr::new(address.ip(), port)).collect())
    }
}

pub(crate) const WORKLOADS: &str = r#"{ "workloads": [
    { "id": "spiffe://strongroom.test/proxy", "roles": ["proxy"], "routes": ["*"],
      "callers": ["spiffe://strongroom.test/orchestrator", "spiffe://strongroom.test/elsewhere",
                  "spiffe://strongroom.test/merchant"] },
    { "id": "spiffe://strongroom.test/merchant", "roles": ["orchestrator"], "accounts": ["psp/m-501"] },
    { "id": "spiffe://strongroom.test/orchestrator", "roles": ["orchestrator"], "routes": ["*"] },
    { "id": "spiffe://strongroom.test/elsewhere", "roles": ["orchestrator"], "routes": ["other"] },
    { "id": "spiffe://strongroom.test/checkout", "roles": ["checkout"], "routes": ["*"] }
] }"#;

const CALLS: &str = r#"
[[route.psp.allow]]
method = "POST"
path = "/v1/payment_methods"
body = "form"
inject = [
    { at = "card[number]", value = "number" },
    { at = "card[cvc]", value = "cvc", from = "card[number]" },
    { at = "card[exp_month]", value = "exp", format = "M", from = "card[number]" },
    { at = "card[exp_year]", value = "exp", format = "YYYY", from = "card[number]" },
    { at = "holder", value = "holder" },
]
ids = ["id"]

[[route.psp.allow]]
method = "POST"
path = "/payments"
body = "json"
inject = [
    { at = "/source/number", value = "number" },
    { at = "/source/expiry_month", value = "exp", format = "M", json = "integer", from = "/source/number" },
]
ids = ["id"]

[[route.psp.allow]]
method = "POST"
path = "/cards"
body = "json"
inject = [
    { at = "header:x-card-number", value = "number" },
    { at = "/cvc", value = "cvc", from = "header:x-card-number" },
]
ids = ["id"]

[[route.psp.pass]]
method = "GET"
path = "/v1/payment_methods/{id}"
ids = ["id"]

[[route.psp.pass]]
method = "POST"
path = "/v1/refunds"

[[route.psp.pass]]
method = "POST"
path = "/ppp//v1/refunds"
"#;

impl World {
    pub(crate) async fn usual() -> Self {
        Self::new(Setup::default()).await
    }

    pub(crate) async fn new(setup: Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path();
        let house = Authority::new(at, "house");
        let psp_ca = Authority::new(at, "psp-ca");
        let foreign = Authority::new(at, "foreign-ca");
        let signs = if setup.foreign_ca { &foreign } else { &psp_ca };
        let files = signs.server(&setup.certificate_name);
        let pins = [pki::pin(&psp_ca.file), pki::pin(&files.certificate)];
        let asks = setup.psp_asks.then(|| Authority::new(at, "psp-merchants"));
        for merchant in asks.iter().flat_map(|asks| ["merchant-a", "merchant-b"].map(|name| (asks, name))) {
            merchant.0.client(merchant.1);
        }
        let psp = Psp::start(&files, &setup.versions, asks.map(|asks| asks.file).as_deref()).await;
        let vault_files = house.server("vault.test");
        let vault = Vault::start(&house, &vault_files).await;
        vault.knows(
            TOKEN,
            json!({ "number": NUMBER, "cvc": "737", "exp_month": 3, "exp_year": 2030, "holder": "JANE DOE" }),
        );
        let route = setup.route.replace("PIN_OF_CA", &pins[0]).replace("PIN_OF_LEAF", &pins[1]);
        let setup = Setup { route, ..setup };
        write_policies(at, &setup, psp.address.port());
        for (path, text) in &setup.files {
            write(at, path, &text.replace("PORT", &psp.address.port().to_string()));
        }
        let connect = setup.connect.then(|| connect_authority(at, &setup.upstream_host));

        let mut urls = setup.dead_vaults.clone();
        urls.push(format!("https://{}", vault.address));
        let mut config = ProxyConfig {
            environment: strongroom_domain::Environment::Test,
            policies_folder: at.join("policies"),
            secrets_folder: at.to_owned(),
            routes: None,
            host_suffix: Some("proxy.test".into()),
            listener: listener_config("127.0.0.1:0".parse().unwrap(), &house, &house.server("proxy.test")),
            ports: Vec::new(),
            connect,
            inbound: None,
            ops: toml::from_str("address = \"127.0.0.1:0\"").unwrap(),
            vault: VaultConfig {
                urls,
                tls: client_tls(&house, &house.client("proxy")),
                open_timeout_ms: 5_000, // a busy machine is no vault that hangs
            },
            dns: DnsConfig { servers: setup.dns.clone() },
            limits: LimitsConfig::default(),
            telemetry: toml::from_str("").unwrap(),
        };
        (setup.change)(&mut config);
        let names = Arc::new(Table(Mutex::new(setup.resolves)));
        let ambient =
            Ambient { clock: setup.clock, random: Arc::new(SystemRandom::new()), resolver: names.clone() };
        let proxy = Proxy::bind(config, ambient).unwrap();
        let (address, ports) = (proxy.local_addr(), proxy.port_addrs());
        let inbound = proxy.inbound_addr();
        let stop = CancellationToken::new();
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        tokio::spawn(proxy.serve(metrics, stop.clone()));
        let caller = house.client("orchestrator");
        let pool = Pool::new(dialer(&house, &caller, address, b"http/1.1"));
        Self {
            folder,
            house,
            psp,
            vault,
            proxy: address,
            ports,
            inbound,
            names,
            caller,
            pool,
            stop,
            _vault_files: vault_files,
        }
    }

    /// Sends a request as the orchestrator and gives the complete answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Reply {
        let ready = self.pool.ready().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        Reply::from(ready.send(request, deadline, 8 << 20).await.unwrap())
    }

    /// Sends a request with the certificate of another workload of the house.
    pub(crate) async fn send_as(&self, workload: &str, request: Request<Full<Bytes>>) -> Reply {
        let files = self.house.client(workload);
        let ready = Pool::new(dialer(&self.house, &files, self.proxy, b"http/1.1")).connect().await.unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        Reply::from(ready.send(request, deadline, 8 << 20).await.unwrap())
    }

    /// Sends a message to the inbound listener, with a client certificate or without any.
    pub(crate) async fn deliver(&self, workload: Option<&str>, request: Request<Full<Bytes>>) -> Reply {
        self.try_deliver(workload, request).await.unwrap()
    }

    /// The same; `None`: the connection failed.
    pub(crate) async fn try_deliver(
        &self,
        workload: Option<&str>,
        request: Request<Full<Bytes>>,
    ) -> Option<Reply> {
        let mut tls = match workload {
            Some(workload) => client_config(&client_tls(&self.house, &self.house.client(workload))).unwrap(),
            None => anonymous_client_config(Some(&self.house.file)).unwrap(),
        };
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let (address, resolver) = (self.inbound.unwrap(), Arc::new(Table(Mutex::new(Vec::new()))));
        let (host, wait) = (address.ip().to_string(), Duration::from_secs(10));
        let dialer = Dialer::new(&host, address.port(), Admission::Any, resolver, Arc::new(tls), wait);
        let ready = Pool::new(dialer.unwrap()).connect().await.ok()?;
        let deadline = Instant::now() + Duration::from_secs(60);
        Some(Reply::from(ready.send(request, deadline, 8 << 20).await.ok()?))
    }

    /// A form to the call that takes card data.
    pub(crate) async fn create(&self, form: &str) -> Reply {
        self.send(self.form("/psp/v1/payment_methods", form)).await
    }

    /// The usual form: a token for a number, sentinels for the rest.
    pub(crate) async fn create_usual(&self) -> Reply {
        self.create(&usual_form()).await
    }

    pub(crate) fn form(&self, path: &str, form: &str) -> Request<Full<Bytes>> {
        self.request("POST", path, "application/x-www-form-urlencoded", form.as_bytes())
    }

    pub(crate) fn json(&self, path: &str, body: &Value) -> Request<Full<Bytes>> {
        self.request("POST", path, "application/json", body.to_string().as_bytes())
    }

    pub(crate) fn request(&self, method: &str, path: &str, kind: &str, body: &[u8]) -> Request<Full<Bytes>> {
        let mut request = Request::builder().method(method).uri(path).header("host", "proxy.test");
        if !body.is_empty() {
            request = request.header("content-type", kind);
        }
        request.body(Full::new(Bytes::copy_from_slice(body))).unwrap()
    }

    /// A bare TLS connection to the proxy, for requests no client library writes.
    pub(crate) async fn raw(&self) -> TlsStream<TcpStream> {
        self.raw_with(b"http/1.1").await
    }

    /// The same, speaking another protocol.
    pub(crate) async fn raw_with(&self, alpn: &[u8]) -> TlsStream<TcpStream> {
        dialer(&self.house, &self.caller, self.proxy, alpn).dial().await.unwrap()
    }

    /// The same with another workload's certificate, to any of the proxy's ports.
    pub(crate) async fn raw_as(&self, workload: &str, address: SocketAddr) -> TlsStream<TcpStream> {
        dialer(&self.house, &self.house.client(workload), address, b"http/1.1").dial().await.unwrap()
    }

    /// The upstream as a `CONNECT` names it.
    pub(crate) fn upstream(&self) -> String {
        format!("{HOST}:{}", self.psp.address.port())
    }

    /// Files of a client of the house.
    pub(crate) fn client_files(&self, workload: &str) -> Files {
        self.house.client(workload)
    }

    /// Writes a file below the world's folder, whole: beside, then renamed.
    pub(crate) fn write(&self, path: &str, text: &str) {
        write(self.folder.path(), path, text);
    }

    /// Stops the proxy.
    pub(crate) fn stop(&self) {
        self.stop.cancel();
    }
}

pub(crate) fn usual_form() -> String {
    format!("type=card&card[number]={TOKEN}&card[cvc]=000&card[exp_month]=12&card[exp_year]=2099")
}

fn connect_authority(at: &Path, host: &str) -> ConnectConfig {
    let life = Duration::from_secs(24 * 60 * 60);
    let made = authority::create(&[host.to_owned()].into(), at, SystemClock.now(), life).unwrap();
    ConnectConfig { ca_certificate_file: made.certificate, ca_key_file: made.key }
}

fn client_tls(house: &Authority, files: &Files) -> ClientTlsConfig {
    ClientTlsConfig {
        certificate_file: files.certificate.clone(),
        key_file: files.key.clone(),
        ca_file: house.file.clone(),
        crl_files: Vec::new(),
    }
}

fn dialer(house: &Authority, caller: &Files, address: SocketAddr, alpn: &[u8]) -> Dialer {
    let mut tls = client_config(&client_tls(house, caller)).unwrap();
    tls.alpn_protocols = vec![alpn.to_vec()];
    let resolver = Arc::new(Table(Mutex::default()));
    let second = Duration::from_secs(1);
    Dialer::new(&address.ip().to_string(), address.port(), Admission::Any, resolver, Arc::new(tls), second)
        .unwrap()
}

/// An answer as the caller sees it.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl From<Answer> for Reply {
    fn from(answer: Answer) -> Self {
        Self { status: answer.status.as_u16(), headers: answer.headers, body: answer.body }
    }
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no json: {}", self.text()))
    }

    /// The problem's slug; also checks what SDKs look for.
    pub(crate) fn problem(&self) -> String {
        let document = self.json();
        let uri = document["type"].as_str().unwrap_or_else(|| panic!("no problem: {document}"));
        let slug = uri.rsplit(':').next().unwrap().to_owned();
        assert_eq!(document["error"]["code"], slug.as_str(), "{document}");
        assert_eq!(document["status"], self.status, "{document}");
        assert!(document["message"].is_string() && document["request_id"].is_string(), "{document}");
        slug
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}
