//! Strict query strings: every parameter known, none twice, and never a word of them in an error.
//!
//! Upholds: C-03.

use std::collections::BTreeMap;

use percent_encoding::percent_decode_str;
use strongroom_domain::{Problem, ProblemKind};

/// Parameters by name.
pub type Parameters = BTreeMap<&'static str, String>;

/// Reads a query string. `names` are the parameters the call knows, each as the pointer an error may give (`/limit`).
pub fn parse(query: Option<&str>, names: &[&'static str]) -> Result<Parameters, Problem> {
    let mut parameters = Parameters::new();
    for pair in query.filter(|query| !query.is_empty()).into_iter().flat_map(|query| query.split('&')) {
        let (name, value) =
            pair.split_once('=').ok_or_else(|| invalid("the query is not pairs of name=value"))?;
        let name = decode(name)?;
        let pointer = names.iter().find(|pointer| pointer.strip_prefix('/') == Some(&name));
        let pointer = *pointer.ok_or_else(|| invalid("the query has a parameter this call does not know"))?;
        if parameters.insert(&pointer[1..], decode(value)?).is_some() {
            return Err(invalid("a query parameter stands there twice").at(pointer));
        }
    }
    Ok(parameters)
}

/// A form-encoded text: `+` is a space, `%` begins two hex digits.
fn decode(text: &str) -> Result<String, Problem> {
    let bytes = text.as_bytes();
    let is_whole =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|pair| pair.iter().all(u8::is_ascii_hexdigit));
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && !is_whole(at)) {
        return Err(invalid("the query is not percent-encoded UTF-8"));
    }
    let spaced = text.replace('+', " ");
    let decoded = percent_decode_str(&spaced).decode_utf8();
    decoded.map(std::borrow::Cow::into_owned).map_err(|_| invalid("the query is not percent-encoded UTF-8"))
}

const fn invalid(detail: &'static str) -> Problem {
    Problem::because(ProblemKind::InvalidRequest, detail)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["/limit", "/cursor"];

    #[test]
    fn what_is_known_and_single_is_read() {
        for none in [None, Some("")] {
            assert_eq!(parse(none, NAMES), Ok(Parameters::new()));
        }
        let read = parse(Some("limit=7&cursor=a%2Bb+c%3d"), NAMES).unwrap();
        assert_eq!(read, Parameters::from([("limit", "7".to_owned()), ("cursor", "a+b c=".to_owned())]));
    }

    #[test]
    fn everything_else_is_refused_without_a_word_of_it() {
        for (query, pointer) in [
            ("limit=1&limit=1", Some("/limit")),
            ("limit=1&%6cimit=2", Some("/limit")),
            ("Limit=1", None),
            ("number=1", None),
            ("limit", None),
            ("&limit=1", None),
            ("limit=1&", None),
            ("limit=%", None),
            ("limit=%1", None),
            ("limit=%zz", None),
            ("limit=%ff", None),
            ("/limit=1", None),
        ] {
            let problem = parse(Some(query), NAMES).unwrap_err();
            assert_eq!((problem.kind, problem.pointer), (ProblemKind::InvalidRequest, pointer), "{query}");
            assert!(!problem.detail.contains("number"), "{query}");
        }
    }
}
