//! An explanation, as JSON has it: names, places, words and digests.

use std::collections::BTreeSet;

use http::HeaderMap;
use http::header::{COOKIE, HeaderName};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use strongroom_domain::RequestId;
use strongroom_domain::route::{
    Attribute, AttributeSet, BodyFormat, Call, Credentials, IdentityAt, IdentityValue, Route, Signing,
};

use super::Facts;
use crate::credential::CREDENTIAL_HEADERS;
use crate::forward::Outline;
use crate::inject::Explained;
use crate::rescue::{self, Failure};
use crate::route::Destination;

/// What only others can say.
const NOT_ASKED: [&str; 3] = [
    "the vault: whether its policy lets this caller forward these cards here, and whether they hold what is needed",
    "limits: rates, slots, breakers of the moment",
    "the psp: whether it can be reached, and what it answers",
];

/// Stands where the caller's own credential would.
const NOT_SHOWN: &str = "(not shown)";

/// What would become of a request.
#[derive(Serialize, Debug)]
pub struct Explanation {
    /// `goes` or `refused`.
    pub verdict: &'static str,
    /// The problem a real call would be answered with.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refused: Option<Value>,
    /// The route.
    pub route: String,
    /// SHA-256 of the route's file.
    pub route_sha256: String,
    /// The account at the PSP.
    pub account: String,
    /// Where it would go.
    pub upstream: String,
    /// The rule that matched.
    pub rule: Option<Rule>,
    /// Whose credential would travel, and where.
    pub credential: Credential,
    /// The cards it names.
    pub cards: Vec<Card>,
    /// The places that would be filled.
    pub fields: Vec<Field>,
    /// Declared places that would stay as the caller wrote them.
    pub kept: Vec<Kept>,
    /// What would be encrypted to the PSP: fields, or `body`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub encrypted: Vec<String>,
    /// What would be signed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub signature: Option<Signature>,
    /// What would be sent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Request>,
    /// The PSP's idempotency key the vault would be told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<String>,
    /// What this does not say.
    pub not_asked: [&'static str; 3],
}

/// The rule of a route that matched.
#[derive(Serialize, Debug)]
pub struct Rule {
    /// `allow` or `pass`.
    pub kind: &'static str,
    /// Its method.
    pub method: String,
    /// Its path pattern.
    pub path: String,
    /// How its body is read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<&'static str>,
}

/// Whose credential travels. Names only.
#[derive(Serialize, Debug)]
pub struct Credential {
    /// `account`, `pinned` or `unpinned`.
    pub mode: &'static str,
    /// The header it stands in.
    pub header: Option<String>,
    /// What stands before it.
    pub scheme: Option<String>,
    /// What else names the account, and where: `merchant in header v-c-merchant-id`.
    pub identity: Vec<String>,
}

/// A card a request names.
#[derive(Serialize, Debug)]
pub struct Card {
    /// What logs and audit entries call it.
    pub token_ref: String,
    /// What the vault would be asked for.
    pub attributes: AttributeSet,
    /// `known`, or `unknown`: whoever asks may not look the card up, or did not.
    pub facts: &'static str,
    /// Its brand.
    pub brand: Option<&'static str>,
    /// Number of its digits.
    pub length: Option<u8>,
}

/// A place that would be filled.
#[derive(Serialize, Debug)]
pub struct Field {
    /// Its selector.
    pub at: String,
    /// What it gets.
    pub value: Attribute,
    /// Of which of `cards`, counted from 0.
    pub card: usize,
    /// How an expiry is written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub format: Option<&'static str>,
    /// What stands for the value below.
    pub word: String,
    /// Characters of the value, where that is known.
    pub length: Option<u8>,
}

/// A declared place that would stay.
#[derive(Serialize, Debug)]
pub struct Kept {
    /// Its selector.
    pub at: String,
    /// What it is declared for.
    pub value: Attribute,
}

/// What would be signed.
#[derive(Serialize, Debug)]
pub struct Signature {
    /// As the route file calls it.
    pub kind: &'static str,
    /// The account's key id.
    pub key_id: Option<String>,
    /// Headers the signature is written to.
    pub headers: Vec<String>,
    /// What is signed, and what that holds the digest of.
    pub strings: Vec<Signed>,
}

/// One string.
#[derive(Serialize, Debug)]
pub struct Signed {
    /// `string` is what is signed.
    pub name: &'static str,
    /// Its text, unless it holds the caller's own credential.
    pub text: Option<String>,
    /// Its bytes.
    pub bytes: usize,
    /// SHA-256 of it, words in place.
    pub sha256: String,
}

/// What would be sent.
#[derive(Serialize, Debug)]
pub struct Request {
    /// Its method.
    pub method: String,
    /// Path and query, unless it holds the caller's own credential.
    pub target: Option<String>,
    /// Names and values, in the order of names.
    pub headers: Vec<(String, String)>,
    /// Its body, unless that holds the caller's own credential.
    pub body: Option<String>,
    /// SHA-256 of the body, words in place.
    pub body_sha256: String,
}

impl Explanation {
    /// What is known before a request is looked into.
    pub(super) fn of(destination: &Destination, method: &str, target: &str) -> Self {
        let Destination { route, account, upstream, .. } = destination;
        let path = target.split_once('?').map_or(target, |(path, _)| path);
        Self {
            verdict: "refused",
            refused: None,
            route: route.name.as_str().to_owned(),
            route_sha256: hex::encode(route.sha256),
            account: account.name.as_str().to_owned(),
            upstream: format!("https://{}:{}", upstream.host, upstream.port),
            rule: route.call(method, path).map(rule),
            credential: credential(route),
            cards: Vec::new(),
            fields: Vec::new(),
            kept: Vec::new(),
            encrypted: Vec::new(),
            signature: None,
            request: Some(Request {
                method: method.to_owned(),
                target: Some(target.to_owned()),
                headers: Vec::new(),
                body: None,
                body_sha256: String::new(),
            }),
            attempt: None,
            not_asked: NOT_ASKED,
        }
    }

    /// Nothing would be sent. What was refused is not shown again.
    pub(super) fn refused(&mut self, failure: &Failure, id: RequestId) {
        self.refused = Some(rescue::told(failure, id));
        self.request = None;
    }

    /// It would go to the vault, and then out.
    pub(super) fn goes(&mut self, destination: &Destination, outline: &Outline<'_>, facts: Facts<'_>) {
        self.verdict = "goes";
        self.rule = Some(rule(outline.call));
        self.attempt.clone_from(&outline.attempt);
        if let Call::Allowed(call) = outline.call
            && let Some(encryption) = &call.encryption
        {
            self.encrypted = encryption.fields.iter().cloned().collect();
            if self.encrypted.is_empty() {
                self.encrypted.push("body".to_owned());
            }
        }
        if let Some(explained) = &outline.explained {
            self.filled(explained, facts);
        }
        let hidden = Hidden::at(destination);
        self.signature = signature(destination, outline, &hidden);
        if let Some(request) = &mut self.request {
            request.target = request.target.take().filter(|_| !hidden.target);
            request.headers = headers(&outline.headers, &hidden);
            request.body = (!hidden.body).then(|| String::from_utf8_lossy(&outline.body).into_owned());
            request.body_sha256 = hex::encode(Sha256::digest(&outline.body));
        }
    }

    fn filled(&mut self, explained: &Explained, facts: Facts<'_>) {
        self.cards = explained
            .wanted
            .iter()
            .map(|wanted| {
                let known = facts(&wanted.name);
                Card {
                    token_ref: wanted.name.unresolved().token_ref().as_str().to_owned(),
                    attributes: wanted.attributes,
                    facts: if known.is_some() { "known" } else { "unknown" },
                    brand: known.and_then(|known| known.brand).map(|brand| brand.as_str()),
                    length: known.and_then(|known| known.length),
                }
            })
            .collect();
        let fields = explained.fields.iter().map(|field| Field {
            at: field.at.clone(),
            value: field.attribute,
            card: field.card,
            format: field.format.map(|format| format.as_str()),
            word: field.word.clone(),
            length: field.length,
        });
        self.fields = fields.collect();
        let kept = explained.kept.iter().map(|kept| Kept { at: kept.at.clone(), value: kept.attribute });
        self.kept = kept.collect();
    }
}

fn rule(call: Call<'_>) -> Rule {
    let (kind, method, path, body) = match call {
        Call::Allowed(call) => ("allow", &call.method, &call.path, Some(format(call.body))),
        Call::Passed(call) => ("pass", &call.method, &call.path, None),
    };
    Rule { kind, method: method.clone(), path: path.as_str().to_owned(), body }
}

const fn format(body: BodyFormat) -> &'static str {
    match body {
        BodyFormat::Form => "form",
        BodyFormat::Json => "json",
        BodyFormat::Graphql => "graphql",
        BodyFormat::Xml => "xml",
        BodyFormat::Multipart => "multipart",
    }
}

fn credential(route: &Route) -> Credential {
    let mode = match route.credentials {
        Credentials::Account => "account",
        Credentials::Pinned => "pinned",
        Credentials::Unpinned => "unpinned",
    };
    let identity = route.identity.iter().map(|place| {
        let (kind, at) = match &place.at {
            IdentityAt::Header(at) => ("header", at),
            IdentityAt::Path(at) => ("path", at),
            IdentityAt::Query(at) => ("query", at),
            IdentityAt::Field(at) => ("field", at),
            IdentityAt::Element(at) => ("element", at),
            IdentityAt::Claim(at) => ("claim", at),
        };
        format!("{} in {kind} {at}", place.name)
    });
    let place = &route.credential_place;
    Credential {
        mode,
        header: place.header.clone(),
        scheme: place.scheme.clone(),
        identity: identity.collect(),
    }
}

fn signature(destination: &Destination, outline: &Outline<'_>, hidden: &Hidden) -> Option<Signature> {
    let signing = destination.route.signing.as_ref()?;
    let strings = outline.strings.iter().map(|string| Signed {
        name: string.name,
        text: (!hidden.anything).then(|| String::from_utf8_lossy(&string.text).into_owned()),
        bytes: string.text.len(),
        sha256: hex::encode(Sha256::digest(&string.text)),
    });
    Some(Signature {
        kind: match signing {
            Signing::CyberSource {} => "cybersource",
            Signing::Hmac(_) => "hmac",
            Signing::AwsV4 { .. } => "aws-v4",
            Signing::MessageSignature(_) => "message-signature",
            Signing::Checksum(_) => "checksum",
        },
        key_id: destination.account.signing.as_ref().and_then(|files| files.key_id.clone()),
        headers: signing.headers().into_iter().map(str::to_owned).collect(),
        strings: strings.collect(),
    })
}

/// Where the caller's own credential would travel. In `account` mode nowhere: it may bring none.
struct Hidden {
    headers: BTreeSet<String>,
    target: bool,
    body: bool,
    anything: bool,
}

impl Hidden {
    fn at(destination: &Destination) -> Self {
        let Destination { route, account, .. } = destination;
        let mut hidden = Self {
            headers: BTreeSet::from([COOKIE.to_string()]),
            target: false,
            body: false,
            anything: false,
        };
        if route.credentials == Credentials::Account {
            return hidden;
        }
        hidden.anything = true;
        hidden.headers.extend(CREDENTIAL_HEADERS.iter().map(HeaderName::to_string));
        hidden.headers.extend(route.credential_place.header.clone());
        let unpinned = route.credentials == Credentials::Unpinned;
        (hidden.target, hidden.body) = (unpinned, unpinned);
        for place in &route.identity {
            if !matches!(account.identity.get(&place.name), Some(IdentityValue::Digests { .. })) {
                continue;
            }
            match &place.at {
                IdentityAt::Header(name) => hidden.headers.extend([name.clone()]),
                IdentityAt::Query(_) | IdentityAt::Path(_) => hidden.target = true,
                IdentityAt::Field(_) | IdentityAt::Element(_) => hidden.body = true,
                IdentityAt::Claim(_) => {}
            }
        }
        hidden
    }
}

fn headers(headers: &HeaderMap, hidden: &Hidden) -> Vec<(String, String)> {
    let mut shown: Vec<_> = headers
        .iter()
        .map(|(name, value)| {
            let is_hidden = hidden.headers.contains(name.as_str());
            let text = if is_hidden { NOT_SHOWN.into() } else { String::from_utf8_lossy(value.as_bytes()) };
            (name.as_str().to_owned(), text.into_owned())
        })
        .collect();
    shown.sort();
    shown
}
