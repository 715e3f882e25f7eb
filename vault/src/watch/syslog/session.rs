//! One session with the server: some messages, and that it has read them.
//!
//! Syslog acknowledges nothing. The end of a session does: a server that answers our `close_notify` with its own has read whatever
//! came before. So each batch is a session of its own; findings are few.
//!
//! Promises: TLS 1.3, the server's certificate verified for its name, ours shown; messages the server did not confirm to have read
//! are not counted as sent.
//! Does not promise: that the server keeps what it has read.
//! Upholds: C-65.

use std::io;
use std::time::Duration;

use rustls_pki_types::ServerName;
use strongroom_perimeter::tls::{ClientTlsConfig, MaterialError, client_config};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;

use super::config::{CloseNotify, SyslogConfig};
use super::message::counted;

/// Largest answer that is read: a server has nothing to say.
const ANSWER_BYTES_MAX: usize = 1_024;
/// How long a server has to refuse us after the handshake, before anything is sent.
const QUIET: Duration = Duration::from_millis(250);
/// How long a reset may take back.
const ROUND_TRIP: Duration = Duration::from_secs(1);

/// Why messages are not known to have been read. All of them are sent again.
#[derive(Debug, thiserror::Error)]
pub enum SyslogError {
    /// Certificates or keys.
    #[error(transparent)]
    Material(#[from] MaterialError),
    /// No connection.
    #[error("the syslog server cannot be reached")]
    Unreachable(#[source] io::Error),
    /// TLS: the server's certificate, or ours.
    #[error(
        "the syslog server and this vault do not agree on tls: check both certificates and their authorities"
    )]
    Tls(#[source] io::Error),
    /// It does not want us.
    #[error(
        "the syslog server ended the session before it was told anything: check that it accepts this vault's certificate (its permitted peers)"
    )]
    Refused,
    /// It broke off.
    #[error("the syslog server broke the session off before it had read everything")]
    Broken(#[source] io::Error),
    /// It ended without TLS's own end.
    #[error(
        "the syslog server ended the session without close_notify (RFC 5425 section 4.4), so it may not have read everything: \
         use a server that sends it (rsyslog with the ossl driver), or set watch.syslog.close_notify (vault/docs/watch.md)"
    )]
    Unconfirmed,
    /// It speaks.
    #[error("the syslog server sends something, which no syslog server does")]
    Talks,
    /// It takes too long.
    #[error("the syslog server takes too long")]
    TooSlow,
}

impl SyslogError {
    /// As the metric says it.
    pub(super) const fn why(&self) -> &'static str {
        match self {
            Self::Material(_) => "material",
            Self::Unreachable(_) => "unreachable",
            Self::Tls(_) => "tls",
            Self::Refused => "refused",
            Self::Broken(_) => "broken",
            Self::Unconfirmed => "unconfirmed",
            Self::Talks => "talks",
            Self::TooSlow => "too-slow",
        }
    }

    /// Whether a person must change something: waiting alone will not help.
    pub(super) const fn is_refusal(&self) -> bool {
        matches!(self, Self::Material(_) | Self::Tls(_) | Self::Refused | Self::Unconfirmed | Self::Talks)
    }
}

/// Sends messages in order, and gives once the server has read them all.
pub(super) async fn deliver(config: &SyslogConfig, messages: &[String]) -> Result<(), SyslogError> {
    let bytes: Vec<u8> = messages.iter().flat_map(|message| counted(message)).collect();
    let session = session(config, &bytes);
    timeout(config.timeout(), session).await.unwrap_or(Err(SyslogError::TooSlow))
}

async fn session(config: &SyslogConfig, bytes: &[u8]) -> Result<(), SyslogError> {
    let invalid = || SyslogError::Unreachable(io::ErrorKind::InvalidInput.into());
    let (host, port) = config.place().ok_or_else(invalid)?;
    let connector = match &config.tls {
        Some(tls) => Some(connector(tls.clone()).await?),
        None => None,
    };
    let mut tcp = TcpStream::connect((host, port)).await.map_err(SyslogError::Unreachable)?;
    let Some(connector) = connector else {
        tcp.write_all(bytes).await.map_err(SyslogError::Broken)?;
        return all_read(tcp).await;
    };
    let name = ServerName::try_from(host.to_owned()).map_err(|_| invalid())?;
    let mut stream = connector.connect(name, tcp).await.map_err(SyslogError::Tls)?;
    must_stay(&mut stream).await?;
    stream.write_all(bytes).await.map_err(|error| broken(&error))?;
    // The end of TLS and not of TCP: that comes once the server has answered.
    stream.get_mut().1.send_close_notify();
    stream.flush().await.map_err(|error| broken(&error))?;
    ended(&mut stream, config.close_notify).await?;
    all_read(stream.into_inner().0).await
}

/// A server that does not want this vault's certificate may say so only after its handshake is done, by an orderly end: nothing but
/// that it comes before ours tells it from one that has read everything.
async fn must_stay(stream: &mut (impl AsyncRead + Unpin)) -> Result<(), SyslogError> {
    let mut answer = [0; ANSWER_BYTES_MAX];
    match timeout(QUIET, stream.read(&mut answer)).await {
        Err(_) => Ok(()),
        Ok(Ok(0)) => Err(SyslogError::Refused),
        Ok(Ok(_)) => Err(SyslogError::Talks),
        Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => Err(SyslogError::Refused),
        Ok(Err(error)) => Err(broken(&error)),
    }
}

/// A server that closes a connection with bytes it has not read resets it (RFC 1122 section 4.2.2.13); the reset comes at once, or a
/// round trip later for what was still on its way.
async fn all_read(mut tcp: TcpStream) -> Result<(), SyslogError> {
    tcp.shutdown().await.map_err(SyslogError::Broken)?;
    let mut answer = [0; ANSWER_BYTES_MAX];
    while tcp.read(&mut answer).await.map_err(SyslogError::Broken)? > 0 {}
    sleep(ROUND_TRIP).await;
    match tcp.take_error() {
        Ok(None) => Ok(()),
        Ok(Some(error)) | Err(error) => Err(SyslogError::Broken(error)),
    }
}

async fn connector(tls: ClientTlsConfig) -> Result<TlsConnector, SyslogError> {
    let read = tokio::task::spawn_blocking(move || client_config(&tls)).await;
    let client = read.map_err(|error| SyslogError::Unreachable(io::Error::other(error)))??;
    Ok(TlsConnector::from(std::sync::Arc::new(client)))
}

/// Waits for the server's end of the session.
async fn ended(stream: &mut (impl AsyncRead + Unpin), close_notify: CloseNotify) -> Result<(), SyslogError> {
    let mut answer = [0; ANSWER_BYTES_MAX];
    match stream.read(&mut answer).await {
        Ok(0) => Ok(()),
        Ok(_) => Err(SyslogError::Talks),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => match close_notify {
            CloseNotify::Required => Err(SyslogError::Unconfirmed),
            CloseNotify::Optional => Ok(()),
        },
        Err(error) => Err(broken(&error)),
    }
}

/// An alert of the server's, in TLS 1.3 the answer to our certificate, comes only here.
fn broken(error: &io::Error) -> SyslogError {
    let is_tls = error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>());
    let error = io::Error::new(error.kind(), error.to_string());
    if is_tls { SyslogError::Tls(error) } else { SyslogError::Broken(error) }
}

/// Reads the files once, to refuse at the start what could not be used.
pub(super) fn check(config: &SyslogConfig) -> Result<(), MaterialError> {
    config.tls.as_ref().map_or(Ok(()), |tls| client_config(tls).map(|_| ()))
}
