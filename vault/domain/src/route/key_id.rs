//! Where a request says by which key it wants to be made: it names the account that has that key.
//!
//! Promises: a place that exists is one a message has and no other place of the route stands in; no account's key id is
//! the placeholder, or what no header takes.
//! Does not promise: that a key id is a secret. It is none: PSPs send theirs in clear beside the signature.

use serde::Deserialize;

use super::Route;

/// One place where requests name a key (`key_id = [...]` of a route).
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyIdPlace {
    /// The header, lower case.
    pub header: String,
    /// How it stands there.
    #[serde(rename = "as")]
    pub form: KeyIdForm,
}

/// How a key id stands in a header.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyIdForm {
    /// The whole value.
    Value,
    /// What follows `Bearer`.
    Bearer,
    /// The user of `Basic`.
    BasicUser,
    /// The parameter `keyid`: HTTP signatures of the draft, and `Signature-Input` of RFC 9421.
    Keyid,
    /// `kid` in the header of the JWT that follows `Bearer`.
    JwtKid,
    /// What stands before the scope in `Credential=` of AWS Signature Version 4.
    AwsCredential,
}

/// What callers write who leave the key to the proxy: no key of anybody's.
const PLACEHOLDER: &str = "strongroom";
/// Longest key id. PSPs' own have 36 characters at most.
const KEY_ID_BYTES_MAX: usize = 255;

/// Checks the places of a route.
pub(super) fn check(places: &mut [KeyIdPlace]) -> Result<(), String> {
    for index in 0..places.len() {
        let header = super::file::header(&places[index].header)?;
        places[index].header = header;
        if places[..index].contains(&places[index]) {
            return Err(format!("`key_id`: `{}` is declared twice", places[index].header));
        }
    }
    Ok(())
}

/// Checks an account's own key id against its route.
pub(super) fn fits(own: Option<&str>, of_signing: Option<&str>, route: &Route) -> Result<(), &'static str> {
    let Some(id) = own else { return Ok(()) };
    if route.key_ids.is_empty() {
        return Err("the route finds no account by a key id: leave out `key_id`");
    }
    if of_signing.is_some() {
        return Err("requests name the key that signs: leave out `key_id` beside `signing.key_id`");
    }
    let visible = id.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\,;:/".contains(&byte));
    if id.is_empty() || id.len() > KEY_ID_BYTES_MAX || !visible {
        return Err(
            "`key_id` is letters, digits and signs a header takes, without quotes, commas, colons or slashes",
        );
    }
    if id == PLACEHOLDER {
        Err("`key_id` cannot be `strongroom`: that leaves the key to the proxy")
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::route::Account;

    fn route(places: &str, sign: &str) -> Option<Route> {
        let text = format!(
            "[route.psp]\nupstream = \"https://psp.example\"\ncredential = {{ header = \"x-api-key\" }}\n\
             key_id = [{places}]\n{sign}\n"
        );
        Route::parse("psp", &text, Environment::Live).ok()
    }

    const VALUE: &str = r#"{ header = "X-Api-Key", as = "value" }"#;

    #[test]
    fn a_place_is_a_header_read_one_way() {
        for (places, right) in [
            ("", true),
            (VALUE, true),
            (
                r#"{ header = "authorization", as = "bearer" }, { header = "authorization", as = "jwt-kid" }"#,
                true,
            ),
            (&format!("{VALUE}, {VALUE}"), false),
            (r#"{ header = "x api", as = "value" }"#, false),
            (r#"{ header = "x-api-key", as = "guess" }"#, false),
            (r#"{ header = "x-api-key" }"#, false),
        ] {
            assert_eq!(route(places, "").is_some(), right, "{places}");
        }
        assert_eq!(route(VALUE, "").unwrap().key_ids[0].header, "x-api-key");
    }

    #[test]
    fn an_account_has_one_key_id_and_it_is_somebody_s() {
        let sign = "[route.psp.sign]\nkind = \"aws-v4\"\nregion = \"a\"\nservice = \"b\"";
        let key = "\n[signing]\nkey_id = \"AKID\"\nsecret_file = \"s\"";
        for (places, sign, text, id) in [
            (VALUE, "", "key_id = \"m-501\"", Some(Some("m-501"))),
            (VALUE, "", "", Some(None)),
            (VALUE, sign, key, Some(Some("AKID"))),
            ("", sign, key, Some(Some("AKID"))),
            (VALUE, sign, &*format!("key_id = \"m-501\"{key}"), None),
            ("", "", "key_id = \"m-501\"", None),
            (VALUE, "", "key_id = \"strongroom\"", None),
            (VALUE, "", "key_id = \"\"", None),
            (VALUE, "", "key_id = \"a b\"", None),
            (VALUE, "", "key_id = \"user:password\"", None),
        ] {
            let text = format!("tenants = [\"*\"]\ncredential_file = \"k\"\n{text}");
            let account = Account::parse("default", &text, &route(places, sign).unwrap());
            assert_eq!(account.ok().as_ref().map(Account::key_id), id, "{places} {text}");
        }
    }
}
