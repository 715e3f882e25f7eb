//! Every way a PSP may write back a number it was sent, and an independent look for it.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

use crate::NUMBER;

/// How many spellings [`spelled`] knows.
pub const SPELLINGS: u8 = 23;

fn each(text: &str, write: impl Fn(u8) -> String) -> String {
    text.bytes().map(write).collect()
}

fn grouped(by: usize, separator: &str) -> String {
    let groups: Vec<_> = NUMBER.as_bytes().chunks(by).map(String::from_utf8_lossy).collect();
    groups.join(separator)
}

/// The number in one spelling. `lead` and `tail` stand beside it inside what is encoded.
#[must_use]
pub fn spelled(which: u8, lead: &str, tail: &str) -> String {
    let inside = format!("{lead}{NUMBER}{tail}");
    match which % SPELLINGS {
        0 => NUMBER.to_owned(),
        1 => grouped(4, " "),
        2 => grouped(4, "-"),
        3 => grouped(1, "-"),
        4 => grouped(6, "+"),
        5 => grouped(4, "%20"),
        6 => grouped(4, "\\u00a0"),
        7 => each(NUMBER, |digit| format!("\\u{digit:04x}")),
        8 => each(NUMBER, |digit| format!("\\\\u{digit:04x}")),
        9 => each(NUMBER, |digit| format!("%{digit:02X}")),
        10 => each(NUMBER, |digit| format!("%25{digit:02x}")),
        11 => each(NUMBER, |digit| format!("&#{digit};")),
        12 => each(NUMBER, |digit| format!("&#x{digit:X};")),
        13 => each(NUMBER, |digit| format!("&amp;#{digit};")),
        14 => STANDARD.encode(inside),
        15 => STANDARD_NO_PAD.encode(inside),
        16 => URL_SAFE.encode(inside),
        17 => URL_SAFE_NO_PAD.encode(inside),
        18 => hex::encode(inside),
        19 => hex::encode_upper(inside),
        // In UTF-16, one end first or the other.
        20 => each(NUMBER, |digit| format!("{}\0", char::from(digit))),
        21 => each(NUMBER, |digit| format!("\0{}", char::from(digit))),
        _ => grouped(4, " ").chars().map(|char| format!("\0{char}")).collect(),
    }
}

/// Whether a spelling of the number stands in a text: by comparison with each, not by decoding.
#[must_use]
pub fn is_spelled_in(text: &[u8]) -> bool {
    let text = String::from_utf8_lossy(text);
    let flat: String =
        text.chars().filter(|char| !matches!(char, ' ' | '-' | '+' | '\u{a0}' | '\0')).collect();
    let lower = text.to_ascii_lowercase();
    let written = [
        each(NUMBER, |digit| format!("\\u{digit:04x}")),
        each(NUMBER, |digit| format!("%{digit:02x}")),
        each(NUMBER, |digit| format!("%25{digit:02x}")),
        each(NUMBER, |digit| format!("&#{digit};")),
        each(NUMBER, |digit| format!("&#x{digit:x};")),
        each(NUMBER, |digit| format!("&amp;#{digit};")),
        grouped(4, "%20"),
        grouped(4, "\\u00a0"),
        hex::encode(NUMBER),
    ];
    // The characters that hold nothing but bits of the number, at the three alignments.
    let mut base64 = (0..3).map(|lead| {
        let encoded = STANDARD_NO_PAD.encode([&vec![0; lead][..], NUMBER.as_bytes()].concat());
        encoded[(lead * 8).div_ceil(6)..(lead + NUMBER.len()) * 8 / 6].to_owned()
    });
    crate::holds_number(flat.as_bytes())
        || written.iter().any(|spelling| lower.contains(spelling.as_str()))
        || base64.any(|part| text.contains(&part))
}
