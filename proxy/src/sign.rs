//! Signing, always last: over the bytes that leave, with the account's key, never the caller's.
//!
//! A caller signs over a body that holds tokens, with whatever key it has; the PSP would refuse that. What the caller
//! wrote is taken as a form to fill: its list of covered headers or its claims stay, its signature never leaves.
//!
//! Promises: what is signed is what is sent; a signature is made with the account's key for the account's key id, or the
//! request is refused before anything is opened; a key is never shown, and wiped when replaced.
//! Does not promise: that a PSP takes the signature; a wrong key in a file is the PSP's to refuse.
//! Upholds: C-41.

mod aws;
mod checksum;
mod cybersource;
mod hmac;
pub mod jwe;
mod key;
mod message;
mod minify;
mod verify;

#[cfg(test)]
mod tests;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use strongroom_domain::route::Signing;
use strongroom_domain::{Problem, ProblemKind, Timestamp};
use zeroize::Zeroizing;

pub use key::SigningKey;
pub use verify::{Unverified, Verifier};

/// What the caller's own signature leaves behind: how to make the account's.
#[derive(Debug)]
pub struct Form(Kind);

#[derive(Debug)]
enum Kind {
    /// The route's declaration says it all.
    Declared,
    /// An HTTP signature over these.
    Covered(Vec<String>),
    /// A JWT with these claims.
    Claims(cybersource::Claims),
}

/// What a JWT says under one name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim<'a> {
    /// Nothing.
    Absent,
    /// A string.
    Text(&'a str),
    /// Something else: a list, a number, null.
    NoText,
}

/// A request complete but for its signature.
pub struct Message<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Path and query.
    pub target: &'a str,
    /// Its headers, `Host` among them.
    pub headers: &'a mut HeaderMap,
    /// Its body, card data in it.
    pub body: Bytes,
}

/// What a signature is over, or what that holds the digest of.
#[derive(Debug)]
pub struct Canonical {
    /// `string` is what is signed; anything else is on the way there.
    pub name: &'static str,
    /// Its bytes.
    pub text: Vec<u8>,
}

/// Why a request cannot be signed. Nothing was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum SignError {
    /// A header that is covered is missing, or there are several.
    #[error("a header the signature covers is missing or given twice")]
    Missing,
    /// The caller's signature or token cannot be read as a form.
    #[error("the caller's signature cannot be read: {0}")]
    Unreadable(&'static str),
    /// The caller's signature is for another key, account, host or call.
    #[error("the caller's signature is for another key or call")]
    Foreign,
    /// A field to encrypt is not there.
    #[error("a field to encrypt is missing")]
    NothingToEncrypt,
    /// The key cannot do it, or there is no randomness: a defect.
    #[error("the request cannot be signed or encrypted")]
    Failed,
}

impl SignError {
    /// What the caller may know.
    #[must_use]
    pub const fn problem(self) -> Problem {
        match self {
            Self::Missing => Problem::because(
                ProblemKind::InvalidRequest,
                "a header the signature covers is missing or given twice; nothing was sent",
            ),
            Self::Unreadable(why) => Problem::because(ProblemKind::InvalidRequest, why),
            Self::Foreign => Problem::new(ProblemKind::CredentialRefused),
            Self::NothingToEncrypt => Problem::because(
                ProblemKind::InvalidRequest,
                "a field the route encrypts is missing; nothing was sent",
            ),
            Self::Failed => Problem::new(ProblemKind::Internal),
        }
    }
}

/// What a body leaves as, where the route's signing takes the whitespace of JSON out.
#[must_use]
pub fn minified(
    signing: Option<&Signing>,
    content_type: Option<&str>,
    body: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    match signing {
        Some(Signing::Hmac(declared)) => hmac::minified(declared, content_type, body),
        _ => None,
    }
}

impl From<aws_lc_rs::error::Unspecified> for SignError {
    fn from(_: aws_lc_rs::error::Unspecified) -> Self {
        Self::Failed
    }
}

/// An account's signing key and how its route uses it.
pub struct Signer {
    signing: Signing,
    key_id: Option<String>,
    key: SigningKey,
}

/// Shows no key.
impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("key_id", &self.key_id).finish_non_exhaustive()
    }
}

impl Signer {
    /// A signer. The key must be of the kind the declaration asks for.
    #[must_use]
    pub fn new(signing: Signing, key_id: Option<String>, key: SigningKey) -> Self {
        Self { signing, key_id, key }
    }

    /// Takes the caller's signature out of the headers and keeps what it says; refuses one for another key or call.
    pub fn prepare(
        &self,
        method: &Method,
        target: &str,
        headers: &mut HeaderMap,
        has_body: bool,
    ) -> Result<Form, SignError> {
        let kind = match &self.signing {
            Signing::CyberSource {} => {
                cybersource::prepare(self, &cybersource::Asked { method, target, has_body }, headers)?
            }
            Signing::Hmac(_)
            | Signing::AwsV4 { .. }
            | Signing::MessageSignature(_)
            | Signing::Checksum(_) => Kind::Declared,
        };
        for name in self.signing.headers() {
            headers.remove(name);
        }
        Ok(Form(kind))
    }

    /// Refuses a request without a header or field that is covered, or with one no signature can cover, before anything is
    /// opened for it: what passes can be signed.
    pub fn check(&self, form: &Form, headers: &HeaderMap, path: &str, body: &[u8]) -> Result<(), SignError> {
        match (&self.signing, &form.0) {
            (Signing::Checksum(declared), _) => checksum::check(declared, path, body),
            (Signing::Hmac(hmac), _) => hmac::check(hmac, headers),
            (Signing::MessageSignature(declared), _) => message::check(declared, headers),
            (Signing::CyberSource {}, Kind::Covered(names)) => cybersource::check(names, headers),
            (Signing::AwsV4 { .. }, _) => aws::check(headers),
            (Signing::CyberSource {}, _) => Ok(()),
        }
    }

    /// Signs. What is in the message afterwards is what must be sent.
    pub fn sign(&self, form: &Form, message: &mut Message<'_>, now: Timestamp) -> Result<(), SignError> {
        match (&self.signing, &form.0) {
            (Signing::CyberSource {}, Kind::Covered(names)) => cybersource::sign(self, names, message, now),
            (Signing::CyberSource {}, Kind::Claims(claims)) => {
                cybersource::sign_claims(self, claims, message)
            }
            (Signing::Hmac(declared), Kind::Declared) => hmac::sign(self, declared, message),
            (Signing::AwsV4 { region, service }, Kind::Declared) => {
                aws::sign(self, &aws::Scope { region, service }, message, now)
            }
            (Signing::MessageSignature(declared), Kind::Declared) => {
                message::sign(self, declared, message, now)
            }
            (Signing::Checksum(declared), Kind::Declared) => checksum::sign(self, declared, message),
            _ => Err(SignError::Failed),
        }
    }

    /// What [`Self::sign`] signs, by the same code up to the key. For a message without card data and a signer without a
    /// key of anybody's: what comes out is shown to people.
    pub fn canonical(
        &self,
        form: &Form,
        message: &mut Message<'_>,
        now: Timestamp,
    ) -> Result<Vec<Canonical>, SignError> {
        let string = |text: String| vec![Canonical { name: "string", text: text.into_bytes() }];
        match (&self.signing, &form.0) {
            (Signing::CyberSource {}, Kind::Covered(names)) => {
                cybersource::string(names, message, now).map(string)
            }
            (Signing::CyberSource {}, Kind::Claims(claims)) => {
                Ok(string(cybersource::signed_claims(claims, message)))
            }
            (Signing::Hmac(declared), Kind::Declared) => hmac::canonical(self, declared, message),
            (Signing::AwsV4 { region, service }, Kind::Declared) => {
                aws::canonical(&aws::Scope { region, service }, message, now)
            }
            (Signing::MessageSignature(declared), Kind::Declared) => {
                message::canonical(self, declared, message, now)
            }
            (Signing::Checksum(declared), Kind::Declared) => checksum::canonical(self, declared, message),
            _ => Err(SignError::Failed),
        }
    }

    fn key_id(&self) -> Result<&str, SignError> {
        self.key_id.as_deref().ok_or(SignError::Failed)
    }

    /// Whether a key id in a message is the account's, or leaves it to us.
    fn is_own(&self, key_id: &str) -> bool {
        key_id == crate::credential::PLACEHOLDER || Some(key_id) == self.key_id.as_deref()
    }
}

impl Form {
    /// A claim of the caller's JWT, if the message carries one.
    #[must_use]
    pub fn claim(&self, name: &str) -> Option<Claim<'_>> {
        match &self.0 {
            Kind::Claims(claims) => Some(claims.claim(name)),
            Kind::Declared | Kind::Covered(_) => None,
        }
    }
}

impl Message<'_> {
    fn path(&self) -> &str {
        self.target.split_once('?').map_or(self.target, |(path, _)| path)
    }

    fn query(&self) -> Option<&str> {
        self.target.split_once('?').map(|(_, query)| query)
    }

    fn host(&self) -> Result<&str, SignError> {
        header(self.headers, HOST.as_str())
    }

    fn content_type(&self) -> Option<&str> {
        self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok())
    }

    fn set(&mut self, name: &'static str, value: &str) -> Result<(), SignError> {
        let mut value = HeaderValue::try_from(value).map_err(|_| SignError::Failed)?;
        value.set_sensitive(true);
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(())
    }
}

/// The one value of a header.
fn header<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, SignError> {
    let mut values = headers.get_all(name).iter();
    match (values.next().map(HeaderValue::to_str), values.next()) {
        (Some(Ok(text)), None) => Ok(text),
        _ => Err(SignError::Missing),
    }
}
