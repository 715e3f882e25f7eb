//! HTTP message signatures (RFC 9421), the body covered by its digest (RFC 9530).

use std::fmt::Write as _;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RSA_PSS_SHA512, RsaEncoding};
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderMap, HeaderValue};
use strongroom_domain::Timestamp;
use strongroom_domain::route::{MessageAlgorithm, MessageSigning};

use super::{Canonical, Message, SignError, Signer, SigningKey};

/// Covered, but made here.
const MADE: [&str; 2] = ["content-digest", "content-length"];

/// Refuses a request without a header that is covered, or with one that cannot be.
pub(super) fn check(declared: &MessageSigning, headers: &HeaderMap) -> Result<(), SignError> {
    let given = |name: &&String| !name.starts_with('@') && !MADE.contains(&name.as_str());
    declared.components.iter().filter(given).try_for_each(|name| field(name, headers).map(drop))
}

pub(super) fn sign(
    signer: &Signer,
    declared: &MessageSigning,
    message: &mut Message<'_>,
    now: Timestamp,
) -> Result<(), SignError> {
    let (parameters, base) = prepare(signer, declared, message, now)?;
    let signature = BASE64_STANDARD.encode(raw(signer, declared.algorithm, base.as_bytes())?);
    let label = &declared.label;
    message.set("signature-input", &format!("{label}={parameters}"))?;
    message.set("signature", &format!("{label}=:{signature}:"))
}

/// What [`sign`] signs.
pub(super) fn canonical(
    signer: &Signer,
    declared: &MessageSigning,
    message: &mut Message<'_>,
    now: Timestamp,
) -> Result<Vec<Canonical>, SignError> {
    let (_, base) = prepare(signer, declared, message, now)?;
    Ok(vec![Canonical { name: "string", text: base.into_bytes() }])
}

/// Sets the body's digest; gives the parameters and the signature base.
fn prepare(
    signer: &Signer,
    declared: &MessageSigning,
    message: &mut Message<'_>,
    now: Timestamp,
) -> Result<(String, String), SignError> {
    let hash = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, &message.body));
    message.set("content-digest", &format!("sha-256=:{hash}:"))?;
    let parameters = parameters(declared, signer.key_id()?, now);
    let base = base(declared, message, &parameters)?;
    Ok((parameters, base))
}

/// `@signature-params` (§2.3): what is covered, when, under which key.
fn parameters(declared: &MessageSigning, key_id: &str, now: Timestamp) -> String {
    let names: Vec<_> = declared.components.iter().map(|name| format!("\"{name}\"")).collect();
    let mut text = format!("({});created={};keyid=\"{key_id}\"", names.join(" "), now.unix_seconds());
    if let Some(tag) = &declared.tag {
        // Writing to a String cannot fail.
        let _ = write!(text, ";tag=\"{tag}\"");
    }
    text
}

/// The signature base (§2.5).
fn base(declared: &MessageSigning, message: &Message<'_>, parameters: &str) -> Result<String, SignError> {
    let mut base = String::new();
    for name in &declared.components {
        // Writing to a String cannot fail.
        let _ = writeln!(base, "\"{name}\": {}", component(name, message)?);
    }
    let _ = write!(base, "\"@signature-params\": {parameters}");
    Ok(base)
}

fn component(name: &str, message: &Message<'_>) -> Result<String, SignError> {
    let host = message.host()?.to_ascii_lowercase();
    Ok(match name {
        "@method" => message.method.to_string(),
        "@authority" => host,
        "@scheme" => "https".to_owned(),
        "@target-uri" => format!("https://{host}{}", message.target),
        "@request-target" => message.target.to_owned(),
        "@path" => message.path().to_owned(),
        "@query" => format!("?{}", message.query().unwrap_or_default()),
        "content-length" => message.body.len().to_string(),
        _ => field(name, message.headers)?,
    })
}

/// The values of a header (§2.1).
fn field(name: &str, headers: &HeaderMap) -> Result<String, SignError> {
    let values = headers.get_all(name).iter().map(HeaderValue::to_str);
    let values = values.collect::<Result<Vec<_>, _>>().map_err(|_| SignError::Missing)?;
    if values.is_empty() {
        return Err(SignError::Missing);
    }
    Ok(values.iter().map(|value| value.trim()).collect::<Vec<_>>().join(", "))
}

fn raw(signer: &Signer, algorithm: MessageAlgorithm, base: &[u8]) -> Result<Vec<u8>, SignError> {
    match (algorithm, &signer.key) {
        (MessageAlgorithm::HmacSha256, SigningKey::Shared { key, .. }) => {
            Ok(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), base).as_ref().to_vec())
        }
        (MessageAlgorithm::RsaPssSha512, SigningKey::Rsa(_)) => rsa(&signer.key, &RSA_PSS_SHA512, base),
        (MessageAlgorithm::RsaV15Sha256, SigningKey::Rsa(_)) => rsa(&signer.key, &RSA_PKCS1_SHA256, base),
        (MessageAlgorithm::EcdsaP256Sha256 | MessageAlgorithm::EcdsaP384Sha384, SigningKey::Ecdsa(key)) => {
            Ok(key.sign(&SystemRandom::new(), base)?.as_ref().to_vec())
        }
        (MessageAlgorithm::Ed25519, SigningKey::Ed25519(key)) => Ok(key.sign(base).as_ref().to_vec()),
        _ => Err(SignError::Failed),
    }
}

/// An RSA signature.
pub(super) fn rsa(
    key: &SigningKey,
    encoding: &'static dyn RsaEncoding,
    data: &[u8],
) -> Result<Vec<u8>, SignError> {
    let SigningKey::Rsa(key) = key else { return Err(SignError::Failed) };
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(encoding, &SystemRandom::new(), data, &mut signature)?;
    Ok(signature)
}
