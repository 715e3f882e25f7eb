//! Which field a value stands in.

use std::collections::BTreeSet;

use crate::body::json::{Path, Pointer};
use crate::body::xml;

/// Names of the field a verification code is in, in lower case, without `_` and `-`.
const CVC_NAMES: &[&str] = &[
    "cardcode",
    "cardcvc",
    "cardcvv",
    "cardsecuritycode",
    "cardverificationcode",
    "cardverificationvalue",
    "csc",
    "cvc",
    "cvc2",
    "cvn",
    "cvn2",
    "cvv",
    "cvv2",
    "cvvcode",
    "securitycode",
    "verificationcode",
    "verificationvalue",
];

/// Whether a field of this name holds a verification code, as PSPs call it.
pub(super) fn is_cvc_name(name: &str) -> bool {
    let plain: String = name
        .chars()
        .filter(|char| !matches!(char, '_' | '-'))
        .map(|char| char.to_ascii_lowercase())
        .collect();
    CVC_NAMES.contains(&plain.as_str())
}

/// Declared fields. One that begins with `/` is an exact JSON Pointer, or in XML the way from the root (`/a/b/@c`); any
/// other is a name, and means the field of that name at any depth, or, in a form, that whole decoded key.
pub(super) struct Selectors<'a> {
    pointers: Vec<Pointer>,
    names: &'a BTreeSet<String>,
}

impl<'a> Selectors<'a> {
    pub(super) fn new(declared: &'a BTreeSet<String>) -> Self {
        Self { pointers: declared.iter().filter_map(|text| Pointer::parse(text)).collect(), names: declared }
    }

    pub(super) fn hold_path(&self, path: &Path<'_>) -> bool {
        path.name().is_some_and(|name| self.names.contains(name))
            || self.pointers.iter().any(|pointer| pointer.is(path))
    }

    pub(super) fn hold_xml_path(&self, path: &xml::Path<'_>) -> bool {
        self.names.contains(path.name()) || self.pointers.iter().any(|pointer| path.is_at(pointer.steps()))
    }

    /// By a name, or by the last part of a name like `card[cvc]` or `card.cvc`.
    pub(super) fn hold_name(&self, name: &str) -> bool {
        self.names.contains(name) || self.names.contains(last_part(name))
    }
}

/// `cvc` of `card[cvc]`, `card.cvc` and `ns:cvc`.
pub(super) fn last_part(name: &str) -> &str {
    name.trim_end_matches(']').rsplit(['[', '.', ':']).next().unwrap_or(name)
}

/// How far before a value its name is looked for: bounds the work per value.
const REACH: usize = 256;

/// The name of the field that a value in any text stands in: `name: value`, `name=value`, `"name": "value"`,
/// `name="value"`, `<name …>value` and `<name><![CDATA[value`.
pub(super) fn name_before(text: &[u8], at: usize) -> Option<&str> {
    let before = &text[at.saturating_sub(REACH)..at];
    let before = before.trim_ascii_end();
    let before = before.strip_suffix(b"<![CDATA[").unwrap_or(before).trim_ascii_end();
    if let Some(tag) = before.strip_suffix(b">") {
        let open = tag.iter().rposition(|byte| matches!(byte, b'<' | b'>'))?;
        let inside = (tag[open] == b'<').then(|| &tag[open + 1..])?;
        let name = inside.split(|byte| byte.is_ascii_whitespace()).next()?;
        return std::str::from_utf8(name).ok().filter(|name| !name.starts_with(['/', '!', '?']));
    }
    let separator = unquoted(before).strip_suffix(b":").or_else(|| unquoted(before).strip_suffix(b"="))?;
    let named = unquoted(separator);
    let length = named.iter().rev().take_while(|byte| is_name_byte(**byte)).count();
    std::str::from_utf8(&named[named.len() - length..]).ok().filter(|name| !name.is_empty())
}

fn is_name_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"_-.:[]".contains(&byte)
}

/// Without the white space and (escaped) quotes at the end.
fn unquoted(text: &[u8]) -> &[u8] {
    let end = text.iter().rposition(|byte| !byte.is_ascii_whitespace() && !b"\"'\\".contains(byte));
    &text[..end.map_or(0, |end| end + 1)]
}

/// Whether a value in any text ends here: nothing that could be more of it follows.
pub(super) fn ends_at(text: &[u8], at: usize) -> bool {
    match text.get(at) {
        None => true,
        Some(byte) => byte.is_ascii_whitespace() || b"\"'\\<&,;}])".contains(byte),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verification_codes_have_many_names() {
        for name in ["cvc", "CVV", "cvv2", "cvn", "security_code", "securityCode", "card_code", "cardCode"] {
            assert!(is_cvc_name(name), "{name}");
        }
        for name in ["cvc_check", "cvvResult", "code", "amount", "cid", ""] {
            assert!(!is_cvc_name(name), "{name}");
        }
    }

    #[test]
    fn names_are_found_before_values() {
        for (before, name) in [
            ("<cvc>", Some("cvc")),
            ("<v:cvc type=\"x\">\n ", Some("v:cvc")),
            ("<cardCode><![CDATA[", Some("cardCode")),
            ("<a cvc=\"", Some("cvc")),
            ("{\"cvc\": \"", Some("cvc")),
            ("{\\\"cvc\\\":\\\"", Some("cvc")),
            ("{\"cvc\" : ", Some("cvc")),
            ("a=1&card[cvc]=", Some("card[cvc]")),
            ("cvc: ", Some("cvc")),
            ("</cvc>", None),
            ("a > ", None),
            ("the code ", None),
            ("", None),
        ] {
            assert_eq!(name_before(before.as_bytes(), before.len()), name, "{before}");
        }
        assert_eq!(last_part("card[cvc]"), "cvc");
        assert_eq!(last_part("v:cvc"), "cvc");
        assert_eq!(last_part("cvc"), "cvc");
    }
}
