//! Finding the numbers that were injected, in every form an answer may echo them in.
//!
//! Promises: linear in the text for a fixed set of numbers: each of the passes (plain, escapes undone up to three
//! times, base64 at four alignments, hex at two) reads the text once, and at most eight numbers of at most nineteen
//! digits are compared at a place.
//! Does not promise: base64 in base64, or digits with more than two separators between them.

use std::ops::Range;

use super::encoded;
use crate::body::escapes;

/// Most separators between two digits of one number.
const SEPARATORS_MAX: usize = 2;

/// A number to find and what is written in its place.
pub(crate) struct Needle<'a> {
    pub(crate) digits: &'a [u8],
    pub(crate) token: &'a str,
}

/// Where a needle was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hit {
    pub(crate) span: Range<usize>,
    pub(crate) needle: usize,
}

/// Whether a digit next to the number makes it another number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Boundary {
    /// A longer run of digits is something else.
    Whole,
    /// Inside base64 and hex what is next to it says nothing: a run is cut where its alphabet ends, not its meaning.
    Anywhere,
}

/// Every place of the text that spells one of the numbers, in order, not overlapping.
pub(crate) fn find(needles: &[Needle<'_>], text: &[u8]) -> Vec<Hit> {
    let mut hits = Vec::new();
    if needles.is_empty() {
        return hits;
    }
    escapes::each_level(text, |level, origin| {
        find_at_level(needles, level, &mut |hit| hits.push(Hit { span: origin(hit.span), ..hit }));
    });
    merge(hits)
}

fn find_at_level(needles: &[Needle<'_>], text: &[u8], found: &mut dyn FnMut(Hit)) {
    find_digits(needles, text, Boundary::Whole, found);
    encoded::find_base64(needles, text, found);
    encoded::find_hex(needles, text, found);
}

fn merge(mut hits: Vec<Hit>) -> Vec<Hit> {
    hits.sort_by_key(|hit| (hit.span.start, hit.span.end));
    hits.dedup_by(|later, earlier| {
        let overlap = later.span.start < earlier.span.end;
        if overlap {
            earlier.span.end = earlier.span.end.max(later.span.end);
        }
        overlap
    });
    hits
}

struct Digit {
    value: u8,
    at: usize,
    /// Nothing stands between this digit and the one before.
    joined: bool,
}

/// Finds the numbers written as digits, plain or with separators between them.
pub(super) fn find_digits(
    needles: &[Needle<'_>],
    text: &[u8],
    boundary: Boundary,
    found: &mut dyn FnMut(Hit),
) {
    let mut run: Vec<Digit> = Vec::new();
    let (mut separators, mut apart) = (0, false);
    let mut at = 0;
    while at < text.len() {
        if text[at].is_ascii_digit() {
            let joined = separators == 0 && !apart && !run.is_empty();
            run.push(Digit { value: text[at], at, joined });
            (separators, apart) = (0, false);
            at += 1;
            continue;
        }
        // The other half of a character in UTF-16: between any two, and a separator has one too.
        if text[at] == 0 {
            apart = true;
            at += 1;
            continue;
        }
        let length = separator_length(&text[at..]);
        separators += 1;
        if !run.is_empty() && (length == 0 || separators > SEPARATORS_MAX) {
            find_in_run(needles, &run, boundary, found);
            run.clear();
        }
        if run.is_empty() {
            separators = 0;
        }
        at += length.max(1);
    }
    find_in_run(needles, &run, boundary, found);
}

/// Length of a separator: of those people group with, or of any space or dash of Unicode's general punctuation.
fn separator_length(text: &[u8]) -> usize {
    match text {
        [b' ' | b'-' | b'+' | b'.' | b'_' | b'/' | b'\t', ..] => 1,
        [0xc2, 0xa0, ..] => 2,
        [0xe2, 0x80, 0x80..=0x95 | 0xaf, ..] => 3,
        _ => 0,
    }
}

fn find_in_run(needles: &[Needle<'_>], run: &[Digit], boundary: Boundary, found: &mut dyn FnMut(Hit)) {
    let mut from = 0;
    while from < run.len() {
        let hit = needles.iter().position(|needle| spells(needle.digits, &run[from..], boundary));
        let Some(needle) = hit else {
            from += 1;
            continue;
        };
        let end = from + needles[needle].digits.len();
        found(Hit { span: run[from].at..run[end - 1].at + 1, needle });
        from = end;
    }
}

/// Whether the run begins with these digits, all of them a run of their own where the boundary counts.
fn spells(digits: &[u8], run: &[Digit], boundary: Boundary) -> bool {
    let whole = || !run[0].joined && !run.get(digits.len()).is_some_and(|after| after.joined);
    run.len() >= digits.len()
        && digits.iter().zip(run).all(|(digit, found)| *digit == found.value)
        && (boundary == Boundary::Anywhere || whole())
}
