//! Known answers, made by the PSPs' own signers and others that are not ours (`tests/vectors/signatures.py`), and of RFC
//! 9421's appendix. What needs a random draw is verified by another program in `tests/it`.

use std::collections::BTreeMap;

use serde::Deserialize;
use strongroom_domain::Environment;
use strongroom_domain::route::{MessageAlgorithm, MessageSigning, Route, SecretEncoding};
use zeroize::Zeroizing;

use super::*;

#[derive(Deserialize)]
struct Vectors {
    secret: String,
    secret_base64: String,
    now: i64,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    name: String,
    method: String,
    target: String,
    came: BTreeMap<String, String>,
    sent: BTreeMap<String, String>,
    body_came: String,
    body_sent: String,
}

fn vectors() -> Vectors {
    serde_json::from_str(include_str!("../../tests/vectors/signatures.json")).unwrap()
}

/// How each of the vectors' PSPs is declared.
fn declared(name: &str) -> Signing {
    let sign = match name {
        "cybersource-http" | "cybersource-jwt" => "kind = \"cybersource\"",
        "aws" => "kind = \"aws-v4\"\nregion = \"eu-west-1\"\nservice = \"execute-api\"",
        "rapyd" => {
            "kind = \"hmac\"\noutput = \"base64-of-hex\"\nheader = \"signature\"\nminify = true\n\
             parts = [\"method-lower\", \"target\", \"header:salt\", \"header:timestamp\", \"header:access_key\", \
             \"secret\", \"body\"]"
        }
        "dlocal" => {
            "kind = \"hmac\"\noutput = \"hex\"\nheader = \"Authorization\"\n\
             prefix = \"V2-HMAC-SHA256, Signature: \"\nparts = [\"header:X-Login\", \"header:X-Date\", \"body\"]"
        }
        "fiserv" => {
            "kind = \"hmac\"\noutput = \"base64\"\nheader = \"Message-Signature\"\n\
             parts = [\"header:Api-Key\", \"header:Client-Request-Id\", \"header:Timestamp\", \"body\"]"
        }
        other => panic!("no declaration for {other}"),
    };
    let text = format!(
        "[route.psp]\nupstream = \"https://psp.example\"\n[route.psp.sign]\n{sign}\n\
         [[route.psp.pass]]\nmethod = \"GET\"\npath = \"/p\"\n"
    );
    Route::parse("psp", &text, Environment::Live).unwrap().signing.unwrap()
}

fn signer(name: &str) -> Signer {
    let Vectors { secret, secret_base64, .. } = vectors();
    let key = if name.starts_with("cybersource") {
        SigningKey::shared(SecretEncoding::Base64, Zeroizing::new(secret_base64))
    } else {
        SigningKey::shared(SecretEncoding::Text, Zeroizing::new(secret))
    };
    Signer::new(declared(name), Some("key-one".into()), key.unwrap())
}

fn header_map(headers: &BTreeMap<String, String>) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(HeaderName::try_from(name.as_str()).unwrap(), value.parse().unwrap());
    }
    map.entry(CONTENT_TYPE).or_insert(HeaderValue::from_static("application/json"));
    map.entry(HOST).or_insert(HeaderValue::from_static("psp.example"));
    map
}

impl Case {
    /// The body as it is when it is signed.
    fn body(&self) -> Bytes {
        if self.name == "rapyd" {
            // Card data goes in first, the rest of the body as it came.
            self.body_came.replace("tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv", "4111111111111111").into()
        } else {
            Bytes::from(self.body_sent.clone())
        }
    }

    /// What would be signed of what the caller sent.
    fn canonical(&self, signer: &Signer, headers: &mut HeaderMap) -> Result<Vec<Canonical>, SignError> {
        let method = self.method.parse().unwrap();
        let form = signer.prepare(&method, &self.target, headers, !self.body_came.is_empty())?;
        let mut message = Message { method: &method, target: &self.target, headers, body: self.body() };
        signer.canonical(&form, &mut message, Timestamp::from_unix_seconds(vectors().now))
    }

    /// Signs what the caller sent, the way a call does.
    fn run(&self, signer: &Signer, headers: &mut HeaderMap) -> Result<Bytes, SignError> {
        let method = self.method.parse().unwrap();
        let form = signer.prepare(&method, &self.target, headers, !self.body_came.is_empty())?;
        signer.check(&form, headers, &self.target, self.body_came.as_bytes())?;
        let body = self.body();
        let mut message = Message { method: &method, target: &self.target, headers, body };
        signer.sign(&form, &mut message, Timestamp::from_unix_seconds(vectors().now))?;
        Ok(message.body)
    }
}

#[test]
fn signatures_are_those_of_the_psps_own_signers() {
    for case in vectors().cases {
        let mut headers = header_map(&case.came);
        let body = case.run(&signer(&case.name), &mut headers).unwrap();
        assert_eq!(body, case.body_sent, "{}", case.name);
        let sent = header_map(&case.sent);
        assert_eq!(headers, sent, "{} {}", case.name, case.method);
    }
}

/// What is explained, signed by hand with the vectors' key, is what the vectors' signers sent.
#[test]
fn what_is_explained_is_what_is_signed() {
    use base64::Engine as _;
    use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
    let mac = |key: &[u8], text: &[u8]| {
        let key = aws_lc_rs::hmac::Key::new(aws_lc_rs::hmac::HMAC_SHA256, key);
        aws_lc_rs::hmac::sign(&key, text).as_ref().to_vec()
    };
    let Vectors { secret, secret_base64, cases, .. } = vectors();
    let decoded = BASE64_STANDARD.decode(secret_base64).unwrap();
    for case in cases {
        let mut headers = header_map(&case.came);
        let string = case.canonical(&signer(&case.name), &mut headers).unwrap().pop().unwrap();
        assert_eq!(string.name, "string");
        let (field, made) = match case.name.as_str() {
            "cybersource-http" => ("signature", BASE64_STANDARD.encode(mac(&decoded, &string.text))),
            "cybersource-jwt" => {
                ("authorization", BASE64_URL_SAFE_NO_PAD.encode(mac(&decoded, &string.text)))
            }
            "rapyd" => {
                ("signature", BASE64_STANDARD.encode(hex::encode(mac(secret.as_bytes(), &string.text))))
            }
            "dlocal" => ("authorization", hex::encode(mac(secret.as_bytes(), &string.text))),
            "fiserv" => ("message-signature", BASE64_STANDARD.encode(mac(secret.as_bytes(), &string.text))),
            "aws" => {
                let date = std::str::from_utf8(&string.text).unwrap().lines().nth(1).unwrap();
                let first = format!("AWS4{secret}").into_bytes();
                let steps = [&date[..8], "eu-west-1", "execute-api", "aws4_request"];
                let key = steps.iter().fold(first, |key, step| mac(&key, step.as_bytes()));
                ("authorization", hex::encode(mac(&key, &string.text)))
            }
            other => panic!("{other}"),
        };
        let sent = header_map(&case.sent);
        let sent = sent[field].to_str().unwrap();
        assert!(sent.contains(&made), "{}: {made} in {sent}", case.name);
        // Where a request is explained nobody's key is there: the same string, but for a secret that is part of it.
        let files = strongroom_domain::route::SigningKeyFiles {
            key_id: Some("key-one".into()),
            secret_file: Some("key".into()),
            private_key_file: None,
        };
        let nobody = Signer::new(declared(&case.name), files.key_id.clone(), SigningKey::stand_in(&files));
        let mut headers = header_map(&case.came);
        let shown = case.canonical(&nobody, &mut headers).unwrap().pop().unwrap();
        let text = String::from_utf8(string.text).unwrap();
        assert_eq!(String::from_utf8(shown.text).unwrap(), text.replace(&secret, "SECRET"), "{}", case.name);
    }
}

#[test]
fn what_a_caller_claims_of_another_key_or_call_is_refused() {
    let case = |name: &str| vectors().cases.into_iter().find(|case| case.name == name).unwrap();
    let http = case("cybersource-http");
    let signature = http.came["signature"].clone();
    for (from, to, error) in [
        ("keyid=\"strongroom\"", "keyid=\"another\"", "another key"),
        ("HmacSHA256", "HmacSHA1", "cannot be read"),
        (" digest", "", "cannot be read"),
        (" v-c-merchant-id", "", "cannot be read"),
        (" request-target", "", "cannot be read"),
        ("host date", "date", "cannot be read"),
        ("host date", "host x-missing date", "is missing"),
        ("host date", "host host date", "cannot be read"),
        ("algorithm", "surprise", "cannot be read"),
        ("keyid=\"strongroom\"", "keyid=\"strongroom\", keyid=\"key-one\"", "cannot be read"),
    ] {
        let mut headers = header_map(&http.came);
        headers.insert("signature", signature.replacen(from, to, 1).parse().unwrap());
        let refused = http.run(&signer("cybersource-http"), &mut headers).unwrap_err();
        assert!(refused.to_string().contains(error), "{from} → {to}: {refused}");
    }
    let jwt = case("cybersource-jwt");
    for (method, target, host) in [
        ("PUT", "/pts/v2/payments", "apitest.cybersource.com"),
        ("POST", "/pts/v2/refunds", "apitest.cybersource.com"),
        ("POST", "/pts/v2/payments", "api.cybersource.com"),
    ] {
        let mut headers = header_map(&jwt.came);
        headers.insert(HOST, host.parse().unwrap());
        let moved = Case { method: method.into(), target: target.into(), ..case("cybersource-jwt") };
        assert_eq!(moved.run(&signer("cybersource-jwt"), &mut headers).unwrap_err(), SignError::Foreign);
    }
    for token in ["Bearer a.b", "Bearer a.b.c.d", "Bearer e30.e30.e30", "Bearer !.!.!"] {
        let mut headers = header_map(&jwt.came);
        headers.insert("authorization", token.parse().unwrap());
        assert!(
            matches!(jwt.run(&signer("cybersource-jwt"), &mut headers), Err(SignError::Unreadable(_))),
            "{token}"
        );
    }
    let mut both = header_map(&jwt.came);
    both.insert("signature", signature.parse().unwrap());
    assert!(matches!(jwt.run(&signer("cybersource-jwt"), &mut both), Err(SignError::Unreadable(_))));
}

#[test]
fn a_request_without_a_signature_is_signed_as_the_psp_s_own_client_would() {
    let case = vectors().cases.into_iter().find(|case| case.name == "cybersource-http").unwrap();
    let mut headers = header_map(&case.came);
    for name in ["signature", "digest", "date"] {
        headers.remove(name);
    }
    headers.insert("authorization", "Bearer strongroom".parse().unwrap());
    case.run(&signer(&case.name), &mut headers).unwrap();
    assert_eq!(headers, header_map(&case.sent));
    headers.remove("v-c-merchant-id");
    assert_eq!(case.run(&signer(&case.name), &mut headers).unwrap_err(), SignError::Missing);
}

#[test]
fn a_covered_header_that_is_missing_or_doubled_is_refused() {
    for (name, header) in [("rapyd", "salt"), ("dlocal", "x-date"), ("fiserv", "client-request-id")] {
        let case = vectors().cases.into_iter().find(|case| case.name == name).unwrap();
        let mut headers = header_map(&case.came);
        headers.append(HeaderName::from_static(header), "second".parse().unwrap());
        assert_eq!(case.run(&signer(name), &mut headers).unwrap_err(), SignError::Missing, "{name}");
        headers.remove(header);
        assert_eq!(case.run(&signer(name), &mut headers).unwrap_err(), SignError::Missing, "{name}");
    }
}

/// Found by fuzzing: a header was there, but could not be covered, and that was seen only when the forward was open.
#[test]
fn a_covered_header_no_signature_can_cover_is_refused_before_anything_is_opened() {
    let shared = || SigningKey::shared(SecretEncoding::Text, Zeroizing::new("s".repeat(32))).unwrap();
    let message = covering(MessageAlgorithm::HmacSha256, "sig1", &["x-note", "content-digest"]);
    let odd = HeaderValue::from_bytes(b"\xa6").unwrap();
    for (signer, header, twice) in [
        (signer("cybersource-http"), "date", true),
        (signer("aws"), "x-amz-note", false),
        (Signer::new(Signing::MessageSignature(message), Some("k".into()), shared()), "x-note", false),
    ] {
        let name = HeaderName::from_static(header);
        let mut headers = rfc_9421_request();
        headers.insert("v-c-merchant-id", "m".parse().unwrap());
        headers.insert(&name, "a".parse().unwrap());
        let form = signer.prepare(&Method::POST, "/p", &mut headers, true).unwrap();
        signer.check(&form, &headers, "/", b"").unwrap();
        headers.append(&name, "b".parse().unwrap());
        assert_eq!(signer.check(&form, &headers, "/", b"").is_err(), twice, "{header}");
        headers.insert(&name, odd.clone());
        assert_eq!(signer.check(&form, &headers, "/", b"").unwrap_err(), SignError::Missing, "{header}");
    }
}

/// RFC 9421, appendix B.2: its request.
fn rfc_9421_request() -> HeaderMap {
    header_map(&BTreeMap::from(
        [
            ("host", "example.com"),
            ("date", "Tue, 20 Apr 2021 02:07:55 GMT"),
            ("content-type", "application/json"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned())),
    ))
}

fn rfc_9421(declared: MessageSigning, key_id: &str, key: SigningKey) -> HeaderMap {
    let signer = Signer::new(Signing::MessageSignature(declared), Some(key_id.into()), key);
    let (method, target) = (Method::POST, "/foo?param=Value&Pet=dog");
    let mut headers = rfc_9421_request();
    let form = signer.prepare(&method, target, &mut headers, true).unwrap();
    let body = Bytes::from_static(br#"{"hello": "world"}"#);
    let mut message = Message { method: &method, target, headers: &mut headers, body };
    signer.sign(&form, &mut message, Timestamp::from_unix_seconds(1_618_884_473)).unwrap();
    headers
}

fn covering(algorithm: MessageAlgorithm, label: &str, components: &[&str]) -> MessageSigning {
    MessageSigning {
        algorithm,
        components: components.iter().map(|name| (*name).to_owned()).collect(),
        secret: SecretEncoding::Base64,
        label: label.into(),
        tag: None,
    }
}

#[test]
fn rfc_9421_b_2_5_hmac_sha256() {
    // Its test-shared-secret.
    let secret = "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
    let key = SigningKey::shared(SecretEncoding::Base64, Zeroizing::new(secret.into())).unwrap();
    let declared = covering(MessageAlgorithm::HmacSha256, "sig-b25", &["date", "@authority", "content-type"]);
    let headers = rfc_9421(declared, "test-shared-secret", key);
    assert_eq!(
        headers["signature-input"],
        "sig-b25=(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\""
    );
    assert_eq!(headers["signature"], "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:");
}

#[test]
fn rfc_9421_b_2_6_ed25519() {
    // Its test-key-ed25519, as the seed in it.
    let seed = "9f8362f87a484a954e6e740c5b4c0e84229139a20aa8ab56ff66586f6a7d29c5";
    let pkcs8 =
        [hex::decode("302e020100300506032b657004220420").unwrap(), hex::decode(seed).unwrap()].concat();
    let key = aws_lc_rs::signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&pkcs8).unwrap();
    let components = ["date", "@method", "@path", "@authority", "content-type", "content-length"];
    let declared = covering(MessageAlgorithm::Ed25519, "sig-b26", &components);
    let headers = rfc_9421(declared, "test-key-ed25519", SigningKey::Ed25519(Box::new(key)));
    assert_eq!(
        headers["signature"],
        "sig-b26=:wqcAqbmYJ2ji2glfAMaRy4gruYYnx2nEFN2HN6jrnDnQCK1u02Gb04v9EDgwUPiu4A0w6vuQv5lIp5WPpBKRCw==:"
    );
}

#[test]
fn no_debug_and_no_error_shows_a_key() {
    let Vectors { secret, .. } = vectors();
    let shown = format!("{:?} {:?}", signer("rapyd"), signer("rapyd").key);
    assert!(!shown.contains(&secret) && shown.contains("key-one") && shown.contains("Shared(..)"), "{shown}");
    let short = SigningKey::shared(SecretEncoding::Text, Zeroizing::new("too-short".into())).unwrap_err();
    assert!(!short.contains("too-short"));
    let wrong = SigningKey::private(&declared("cybersource-jwt"), secret.as_bytes()).unwrap_err();
    assert!(wrong.contains("openssl pkcs12") && !wrong.contains(&secret));
    let case = vectors().cases.into_iter().next().unwrap();
    let mut headers = header_map(&case.came);
    case.run(&signer(&case.name), &mut headers).unwrap();
    assert!(headers["signature"].is_sensitive());
}

proptest::proptest! {
    #[test]
    fn whatever_a_caller_signs_with_is_read_or_refused(
        token in "Bearer [A-Za-z0-9_.-]{0,80}|\\PC{0,40}",
        signature in "(keyid|headers|algorithm|signature)=\"[ -~]{0,30}\"(, [ -~]{0,30})?|[ -~]{0,60}",
        claims in "[ -~]{0,80}",
    ) {
        let case = vectors().cases.into_iter().find(|case| case.name == "cybersource-jwt").unwrap();
        let encode = |text: &str| base64::Engine::encode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, text);
        let made = format!("Bearer {}.{}.AAAA", encode(r#"{"kid":"key-one","alg":"HS256"}"#), encode(&claims));
        for (name, value) in [("authorization", &token), ("authorization", &made), ("signature", &signature)] {
            let mut headers = header_map(&case.came);
            headers.remove("authorization");
            let Ok(value) = HeaderValue::from_str(value) else { continue };
            headers.insert(HeaderName::from_static(name), value.clone());
            if case.run(&signer("cybersource-jwt"), &mut headers).is_ok() {
                proptest::prop_assert_ne!(headers.get(name), Some(&value), "nothing of the caller's leaves");
            }
        }
    }
}
