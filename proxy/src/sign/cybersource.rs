//! CyberSource: its HTTP signature (after draft-cavage-http-signatures) and its JWT, whichever the message carries.
//!
//! Promises: the signature covers what the caller's list names, host, target, merchant and body always among it; of a
//! JWT the claims stay byte for byte but for the digest, and those that name host, method and path are this request's.

mod claims;

use aws_lc_rs::signature::RSA_PKCS1_SHA256;
use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderMap, HeaderValue, Method};
use strongroom_domain::Timestamp;

pub(super) use claims::Claims;

use super::{Kind, Message, SignError, Signer, SigningKey, header};
use crate::credential;

const SIGNATURE: &str = "signature";
const MERCHANT: &str = "v-c-merchant-id";
/// Most headers a signature covers. CyberSource's own clients cover five.
const COVERED_MAX: usize = 16;

/// What is asked for, to hold the caller's claims to.
pub(super) struct Asked<'a> {
    pub(super) method: &'a Method,
    pub(super) target: &'a str,
    pub(super) has_body: bool,
}

/// Reads the caller's signature or JWT; without either, what CyberSource's own clients cover.
pub(super) fn prepare(signer: &Signer, asked: &Asked<'_>, headers: &HeaderMap) -> Result<Kind, SignError> {
    let token = match optional(headers, AUTHORIZATION.as_str())? {
        Some(value)
            if !credential::is_placeholder(
                &HeaderValue::from_str(value).map_err(|_| SignError::Foreign)?,
            ) =>
        {
            let (scheme, token) = value.split_once(' ').ok_or(SignError::Foreign)?;
            Some(token.trim())
                .filter(|_| scheme.eq_ignore_ascii_case("bearer"))
                .ok_or(SignError::Foreign)?
                .into()
        }
        _ => None::<&str>,
    };
    let signature = optional(headers, SIGNATURE)?;
    match (token, signature) {
        (Some(_), Some(_)) => {
            Err(SignError::Unreadable("the request carries a signature and a token; send one"))
        }
        (Some(token), None) => {
            let host = header(headers, HOST.as_str())?;
            claims::read(signer, asked, host, token).map(Kind::Claims)
        }
        (None, given) => {
            if !matches!(signer.key, SigningKey::Shared { .. }) {
                return Err(SignError::Unreadable(
                    "the account signs tokens: configure the client for JWT with a key of its own",
                ));
            }
            let names = match given {
                Some(given) => covered(signer, given, asked.has_body)?,
                None => usual(asked.has_body),
            };
            Ok(Kind::Covered(names))
        }
    }
}

/// Refuses a request without a header that is covered.
pub(super) fn check(names: &[String], headers: &HeaderMap) -> Result<(), SignError> {
    names.iter().filter(|name| !is_made(name, headers)).try_for_each(|name| header(headers, name).map(drop))
}

/// What stands in the string without being a header of the message, or is set here: the date only if there is none.
fn is_made(name: &str, headers: &HeaderMap) -> bool {
    match name {
        "request-target" | "(request-target)" | "digest" => true,
        "date" => !headers.contains_key(name),
        _ => false,
    }
}

fn usual(has_body: bool) -> Vec<String> {
    let digest = has_body.then_some("digest");
    ["host", "date", "request-target"]
        .into_iter()
        .chain(digest)
        .chain([MERCHANT])
        .map(str::to_owned)
        .collect()
}

/// `keyid="…", algorithm="HmacSHA256", headers="host date …", signature="…"`.
fn covered(signer: &Signer, given: &str, has_body: bool) -> Result<Vec<String>, SignError> {
    const UNREADABLE: SignError =
        SignError::Unreadable("the signature header cannot be read; nothing was sent");
    let (mut names, mut key_id, mut algorithm) = (None, None, None);
    for parameter in given.split(',') {
        let (name, value) = parameter.split_once('=').ok_or(UNREADABLE)?;
        let value =
            value.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or(UNREADABLE)?;
        let place = match name.trim() {
            "keyid" => &mut key_id,
            "algorithm" => &mut algorithm,
            "headers" => &mut names,
            "signature" => continue,
            _ => return Err(UNREADABLE),
        };
        if place.replace(value).is_some() {
            return Err(UNREADABLE);
        }
    }
    if !algorithm.is_none_or(|name| name.eq_ignore_ascii_case("HmacSHA256")) {
        return Err(UNREADABLE);
    }
    if !key_id.is_none_or(|id| signer.is_own(id)) {
        return Err(SignError::Foreign);
    }
    let names: Vec<_> = names.ok_or(UNREADABLE)?.split(' ').map(str::to_ascii_lowercase).collect();
    let has = |wanted: &[&str]| names.iter().filter(|name| wanted.contains(&name.as_str())).count() == 1;
    let complete = has(&["host"])
        && has(&["request-target", "(request-target)"])
        && has(&[MERCHANT])
        && has(&["date", "v-c-date"])
        && (!has_body || has(&["digest"]));
    if complete && names.len() <= COVERED_MAX {
        Ok(names)
    } else {
        Err(SignError::Unreadable(
            "the signature does not cover host, date, request-target, digest and merchant",
        ))
    }
}

pub(super) fn sign(
    signer: &Signer,
    names: &[String],
    message: &mut Message<'_>,
    now: Timestamp,
) -> Result<(), SignError> {
    let SigningKey::Shared { key, .. } = &signer.key else { return Err(SignError::Failed) };
    let string = string(names, message, now)?;
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), string.as_bytes());
    let value = format!(
        "keyid=\"{}\", algorithm=\"HmacSHA256\", headers=\"{}\", signature=\"{}\"",
        signer.key_id()?,
        names.join(" "),
        BASE64_STANDARD.encode(tag)
    );
    message.set(SIGNATURE, &value)
}

/// What [`sign`] signs. Sets the digest, and the date if there is none.
pub(super) fn string(
    names: &[String],
    message: &mut Message<'_>,
    now: Timestamp,
) -> Result<String, SignError> {
    if names.iter().any(|name| name == "digest") {
        let digest = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, &message.body));
        message.set("digest", &format!("SHA-256={digest}"))?;
    }
    if !message.headers.contains_key("date") && names.iter().any(|name| name == "date") {
        message.set("date", &http_date(now))?;
    }
    let method = message.method.as_str().to_ascii_lowercase();
    let mut lines = Vec::with_capacity(names.len());
    for name in names {
        lines.push(match name.as_str() {
            "request-target" | "(request-target)" => format!("{name}: {method} {}", message.target),
            _ => format!("{name}: {}", header(message.headers, name)?),
        });
    }
    Ok(lines.join("\n"))
}

pub(super) fn sign_claims(
    signer: &Signer,
    claims: &Claims,
    message: &mut Message<'_>,
) -> Result<(), SignError> {
    let signed = signed_claims(claims, message);
    let signature = match &signer.key {
        SigningKey::Shared { key, .. } => {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), signed.as_bytes()).as_ref().to_vec()
        }
        key => super::message::rsa(key, &RSA_PKCS1_SHA256, signed.as_bytes())?,
    };
    message.set("authorization", &format!("Bearer {signed}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature)))
}

/// What [`sign_claims`] signs: the token but for its signature.
pub(super) fn signed_claims(claims: &Claims, message: &Message<'_>) -> String {
    let digest = BASE64_STANDARD.encode(digest::digest(&digest::SHA256, &message.body));
    format!(
        "{}.{}",
        BASE64_URL_SAFE_NO_PAD.encode(&claims.head),
        BASE64_URL_SAFE_NO_PAD.encode(claims.with_digest(&digest))
    )
}

/// The one value of a header, if there is any.
fn optional<'h>(headers: &'h HeaderMap, name: &str) -> Result<Option<&'h str>, SignError> {
    if headers.contains_key(name) { header(headers, name).map(Some) } else { Ok(None) }
}

/// RFC 9110 §5.6.7: `Sun, 06 Nov 1994 08:49:37 GMT`.
fn http_date(now: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = now.to_string();
    let days = usize::try_from(now.unix_seconds().div_euclid(86_400)).unwrap_or_default();
    let month = text[5..7].parse::<usize>().map_or("Jan", |month| MONTHS[(month + 11) % 12]);
    format!("{}, {} {month} {} {} GMT", DAYS[days % 7], &text[8..10], &text[..4], &text[11..19])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_http_writes_them() {
        for (seconds, text) in [
            (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
            (0, "Thu, 01 Jan 1970 00:00:00 GMT"),
            (1_618_884_475, "Tue, 20 Apr 2021 02:07:55 GMT"),
        ] {
            assert_eq!(http_date(Timestamp::from_unix_seconds(seconds)), text);
        }
    }
}
