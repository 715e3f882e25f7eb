//! Connections as values: a [`Ready`] is a connection in hand, and sending spends it.
//!
//! Promises: nothing here sends a request twice. A request comes back ([`SendError::NotSent`]) only if the HTTP layer
//! never took it, so not one byte of it was written; after that every failure counts as sent.
//! Does not promise: that an idle connection is alive. One closed while it lay idle is found and dropped first.
//! Upholds: C-17, C-19.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, timeout, timeout_at};

use super::dial::{ConnectError, Dialer};

/// Most idle connections kept. More callers at once than this connect anew.
const IDLE_MAX: usize = 128;
/// How long a connection may lie idle: PSPs and load balancers close after 60 s and more.
const IDLE_AGE_MAX: Duration = Duration::from_secs(30);
/// How long a connection may be used at all, so that DNS changes and revoked certificates take effect.
const AGE_MAX: Duration = Duration::from_secs(300);
/// How long an answered connection may take to become idle.
const SETTLE_MAX: Duration = Duration::from_secs(1);
/// Bytes read at once, and the longest header of an answer.
const READ_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Connections to one place.
#[derive(Clone)]
pub struct Pool(Arc<Inner>);

struct Inner {
    dialer: Dialer,
    idle: Mutex<Vec<Link>>,
}

struct Link {
    sender: SendRequest<Full<Bytes>>,
    opened: Instant,
    idle_since: Instant,
}

/// A connection that takes one request.
pub struct Ready {
    link: Link,
    pool: Pool,
}

/// A complete answer.
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its headers, as they came.
    pub headers: HeaderMap,
    /// Its body, as it came.
    pub body: Bytes,
}

/// Shows no header and no byte of the body: before it is scrubbed it may hold card data.
impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Answer({}, {} bytes)", self.status, self.body.len())
    }
}

/// Why there is no complete answer.
#[derive(thiserror::Error)]
pub enum SendError {
    /// The connection closed before the request was taken: nothing of it was written. Here it is back.
    #[error("the connection closed before anything was sent")]
    NotSent(Box<Request<Full<Bytes>>>),
    /// The connection broke, or what came was not HTTP.
    #[error("the connection broke after sending began")]
    Broken(#[source] hyper::Error),
    /// No complete answer in time.
    #[error("no complete answer in time")]
    TimedOut,
    /// The answer is larger than allowed.
    #[error("the answer is larger than allowed")]
    TooLarge,
}

/// Shows nothing of a request that comes back: it holds card data and a credential.
impl fmt::Debug for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotSent(_) => f.write_str("NotSent(..)"),
            Self::Broken(error) => write!(f, "Broken({error:?})"),
            Self::TimedOut => f.write_str("TimedOut"),
            Self::TooLarge => f.write_str("TooLarge"),
        }
    }
}

impl Pool {
    /// A pool without connections.
    #[must_use]
    pub fn new(dialer: Dialer) -> Self {
        Self(Arc::new(Inner { dialer, idle: Mutex::default() }))
    }

    /// The dialer, to renew its TLS material.
    #[must_use]
    pub fn dialer(&self) -> &Dialer {
        &self.0.dialer
    }

    /// A connection: one that lies idle, or a new one.
    pub async fn ready(&self) -> Result<Ready, ConnectError> {
        match self.take_idle() {
            Some(link) => Ok(Ready { link, pool: self.clone() }),
            None => self.connect().await,
        }
    }

    /// A new connection.
    pub async fn connect(&self) -> Result<Ready, ConnectError> {
        let stream = self.0.dialer.dial().await?;
        let (sender, connection) = http1::Builder::new()
            .title_case_headers(true)
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ConnectError::Http)?;
        // Ends when the peer closes, the sender is dropped, or the exchange fails; the sender hears of it.
        tokio::spawn(connection);
        let opened = Instant::now();
        Ok(Ready { link: Link { sender, opened, idle_since: opened }, pool: self.clone() })
    }

    fn take_idle(&self) -> Option<Link> {
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let link = std::iter::from_fn(|| idle.pop()).find(Link::is_usable);
        if link.is_none() {
            idle.shrink_to_fit();
        }
        link
    }

    fn put_idle(&self, mut link: Link) {
        link.idle_since = Instant::now();
        let mut idle = self.0.idle.lock().unwrap_or_else(PoisonError::into_inner);
        idle.retain(Link::is_usable);
        if idle.len() < IDLE_MAX {
            idle.push(link);
        }
    }
}

impl Link {
    fn is_usable(&self) -> bool {
        self.sender.is_ready() && self.idle_since.elapsed() < IDLE_AGE_MAX && self.opened.elapsed() < AGE_MAX
    }
}

impl Ready {
    /// Sends the request and reads the complete answer before `deadline`. Cancelling it closes the connection.
    pub async fn send(
        mut self,
        request: Request<Full<Bytes>>,
        deadline: Instant,
        body_bytes_max: usize,
    ) -> Result<Answer, SendError> {
        let sent = timeout_at(deadline, self.link.sender.try_send_request(request)).await;
        let response = match sent.map_err(|_| SendError::TimedOut)? {
            Ok(response) => response,
            Err(mut error) => {
                return Err(match error.take_message() {
                    Some(request) => SendError::NotSent(Box::new(request)),
                    None => SendError::Broken(error.into_error()),
                });
            }
        };
        let reading = timeout_at(deadline, read(response, body_bytes_max));
        let answer = reading.await.map_err(|_| SendError::TimedOut)??;
        self.settle();
        Ok(answer)
    }

    /// Puts an unused connection back.
    pub fn give_back(self) {
        self.settle();
    }

    /// Waits, off the caller's path, until the connection is ready again, and keeps it.
    fn settle(mut self) {
        if self.link.opened.elapsed() >= AGE_MAX {
            return;
        }
        tokio::spawn(async move {
            if matches!(timeout(SETTLE_MAX, self.link.sender.ready()).await, Ok(Ok(()))) {
                self.pool.put_idle(self.link);
            }
        });
    }
}

async fn read(response: Response<Incoming>, bytes_max: usize) -> Result<Answer, SendError> {
    let (parts, mut body) = response.into_parts();
    let announced = usize::try_from(body.size_hint().lower()).unwrap_or(usize::MAX);
    if announced > bytes_max {
        return Err(SendError::TooLarge);
    }
    let mut bytes = BytesMut::with_capacity(announced);
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.map_err(SendError::Broken)?.into_data() else { continue };
        if bytes.len() + data.len() > bytes_max {
            return Err(SendError::TooLarge);
        }
        bytes.extend_from_slice(&data);
    }
    Ok(Answer { status: parts.status, headers: parts.headers, body: bytes.freeze() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neither_a_request_that_came_back_nor_an_answer_shows_what_it_holds() {
        let body = || Bytes::from_static(b"card[number]=4242424242424242");
        let mut request = Request::new(Full::new(body()));
        request.headers_mut().insert("authorization", http::HeaderValue::from_static("Bearer sk_own"));
        let shown = format!("{:?}", SendError::NotSent(Box::new(request)));
        assert_eq!(shown, "NotSent(..)");
        let answer = Answer { status: StatusCode::OK, headers: HeaderMap::new(), body: body() };
        assert_eq!(format!("{answer:?}"), "Answer(200 OK, 29 bytes)");
    }
}
