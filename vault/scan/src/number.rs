//! Whether a card number begins at a digit.
//!
//! It is one if its length and prefix are issued and its check digit holds; if no more digits adjoin it; if what stands
//! between its digits is of one kind, between groups of at least three digits, or between all digits or pairs of a row that stands alone (the last group may be
//! shorter); and if it is neither the
//! fraction of a decimal nor part of a hex identifier.

use std::ops::Range;

use strongroom_domain::pan::luhn_holds;
use strongroom_domain::{Pan, scan};
use zeroize::Zeroizing;

use crate::reading::{Next, Reading, Separator, is_digit};

/// A number and where it stands.
pub(crate) struct Number {
    digits: Zeroizing<[u8; Pan::LENGTH_MAX]>,
    length: usize,
    pub(crate) range: Range<usize>,
    pub(crate) separated: bool,
}

impl Number {
    pub(crate) fn digits(&self) -> &[u8] {
        &self.digits[..self.length]
    }
}

/// The number that begins at the digit at `start`, which begins a run.
pub(crate) fn at<R: Reading>(text: &[u8], start: usize) -> Option<Number> {
    let (mut at, mut length, mut group) = (start, 1, 1);
    let mut kind: Option<Separator> = None;
    // Digits that stand alone or in pairs are a number only as a whole: tables, matrices and hex dumps are full of them.
    let mut small = 0;
    loop {
        match R::next(text, at) {
            Next::Digit(next) => {
                (at, length, group) = (next, length + 1, group + 1);
                if length > Pan::LENGTH_MAX || (small > 0 && group > small) {
                    return None;
                }
            }
            Next::Separated(next, separator) => {
                if kind.is_none() && group <= SMALL_GROUP_MAX {
                    small = group;
                }
                if small == 0
                    && let Some(number) = take::<R>(text, start..at, length, kind)
                {
                    return Some(number);
                }
                let goes_on = kind.is_none_or(|kind| kind == separator)
                    && if small > 0 { group == small } else { group >= 2 };
                if !goes_on || length == Pan::LENGTH_MAX {
                    return None;
                }
                (at, length, group, kind) = (next, length + 1, 1, Some(separator));
            }
            Next::End if small > 0 && !stands_alone::<R>(text, start..at) => return None,
            Next::End => return take::<R>(text, start..at, length, kind),
        }
    }
}

/// Up to so many digits a group is small.
const SMALL_GROUP_MAX: usize = 2;

/// Whether neither more digits nor a word adjoin a row of small groups.
fn stands_alone<R: Reading>(text: &[u8], digits: Range<usize>) -> bool {
    let is_letter = |at: Option<usize>| at.and_then(|at| text.get(at)).is_some_and(u8::is_ascii_alphanumeric);
    let (before, after) = (digits.start.checked_sub(1), Some(digits.end + 1));
    !R::is_separated_before(text, digits.start) && !is_letter(before) && !is_letter(after)
}

/// Reads the digits again, now that their number is right. `digits` is from the first to the last of them.
fn take<R: Reading>(
    text: &[u8],
    digits: Range<usize>,
    length: usize,
    kind: Option<Separator>,
) -> Option<Number> {
    if length < Pan::LENGTH_MIN {
        return None;
    }
    let mut number = Number {
        digits: Zeroizing::new([0; Pan::LENGTH_MAX]),
        length,
        range: digits.start..digits.end + 1,
        separated: kind.is_some(),
    };
    let mut at = digits.start;
    for digit in number.digits.iter_mut().take(length) {
        *digit = text[at];
        match R::next(text, at) {
            Next::Digit(next) | Next::Separated(next, _) => at = next,
            Next::End => {}
        }
    }
    // What stands between groups of an identifier is a dash or nothing.
    let may_be_identifier = matches!(kind, None | Some(Separator::Dash));
    let in_identifier = || may_be_identifier && scan::is_in_identifier(text, &number.range);
    let stands = || !is_fraction(text, digits.start, kind) && !in_identifier();
    // The check digit first: it is the quickest to say no.
    (luhn_holds(number.digits()) && scan::is_pan_like(number.digits()) && stands()).then_some(number)
}

/// Digits after a point after a digit: the fraction of a decimal, of which data files are full.
fn is_fraction(text: &[u8], start: usize, kind: Option<Separator>) -> bool {
    kind != Some(Separator::Dot) && start >= 2 && text[start - 1] == b'.' && is_digit(text, start - 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reading::{Narrow, Wide};

    fn first(text: &[u8]) -> Option<(Range<usize>, bool)> {
        (0..text.len())
            .filter(|start| is_digit(text, *start) && Narrow::begins(text, *start))
            .find_map(|start| at::<Narrow>(text, start))
            .map(|number| (number.range, number.separated))
    }

    #[test]
    fn numbers_are_found_however_grouped() {
        for (text, range, separated) in [
            ("4111111111111111", 0..16, false),
            ("x4111111111111111y", 1..17, false),
            ("4111 1111 1111 1111.", 0..19, true),
            ("4111-1111-1111-1111", 0..19, true),
            ("4111.1111.1111.1111", 0..19, true),
            ("4111  1111  1111  1111", 0..22, true),
            ("3782 822463 10005", 0..17, true),
            ("12 4111 1111 1111 1111", 3..22, true),
            ("4111111111111111 1234", 0..16, false),
            ("4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1", 0..31, true),
            ("6701 0111 0110 0000 9", 0..21, true),
            ("41 11 11 11 11 11 11 11", 0..23, true),
            ("v.4111111111111111", 2..18, false),
            ("4111111111111111.00", 0..16, false),
        ] {
            assert_eq!(first(text.as_bytes()), Some((range, separated)), "{text}");
        }
    }

    #[test]
    fn other_digits_are_none() {
        for text in [
            "4111111111111112",
            "41111111111111111",
            "4111 1111-1111 1111",
            "4111 1111 1111 111",
            "0.4111111111111111",
            "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1 7",
            "7 4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
            "411 1 11111111 1111",
            "50 61 72 74 20 31 88 6f",
            "50 61 72 74 20 31 88 12 50 61 72 74 20 31",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca4111111111111111",
            "2026-11-29 17:34:51 192.168.100.200",
        ] {
            assert_eq!(first(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn what_the_services_refuse_is_found_here_too() {
        for text in
            ["4111111111111111", "card 4111 1111 1111 1111.", "x=4111-1111-1111-1111&y", "9999990000000006"]
        {
            assert!(scan::holds_pan(text) && first(text.as_bytes()).is_some(), "{text}");
        }
    }

    #[test]
    fn wide_numbers_are_found() {
        let wide: Vec<u8> = "4111 1111 1111 1111".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let number = at::<Wide>(&wide, 0).unwrap();
        assert_eq!((number.digits(), number.separated), (&b"4111111111111111"[..], true));
    }
}
