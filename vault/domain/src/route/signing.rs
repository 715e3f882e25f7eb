//! How a route's requests are signed and encrypted: the declaration, without any key.
//!
//! Promises: a declaration that exists can be carried out; what it says of a request is complete, so that the signer
//! needs no PSP's name.

mod checksum;

use std::collections::BTreeSet;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

pub use checksum::{ChecksumCall, ChecksumSigning};

/// How requests are signed: last, over the bytes that leave (`[route.NAME.sign]`).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Signing {
    /// CyberSource: its HTTP signature or its JWT, whichever the message carries.
    #[serde(rename = "cybersource")]
    CyberSource {},
    /// HMAC (RFC 2104) over a declared string.
    Hmac(HmacSigning),
    /// AWS Signature Version 4.
    AwsV4 {
        /// As in the credential scope.
        region: String,
        /// As in the credential scope.
        service: String,
    },
    /// HTTP message signatures (RFC 9421), the body covered by `content-digest` (RFC 9530).
    MessageSignature(MessageSigning),
    /// A hash over fields and the secret, in the body itself.
    Checksum(ChecksumSigning),
}

/// HMAC over a declared string.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct HmacSigning {
    /// The hash.
    #[serde(default)]
    pub hash: HashName,
    /// How the key is written in its file.
    #[serde(default)]
    pub secret: SecretEncoding,
    /// What is signed, one after the other with nothing between.
    pub parts: Vec<Part>,
    /// How the result is written.
    pub output: Output,
    /// The header the result goes into, lower case.
    pub header: String,
    /// What stands before the result there.
    #[serde(default)]
    pub prefix: String,
    /// Whether whitespace outside strings of a JSON body is taken out first, so that what is signed is what is sent.
    #[serde(default)]
    pub minify: bool,
}

/// A hash of FIPS 180-4.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "each variant is its own name")]
pub enum HashName {
    #[default]
    Sha256,
    Sha384,
    Sha512,
}

/// How a secret is written in its file.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecretEncoding {
    /// Its characters are the key.
    #[default]
    Text,
    /// RFC 4648 §4, padded.
    Base64,
    /// Pairs of hex digits.
    Hex,
}

/// How a signature is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Output {
    /// Lower-case hex digits.
    Hex,
    /// RFC 4648 §4, padded.
    Base64,
    /// The hex digits, themselves in base64.
    Base64OfHex,
}

/// One part of a signed string, as route files write it.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub enum Part {
    /// `method`: as in the request line.
    Method,
    /// `method-lower`.
    MethodLower,
    /// `path`: without the query.
    Path,
    /// `target`: path and query.
    Target,
    /// `host`: as the request names it.
    Host,
    /// `header:NAME`: the one value of a header; a request without it is refused.
    Header(String),
    /// `body`: the bytes that leave.
    Body,
    /// `body-hash-hex`: the body under the same hash.
    BodyHashHex,
    /// `body-hash-base64`.
    BodyHashBase64,
    /// `secret`: the key itself, as its file has it.
    Secret,
    /// `key-id`: the account's.
    KeyId,
    /// `text:…`: literally.
    Text(String),
    /// `field:POINTER`: what a field of the JSON body says; nothing where it is missing. For checksums only.
    Field(String),
}

impl TryFrom<String> for Part {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Ok(match text.as_str() {
            "method" => Self::Method,
            "method-lower" => Self::MethodLower,
            "path" => Self::Path,
            "target" => Self::Target,
            "host" => Self::Host,
            "body" => Self::Body,
            "body-hash-hex" => Self::BodyHashHex,
            "body-hash-base64" => Self::BodyHashBase64,
            "secret" => Self::Secret,
            "key-id" => Self::KeyId,
            other => match other.split_once(':') {
                Some(("header", name)) if !name.is_empty() => Self::Header(name.to_ascii_lowercase()),
                Some(("text", text)) if !text.is_empty() => Self::Text(text.to_owned()),
                Some(("field", at)) if !at.is_empty() => Self::Field(at.to_owned()),
                _ => return Err(format!("`{other}` is no part of a signed string")),
            },
        })
    }
}

/// HTTP message signatures.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct MessageSigning {
    /// Which key signs and how (RFC 9421 §3.3).
    pub algorithm: MessageAlgorithm,
    /// Covered components in order: header names and `@method`, `@target-uri`, `@authority`, `@scheme`,
    /// `@request-target`, `@path`, `@query`.
    pub components: Vec<String>,
    /// How an HMAC key is written in its file.
    #[serde(default)]
    pub secret: SecretEncoding,
    /// The signature's label.
    #[serde(default = "default_label")]
    pub label: String,
    /// The `tag` parameter, if the PSP asks for one.
    pub tag: Option<String>,
}

fn default_label() -> String {
    "sig1".to_owned()
}

/// Algorithms of RFC 9421 §3.3, by their registered names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[expect(missing_docs, reason = "each variant is its own registered name")]
pub enum MessageAlgorithm {
    #[serde(rename = "hmac-sha256")]
    HmacSha256,
    #[serde(rename = "rsa-pss-sha512")]
    RsaPssSha512,
    #[serde(rename = "rsa-v1_5-sha256")]
    RsaV15Sha256,
    #[serde(rename = "ecdsa-p256-sha256")]
    EcdsaP256Sha256,
    #[serde(rename = "ecdsa-p384-sha384")]
    EcdsaP384Sha384,
    #[serde(rename = "ed25519")]
    Ed25519,
}

impl MessageAlgorithm {
    /// The registered name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::HmacSha256 => "hmac-sha256",
            Self::RsaPssSha512 => "rsa-pss-sha512",
            Self::RsaV15Sha256 => "rsa-v1_5-sha256",
            Self::EcdsaP256Sha256 => "ecdsa-p256-sha256",
            Self::EcdsaP384Sha384 => "ecdsa-p384-sha384",
            Self::Ed25519 => "ed25519",
        }
    }
}

/// Derived components of RFC 9421 §2.2 that a request has.
const DERIVED: [&str; 7] =
    ["@method", "@target-uri", "@authority", "@scheme", "@request-target", "@path", "@query"];

/// Headers that are written after signing, or that belong to a hop: never covered, never a signature's place.
const UNSIGNABLE: [&str; 5] = ["connection", "transfer-encoding", "te", "accept-encoding", "expect"];

/// Fewest parts or components say too little of a request: the body, or its digest, is always among them.
impl Signing {
    /// Headers the signature is written to: what a caller put there never leaves.
    #[must_use]
    pub fn headers(&self) -> Vec<&str> {
        match self {
            Self::CyberSource {} => vec!["signature", "digest", "authorization"],
            Self::Hmac(hmac) => vec![hmac.header.as_str()],
            Self::AwsV4 { .. } => vec!["authorization", "x-amz-date", "x-amz-content-sha256"],
            Self::MessageSignature(_) => vec!["signature", "signature-input", "content-digest"],
            Self::Checksum(_) => Vec::new(),
        }
    }

    /// Why the declaration cannot be carried out.
    pub(super) fn check(&mut self) -> Result<(), String> {
        match self {
            Self::CyberSource {} => Ok(()),
            Self::AwsV4 { region, service } => {
                let right = |name: &str| {
                    !name.is_empty()
                        && name
                            .bytes()
                            .all(|byte| byte.is_ascii_lowercase() || b"0123456789-".contains(&byte))
                };
                if right(region) && right(service) {
                    Ok(())
                } else {
                    Err("`sign`: no such region or service".into())
                }
            }
            Self::Hmac(hmac) => hmac.check(),
            Self::MessageSignature(message) => message.check(),
            Self::Checksum(checksum) => checksum.check(),
        }
    }
}

impl HmacSigning {
    fn check(&mut self) -> Result<(), String> {
        self.header = header(&self.header)?;
        let covers_body = |part: &Part| matches!(part, Part::Body | Part::BodyHashHex | Part::BodyHashBase64);
        if !self.parts.iter().any(covers_body) {
            return Err(
                "`sign`: `parts` do not hold the body, so the signature would say nothing of it".into()
            );
        }
        let visible = |text: &str| text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
        if !visible(&self.prefix) {
            return Err("`sign`: `prefix` has a character no header takes".into());
        }
        self.parts.iter().try_for_each(|part| match part {
            Part::Header(name) if *name == self.header => {
                Err(format!("`sign`: `{name}` cannot cover itself"))
            }
            Part::Header(name) => header(name).map(drop),
            Part::Field(_) => Err("`sign`: `field:` is a part of `kind = \"checksum\"`".into()),
            _ => Ok(()),
        })
    }
}

impl MessageSigning {
    fn check(&self) -> Result<(), String> {
        let mut seen = BTreeSet::new();
        for component in &self.components {
            if !component.starts_with('@') {
                if header(component)? != *component {
                    return Err(format!("`sign`: `{component}` is written in lower case"));
                }
            } else if !DERIVED.contains(&component.as_str()) {
                return Err(format!("`sign`: `{component}` is no component of a request"));
            }
            if !seen.insert(component) {
                return Err(format!("`sign`: `{component}` is covered twice"));
            }
        }
        if !self.components.iter().any(|component| component == "content-digest") {
            return Err("`sign`: `components` do not hold content-digest, so the signature would say nothing of the body".into());
        }
        let word = |text: &str| {
            text.starts_with(|char: char| char.is_ascii_lowercase())
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || b"0123456789_-".contains(&byte))
        };
        let quotable =
            |text: &String| text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte));
        if word(&self.label) && self.tag.iter().all(quotable) {
            Ok(())
        } else {
            Err("`sign`: `label` is lower-case letters and digits, `tag` has no quotes".into())
        }
    }
}

fn header(name: &str) -> Result<String, String> {
    let name = super::file::header(name)?;
    if UNSIGNABLE.contains(&name.as_str()) {
        return Err(format!("`sign`: `{name}` changes on the way"));
    }
    Ok(name)
}

/// How a call's card data is encrypted to the PSP's published key: JWE (RFC 7516), RSA-OAEP-256 and A256GCM, compact.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Encryption {
    /// JSON Pointers of the values that become a JWE each; none: the whole body does.
    #[serde(default)]
    pub fields: BTreeSet<String>,
    /// With the whole body: the member a JSON object is made of to hold the JWE. Without it the body is the JWE.
    pub wrap: Option<String>,
    /// Content type of a body that is a JWE.
    pub content_type: Option<String>,
}

impl Encryption {
    pub(super) fn check(&self) -> Result<(), String> {
        let whole = self.fields.is_empty();
        if !whole && (self.wrap.is_some() || self.content_type.is_some()) {
            return Err("`encrypt`: `wrap` and `content-type` belong to a whole body, not to `fields`".into());
        }
        let pointers = self.fields.iter().all(|at| at.len() > 1 && at.starts_with('/'));
        let nested = |at: &String| self.fields.iter().any(|other| other.starts_with(&format!("{at}/")));
        if !pointers || self.fields.iter().any(nested) {
            return Err("`encrypt`: `fields` are JSON Pointers, none inside another".into());
        }
        let quotable =
            |text: &String| text.bytes().all(|byte| matches!(byte, b' '..=b'~') && !b"\"\\".contains(&byte));
        if self.wrap.iter().chain(&self.content_type).all(quotable) {
            Ok(())
        } else {
            Err("`encrypt`: `wrap` and `content-type` are plain words".into())
        }
    }
}

/// An account's part in signing: which key, never the key.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SigningKeyFiles {
    /// What the PSP calls the key.
    pub key_id: Option<String>,
    /// File of a shared secret, one line, relative to the proxy's secrets folder.
    pub secret_file: Option<PathBuf>,
    /// File of a private key: PKCS #8 in PEM form.
    pub private_key_file: Option<PathBuf>,
}

/// An account's part in encryption.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipientKeyFile {
    /// What the PSP calls its key: the JWE's `kid`.
    pub key_id: Option<String>,
    /// File of the PSP's public key: SubjectPublicKeyInfo in PEM form, relative to the proxy's secrets folder.
    pub public_key_file: PathBuf,
}

impl SigningKeyFiles {
    /// Why the account's key cannot serve the route's declaration.
    pub(super) fn fits(&self, signing: &Signing) -> Result<(), &'static str> {
        let (secret, private) = (self.secret_file.is_some(), self.private_key_file.is_some());
        if !self.secret_file.iter().chain(&self.private_key_file).all(|file| lies_inside(file)) {
            return Err(
                "`signing`: files lie inside the secrets folder; name them without `..` or a leading `/`",
            );
        }
        let needs_id = match signing {
            Signing::Hmac(hmac) => hmac.parts.contains(&Part::KeyId),
            Signing::Checksum(_) => false,
            Signing::CyberSource {} | Signing::AwsV4 { .. } | Signing::MessageSignature(_) => true,
        };
        if needs_id && self.key_id.is_none() {
            return Err("`signing`: the route's signature names its key: give `key_id`");
        }
        let plain = |id: &String| {
            !id.is_empty() && id.bytes().all(|byte| matches!(byte, b'!'..=b'~') && !b"\"\\".contains(&byte))
        };
        if !self.key_id.iter().all(plain) {
            return Err("`signing`: `key_id` has a character no header takes");
        }
        let symmetric = matches!(
            signing,
            Signing::Hmac(_)
                | Signing::Checksum(_)
                | Signing::AwsV4 { .. }
                | Signing::MessageSignature(MessageSigning { algorithm: MessageAlgorithm::HmacSha256, .. })
        );
        match (signing, secret, private) {
            (Signing::CyberSource {}, true, false) | (Signing::CyberSource {}, false, true) => Ok(()),
            (Signing::CyberSource {}, ..) => {
                Err("`signing`: give either `secret_file` or `private_key_file`")
            }
            (_, true, false) if symmetric => Ok(()),
            (_, false, true) if !symmetric => Ok(()),
            _ if symmetric => Err("`signing`: the route signs with a shared secret: give `secret_file` only"),
            _ => Err("`signing`: the route signs with a private key: give `private_key_file` only"),
        }
    }
}

/// Whether a file's name leads nowhere but into the folder it is relative to.
#[must_use]
pub fn lies_inside(file: &Path) -> bool {
    file.components().all(|part| matches!(part, Component::Normal(_))) && file.components().next().is_some()
}

#[cfg(test)]
mod tests;
