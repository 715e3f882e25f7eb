//! Who gets in, and why everybody else does not.

use std::sync::Arc;

use rcgen::ExtendedKeyUsagePurpose;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls::{HandshakeKind, NamedGroup};
use rustls_pki_types::ServerName;
use strongroom_perimeter::listener::NamedCertificate;
use strongroom_perimeter::tls::{ClientTlsConfig, client_config};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::support::{Answer, Authority, CHECKOUT, House, Leaf, quick, request};

#[tokio::test]
async fn a_caller_with_a_certificate_gets_in_with_the_strongest_parameters() {
    let house = House::open().await;
    let answer = house.ask(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    assert_eq!(answer.status, 200);
    let facts = answer.json();
    assert_eq!(facts["workload"], CHECKOUT);
    assert_eq!(facts["version"], "TLSv1_3");
    assert_eq!(facts["group"], "X25519MLKEM768");
    assert_eq!(facts["suite"], "TLS13_AES_256_GCM_SHA384");
}

#[tokio::test]
async fn a_configured_dns_name_is_an_identity() {
    let house = House::open().await;
    let answer = house.ask(house.client(&Leaf::client(&["batch.internal"]))).await.unwrap();
    assert_eq!(answer.json()["workload"], "dns:batch.internal");
}

#[tokio::test]
async fn a_client_that_asks_for_another_name_gets_the_certificate_that_bears_it() {
    let (folder, other) = (TempDir::new().unwrap(), Authority::new("in the name of a psp"));
    let leaf = Leaf {
        purpose: ExtendedKeyUsagePurpose::ServerAuth,
        ..Leaf::client(&["api.psp.example", "*.psp.internal"])
    };
    let (certificate, key) = other.sign(&leaf);
    let file = |name: &str| folder.path().join(name);
    for (name, text) in [("psp.pem", &certificate), ("psp.key", &key), ("psp-ca.pem", &other.pem)] {
        std::fs::write(file(name), text).unwrap();
    }
    let named = NamedCertificate { certificate_file: file("psp.pem"), key_file: file("psp.key") };
    let house = House::open_with(quick(), |config| config.certificates = vec![named]).await;
    let usual = house.client(&Leaf::client(&[CHECKOUT]));
    let as_psp = client_config(&ClientTlsConfig {
        certificate_file: house.file("client.pem"),
        key_file: house.file("client.key"),
        ca_file: file("psp-ca.pem"),
        crl_files: Vec::new(),
    })
    .unwrap();
    for (client, name, served) in [
        (&as_psp, "api.psp.example", true),
        (&as_psp, "m-501.psp.internal", true),
        (&usual, "localhost", true),
        (&as_psp, "a.b.psp.internal", false),
        (&as_psp, "psp.internal", false),
        (&as_psp, "localhost", false),
    ] {
        let tcp = TcpStream::connect(house.address).await.unwrap();
        let connector = TlsConnector::from(Arc::new(client.clone()));
        let connected = connector.connect(ServerName::try_from(name).unwrap(), tcp).await;
        assert_eq!(connected.is_ok(), served, "{name}");
    }
}

#[tokio::test]
async fn h2_is_spoken_too() {
    let house = House::open().await;
    let mut sender = house.h2(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    let request = http::Request::get("https://localhost/whoami").body(axum::body::Body::empty()).unwrap();
    let answer = Answer::of(sender.send_request(request).await.unwrap()).await.unwrap();
    assert_eq!(answer.json()["workload"], CHECKOUT);
}

#[tokio::test]
async fn our_order_of_suites_wins_over_the_client_s() {
    let house = House::open().await;
    let mut provider = (*strongroom_perimeter::tls::provider()).clone();
    provider.cipher_suites.reverse();
    let (certificate, key) = house.ca.sign(&Leaf::client(&[CHECKOUT]));
    let answer = house.ask(custom(&house, provider, Some((&certificate, &key)))).await.unwrap();
    assert_eq!(answer.json()["suite"], "TLS13_AES_256_GCM_SHA384");
}

#[tokio::test]
async fn a_classical_client_still_gets_in_and_is_seen_as_such() {
    let house = House::open().await;
    let mut provider = (*strongroom_perimeter::tls::provider()).clone();
    provider.kx_groups.retain(|group| group.name() == NamedGroup::secp256r1);
    let (certificate, key) = house.ca.sign(&Leaf::client(&[CHECKOUT]));
    let answer = house.ask(custom(&house, provider, Some((&certificate, &key)))).await.unwrap();
    assert_eq!(answer.json()["group"], "secp256r1");
}

#[tokio::test]
async fn nobody_resumes_a_session() {
    let house = House::open().await;
    let mut client = house.client(&Leaf::client(&[CHECKOUT]));
    client.resumption = Resumption::in_memory_sessions(16);
    for _ in 0..3 {
        let mut stream = house.tls(client.clone()).await.unwrap();
        stream
            .write_all(b"GET /whoami HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        assert_ne!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
        assert_eq!(stream.get_ref().1.tls13_tickets_received(), 0);
    }
}

#[tokio::test]
async fn everybody_else_is_refused_and_the_reason_is_known() {
    let house = House::open().await;
    let good = Leaf::client(&[CHECKOUT]);
    let cases = [
        ("expired", Leaf { hours: (-48, -24), ..good.clone() }),
        ("not-yet-valid", Leaf { hours: (24, 48), ..good.clone() }),
        ("revoked", Leaf { serial: 666, ..good.clone() }),
        ("ca-certificate", Leaf { ca: true, ..good.clone() }),
        ("wrong-purpose", Leaf { purpose: rcgen::ExtendedKeyUsagePurpose::ServerAuth, ..good.clone() }),
        ("identity-ambiguous", Leaf::client(&[CHECKOUT, "spiffe://strongroom.test/proxy"])),
        ("identity-none", Leaf::client(&[])),
        ("identity-unknown", Leaf::client(&["other.internal"])),
        ("identity-malformed", Leaf::client(&["https://strongroom.test/checkout"])),
    ];
    for (reason, leaf) in cases {
        let answer = house.ask(house.client(&leaf)).await;
        assert!(answer.is_err(), "{reason}: {answer:?}");
        let refusal = house.refusals.next().await;
        assert_eq!(refusal.reason, reason);
        assert!(refusal.certificate_sha256.is_some(), "{reason}");
        assert!(refusal.peer.ip().is_loopback());
    }
    assert_eq!(house.ask(house.client(&good)).await.unwrap().status, 200, "the good one still gets in");
}

#[tokio::test]
async fn a_stranger_s_ca_and_no_certificate_at_all_are_refused() {
    let house = House::open().await;
    for (name, reason) in [("stranger", "unknown-ca"), ("workloads", "bad-signature")] {
        let stranger = Authority::new(name);
        assert!(house.ask(house.client_of(&stranger, &Leaf::client(&[CHECKOUT]))).await.is_err());
        assert_eq!(house.refusals.next().await.reason, reason);
    }

    let provider = (*strongroom_perimeter::tls::provider()).clone();
    assert!(house.ask(custom(&house, provider, None)).await.is_err());
    let refusal = house.refusals.next().await;
    assert_eq!((refusal.reason, refusal.certificate_sha256), ("no-certificate", None));
}

#[tokio::test]
async fn tls_1_2_and_plain_text_are_refused() {
    let house = House::open().await;
    let alert = exchange(&house, &client_hello_of_tls_1_2()).await;
    assert_eq!(alert, [0x15, 3, 3, 0, 2, 2, 70], "a fatal protocol_version alert");
    assert_eq!(house.refusals.next().await.reason, "tls-version");

    exchange(&house, b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert_eq!(house.refusals.next().await.reason, "not-tls");
}

#[tokio::test]
async fn a_refusal_ends_only_its_own_connection() {
    let house = House::open().await;
    let mut sender = house.h1(house.client(&Leaf::client(&[CHECKOUT]))).await.unwrap();
    assert!(house.ask(house.client(&Leaf::client(&[]))).await.is_err());
    assert_eq!(sender.send_request(request("/whoami")).await.unwrap().status(), 200);
}

fn custom(
    house: &House,
    provider: rustls::crypto::CryptoProvider,
    identity: Option<(&str, &str)>,
) -> ClientConfig {
    use rustls_pki_types::pem::PemObject;
    use rustls_pki_types::{CertificateDer, PrivateKeyDer};
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_slice(house.ca.pem.as_bytes()).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(provider))
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(roots);
    match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = vec![CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(chain, key).unwrap()
        }
    }
}

async fn exchange(house: &House, bytes: &[u8]) -> Vec<u8> {
    let mut stream = TcpStream::connect(house.address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut answer = Vec::new();
    // The other side may reset: it has not read all we sent.
    drop(stream.read_to_end(&mut answer).await);
    answer
}

/// RFC 5246 §7.4.1.2, with the extensions a TLS 1.2 client of today sends and without `supported_versions`.
fn client_hello_of_tls_1_2() -> Vec<u8> {
    let extensions = [
        &[0, 10, 0, 4, 0, 2, 0, 23][..],  // supported_groups: secp256r1
        &[0, 11, 0, 2, 1, 0],             // ec_point_formats: uncompressed
        &[0, 13, 0, 6, 0, 4, 4, 3, 8, 4], // signature_algorithms: ecdsa_p256, rsa_pss
        &[0, 23, 0, 0],                   // extended_master_secret
    ]
    .concat();
    let mut hello = vec![3, 3];
    hello.extend([0x5a; 32]); // random
    hello.push(0); // session id
    hello.extend([0, 4, 0xc0, 0x2b, 0xc0, 0x2f]); // ECDHE with AES-128-GCM
    hello.extend([1, 0]); // no compression
    hello.extend((extensions.len() as u16).to_be_bytes());
    hello.extend(extensions);
    let mut handshake = vec![1, 0];
    handshake.extend((hello.len() as u16).to_be_bytes());
    handshake.extend(hello);
    let mut record = vec![0x16, 3, 1];
    record.extend((handshake.len() as u16).to_be_bytes());
    record.extend(handshake);
    record
}

#[tokio::test]
async fn our_own_client_refuses_a_stranger_s_and_a_revoked_server() {
    let house = House::open().await;
    let caller = Leaf { serial: 8, ..Leaf::client(&[CHECKOUT]) };
    assert!(house.tls(house.client(&caller)).await.is_ok());
    house.write("crl.pem", &house.ca.list(&[Leaf::server().serial], (-1, 24)));
    assert!(house.tls(house.client(&caller)).await.is_err(), "the list revokes the server's certificate");
    let elsewhere = House::open().await;
    house.write("crl.pem", &house.ca.list(&[], (-1, 24)));
    let stranger = house.client(&caller);
    assert!(elsewhere.tls(stranger).await.is_err(), "another ca signed the server's certificate");
}
