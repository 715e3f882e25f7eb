//! The program as people run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use strongroom_perimeter::limits::Limits;
use strongroom_proxy::config::{LimitsConfig, ProxyConfig};
use strongroom_proxy::relay::{RelayConfig, RelayLimits};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::world::World;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_strongroom-proxy")).args(arguments).current_dir(root()).output().unwrap()
}

#[test]
fn every_shipped_config_is_read_and_shows_the_true_defaults() {
    let config = |name: &str| ProxyConfig::read(&root().join("deploy/config").join(name)).unwrap();
    let (minimal, full) = (config("proxy.minimal.toml"), config("proxy.full.toml"));
    for config in [&minimal, &full] {
        assert_eq!(config.listener.limits, Limits::default());
        assert_eq!(config.limits, LimitsConfig::default());
        assert_eq!(config.vault.open_timeout_ms, 1_000);
    }
}

#[test]
fn every_configuration_of_kubernetes_is_one_the_proxy_takes() {
    for overlay in ["test", "live"] {
        let file = format!("deploy/kubernetes/overlays/{overlay}/config/proxy.toml");
        let config = ProxyConfig::read(&root().join(file)).unwrap();
        assert_eq!(config.environment.as_str(), overlay);
    }
}

#[test]
fn help_shows_every_setting() {
    let help = run(&["serve", "--help"]);
    let text = String::from_utf8(help.stdout).unwrap();
    assert!(help.status.success() && text.contains("answer_bytes_max = 4194304"), "{text}");
}

#[test]
fn route_check_tells_what_each_route_allows() {
    let checked = run(&["route", "check", "--environment", "test"]);
    let text = String::from_utf8_lossy(&checked.stdout).into_owned();
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    assert!(text.contains("stripe: https://api.stripe.com:443, 4 calls with card data"), "{text}");
}

#[test]
fn the_shipped_relay_config_is_read_and_shows_the_true_defaults() {
    let full = RelayConfig::read(&root().join("deploy/config/relay.full.toml")).unwrap();
    assert_eq!(full.limits, RelayLimits::default());
    let small = "forward = { url = \"https://proxy\" }\nworkloads = {}\nlisten = []\nops = { address = \"127.0.0.1:0\" }";
    let small: RelayConfig = toml::from_str(small).unwrap();
    assert_eq!(full.forward.connect_timeout_ms, small.forward.connect_timeout_ms);
    assert_eq!(full.forward.answer_timeout_ms, small.forward.answer_timeout_ms);
    let help = run(&["relay", "--help"]);
    assert!(String::from_utf8_lossy(&help.stdout).contains("drain_timeout_ms = 30000"));
}

#[test]
fn ca_create_makes_an_authority_for_the_routes_once() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let made = run(&["ca", "create", "--environment", "test", "--folder", at]);
    let text = String::from_utf8_lossy(&made.stdout).into_owned();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    assert!(text.contains("  api.stripe.com\n") && text.contains("callers trust"), "{text}");
    let key = folder.path().join("connect-ca.key");
    assert_eq!(std::fs::metadata(&key).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(!text.contains("PRIVATE KEY"));
    let again = run(&["ca", "create", "--environment", "test", "--folder", at]);
    assert!(!again.status.success());
    assert!(String::from_utf8_lossy(&again.stderr).contains("nothing is overwritten"));
}

#[tokio::test]
async fn the_relay_program_serves_says_what_it_depends_on_and_drains() {
    let world = World::usual().await;
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (address, ops, at) = (free(), free(), world.folder.path());
    let _files = world.client_files("orchestrator");
    let config = |listen: &str| {
        format!(
            "forward = {{ url = \"https://{}\" }}\nops = {{ address = \"{ops}\" }}\n\
             [workloads.o]\ncertificate_file = \"orchestrator.leaf.pem\"\nkey_file = \"orchestrator.key\"\n\
             ca_file = \"house.pem\"\n[[listen]]\naddress = \"{listen}\"\n\
             entries = [{{ workload = \"o\", route = \"psp\" }}]\n",
            world.proxy
        )
    };
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strongroom-proxy"));
        command.args(["relay", "--config", "relay.toml"]).current_dir(at);
        command
    };
    std::fs::write(at.join("relay.toml"), config(&format!("0.0.0.0:{}", address.port()))).unwrap();
    let refused = start().output().unwrap();
    assert!(!refused.status.success());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("loopback only"));

    std::fs::write(at.join("relay.toml"), config(&address.to_string())).unwrap();
    let program = start().stdout(std::process::Stdio::piped()).spawn().unwrap();
    let ready = poll(ops, "/readyz", |page| page.contains("\"proxy\":\"ok\"")).await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    let mut stream = TcpStream::connect(address).await.unwrap();
    let refund = crate::tube::post("/v1/refunds", "host: localhost\r\n", "charge=ch_1");
    assert_eq!(crate::tube::exchange(&mut stream, &refund).await.status, 200);
    drop(stream);
    let metrics = poll(ops, "/metrics", |page| page.contains("strongroom_relay_requests_total")).await;
    assert!(metrics.contains("result=\"answered\""), "{metrics}");

    let id = program.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let ended = tokio::task::spawn_blocking(move || program.wait_with_output()).await.unwrap().unwrap();
    let log = String::from_utf8_lossy(&ended.stdout).into_owned();
    assert!(ended.status.success() && log.contains("the relay takes calls"), "{log}");
}

#[test]
fn a_start_that_cannot_succeed_says_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let typo = folder.path().join("typo.toml");
    std::fs::write(&typo, "enviroment = \"live\"").unwrap();
    for (path, says) in [
        (folder.path().join("none.toml"), "--config"),
        (typo, "unknown field"),
        (root().join("deploy/config/proxy.minimal.toml"), "check that it exists"),
    ] {
        let failed = run(&["serve", "--config", path.to_str().unwrap()]);
        let text = String::from_utf8_lossy(&failed.stderr).into_owned();
        assert!(!failed.status.success() && text.contains(says), "{says}: {text}");
    }
}

#[tokio::test]
async fn the_program_serves_says_what_it_depends_on_and_drains() {
    let world = World::usual().await;
    let free = || std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (address, ops, at) = (free(), free(), world.folder.path());
    let config = format!(
        "environment = \"test\"\npolicies_folder = \"policies\"\nsecrets_folder = \".\"\n\
         [listener]\naddress = \"{address}\"\ncertificate_file = \"proxy.test.leaf.pem\"\nkey_file = \"proxy.test.key\"\n\
         client_ca_file = \"house.pem\"\n[ops]\naddress = \"{ops}\"\n\
         [vault]\nurls = [\"https://{}\"]\n\
         tls = {{ certificate_file = \"proxy.leaf.pem\", key_file = \"proxy.key\", ca_file = \"house.pem\" }}\n",
        world.vault.address
    );
    std::fs::write(at.join("proxy.toml"), config).unwrap();
    let program = Command::new(env!("CARGO_BIN_EXE_strongroom-proxy"))
        .args(["serve", "--config", "proxy.toml"])
        .current_dir(at)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();

    let ready = poll(ops, "/readyz", |page| page.contains("\"vault\":\"ok\"")).await;
    assert!(ready.starts_with("HTTP/1.1 200"), "{ready}");
    world.vault.die();
    poll(ops, "/readyz", |page| page.contains("no vault address takes a connection")).await;

    let id = program.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
    let status = tokio::task::spawn_blocking(move || program.wait_with_output()).await.unwrap().unwrap();
    let log = String::from_utf8_lossy(&status.stdout).into_owned();
    assert!(status.status.success(), "{log}");
    assert!(log.contains("the proxy takes calls") && log.contains("SIGTERM"), "{log}");
}

/// Asks until the page says what is awaited.
async fn poll(address: std::net::SocketAddr, path: &str, done: impl Fn(&str) -> bool) -> String {
    let mut last = String::new();
    for _ in 0..200 {
        if let Ok(mut stream) = TcpStream::connect(address).await {
            let request = format!("GET {path} HTTP/1.1\r\nhost: ops\r\nconnection: close\r\n\r\n");
            stream.write_all(request.as_bytes()).await.unwrap();
            last.clear();
            let _ = stream.read_to_string(&mut last).await;
            if done(&last) {
                return last;
            }
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("never came: {last}");
}
