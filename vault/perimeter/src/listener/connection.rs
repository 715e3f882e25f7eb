//! One connection: its handshake, its requests, its end.

use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::ServerConnection;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;

use super::Shared;
use super::activity::{Activity, Silence, Watched};
use super::peer::{PeerVerifier, Seen, Standing};
use super::refusal::{self, HandshakeRefusal};
use super::service::ConnectionService;
use super::trust::Trust;
use super::tunnel::{self, TunnelSlot};
use crate::caller::{Caller, TlsFacts};
use crate::limits::{Limits, millis, size};

/// The stop signal, and the one after the deadline.
#[derive(Clone)]
pub(crate) struct Ending {
    pub(crate) stop: CancellationToken,
    pub(crate) abort: CancellationToken,
}

/// Serves a connection until it ends.
pub(crate) async fn run(shared: Arc<Shared>, stream: TcpStream, peer: SocketAddr, ending: Ending) {
    let peer = SocketAddr::new(peer.ip().to_canonical(), peer.port());
    // An answer is written at once; waiting for more to send would only cost its caller time. A failure costs the same.
    drop(stream.set_nodelay(true));
    let trust = shared.trust.load_full();
    let Some(shaken) = ending.stop.run_until_cancelled(handshake(&shared, &trust, stream, peer)).await else {
        return;
    };
    if let Some((stream, caller)) = shaken {
        metrics::gauge!("strongroom_connections", "service" => shared.service).increment(1);
        serve(&shared, &trust, stream, peer, caller, ending).await;
        metrics::gauge!("strongroom_connections", "service" => shared.service).decrement(1);
    }
}

async fn handshake(
    shared: &Shared,
    trust: &Trust,
    stream: TcpStream,
    peer: SocketAddr,
) -> Option<(TlsStream<TcpStream>, Option<Caller>)> {
    let started = Instant::now();
    let verifier = PeerVerifier::new(trust, &shared.dns_identities).map(Arc::new);
    let seen = || verifier.as_ref().and_then(|verifier| verifier.seen());
    let config = match trust.server_config(verifier.clone().map(|verifier| verifier as _)) {
        Ok(config) => Arc::new(config),
        Err(error) => {
            tracing::error!(%error, "tls configuration refused: a defect, it was accepted when loaded");
            return None;
        }
    };
    let accepted =
        timeout(millis(shared.limits.handshake_timeout_ms), TlsAcceptor::from(config).accept(stream)).await;
    metrics::histogram!("strongroom_tls_handshake_seconds", "service" => shared.service)
        .record(started.elapsed().as_secs_f64());
    let reason = match accepted {
        Ok(Ok(stream)) => {
            let tls = facts(stream.get_ref().1);
            match verifier.as_ref().map(|_| caller_of(tls, seen(), peer)).transpose() {
                Ok(caller) => {
                    shared.tell_accepted(&tls);
                    return Some((stream, caller));
                }
                Err(reason) => Some(reason),
            }
        }
        Ok(Err(error)) => {
            seen().and_then(|seen| seen.identity.as_ref().err().copied()).or(refusal::of_handshake(&error))
        }
        Err(_elapsed) => Some(refusal::TIMEOUT),
    };
    match reason {
        Some(reason) => shared.tell_refusal(HandshakeRefusal {
            peer,
            reason,
            certificate_sha256: seen().map(|seen| seen.certificate_sha256),
        }),
        None => shared.tell_abandoned(),
    }
    None
}

/// Who the peer is. After a completed handshake the verifier has seen an identity; anything else is refused.
fn caller_of(tls: TlsFacts, seen: Option<&Seen>, peer: SocketAddr) -> Result<Caller, &'static str> {
    let seen = seen.ok_or(refusal::NO_CERTIFICATE)?;
    let workload = seen.identity.clone()?;
    Ok(Caller { workload, certificate_sha256: seen.certificate_sha256, peer, tls })
}

/// What a connection negotiated.
fn facts(connection: &ServerConnection) -> TlsFacts {
    let group = connection.negotiated_key_exchange_group().and_then(|group| group.name().as_str());
    let suite = connection.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    let version = connection.protocol_version().and_then(|version| version.as_str());
    TlsFacts {
        version: version.unwrap_or("unknown"),
        suite: suite.unwrap_or("unknown"),
        group: group.unwrap_or("unknown"),
    }
}

async fn serve(
    shared: &Arc<Shared>,
    trust: &Trust,
    stream: TlsStream<TcpStream>,
    peer: SocketAddr,
    caller: Option<Caller>,
    ending: Ending,
) {
    let connection = stream.get_ref().1;
    let is_h2 = connection.alpn_protocol() == Some(b"h2");
    let chain = connection.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
    let verified = match caller {
        None => None,
        Some(caller) => {
            let Some(standing) = Standing::new(chain, trust) else { return };
            Some((caller, Arc::new(standing)))
        }
    };
    let (activity, fallen) = (Activity::new(), CancellationToken::new());
    let tunnel = TunnelSlot::default();
    let service = ConnectionService {
        shared: Arc::clone(shared),
        peer,
        verified,
        activity: Arc::clone(&activity),
        in_flight: Arc::new(Semaphore::new(size(shared.limits.in_flight_per_connection_max))),
        fallen: fallen.clone(),
        tunnel: tunnel.clone(),
        inside: None,
    };
    let ends = Ends { shared, fallen, ending, old_at: tokio::time::Instant::now() + shared.age() };
    let io = TokioIo::new(Watched::new(stream, (!is_h2).then(|| Arc::clone(&activity))));
    // What ALPN agreed on, not what the first bytes look like: reading those would need a timeout of its own.
    if is_h2 {
        let served = http2(&shared.limits).serve_connection(io, service);
        ends.drive(&activity, served, |served| served.graceful_shutdown()).await;
        return;
    }
    let served = http1(&shared.limits).serve_connection(io, service.clone()).with_upgrades();
    ends.drive(&activity, served, |served| served.graceful_shutdown()).await;
    if let Some(opened) = tunnel.take() {
        tunnel::run(&ends, service, opened).await;
    }
}

/// Everything that ends a connection before its peer does.
pub(crate) struct Ends<'a> {
    pub(crate) shared: &'a Shared,
    pub(crate) fallen: CancellationToken,
    pub(crate) ending: Ending,
    /// When the connection is too old, and with it a tunnel inside.
    pub(crate) old_at: tokio::time::Instant,
}

impl Ends<'_> {
    pub(crate) async fn drive<C: Future>(
        &self,
        activity: &Activity,
        connection: C,
        shut_down: fn(Pin<&mut C>),
    ) {
        let mut served = pin!(connection);
        let limits = &self.shared.limits;
        let (idle, header) = (millis(limits.idle_timeout_ms), millis(limits.header_timeout_ms));
        tokio::select! {
            _ = served.as_mut() => return,
            silence = activity.silence(idle, header) => if silence == Silence::SlowHeader {
                tracing::debug!("a request's header did not end in time");
                metrics::counter!("strongroom_http_slow_headers_total", "service" => self.shared.service)
                    .increment(1);
                return;
            },
            () = sleep_until(self.old_at) => {}
            () = self.fallen.cancelled() => {}
            () = self.ending.stop.cancelled() => {}
        }
        shut_down(served.as_mut());
        tokio::select! {
            _ = served => {}
            () = sleep(millis(limits.drain_timeout_ms)) => {}
            () = self.ending.abort.cancelled() => {}
        }
    }
}

/// A peer that does not answer a ping in time is gone.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(10);
/// Streams reset before they were answered; more is the rapid-reset attack (CVE-2023-44487).
const RESET_STREAMS_MAX: usize = 32;
/// Header fields of one HTTP/1.1 request.
const HEADER_FIELDS_MAX: usize = 100;
/// hyper's smallest buffer for HTTP/1.1.
const BUFFER_BYTES_MIN: usize = 8 * 1024;

pub(crate) fn http1(limits: &Limits) -> http1::Builder {
    let header_bytes = size(limits.header_bytes_max);
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        // `Activity` is quicker; this one is for a header that came in part together with the request before it.
        .header_read_timeout(millis(limits.idle_timeout_ms) + millis(limits.header_timeout_ms))
        .max_headers(HEADER_FIELDS_MAX)
        .max_header_size(header_bytes)
        .max_buf_size(header_bytes.max(BUFFER_BYTES_MIN));
    builder
}

fn http2(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.in_flight_per_connection_max.get())
        .max_header_list_size(limits.header_bytes_max.get())
        .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
        .max_local_error_reset_streams(RESET_STREAMS_MAX)
        .keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT);
    builder
}
