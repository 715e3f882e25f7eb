//! Card numbers inside base64 (RFC 4648 §4, §5), wrapped or not, at each of the three ways digits fall into its groups.
//!
//! Digits, spaces, dashes and dots are the bytes 20 to 3F (hex). Three of them become four letters of which each is one of few:
//! two such groups in a row are one in 260,000 of random base64, so almost nothing is decoded that need not be.

use zeroize::Zeroizing;

use crate::finding::{Encoding, Finding};
use crate::number;
use crate::reading::{Narrow, Reading as _, is_digit};

/// Groups looked at before the one that gave it away: a number in all its separators.
const GROUPS_BEFORE: usize = 12;
/// Groups looked at from there on.
const GROUPS_AFTER: usize = 24;
/// Most bytes a number takes: 19 digits, each but the last followed by a separator.
const NUMBER_BYTES_MAX: usize = 37;

/// Whether two groups of digits may begin in this block, of which the next bytes are the continuation.
pub(crate) fn may_hold(block: &[u8; 64], next: &[u8; 5]) -> bool {
    let mut window = [0_u8; 69];
    window[..64].copy_from_slice(block);
    window[64..].copy_from_slice(next);
    // Written so that it compiles to vector instructions: no branch, no index that depends on another.
    let mut pair = [0_u8; 68];
    for (place, pair) in pair.iter_mut().enumerate() {
        *pair = u8::from(is_first(window[place])) & u8::from(is_second(window[place + 1]));
    }
    let both = (0..64).fold(0, |any, place| any | (pair[place] & pair[place + 4]));
    both != 0
}

const fn is_first(letter: u8) -> bool {
    letter.wrapping_sub(b'I') < 8
}

const fn is_second(letter: u8) -> bool {
    let folded = letter & !0x10;
    (folded == b'C') | (folded == b'D') | (folded == b'i') | (folded == b'j')
}

/// Whether this letter can be the third of a group of digits: its value is a multiple of four.
const fn is_third(letter: u8) -> bool {
    matches!(value(letter), Some(value) if value % 4 == 0)
}

const fn is_fourth(letter: u8) -> bool {
    matches!(value(letter), Some(value) if value >= 32)
}

/// Value of a letter of either alphabet.
const fn value(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter - b'A'),
        b'a'..=b'z' => Some(letter - b'a' + 26),
        b'0'..=b'9' => Some(letter - b'0' + 52),
        b'+' | b'-' => Some(62),
        b'/' | b'_' => Some(63),
        _ => None,
    }
}

/// Searches what begins in `from..to`. `resume` is where the search before this one ended, and is moved on.
pub(crate) fn search(
    text: &[u8],
    (from, to): (usize, usize),
    resume: &mut usize,
    found: &mut impl FnMut(Finding, usize),
) {
    let mut at = from.max(*resume);
    while at < to {
        if is_group_of_digits(text, at) && is_group_of_digits(text, after_break(text, at + 4)) {
            at = decode_around(text, at, *resume, found).max(at + 1);
            *resume = at;
        } else {
            at += 1;
        }
    }
}

fn is_group_of_digits(text: &[u8], at: usize) -> bool {
    let Some(&[first, second, third, fourth]) = text.get(at..at + 4) else { return false };
    is_first(first) && is_second(second) && is_third(third) && is_fourth(fourth)
}

/// Decodes what is around a group and searches it. Answers from where on the text has not been searched.
fn decode_around(text: &[u8], at: usize, resume: usize, found: &mut impl FnMut(Finding, usize)) -> usize {
    let start = (0..GROUPS_BEFORE).try_fold(at, |at, _| group_before(text, at).ok_or(at));
    let (Ok(mut group) | Err(mut group)) = start;
    let mut decoded = Zeroizing::new(Vec::with_capacity(3 * (GROUPS_BEFORE + GROUPS_AFTER + 1)));
    let mut groups = Vec::with_capacity(GROUPS_BEFORE + GROUPS_AFTER + 1);
    let mut ended = false;
    while groups.len() < GROUPS_BEFORE + GROUPS_AFTER && !ended {
        let (bytes, length) = decode_group(text, group);
        if length > 0 {
            decoded.extend_from_slice(&bytes[..length]);
            groups.push(group);
        }
        ended = length < 3;
        group = after_break(text, group + 4);
    }
    // A number that begins near the end may go on beyond it: the next search has it whole.
    let searched = if ended { decoded.len() } else { decoded.len().saturating_sub(NUMBER_BYTES_MAX) / 3 * 3 };
    let mut next = 0;
    for start in 0..searched {
        if start < next || groups[start / 3] < resume || !begins(&decoded, start) {
            continue;
        }
        if let Some(number) = number::at::<Narrow>(&decoded, start) {
            next = number.range.end;
            let place = groups[start / 3];
            found(Finding::new(number.digits(), 0, Encoding::Base64, number.separated), place);
        }
    }
    groups.get(searched / 3).copied().unwrap_or(group)
}

fn begins(text: &[u8], at: usize) -> bool {
    is_digit(text, at) && Narrow::begins(text, at)
}

/// The group of four letters before this one, over a line break.
fn group_before(text: &[u8], at: usize) -> Option<usize> {
    let mut end = at;
    while end > 0 && at - end < 2 && matches!(text[end - 1], b'\r' | b'\n') {
        end -= 1;
    }
    let start = end.checked_sub(4)?;
    text[start..end].iter().all(|letter| value(*letter).is_some()).then_some(start)
}

/// Where the next group begins: behind a line break, if one is here.
fn after_break(text: &[u8], at: usize) -> usize {
    match text.get(at..) {
        Some([b'\r', b'\n', ..]) => at + 2,
        Some([b'\n', ..]) => at + 1,
        _ => at,
    }
}

/// The bytes of a group, and how many: fewer than three where base64 ends.
fn decode_group(text: &[u8], at: usize) -> ([u8; 3], usize) {
    let mut bits = 0_u32;
    let mut letters = 0_u32;
    for letter in text.iter().skip(at).take(4) {
        let Some(value) = value(*letter) else { break };
        bits |= u32::from(value) << (18 - 6 * letters);
        letters += 1;
    }
    let [_, bytes @ ..] = bits.to_be_bytes();
    (bytes, (letters * 6 / 8) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::base64::Engine as _;
    use ::base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

    fn places(text: &[u8]) -> Vec<usize> {
        let mut places = Vec::new();
        search(text, (0, text.len()), &mut 0, &mut |_, place| places.push(place));
        places
    }

    fn wrapped(text: &str, width: usize) -> impl Iterator<Item = &str> {
        (0..text.len()).step_by(width).map(move |start| &text[start..text.len().min(start + width)])
    }

    #[test]
    fn a_number_is_found_at_each_alignment_wrapped_or_not() {
        for number in [
            "4111111111111111",
            "4111 1111 1111 1111",
            "4111-1111-1111-1111",
            "378282246310005",
            "6759649826438453",
        ] {
            for before in 0..9 {
                for after in 0..4 {
                    let plain = format!("{}{number}{}", "x".repeat(before), ";".repeat(after));
                    let standard = STANDARD.encode(&plain);
                    assert_eq!(places(standard.as_bytes()).len(), 1, "{plain}");
                    assert_eq!(places(URL_SAFE_NO_PAD.encode(&plain).as_bytes()).len(), 1, "{plain}");
                    assert_eq!(places(format!("{{\"a\":\"{standard}\"}}").as_bytes()).len(), 1, "{plain}");
                    for width in [8, 64, 76] {
                        let lines: Vec<&str> = wrapped(&standard, width).collect();
                        assert_eq!(places(lines.join("\r\n").as_bytes()).len(), 1, "{plain} {width}");
                    }
                }
            }
        }
    }

    #[test]
    fn each_of_many_is_found_once() {
        let plain = "4111111111111111,5555555555554444;".repeat(50);
        assert_eq!(places(STANDARD.encode(&plain).as_bytes()).len(), 100);
    }

    #[test]
    fn the_first_look_misses_nothing_the_second_finds() {
        let encoded = STANDARD.encode("4111111111111111");
        for place in 0..64 {
            let mut text = [b'!'; 128];
            text[place..place + encoded.len()].copy_from_slice(encoded.as_bytes());
            let hit = |at: usize| {
                may_hold(text[at..].first_chunk().unwrap(), text[at + 64..].first_chunk().unwrap())
            };
            assert!(hit(0) || may_hold(text[64..].first_chunk().unwrap(), b"!!!!!"), "{place}");
        }
        assert!(!may_hold(&[b'a'; 64], &[b'a'; 5]));
    }
}
