//! The claims of a caller's JWT: kept as they are, but for the digest of the body.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

use super::Asked;
use crate::body::Malformed;
use crate::body::edit::{self, Edit};
use crate::body::json::{self, Event, Reading};
use crate::sign::{Claim, SignError, Signer, SigningKey};

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
    members: Members,
}

impl Claims {
    /// What the token says under a name.
    pub(in crate::sign) fn claim(&self, name: &str) -> Claim<'_> {
        match self.members.strings.get(name) {
            Some((text, _)) => Claim::Text(text),
            None if self.members.others.contains(name) => Claim::NoText,
            None => Claim::Absent,
        }
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
    let members = members(&text)?;
    let digest = members.strings.get("digest").map(|(_, span)| span.clone());
    let claims = Claims { head, text, digest, members };
    if !is_for(&claims, asked, host) {
        return Err(SignError::Foreign);
    }
    if asked.has_body && claims.digest.is_none() {
        return Err(SignError::Unreadable("the bearer token has no digest of the body; nothing was sent"));
    }
    Ok(claims)
}

/// Whether host, method, path and digest are this request's, as far as the claims speak of them.
fn is_for(claims: &Claims, asked: &Asked<'_>, host: &str) -> bool {
    let own_host = host.split_once(':').map_or(host, |(name, _)| name);
    let path = asked.target.split_once('?').map_or(asked.target, |(path, _)| path);
    // A claim that is left out says nothing wrong; one that is no string may say anything to who reads it otherwise.
    let holds = |name: &str, right: &dyn Fn(&str) -> bool| match claims.claim(name) {
        Claim::Absent => true,
        Claim::Text(text) => right(text),
        Claim::NoText => false,
    };
    let is = |name: &str, wanted: &[&str]| {
        holds(name, &|text| wanted.iter().any(|wanted| text.eq_ignore_ascii_case(wanted)))
    };
    is("request-host", &[host, own_host])
        && is("request-method", &[asked.method.as_str()])
        && holds("request-resource-path", &|text| text == asked.target || text == path)
        && is("digest-algorithm", &["SHA-256"])
        && is("digestAlgorithm", &["SHA-256"])
        && !claims.members.others.contains("digest")
}

fn decode(part: &str) -> Result<Vec<u8>, SignError> {
    BASE64_URL_SAFE_NO_PAD.decode(part).map_err(|_| UNREADABLE)
}

/// What a token's header may hold. Another member could name another merchant, or another key.
const HEAD_MEMBERS: [&str; 3] = ["alg", "kid", "typ"];

/// The header as it came, but for a key id that is left to us. It must name an algorithm the account's key can do.
fn head_of(signer: &Signer, head: Vec<u8>) -> Result<Vec<u8>, SignError> {
    let Members { strings, others } = members(&head)?;
    if !others.is_empty() || !strings.keys().all(|name| HEAD_MEMBERS.contains(&name.as_str())) {
        return Err(SignError::Foreign);
    }
    match (strings.get("alg").map(|(name, _)| name.as_str()), &signer.key) {
        (Some("HS256"), SigningKey::Shared { .. })
        | (Some("RS256"), SigningKey::Rsa(_) | SigningKey::StandIn) => {}
        _ => {
            return Err(SignError::Unreadable(
                "the bearer token is signed another way than the account's key signs; nothing was sent",
            ));
        }
    }
    match strings.get("kid") {
        Some((id, span)) if signer.is_own(id) => {
            let own = Edit::new(span.clone(), format!("\"{}\"", signer.key_id()?));
            Ok(edit::apply(&head, vec![own]))
        }
        _ => Err(SignError::Foreign),
    }
}

/// The members of a JSON object.
#[derive(Debug, Default)]
struct Members {
    /// Those that are strings, and where each stands with its quotes.
    strings: BTreeMap<String, (String, Range<usize>)>,
    /// The names of the others.
    others: BTreeSet<String>,
}

fn members(text: &[u8]) -> Result<Members, SignError> {
    let mut members = Members::default();
    let scanned = json::scan(text, Reading::Strict, |path, event| {
        if let (1, Some(name)) = (path.depth(), path.name()) {
            match event {
                Event::Key(_) => {}
                Event::String(value) => {
                    let found = (value.decoded().into_owned(), value.span());
                    members.strings.insert(name.to_owned(), found);
                }
                Event::Number(_) | Event::Null | Event::Other => {
                    members.others.insert(name.to_owned());
                }
            }
        }
        Ok::<(), Malformed>(())
    });
    scanned.map_err(|_| UNREADABLE)?;
    if text.first() == Some(&b'{') { Ok(members) } else { Err(UNREADABLE) }
}
