//! Delivering an answer the way the card in the request demands: the faults that a proxy must survive.

use std::io::{self, Write};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use futures_util::StreamExt;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, LOCATION};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::Frame;
use strongroom_domain::Random;

use super::answer::{Reply, Seen};
use super::cards::Delivery;

/// How long half an answer gets to leave before the connection fails.
const HALF_SENT: Duration = Duration::from_millis(50);

pub(super) type Body = BoxBody<Bytes, io::Error>;

/// What happens at the socket.
pub(super) enum Delivered {
    /// An answer.
    Answer(Response<Body>),
    /// The connection is reset.
    Reset,
}

/// Makes of a reply what goes out.
pub(super) async fn deliver(reply: Reply, slow: Duration, random: &dyn Random) -> Delivered {
    let delivery = reply.delivery;
    let is_xml = reply.xml.is_some();
    let mark = if reply.marked { "\u{feff}" } else { "" };
    let plain = format!("{mark}{}", reply.xml.unwrap_or_else(|| reply.body.to_string())).into_bytes();
    let mut answer = Response::new(full(&[]));
    *answer.status_mut() = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let content_type = if is_xml { "application/xml; charset=utf-8" } else { "application/json" };
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    for (name, value) in reply.headers {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
    let seen = reply.seen.as_ref();
    match delivery {
        Delivery::Reset => return Delivered::Reset,
        Delivery::Plain => set_body(&mut answer, &plain),
        Delivery::Slow => {
            tokio::time::sleep(slow).await;
            set_body(&mut answer, &plain);
        }
        Delivery::Cut => cut_body(&mut answer, plain),
        Delivery::Redirect => {
            *answer.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            answer.headers_mut().insert(LOCATION, HeaderValue::from_static("/redirected"));
            set_body(&mut answer, b"{}");
        }
        Delivery::Garbage => set_body(&mut answer, &garbage(seen, random)),
        Delivery::Gzip => set_encoded(&mut answer, "gzip", gzip(&echoing(plain, seen, echoes))),
        Delivery::Deflate => set_encoded(&mut answer, "deflate", zlib(&echoing(plain, seen, echoes))),
        Delivery::Echo => {
            echo_headers(&mut answer, seen);
            set_body(&mut answer, &echoing(plain, seen, echoes));
        }
        Delivery::EchoWrapped => set_body(&mut answer, &echoing(plain, seen, wrapped_echoes)),
        Delivery::ServerError => {
            *answer.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
            let number = seen.map_or("", |seen| &seen.number);
            let body = format!(r#"{{"error":{{"type":"api_error","message":"cannot charge {number}"}}}}"#);
            set_body(&mut answer, body.as_bytes());
        }
    }
    Delivered::Answer(answer)
}

fn full(bytes: &[u8]) -> Body {
    Full::new(Bytes::copy_from_slice(bytes)).map_err(|never| match never {}).boxed()
}

fn set_body(answer: &mut Response<Body>, bytes: &[u8]) {
    *answer.body_mut() = full(bytes);
}

fn set_encoded(answer: &mut Response<Body>, coding: &'static str, bytes: io::Result<Vec<u8>>) {
    answer.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static(coding));
    set_body(answer, &bytes.unwrap_or_default());
}

/// Promises the whole length, sends half, then fails: the server closes the connection.
fn cut_body(answer: &mut Response<Body>, mut bytes: Vec<u8>) {
    answer.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(bytes.len()));
    bytes.truncate(bytes.len() / 2);
    let half = futures_util::stream::once(async { Ok(Frame::data(Bytes::from(bytes))) });
    let end = futures_util::stream::once(async {
        // Until the half is on its way: an error that follows at once takes it along.
        tokio::time::sleep(HALF_SENT).await;
        Err(io::Error::from(io::ErrorKind::ConnectionReset))
    });
    *answer.body_mut() = BodyExt::boxed(StreamBody::new(half.chain(end)));
}

fn garbage(seen: Option<&Seen>, random: &dyn Random) -> Vec<u8> {
    let mut bytes = vec![0_u8; 256];
    // Without randomness it is 256 zeros, which is no JSON either.
    let _filled = random.fill(&mut bytes).is_ok();
    bytes.splice(0..0, *b"{\"id\":<<<");
    bytes.extend_from_slice(seen.map_or(&[], |seen| seen.number.as_bytes()));
    bytes.extend_from_slice(b">>>");
    bytes
}

fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

fn zlib(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// The object with one more member, `echo`. Written as text: a serializer would undo the escapes.
fn echoing(mut object: Vec<u8>, seen: Option<&Seen>, write: fn(&Seen) -> String) -> Vec<u8> {
    if object.ends_with(b">\n") {
        return xml_echoing(object, seen);
    }
    if let Some(seen) = seen
        && object.pop() == Some(b'}')
    {
        object.extend_from_slice(b",\"echo\":");
        object.extend_from_slice(write(seen).as_bytes());
        object.push(b'}');
    }
    object
}

/// The document with one more element before its last end tag.
fn xml_echoing(mut document: Vec<u8>, seen: Option<&Seen>) -> Vec<u8> {
    let end = document.windows(2).rposition(|pair| pair == b"</");
    if let (Some(seen), Some(end)) = (seen, end) {
        let number = seen.number.as_str();
        let entities: String = number.bytes().map(|byte| format!("&#{byte};")).collect();
        let echo = format!(
            "<echo number=\"{number}\"><plain>{number}</plain><spaced>{}</spaced><entities>{entities}</entities>\
             <pieces>{}<![CDATA[{}]]><!-- -->{}</pieces><base64>{}</base64><cvv>{}</cvv></echo>\n",
            grouped(number, " "),
            &number[..4],
            &number[4..8],
            &number[8..],
            STANDARD.encode(number),
            seen.cvc.as_deref().unwrap_or_default(),
        );
        document.splice(end..end, echo.into_bytes());
    }
    document
}

fn echoes(seen: &Seen) -> String {
    let number = seen.number.as_str();
    let each = |write: fn(u8) -> String| number.bytes().map(write).collect::<String>();
    let members = [
        ("number", format!("\"{number}\"")),
        ("integer", number.to_owned()),
        ("spaced", format!("\"{}\"", grouped(number, " "))),
        ("dashed", format!("\"{}\"", grouped(number, "-"))),
        ("sentence", format!("\"the card {} was charged\"", grouped(number, " "))),
        ("escaped", format!("\"{}\"", each(|byte| format!("\\u{byte:04x}")))),
        ("percent", format!("\"number={}\"", each(|byte| format!("%{byte:02X}")))),
        ("entities", format!("\"{}\"", each(|byte| format!("&#{byte};")))),
        ("nested", format!("\"{{\\\"number\\\":\\\"{number}\\\"}}\"")),
        ("hex", format!("\"{}\"", hex::encode(number))),
        ("base64", format!("\"{}\"", STANDARD.encode(number))),
        ("cvc", seen.cvc.as_ref().map_or("null".to_owned(), |cvc| format!("\"{cvc}\""))),
    ];
    let members: Vec<String> = members.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// The number within a larger text that is then encoded, at each alignment of base64.
fn wrapped_echoes(seen: &Seen) -> String {
    let number = &seen.number;
    let base64 = |before: &str| STANDARD.encode(format!("{before}{number};"));
    let wide: Vec<u8> = number.encode_utf16().flat_map(u16::to_le_bytes).collect();
    format!(
        r#"{{"base64":["{}","{}","{}"],"utf16_hex":"{}","utf16_base64":"{}"}}"#,
        base64("pan="),
        base64("card="),
        base64("number="),
        hex::encode(&wide),
        STANDARD.encode(&wide),
    )
}

fn echo_headers(answer: &mut Response<Body>, seen: Option<&Seen>) {
    let Some(seen) = seen else { return };
    let number = &seen.number;
    for (name, value) in [
        ("x-echo-number", number.clone()),
        ("x-echo-spaced", grouped(number, " ")),
        ("x-echo-dashed", grouped(number, "-")),
        ("x-echo-hex", hex::encode(number)),
        ("x-echo-base64", STANDARD.encode(number)),
        ("x-echo-link", format!("https://psp.strongroom.test/cards?number={number}")),
    ] {
        if let Ok(value) = HeaderValue::from_str(&value) {
            answer.headers_mut().insert(HeaderName::from_static(name), value);
        }
    }
}

fn grouped(number: &str, separator: &str) -> String {
    let groups: Vec<_> = number.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
    groups.join(separator)
}
