//! A hash over fields of the JSON body and the secret, written into the body: Nuvei's checksum.
//!
//! Promises: the fields are read as the body says them when it leaves; a request whose body has no place for the
//! checksum, or has it twice, is refused before anything is opened; only that string changes.
//! Does not promise: that it covers card data. What it covers is the PSP's choice, declared in the route.

use std::collections::BTreeMap;
use std::ops::Range;

use aws_lc_rs::digest;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use strongroom_domain::route::{ChecksumCall, ChecksumSigning, HashName, Output, Part};
use zeroize::Zeroizing;

use super::{Canonical, Message, SignError, Signer, SigningKey};
use crate::body::Malformed;
use crate::body::edit::{self, Edit};
use crate::body::json::{self, Event, Pointer, Reading};

const NO_PLACE: SignError = SignError::Unreadable(
    "the body has no string where the checksum goes, or has it twice; nothing was sent",
);
const NO_TEXT: SignError =
    SignError::Unreadable("a field the checksum covers is neither text nor a number; nothing was sent");

/// Refuses a body without a place for the checksum, or with a field that cannot be hashed.
pub(super) fn check(declared: &ChecksumSigning, path: &str, body: &[u8]) -> Result<(), SignError> {
    declared.call(path).map_or(Ok(()), |call| Fields::read(declared, call, body).map(drop))
}

pub(super) fn sign(
    signer: &Signer,
    declared: &ChecksumSigning,
    message: &mut Message<'_>,
) -> Result<(), SignError> {
    let Some(call) = declared.call(message.path()) else { return Ok(()) };
    let fields = Fields::read(declared, call, &message.body)?;
    let mut hash = digest::Context::new(match declared.hash {
        HashName::Sha256 => &digest::SHA256,
        HashName::Sha384 => &digest::SHA384,
        HashName::Sha512 => &digest::SHA512,
    });
    feed(signer, call, &fields, |part| hash.update(part))?;
    let digest = hash.finish();
    let text = match declared.output {
        Output::Hex => hex::encode(digest),
        Output::Base64 => BASE64_STANDARD.encode(digest),
        Output::Base64OfHex => BASE64_STANDARD.encode(hex::encode(digest)),
    };
    let edits = vec![Edit::new(fields.place, format!("\"{text}\""))];
    message.body = Bytes::from_owner(Zeroizing::new(edit::apply(&message.body, edits)));
    Ok(())
}

/// What is hashed, and the body with the hash in it, of a signer whose secret is nobody's.
pub(super) fn canonical(
    signer: &Signer,
    declared: &ChecksumSigning,
    message: &mut Message<'_>,
) -> Result<Vec<Canonical>, SignError> {
    let Some(call) = declared.call(message.path()) else { return Ok(Vec::new()) };
    let mut text = Vec::new();
    feed(signer, call, &Fields::read(declared, call, &message.body)?, |part| text.extend_from_slice(part))?;
    sign(signer, declared, message)?;
    Ok(vec![Canonical { name: "string", text }])
}

/// What is hashed, part by part.
fn feed(
    signer: &Signer,
    call: &ChecksumCall,
    fields: &Fields,
    mut sink: impl FnMut(&[u8]),
) -> Result<(), SignError> {
    let SigningKey::Shared { written, .. } = &signer.key else { return Err(SignError::Failed) };
    for part in &call.parts {
        match part {
            Part::Field(at) => sink(fields.said.get(at).map_or(&[][..], |text| text.as_bytes())),
            Part::Secret => sink(written.as_bytes()),
            Part::Text(text) => sink(text.as_bytes()),
            _ => return Err(SignError::Failed),
        }
    }
    Ok(())
}

/// What the covered fields say, and where the checksum stands.
struct Fields {
    said: BTreeMap<String, Zeroizing<String>>,
    place: Range<usize>,
}

impl Fields {
    fn read(declared: &ChecksumSigning, call: &ChecksumCall, body: &[u8]) -> Result<Self, SignError> {
        let covered: Vec<(&String, Pointer)> = call
            .parts
            .iter()
            .filter_map(|part| match part {
                Part::Field(at) => Pointer::parse(at).map(|pointer| (at, pointer)),
                _ => None,
            })
            .collect();
        let home = Pointer::parse(&declared.field).ok_or(SignError::Failed)?;
        let (mut said, mut place, mut like, mut wrong) = (BTreeMap::new(), None, 0, false);
        let scanned = json::scan(body, Reading::Strict, |path, event| {
            if matches!(event, Event::Key(_)) {
                return Ok(());
            }
            if home.is_like(path) {
                like += 1;
            }
            let at = covered.iter().find(|(_, pointer)| pointer.is(path)).map(|(at, _)| (*at).clone());
            match (event, at) {
                (Event::String(text), None) if home.is(path) => place = Some(text.span()),
                (Event::String(text), Some(at)) => {
                    said.insert(at, Zeroizing::new(text.decoded().into_owned()));
                }
                (Event::Number(span), Some(at)) => {
                    let digits = String::from_utf8_lossy(&body[span]).into_owned();
                    said.insert(at, Zeroizing::new(digits));
                }
                (Event::Other, Some(_)) => wrong = true,
                _ => {}
            }
            Ok::<(), Malformed>(())
        });
        scanned.map_err(|_| NO_PLACE)?;
        if wrong {
            return Err(NO_TEXT);
        }
        let place = place.filter(|_| like == 1).ok_or(NO_PLACE)?;
        Ok(Self { said, place })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared() -> ChecksumSigning {
        ChecksumSigning {
            hash: HashName::Sha256,
            secret: strongroom_domain::route::SecretEncoding::Text,
            field: "/checksum".into(),
            output: Output::Hex,
            calls: vec![ChecksumCall {
                paths: ["/pay".to_owned()].into(),
                parts: ["field:/amount", "field:/urls/back", "field:/none", "text:;", "secret"]
                    .map(|part| Part::try_from(part.to_owned()).unwrap())
                    .into(),
            }],
        }
    }

    fn sign_at(path: &str, body: &str) -> Result<String, SignError> {
        let declared = declared();
        check(&declared, path, body.as_bytes())?;
        let written = Zeroizing::new("a secret of this test".to_owned());
        let key = SigningKey::shared(declared.secret, written).unwrap();
        let signer = Signer::new(strongroom_domain::route::Signing::Checksum(declared.clone()), None, key);
        let (method, mut headers) = (http::Method::POST, http::HeaderMap::new());
        let body = Bytes::copy_from_slice(body.as_bytes());
        let mut message = Message { method: &method, target: path, headers: &mut headers, body };
        sign(&signer, &declared, &mut message)?;
        Ok(String::from_utf8(message.body.to_vec()).unwrap())
    }

    #[test]
    fn the_checksum_is_over_what_the_fields_say_and_nothing_else_changes() {
        for (amount, says) in
            [("\"10.5\"", "10.5"), ("10.50", "10.50"), ("\"1\\u0030.5\"", "10.5"), ("null", "")]
        {
            let expected = hex::encode(digest::digest(
                &digest::SHA256,
                format!("{says}https://a/b;a secret of this test").as_bytes(),
            ));
            let body = |checksum: &str| {
                format!(
                    "{{ \"amount\": {amount}, \"checksum\" : \"{checksum}\",\n\"urls\":{{\"back\":\"https:\\/\\/a/b\"}}}}"
                )
            };
            assert_eq!(sign_at("/pay", &body("of the caller's")), Ok(body(&expected)), "{amount}");
        }
        assert_eq!(sign_at("/status", "{}"), Ok("{}".to_owned()), "a call without a checksum");
    }

    #[test]
    fn a_body_without_a_place_for_it_is_refused() {
        for body in [
            r#"{"amount":"1"}"#,
            r#"{"amount":"1","checksum":1}"#,
            r#"{"amount":"1","checksum":"a","Checksum":"b"}"#,
            r#"{"amount":"1","checksum":"a","checksum":"b"}"#,
            r#"{"amount":"1","more":{"checksum":"a"}}"#,
            r#"{"amount":["1"],"checksum":"a"}"#,
            r#"{"amount":true,"checksum":"a"}"#,
            "",
            "amount=1&checksum=a",
        ] {
            assert!(matches!(sign_at("/pay", body), Err(SignError::Unreadable(_))), "{body}");
        }
    }
}
