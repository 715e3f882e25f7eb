//! Undoing escapes, with the way back: which bytes of the original each decoded byte came from.
//!
//! Promises: linear in the text; a range of the decoded text leads to the range of the original it was written as.

use std::ops::Range;

/// A decoded text and where each of its bytes came from.
#[derive(Default)]
pub(crate) struct Mapped {
    bytes: Vec<u8>,
    /// Start in the original of what each byte was decoded from.
    starts: Vec<usize>,
    /// End of the original.
    end: usize,
}

impl Mapped {
    pub(crate) fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), starts: Vec::with_capacity(bytes), end: 0 }
    }

    /// Adds bytes decoded from `from`; what is added later comes from later.
    pub(crate) fn push(&mut self, decoded: &[u8], from: Range<usize>) {
        self.bytes.extend_from_slice(decoded);
        self.starts.resize(self.bytes.len(), from.start);
        self.end = from.end;
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// The range of the original that a non-empty range of the decoded text was written as.
    pub(crate) fn origin(&self, decoded: Range<usize>) -> Range<usize> {
        self.starts[decoded.start]..self.starts.get(decoded.end).copied().unwrap_or(self.end)
    }
}

/// How often one text is decoded at most when it is searched: escapes inside escapes inside escapes.
const LEVELS_MAX: usize = 3;

/// Leads a range of a searched text back to the range it was written as.
pub(crate) type Origin<'f> = &'f dyn Fn(Range<usize>) -> Range<usize>;

/// Shows a text as it stands, then with its escapes undone, level by level, each with the way back to the text; and, where
/// it holds several notations, with those of each reader undone alone.
///
/// The text itself is shown as well, because it is rarely in all these notations at once.
pub(crate) fn each_level(text: &[u8], mut each: impl FnMut(&[u8], Origin<'_>)) {
    each(text, &|span| span);
    let mut levels: Vec<Mapped> = Vec::with_capacity(LEVELS_MAX);
    while levels.len() < LEVELS_MAX {
        let Some(undone) = undo(levels.last().map_or(text, Mapped::bytes), &ALL) else { break };
        levels.push(undone);
        let level = levels.last().map_or(text, Mapped::bytes);
        each(level, &|span| levels.iter().rev().fold(span, |span, level| level.origin(span)));
    }
    if !levels.is_empty() {
        each_reader(text, &mut each);
    }
}

/// What begins an escape: of JSON, of forms, of XML and HTML, and the other half of a character in UTF-16.
const ALL: [u8; 5] = *b"\\%+&\0";
/// What a reader of JSON, of a form, of XML or HTML undoes, and nothing else.
const READERS: [&[u8]; 3] = [b"\\", b"%+", b"&"];

/// A digit that another notation spells beside a number makes it another one for nobody who reads this one alone.
fn each_reader(text: &[u8], each: &mut impl FnMut(&[u8], Origin<'_>)) {
    let holds = |begins: &&&[u8]| text.iter().any(|byte| begins.contains(byte));
    let readers = READERS.iter().filter(holds);
    if readers.clone().count() > 1 {
        for read in readers.filter_map(|begins| undo(text, begins)) {
            each(read.bytes(), &|span| read.origin(span));
        }
    }
}

/// Undoes one level of every escape that may spell a digit or a letter: `%XX`, `\uXXXX` and the other JSON escapes,
/// `\xXX`, decimal and hex character references, `+` for a space; and the zero bytes between the characters of UTF-16, in
/// which escapes are seen only one level later. Only those that begin with one of `begins`. `None`: there is nothing to undo.
fn undo(text: &[u8], begins: &[u8]) -> Option<Mapped> {
    if !text.iter().any(|byte| begins.contains(byte)) {
        return None;
    }
    let mut out = Mapped::with_capacity(text.len());
    let mut changed = false;
    let mut at = 0;
    while at < text.len() {
        let mut buffer = [0; 4];
        let escape = begins.contains(&text[at]).then(|| escape_at(&text[at..])).flatten();
        let (decoded, length) = match escape {
            Some((Decoded::Byte(byte), length)) => {
                buffer[0] = byte;
                (&buffer[..1], length)
            }
            Some((Decoded::Char(char), length)) => (char.encode_utf8(&mut buffer).as_bytes(), length),
            Some((Decoded::Nothing, length)) => (&buffer[..0], length),
            None => (&text[at..=at], 1),
        };
        changed |= decoded != &text[at..at + length];
        out.push(decoded, at..at + length);
        at += length;
    }
    changed.then_some(out)
}

enum Decoded {
    Byte(u8),
    Char(char),
    Nothing,
}

fn escape_at(text: &[u8]) -> Option<(Decoded, usize)> {
    match text {
        [b'%', high, low, ..] => Some((Decoded::Byte(hex_pair(*high, *low)?), 3)),
        [b'+', ..] => Some((Decoded::Byte(b' '), 1)),
        [0, ..] => Some((Decoded::Nothing, 1)),
        [b'\\', b'u', rest @ ..] => {
            let digits = std::str::from_utf8(rest.get(..4)?).ok()?;
            let all_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            let unit = u32::from_str_radix(digits, 16).ok().filter(|_| all_hex)?;
            Some((Decoded::Char(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)), 6))
        }
        [b'\\', b'x', high, low, ..] => Some((Decoded::Byte(hex_pair(*high, *low)?), 4)),
        [b'\\', b'n' | b'r' | b't', ..] => Some((Decoded::Byte(b'\n'), 2)),
        [b'\\', escaped @ (b'\\' | b'/' | b'"'), ..] => Some((Decoded::Byte(*escaped), 2)),
        [b'&', ..] => reference_at(text),
        _ => None,
    }
}

/// The value of two hex digits.
pub(crate) fn hex_pair(high: u8, low: u8) -> Option<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? * 16 + digit(low)?) as u8)
}

/// Longest character reference looked for, without `&` and `;`: `#x` and zeros before the digits.
const REFERENCE_BYTES_MAX: usize = 16;

fn reference_at(text: &[u8]) -> Option<(Decoded, usize)> {
    let window = &text[1..text.len().min(REFERENCE_BYTES_MAX + 2)];
    let length = window.iter().position(|byte| *byte == b';')?;
    let name = std::str::from_utf8(&window[..length]).ok()?;
    let number = |digits: &str, radix| {
        let right = !digits.is_empty() && digits.chars().all(|digit| digit.is_digit(radix));
        right.then(|| u32::from_str_radix(digits, radix).ok()).flatten().and_then(char::from_u32)
    };
    let char = match name {
        "amp" => '&',
        "nbsp" => '\u{a0}',
        "quot" => '"',
        _ => match name.strip_prefix('#')? {
            hex if hex.starts_with(['x', 'X']) => number(&hex[1..], 16)?,
            decimal => number(decimal, 10)?,
        },
    };
    Some((Decoded::Char(char), length + 2))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_escape_that_can_spell_a_digit_is_undone() {
        for (text, decoded) in [
            ("%34%31", "41"),
            ("a+b", "a b"),
            (r"\u00341\/", "41/"),
            (r"\x34", "4"),
            ("&#52;&#x34;&#X0034;&#0052;", "4444"),
            ("&amp;#52;", "&#52;"),
            ("%2534", "%34"),
            (r"\\u0034", r"\u0034"),
            ("%\u{0}3\u{0}4\u{0}", "%34"),
        ] {
            assert_eq!(undo(text.as_bytes(), &ALL).unwrap().bytes(), decoded.as_bytes(), "{text}");
        }
        for nothing in
            ["", "plain", "100%", "%zz", r"\u12", r"\u12g4", "&;", "&#;", "&#x;", "&copy;", "a & b"]
        {
            assert!(undo(nothing.as_bytes(), &ALL).is_none(), "{nothing}");
        }
    }

    #[test]
    fn a_decoded_range_leads_back_to_what_it_was_written_as() {
        let text = br"id=%34\u00e9&#52;x";
        let mapped = undo(text, &ALL).unwrap();
        let four = mapped.bytes().iter().rposition(|byte| *byte == b'4').unwrap();
        assert_eq!(&text[mapped.origin(four..four + 1)], b"&#52;");
        assert_eq!(&text[mapped.origin(3..mapped.bytes().len())], &text[3..]);
    }

    #[test]
    fn each_reader_s_escapes_are_undone_alone_where_there_are_several() {
        let shown = |text: &str| {
            let mut shown = Vec::new();
            each_level(text.as_bytes(), |level, origin| {
                assert_eq!(origin(0..level.len()), 0..text.len());
                shown.push(String::from_utf8(level.to_vec()).unwrap());
            });
            shown
        };
        assert_eq!(shown("plain"), ["plain"]);
        assert_eq!(shown("%34"), ["%34", "4"]);
        assert_eq!(shown("%34%2534"), ["%34%2534", "4%34", "44"]);
        assert_eq!(
            shown(r"\u0031%32&#51;"),
            [r"\u0031%32&#51;", "123", "1%32&#51;", r"\u00312&#51;", r"\u0031%323"]
        );
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text: Vec<u8>) {
            if let Some(mapped) = undo(&text, &ALL).filter(|mapped| !mapped.bytes().is_empty()) {
                let zeros = text.iter().take_while(|byte| **byte == 0).count();
                prop_assert_eq!(mapped.origin(0..mapped.bytes().len()), zeros..text.len());
            }
        }
    }
}
