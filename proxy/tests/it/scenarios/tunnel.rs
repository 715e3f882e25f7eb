//! An SDK that knows nothing but a proxy setting.

use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::psp::{Then, json as answer};
use crate::tube::{Inner, enter, exchange, head, post};
use crate::world::{HOST, NUMBER, Setup, TOKEN, World, usual_form};

#[tokio::test]
async fn an_sdk_pays_through_a_tunnel_and_keeps_it_for_its_next_calls() {
    let world = World::new(Setup::with_tunnels()).await;
    let mut tunnel = world.tunnel("").await;
    for _ in 0..3 {
        let request = post("/v1/payment_methods", &format!("host: {HOST}\r\n"), &usual_form());
        let reply = exchange(&mut tunnel, &request).await;
        assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"id":"pm_1"}"#));
        assert!(reply.header("strongroom-forward-id").is_some() && reply.header("server-timing").is_some());
    }
    let refund = post("/v1/refunds", &format!("host: {HOST}\r\n"), "charge=ch_1");
    assert_eq!(exchange(&mut tunnel, &refund).await.status, 200);
    assert_eq!((world.psp.connections(), world.psp.requests()), (1, 4));
    let seen = &world.psp.seen()[0];
    assert!(seen.holds(NUMBER) && seen.holds("Authorization: Bearer sk_own_account"), "{}", seen.text());
    assert!(!seen.holds(TOKEN) && !seen.text().to_ascii_lowercase().contains("proxy-"));
    let open = &world.vault.opens()[0];
    assert_eq!(open["caller"], "spiffe://strongroom.test/orchestrator");
    assert_eq!((&open["account"], &open["host"]), (&json!("default"), &json!(HOST)));
}

#[tokio::test]
async fn a_connect_of_http_1_0_without_a_host_opens_a_tunnel() {
    let world = World::new(Setup::with_tunnels()).await;
    let mut stream = world.raw().await;
    let connect = format!("CONNECT {} HTTP/1.0\r\n\r\n", world.upstream());
    let told = head(&mut stream, &connect).await;
    assert!(told.starts_with("HTTP/1.0 200") || told.starts_with("HTTP/1.1 200"), "{told}");
    assert!(!told.contains("content-length") && !told.contains("transfer-encoding"), "{told}");
    let mut tunnel = enter(world.folder.path(), stream, &Inner::default()).await.unwrap();
    let reply = exchange(&mut tunnel, &post("/v1/payment_methods", "", &usual_form())).await;
    assert_eq!(reply.status, 200);
}

#[tokio::test]
async fn tls_inside_works_without_alpn_without_sni_and_at_1_2() {
    let world = World::new(Setup::with_tunnels()).await;
    let usual = Inner::default;
    for (what, inner) in [
        ("no alpn", Inner { alpn: &[], ..usual() }),
        ("no sni", Inner { sni: false, ..usual() }),
        ("neither", Inner { alpn: &[], sni: false, ..usual() }),
        ("h2 offered too", Inner { alpn: &[b"h2", b"http/1.1"], ..usual() }),
        ("tls 1.2", Inner { versions: vec![&rustls::version::TLS12], ..usual() }),
    ] {
        let mut tunnel = world.tunnel_with("", &inner).await;
        let reply = exchange(&mut tunnel, &post("/v1/payment_methods", "", &usual_form())).await;
        assert_eq!(reply.status, 200, "{what}");
    }
}

#[tokio::test]
async fn odd_but_real_requests_work_inside() {
    let world = World::new(Setup::with_tunnels()).await;
    let mut tunnel = world.tunnel("").await;
    let form = usual_form();
    let port = world.psp.address.port();
    for (target, headers) in [
        ("/v1/payment_methods".to_owned(), format!("host: {HOST}:{port}\r\n")),
        ("/v1/payment_methods".to_owned(), format!("Host: {}\r\n", HOST.to_ascii_uppercase())),
        // Braintree's GraphQL client: absolute, and without the port it connected to.
        (format!("https://{HOST}/v1/payment_methods"), format!("host: {HOST}\r\n")),
        (format!("https://{HOST}:{port}/v1/payment_methods"), format!("host: {HOST}\r\n")),
        (format!("HTTPS://{}/v1/payment_methods", HOST.to_ascii_uppercase()), String::new()),
    ] {
        let reply = exchange(&mut tunnel, &post(&target, &headers, &form)).await;
        assert_eq!(reply.status, 200, "{target} {headers}");
        assert_eq!(world.psp.seen().last().unwrap().line(), "POST /v1/payment_methods HTTP/1.1");
    }
    let (first, second) = form.split_at(20);
    let chunked = format!(
        "POST /v1/payment_methods HTTP/1.1\r\nhost: {HOST}\r\ntransfer-encoding: chunked\r\n\
         content-type: application/x-www-form-urlencoded\r\n\r\n{:x}\r\n{first}\r\n{:x}\r\n{second}\r\n0\r\n\r\n",
        first.len(),
        second.len()
    );
    assert_eq!(exchange(&mut tunnel, &chunked).await.status, 200);
    let doubled = post("/ppp//v1/refunds", &format!("host: {HOST}\r\n"), "charge=ch_1");
    assert_eq!(exchange(&mut tunnel, &doubled).await.status, 200);
    assert_eq!(world.psp.seen().last().unwrap().line(), "POST /ppp//v1/refunds HTTP/1.1");
}

#[tokio::test]
async fn a_tunnel_to_anything_but_a_route_s_upstream_is_refused_unread() {
    let world = World::new(Setup::with_tunnels()).await;
    let port = world.psp.address.port();
    for target in [
        "evil.example:443".to_owned(),
        format!("{HOST}:443"),
        format!("evil.{HOST}:{port}"),
        format!("127.0.0.1:{port}"),
        "169.254.169.254:80".to_owned(),
        format!("psp.proxy.test:{port}"),
        format!("proxy.test:{}", world.proxy.port()),
        world.vault.address.to_string(),
        HOST.to_owned(),
    ] {
        let mut stream = world.raw().await;
        // The first bytes of a tunnel come along before anybody said yes.
        let connect = format!("CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n\r\n");
        let early = format!("{connect}{}", post("/psp/v1/refunds", "host: proxy.test\r\n", "charge=ch_1"));
        let reply = exchange(&mut stream, &early).await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, "route-refused"), "{target}");
        assert_eq!(reply.header("connection"), Some("close"), "{target}");
        assert!(!reply.text().contains(&target), "nothing is echoed: {}", reply.text());
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        assert!(rest.is_empty(), "{target}: what followed was read as a request");
    }
    assert_eq!((world.psp.connections(), world.vault.opens().len()), (0, 0));
}

#[tokio::test]
async fn a_connect_that_names_two_hosts_or_a_broken_account_is_refused() {
    let world = World::new(Setup::with_tunnels()).await;
    for headers in [
        "host: evil.example\r\n",
        "host: api.psp.test\r\nhost: api.psp.test\r\n",
        "proxy-authorization: Basic ***\r\n",
        "proxy-authorization: Bearer m-501\r\n",
        "proxy-authorization: Basic bS01MDI6\r\n", // m-502:
        "strongroom-route: other\r\n",
    ] {
        let mut stream = world.raw().await;
        let connect = format!("CONNECT {} HTTP/1.1\r\n{headers}\r\n", world.upstream());
        let reply = exchange(&mut stream, &connect).await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, "route-refused"), "{headers}");
    }
}

#[tokio::test]
async fn only_callers_of_the_bundle_open_tunnels_and_only_for_their_accounts() {
    let world = World::new(Setup::with_tunnels()).await;
    let m501 = "proxy-authorization: Basic bS01MDE6eA==\r\n"; // m-501:x
    for (workload, headers, status) in [
        ("checkout", "", 403),
        ("elsewhere", "", 403),
        ("stranger", "", 403),
        ("merchant", "", 403),
        ("merchant", m501, 200),
        ("orchestrator", m501, 200),
    ] {
        let mut stream = world.raw_as(workload, world.proxy).await;
        let connect = format!("CONNECT {} HTTP/1.1\r\n{headers}\r\n", world.upstream());
        let told = head(&mut stream, &connect).await;
        assert!(told.starts_with(&format!("HTTP/1.1 {status}")), "{workload} {headers}: {told}");
    }
}

#[tokio::test]
async fn the_user_of_the_credentials_chooses_the_account_and_nothing_of_them_travels() {
    let world = World::new(Setup::with_tunnels()).await;
    for (headers, account, key) in [
        ("", "default", "sk_own_account"),
        ("proxy-authorization: Basic bS01MDE6c2VjcmV0\r\n", "m-501", "sk_merchant_501"),
        ("proxy-authorization: Basic ZGVmYXVsdDo=\r\nstrongroom-route: psp\r\n", "default", "sk_own_account"),
    ] {
        let mut tunnel = world.tunnel(headers).await;
        let inside = format!("host: {HOST}\r\nproxy-authorization: Basic ZGVmYXVsdDo=\r\n");
        let request = post("/v1/payment_methods", &inside, &usual_form());
        assert_eq!(exchange(&mut tunnel, &request).await.status, 200);
        assert_eq!(world.vault.opens().last().unwrap()["account"], account, "{headers}");
        let seen = world.psp.seen().last().unwrap().clone();
        assert!(seen.holds(&format!("Authorization: Bearer {key}")), "{}", seen.text());
        assert!(!seen.holds("ZGVmYXVsdDo") && !seen.holds("secret"), "{}", seen.text());
    }
}

#[tokio::test]
async fn a_request_inside_leads_nowhere_else() {
    let world = World::new(Setup::with_tunnels()).await;
    for request in [
        post("/v1/refunds", "host: evil.example\r\n", "charge=ch_1"),
        post("https://evil.example/v1/refunds", &format!("host: {HOST}\r\n"), "charge=ch_1"),
        post(&format!("http://{HOST}/v1/refunds"), &format!("host: {HOST}\r\n"), "charge=ch_1"),
        post("/psp/v1/refunds", &format!("host: {HOST}\r\n"), "charge=ch_1"),
        post("/psp/@m-501/v1/refunds", &format!("host: {HOST}\r\n"), "charge=ch_1"),
        format!("CONNECT {} HTTP/1.1\r\nhost: {HOST}\r\n\r\n", world.upstream()),
    ] {
        let mut tunnel = world.tunnel("").await;
        let reply = exchange(&mut tunnel, &request).await;
        assert_eq!((reply.status, reply.problem().as_str()), (403, "route-refused"), "{request}");
    }
    assert_eq!((world.psp.requests(), world.vault.opens().len()), (0, 0));
}

#[tokio::test]
async fn an_sdk_that_does_not_trust_the_authority_sends_nothing() {
    let world = World::new(Setup::with_tunnels()).await;
    let mut stream = world.raw().await;
    let connect = format!("CONNECT {} HTTP/1.1\r\n\r\n", world.upstream());
    assert!(head(&mut stream, &connect).await.starts_with("HTTP/1.1 200"));
    std::fs::copy(world.folder.path().join("house.pem"), world.folder.path().join("connect-ca.pem")).unwrap();
    assert!(enter(world.folder.path(), stream, &Inner::default()).await.is_err());
    assert_eq!(world.vault.opens().len(), 0);
}

#[tokio::test]
async fn a_tunnel_nobody_speaks_in_ends() {
    let world = World::new(Setup {
        change: |config| {
            config.listener.limits.handshake_timeout_ms = 400.try_into().unwrap();
            config.listener.limits.idle_timeout_ms = 400.try_into().unwrap();
            config.listener.limits.header_timeout_ms = 400.try_into().unwrap();
        },
        ..Setup::with_tunnels()
    })
    .await;
    let connect = format!("CONNECT {} HTTP/1.1\r\n\r\n", world.upstream());
    let mut rest = Vec::new();

    let mut silent = world.raw().await;
    assert!(head(&mut silent, &connect).await.starts_with("HTTP/1.1 200"));
    let _ = silent.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "no hello came, so nothing is said");

    for begun in ["", "POST /v1/refunds HTTP/1.1\r\nhost: "] {
        let mut tunnel = world.tunnel("").await;
        tunnel.write_all(begun.as_bytes()).await.unwrap();
        tunnel.flush().await.unwrap();
        let _ = tunnel.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{begun:?}");
    }
}

#[tokio::test]
async fn an_old_tunnel_ends_though_it_is_used() {
    let world = World::new(Setup {
        change: |config| config.listener.limits.connection_age_max_ms = 5_000.try_into().unwrap(),
        ..Setup::with_tunnels()
    })
    .await;
    let mut tunnel = world.tunnel("").await;
    let mut calls = 0;
    // Between two calls, never inside one: every answer is whole, and one of them is the last.
    loop {
        tunnel.write_all(post("/v1/refunds", "", "charge=ch_1").as_bytes()).await.unwrap_or_default();
        let _ = tunnel.flush().await;
        let mut start = [0; 12];
        if tunnel.read_exact(&mut start).await.is_err() {
            break;
        }
        assert_eq!(&start, b"HTTP/1.1 200");
        let told = head(&mut tunnel, "").await;
        let mut body = vec![0; r#"{"id":"pm_1"}"#.len()];
        tunnel.read_exact(&mut body).await.unwrap();
        calls += 1;
        if told.contains("connection: close") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(calls > 0);
}

#[tokio::test]
async fn a_stop_lets_a_call_in_a_tunnel_end() {
    let world = World::new(Setup {
        change: |config| config.listener.limits.drain_timeout_ms = 60_000.try_into().unwrap(),
        ..Setup::with_tunnels()
    })
    .await;
    world.psp.then(Then::After(Duration::from_millis(300), answer("200 OK", r#"{"id":"pm_last"}"#)));
    let mut tunnel = world.tunnel("").await;
    let stop = async {
        while world.psp.requests() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        world.stop();
    };
    let request = post("/v1/payment_methods", "", &usual_form());
    let (reply, ()) = tokio::join!(exchange(&mut tunnel, &request), stop);
    assert_eq!((reply.status, reply.text().as_str()), (200, r#"{"id":"pm_last"}"#));
    let mut rest = Vec::new();
    let _ = tunnel.read_to_end(&mut rest).await;
    assert!(rest.is_empty(), "then the tunnel closes");
}

#[tokio::test]
async fn a_tunnel_counts_as_the_connection_it_is_in() {
    let world = World::new(Setup {
        change: |config| config.listener.limits.connections_max = 1.try_into().unwrap(),
        ..Setup::with_tunnels()
    })
    .await;
    let mut tunnel = world.tunnel("").await;
    let second = tokio::net::TcpStream::connect(world.proxy).await.unwrap();
    let mut second = enter_outer(&world, second);
    let early = tokio::time::timeout(Duration::from_millis(300), &mut second).await;
    assert!(early.is_err(), "the one place is taken");
    let refund = post("/v1/refunds", "", "charge=ch_1");
    assert_eq!(exchange(&mut tunnel, &refund).await.status, 200);
    drop(tunnel);
    second.await.unwrap();
}

fn enter_outer(world: &World, stream: tokio::net::TcpStream) -> tokio::task::JoinHandle<()> {
    use strongroom_perimeter::tls::{ClientTlsConfig, client_config};
    let files = world.client_files("orchestrator");
    let tls = client_config(&ClientTlsConfig {
        certificate_file: files.certificate,
        key_file: files.key,
        ca_file: world.house.file.clone(),
        crl_files: Vec::new(),
    })
    .unwrap();
    tokio::spawn(async move {
        let name = rustls_pki_types::ServerName::try_from("proxy.test").unwrap();
        let connector = tokio_rustls::TlsConnector::from(std::sync::Arc::new(tls));
        let mut stream = connector.connect(name, stream).await.unwrap();
        let reply = exchange(&mut stream, "GET / HTTP/1.1\r\nhost: proxy.test\r\n\r\n").await;
        assert_eq!(reply.status, 403);
    })
}

/// https-proxy-agent 5 (Adyen's client for Node brings it along) offers a proxy it reaches by TLS this and nothing else.
#[tokio::test]
async fn an_agent_that_offers_a_protocol_with_a_space_is_answered_in_http_1() {
    let world = World::new(Setup::with_tunnels()).await;
    let mut stream = world.raw_with(b"http 1.1").await;
    let connect = format!("CONNECT {} HTTP/1.1\r\n\r\n", world.upstream());
    assert!(head(&mut stream, &connect).await.starts_with("HTTP/1.1 200"));
    let mut tunnel = enter(world.folder.path(), stream, &Inner::default()).await.unwrap();
    let request = post("/v1/payment_methods", &format!("host: {HOST}\r\n"), &usual_form());
    assert_eq!(exchange(&mut tunnel, &request).await.status, 200);
}
