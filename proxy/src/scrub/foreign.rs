//! Card numbers nobody injected: masked only when they can hardly be anything else (design §6, step 7).
//!
//! One random 16-digit reference in ten passes the check digit, and a masked reference is a refund that cannot be made.

use std::ops::Range;

use strongroom_domain::pan::luhn_holds;
use strongroom_domain::scan;

/// What a text holds besides the injected numbers.
#[derive(Default)]
pub(super) struct Foreign {
    /// Card numbers to mask.
    pub(super) numbers: Vec<Range<usize>>,
    /// Runs of 13 to 19 digits that pass the check digit and are left.
    pub(super) suspected: u32,
}

/// Searches a text. `taken` are the ranges already replaced, in order; `declared` says whether what stands at a range
/// is a reference.
pub(super) fn find(text: &[u8], taken: &[Range<usize>], declared: &dyn Fn(&Range<usize>) -> bool) -> Foreign {
    let is_foreign =
        |number: &Range<usize>| !overlaps(taken, number) && stands_alone(text, number) && !declared(number);
    let numbers: Vec<_> = scan::all_pans(text).into_iter().filter(is_foreign).collect();
    let suspected = digit_runs(text)
        .filter(|run| (13..=19).contains(&run.len()) && luhn_holds(&text[run.clone()]))
        .filter(|run| !overlaps(taken, run) && !overlaps(&numbers, run))
        .count();
    Foreign { numbers, suspected: u32::try_from(suspected).unwrap_or(u32::MAX) }
}

/// Whether what stands around the digits leaves them a number of their own: not the fraction of a decimal, not part of
/// a word (a base-32 or base-64 reference). A letter after a backslash is an escape, not a word.
fn stands_alone(text: &[u8], number: &Range<usize>) -> bool {
    let before = |back: usize| number.start.checked_sub(back).map(|at| text[at]);
    let after = |forth: usize| text.get(number.end + forth).copied();
    let is_digit = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_digit());
    let is_letter = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_alphabetic());
    let fraction =
        (before(1) == Some(b'.') && is_digit(before(2))) || (after(0) == Some(b'.') && is_digit(after(1)));
    let word = (is_letter(before(1)) && before(2) != Some(b'\\')) || is_letter(after(0));
    !fraction && !word
}

/// Whether a range overlaps one of several that are in order and do not overlap each other.
fn overlaps(ranges: &[Range<usize>], range: &Range<usize>) -> bool {
    let first_after = ranges.partition_point(|taken| taken.end <= range.start);
    ranges.get(first_after).is_some_and(|taken| taken.start < range.end)
}

/// The runs of digits of a text.
pub(super) fn digit_runs(text: &[u8]) -> impl Iterator<Item = Range<usize>> + '_ {
    let mut at = 0;
    std::iter::from_fn(move || {
        at += text[at..].iter().position(u8::is_ascii_digit)?;
        let start = at;
        at += text[at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        Some(start..at)
    })
}

/// The digits of a number that are masked, group by group: all but the last four. Separators stay.
pub(super) fn masked(text: &[u8], number: &Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let runs = || digit_runs(&text[number.clone()]);
    let mut hidden = runs().map(|run| run.len()).sum::<usize>().saturating_sub(4);
    let groups = runs().map(|run| {
        let length = run.len().min(hidden);
        hidden -= length;
        number.start + run.start..number.start + run.start + length
    });
    groups.filter(|group| !group.is_empty()).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str, declared: bool) -> (String, u32) {
        let mut bytes = text.as_bytes().to_vec();
        let foreign = find(text.as_bytes(), &[], &|_| declared);
        for number in &foreign.numbers {
            masked(text.as_bytes(), number).for_each(|run| bytes[run].fill(b'*'));
        }
        (String::from_utf8(bytes).unwrap(), foreign.suspected)
    }

    #[test]
    fn numbers_of_their_own_are_masked() {
        for (text, masked) in [
            ("4242424242424242", "************4242"),
            ("4242 4242 4242 4242.", "**** **** **** 4242."),
            ("n=3782-822463-10005&", "n=****-******-*0005&"),
            ("ref_4007000000027", "ref_*********0027"),
            ("\\n4242424242424242", "\\n************4242"),
            ("a 4242424242424242, 5555555555554444", "a ************4242, ************4444"),
        ] {
            assert_eq!(shown(text, false), (masked.to_owned(), 0), "{text}");
        }
    }

    #[test]
    fn what_may_be_something_else_is_counted_and_left() {
        for (text, suspected) in [
            ("8815658961765250", u32::from(luhn_holds(b"8815658961765250"))),
            ("1000000000000008", u32::from(luhn_holds(b"1000000000000008"))),
            ("0.4242424242424242", 1),
            ("4242424242424242.00", 1),
            ("ch4242424242424242", 1),
            ("4242424242424242ab", 1),
            ("411111******1111", 0),
            ("1763710522123", u32::from(luhn_holds(b"1763710522123"))),
            ("42424242424242420000", 0),
        ] {
            assert_eq!(shown(text, false), (text.to_owned(), suspected), "{text}");
        }
        assert_eq!(shown("4242424242424242", true), ("4242424242424242".to_owned(), 1));
    }

    #[test]
    fn what_is_already_replaced_is_not_looked_at() {
        let text = b"4242424242424242 5555555555554444";
        let foreign = find(text, std::slice::from_ref(&(0..16)), &|_| false);
        assert_eq!((foreign.numbers, foreign.suspected), (std::iter::once(17..33).collect(), 0));
    }
}
