//! HMAC over a declared string: Rapyd, dLocal, Fiserv and whoever else does it so.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use strongroom_domain::route::{HashName, HmacSigning, Output, Part};
use zeroize::Zeroizing;

use super::{Canonical, Message, SignError, Signer, SigningKey, header, minify};
use crate::fields;

/// Refuses a request without a header that is covered.
pub(super) fn check(declared: &HmacSigning, headers: &HeaderMap) -> Result<(), SignError> {
    declared.parts.iter().try_for_each(|part| match part {
        Part::Header(name) => header(headers, name).map(drop),
        _ => Ok(()),
    })
}

/// What a body leaves as, if that is not as it came.
pub(super) fn minified(
    declared: &HmacSigning,
    content_type: Option<&str>,
    body: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let is_json = content_type.is_some_and(|kind| fields::is_json(&fields::essence(kind)));
    (declared.minify && is_json).then(|| minify::json(body))
}

pub(super) fn sign(
    signer: &Signer,
    declared: &HmacSigning,
    message: &mut Message<'_>,
) -> Result<(), SignError> {
    minify_body(declared, message);
    let tag = tag(signer, declared, message)?;
    let written = match declared.output {
        Output::Hex => hex::encode(tag),
        Output::Base64 => BASE64_STANDARD.encode(tag),
        Output::Base64OfHex => BASE64_STANDARD.encode(hex::encode(tag)),
    };
    let value = HeaderValue::try_from(format!("{}{written}", declared.prefix));
    let mut value = value.map_err(|_| SignError::Failed)?;
    value.set_sensitive(true);
    let name = HeaderName::try_from(declared.header.as_str()).map_err(|_| SignError::Failed)?;
    message.headers.insert(name, value);
    Ok(())
}

/// The result itself: what is written into a header, or what a sender's must be.
pub(super) fn tag(
    signer: &Signer,
    declared: &HmacSigning,
    message: &Message<'_>,
) -> Result<hmac::Tag, SignError> {
    let SigningKey::Shared { key, .. } = &signer.key else { return Err(SignError::Failed) };
    let algorithm = algorithm(declared);
    // Part by part: no second copy of the body is made.
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    for part in &declared.parts {
        feed(part, signer, algorithm, message, &mut |bytes| context.update(bytes))?;
    }
    Ok(context.sign())
}

/// What [`sign`] signs.
pub(super) fn canonical(
    signer: &Signer,
    declared: &HmacSigning,
    message: &mut Message<'_>,
) -> Result<Vec<Canonical>, SignError> {
    minify_body(declared, message);
    let mut text = Vec::new();
    for part in &declared.parts {
        feed(part, signer, algorithm(declared), message, &mut |bytes| text.extend_from_slice(bytes))?;
    }
    Ok(vec![Canonical { name: "string", text }])
}

fn minify_body(declared: &HmacSigning, message: &mut Message<'_>) {
    if let Some(minified) = minified(declared, message.content_type(), &message.body) {
        message.body = Bytes::from_owner(minified);
    }
}

fn algorithm(declared: &HmacSigning) -> hmac::Algorithm {
    match declared.hash {
        HashName::Sha256 => hmac::HMAC_SHA256,
        HashName::Sha384 => hmac::HMAC_SHA384,
        HashName::Sha512 => hmac::HMAC_SHA512,
    }
}

fn feed(
    part: &Part,
    signer: &Signer,
    algorithm: hmac::Algorithm,
    message: &Message<'_>,
    sink: &mut dyn FnMut(&[u8]),
) -> Result<(), SignError> {
    let hashed = || digest::digest(algorithm.digest_algorithm(), &message.body);
    match part {
        Part::Method => sink(message.method.as_str().as_bytes()),
        Part::MethodLower => sink(message.method.as_str().to_ascii_lowercase().as_bytes()),
        Part::Path => sink(message.path().as_bytes()),
        Part::Target => sink(message.target.as_bytes()),
        Part::Host => sink(message.host()?.as_bytes()),
        Part::Header(name) => sink(header(message.headers, name)?.as_bytes()),
        Part::Body => sink(&message.body),
        Part::BodyHashHex => sink(hex::encode(hashed()).as_bytes()),
        Part::BodyHashBase64 => sink(BASE64_STANDARD.encode(hashed()).as_bytes()),
        Part::Secret => match &signer.key {
            SigningKey::Shared { written, .. } => sink(written.as_bytes()),
            SigningKey::Rsa(_) | SigningKey::Ecdsa(_) | SigningKey::Ed25519(_) | SigningKey::StandIn => {
                return Err(SignError::Failed);
            }
        },
        Part::KeyId => sink(signer.key_id()?.as_bytes()),
        Part::Text(text) => sink(text.as_bytes()),
        // A declaration with one is refused.
        Part::Field(_) => return Err(SignError::Failed),
    }
    Ok(())
}
