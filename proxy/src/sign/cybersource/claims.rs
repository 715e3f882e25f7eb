//! The claims of a caller's JWT: kept as they are, but for the digest of the body.

use std::collections::BTreeMap;
use std::ops::Range;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::Asked;
use crate::body::Malformed;
use crate::body::edit::{self, Edit};
use crate::body::json::{self, Event, Reading};
use crate::sign::{SignError, Signer, SigningKey};

/// Longest token read. CyberSource's own are under 1 KiB.
const TOKEN_BYTES_MAX: usize = 8 * 1024;

const UNREADABLE: SignError = SignError::Unreadable("the bearer token cannot be read; nothing was sent");

/// The claims of a JWT.
#[derive(Debug)]
pub(in crate::sign) struct Claims {
    /// The token's header, under the account's key id.
    pub(super) head: Vec<u8>,
    text: Vec<u8>,
    /// Where the digest stands, with its quotes.
    digest: Option<Range<usize>>,
    strings: BTreeMap<String, String>,
}

impl Claims {
    /// A claim that is a string.
    pub(in crate::sign) fn text(&self, name: &str) -> Option<&str> {
        self.strings.get(name).map(String::as_str)
    }

    pub(super) fn with_digest(&self, digest: &str) -> Vec<u8> {
        let edits = self.digest.iter().map(|span| Edit::new(span.clone(), format!("\"{digest}\"")));
        edit::apply(&self.text, edits.collect())
    }
}

pub(super) fn read(signer: &Signer, asked: &Asked<'_>, host: &str, token: &str) -> Result<Claims, SignError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(UNREADABLE);
    }
    let mut parts = token.split('.');
    let (Some(head), Some(claims), Some(_), None) = (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(UNREADABLE);
    };
    let head = head_of(signer, decode(head)?)?;
    let text = decode(claims)?;
    let (strings, spans) = members(&text)?;
    let digest = spans.get("digest").cloned();
    let claims = Claims { head, text, digest, strings };
    let own_host = host.split_once(':').map_or(host, |(name, _)| name);
    let path = asked.target.split_once('?').map_or(asked.target, |(path, _)| path);
    // A claim that is left out says nothing wrong.
    let is = |name: &str, wanted: &[&str]| {
        claims.text(name).is_none_or(|text| wanted.iter().any(|wanted| text.eq_ignore_ascii_case(wanted)))
    };
    let fits = is("request-host", &[host, own_host])
        && is("request-method", &[asked.method.as_str()])
        && claims.text("request-resource-path").is_none_or(|text| text == asked.target || text == path)
        && is("digest-algorithm", &["SHA-256"])
        && is("digestAlgorithm", &["SHA-256"]);
    if !fits {
        return Err(SignError::Foreign);
    }
    if asked.has_body && claims.digest.is_none() {
        return Err(SignError::Unreadable("the bearer token has no digest of the body; nothing was sent"));
    }
    Ok(claims)
}

fn decode(part: &str) -> Result<Vec<u8>, SignError> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| UNREADABLE)
}

/// The header as it came, but for a key id that is left to us. It must name an algorithm the account's key can do.
fn head_of(signer: &Signer, head: Vec<u8>) -> Result<Vec<u8>, SignError> {
    let (strings, spans) = members(&head)?;
    match (strings.get("alg").map(String::as_str), &signer.key) {
        (Some("HS256"), SigningKey::Shared { .. }) | (Some("RS256"), SigningKey::Rsa(_)) => {}
        _ => {
            return Err(SignError::Unreadable(
                "the bearer token is signed another way than the account's key signs; nothing was sent",
            ));
        }
    }
    match (strings.get("kid"), spans.get("kid")) {
        (Some(id), Some(span)) if signer.is_own(id) => {
            let own = Edit::new(span.clone(), format!("\"{}\"", signer.key_id()?));
            Ok(edit::apply(&head, vec![own]))
        }
        _ => Err(SignError::Foreign),
    }
}

type Members = (BTreeMap<String, String>, BTreeMap<String, Range<usize>>);

/// The members of a flat JSON object that are strings, and where each stands with its quotes.
fn members(text: &[u8]) -> Result<Members, SignError> {
    let (mut strings, mut spans) = (BTreeMap::new(), BTreeMap::new());
    let scanned = json::scan(text, Reading::Strict, |path, event| {
        if let (Event::String(value), 1, Some(name)) = (event, path.depth(), path.name()) {
            spans.insert(name.to_owned(), value.span());
            strings.insert(name.to_owned(), value.decoded().into_owned());
        }
        Ok::<(), Malformed>(())
    });
    scanned.map_err(|_| UNREADABLE)?;
    if text.first() == Some(&b'{') { Ok((strings, spans)) } else { Err(UNREADABLE) }
}
