//! One keep-alive connection, written by hand so that it costs little beside what is measured.

use std::io;
use std::net::SocketAddr;

use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// One connection.
pub(crate) struct Line {
    stream: TlsStream<TcpStream>,
    read: Vec<u8>,
}

/// An answer's status, where its body begins, and whether the connection ends with it.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) closes: bool,
    head: usize,
}

impl Line {
    pub(crate) async fn connect(connector: &TlsConnector, address: SocketAddr) -> io::Result<Self> {
        let tcp = TcpStream::connect(address).await?;
        tcp.set_nodelay(true)?;
        let name = ServerName::try_from("localhost").map_err(io::Error::other)?;
        Ok(Self { stream: connector.connect(name, tcp).await?, read: Vec::with_capacity(8 * 1024) })
    }

    /// Sends a whole request and waits for nothing.
    pub(crate) async fn tell(&mut self, request: &[u8]) -> io::Result<()> {
        self.stream.write_all(request).await?;
        self.stream.flush().await
    }

    /// Sends a whole request and waits for the whole answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.tell(request).await?;
        self.read.clear();
        loop {
            if self.stream.read_buf(&mut self.read).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if let Some(answer) = self.whole()? {
                return Ok(answer);
            }
        }
    }

    pub(crate) fn body(&self, answer: &Answer) -> &[u8] {
        &self.read[answer.head..]
    }

    fn whole(&self) -> io::Result<Option<Answer>> {
        let Some(head) = self.read.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
        else {
            return Ok(None);
        };
        let wrong = || io::Error::other("an answer this client does not read");
        let text = std::str::from_utf8(&self.read[..head]).map_err(|_| wrong())?;
        let status = text.get(9..12).and_then(|status| status.parse().ok()).ok_or_else(wrong)?;
        let field = |name: &str| {
            let mut fields = text.split("\r\n").filter_map(|line| line.split_once(':'));
            fields.find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
        };
        let length: usize =
            field("content-length").and_then(|length| length.parse().ok()).ok_or_else(wrong)?;
        let closes = field("connection") == Some("close");
        Ok((self.read.len() >= head + length).then_some(Answer { status, closes, head }))
    }
}
