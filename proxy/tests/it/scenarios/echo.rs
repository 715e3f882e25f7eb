//! A PSP that sends the number back, byte by byte, on every status and in headers.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use crate::psp::Then;
use crate::world::{NUMBER, TOKEN, World};

pub(super) const STATUSES: [&str; 10] = [
    "200 OK",
    "201 Created",
    "202 Accepted",
    "400 Bad Request",
    "402 Payment Required",
    "404 Not Found",
    "409 Conflict",
    "422 Unprocessable Content",
    "500 Internal Server Error",
    "503 Service Unavailable",
];

pub(super) fn spellings() -> Vec<String> {
    let each = |write: &dyn Fn(u8) -> String| NUMBER.bytes().map(write).collect::<String>();
    vec![
        NUMBER.to_owned(),
        "4242 4242 4242 4242".to_owned(),
        "4242-4242-4242-4242".to_owned(),
        each(&|digit| format!("&#{digit};")),
        each(&|digit| format!("%{digit:02x}")),
        each(&|digit| format!("\\u{digit:04x}")),
        STANDARD.encode(NUMBER),
        STANDARD.encode(format!("x{NUMBER}")),
        URL_SAFE_NO_PAD.encode(format!("{{\"n\":\"{NUMBER}\"}}")),
        hex::encode(NUMBER),
    ]
}

/// Every byte a chunk of its own.
fn in_single_bytes(status: &str, kind: &str, header: &str, body: &str) -> Vec<u8> {
    let mut bytes = format!(
        "HTTP/1.1 {status}\r\ncontent-type: {kind}\r\nx-echo: {header}\r\nalt-svc: h3=\":443\"\r\ntransfer-encoding: chunked\r\n\r\n"
    )
    .into_bytes();
    for byte in body.bytes() {
        bytes.extend_from_slice(&[b'1', b'\r', b'\n', byte, b'\r', b'\n']);
    }
    bytes.extend_from_slice(b"0\r\n\r\n");
    bytes
}

#[tokio::test]
async fn no_digit_of_an_echo_reaches_the_caller() {
    let world = World::usual().await;
    for (round, spelling) in spellings().iter().enumerate() {
        for (kind, body) in [
            ("application/json", format!("{{\"id\":\"pm_1\",\"echo\":\"{spelling}\"}}")),
            ("text/xml", format!("<answer><echo>{spelling}</echo></answer>")),
            ("text/html", format!("<p>declined: {spelling}")),
            ("application/x-www-form-urlencoded", format!("id=1&echo={spelling}")),
        ] {
            let status = STATUSES[(round + body.len()) % STATUSES.len()];
            let kind_and_status = format!("{kind} {status} {spelling}");
            world.psp.then(Then::Answer(in_single_bytes(status, kind, spelling, &body)));
            let reply = world.create_usual().await;
            let shown = format!("{:?}\n{}", reply.headers, reply.text());
            assert!(status.starts_with(&reply.status.to_string()), "{kind_and_status}");
            assert!(reply.text().contains(TOKEN), "{kind_and_status}: {shown}");
            for piece in [NUMBER, spelling, &NUMBER[..8]] {
                assert!(!shown.contains(piece), "{kind_and_status}: {shown}");
            }
            assert!(reply.header("x-echo").unwrap().contains(TOKEN), "{kind_and_status}");
            assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
            for absent in ["transfer-encoding", "content-encoding", "alt-svc"] {
                assert_eq!(reply.header(absent), None, "{kind_and_status}");
            }
        }
    }
}
