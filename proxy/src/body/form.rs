//! `application/x-www-form-urlencoded` (WHATWG URL §5), pair by pair.
//!
//! Promises: linear; every pair's ranges are those of the body as it came, in whatever of `%5B` or `[`, `%20` or `+`
//! the client chose.

use std::ops::Range;

use super::escapes::{Mapped, hex_pair};

/// One pair, as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pair {
    pub(crate) name: Range<usize>,
    /// `None`: there is no `=`.
    pub(crate) value: Option<Range<usize>>,
}

/// The pairs in order; empty ones (`a=1&&b=2`) are no pairs.
pub(crate) fn pairs(body: &[u8]) -> impl Iterator<Item = Pair> + '_ {
    let mut start = 0;
    body.split(|byte| *byte == b'&').filter_map(move |piece| {
        let from = start;
        start += piece.len() + 1;
        let end = from + piece.len();
        let equals = piece.iter().position(|byte| *byte == b'=');
        let pair = match equals {
            Some(equals) => Pair { name: from..from + equals, value: Some(from + equals + 1..end) },
            None => Pair { name: from..end, value: None },
        };
        (!piece.is_empty()).then_some(pair)
    })
}

/// Decodes a name or a value; `%` that begins no escape stands for itself.
pub(crate) fn decode(text: &[u8]) -> Mapped {
    let mut out = Mapped::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        let (byte, length) = match &text[at..] {
            [b'%', high, low, ..] => hex_pair(*high, *low).map_or((b'%', 1), |byte| (byte, 3)),
            [b'+', ..] => (b' ', 1),
            rest => (rest[0], 1),
        };
        out.push(&[byte], at..at + length);
        at += length;
    }
    out
}

/// Encodes a value: everything but ASCII letters, digits and `*-._` is escaped, a space becomes `+`.
pub(crate) fn encode_into(text: &str, out: &mut String) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' | b'A'..=b'Z' | b'a'..=b'z' | b'*' | b'-' | b'.' | b'_' => out.push(char::from(byte)),
            b' ' => out.push('+'),
            _ => {
                out.push('%');
                out.push(char::from(HEX[usize::from(byte >> 4)]));
                out.push(char::from(HEX[usize::from(byte & 15)]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pairs_are_split_where_they_stand() {
        let body = b"a=1&&card%5Bnumber%5D=4+2&flag&x==&";
        let found: Vec<_> = pairs(body)
            .map(|pair| {
                let value = pair.value.map(|value| decode(&body[value]).into_bytes());
                (String::from_utf8(decode(&body[pair.name]).into_bytes()).unwrap(), value)
            })
            .collect();
        let expected = [("a", Some("1")), ("card[number]", Some("4 2")), ("flag", None), ("x", Some("="))];
        let expected =
            expected.map(|(name, value)| (name.to_owned(), value.map(|v: &str| v.as_bytes().to_vec())));
        assert_eq!(found, expected);
    }

    #[test]
    fn odd_percent_signs_stand_for_themselves() {
        for (text, decoded) in [("100%", "100%"), ("%4", "%4"), ("%zz", "%zz"), ("%%34", "%4")] {
            assert_eq!(decode(text.as_bytes()).bytes(), decoded.as_bytes());
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_decodes_to_itself(text: String) {
            let mut encoded = String::new();
            encode_into(&text, &mut encoded);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*-._%+".contains(&byte)));
            prop_assert_eq!(decode(encoded.as_bytes()).into_bytes(), text.into_bytes());
        }

        #[test]
        fn no_body_makes_it_panic(body: Vec<u8>) {
            for pair in pairs(&body) {
                decode(&body[pair.name]);
                decode(&body[pair.value.unwrap_or(0..0)]);
            }
        }
    }
}
