//! The account a request is for, by the id of the key it names: an orchestrator that keeps a key per merchant changes
//! nothing but the key.
//!
//! Promises: a key id is one account's; one that is nobody's, or two at once, is refused. The id alone opens nothing: the
//! account's own secret signs or is sent, the caller's never.
//! Does not promise: to keep an id from anybody: it is the PSP's public name of a key. It is never logged all the same,
//! since a caller may have put a secret there.
//! Upholds: C-49.

use std::borrow::Cow;
use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::{HeaderMap, HeaderValue};
use serde::Deserialize;
use strongroom_domain::route::{AccountName, KeyIdForm, KeyIdPlace};

use super::EntryRefused;
use crate::credential::PLACEHOLDER;

/// Longest header of a JWT that is read for its `kid`. Real ones are under 1 KiB.
const JWT_HEAD_BYTES_MAX: usize = 8 * 1024;

/// Where a route's requests name keys, and whose each is.
#[derive(Debug, Default)]
pub struct KeyIds {
    places: Vec<KeyIdPlace>,
    accounts: HashMap<String, AccountName>,
}

/// Two accounts with one key id.
#[derive(Debug, PartialEq, Eq)]
pub struct SharedKeyId(pub AccountName, pub AccountName);

impl KeyIds {
    /// The accounts of a route by their keys. Without places none is found so, and none need be unlike another.
    pub fn new(
        places: Vec<KeyIdPlace>,
        accounts: impl Iterator<Item = (String, AccountName)>,
    ) -> Result<Self, SharedKeyId> {
        let mut ids = Self { places, accounts: HashMap::new() };
        if ids.places.is_empty() {
            return Ok(ids);
        }
        for (id, account) in accounts {
            if let Some(other) = ids.accounts.insert(id, account.clone()) {
                return Err(SharedKeyId(other, account));
            }
        }
        Ok(ids)
    }

    /// Whether accounts are found so at all.
    pub fn is_used(&self) -> bool {
        !self.places.is_empty()
    }

    /// The account whose key a request names. `None`: it names none, or leaves the key to the proxy.
    pub fn named(&self, headers: &HeaderMap) -> Result<Option<&AccountName>, EntryRefused> {
        let mut named: Option<Cow<'_, str>> = None;
        for place in &self.places {
            let mut values = headers.get_all(&place.header).iter();
            let Some(value) = values.next() else { continue };
            if values.next().is_some() {
                return Err(EntryRefused::UnknownKeyId);
            }
            let found = read(place.form, value).map_err(|Unreadable| EntryRefused::UnknownKeyId)?;
            match found.filter(|id| !id.is_empty() && id != PLACEHOLDER) {
                Some(id) if named.as_ref().is_some_and(|other| *other != id) => {
                    return Err(EntryRefused::UnknownKeyId);
                }
                Some(id) => named = Some(id),
                None => {}
            }
        }
        let Some(id) = named else { return Ok(None) };
        self.accounts.get(&*id).map(Some).ok_or(EntryRefused::UnknownKeyId)
    }
}

/// It looks like the place's form and cannot be read as one.
struct Unreadable;

type Read<'h> = Result<Option<Cow<'h, str>>, Unreadable>;

/// The key id in a header. `None`: the header is in another form than the place's.
fn read(form: KeyIdForm, value: &HeaderValue) -> Read<'_> {
    let Ok(text) = value.to_str().map(str::trim) else { return Err(Unreadable) };
    let after = |wanted: &str| {
        let (scheme, rest) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case(wanted).then(|| rest.trim())
    };
    match form {
        KeyIdForm::Value => Ok(Some(Cow::Borrowed(text))),
        KeyIdForm::Bearer => Ok(after("bearer").filter(|token| !is_jwt(token)).map(Cow::Borrowed)),
        KeyIdForm::BasicUser => after("basic").map_or(Ok(None), basic_user),
        KeyIdForm::Keyid => keyid(text),
        KeyIdForm::JwtKid => after("bearer").filter(|token| is_jwt(token)).map_or(Ok(None), kid),
        KeyIdForm::AwsCredential => after("aws4-hmac-sha256").map_or(Ok(None), aws),
    }
}

/// Three parts: what a card token, a secret key or the placeholder never is.
fn is_jwt(token: &str) -> bool {
    token.split('.').count() == 3
}

fn basic_user(rest: &str) -> Read<'_> {
    let pair = BASE64_STANDARD.decode(rest).map_err(|_| Unreadable)?;
    let pair = String::from_utf8(pair).map_err(|_| Unreadable)?;
    Ok(Some(Cow::Owned(pair.split_once(':').map_or(pair.as_str(), |(user, _)| user).to_owned())))
}

/// `keyid="…"` among parameters parted by commas (drafts of HTTP signatures) or semicolons (RFC 9421).
fn keyid(text: &str) -> Read<'_> {
    let (mut quoted, mut start, mut found) = (false, 0, None);
    for (at, char) in text.char_indices().chain([(text.len(), ',')]) {
        match char {
            '"' => quoted = !quoted,
            ',' | ';' if !quoted || at == text.len() => {
                let parameter = text[start..at].split_once('=');
                start = (at + 1).min(text.len());
                if let Some((name, value)) = parameter
                    && name.trim().eq_ignore_ascii_case("keyid")
                {
                    let value = value.trim().strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
                    if found.replace(Cow::Borrowed(value.ok_or(Unreadable)?)).is_some() {
                        return Err(Unreadable);
                    }
                }
            }
            _ => {}
        }
    }
    Ok(found)
}

fn kid(token: &str) -> Read<'_> {
    #[derive(Deserialize)]
    struct Head {
        kid: Option<String>,
    }
    let head = token.split('.').next().filter(|head| head.len() <= JWT_HEAD_BYTES_MAX).ok_or(Unreadable)?;
    let head = BASE64_URL_SAFE_NO_PAD.decode(head).map_err(|_| Unreadable)?;
    let head: Head = serde_json::from_slice(&head).map_err(|_| Unreadable)?;
    Ok(head.kid.map(Cow::Owned))
}

/// `Credential=KEYID/20260102/region/service/aws4_request, SignedHeaders=…`.
fn aws(rest: &str) -> Read<'_> {
    let mut credentials = rest.split(',').filter_map(|part| part.trim().strip_prefix("Credential="));
    match (credentials.next(), credentials.next()) {
        (Some(credential), None) => Ok(credential.split('/').next().map(Cow::Borrowed)),
        _ => Err(Unreadable),
    }
}

#[cfg(test)]
mod tests;
