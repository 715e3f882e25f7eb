//! Reading a request from a file: an HTTP/1.1 message (RFC 9112, `message/http`).
//!
//! Promises: read by the library that reads requests from the wire; never more than one request.
//! Does not promise: to take what the wire would not, but for two conveniences of files: a request line may leave the
//! version out, and without a length everything after the head, less one last line end, is the body.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Bytes in flight between writer and reader. The answer, which nobody reads closely, is far under it.
const PIPE_BYTES: usize = 64 * 1024;

/// What was given is no request.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("not one complete HTTP/1.1 request: a request line, headers, an empty line, the body")]
pub struct InvalidMessage;

type Read = Arc<Mutex<Option<(Parts, Bytes)>>>;

/// Reads one request.
pub async fn read(message: &[u8]) -> Result<(Parts, Bytes), InvalidMessage> {
    let framed = framed(message).ok_or(InvalidMessage)?;
    let read = Read::default();
    let (mut writer, reader) = tokio::io::duplex(PIPE_BYTES);
    let into = read.clone();
    let service = service_fn(move |request| keep(request, into.clone()));
    let reading = http1::Builder::new()
        .keep_alive(false)
        .half_close(true)
        .serve_connection(TokioIo::new(reader), service);
    let writing = async move {
        // A reader that has seen enough hangs up; what it made of the message is in `read`.
        let _ = writer.write_all(&framed).await;
        let _ = writer.shutdown().await;
        let _ = writer.read_to_end(&mut Vec::new()).await;
    };
    let _ = tokio::join!(reading, writing);
    let found = read.lock().unwrap_or_else(PoisonError::into_inner).take();
    found.ok_or(InvalidMessage)
}

async fn keep(request: Request<Incoming>, into: Read) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    *into.lock().unwrap_or_else(PoisonError::into_inner) = Some((parts, body));
    Ok(Response::new(Empty::new()))
}

/// The message with a version and a length, if it has none.
fn framed(message: &[u8]) -> Option<Vec<u8>> {
    let (head, body) = split(message);
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.lines();
    let line = lines.next()?.trim_end();
    let version = if line.split(' ').count() == 2 { " HTTP/1.1" } else { "" };
    let mut framed = format!("{line}{version}\r\n");
    let mut has_length = false;
    for line in lines {
        let name = line.split(':').next().unwrap_or_default();
        has_length |=
            ["content-length", "transfer-encoding"].iter().any(|given| name.eq_ignore_ascii_case(given));
        framed.push_str(line);
        framed.push_str("\r\n");
    }
    let body = if has_length { body } else { without_line_end(body) };
    if !has_length && !body.is_empty() {
        // Writing to a String cannot fail.
        let _ = write!(framed, "content-length: {}\r\n", body.len());
    }
    framed.push_str("\r\n");
    Some([framed.as_bytes(), body].concat())
}

/// Head and body, parted by the first empty line.
fn split(message: &[u8]) -> (&[u8], &[u8]) {
    let ends: [&[u8]; 2] = [b"\r\n\r\n", b"\n\n"];
    let found = ends.iter().filter_map(|end| {
        let at = message.windows(end.len()).position(|window| window == *end)?;
        Some((at, end.len()))
    });
    match found.min() {
        Some((at, length)) => (&message[..at], &message[at + length..]),
        None => (message, &[]),
    }
}

fn without_line_end(body: &[u8]) -> &[u8] {
    let body = body.strip_suffix(b"\n").unwrap_or(body);
    body.strip_suffix(b"\r").unwrap_or(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn text(message: &str) -> Option<(String, String)> {
        let (parts, body) = read(message.as_bytes()).await.ok()?;
        let line = format!("{} {} {}", parts.method, parts.uri, parts.headers.len());
        Some((line, String::from_utf8(body.to_vec()).unwrap()))
    }

    #[tokio::test]
    async fn messages_are_read_as_the_wire_reads_them() {
        for (message, line, body) in [
            ("POST /p HTTP/1.1\r\nhost: a\r\ncontent-length: 3\r\n\r\na=1", "POST /p 2", "a=1"),
            (
                "POST /p HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\na=1\r\n0\r\n\r\n",
                "POST /p 2",
                "a=1",
            ),
            (
                "POST https://psp.example/p HTTP/1.1\r\nhost: a\r\n\r\na=1\n",
                "POST https://psp.example/p 2",
                "a=1",
            ),
            ("POST /p\nHost: a\nX: b\n\na=1\n\nb\n", "POST /p 3", "a=1\n\nb"),
            ("GET /p?q=1\nHost: a\n", "GET /p?q=1 1", ""),
        ] {
            assert_eq!(text(message).await, Some((line.to_owned(), body.to_owned())), "{message}");
        }
        let long = "x".repeat(300_000);
        assert_eq!(text(&format!("POST /p\nhost: a\n\n{long}")).await.unwrap().1, long);
    }

    #[tokio::test]
    async fn what_is_no_whole_request_is_refused() {
        for message in [
            "",
            "\n\n",
            "nonsense",
            "POST /p HTTP/1.1\r\nhost a\r\n\r\n",
            "POST /p HTTP/1.1\r\ncontent-length: 9\r\n\r\na=1",
            "POST /p HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\na=1\r\n",
            "POST /a b c HTTP/1.1\r\n\r\n",
            "POST /p HTTP/7\r\n\r\n",
        ] {
            assert_eq!(read(message.as_bytes()).await.err(), Some(InvalidMessage), "{message}");
        }
    }
}
