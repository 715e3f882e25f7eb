//! What a connection is doing, so that silence and slowness end it: an idle connection, and a header that never ends.
//!
//! hyper's own header timeout also counts the quiet between two requests, which would cut pooled connections under their
//! users; so the time from a header's first byte is measured here.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::sleep;

/// Shared by a connection's stream, its service and its driver.
pub(crate) struct Activity(Mutex<State>);

struct State {
    in_flight: u32,
    /// Since when nothing is in flight.
    quiet_since: Instant,
    /// When the first byte after the last request came (HTTP/1.1 only).
    header_since: Option<Instant>,
}

/// Why a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Silence {
    /// No request for too long.
    Idle,
    /// A request's header that does not end.
    SlowHeader,
}

impl Activity {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(Mutex::new(State { in_flight: 0, quiet_since: Instant::now(), header_since: None })))
    }

    /// A request's header is complete. The request ends when the value is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> InFlight {
        let mut state = self.lock();
        state.in_flight += 1;
        state.header_since = None;
        InFlight(Arc::clone(self))
    }

    fn received(&self) {
        let mut state = self.lock();
        if state.in_flight == 0 && state.header_since.is_none() {
            state.header_since = Some(Instant::now());
        }
    }

    /// Ends when the connection should.
    pub(crate) async fn silence(&self, idle: Duration, header: Duration) -> Silence {
        let tick = (idle.min(header) / 4).clamp(Duration::from_millis(5), Duration::from_secs(1));
        loop {
            sleep(tick).await;
            let state = self.lock();
            if state.header_since.is_some_and(|since| since.elapsed() >= header) {
                return Silence::SlowHeader;
            }
            if state.in_flight == 0 && state.header_since.is_none() && state.quiet_since.elapsed() >= idle {
                return Silence::Idle;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A request being worked on.
pub(crate) struct InFlight(Arc<Activity>);

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.in_flight -= 1;
        state.quiet_since = Instant::now();
    }
}

/// A stream that reports received bytes. For HTTP/2 it reports nothing: pings and window updates are no headers, and a
/// peer that sends no complete request is idle.
pub(crate) struct Watched<S> {
    stream: S,
    activity: Option<Arc<Activity>>,
}

impl<S> Watched<S> {
    pub(crate) fn new(stream: S, activity: Option<Arc<Activity>>) -> Self {
        Self { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if buffer.filled().len() > before
            && let Some(activity) = &self.activity
        {
            activity.received();
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
