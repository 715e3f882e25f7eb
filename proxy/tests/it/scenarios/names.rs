//! Where PSPs are, asked of a real name server that is not ours.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::tls::anonymous_client_config;
use strongroom_proxy::config::ProxyConfig;
use strongroom_proxy::upstream::{
    Admission, CachedResolver, ConnectError, Dialer, NameServers, Resolve as _,
};

use super::independent::python_with;
use crate::psp::{Then, raw};
use crate::world::{HOST, Setup, World};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/names");
const HOUR: Duration = Duration::from_secs(3_600);

/// A name server on loopback; it ends with this.
struct Server {
    address: SocketAddr,
    folder: tempfile::TempDir,
    child: Child,
}

impl Server {
    async fn start(zone: &str) -> Self {
        let zone = zone.to_owned();
        tokio::task::spawn_blocking(move || Self::start_now(&zone)).await.unwrap()
    }

    fn start_now(zone: &str) -> Self {
        let python = python_with("names-venv", Path::new(FOLDER));
        let folder = tempfile::tempdir().unwrap();
        let (zone_file, log) = (folder.path().join("zone"), folder.path().join("log"));
        fs::write(&zone_file, zone).unwrap();
        fs::write(&log, "").unwrap();
        let mut command = Command::new(python);
        command.arg(format!("{FOLDER}/server.py")).arg(&zone_file).arg(&log);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let mut port = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut port).unwrap();
        let address = SocketAddr::from(([127, 0, 0, 1], port.trim().parse().unwrap()));
        Self { address, folder, child }
    }

    /// What it says from now on.
    fn says(&self, zone: &str) {
        let (beside, file): (PathBuf, PathBuf) =
            (self.folder.path().join("new"), self.folder.path().join("zone"));
        fs::write(&beside, zone).unwrap();
        fs::rename(beside, file).unwrap();
    }

    /// The questions it got: `udp A api.psp.test`.
    fn asked(&self) -> Vec<String> {
        fs::read_to_string(self.folder.path().join("log")).unwrap().lines().map(str::to_owned).collect()
    }

    fn resolver(&self, age_max: Duration) -> CachedResolver {
        CachedResolver::new(Arc::new(asking(vec![self.address])), age_max)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn asking(servers: Vec<SocketAddr>) -> NameServers {
    NameServers::new(servers, Arc::new(SystemRandom::new()))
}

fn at(port: u16, all: &[&str]) -> Vec<SocketAddr> {
    all.iter().map(|one| SocketAddr::new(one.parse().unwrap(), port)).collect()
}

#[tokio::test]
async fn an_answer_is_kept_for_its_time_to_live_and_its_age_at_most() {
    let server = Server::start("a.test 3600 A 127.0.0.1\nb.test 1 A 127.0.0.2\nc.test 0 A 127.0.0.3").await;
    let cached = server.resolver(HOUR);
    let both = ["udp A a.test", "udp AAAA a.test"];
    for _ in 0..3 {
        assert_eq!(cached.resolve("a.test", 443).await.unwrap(), at(443, &["127.0.0.1"]));
        let mut asked = server.asked();
        asked.sort();
        assert_eq!(asked, both);
    }
    for questions in [4, 6] {
        assert_eq!(cached.resolve("c.test", 443).await.unwrap(), at(443, &["127.0.0.3"]));
        assert_eq!(server.asked().len(), questions, "no time to live, so nothing is kept");
    }
    assert_eq!(cached.resolve("b.test", 443).await.unwrap(), at(443, &["127.0.0.2"]));
    server.says("a.test 3600 A 127.0.0.9\nb.test 1 A 127.0.0.8");
    // Its second goes by; the other one's hour does not.
    while cached.resolve("b.test", 443).await.unwrap() != at(443, &["127.0.0.8"]) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(cached.resolve("a.test", 443).await.unwrap(), at(443, &["127.0.0.1"]));
    let young = server.resolver(Duration::from_millis(1));
    assert_eq!(young.resolve("a.test", 443).await.unwrap(), at(443, &["127.0.0.9"]));
    server.says("a.test 3600 A 127.0.0.7");
    while young.resolve("a.test", 443).await.unwrap() != at(443, &["127.0.0.7"]) {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn aliases_both_families_and_answers_larger_than_a_datagram_are_read_whole() {
    let many: Vec<_> = (1..=60).map(|last| format!("127.0.1.{last}")).collect();
    let zone: String = many.iter().map(|address| format!("many.test 60 A {address}\n")).collect();
    let zone = format!(
        "{zone}www.test 9 CNAME lb.test.\nlb.test 60 CNAME end.test.\nend.test 60 A 127.0.0.1\nend.test 7 AAAA ::1"
    );
    let server = Server::start(&zone).await;
    let names = asking(vec![server.address]);
    let found = names.look_up("WWW.test", 443).await.unwrap();
    assert_eq!(found.addresses, at(443, &["127.0.0.1", "::1"]));
    assert_eq!(found.good_for, Some(Duration::from_secs(7)));
    let mut found = names.resolve("many.test", 443).await.unwrap();
    found.sort();
    assert_eq!(found, at(443, &many.iter().map(String::as_str).collect::<Vec<_>>()));
    assert!(server.asked().contains(&"tcp A many.test".to_owned()), "{:?}", server.asked());
}

#[tokio::test]
async fn a_name_that_is_not_there_is_not_remembered_as_such() {
    let server = Server::start("a.test 60 A 127.0.0.1").await;
    let cached = server.resolver(HOUR);
    for _ in 0..2 {
        let error = cached.resolve("late.test", 443).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
    }
    server.says("late.test 60 A 127.0.0.1");
    assert_eq!(cached.resolve("late.test", 443).await.unwrap(), at(443, &["127.0.0.1"]));
    assert!(cached.resolve("no host", 443).await.is_err());
    assert!(!server.asked().iter().any(|asked| asked.contains("no host")), "it is not asked for");
}

#[tokio::test]
async fn a_server_that_is_silent_or_gone_is_followed_by_the_next() {
    let server = Server::start("a.test 60 A 127.0.0.1").await;
    // One takes datagrams and says nothing; nobody has the port of the other any more.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let gone = {
        let socket = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.local_addr().unwrap()
    };
    let names = asking(vec![gone, silent.local_addr().unwrap(), server.address]);
    assert_eq!(names.resolve("a.test", 443).await.unwrap(), at(443, &["127.0.0.1"]));
    let none = asking(vec![gone]);
    assert!(none.resolve("a.test", 443).await.is_err());
}

/// A name that turns to an address of ours is refused at the connection, fresh or remembered.
#[tokio::test]
async fn the_guard_holds_on_answers_that_are_remembered() {
    let server =
        Server::start("psp.test 3600 A 169.254.169.254\nmixed.test 3600 A 8.8.8.8\nmixed.test 3600 AAAA ::1")
            .await;
    let resolver = Arc::new(server.resolver(HOUR));
    let tls = Arc::new(anonymous_client_config(None).unwrap());
    for host in ["psp.test", "mixed.test"] {
        let dialer = Dialer::new(
            host,
            443,
            Admission::Public(Vec::new()),
            resolver.clone(),
            tls.clone(),
            Duration::from_secs(30),
        );
        let dialer = dialer.unwrap();
        let before = server.asked().len();
        for _ in 0..2 {
            assert!(matches!(dialer.dial().await, Err(ConnectError::ForbiddenAddress(_))), "{host}");
        }
        assert_eq!(server.asked().len(), before + 2, "the second time from memory");
    }
}

#[tokio::test]
async fn payments_follow_the_name_servers_that_are_declared_and_no_rebinding() {
    let server = Server::start(&format!("{HOST} 1 A 127.0.0.1")).await;
    let elsewhere = vec!["169.254.169.254:0".parse().unwrap()];
    let change = |config: &mut ProxyConfig| config.limits.dns_age_max_ms = 60_000;
    let setup = Setup { resolves: elsewhere, change, dns: vec![server.address], ..Setup::default() };
    let world = World::new(setup).await;
    // Each connection ends with its answer, so that the next payment looks for the PSP again.
    let headers = "connection: close\r\ncontent-type: application/json\r\n";
    let bye = || Then::AnswerAndClose(raw("200 OK", headers, b"{\"id\":\"pm_1\"}"));
    world.psp.then(bye());
    assert_eq!(world.create_usual().await.status, 200);
    server.says(&format!("{HOST} 1 A 169.254.169.254"));
    let mut paid = 1;
    loop {
        world.psp.then(bye());
        let reply = world.create_usual().await;
        if reply.status != 200 {
            assert_eq!(
                (reply.status, reply.problem().as_str()),
                (424, "psp-unreachable"),
                "{}",
                reply.text()
            );
            break;
        }
        paid += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (paid, paid), "nothing was opened for it");
}
