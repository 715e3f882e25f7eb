//! Two ways to read digits and what people put between them: a byte for each, or a UTF-16 unit for each.

/// What stands between two digits of one number. One number has one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Separator {
    Space,
    Dash,
    Dot,
}

/// What comes after a digit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Next {
    /// Another digit, at this index.
    Digit(usize),
    /// A separator and then a digit, at this index.
    Separated(usize, Separator),
    /// Something else.
    End,
}

/// A way to read digits. An index is that of the byte that holds the digit.
pub(crate) trait Reading {
    /// Whether a run of digits begins at this digit.
    fn begins(text: &[u8], at: usize) -> bool;
    /// What comes after this digit.
    fn next(text: &[u8], at: usize) -> Next;
    /// Whether a digit and a separator stand before this digit.
    fn is_separated_before(text: &[u8], at: usize) -> bool;
}

/// Longest separator: `\u00a0`.
const SEPARATOR_BYTES_MAX: usize = 6;

pub(crate) fn is_digit(text: &[u8], at: usize) -> bool {
    text.get(at).is_some_and(u8::is_ascii_digit)
}

/// One byte for a digit.
pub(crate) struct Narrow;

impl Narrow {
    /// Whether what is here can be the first byte of a separator: quick, and never wrong when it says no.
    pub(crate) fn may_go_on(text: &[u8], at: usize) -> bool {
        let first = text.get(at).copied().unwrap_or(b'\n');
        !first.is_ascii() || matches!(first, b' ' | b'+' | b'-' | b'.' | b'%' | b'&' | b'\\')
    }
}

impl Reading for Narrow {
    fn begins(text: &[u8], at: usize) -> bool {
        !at.checked_sub(1).is_some_and(|before| is_digit(text, before))
    }

    fn next(text: &[u8], at: usize) -> Next {
        let after = at + 1;
        if is_digit(text, after) {
            return Next::Digit(after);
        }
        let Some((length, separator)) = narrow_separator(text.get(after..).unwrap_or_default()) else {
            return Next::End;
        };
        let after = after + length;
        if is_digit(text, after) {
            Next::Separated(after, separator)
        } else if text.get(after - 1..=after) == Some(b"  ") && is_digit(text, after + 1) {
            Next::Separated(after + 1, separator)
        } else {
            Next::End
        }
    }

    fn is_separated_before(text: &[u8], at: usize) -> bool {
        (1..=SEPARATOR_BYTES_MAX).any(|length| {
            at.checked_sub(length + 1).is_some_and(|digit| {
                is_digit(text, digit)
                    && narrow_separator(&text[digit + 1..at]).is_some_and(|(found, _)| found == length)
            })
        })
    }
}

/// A separator at the beginning of `text`, and its length: ASCII, Latin-1, UTF-8, and as URLs, HTML and JSON write them.
fn narrow_separator(text: &[u8]) -> Option<(usize, Separator)> {
    use Separator::{Dash, Dot, Space};
    Some(match text {
        [b' ' | b'+', ..] => (1, Space),
        [b'-', ..] => (1, Dash),
        [b'.', ..] => (1, Dot),
        [0xC2, low, ..] => (2, of_point(u16::from(*low))?),
        [0xE2, middle @ 0x80..=0x8F, low @ 0x80..=0xBF, ..] => {
            (3, of_point(0x2000 | u16::from(*middle & 0x3F) << 6 | u16::from(*low & 0x3F))?)
        }
        [0xE3, 0x80, 0x80, ..] | [0xEF, 0xBB, 0xBF, ..] => (3, Space),
        [b'%', b'2', b'0', ..] => (3, Space),
        [b'&', b'n', b'b', b's', b'p', b';', ..] | [b'&', b'#', b'1', b'6', b'0', b';', ..] => (6, Space),
        [b'\\', b'u', b'0', b'0', b'a' | b'A', b'0', ..] => (6, Space),
        [0xA0, ..] => (1, Space),
        [0x96 | 0x97 | 0xAD, ..] => (1, Dash), // Windows-1252: en dash, em dash, soft hyphen
        [0xB7, ..] => (1, Dot),
        _ => return None,
    })
}

/// A separator by its code point (Unicode 17, general categories Zs and Pd, and what shows as nothing).
const fn of_point(point: u16) -> Option<Separator> {
    match point {
        0x20 | 0x2B | 0xA0 | 0x2000..=0x200D | 0x202F | 0x205F | 0x2060 | 0x3000 | 0xFEFF => {
            Some(Separator::Space)
        }
        0x2D | 0xAD | 0x2010..=0x2015 | 0x2043 | 0x2212 => Some(Separator::Dash),
        0x2E | 0xB7 | 0x2024 | 0x2027 | 0x2219 => Some(Separator::Dot),
        _ => None,
    }
}

/// A UTF-16 unit for a digit: digits with a zero byte between them, whichever byte comes first.
pub(crate) struct Wide;

impl Reading for Wide {
    fn begins(text: &[u8], at: usize) -> bool {
        let before = at.checked_sub(2);
        !before.is_some_and(|before| text[before + 1] == 0 && is_digit(text, before))
    }

    fn next(text: &[u8], at: usize) -> Next {
        if text.get(at + 1) == Some(&0) && is_digit(text, at + 2) {
            return Next::Digit(at + 2);
        }
        let unit = text.get(at + 1..at + 4).and_then(wide_separator);
        match unit {
            Some(separator) if is_digit(text, at + 4) => Next::Separated(at + 4, separator),
            _ => Next::End,
        }
    }

    fn is_separated_before(text: &[u8], at: usize) -> bool {
        let before = at.checked_sub(4);
        before.is_some_and(|digit| {
            is_digit(text, digit) && wide_separator(&text[digit + 1..digit + 4]).is_some()
        })
    }
}

/// The separator between two digits, from the three bytes between them: the low byte, and before or after it the high one.
fn wide_separator(between: &[u8]) -> Option<Separator> {
    let &[first, low, last] = between else { return None };
    match (first, last) {
        (high, 0) | (0, high) => of_point(u16::from_be_bytes([high, low])),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn separators_are_one_kind_in_every_spelling() {
        for (text, separator) in [
            ("1 2", Separator::Space),
            ("1  2", Separator::Space),
            ("1+2", Separator::Space),
            ("1%202", Separator::Space),
            ("1&nbsp;2", Separator::Space),
            ("1\\u00a02", Separator::Space),
            ("1\u{a0}2", Separator::Space),
            ("1\u{2009}2", Separator::Space),
            ("1\u{202f}2", Separator::Space),
            ("1\u{3000}2", Separator::Space),
            ("1\u{feff}2", Separator::Space),
            ("1-2", Separator::Dash),
            ("1\u{2011}2", Separator::Dash),
            ("1\u{2013}2", Separator::Dash),
            ("1\u{2212}2", Separator::Dash),
            ("1\u{ad}2", Separator::Dash),
            ("1.2", Separator::Dot),
            ("1\u{b7}2", Separator::Dot),
        ] {
            let end = text.len() - 1;
            assert_eq!(Narrow::next(text.as_bytes(), 0), Next::Separated(end, separator), "{text}");
            assert!(Narrow::may_go_on(text.as_bytes(), 1), "{text}");
            assert!(Narrow::is_separated_before(text.as_bytes(), end) || text == "1  2", "{text}");
            let points: Vec<u16> = text.encode_utf16().collect();
            if points.len() == 3 {
                let little: Vec<u8> = points.iter().flat_map(|point| point.to_le_bytes()).collect();
                let big: Vec<u8> = points.iter().flat_map(|point| point.to_be_bytes()).collect();
                assert_eq!(Wide::next(&little, 0), Next::Separated(4, separator), "{text}");
                assert_eq!(Wide::next(&big, 1), Next::Separated(5, separator), "{text}");
            }
        }
        for text in ["1,2", "1   2", "1\n2", "1a2", "1", "1\u{2500}2", "1/2"] {
            assert_eq!(Narrow::next(text.as_bytes(), 0), Next::End, "{text}");
        }
    }
}
