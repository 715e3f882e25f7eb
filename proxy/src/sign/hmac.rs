//! HMAC over a declared string: Rapyd, dLocal, Fiserv and whoever else does it so.

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use strongroom_domain::route::{HashName, HmacSigning, Output, Part};
use zeroize::Zeroizing;

use super::{Message, SignError, Signer, SigningKey, header, minify};
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
    let SigningKey::Shared { key, .. } = &signer.key else { return Err(SignError::Failed) };
    if let Some(minified) = minified(declared, message.content_type(), &message.body) {
        message.body = Bytes::from_owner(minified);
    }
    let algorithm = match declared.hash {
        HashName::Sha256 => hmac::HMAC_SHA256,
        HashName::Sha384 => hmac::HMAC_SHA384,
        HashName::Sha512 => hmac::HMAC_SHA512,
    };
    // Part by part: no second copy of the body is made.
    let mut context = hmac::Context::with_key(&hmac::Key::new(algorithm, key));
    for part in &declared.parts {
        update(&mut context, part, signer, algorithm, message)?;
    }
    let tag = context.sign();
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

fn update(
    context: &mut hmac::Context,
    part: &Part,
    signer: &Signer,
    algorithm: hmac::Algorithm,
    message: &Message<'_>,
) -> Result<(), SignError> {
    let hashed = || digest::digest(algorithm.digest_algorithm(), &message.body);
    match part {
        Part::Method => context.update(message.method.as_str().as_bytes()),
        Part::MethodLower => context.update(message.method.as_str().to_ascii_lowercase().as_bytes()),
        Part::Path => context.update(message.path().as_bytes()),
        Part::Target => context.update(message.target.as_bytes()),
        Part::Host => context.update(message.host()?.as_bytes()),
        Part::Header(name) => context.update(header(message.headers, name)?.as_bytes()),
        Part::Body => context.update(&message.body),
        Part::BodyHashHex => context.update(hex::encode(hashed()).as_bytes()),
        Part::BodyHashBase64 => context.update(BASE64_STANDARD.encode(hashed()).as_bytes()),
        Part::Secret => match &signer.key {
            SigningKey::Shared { written, .. } => context.update(written.as_bytes()),
            SigningKey::Rsa(_) | SigningKey::Ecdsa(_) | SigningKey::Ed25519(_) => {
                return Err(SignError::Failed);
            }
        },
        Part::KeyId => context.update(signer.key_id()?.as_bytes()),
        Part::Text(text) => context.update(text.as_bytes()),
    }
    Ok(())
}
