//! Finding card numbers where none belong.
//!
//! A run of digits is taken for a card number if its brand issues that prefix at that length and the check digit holds.
//! One random 16-digit reference in ten passes the check digit alone; the prefix and length leave about one in eighteen.

use std::ops::Range;

use crate::brand::Brand;
use crate::pan::{Pan, luhn_holds};

/// Whether the text holds a card number, plain or grouped by single spaces or dashes.
#[must_use]
pub fn holds_pan(text: &str) -> bool {
    first_pan(text.as_bytes()).is_some()
}

/// Where the first card number stands, separators included.
#[must_use]
pub fn first_pan(text: &[u8]) -> Option<Range<usize>> {
    find_from(text, 0)
}

/// Where every card number stands, in order, not overlapping.
#[must_use]
pub fn all_pans(text: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(range) = find_from(text, from) {
        from = range.end;
        found.push(range);
    }
    found
}

/// Whether exactly these digits look like an issued card number.
#[must_use]
pub fn is_pan_like(digits: &[u8]) -> bool {
    (Pan::LENGTH_MIN..=Pan::LENGTH_MAX).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && Brand::issues(digits)
        && luhn_holds(digits)
}

fn find_from(text: &[u8], from: usize) -> Option<Range<usize>> {
    let mut at = from;
    while at < text.len() {
        let run = digit_run(text, at);
        if run.is_empty() {
            at += 1;
            continue;
        }
        if is_pan_like(&text[run.clone()]) {
            return Some(run);
        }
        if let Some(grouped) = grouped_from(text, &run) {
            return Some(grouped);
        }
        at = run.end;
    }
    None
}

fn digit_run(text: &[u8], at: usize) -> Range<usize> {
    let length = text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    at..at + length
}

/// Tries groups of at least two digits joined by one and the same separator, beginning with `first`.
fn grouped_from(text: &[u8], first: &Range<usize>) -> Option<Range<usize>> {
    let separator = *text.get(first.end)?;
    if !matches!(separator, b' ' | b'-') || first.len() < 2 {
        return None;
    }
    let mut digits = [0_u8; Pan::LENGTH_MAX];
    let mut length = 0;
    let mut group = first.clone();
    loop {
        digits.get_mut(length..length + group.len())?.copy_from_slice(&text[group.clone()]);
        length += group.len();
        let ends_here = !text.get(group.end).is_some_and(u8::is_ascii_digit);
        if group.start != first.start && ends_here && is_pan_like(&digits[..length]) {
            return Some(first.start..group.end);
        }
        if text.get(group.end) != Some(&separator) {
            return None;
        }
        group = digit_run(text, group.end + 1);
        if group.len() < 2 {
            return None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_and_grouped_numbers_are_found() {
        for text in [
            "4111111111111111",
            "card 4111 1111 1111 1111.",
            "x=4111-1111-1111-1111&y",
            "amex 3782 822463 10005",
            "12 4111 1111 1111 1111",
            "{\"note\":\"4242424242424242\"}",
            "9999990000000006",
        ] {
            assert!(holds_pan(text), "{text}");
        }
    }

    #[test]
    fn references_amounts_times_and_tokens_are_not() {
        for text in [
            "",
            "4111111111111112",
            "41111111111111111",
            "1763710522123456",
            "2026-11-21 07:35:22",
            "0190a0b0-c0d0-7e0f-8f00-112233445566",
            "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv",
            "4111 1111-1111 1111",
            "411111******1111",
        ] {
            assert!(!holds_pan(text), "{text}");
        }
    }

    #[test]
    fn every_number_is_found_once() {
        let text = b"4111111111111111,378282246310005 and 4242-4242-4242-4242";
        let found: Vec<_> = all_pans(text).into_iter().map(|range| text[range].len()).collect();
        assert_eq!(found, [16, 15, 19]);
    }
}
