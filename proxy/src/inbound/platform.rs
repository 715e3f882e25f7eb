//! The way to the platform: one host, one path, once for each delivery.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::HOST;
use http::{HeaderMap, HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use rustls::ClientConfig;
use strongroom_domain::route;
use tokio::time::Instant;

use super::refused::Refused;
use crate::upstream::{Admission, Answer, Dialer, InvalidHost, Pool, Ready, Resolve, SendError};

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the platform may take to answer: below what senders wait.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Connections to one platform.
pub(super) struct Platform {
    pool: Pool,
    authority: HeaderValue,
    path: String,
}

impl Platform {
    /// The platform is the house's own, so a private address is as good as any: nothing in a message chooses it.
    pub(super) fn new(
        declared: &route::Platform,
        mut tls: ClientConfig,
        resolver: &Arc<dyn Resolve>,
    ) -> Result<Self, InvalidHost> {
        tls.alpn_protocols = vec![b"http/1.1".to_vec()];
        let route::Platform { host, port, path, .. } = declared;
        let dialer =
            Dialer::new(host, *port, Admission::Any, resolver.clone(), Arc::new(tls), CONNECT_TIMEOUT)?;
        let authority = if *port == 443 { host.clone() } else { format!("{host}:{port}") };
        let authority = HeaderValue::try_from(authority)
            .expect("a parsed platform is letters, digits, dots, hyphens and a port");
        Ok(Self { pool: Pool::new(dialer), authority, path: path.clone() })
    }

    /// A connection, before anything is made for the message.
    pub(super) async fn ready(&self) -> Result<Ready, Refused> {
        self.pool.ready().await.map_err(Refused::PlatformUnreachable)
    }

    /// Sends a message. Only one the connection never took goes over a second one.
    pub(super) async fn send(
        &self,
        ready: Ready,
        mut headers: HeaderMap,
        body: Bytes,
        answer_bytes_max: usize,
    ) -> Result<Answer, Refused> {
        headers.insert(HOST, self.authority.clone());
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = Uri::try_from(self.path.as_str()).map_err(|_| Refused::Defect)?;
        *request.headers_mut() = headers;
        let deadline = Instant::now() + ANSWER_TIMEOUT;
        match ready.send(request, deadline, answer_bytes_max).await {
            Err(SendError::NotSent(request)) => {
                let fresh = self.pool.connect().await.map_err(Refused::PlatformUnreachable)?;
                let answer = fresh.send(*request, deadline, answer_bytes_max).await;
                answer.map_err(Refused::PlatformUnanswered)
            }
            answer => answer.map_err(Refused::PlatformUnanswered),
        }
    }
}
