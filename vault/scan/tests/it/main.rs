//! Numbers planted in every way, and everything that is told of them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod edges;
mod members;
mod telling;

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use flate2::Compression;
use flate2::write::GzEncoder;
use strongroom_scan::{Budget, Encoding, Finding, Stream};

/// A number with this beginning and a right check digit. Made here: nobody's card.
pub(crate) fn number(beginning: &str) -> String {
    let whole = ('0'..='9').map(|last| format!("{beginning}{last}"));
    whole.into_iter().find(|number| strongroom_domain::pan::luhn_holds(number.as_bytes())).unwrap()
}

pub(crate) fn utf16(text: &str, bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
    text.encode_utf16().flat_map(bytes).collect()
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Groups of four with something between.
pub(crate) fn grouped(number: &str, separator: &str) -> String {
    let groups: Vec<_> =
        (0..number.len()).step_by(4).map(|at| &number[at..number.len().min(at + 4)]).collect();
    groups.join(separator)
}

/// Every way a number is planted: what it is called, its bytes, and as what it must be found.
pub(crate) fn forms(number: &str) -> Vec<(String, Vec<u8>, Encoding)> {
    let mut forms = vec![("plain".to_owned(), number.as_bytes().to_vec(), Encoding::Plain)];
    let separators = [
        " ", "-", ".", "  ", "+", "%20", "&nbsp;", "\\u00a0", "\u{a0}", "\u{2009}", "\u{202f}", "\u{2013}",
        "\u{2011}", "\u{200b}",
    ];
    for separator in separators {
        let text = grouped(number, separator);
        forms.push((format!("grouped by {separator:?}"), text.clone().into_bytes(), Encoding::Plain));
        if separator.encode_utf16().count() == 1 {
            forms.push((
                format!("utf-16le, {separator:?}"),
                utf16(&text, u16::to_le_bytes),
                Encoding::Utf16Le,
            ));
            forms.push((
                format!("utf-16be, {separator:?}"),
                utf16(&text, u16::to_be_bytes),
                Encoding::Utf16Be,
            ));
        }
    }
    forms.push((
        "latin-1".to_owned(),
        grouped(number, "#").bytes().map(|byte| if byte == b'#' { 0xA0 } else { byte }).collect(),
        Encoding::Plain,
    ));
    let singles: Vec<_> = number.chars().map(String::from).collect();
    forms.push(("digits apart".to_owned(), singles.join(" ").into_bytes(), Encoding::Plain));
    forms.push(("utf-16le".to_owned(), utf16(number, u16::to_le_bytes), Encoding::Utf16Le));
    forms.push(("utf-16be".to_owned(), utf16(number, u16::to_be_bytes), Encoding::Utf16Be));
    for before in ["", "n", "no"] {
        for text in [number.to_owned(), grouped(number, " "), grouped(number, "-")] {
            let text = format!("{before}{text}");
            forms.push((format!("base64 of {text}"), STANDARD.encode(&text).into_bytes(), Encoding::Base64));
            forms.push((
                format!("base64url of {text}"),
                URL_SAFE_NO_PAD.encode(&text).into_bytes(),
                Encoding::Base64,
            ));
        }
        let encoded = STANDARD.encode(format!("{before}{number} and so on and so on and so on"));
        forms.push((
            format!("wrapped base64 after {before:?}"),
            format!("{}\r\n{}", &encoded[..12], &encoded[12..]).into_bytes(),
            Encoding::Base64,
        ));
    }
    forms
}

/// Searches with little room, in pieces of so many bytes.
pub(crate) fn search(bytes: &[u8], room: usize, piece: usize) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut stream = Stream::with_room(room, 0, Budget::default());
    bytes.chunks(piece).for_each(|piece| stream.push(piece, &mut found));
    stream.finish(&mut found);
    found
}
