//! Any signature or token a caller sends to a route that signs: refused, or taken as a form and made anew with the account's
//! key over what leaves. Input: how to read it (a byte), then header lines, or a token's two parts parted by a line end.

#![no_main]

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Method};
use libfuzzer_sys::fuzz_target;
use strongroom_domain::Timestamp;
use strongroom_domain::route::Signing;
use strongroom_proxy::sign::{Message, Signer, SigningKey};
use strongroom_proxy_fuzz::header_lines;
use zeroize::Zeroizing;

const TARGET: &str = "/pts/v2/payments?a=1";

fuzz_target!(|input: &[u8]| {
    let Some((how, text)) = input.split_first() else { return };
    let mut headers = match how % 3 {
        0 | 1 => header_lines(text),
        _ => {
            let mut parts =
                text.splitn(2, |byte| *byte == b'\n').map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
            let (head, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let token = format!("Bearer {head}.{claims}.AAAA");
            HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(token).expect("base64"))])
        }
    };
    headers.insert(HOST, HeaderValue::from_static("apitest.psp.example"));
    cybersource(headers.clone());
    if how % 3 == 1 {
        aws(headers, std::str::from_utf8(text).unwrap_or_default());
    }
});

fn key() -> SigningKey {
    SigningKey::Shared { written: Zeroizing::new("k".repeat(32)), key: Zeroizing::new(vec![b'k'; 32]) }
}

fn cybersource(mut headers: HeaderMap) {
    let signer = Signer::new(Signing::CyberSource {}, Some("own-key".into()), key());
    let given: Vec<_> =
        ["signature", "authorization"].iter().map(|name| headers.get(*name).cloned()).collect();
    let Ok(form) = signer.prepare(&Method::POST, TARGET, &mut headers, true) else { return };
    assert!(!headers.contains_key("signature") && !headers.contains_key("digest"));
    let body = Bytes::from_static(b"{\"a\":1}");
    let path = TARGET.split('?').next().expect("a path");
    if signer.check(&form, &headers, path, &body).is_err() {
        return;
    }
    let mut message = Message { method: &Method::POST, target: TARGET, headers: &mut headers, body };
    signer
        .sign(&form, &mut message, Timestamp::from_unix_seconds(1_700_000_000))
        .expect("what is checked is signed");
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(made) = text("signature") {
        assert!(
            headers.get_all("signature").iter().count() == 1 && given[0] != headers.get("signature").cloned()
        );
        assert!(made.starts_with("keyid=\"own-key\", algorithm=\"HmacSHA256\", headers=\""));
        for covered in ["host", "digest", "v-c-merchant-id"] {
            assert!(made.split('"').nth(5).expect("names").split(' ').any(|name| name == covered), "{made}");
        }
        let digest = text("digest").and_then(|digest| digest.strip_prefix("SHA-256=")).expect("a digest");
        assert_eq!(BASE64_STANDARD.decode(digest).expect("base64").len(), 32);
        return;
    }
    let made = text("authorization").and_then(|value| value.strip_prefix("Bearer ")).expect("a token");
    let parts: Vec<_> = made.split('.').collect();
    assert_eq!(parts.len(), 3);
    assert!(parts[2] != "AAAA");
    // Another reader may find a number in it too long; what it does read says whose key this is, and of which body.
    let [head, claims] = [parts[0], parts[1]].map(|part| {
        serde_json::from_slice::<serde_json::Value>(&BASE64_URL_SAFE_NO_PAD.decode(part).expect("base64"))
            .ok()
    });
    assert!(head.is_none_or(|head| head["kid"] == "own-key" && head["alg"] == "HS256"));
    let Some(claims) = claims else { return };
    let digest = claims["digest"].as_str().expect("a digest");
    assert_eq!(BASE64_STANDARD.decode(digest).expect("base64").len(), 32);
}

/// The canonical request is made of any target: what is checked is signed, with the account's key, over the caller's headers.
fn aws(mut headers: HeaderMap, text: &str) {
    let target: String = text.chars().filter(|char| char.is_ascii_graphic() && *char != '#').collect();
    let target = format!("/{target}");
    let signing = Signing::AwsV4 { region: "eu-central-1".into(), service: "payments".into() };
    let signer = Signer::new(signing, Some("own-key".into()), key());
    let Ok(form) = signer.prepare(&Method::POST, &target, &mut headers, true) else { return };
    let body = Bytes::from_static(b"{}");
    let path = target.split('?').next().expect("a path");
    if signer.check(&form, &headers, path, &body).is_err() {
        return;
    }
    let mut message = Message { method: &Method::POST, target: &target, headers: &mut headers, body };
    let signed = signer.sign(&form, &mut message, Timestamp::from_unix_seconds(1_700_000_000));
    signed.expect("what is checked is signed");
    let mut made = headers.get_all(AUTHORIZATION).iter().map(|value| value.to_str().expect("text"));
    let (made, another) = (made.next().expect("a signature"), made.next());
    assert!(made.starts_with("AWS4-HMAC-SHA256 Credential=own-key/20231114/eu-central-1/payments/aws4_request, "));
    assert!(another.is_none() && made.contains("SignedHeaders=") && made.contains("host;"), "{made}");
}
