//! Receivers of events over real TLS that do as a test says, and what vaults need to reach them.

use std::convert::Infallible;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// How long something may take that happens by itself, on a busy machine.
pub(crate) const AWAITED_MAX: Duration = Duration::from_secs(120);

/// A certificate for `localhost` and the authority that issued it, as files.
pub(crate) struct Certificate {
    pub(crate) chain: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) authority: PathBuf,
}

impl Certificate {
    pub(crate) fn issue(folder: &Path, name: &str) -> Self {
        let authority_key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        // Two names: where issuer and subject are one, OpenSSL takes a leaf for its own authority.
        params.distinguished_name.push(rcgen::DnType::CommonName, format!("{name} authority"));
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority = params.self_signed(&authority_key).unwrap().pem();
        let issuer = rcgen::Issuer::new(params, authority_key);
        let key = rcgen::KeyPair::generate().unwrap();
        let mut leaf = rcgen::CertificateParams::new(vec!["localhost".into()]).unwrap();
        leaf.distinguished_name.push(rcgen::DnType::CommonName, name);
        let chain = leaf.signed_by(&key, &issuer).unwrap().pem();
        let file = |kind: &str, text: &str| {
            let path = folder.join(format!("{name}.{kind}"));
            std::fs::write(&path, text).unwrap();
            path
        };
        Self {
            chain: file("crt", &chain),
            key: file("key", &key.serialize_pem()),
            authority: file("ca", &authority),
        }
    }
}

/// Writes a secret made of one byte.
pub(crate) fn secret(folder: &Path, name: &str, letter: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, format!("whsec_{}\n", letter.repeat(32))).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    path
}

/// What a receiver does with a request.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// Answers with this status.
    Status(u16),
    /// Answers with a redirect.
    Redirect(String),
    /// Answers 200 with a body that never ends as far as anybody cares.
    Huge,
    /// Answers nothing.
    Silence,
    /// Closes the connection.
    Break,
}

impl Reply {
    const fn takes(&self) -> bool {
        matches!(self, Self::Status(200..=299))
    }
}

/// One request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Got {
    pub(crate) id: String,
    pub(crate) event: Value,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) taken: bool,
}

impl Got {
    pub(crate) fn sequence(&self) -> u64 {
        self.event["sequence"].as_str().unwrap().parse().unwrap()
    }

    pub(crate) fn subject(&self) -> &str {
        self.event["subject"].as_str().unwrap()
    }
}

type Behaviour = dyn Fn(&Got) -> Reply + Send + Sync;

/// A receiver that does as told.
pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    got: Arc<Mutex<Vec<Got>>>,
    _serving: AbortOnDropHandle<()>,
}

impl Receiver {
    pub(crate) async fn start(
        certificate: &Certificate,
        behave: impl Fn(&Got) -> Reply + Send + Sync + 'static,
    ) -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap(), certificate, behave).await
    }

    pub(crate) async fn start_at(
        address: SocketAddr,
        certificate: &Certificate,
        behave: impl Fn(&Got) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let began = Instant::now();
        let listener = loop {
            match TcpListener::bind(address).await {
                Ok(listener) => break listener,
                // A receiver of before lets go of its port when its task is gone.
                Err(error) => assert!(began.elapsed() < AWAITED_MAX, "{error}"),
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        };
        let address = listener.local_addr().unwrap();
        let chain = CertificateDer::pem_file_iter(&certificate.chain).unwrap().map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(&certificate.key).unwrap();
        let config = rustls::ServerConfig::builder_with_provider(strongroom_perimeter::tls::provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let (acceptor, got) = (TlsAcceptor::from(Arc::new(config)), Arc::default());
        let serving = serve(listener, acceptor, Arc::clone(&got), Arc::new(behave));
        Self { address, got, _serving: AbortOnDropHandle::new(tokio::spawn(serving)) }
    }

    /// Everything that came so far, in the order of the answers.
    pub(crate) fn got(&self) -> Vec<Got> {
        self.got.lock().unwrap().clone()
    }

    /// Waits until what came is as wanted.
    pub(crate) async fn awaited(&self, what: &str, wanted: impl Fn(&[Got]) -> bool) -> Vec<Got> {
        let began = Instant::now();
        loop {
            let got = self.got();
            if wanted(&got) {
                return got;
            }
            assert!(began.elapsed() < AWAITED_MAX, "{what}: {} came", got.len());
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    /// A destination's settings, trusting this authority, at an address that is listed.
    pub(crate) fn webhook(&self, name: &str, authority: &Path, secrets: &[&Path]) -> String {
        webhook(name, self.address.port(), authority, secrets)
            + "private_addresses = [\"127.0.0.1\", \"::1\"]\n"
    }
}

/// A destination's settings; nothing private is listed.
pub(crate) fn webhook(name: &str, port: u16, authority: &Path, secrets: &[&Path]) -> String {
    let mut text = String::from("[[events.webhooks]]\n");
    writeln!(text, "name = {name:?}\nurl = \"https://localhost:{port}/cards\"").unwrap();
    writeln!(text, "secret_files = {secrets:?}\nroots_file = {authority:?}").unwrap();
    text
}

async fn serve(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    got: Arc<Mutex<Vec<Got>>>,
    behave: Arc<Behaviour>,
) {
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (acceptor, got, behave) = (acceptor.clone(), Arc::clone(&got), Arc::clone(&behave));
        connections.spawn(async move {
            let Ok(stream) = acceptor.accept(tcp).await else { return };
            let service = service_fn(move |request| answer(request, Arc::clone(&got), Arc::clone(&behave)));
            // A vault that is killed breaks its connections.
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    got: Arc<Mutex<Vec<Got>>>,
    behave: Arc<Behaviour>,
) -> io::Result<Response<Full<Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    let id = head.headers["webhook-id"].to_str().unwrap().to_owned();
    let event = serde_json::from_slice(&body).unwrap();
    let mut came = Got { id, event, headers: head.headers, body, taken: false };
    let reply = behave(&came);
    came.taken = reply.takes();
    got.lock().unwrap().push(came);
    let with = |status: u16, body: Bytes| {
        let mut response = Response::new(Full::new(body));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        response
    };
    match reply {
        Reply::Status(status) => Ok(with(status, Bytes::new())),
        Reply::Redirect(to) => {
            let mut response = with(307, Bytes::new());
            response.headers_mut().insert(LOCATION, to.parse().unwrap());
            Ok(response)
        }
        Reply::Huge => Ok(with(200, Bytes::from(vec![b'x'; 4 * 1024 * 1024]))),
        Reply::Silence => {
            let nothing: Infallible = std::future::pending().await;
            match nothing {}
        }
        Reply::Break => Err(io::ErrorKind::ConnectionAborted.into()),
    }
}
