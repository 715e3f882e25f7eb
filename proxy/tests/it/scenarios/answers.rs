//! An echo however it comes: cut at any byte, in any content encoding, on any status, and beside the body.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::echo::{STATUSES, spellings};
use crate::psp::{Then, raw};
use crate::tube::post;
use crate::world::{NUMBER, TOKEN, World, usual_form};

const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

#[tokio::test]
async fn an_echo_cut_in_two_at_any_byte_is_gone() {
    let world = World::usual().await;
    let all = spellings();
    let mut cuts = 0;
    // Plain, grouped, character references, JSON escapes, base64 and hex.
    for spelling in [0, 2, 3, 5, 6, 9].map(|at: usize| &all[at]) {
        let body = format!("{{\"echo\":\"{spelling}\"}}").into_bytes();
        for at in 1..body.len() {
            let first = [HEAD.as_bytes(), &chunk(&body[..at])].concat();
            let second = [&chunk(&body[at..])[..], b"0\r\n\r\n"].concat();
            world.psp.then(Then::Pieces(vec![first, second]));
            let reply = world.create_usual().await;
            assert_eq!((reply.status, reply.json()["echo"].as_str()), (200, Some(TOKEN)), "{spelling} {at}");
            cuts += 1;
        }
    }
    assert!(cuts > 300, "{cuts}");
}

/// A brotli stream of one uncompressed meta-block (RFC 7932 §9.2): an encoder is nothing this program has.
fn brotli(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len() - 1).unwrap();
    assert!(length < 1 << 16);
    let head = length << 4 | 1 << 20;
    [&head.to_le_bytes()[..3], body, &[3]].concat()
}

fn encoded(encoding: &str, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    match encoding {
        "gzip" => GzEncoder::new(&mut out, Compression::best()).write_all(body).unwrap(),
        "zlib" => ZlibEncoder::new(&mut out, Compression::best()).write_all(body).unwrap(),
        "deflate" => DeflateEncoder::new(&mut out, Compression::best()).write_all(body).unwrap(),
        "zstd" => ruzstd::encoding::compress(body, &mut out, ruzstd::encoding::CompressionLevel::Fastest),
        "br" => out = brotli(body),
        _ => panic!("no encoding {encoding}"),
    }
    out
}

#[tokio::test]
async fn an_echo_in_any_content_encoding_on_any_status_is_gone() {
    let world = World::usual().await;
    let all = spellings();
    for (round, status) in STATUSES.iter().enumerate() {
        for encoding in ["gzip", "zlib", "deflate", "br", "zstd"] {
            let spelling = &all[round % all.len()];
            let body = format!("{{\"id\":\"pm_1\",\"echo\":\"{spelling}\"}}");
            let named = if encoding == "zlib" { "deflate" } else { encoding };
            let mut bytes = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-encoding: {named}\r\n\
                 transfer-encoding: chunked\r\n\r\n"
            )
            .into_bytes();
            for byte in encoded(encoding, body.as_bytes()) {
                bytes.extend(chunk(&[byte]));
            }
            bytes.extend_from_slice(b"0\r\n\r\n");
            world.psp.then(Then::Answer(bytes));
            let reply = world.create_usual().await;
            let what = format!("{status} {encoding} {spelling}: {}", reply.text());
            assert!(status.starts_with(&reply.status.to_string()), "{what}");
            // What is encoded beside the number keeps a character of its own.
            let echo = reply.json()["echo"].as_str().unwrap().to_owned();
            let left = echo.replacen(TOKEN, "", 1);
            assert!(echo.contains(TOKEN) && left.len() <= 12 && !left.contains("MjQy"), "{what}");
            assert_eq!((reply.header("content-encoding"), reply.header("transfer-encoding")), (None, None));
            assert_eq!(reply.header("content-length"), Some(reply.body.len().to_string().as_str()));
        }
    }
}

#[tokio::test]
async fn an_echo_in_utf_16_is_gone() {
    let world = World::usual().await;
    for spelling in spellings() {
        for order in [u16::to_le_bytes, u16::to_be_bytes] {
            let text = format!("\u{feff}<answer><echo>{spelling}</echo></answer>");
            let body: Vec<u8> = text.encode_utf16().flat_map(order).collect();
            let answer = raw("402 Payment Required", "content-type: text/xml; charset=utf-16\r\n", &body);
            world.psp.then(Then::Answer(answer));
            let reply = world.create_usual().await;
            let shown = reply.text().replace('\0', "");
            assert!(shown.contains(TOKEN) && !shown.contains(&spelling), "{spelling}: {shown}");
        }
    }
}

/// As its bytes, since no HTTP library shows all of them.
async fn answered(world: &World, answer: Vec<u8>) -> String {
    world.psp.then(Then::Answer(answer));
    let mut stream = world.raw().await;
    let headers = "host: proxy.test\r\nconnection: close\r\n";
    let request = post("/psp/v1/payment_methods", headers, &usual_form());
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut received = Vec::new();
    let _ = stream.read_to_end(&mut received).await;
    String::from_utf8(received).unwrap()
}

#[tokio::test]
async fn nothing_beside_the_body_brings_the_number_back() {
    let world = World::usual().await;
    for (answer, kept) in [
        // A reason phrase, a header's name, an early hint, an extension of a chunk, a trailer.
        (format!("HTTP/1.1 402 {NUMBER}\r\ncontent-length: 2\r\n\r\n{{}}"), "HTTP/1.1 402 "),
        (format!("HTTP/1.1 200 OK\r\nx-{NUMBER}: 1\r\ncontent-length: 2\r\n\r\n{{}}"), "HTTP/1.1 200 OK"),
        (
            format!(
                "HTTP/1.1 103 Early Hints\r\nlink: </{NUMBER}>\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{{}}"
            ),
            "HTTP/1.1 200 OK",
        ),
        (format!("{HEAD}2;echo={NUMBER}\r\n{{}}\r\n0\r\n\r\n"), "HTTP/1.1 200 OK"),
        (format!("{HEAD}2\r\n{{}}\r\n0\r\nx-echo: {NUMBER}\r\n\r\n"), "HTTP/1.1 200 OK"),
    ] {
        let received = answered(&world, answer.clone().into_bytes()).await;
        assert!(received.starts_with(kept) && received.ends_with("\r\n\r\n{}"), "{answer}: {received}");
        assert!(!received.contains(NUMBER), "{answer}: {received}");
        assert!(received.contains("\r\ncontent-length: 2\r\n"), "{answer}: {received}");
    }
}

#[tokio::test]
async fn an_answer_comes_as_the_sdk_expects_it() {
    let world = World::usual().await;
    let headers = "Content-Type: application/json\r\nX-First: 1\r\nSet-Cookie: a=1\r\nX-Last: \"Quoted, As-Is\"\r\n\
                   Set-Cookie: b=2\r\nAlt-Svc: h3=\":443\"\r\nKeep-Alive: timeout=5\r\n";
    let answer = raw("200 OK", headers, "\u{feff}{\"resultCode\":\"Ok\"}".as_bytes());
    let received = answered(&world, answer).await;
    let (head, body) = received.split_once("\r\n\r\n").unwrap();
    // The byte order mark stays: Authorize.Net's own client expects it.
    assert_eq!(body, "\u{feff}{\"resultCode\":\"Ok\"}");
    assert!(head.contains(&format!("\r\ncontent-length: {}\r\n", body.len())), "{head}");
    for line in ["content-type: application/json", "x-first: 1", "x-last: \"Quoted, As-Is\""] {
        assert!(head.contains(&format!("\r\n{line}\r\n")), "{line}: {head}");
    }
    // Lines of one name keep their order (RFC 9110 §5.3); names are any case to every client.
    let cookies: Vec<_> = head.lines().filter(|line| line.starts_with("set-cookie: ")).collect();
    assert_eq!(cookies, ["set-cookie: a=1", "set-cookie: b=2"], "{head}");
    for absent in ["alt-svc", "keep-alive", "content-encoding", "transfer-encoding"] {
        assert!(!head.to_ascii_lowercase().contains(&format!("\r\n{absent}:")), "{absent}: {head}");
    }
}
