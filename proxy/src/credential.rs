//! Whose PSP account a call goes to: the pinned one, never the caller's choice.
//!
//! A stolen orchestrator with its own PSP key would otherwise collect the cards there (design §6, accounts).
//!
//! Promises: in `account` mode only the account's own credential leaves; in `pinned` mode only a listed one; in both, no
//! second credential travels beside it in a header or a field the route knows of.
//! Upholds: C-18.

pub mod identity;
mod keys;
mod presented;

pub use keys::AccountKeys;
pub(crate) use keys::STAND_IN;
pub use presented::Presented;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use sha2::{Digest, Sha256};
use strongroom_domain::route::{Account, CredentialPlace, Credentials, Signing};
use subtle::ConstantTimeEq;

use crate::fields::may_mean;

/// What a caller presents in `account` mode where its SDK insists on a credential: taken as none.
pub const PLACEHOLDER: &str = "strongroom";
/// Base64 of the placeholder as user and password.
const PLACEHOLDER_PAIR: &str = "c3Ryb25ncm9vbTpzdHJvbmdyb29t";

/// Headers PSPs take credentials from. One that is not the route's own place carries a second credential.
pub(crate) const CREDENTIAL_HEADERS: [HeaderName; 5] = [
    AUTHORIZATION,
    HeaderName::from_static("x-api-key"),
    HeaderName::from_static("api-key"),
    HeaderName::from_static("x-auth-token"),
    HeaderName::from_static("x-access-token"),
];

/// The request carries a credential it may not. Nothing was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request carries a credential this account does not allow")]
pub struct CredentialRefused;

/// Checks what the caller presents and leaves in `headers` exactly what may travel.
///
/// `own` is the account's own credential as a header value: present in `account` mode. Headers a signature is written to
/// are the signer's affair.
pub fn apply(
    mode: Credentials,
    place: &CredentialPlace,
    account: &Account,
    own: Option<&HeaderValue>,
    signing: Option<&Signing>,
    headers: &mut HeaderMap,
) -> Result<(), CredentialRefused> {
    let name =
        place.header.as_deref().map(HeaderName::try_from).transpose().map_err(|_| CredentialRefused)?;
    if mode == Credentials::Unpinned {
        return Ok(());
    }
    remove_placeholders(name.as_ref(), signing, headers)?;
    match (name, mode, own) {
        (None, ..) => Ok(()),
        (Some(name), Credentials::Account, Some(own)) => {
            if !headers.get_all(&name).iter().all(|value| is_placeholder(value) || is_key_id(value, account))
            {
                return Err(CredentialRefused);
            }
            headers.insert(name, own.clone());
            Ok(())
        }
        (Some(name), Credentials::Pinned, None) => is_pinned(place, account, &name, headers),
        _ => Err(CredentialRefused),
    }
}

/// Refuses a second credential beside the place's, and takes out what only says that there is none.
fn remove_placeholders(
    place: Option<&HeaderName>,
    signing: Option<&Signing>,
    headers: &mut HeaderMap,
) -> Result<(), CredentialRefused> {
    let signed = signing.map(Signing::headers).unwrap_or_default();
    let is_place = |given: &HeaderName| Some(given) == place || signed.contains(&given.as_str());
    let is_second = |given: &HeaderName| {
        CREDENTIAL_HEADERS.iter().chain(place).any(|credential| is_spelled_like(given, credential))
    };
    if headers.keys().any(|given| !is_place(given) && is_second(given)) {
        return Err(CredentialRefused);
    }
    for other in CREDENTIAL_HEADERS.into_iter().filter(|other| !is_place(other)) {
        if !headers.get_all(&other).iter().all(is_placeholder) {
            return Err(CredentialRefused);
        }
        headers.remove(other);
    }
    Ok(())
}

/// Refuses a query or body field by which the PSP would take another credential.
pub fn check_fields(
    mode: Credentials,
    place: &CredentialPlace,
    mut names: impl Iterator<Item = String>,
) -> Result<(), CredentialRefused> {
    let refused = |name: String| place.refused_fields.iter().any(|field| may_mean(&name, field));
    if mode != Credentials::Unpinned && names.any(refused) { Err(CredentialRefused) } else { Ok(()) }
}

fn is_pinned(
    place: &CredentialPlace,
    account: &Account,
    name: &HeaderName,
    headers: &HeaderMap,
) -> Result<(), CredentialRefused> {
    let mut values = headers.get_all(name).iter();
    let (Some(value), None) = (values.next(), values.next()) else { return Err(CredentialRefused) };
    let digest: [u8; 32] = Sha256::digest(presented(place, value).ok_or(CredentialRefused)?).into();
    let listed =
        account.credential_sha256.iter().fold(0, |found, one| found | one.ct_eq(&digest).unwrap_u8());
    if listed == 1 { Ok(()) } else { Err(CredentialRefused) }
}

/// The credential itself: what follows the place's scheme, of Basic `user:password` decoded; a value without any scheme
/// (Checkout.com's public key); or, where the scheme is another, the user of Basic with an empty password.
fn presented(place: &CredentialPlace, value: &HeaderValue) -> Option<Vec<u8>> {
    let text = value.to_str().ok()?;
    let Some(scheme) = &place.scheme else { return Some(text.trim().into()) };
    let Some((given, rest)) = text.split_once(' ') else { return Some(text.into()) };
    if !given.eq_ignore_ascii_case(scheme) {
        return basic_user(given, rest);
    }
    if given.eq_ignore_ascii_case("basic") {
        return BASE64_STANDARD.decode(rest.trim()).ok();
    }
    Some(rest.trim().into())
}

/// Whether another header reaches a CGI, WSGI or Rack application under the same name: they read `-` and `_` alike.
fn is_spelled_like(given: &HeaderName, name: &HeaderName) -> bool {
    given != name && given.as_str().replace('_', "-") == name.as_str().replace('_', "-")
}

/// Whether a header's value is what callers write who have no credential.
#[must_use]
pub fn is_placeholder(value: &HeaderValue) -> bool {
    let Ok(text) = value.to_str() else { return false };
    let text = text.trim();
    match text.split_once(' ') {
        None => text.is_empty() || text == PLACEHOLDER,
        Some((_, rest)) if rest.trim() == PLACEHOLDER => true,
        // Key pairs: user and password.
        Some((scheme, rest)) if rest.trim() == PLACEHOLDER_PAIR => scheme.eq_ignore_ascii_case("basic"),
        Some((scheme, rest)) => basic_user(scheme, rest).is_some_and(|user| user == PLACEHOLDER.as_bytes()),
    }
}

/// Whether a header's value is the account's key id: what callers write whose account is found by it. It is no secret, so
/// of a key pair there is no second half.
fn is_key_id(value: &HeaderValue, account: &Account) -> bool {
    let (Some(id), Ok(text)) = (account.key_id(), value.to_str()) else { return false };
    let text = text.trim();
    let Some((scheme, rest)) = text.split_once(' ') else { return text == id };
    if !scheme.eq_ignore_ascii_case("basic") {
        return rest.trim() == id;
    }
    let pair = BASE64_STANDARD.decode(rest.trim()).ok().and_then(|pair| String::from_utf8(pair).ok());
    pair.is_some_and(|pair| {
        let (user, password) = pair.split_once(':').unwrap_or((&pair, ""));
        user == id && matches!(password, "" | PLACEHOLDER)
    })
}

fn basic_user(scheme: &str, rest: &str) -> Option<Vec<u8>> {
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut user = BASE64_STANDARD.decode(rest.trim()).ok()?;
    if user.last() == Some(&b':') {
        user.pop();
    }
    (!user.contains(&b':')).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::Environment;
    use strongroom_domain::route::Route;

    fn place(header: &str, scheme: Option<&str>) -> CredentialPlace {
        CredentialPlace {
            header: Some(header.into()),
            scheme: scheme.map(str::to_owned),
            refused_fields: ["key".to_owned()].into(),
        }
    }

    fn account(text: &str, mode: Credentials) -> Account {
        let mode = if mode == Credentials::Pinned { "pinned" } else { "account" };
        let route = format!(
            "[route.psp]\nupstream = \"https://psp.example\"\ncredentials = \"{mode}\"\n\
             credential = {{ header = \"authorization\" }}"
        );
        let route = Route::parse("psp", &route, Environment::Live).unwrap();
        Account::parse("default", text, &route).unwrap()
    }

    fn one(name: &'static str, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(HeaderName::from_static(name), HeaderValue::try_from(value).unwrap())])
    }

    #[test]
    fn account_mode_sends_its_own_and_refuses_the_caller_s() {
        let account = account("tenants = [\"*\"]\ncredential_file = \"k\"", Credentials::Account);
        let own = HeaderValue::from_static("Bearer sk_own");
        let bearer = place("authorization", Some("Bearer"));
        for (name, value, allowed) in [
            ("accept", "*/*", true),
            ("authorization", "", true),
            ("authorization", "strongroom", true),
            ("authorization", "Bearer strongroom", true),
            ("authorization", "Basic c3Ryb25ncm9vbTo=", true),
            ("authorization", "Basic c3Ryb25ncm9vbTpzdHJvbmdyb29t", true),
            ("authorization", "Bearer c3Ryb25ncm9vbTpzdHJvbmdyb29t", false),
            ("x-api-key", "strongroom", true),
            ("authorization", "Bearer sk_mine", false),
            ("authorization", "Basic c2tfbWluZTo=", false),
            ("authorization", "Basic c3Ryb25ncm9vbTp4", false),
            ("authorization", "Bearer strongroom2", false),
            ("x-api-key", "mine", false),
        ] {
            let mut headers = one(name, value);
            let result = apply(Credentials::Account, &bearer, &account, Some(&own), None, &mut headers);
            assert_eq!(result.is_ok(), allowed, "{name}: {value}");
            if allowed {
                assert_eq!(headers["authorization"], "Bearer sk_own");
                assert!(!headers.contains_key("x-api-key"));
            }
        }
        let mut two = one("authorization", "Bearer strongroom");
        two.append("authorization", HeaderValue::from_static("Bearer sk_mine"));
        assert!(apply(Credentials::Account, &bearer, &account, Some(&own), None, &mut two).is_err());
    }

    #[test]
    fn the_account_s_key_id_stands_for_its_credential_and_no_other_s_does() {
        let route = "[route.psp]\nupstream = \"https://psp.example\"\n\
                     credential = { header = \"authorization\" }\n\
                     key_id = [{ header = \"authorization\", as = \"bearer\" }]";
        let route = Route::parse("psp", route, Environment::Live).unwrap();
        let text = "tenants = [\"*\"]\ncredential_file = \"k\"\nkey_id = \"m-501\"";
        let account = Account::parse("default", text, &route).unwrap();
        let own = HeaderValue::from_static("Bearer sk_own");
        let pair = |text: &str| format!("Basic {}", BASE64_STANDARD.encode(text));
        for (value, allowed) in [
            ("m-501", true),
            ("Bearer m-501", true),
            (&*pair("m-501:"), true),
            (&*pair("m-501:strongroom"), true),
            (&*pair("m-501:sk_mine"), false),
            ("Bearer m-502", false),
            ("Bearer m-501 x", false),
        ] {
            let mut headers = one("authorization", value);
            let place = place("authorization", Some("Bearer"));
            let result = apply(Credentials::Account, &place, &account, Some(&own), None, &mut headers);
            assert_eq!(result.is_ok(), allowed, "{value}");
            assert_eq!(headers["authorization"] == "Bearer sk_own", allowed, "{value}");
        }
    }

    #[test]
    fn pinned_mode_passes_a_listed_credential_only() {
        let digest = hex::encode(Sha256::digest(b"sk_listed"));
        let text = format!("tenants = [\"*\"]\ncredential_sha256 = [\"{digest}\"]");
        let account = account(&text, Credentials::Pinned);
        for (scheme, name, value, allowed) in [
            (Some("Bearer"), "authorization", "Bearer sk_listed", true),
            (Some("Bearer"), "authorization", "bearer sk_listed", true),
            (Some("Bearer"), "authorization", "Basic c2tfbGlzdGVkOg==", true),
            (None, "authorization", "sk_listed", true),
            (None, "x-api-key", "sk_listed", true),
            (Some("Bearer"), "authorization", "sk_listed", true),
            (Some("Bearer"), "authorization", "sk_other", false),
            (Some("Bearer"), "authorization", "Token sk_listed", false),
            (Some("Bearer"), "authorization", "Bearer sk_other", false),
            (Some("Bearer"), "accept", "*/*", false),
        ] {
            let header = if name == "x-api-key" { name } else { "authorization" };
            let mut headers = one(name, value);
            let result =
                apply(Credentials::Pinned, &place(header, scheme), &account, None, None, &mut headers);
            assert_eq!(result.is_ok(), allowed, "{value}");
        }
    }

    #[test]
    fn a_second_credential_in_a_field_is_refused() {
        let place = place("authorization", None);
        let names = |name: &'static str| std::iter::once(name.to_owned());
        assert!(check_fields(Credentials::Account, &place, names("key")).is_err());
        assert!(check_fields(Credentials::Pinned, &place, names("amount")).is_ok());
        assert!(check_fields(Credentials::Unpinned, &place, names("key")).is_ok());
    }
}
