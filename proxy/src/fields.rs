//! Names of query and top-level body fields, to find a second credential among them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use serde::de::IgnoredAny;

/// The decoded names of a query or a form.
pub fn form_names(text: &str) -> impl Iterator<Item = Cow<'_, str>> {
    text.split('&').map(|pair| pair.split_once('=').map_or(pair, |(name, _)| name)).map(|name| {
        let spaced = name.replace('+', " ");
        Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
    })
}

/// The decoded top-level names of a body, by its content type. A body of another kind has none.
#[must_use]
pub fn body_names(content_type: Option<&str>, body: &[u8]) -> Vec<String> {
    match content_type.map(essence) {
        Some(kind) if kind == "application/x-www-form-urlencoded" => std::str::from_utf8(body)
            .map_or_else(|_| Vec::new(), |text| form_names(text).map(Cow::into_owned).collect()),
        Some(kind) if is_json(&kind) => {
            let members: Option<BTreeMap<String, IgnoredAny>> = serde_json::from_slice(body).ok();
            members.map_or_else(Vec::new, |members| members.into_keys().collect())
        }
        _ => Vec::new(),
    }
}

/// A media type without parameters, lower case.
#[must_use]
pub fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// `application/json` and `application/*+json` (RFC 6839).
#[must_use]
pub fn is_json(essence: &str) -> bool {
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_before_they_are_compared() {
        assert_eq!(form_names("a=1&k%65y=2&b+c").collect::<Vec<_>>(), ["a", "key", "b c"]);
        let form = Some("application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(body_names(form, b"ke%79=1"), ["key"]);
        assert_eq!(body_names(Some("application/json"), br#"{"k\u0065y":{"deep":1}}"#), ["key"]);
        assert!(body_names(Some("text/plain"), b"key=1").is_empty() && body_names(None, b"key=1").is_empty());
    }
}
