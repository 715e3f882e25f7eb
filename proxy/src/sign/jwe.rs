//! Encryption to the PSP's published key: JWE (RFC 7516) in compact form, RSA-OAEP-256 and A256GCM.
//!
//! Promises: what a route encrypts never leaves in clear: where it is missing the request is refused. Each JWE has its
//! own content key and nonce.
//! Upholds: C-41.

use std::collections::BTreeMap;
use std::ops::Range;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue};
use rustls_pki_types::SubjectPublicKeyInfoDer;
use rustls_pki_types::pem::PemObject;
use serde_json::value::RawValue;
use strongroom_domain::Random;
use strongroom_domain::route::Encryption;
use zeroize::Zeroizing;

use super::SignError;
use crate::body::edit::{self, Edit};

/// Content type of a body that is a JWE (RFC 7515 §9.2.1).
const JOSE: HeaderValue = HeaderValue::from_static("application/jose");
/// Shortest key (NIST SP 800-131A).
const RSA_BYTES_MIN: usize = 256;

/// The PSP's key.
pub struct Recipient {
    key: OaepPublicEncryptingKey,
    /// The protected header, encoded: the same for every JWE.
    protected: String,
}

impl std::fmt::Debug for Recipient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Recipient").field("protected", &self.protected).finish_non_exhaustive()
    }
}

impl Recipient {
    /// Reads a public key in PEM form.
    pub fn from_pem(pem: &[u8], key_id: Option<&str>) -> Result<Self, &'static str> {
        let der = SubjectPublicKeyInfoDer::from_pem_slice(pem).map_err(
            |_| "holds no public key in PEM form; of a certificate: openssl x509 -in psp.crt -pubkey -noout",
        )?;
        let key = PublicEncryptingKey::from_der(der.as_ref())
            .ok()
            .and_then(|key| OaepPublicEncryptingKey::new(key).ok())
            .ok_or("holds no usable RSA key")?;
        if key.key_size_bytes() < RSA_BYTES_MIN {
            return Err("holds an RSA key of less than 2048 bits");
        }
        let mut head = BTreeMap::from([("alg", "RSA-OAEP-256"), ("enc", "A256GCM")]);
        head.extend(key_id.map(|id| ("kid", id)));
        let head = serde_json::to_string(&head).map_err(|_| "has a key id no JSON takes")?;
        Ok(Self { key, protected: BASE64_URL_SAFE_NO_PAD.encode(head) })
    }

    /// Encrypts what the route declares. `headers` get the new content type of a body that became a JWE.
    pub fn encrypt(
        &self,
        declared: &Encryption,
        body: &Bytes,
        headers: &mut HeaderMap,
        random: &dyn Random,
    ) -> Result<Bytes, SignError> {
        place(declared, body, headers, &|plaintext| self.seal(plaintext, random))
    }

    /// One compact JWE.
    fn seal(&self, plaintext: &[u8], random: &dyn Random) -> Result<String, SignError> {
        let (mut key, mut nonce) = (Zeroizing::new([0; 32]), [0; NONCE_LEN]);
        random.fill(&mut *key).map_err(|_| SignError::Failed)?;
        random.fill(&mut nonce).map_err(|_| SignError::Failed)?;
        let mut wrapped = vec![0; self.key.ciphertext_size()];
        let wrapped = self.key.encrypt(&OAEP_SHA256_MGF1SHA256, &*key, &mut wrapped, None)?;
        let mut text = Zeroizing::new(plaintext.to_vec());
        let sealing = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &*key)?);
        let aad = Aad::from(self.protected.as_bytes());
        let tag = sealing.seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut text)?;
        let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
        let parts = [encode(wrapped), encode(&nonce), encode(&text), encode(tag.as_ref())];
        Ok(format!("{}.{}", self.protected, parts.join(".")))
    }
}

/// Puts a stand-in where a JWE would stand: for a body without card data that is shown to people.
pub fn stand_in(declared: &Encryption, body: &Bytes, headers: &mut HeaderMap) -> Result<Bytes, SignError> {
    place(declared, body, headers, &|_| Ok("JWE".to_owned()))
}

/// Puts a JWE of each declared field, or of the whole body, in its place.
fn place(
    declared: &Encryption,
    body: &Bytes,
    headers: &mut HeaderMap,
    seal: &dyn Fn(&[u8]) -> Result<String, SignError>,
) -> Result<Bytes, SignError> {
    if !declared.fields.is_empty() {
        let edits = spans(declared, body)?.into_iter().map(|span| {
            let jwe = seal(&body[span.clone()])?;
            Ok(Edit::new(span, format!("\"{jwe}\"")))
        });
        return Ok(edit::apply(body, edits.collect::<Result<_, SignError>>()?).into());
    }
    let jwe = seal(body)?;
    Ok(match &declared.wrap {
        Some(member) => format!("{{\"{member}\":\"{jwe}\"}}").into(),
        None => {
            let kind = declared.content_type.as_deref().map(HeaderValue::try_from).transpose();
            headers.insert(CONTENT_TYPE, kind.map_err(|_| SignError::Failed)?.unwrap_or(JOSE));
            jwe.into()
        }
    })
}

/// Where the values to encrypt stand. Each must be there.
pub fn spans(declared: &Encryption, body: &[u8]) -> Result<Vec<Range<usize>>, SignError> {
    let text = std::str::from_utf8(body).map_err(|_| SignError::NothingToEncrypt)?;
    declared.fields.iter().map(|at| span(text, at).ok_or(SignError::NothingToEncrypt)).collect()
}

fn span(text: &str, at: &str) -> Option<Range<usize>> {
    let mut value = text;
    for segment in at.strip_prefix('/')?.split('/') {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(value).ok()?;
        value = members.get(&segment.replace("~1", "/").replace("~0", "~"))?.get();
    }
    // A slice of the same text: its place is the distance of their beginnings.
    let start = value.as_ptr() as usize - text.as_ptr() as usize;
    Some(start..start + value.len())
}
