//! A house whose vault and proxy are processes of their own.

use std::collections::HashMap;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use clap::Parser as _;
use serde_json::{Value, json};
use strongroom_domain::{Random as _, Token};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::{drain, telemetry};
use strongroom_proxy::app::{Ambient, Proxy};
use strongroom_proxy::config::ProxyConfig;
use strongroom_proxy::upstream::SystemResolver;
use strongroom_sandbox::house::{Folder, House, HouseOptions, Ports, TENANT};
use strongroom_sandbox::line::{Door, Lines};
use strongroom_sandbox::pki::{Pki, Server};
use strongroom_sandbox::psp::{Psp, PspConfig};
use strongroom_vault::app;
use strongroom_vault::config::VaultConfig;
use strongroom_vault::store::Store;

use super::setting;

/// The PSP's name of the call that all charges are.
pub(super) const PSP_CALL: &str = "POST /json/payments";
/// How long a start may take on a busy machine.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// How long an orderly end may take.
const STOP_TIME_MAX: Duration = Duration::from_secs(60);
/// How long the PSP thinks over its slow card: time to be killed in.
const SLOW: Duration = Duration::from_millis(1_500);
/// What tells the test binary which service it is, and of which configuration.
const SERVICE: &str = "STRONGROOM_CRASH_SERVICE";
const CONFIG: &str = "STRONGROOM_CRASH_CONFIG";

/// A service. Without being told which, it is nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_process_of_its_own() {
    let (Some(service), Some(config)) = (setting(SERVICE), setting(CONFIG)) else { return };
    match service.as_str() {
        "vault" => {
            let words = ["strongroom-vault", "serve", "--config", &config];
            let cli = strongroom_vault::cli::Cli::try_parse_from(words).unwrap();
            cli.run(&mut std::io::sink()).await.unwrap();
        }
        "proxy" => {
            let config = ProxyConfig::read(config.as_ref()).unwrap();
            let clock = Arc::new(SystemClock);
            let metrics = telemetry::init(&config.telemetry, clock.clone()).unwrap();
            let stop = drain::on_signals().unwrap();
            let (random, resolver) = (Arc::new(SystemRandom::new()), Arc::new(SystemResolver));
            let proxy = Proxy::bind(config, Ambient { clock, random, resolver }).unwrap();
            proxy.serve(metrics, stop).await;
        }
        other => panic!("no service {other}"),
    }
}

/// One service's process. Killed when dropped.
pub(super) struct Service {
    name: &'static str,
    config: PathBuf,
    address: SocketAddr,
    child: Option<Child>,
}

impl Service {
    pub(super) fn start(&mut self) {
        let started = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "crash::site::in_a_process_of_its_own", "--nocapture"])
            .env(SERVICE, self.name)
            .env(CONFIG, &self.config)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn();
        self.child = Some(started.unwrap());
    }

    /// Waits until it takes connections.
    pub(super) fn wait(&mut self) {
        let started = Instant::now();
        while TcpStream::connect(self.address).is_err() {
            self.assert_running();
            assert!(started.elapsed() < START_TIME_MAX, "{} does not listen", self.name);
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// It has not ended by itself.
    pub(super) fn assert_running(&mut self) {
        let ended = self.child.as_mut().unwrap().try_wait().unwrap();
        assert!(ended.is_none(), "{} ended by itself: {ended:?}", self.name);
    }

    /// `kill -9`.
    pub(super) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// SIGTERM: it drains and ends well.
    fn stop(&mut self) {
        let mut child = self.child.take().unwrap();
        let signalled = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
        assert!(signalled.success());
        let started = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if started.elapsed() > STOP_TIME_MAX {
                child.kill().unwrap();
                break child.wait().unwrap();
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(status.success(), "{} {status}", self.name);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The house.
pub(super) struct Site {
    _data: tempfile::TempDir,
    folder: Folder,
    pki: Pki,
    pub(super) vault: Service,
    pub(super) proxy: Service,
    pub(super) psp: Psp,
    pub(super) in_flight: Arc<AtomicU64>,
}

impl Site {
    /// A house writes its files and is left; its services move into processes.
    pub(super) async fn open() -> Self {
        let data = tempfile::tempdir().unwrap();
        let mut options = HouseOptions::new(data.path());
        options.ports = Ports::From(quiet_ports());
        let house = House::start(options).await.unwrap();
        let (folder, at, psp_at) =
            (house.folder().clone(), [house.vault(), house.proxy()], house.psp().address());
        house.stop().await;
        let pki = Pki::open_or_create(folder.pki(), Arc::new(SystemClock)).unwrap();
        let mut psp = PspConfig::new(pki.server(Server::Psp).unwrap(), folder.psp());
        (psp.address, psp.slow) = (psp_at, SLOW);
        let psp = Psp::start(psp, Arc::new(SystemClock), Arc::new(SystemRandom::new())).await.unwrap();
        let service = |name, config, address| Service { name, config, address, child: None };
        let vault = service("vault", folder.vault_config(), at[0]);
        let proxy = service("proxy", folder.proxy_config(), at[1]);
        let mut site = Self { _data: data, folder, pki, vault, proxy, psp, in_flight: Arc::default() };
        site.vault.start();
        site.proxy.start();
        site.vault.wait();
        site.proxy.wait();
        site
    }

    /// A door to the proxy whose requests are counted.
    pub(super) fn proxy_door(&self) -> Door {
        self.door("orchestrator", Server::Proxy, self.proxy.address, Arc::clone(&self.in_flight))
    }

    /// A door to the vault.
    pub(super) fn vault_door(&self) -> Door {
        self.door("checkout", Server::Vault, self.vault.address, Arc::default())
    }

    fn door(&self, workload: &str, server: Server, address: SocketAddr, in_flight: Arc<AtomicU64>) -> Door {
        let identity = self.pki.client(workload).unwrap();
        let tls = self.pki.client_config(Some(&identity), server).unwrap();
        Door::new(Lines::new(tls, address), in_flight)
    }

    /// A card in, a token out.
    pub(super) async fn tokenize(&self, number: &str) -> String {
        tokenize(&mut self.vault_door(), number).await
    }

    /// The store, beside the vault.
    pub(super) async fn store(&self) -> Arc<dyn Store> {
        app::open_store(&self.config().store).await.unwrap()
    }

    fn config(&self) -> VaultConfig {
        VaultConfig::read(&self.folder.vault_config()).unwrap()
    }

    /// The log so far.
    pub(super) async fn log(&self) -> Log {
        let (store, mut log, mut after) = (self.store().await, Log::default(), None);
        loop {
            let page = store.entries(after, 1_000).await.unwrap();
            let Some(last) = page.last() else { return log };
            after = Some(last.id);
            for entry in &page {
                log.read(&serde_json::from_slice(entry.leaf.as_bytes()).unwrap());
            }
        }
    }

    /// Ends everything in order; the log must have no hole.
    pub(super) async fn close(mut self) {
        self.proxy.stop();
        self.vault.stop();
        let checked = app::check_audit(&self.config()).await.unwrap();
        assert!(checked.is_sound(), "{checked:?}");
        self.psp.stop().await;
    }
}

/// A card in, a token out.
pub(super) async fn tokenize(door: &mut Door, number: &str) -> String {
    let card = json!({ "number": number, "exp_month": 12, "exp_year": 2034 }).to_string();
    let answer = door.send("POST", &format!("/v1/tenants/{TENANT}/cards"), &[], card).await.unwrap();
    assert_eq!(answer.status, 201, "{}", answer.json());
    answer.json()["token"].as_str().unwrap().to_owned()
}

/// What the log says was opened: forwards by the reference of their token.
#[derive(Default)]
pub(super) struct Log(HashMap<String, Vec<String>>);

impl Log {
    pub(super) fn forwards_of(&self, token: &str) -> Vec<String> {
        let token = Token::parse(token).unwrap().token_ref();
        self.0.get(token.as_str()).cloned().unwrap_or_default()
    }

    fn read(&mut self, entry: &Value) {
        if (entry["evt"].as_str(), entry["out"].as_str()) == (Some("pan.forward"), Some("success")) {
            let text = |value: &Value| value.as_str().unwrap().to_owned();
            let forwards = self.0.entry(text(&entry["obj"]["ref"])).or_default();
            forwards.push(text(&entry["dst"]["forward_id"]));
        }
    }
}

/// Five free ports in a row, below those systems give to outgoing connections: a client that knocks while a service is
/// away could otherwise be given the service's own.
fn quiet_ports() -> u16 {
    let mut bytes = [0; 2];
    loop {
        SystemRandom::new().fill(&mut bytes).unwrap();
        let base = 12_000 + u16::from_be_bytes(bytes) % 20_000;
        if (base..base + 5).all(|port| TcpListener::bind(("127.0.0.1", port)).is_ok()) {
            return base;
        }
    }
}
