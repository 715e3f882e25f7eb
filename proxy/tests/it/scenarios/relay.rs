//! An SDK that cannot present a certificate, with a relay beside it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use metrics_exporter_prometheus::PrometheusBuilder;
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_proxy::app::Ambient;
use strongroom_proxy::relay::Relay;
use strongroom_proxy::upstream::SystemResolver;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::psp::{Then, json as answer};
use crate::tube::{Inner, enter, exchange, head, post};
use crate::world::{HOST, NUMBER, Setup, TOKEN, World, usual_form};

struct Beside {
    world: World,
    /// Tunnels and named hosts; and a port of account `m-501`.
    ports: Vec<SocketAddr>,
    stop: CancellationToken,
}

impl Beside {
    async fn start() -> Self {
        Self::to(World::new(Setup::with_tunnels()).await, None)
    }

    fn to(world: World, proxy: Option<SocketAddr>) -> Self {
        let (proxy, upstream) = (proxy.unwrap_or(world.proxy), world.upstream());
        let (orchestrator, merchant) = (world.client_files("orchestrator"), world.client_files("merchant"));
        let text = format!(
            r#"
            forward = {{ url = "https://{proxy}" }}
            ops = {{ address = "127.0.0.1:0" }}
            limits = {{ drain_timeout_ms = 5000 }}
            [workloads.orchestrator]
            certificate_file = {0:?}
            key_file = {1:?}
            ca_file = {2:?}
            [workloads.merchant]
            certificate_file = {3:?}
            key_file = {4:?}
            ca_file = {2:?}
            [[listen]]
            address = "127.0.0.1:0"
            entries = [
                {{ connect = "{upstream}", workload = "orchestrator", route = "psp" }},
                {{ connect = "{upstream}", user = "m501", workload = "orchestrator", route = "psp", account = "m-501" }},
                {{ connect = "{upstream}", user = "mistaken", workload = "merchant", route = "psp" }},
                {{ connect = "evil.example:443", workload = "orchestrator", route = "psp" }},
                {{ host = "psp.localhost", workload = "orchestrator", route = "psp" }},
            ]
            [[listen]]
            address = "127.0.0.1:0"
            entries = [{{ workload = "merchant", route = "psp", account = "m-501" }}]
            "#,
            orchestrator.certificate, orchestrator.key, world.house.file, merchant.certificate, merchant.key,
        );
        let ambient = Ambient {
            clock: Arc::new(SystemClock),
            random: Arc::new(SystemRandom::new()),
            resolver: Arc::new(SystemResolver),
        };
        let relay = Relay::bind(toml::from_str(&text).unwrap(), ambient).unwrap();
        let (ports, stop) = (relay.local_addrs(), CancellationToken::new());
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        tokio::spawn(relay.serve(metrics, stop.clone()));
        Self { world, ports, stop }
    }

    async fn plain(&self, port: usize) -> TcpStream {
        TcpStream::connect(self.ports[port]).await.unwrap()
    }
}

#[tokio::test]
async fn an_sdk_pays_through_a_plain_connect_on_loopback() {
    let beside = Beside::start().await;
    let world = &beside.world;
    for (connect, account) in [
        (format!("CONNECT {0} HTTP/1.1\r\nhost: {0}\r\n\r\n", world.upstream()), "default"),
        // Python 3.11
        (format!("CONNECT {} HTTP/1.0\r\n\r\n", world.upstream()), "default"),
        (
            format!("CONNECT {} HTTP/1.0\r\nproxy-authorization: Basic bTUwMTp4\r\n\r\n", world.upstream()),
            "m-501",
        ),
    ] {
        let mut stream = beside.plain(0).await;
        let told = head(&mut stream, &connect).await;
        assert!(told.split(' ').nth(1) == Some("200"), "{told}");
        let mut tunnel = enter(world.folder.path(), stream, &Inner::default()).await.unwrap();
        for _ in 0..2 {
            let request = post("/v1/payment_methods", &format!("host: {HOST}\r\n"), &usual_form());
            assert_eq!(exchange(&mut tunnel, &request).await.status, 200);
        }
        let open = world.vault.opens().last().unwrap().clone();
        assert_eq!(open["account"], account);
        assert_eq!(open["caller"], "spiffe://strongroom.test/orchestrator");
    }
    assert!(world.psp.seen().iter().all(|seen| seen.holds(NUMBER) && !seen.holds(TOKEN)));
}

#[tokio::test]
async fn an_sdk_pays_by_plain_http_to_a_host_or_a_port() {
    let beside = Beside::start().await;
    let world = &beside.world;
    for (port, headers, caller, account) in [
        (0, "host: PSP.localhost:7410\r\nauthorization: Bearer strongroom\r\n", "orchestrator", "default"),
        (1, "host: 127.0.0.1:7411\r\n", "merchant", "m-501"),
        (1, "", "merchant", "m-501"),
    ] {
        let mut stream = beside.plain(port).await;
        for _ in 0..2 {
            let reply = exchange(&mut stream, &post("/v1/payment_methods", headers, &usual_form())).await;
            assert_eq!(reply.status, 200, "{headers}: {}", reply.text());
            assert!(reply.header("strongroom-forward-id").is_some());
        }
        let open = world.vault.opens().last().unwrap().clone();
        assert_eq!(open["caller"], format!("spiffe://strongroom.test/{caller}"));
        assert_eq!(
            (open["account"].as_str(), open["path"].as_str()),
            (Some(account), Some("/v1/payment_methods"))
        );
    }
    let mut stream = beside.plain(1).await;
    let reply = exchange(&mut stream, &post("/ppp//v1/refunds", "", "charge=ch_1")).await;
    assert_eq!(reply.status, 200);
    assert_eq!(world.psp.seen().last().unwrap().line(), "POST /ppp//v1/refunds HTTP/1.1");
    // What the proxy refuses comes back as it said it.
    let reply = exchange(&mut stream, &post("/v1/payouts", "", "amount=1")).await;
    assert_eq!((reply.status, reply.problem().as_str()), (403, "route-refused"));
}

#[tokio::test]
async fn what_no_entry_takes_is_refused_unread_and_unechoed() {
    let beside = Beside::start().await;
    let upstream = beside.world.upstream();
    // axios with HTTPS_PROXY: the whole request, key included, to the proxy instead of through it.
    let axios =
        post(&format!("https://{HOST}/v1/payment_methods"), "authorization: Bearer sk_live_mine\r\n", "a=b");
    for (port, request) in [
        (0, axios.clone()),
        (1, axios),
        (1, post(&format!("http://{HOST}/v1/refunds"), "", "charge=ch_1")),
        (0, post("/v1/refunds", "host: other.localhost\r\n", "charge=ch_1")),
        // The entry names no account: neither may its SDK.
        (0, post("/@m-501/v1/refunds", "host: psp.localhost\r\n", "charge=ch_1")),
        (0, post("//@m-501/v1/refunds", "host: psp.localhost\r\n", "charge=ch_1")),
        (1, post("/@default/v1/refunds", "", "charge=ch_1")),
        (0, post("/v1/refunds", "", "charge=ch_1")),
        (0, "CONNECT other.example:443 HTTP/1.1\r\n\r\n".to_owned()),
        (0, format!("CONNECT {HOST}:443 HTTP/1.1\r\n\r\n")),
        (0, format!("CONNECT {upstream} HTTP/1.1\r\nproxy-authorization: Basic bTUwMjp4\r\n\r\n")),
        (1, format!("CONNECT {upstream} HTTP/1.1\r\n\r\n")),
    ] {
        let mut stream = beside.plain(port).await;
        let reply = exchange(&mut stream, &request).await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, "route-refused"), "{request}");
        let text = reply.text();
        assert!(!text.contains("sk_live") && !text.contains(HOST) && !text.contains("other."), "{text}");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{request}");
    }
    assert_eq!((beside.world.psp.connections(), beside.world.vault.opens().len()), (0, 0));
}

#[tokio::test]
async fn what_the_proxy_says_to_a_connect_reaches_the_sdk() {
    let beside = Beside::start().await;
    for (connect, problem) in [
        ("CONNECT evil.example:443 HTTP/1.1\r\n\r\n".to_owned(), "route-refused"),
        (
            // mistaken:x, an entry whose workload has no such account
            format!(
                "CONNECT {} HTTP/1.1\r\nproxy-authorization: Basic bWlzdGFrZW46eA==\r\n\r\n",
                beside.world.upstream()
            ),
            "forbidden",
        ),
    ] {
        let mut stream = beside.plain(0).await;
        let reply = exchange(&mut stream, &connect).await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, problem), "{connect}");
    }
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_said_so_and_safe_to_retry() {
    let world = World::new(Setup::with_tunnels()).await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let beside = Beside::to(world, Some(nobody));
    let connect = format!("CONNECT {} HTTP/1.1\r\n\r\n", beside.world.upstream());
    for (port, request) in [(0, connect), (1, post("/v1/refunds", "", "charge=ch_1"))] {
        let mut stream = beside.plain(port).await;
        let reply = exchange(&mut stream, &request).await;
        assert_eq!((reply.status, reply.problem().as_str()), (424, "psp-unreachable"), "{request}");
        assert!(reply.header("retry-after").is_some());
    }
}

#[tokio::test]
async fn a_stop_lets_calls_end_whether_in_a_tunnel_or_not() {
    let beside = Beside::start().await;
    let world = &beside.world;
    for _ in 0..2 {
        world.psp.then(Then::After(Duration::from_millis(300), answer("200 OK", r#"{"id":"pm_last"}"#)));
    }
    let mut stream = beside.plain(0).await;
    let connect = format!("CONNECT {} HTTP/1.1\r\n\r\n", world.upstream());
    assert!(head(&mut stream, &connect).await.starts_with("HTTP/1.1 200"));
    let mut tunnel = enter(world.folder.path(), stream, &Inner::default()).await.unwrap();
    let mut plain = beside.plain(1).await;
    let request = post("/v1/payment_methods", "", &usual_form());
    let stop = async {
        while world.psp.requests() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        beside.stop.cancel();
    };
    let (inside, outside, ()) =
        tokio::join!(exchange(&mut tunnel, &request), exchange(&mut plain, &request), stop);
    assert_eq!((inside.status, outside.status), (200, 200));
    let _ = tunnel.shutdown().await;
}
