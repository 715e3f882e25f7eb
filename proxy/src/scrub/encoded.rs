//! Numbers inside base64 (RFC 4648 §4 and §5) and hex.
//!
//! A run of either alphabet is decoded at every alignment, because where an encoder began is not where the run begins.

use std::ops::Range;

use super::number::{Boundary, Hit, Needle, find_digits};
use crate::body::escapes::hex_pair;

/// Characters that encode the shortest number, twelve digits.
const BASE64_RUN_MIN: usize = 16;
/// Hex digits that encode the shortest number.
const HEX_RUN_MIN: usize = 24;

/// Finds the numbers in base64 runs. Line breaks within a run are skipped (RFC 2045 §6.8).
pub(super) fn find_base64(needles: &[Needle<'_>], text: &[u8], found: &mut dyn FnMut(Hit)) {
    let mut run = Run::default();
    for (at, byte) in text.iter().enumerate() {
        match sextet(*byte) {
            Some(value) => run.push(value, at),
            None if matches!(byte, b'\r' | b'\n') => {}
            None => run.flush(needles, text, found),
        }
    }
    run.flush(needles, text, found);
}

#[derive(Default)]
struct Run {
    sextets: Vec<u8>,
    positions: Vec<usize>,
}

impl Run {
    fn push(&mut self, sextet: u8, at: usize) {
        self.sextets.push(sextet);
        self.positions.push(at);
    }

    fn flush(&mut self, needles: &[Needle<'_>], text: &[u8], found: &mut dyn FnMut(Hit)) {
        if self.sextets.len() >= BASE64_RUN_MIN {
            for phase in 0..4 {
                let decoded = decode(&self.sextets[phase..]);
                find_digits(needles, &decoded, Boundary::Anywhere, &mut |hit| {
                    found(Hit { span: self.origin(phase, hit.span, text), ..hit });
                });
            }
        }
        self.sextets.clear();
        self.positions.clear();
    }

    /// The characters that hold any bit of these decoded bytes, and the padding that ends them.
    fn origin(&self, phase: usize, decoded: Range<usize>, text: &[u8]) -> Range<usize> {
        let first = phase + decoded.start * 8 / 6;
        let last = phase + (decoded.end * 8).div_ceil(6) - 1;
        let end = self.positions[last] + 1;
        let padding = text[end..].iter().take(2).take_while(|byte| **byte == b'=').count();
        self.positions[first]..end + padding
    }
}

fn decode(sextets: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(sextets.len() * 3 / 4);
    let (mut bits, mut held) = (0_u32, 0_u32);
    for sextet in sextets {
        bits = bits << 6 | u32::from(*sextet);
        held += 6;
        if held >= 8 {
            held -= 8;
            out.push((bits >> held) as u8);
        }
    }
    out
}

fn sextet(byte: u8) -> Option<u8> {
    Some(match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' | b'-' => 62,
        b'/' | b'_' => 63,
        _ => return None,
    })
}

/// Finds the numbers in hex runs, upper or lower case.
pub(super) fn find_hex(needles: &[Needle<'_>], text: &[u8], found: &mut dyn FnMut(Hit)) {
    let mut at = 0;
    while at < text.len() {
        let length = text[at..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        if length >= HEX_RUN_MIN {
            for parity in 0..2 {
                let start = at + parity;
                let pairs = text[start..at + length].as_chunks::<2>().0;
                let decoded: Vec<u8> = pairs.iter().filter_map(|[high, low]| hex_pair(*high, *low)).collect();
                find_digits(needles, &decoded, Boundary::Anywhere, &mut |hit| {
                    let span = start + 2 * hit.span.start..start + 2 * hit.span.end;
                    found(Hit { span, ..hit });
                });
            }
        }
        at += length.max(1);
    }
}
