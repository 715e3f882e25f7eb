//! How a request names the PSP account it is for, besides the credential: every PSP has its own way.
//!
//! Promises: a place that exists can be found in requests of its route; an account that exists says of every place its
//! route requires what may stand there.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use super::signing::lies_inside;
use super::{Credentials, Route};

/// One place where requests name the account (`identity = [...]` of a route).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdentityPlace {
    /// What accounts call it in their `[identity]` table. Several places may share one name.
    pub name: String,
    /// Where it stands.
    pub at: IdentityAt,
    /// Whether a request without it is refused, or, in a header, gets it. Not required means: refused unless listed.
    pub required: bool,
}

/// Where requests name the account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum IdentityAt {
    /// A header, lower case.
    Header(String),
    /// The path segment that stands for this `{name}` in the patterns of calls.
    Path(String),
    /// A query field.
    Query(String),
    /// A field of a body: a JSON Pointer, or a form's field. A pointer may begin with `/*/`: whatever the root's one member
    /// is called.
    Field(String),
    /// An element of an XML body, or an attribute of one (`a/b@c`): names from the root, whose own may be `*`.
    Element(String),
    /// A claim of the JWT in `Authorization`: routes that sign as CyberSource does.
    Claim(String),
}

/// What an account allows under one name.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(untagged)]
pub enum IdentityValue {
    /// One value: requests bring it, or the placeholder, or leave it to the proxy.
    One(String),
    /// One of several, of the caller's choice; `["*"]` is any.
    Listed(Vec<String>),
    /// A secret the proxy sets (`credentials = "account"`): one line in this file of the secrets folder.
    File {
        /// The file.
        file: PathBuf,
    },
    /// A secret callers bring (`credentials = "pinned"`).
    Digests {
        /// SHA-256 of each that may come, as 64 lower-case hex digits.
        sha256: Vec<Sha256Hex>,
    },
}

/// A SHA-256 as account files write it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct Sha256Hex(pub [u8; 32]);

impl TryFrom<String> for Sha256Hex {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, &'static str> {
        super::account::sha256(&text).map(Self).ok_or("not 64 lower-case hex digits")
    }
}

/// In a list: every value.
pub const ANY: &str = "*";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityTable {
    name: String,
    header: Option<String>,
    path: Option<String>,
    query: Option<String>,
    field: Option<String>,
    element: Option<String>,
    claim: Option<String>,
    #[serde(default = "required")]
    required: bool,
}

const fn required() -> bool {
    true
}

impl IdentityTable {
    pub(super) fn into_place(self) -> Result<IdentityPlace, String> {
        let Self { name, header, path, query, field, element, claim, required } = self;
        let header = header.map(|name| super::file::header(&name)).transpose()?;
        let mut places = [
            header.map(IdentityAt::Header),
            path.map(IdentityAt::Path),
            query.map(IdentityAt::Query),
            field.map(IdentityAt::Field),
            element.map(IdentityAt::Element),
            claim.map(IdentityAt::Claim),
        ]
        .into_iter()
        .flatten();
        match (places.next(), places.next()) {
            (Some(at), None) if is_word(&name) => Ok(IdentityPlace { name, at, required }),
            _ => Err(format!(
                "`identity`: `{name}` stands in one place: `header`, `path`, `query`, `field`, `element` or `claim`"
            )),
        }
    }
}

/// Checks the places of a route against its calls.
pub(super) fn check(route: &Route) -> Result<(), String> {
    let mut seen = Vec::new();
    for place in &route.identity {
        let found = match &place.at {
            IdentityAt::Path(name) => {
                let calls =
                    route.allow.iter().map(|call| &call.path).chain(route.pass.iter().map(|call| &call.path));
                calls.clone().any(|path| path.has(name))
            }
            IdentityAt::Claim(_) => matches!(route.signing, Some(super::Signing::CyberSource {})),
            IdentityAt::Header(name) => {
                let credential = route.credential_place.header.as_ref();
                credential != Some(name)
            }
            IdentityAt::Query(name) => !name.is_empty(),
            IdentityAt::Field(at) => {
                let below = at.strip_prefix("/*/").unwrap_or(at);
                !below.is_empty() && !below.split('/').any(|step| step == "*")
            }
            IdentityAt::Element(at) => {
                let below = at.strip_prefix("*/").unwrap_or(at);
                super::selector::is_xml_path(below)
            }
        };
        if !found || seen.contains(&&place.at) {
            return Err(format!(
                "`identity`: `{}` can never be found there, or is declared twice",
                place.name
            ));
        }
        seen.push(&place.at);
    }
    Ok(())
}

/// Checks an account's values against the places of its route.
pub(super) fn fits(values: &BTreeMap<String, IdentityValue>, route: &Route) -> Result<(), &'static str> {
    for place in route.identity.iter().filter(|place| place.required) {
        if !values.contains_key(&place.name) && route.credentials != Credentials::Unpinned {
            return Err("`identity`: the route requires a name that is not given");
        }
    }
    for (name, value) in values {
        if !route.identity.iter().any(|place| place.name == *name) {
            return Err("`identity`: a name that is no place of the route");
        }
        value.check(route.credentials)?;
    }
    Ok(())
}

impl IdentityValue {
    fn check(&self, credentials: Credentials) -> Result<(), &'static str> {
        match (self, credentials) {
            (Self::One(value), _) if is_value(value) && value != ANY => Ok(()),
            (Self::Listed(values), _) if !values.is_empty() && values.iter().all(|value| is_value(value)) => {
                Ok(())
            }
            (Self::File { file }, Credentials::Account) if lies_inside(file) => Ok(()),
            (Self::Digests { sha256 }, Credentials::Pinned) if !sha256.is_empty() => Ok(()),
            (Self::One(_) | Self::Listed(_), _) => {
                Err("`identity`: a value is visible characters, a list holds at least one; any is [\"*\"]")
            }
            (Self::File { .. }, _) => Err(
                "`identity`: `file` is for `credentials = \"account\"` and lies inside the secrets folder",
            ),
            (Self::Digests { .. }, _) => Err("`identity`: `sha256` is for `credentials = \"pinned\"`"),
        }
    }
}

fn is_word(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

fn is_value(value: &str) -> bool {
    !value.is_empty() && value.len() <= 255 && value.bytes().all(|byte| byte.is_ascii_graphic())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::Environment;
    use crate::route::Account;

    fn route(mode: &str, identity: &str) -> Option<Route> {
        let text = format!(
            "[route.psp]\nupstream = \"https://psp.example\"\ncredentials = \"{mode}\"\nidentity = [{identity}]\n\
             [[route.psp.pass]]\nmethod = \"GET\"\npath = \"/merchant/{{merchant}}/order\"\n"
        );
        Route::parse("psp", &text, Environment::Test).ok()
    }

    #[test]
    fn a_place_can_be_found_in_requests_of_its_route() {
        for (identity, found) in [
            (r#"{ name = "m", header = "X-Login" }"#, true),
            (r#"{ name = "m", path = "merchant" }"#, true),
            (r#"{ name = "m", query = "merchantAccount" }"#, true),
            (r#"{ name = "m", field = "/merchantAccount", required = false }"#, true),
            (r#"{ name = "m", field = "/*/auth/name" }"#, true),
            (r#"{ name = "m", element = "*/auth/name" }"#, true),
            (r#"{ name = "m", element = "request/auth/name" }"#, true),
            (r#"{ name = "m", field = "/auth/*/name" }"#, false),
            (r#"{ name = "m", element = "request/*/name" }"#, false),
            (r#"{ name = "m", element = "*/auth@name" }"#, true),
            (r#"{ name = "m", element = "request@merchant" }"#, true),
            (r#"{ name = "m", element = "*@merchant" }"#, false),
            (r#"{ name = "m", element = "request@a@b" }"#, false),
            (r#"{ name = "m", element = "request/@a" }"#, false),
            (r#"{ name = "m", path = "order" }"#, false),
            (r#"{ name = "m", claim = "iss" }"#, false),
            (r#"{ name = "m", header = "a", path = "merchant" }"#, false),
            (r#"{ name = "m" }"#, false),
            (r#"{ name = "M", header = "X-Login" }"#, false),
            (r#"{ name = "m", header = "X-Login" }, { name = "n", header = "x-login" }"#, false),
        ] {
            assert_eq!(route("account", identity).is_some(), found, "{identity}");
        }
    }

    #[test]
    fn an_account_says_what_may_stand_at_its_routes_places() {
        let place =
            r#"{ name = "m", header = "X-Login" }, { name = "o", header = "X-Other", required = false }"#;
        let digest = "0".repeat(64);
        for (mode, values, fits) in [
            ("account", "m = \"one\"", true),
            ("account", "m = [\"one\", \"two\"]\no = [\"*\"]", true),
            ("account", "m = { file = \"login\" }", true),
            ("pinned", &*format!("m = {{ sha256 = [\"{digest}\"] }}"), true),
            ("pinned", "m = \"one\"", true),
            ("account", "", false),
            ("account", "o = \"one\"", false),
            ("account", "m = \"one\"\nsurprise = \"x\"", false),
            ("account", "m = []", false),
            ("account", "m = \"*\"", false),
            ("account", "m = \"a b\"", false),
            ("account", "m = { file = \"../login\" }", false),
            ("pinned", "m = { file = \"login\" }", false),
            ("account", &*format!("m = {{ sha256 = [\"{digest}\"] }}"), false),
            ("pinned", "m = { sha256 = [\"12\"] }", false),
        ] {
            let text = format!("tenants = [\"*\"]\n[identity]\n{values}");
            let account = Account::parse("default", &text, &route(mode, place).unwrap());
            assert_eq!(account.is_ok(), fits, "{mode} {values}");
        }
    }
}
