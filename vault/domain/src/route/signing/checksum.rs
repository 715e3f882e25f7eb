//! A hash over declared fields and the shared secret, in a field of the JSON body itself: Nuvei's checksum.
//!
//! Promises: every call with card data has its own list of parts, and its secret among them.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{HashName, Output, Part, SecretEncoding};
use crate::route::{BodyFormat, Route};

/// How a route's checksum is made.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ChecksumSigning {
    /// The hash.
    #[serde(default)]
    pub hash: HashName,
    /// How the key is written in its file; it is hashed as it is written there.
    #[serde(default)]
    pub secret: SecretEncoding,
    /// JSON Pointer of the string the result replaces.
    pub field: String,
    /// How the result is written.
    pub output: Output,
    /// What is hashed, by the call's path.
    pub calls: Vec<ChecksumCall>,
}

/// What is hashed at some paths.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct ChecksumCall {
    /// The paths, as the calls of the route write them: without `{name}`.
    pub paths: BTreeSet<String>,
    /// One after the other with nothing between: `field:POINTER`, `secret`, `text:…`.
    pub parts: Vec<Part>,
}

impl ChecksumSigning {
    /// What is hashed at a path. `None`: calls there carry no checksum.
    #[must_use]
    pub fn call(&self, path: &str) -> Option<&ChecksumCall> {
        self.calls.iter().find(|call| call.paths.contains(path))
    }

    pub(super) fn check(&self) -> Result<(), String> {
        let points = |at: &str| at.len() > 1 && at.starts_with('/');
        if !points(&self.field) {
            return Err("`sign`: `field` is a JSON Pointer".into());
        }
        let mut seen = BTreeSet::new();
        for call in &self.calls {
            if let Some(twice) = call.paths.iter().find(|path| !seen.insert(path.as_str())) {
                return Err(format!("`sign`: {twice} is listed twice"));
            }
            if !call.parts.contains(&Part::Secret) {
                return Err("`sign`: without `secret` anybody could make the checksum".into());
            }
            let usable = |part: &Part| match part {
                Part::Field(at) => points(at) && *at != self.field,
                Part::Secret | Part::Text(_) => true,
                _ => false,
            };
            if !call.parts.iter().all(usable) {
                return Err(
                    "`sign`: a checksum's parts are `field:/POINTER` (not its own), `secret` and `text:…`"
                        .into(),
                );
            }
        }
        Ok(())
    }

    /// Whether every call with card data has its list, and every list its calls.
    pub(in crate::route) fn fits(&self, route: &Route) -> Result<(), String> {
        for call in &route.allow {
            let path = call.path.as_str();
            if call.body != BodyFormat::Json || self.call(path).is_none() {
                return Err(format!(
                    "`sign`: {path} carries card data and has no checksum: list it in `calls`"
                ));
            }
        }
        let allowed = route.allow.iter().map(|call| call.path.as_str());
        let paths: BTreeSet<_> = allowed.chain(route.pass.iter().map(|call| call.path.as_str())).collect();
        let mut listed = self.calls.iter().flat_map(|call| &call.paths);
        match listed.find(|path| !paths.contains(path.as_str())) {
            Some(path) => Err(format!("`sign`: {path} is no call of the route")),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::environment::Environment;
    use crate::route::Route;

    fn route(calls: &str, body: &str) -> Result<Route, String> {
        let at = if body == "json" { "/n" } else { "n" };
        let text = format!(
            "[route.psp]\nupstream = \"https://psp.example\"\n\
             [route.psp.sign]\nkind = \"checksum\"\nfield = \"/checksum\"\noutput = \"hex\"\ncalls = [{calls}]\n\
             [[route.psp.allow]]\nmethod = \"POST\"\npath = \"/pay\"\nbody = \"{body}\"\n\
             inject = [{{ at = \"{at}\", value = \"number\" }}]\n\
             [[route.psp.pass]]\nmethod = \"POST\"\npath = \"/void\"\n"
        );
        Route::parse("psp", &text, Environment::Live).map_err(|error| error.to_string())
    }

    #[test]
    fn a_checksum_covers_every_call_with_card_data_and_holds_the_secret() {
        let pay = r#"{ paths = ["/pay"], parts = ["field:/amount", "secret"] }"#;
        assert!(route(pay, "json").is_ok());
        for (calls, body, why) in [
            ("", "json", "no checksum"),
            (pay, "form", "no checksum"),
            (r#"{ paths = ["/void"], parts = ["secret"] }"#, "json", "no checksum"),
            (r#"{ paths = ["/pay"], parts = ["field:/amount"] }"#, "json", "anybody"),
            (r#"{ paths = ["/pay"], parts = ["field:/checksum", "secret"] }"#, "json", "not its own"),
            (r#"{ paths = ["/pay"], parts = ["field:amount", "secret"] }"#, "json", "POINTER"),
            (r#"{ paths = ["/pay"], parts = ["header:x-a", "secret"] }"#, "json", "parts are"),
            (&format!("{pay}, {pay}"), "json", "listed twice"),
            (r#"{ paths = ["/pay", "/else"], parts = ["secret"] }"#, "json", "no call of the route"),
        ] {
            let error = route(calls, body).unwrap_err();
            assert!(error.contains(why), "{calls}: {error}");
        }
    }

    #[test]
    fn a_field_is_part_of_no_other_signature() {
        let text = "[route.psp]\nupstream = \"https://psp.example\"\n[route.psp.sign]\nkind = \"hmac\"\n\
                    parts = [\"field:/a\", \"body\"]\noutput = \"hex\"\nheader = \"x-signature\"\n";
        let error = Route::parse("psp", text, Environment::Live).unwrap_err().to_string();
        assert!(error.contains("checksum"), "{error}");
    }
}
