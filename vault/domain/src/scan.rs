//! Finding card numbers where none belong.
//!
//! A run of digits is taken for a card number if its brand issues that prefix at that length and the check digit holds.
//! One random 16-digit reference in ten passes the check digit alone; the prefix and length leave about one in eighteen.
//! Long hex identifiers (UUIDs, trace contexts, digests) hold such runs by chance, some thousands of times a day at
//! any real volume, so a run inside one is none.

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
        let found =
            if is_pan_like(&text[run.clone()]) { Some(run.clone()) } else { grouped_from(text, &run) };
        if let Some(found) = found
            && !is_in_identifier(text, &found)
        {
            return Some(found);
        }
        at = run.end;
    }
    None
}

/// Group lengths of the dashed identifiers: UUID (RFC 9562 §4) and `traceparent` (W3C Trace Context §3.2).
const DASHED_IDENTIFIERS: [&[usize]; 2] = [&[8, 4, 4, 4, 12], &[2, 32, 16, 2]];
/// Hex digits of the shortest digest or trace id.
const HEX_IDENTIFIER_MIN: usize = 32;
/// How far to each side an identifier is looked for: the longest dashed one has 55 bytes. Bounds the work per run.
const IDENTIFIER_REACH: usize = 64;

/// Whether the run is part of a hex identifier: letters among the digits, in one of the known shapes.
#[must_use]
pub fn is_in_identifier(text: &[u8], run: &Range<usize>) -> bool {
    let part = |byte: &&u8| byte.is_ascii_hexdigit() || **byte == b'-';
    let before = text[..run.start].iter().rev().take(IDENTIFIER_REACH).take_while(part).count();
    let after = text[run.end..].iter().take(IDENTIFIER_REACH).take_while(part).count();
    let word = &text[run.start - before..run.end + after];
    let has_letter = |part: &[u8]| part.iter().any(u8::is_ascii_alphabetic);
    let dashed = DASHED_IDENTIFIERS
        .iter()
        .any(|lengths| word.split(|byte| *byte == b'-').map(<[u8]>::len).eq(lengths.iter().copied()));
    if dashed && has_letter(word) {
        return true;
    }
    let mut start = 0;
    word.split(|byte| *byte == b'-').any(|group| {
        let span = start..start + group.len();
        start = span.end + 1;
        let holds_run = span.start <= before && before + run.len() <= span.end;
        holds_run && group.len() >= HEX_IDENTIFIER_MIN && has_letter(group)
    })
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
    fn hex_identifiers_hold_none_and_hide_none() {
        for text in [
            "41111111-1111-4111-a111-deadbeef0000",
            "00-41111111111111110af7651916cd43dd-00f067aa0ba902b7-01",
            "00-0af7651916cd43dd8448eb211c80319c-4111111111111111-01",
            "0af7651916cd43dda4111111111111111af7",
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca4111111111111111",
        ] {
            assert!(!holds_pan(text), "{text}");
        }
        for text in [
            "deadbeef 4111111111111111",
            "4111111111111111-deadbeefdeadbeef",
            "a4111111111111111",
            "41111111-1111-1111 and 41111111-1111-4111-a111-deadbeef0000",
            "41111111-1111-4111-a111-deadbeef0000 4111111111111111",
        ] {
            assert!(holds_pan(text), "{text}");
        }
    }

    #[test]
    fn every_number_is_found_once() {
        let text = b"4111111111111111,378282246310005 and 4242-4242-4242-4242";
        let found: Vec<_> = all_pans(text).into_iter().map(|range| text[range].len()).collect();
        assert_eq!(found, [16, 15, 19]);
    }
}
