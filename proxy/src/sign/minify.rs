//! JSON without whitespace outside its strings.
//!
//! Promises: of two bodies a JSON reader reads alike but for whitespace, one; what is between quotes stays.

use zeroize::Zeroizing;

/// Takes whitespace outside strings out.
pub(super) fn json(body: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut out = Zeroizing::new(Vec::with_capacity(body.len()));
    let (mut in_string, mut escaped) = (false, false);
    for byte in body {
        if !in_string && matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
            continue;
        }
        match (in_string, escaped, byte) {
            (true, true, _) => escaped = false,
            (true, false, b'\\') => escaped = true,
            (_, _, b'"') => in_string = !in_string,
            _ => {}
        }
        out.push(*byte);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whitespace_goes_and_strings_stay() {
        for (body, minified) in [
            (r#"{ "a" : [ 1 , "b  c" ] }"#, r#"{"a":[1,"b  c"]}"#),
            ("{\r\n\t\"a\\\" b\\\\\" : \"\\\\\" , \"c\" : 1 }", r#"{"a\" b\\":"\\","c":1}"#),
            ("", ""),
            ("  ", ""),
        ] {
            assert_eq!(json(body.as_bytes()).as_slice(), minified.as_bytes());
        }
    }

    proptest::proptest! {
        #[test]
        fn a_reader_reads_the_same_and_nothing_is_left_to_take_out(texts: Vec<String>, number: i64) {
            let value = serde_json::json!({ "texts": texts, "deep": { "number": number, " ": null } });
            let minified = json(serde_json::to_string_pretty(&value).unwrap().as_bytes());
            proptest::prop_assert_eq!(&serde_json::from_slice::<serde_json::Value>(&minified).unwrap(), &value);
            let compact = serde_json::to_string(&value).unwrap();
            proptest::prop_assert_eq!(minified.as_slice(), compact.as_bytes());
        }
    }
}
