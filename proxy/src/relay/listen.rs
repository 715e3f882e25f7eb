//! A plain port on loopback.
//!
//! Promises: every connection, header and wait has a bound; one slow SDK never holds up another.
//! Upholds: C-22, C-38.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::RelayLimits;
use super::call::Desk;

/// Header fields of one request.
const HEADER_FIELDS_MAX: usize = 100;
/// After a failed accept (no file descriptors left), a moment for connections to close.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound port that is not serving yet.
pub(super) struct PlainListener {
    tcp: TcpListener,
    address: SocketAddr,
    desk: Arc<Desk>,
    limits: RelayLimits,
}

impl PlainListener {
    pub(super) fn bind(address: SocketAddr, desk: Arc<Desk>, limits: RelayLimits) -> io::Result<Self> {
        let tcp = std::net::TcpListener::bind(address)?;
        tcp.set_nonblocking(true)?;
        let tcp = TcpListener::from_std(tcp)?;
        let address = tcp.local_addr()?;
        Ok(Self { tcp, address, desk, limits })
    }

    pub(super) fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop`, then lets calls and tunnels end within the drain time.
    pub(super) async fn serve(self, stop: CancellationToken) {
        let Self { tcp, address, desk, limits } = self;
        tracing::info!(%address, "the relay listens");
        let connections = TaskTracker::new();
        let slots = Arc::new(Semaphore::new(usize::try_from(limits.connections_max).unwrap_or(usize::MAX)));
        while let Some(Ok(slot)) = stop.run_until_cancelled(slots.clone().acquire_owned()).await {
            let Some(accepted) = stop.run_until_cancelled(tcp.accept()).await else { break };
            match accepted {
                Ok((stream, _)) => {
                    let (desk, stop) = (desk.clone(), stop.clone());
                    connections.spawn(async move {
                        connection(stream, desk, limits, stop).await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the relay cannot accept a connection");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(tcp);
        connections.close();
        let patience = Duration::from_millis(limits.drain_timeout_ms.into());
        let ended = async {
            tokio::join!(connections.wait(), desk.drain(patience));
        };
        // Calls that outlast it end with the process; the proxy finishes them.
        let _ = timeout(patience + ACCEPT_PAUSE, ended).await;
    }
}

async fn connection(stream: TcpStream, desk: Arc<Desk>, limits: RelayLimits, stop: CancellationToken) {
    // A lost Nagle option costs latency, not correctness.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let desk = desk.clone();
        async move { Ok::<_, Infallible>(desk.handle(request).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_millis(limits.idle_timeout_ms.into()))
        .max_headers(HEADER_FIELDS_MAX)
        .max_buf_size(usize::try_from(limits.header_bytes_max).unwrap_or(usize::MAX))
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut served = pin!(served);
    tokio::select! {
        _ = served.as_mut() => return,
        () = stop.cancelled() => {}
    }
    served.as_mut().graceful_shutdown();
    // An SDK that goes away is not news.
    let _ = served.await;
}
