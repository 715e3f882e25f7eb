//! JSON strings: finding their end, reading and writing their escapes.

use std::borrow::Cow;
use std::ops::Range;

use super::Reading;
use crate::body::Malformed;
use crate::body::escapes::Mapped;

/// A string as it stands in a body.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    inner: &'a str,
    start: usize,
}

impl<'a> Text<'a> {
    /// Where it stands, quotes included.
    pub(crate) fn span(&self) -> Range<usize> {
        self.start - 1..self.start + self.inner.len() + 1
    }

    /// Where what is between the quotes begins.
    pub(crate) fn start(&self) -> usize {
        self.start
    }

    /// What is between the quotes, as it stands.
    pub(crate) fn raw(&self) -> &'a str {
        self.inner
    }

    /// What it says. A lone surrogate half says U+FFFD.
    pub(crate) fn decoded(&self) -> Cow<'a, str> {
        if !self.is_escaped() {
            return Cow::Borrowed(self.inner);
        }
        let mut decoded = String::with_capacity(self.inner.len());
        each_char(self.inner, |char, _| decoded.push(char));
        Cow::Owned(decoded)
    }

    /// What it says, with the way back into [`Self::raw`]. `None`: it says what stands there.
    pub(crate) fn mapped(&self) -> Option<Mapped> {
        self.is_escaped().then(|| {
            let mut mapped = Mapped::with_capacity(self.inner.len());
            each_char(self.inner, |char, from| {
                mapped.push(char.encode_utf8(&mut [0; 4]).as_bytes(), from);
            });
            mapped
        })
    }

    fn is_escaped(&self) -> bool {
        self.inner.as_bytes().contains(&b'\\')
    }
}

/// Finds the string whose opening quote is at `open` and checks its escapes.
pub(super) fn scan(text: &str, open: usize, reading: Reading) -> Result<Text<'_>, Malformed> {
    let bytes = text.as_bytes();
    let start = open + 1;
    let mut at = start;
    loop {
        match bytes.get(at) {
            None => return Err(Malformed("the body is not JSON: a string does not end")),
            Some(b'"') => return Ok(Text { inner: &text[start..at], start }),
            Some(b'\\') => at += escape_length(&bytes[at..], reading)?,
            Some(..0x20) => return Err(Malformed("the body is not JSON: a control character in a string")),
            Some(_) => at += 1,
        }
    }
}

fn escape_length(text: &[u8], reading: Reading) -> Result<usize, Malformed> {
    match text.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(2),
        Some(b'u') => {
            let wrong = Malformed("the body is not JSON: an unknown escape");
            let unit = unit_at(text).ok_or(wrong)?;
            match unit {
                0xd800..0xdc00 if is_low(text.get(6..)) => Ok(12),
                0xd800..0xe000 if reading == Reading::Strict => {
                    Err(Malformed("a string of the body holds half a surrogate pair"))
                }
                _ => Ok(6),
            }
        }
        _ => Err(Malformed("the body is not JSON: an unknown escape")),
    }
}

/// The UTF-16 unit that `\uXXXX` spells.
fn unit_at(text: &[u8]) -> Option<u16> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)? as u16))
}

fn is_low(text: Option<&[u8]>) -> bool {
    text.and_then(unit_at).is_some_and(|unit| (0xdc00..0xe000).contains(&unit))
}

/// Reads a string that [`scan`] accepted, character by character.
fn each_char(inner: &str, mut each: impl FnMut(char, Range<usize>)) {
    let mut at = 0;
    while let Some(first) = inner[at..].chars().next() {
        let (char, length) =
            if first == '\\' { unescape(&inner.as_bytes()[at..]) } else { (first, first.len_utf8()) };
        each(char, at..at + length);
        at += length;
    }
}

fn unescape(text: &[u8]) -> (char, usize) {
    let simple = match text.get(1) {
        Some(b'b') => '\u{8}',
        Some(b'f') => '\u{c}',
        Some(b'n') => '\n',
        Some(b'r') => '\r',
        Some(b't') => '\t',
        Some(b'u') => {
            let unit = unit_at(text).unwrap_or(0xfffd);
            let low = text.get(6..).and_then(unit_at).filter(|low| (0xdc00..0xe000).contains(low));
            return match (unit, low) {
                (0xd800..0xdc00, Some(low)) => {
                    let point = 0x1_0000 + (u32::from(unit - 0xd800) << 10) + u32::from(low - 0xdc00);
                    (char::from_u32(point).unwrap_or(char::REPLACEMENT_CHARACTER), 12)
                }
                _ => (char::from_u32(u32::from(unit)).unwrap_or(char::REPLACEMENT_CHARACTER), 6),
            };
        }
        Some(other) => char::from(*other),
        None => '\\',
    };
    (simple, 2)
}

/// Writes what stands between the quotes of a string that says `text`.
pub(crate) fn escape_into(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            control if control < ' ' => {
                let digit = |nibble| char::from_digit(nibble, 16).unwrap_or('0');
                out.push_str("\\u00");
                out.push(digit(control as u32 >> 4));
                out.push(digit(control as u32 & 15));
            }
            other => out.push(other),
        }
    }
}
