//! Names of query and top-level body fields, to find a second credential among them.
//!
//! Promises: a name is found in whatever way a PSP may read it: parted by `;` as some still do, in any encoding, with
//! brackets or spaces around it. What has no names we can read is not taken for nameless.

use std::collections::BTreeMap;

use serde::de::IgnoredAny;

use crate::body::json::Reading;
use crate::body::{Malformed, form, multipart, xml};

/// The decoded names of a query or a form.
pub fn form_names(text: &[u8]) -> impl Iterator<Item = String> + '_ {
    text.split(|byte| matches!(byte, b'&' | b';')).map(|pair| {
        let name = pair.split(|byte| *byte == b'=').next().unwrap_or_default();
        String::from_utf8_lossy(form::decode(name).bytes()).into_owned()
    })
}

/// The decoded top-level names of a body, by its content type. `None`: they cannot be read.
#[must_use]
pub fn body_names(content_type: Option<&str>, body: &[u8]) -> Option<Vec<String>> {
    if body.is_empty() {
        return Some(Vec::new());
    }
    let kind = content_type.map(essence)?;
    if kind == "application/x-www-form-urlencoded" {
        return Some(form_names(body).collect());
    }
    if is_xml(&kind) {
        return xml_names(body);
    }
    if kind == "multipart/form-data" {
        let parts = multipart::parts(body, multipart::boundary(content_type?)?).ok()?;
        let name = |part: multipart::Part| String::from_utf8_lossy(&body[part.name]).into_owned();
        return Some(parts.into_iter().map(name).collect());
    }
    if !is_json(&kind) {
        return None;
    }
    match serde_json::from_slice::<BTreeMap<String, IgnoredAny>>(body) {
        Ok(members) => Some(members.into_keys().collect()),
        // A list or a lone value has no names.
        Err(_) => serde_json::from_slice::<IgnoredAny>(body).ok().map(|_| Vec::new()),
    }
}

/// The root's attributes, its children and theirs, by their local names.
fn xml_names(body: &[u8]) -> Option<Vec<String>> {
    let mut names = Vec::new();
    let read = xml::scan(body, None, Reading::Strict, |path, event| {
        if matches!(event, xml::Event::Value(_)) && path.depth() <= 2 {
            names.push(path.name().to_owned());
        }
        Ok::<(), Malformed>(())
    });
    read.ok().map(|()| names)
}

/// Whether a PSP may take a field of this name for `field`: Rack reads `[key]` and `key[]` as `key`, PHP ` key` too.
#[must_use]
pub fn may_mean(name: &str, field: &str) -> bool {
    let bare = |char: char| matches!(char, '[' | ']') || char.is_whitespace() || char.is_control();
    let name = name.trim_start_matches(bare);
    let end = name.find(bare).unwrap_or(name.len());
    name[..end].eq_ignore_ascii_case(field)
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

/// `text/xml`, `application/xml` and `application/*+xml` (RFC 7303).
#[must_use]
pub fn is_xml(essence: &str) -> bool {
    matches!(essence, "text/xml" | "application/xml")
        || (essence.starts_with("application/") && essence.ends_with("+xml"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_decoded_before_they_are_compared() {
        assert_eq!(form_names(b"a=1&k%65y=2;b+c").collect::<Vec<_>>(), ["a", "key", "b c"]);
        let form = Some("application/x-www-form-urlencoded; charset=utf-8");
        assert_eq!(body_names(form, b"ke%79=1&a=\xff").unwrap(), ["key", "a"]);
        let json = Some("application/json");
        assert_eq!(body_names(json, br#"{"k\u0065y":{"deep":1}}"#).unwrap(), ["key"]);
        assert_eq!((body_names(json, b"[1]"), body_names(None, b"")), (Some(Vec::new()), Some(Vec::new())));
        let xml = body_names(Some("text/xml"), b"<r a='1'><n:key xmlns:n='x'/><b><key/></b></r>").unwrap();
        assert_eq!(xml, ["a", "n", "key", "b", "r"]);
        let parts = b"--x\r\nContent-Disposition: form-data; name=\"key\"\r\n\r\n1\r\n--x--";
        assert_eq!(body_names(Some("multipart/form-data; boundary=x"), parts).unwrap(), ["key"]);
        for (kind, body) in [
            (Some("text/xml"), &b"<a>"[..]),
            (Some("multipart/form-data"), &parts[..]),
            (Some("text/plain"), &b"key=1"[..]),
            (None, b"key=1"),
            (json, b"\xef\xbb\xbf{\"key\":1}"),
            (json, "[".repeat(200).as_bytes()),
        ] {
            assert_eq!(body_names(kind, body), None);
        }
    }

    #[test]
    fn a_name_is_what_a_psp_may_take_it_for() {
        for name in ["key", "Key", "key[]", "[key]", " key", "key\0", "key[a]", "\tkey "] {
            assert!(may_mean(name, "key"), "{name}");
        }
        for name in ["keys", "monkey", "card[key]", "", "k", "key_id"] {
            assert!(!may_mean(name, "key"), "{name}");
        }
    }
}
