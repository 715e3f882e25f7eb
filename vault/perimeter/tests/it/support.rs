//! A listener with a throw-away CA, a clock that can be moved, an observer that remembers, and clients.

use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use strongroom_domain::{Clock, Timestamp};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_perimeter::limits::{Limits, read_body};
use strongroom_perimeter::listener::{
    HandshakeObserver, HandshakeRefusal, Listener, ListenerConfig, REASONS, Reloader,
};
use strongroom_perimeter::tls::{ClientTlsConfig, client_config};
use strongroom_perimeter::{Caller, RequestInfo, problem};
use tempfile::TempDir;
use time::OffsetDateTime;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

pub(crate) const CHECKOUT: &str = "spiffe://strongroom.test/checkout";
const HOUR: i64 = 3_600;

/// A clock that starts at the real time and is moved by tests.
pub(crate) struct TestClock(AtomicI64);

impl TestClock {
    pub(crate) fn forward(&self, seconds: i64) {
        self.0.fetch_add(seconds * 1_000_000, Ordering::SeqCst);
    }
}

impl Clock for TestClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(SystemClock.now().unix_micros() + self.0.load(Ordering::SeqCst))
    }
}

fn date(hours_from_now: i64) -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(SystemClock.now().unix_seconds() + hours_from_now * HOUR).unwrap()
}

/// A CA that signs leaves and lists.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pub(crate) pem: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        (params.not_before, params.not_after) = (date(-24), date(24 * 365));
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Signs a leaf: certificate and key as PEM.
    pub(crate) fn sign(&self, leaf: &Leaf) -> (String, String) {
        let mut params = CertificateParams::default();
        params.serial_number = Some(SerialNumber::from(leaf.serial));
        params.subject_alt_names = leaf.names.clone();
        params.is_ca = if leaf.ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![leaf.purpose.clone()];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (date(leaf.hours.0), date(leaf.hours.1));
        let key = KeyPair::generate().unwrap();
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// A revocation list, valid from and to hours from now.
    pub(crate) fn list(&self, revoked: &[u64], hours: (i64, i64)) -> String {
        let revoked_certs = revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: date(-1),
            reason_code: None,
            invalidity_date: None,
        });
        let params = CertificateRevocationListParams {
            this_update: date(hours.0),
            next_update: date(hours.1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked_certs.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}

/// What a leaf says.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) names: Vec<SanType>,
    pub(crate) serial: u64,
    pub(crate) hours: (i64, i64),
    pub(crate) ca: bool,
    pub(crate) purpose: ExtendedKeyUsagePurpose,
}

impl Leaf {
    pub(crate) fn client(names: &[&str]) -> Self {
        let name = |name: &&str| {
            if name.contains("://") {
                SanType::URI((*name).try_into().unwrap())
            } else {
                SanType::DnsName((*name).try_into().unwrap())
            }
        };
        Self {
            names: names.iter().map(name).collect(),
            serial: 7,
            hours: (-1, 24),
            ca: false,
            purpose: ExtendedKeyUsagePurpose::ClientAuth,
        }
    }

    pub(crate) fn server() -> Self {
        let purpose = ExtendedKeyUsagePurpose::ServerAuth;
        Self { purpose, ..Self::client(&["localhost"]) }
    }
}

/// Remembers refusals.
#[derive(Default)]
pub(crate) struct Refusals(Mutex<Vec<HandshakeRefusal>>);

impl HandshakeObserver for Refusals {
    fn refused(&self, refusal: HandshakeRefusal) {
        assert!(REASONS.contains(&refusal.reason), "{} is not in the list", refusal.reason);
        self.0.lock().unwrap().push(refusal);
    }
}

impl Refusals {
    /// Waits for the first refusal and takes it.
    pub(crate) async fn next(&self) -> HandshakeRefusal {
        for _ in 0..500 {
            if let Some(refusal) = self.0.lock().unwrap().pop() {
                return refusal;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("nothing was refused");
    }
}

/// Files, keys and a running listener.
pub(crate) struct House {
    pub(crate) folder: TempDir,
    pub(crate) ca: Authority,
    pub(crate) clock: Arc<TestClock>,
    pub(crate) refusals: Arc<Refusals>,
    pub(crate) address: SocketAddr,
    pub(crate) reloader: Reloader,
    pub(crate) stop: CancellationToken,
    pub(crate) served: tokio::task::JoinHandle<()>,
}

/// Limits short enough to test.
pub(crate) fn quick() -> Limits {
    let ms = |number| NonZeroU32::new(number).unwrap();
    Limits {
        handshake_timeout_ms: ms(1_500),
        header_timeout_ms: ms(1_500),
        drain_timeout_ms: ms(2_000),
        ..Limits::default()
    }
}

impl House {
    pub(crate) async fn open() -> Self {
        Self::open_with(quick(), |_| {}).await
    }

    /// A listener whose files and settings are changed by `change` before it starts.
    pub(crate) async fn open_with(limits: Limits, change: impl FnOnce(&mut ListenerConfig)) -> Self {
        let (folder, ca) = (TempDir::new().unwrap(), Authority::new("workloads"));
        let house = |name: &str| folder.path().join(name);
        let (certificate, key) = ca.sign(&Leaf::server());
        std::fs::write(house("ca.pem"), &ca.pem).unwrap();
        std::fs::write(house("server.pem"), certificate).unwrap();
        std::fs::write(house("server.key"), key).unwrap();
        std::fs::write(house("crl.pem"), ca.list(&[666], (-2, 24))).unwrap();
        let mut config = ListenerConfig {
            address: "127.0.0.1:0".parse().unwrap(),
            certificate_file: house("server.pem"),
            key_file: house("server.key"),
            certificates: Vec::new(),
            client_ca_file: house("ca.pem"),
            crl_files: vec![house("crl.pem")],
            dns_identities: vec!["batch.internal".into()],
            limits,
        };
        change(&mut config);
        let clock = Arc::new(TestClock(AtomicI64::new(0)));
        let refusals = Arc::new(Refusals::default());
        let listener =
            Listener::bind(config, Arc::clone(&clock) as _, Arc::new(SystemRandom::new())).unwrap();
        let listener = listener.named("test").observed_by(Arc::clone(&refusals) as _);
        let (address, reloader, stop) =
            (listener.local_addr(), listener.reloader(), CancellationToken::new());
        let served = tokio::spawn(listener.serve(router(), stop.clone()));
        Self { folder, ca, clock, refusals, address, reloader, stop, served }
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).unwrap();
    }

    /// The TLS settings of a client with this leaf, signed by the listener's CA.
    pub(crate) fn client(&self, leaf: &Leaf) -> ClientConfig {
        self.client_of(&self.ca, leaf)
    }

    pub(crate) fn client_of(&self, ca: &Authority, leaf: &Leaf) -> ClientConfig {
        let (certificate, key) = ca.sign(leaf);
        self.write("client.pem", &certificate);
        self.write("client.key", &key);
        client_config(&ClientTlsConfig {
            certificate_file: self.file("client.pem"),
            key_file: self.file("client.key"),
            ca_file: self.file("ca.pem"),
            crl_files: vec![self.file("crl.pem")],
        })
        .unwrap()
    }

    /// A connection over HTTP/1.1.
    pub(crate) async fn h1(&self, client: ClientConfig) -> io::Result<http1::SendRequest<Body>> {
        let stream = self.tls(client).await?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    /// A connection over HTTP/2.
    pub(crate) async fn h2(&self, mut client: ClientConfig) -> io::Result<http2::SendRequest<Body>> {
        client.alpn_protocols = vec![b"h2".to_vec()];
        let stream = self.tls(client).await?;
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(b"h2".as_slice()));
        let (sender, connection) =
            http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(sender)
    }

    pub(crate) async fn tls(&self, client: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
        let tcp = TcpStream::connect(self.address).await?;
        TlsConnector::from(Arc::new(client)).connect(ServerName::try_from("localhost").unwrap(), tcp).await
    }

    /// Connects and asks once over HTTP/1.1: what a refused client cannot.
    pub(crate) async fn ask(&self, client: ClientConfig) -> io::Result<Answer> {
        let mut sender = self.h1(client).await?;
        Answer::of(sender.send_request(request("/whoami")).await.map_err(io::Error::other)?).await
    }
}

pub(crate) fn request(path: &str) -> Request<Body> {
    Request::get(path).header("host", "localhost").body(Body::empty()).unwrap()
}

/// An answer, read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Answer {
    pub(crate) async fn of(answer: http::Response<hyper::body::Incoming>) -> io::Result<Self> {
        let (parts, body) = answer.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        Ok(Self { status: parts.status, headers: parts.headers, body })
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

fn router() -> Router {
    problem::with_fallbacks(
        Router::new()
            .route("/whoami", get(whoami))
            .route("/slow/{ms}", get(slow))
            .route("/echo", post(echo))
            .route("/panic/{what}", get(panic))
            .route("/named", get(named)),
    )
}

async fn whoami(caller: Caller, info: RequestInfo, headers: HeaderMap) -> Json<serde_json::Value> {
    Json(serde_json::json!({
        "workload": caller.workload,
        "version": caller.tls.version,
        "suite": caller.tls.suite,
        "group": caller.tls.group,
        "request_id": info.id.to_string(),
        "traceparent": info.traceparent.to_string(),
        "headers": headers.keys().map(http::HeaderName::as_str).collect::<Vec<_>>(),
    }))
}

async fn slow(axum::extract::Path(ms): axum::extract::Path<u64>) -> &'static str {
    tokio::time::sleep(Duration::from_millis(ms)).await;
    "done"
}

async fn echo(info: RequestInfo, body: Body) -> Response {
    match read_body(body, 1_000).await {
        Ok(bytes) => bytes.into_response(),
        Err(problem) => problem::ProblemResponse(problem, info.id).into_response(),
    }
}

async fn panic(axum::extract::Path(what): axum::extract::Path<String>) -> &'static str {
    panic!("a card number: {what}");
}

async fn named() -> Response {
    ([("request-id", "req_of_a_psp")], "ok").into_response()
}
