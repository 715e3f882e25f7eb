//! The PSP's own TLS listener. TLS 1.3, HTTP/1.1, no client certificates, as PSPs have it.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::PspError;
use super::answer::{Refusal, Reply};
use super::deliver::{Body, Delivered, deliver};
use super::desk::Shared;
use super::request::Received;
use crate::pki::{Identity, provider};

/// A handshake that takes longer is no client's.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// How long a kept connection may wait for its next request: longer than any pool keeps one.
const IDLE: Duration = Duration::from_secs(120);
/// How long requests under way may take when the PSP stops.
const DRAIN: Duration = Duration::from_secs(2);
/// After a failed accept (no file handles left), so as not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// Largest body: twice what the proxy sends.
const BODY_BYTES_MAX: usize = 2 * 1024 * 1024;

pub(super) fn tls(identity: &Identity) -> Result<TlsAcceptor, PspError> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth()
        .with_single_cert(vec![identity.certificate()?], identity.key()?)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

pub(super) async fn serve(
    listener: TcpListener,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        match accepted {
            Ok((tcp, peer)) => {
                tasks.spawn(connection(tcp, peer, tls.clone(), shared.clone(), stop.clone()));
            }
            Err(error) => {
                tracing::warn!(%error, "the sandbox psp cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    tcp: TcpStream,
    peer: SocketAddr,
    tls: TlsAcceptor,
    shared: Arc<Shared>,
    stop: CancellationToken,
) {
    // Answers are small and whole: waiting to fill a segment only adds latency.
    if let Err(error) = tcp.set_nodelay(true) {
        tracing::debug!(%error, "cannot set TCP_NODELAY");
    }
    let handshake = tokio::time::timeout(HANDSHAKE, tls.accept(tcp));
    let Ok(Ok(stream)) = handshake.await else {
        tracing::debug!(%peer, "handshake with the sandbox psp failed");
        return;
    };
    let reset = CancellationToken::new();
    let service = service_fn(|request| handle(request, peer, &shared, &reset));
    let mut serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(IDLE)
        .serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        ended = &mut serving => {
            if let Err(error) = ended {
                tracing::debug!(%peer, %error, "connection to the sandbox psp ended");
            }
        }
        () = reset.cancelled() => {
            let stream = serving.into_parts().io.into_inner();
            // Closing with nothing to linger over sends RST.
            if let Err(error) = stream.get_ref().0.set_zero_linger() {
                tracing::debug!(%error, "cannot reset the connection");
            }
        }
        () = stop.cancelled() => {
            std::pin::Pin::new(&mut serving).graceful_shutdown();
            let _in_time = tokio::time::timeout(DRAIN, &mut serving).await.is_ok();
        }
    }
}

async fn handle(
    request: Request<Incoming>,
    peer: SocketAddr,
    shared: &Shared,
    reset: &CancellationToken,
) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let reply = match Limited::new(body, BODY_BYTES_MAX).collect().await {
        Ok(body) => {
            let received = Received {
                method: head.method.as_str().to_owned(),
                path: head.uri.path().to_owned(),
                query: head.uri.query().map(str::to_owned),
                headers: head.headers,
                body: body.to_bytes(),
            };
            shared.answer(&received, peer)
        }
        Err(_) => unread(),
    };
    match deliver(reply, shared.slow, &*shared.random).await {
        Delivered::Answer(answer) => Ok(answer),
        Delivered::Reset => {
            reset.cancel();
            std::future::pending().await
        }
    }
}

fn unread() -> Reply {
    let refusal = Refusal::invalid("The body is too large or did not arrive whole.", "body");
    Refusal { status: StatusCode::PAYLOAD_TOO_LARGE.as_u16(), ..refusal }.reply()
}
