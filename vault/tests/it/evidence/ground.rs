//! A vault whose log began before this test, and bundles of it.

use std::io::{Cursor, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use strongroom_domain::{BootId, Clock, TenantId, Timestamp, WorkloadId};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sandbox::pki::Pki;
use strongroom_vault::app;
use strongroom_vault::audit::{Actor, Draft, EntryMac, Event, InstanceId, LogKey, Object, Outcome, Source};
use strongroom_vault::config::VaultConfig;
use strongroom_vault::store::{Change, Committer, LogIdentity};

use crate::service::{Service, configuration, sqlite};

pub(super) const DAY: Duration = Duration::from_secs(24 * 3_600);

/// A clock that is behind.
struct Earlier(Duration);

impl Clock for Earlier {
    fn now(&self) -> Timestamp {
        SystemClock.now().minus(self.0)
    }
}

/// Entries of an instance that ran so long ago: somebody read a tenant's settings and tokenized.
async fn began(config: &VaultConfig, ago: Duration) {
    let store = app::open_store(&config.store).await.unwrap();
    let clock: Arc<dyn Clock> = Arc::new(Earlier(ago));
    let boot = BootId::generate(&*clock, &SystemRandom::new()).unwrap();
    let mac_key = strongroom_domain::DataKeyId::generate(&*clock, &SystemRandom::new()).unwrap();
    let instance = InstanceId::parse("vault-0").unwrap();
    let identity = LogIdentity { instance, boot, mac: EntryMac::new(|_| [0; 32]), mac_key };
    let (committer, task) = Committer::start(store, Arc::clone(&clock), identity).await.unwrap();
    for (who, event) in [("importer", Event::PanTokenize), ("matcher", Event::PanMatch)] {
        let id = WorkloadId::parse(&format!("spiffe://strongroom.test/{who}")).unwrap();
        let actor = Actor::Workload { id, cert_sha256: Some([7; 32]) };
        let source = Source { peer: "127.0.0.1:40000".parse().unwrap(), tls: None };
        let object = Object::Tenant(TenantId::parse("acme").unwrap());
        let entry = Draft::by_peer(clock.now(), event, Outcome::Success, actor, source, object);
        committer.commit(Change::Entry { entry }).await.unwrap();
    }
    task.stop().await;
}

/// A vault whose log is so old.
pub(super) async fn started_after(ago: Duration) -> Service {
    let folder = tempfile::tempdir().unwrap();
    let store = sqlite(folder.path());
    let pki = Pki::open_or_create(folder.path().join("pki"), Arc::new(SystemClock)).unwrap();
    let text = configuration(folder.path(), &pki, &store);
    let config = VaultConfig::parse(Path::new("vault.toml"), &text).unwrap();
    app::migrate(&config).await.unwrap();
    began(&config, ago).await;
    let register = folder.path().join("psps.toml");
    std::fs::write(&register, REGISTER).unwrap();
    let settings = format!("[evidence]\npsp_register_file = {register:?}\n");
    Service::start_granting_on(folder, &store, &json!([]), &settings).await
}

/// What attests to PSPs: one of a day that is long enough ago to be over.
const REGISTER: &str = r#"
[[psp]]
routes = ["psp"]
name = "A PSP of the tests"
attestation = "PCI DSS 4.0.1 AOC, level 1"
attested_on = "2026-01-31"
valid_until = "2099-01-31"
[[psp]]
routes = ["stripe"]
name = "Another"
attestation = "PCI DSS 3.2.1 AOC"
attested_on = "2020-01-31"
"#;

/// Asks for the bundle of a period.
pub(super) async fn ask(
    vault: &Service,
    who: &str,
    from: Timestamp,
    to: Timestamp,
    sample: u32,
) -> strongroom_sandbox::client::Exchange {
    vault.send(who, "GET", &format!("/v1/evidence?from={from}&to={to}&sample={sample}"), None).await
}

/// Unpacks a bundle.
pub(super) fn unpack(zip: &[u8], folder: &Path) {
    let mut archive = zip::ZipArchive::new(Cursor::new(zip)).unwrap();
    for at in 0..archive.len() {
        let mut file = archive.by_index(at).unwrap();
        let path = folder.join(file.enclosed_name().unwrap());
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// The bundle of a period in a new folder.
pub(super) async fn bundle(
    vault: &Service,
    from: Timestamp,
    to: Timestamp,
    sample: u32,
) -> tempfile::TempDir {
    let exchange = ask(vault, "security", from, to, sample).await;
    assert_eq!(exchange.status(), 200, "{}", String::from_utf8_lossy(&exchange.body()));
    let folder = tempfile::tempdir().unwrap();
    unpack(&exchange.body(), folder.path());
    folder
}

pub(super) async fn key(vault: &Service) -> LogKey {
    app::log_key(&vault.config).await.unwrap()
}

pub(super) fn read(folder: &Path, path: &str) -> String {
    std::fs::read_to_string(folder.join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

pub(super) fn json(folder: &Path, path: &str) -> Value {
    serde_json::from_str(&read(folder, path)).unwrap()
}

/// Every file of a bundle, by path.
pub(super) fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut open) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { open.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// A program of the environment with the pinned packages.
pub(super) fn python(script: &str, arguments: &[&Path]) -> Output {
    let environment = crate::events::python::environment("evidence", include_str!("requirements.txt"));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
    Command::new(environment.join("bin/python3"))
        .arg("-B")
        .arg(folder.join("tests/it/evidence").join(script))
        .args(arguments)
        .env("PYTHONPATH", folder.join("verify"))
        .output()
        .unwrap()
}
