//! The forms in which a secret could have been written.

use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// Fewest bytes of a pattern: 40 bits turn up by chance once in a terabyte.
pub(super) const BYTES_MIN: usize = 5;

/// One way to write a secret.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Form {
    /// ASCII digits.
    Plain,
    /// Groups with spaces, dashes, `+` or `%20` between them.
    Grouped,
    /// UTF-16, low byte first.
    Utf16Le,
    /// UTF-16, high byte first.
    Utf16Be,
    /// Two digits a byte, from the first digit or from the second.
    Bcd,
    /// The bytes in hexadecimal.
    Hex,
    /// RFC 4648 §4 or §5, at any of three alignments.
    Base64,
    /// `%34%32…`
    Percent,
    /// `\u0034\u0032…`
    JsonEscape,
    /// `&#52;&#50;…`
    XmlEntity,
    /// One binary integer, either byte order.
    Integer,
    /// The very bytes.
    Raw,
    /// Beside a name that says what it is.
    Named,
}

pub(super) fn of_number(digits: &str) -> Vec<(Form, Vec<u8>)> {
    let ascii = digits.as_bytes();
    let mut forms = vec![(Form::Plain, ascii.to_vec())];
    for separator in [" ", "-", "+", "%20"] {
        for grouped in groupings(digits, separator) {
            forms.push((Form::Grouped, grouped.into_bytes()));
        }
    }
    let mut texts = vec![digits.to_owned()];
    texts.extend(groupings(digits, " "));
    texts.extend(groupings(digits, "-"));
    for text in texts {
        forms.push((Form::Utf16Le, text.encode_utf16().flat_map(u16::to_le_bytes).collect()));
        forms.push((Form::Utf16Be, text.encode_utf16().flat_map(u16::to_be_bytes).collect()));
        forms.extend(hex_and_base64(text.as_bytes()));
    }
    forms.push((Form::Bcd, packed(ascii)));
    forms.push((Form::Bcd, packed(&ascii[1..])));
    forms.push((Form::Percent, each(ascii, |byte| format!("%{byte:02X}"))));
    forms.push((Form::JsonEscape, each(ascii, |byte| format!("\\u{byte:04x}"))));
    forms.push((Form::XmlEntity, each(ascii, |byte| format!("&#{byte};"))));
    forms.push((Form::XmlEntity, each(ascii, |byte| format!("&#x{byte:x};"))));
    if let Ok(number) = digits.parse::<u64>() {
        let big = number.to_be_bytes();
        let significant = &big[number.leading_zeros() as usize / 8..];
        forms.push((Form::Integer, significant.to_vec()));
        forms.push((Form::Integer, significant.iter().rev().copied().collect()));
    }
    forms
}

pub(super) fn of_cvc(digits: &str) -> Vec<(Form, Vec<u8>)> {
    const NAMES: [&str; 14] = [
        "cvc",
        "cvc2",
        "cvv",
        "cvv2",
        "csc",
        "cvn",
        "cid",
        "CVC",
        "CVV",
        "cardCode",
        "securityCode",
        "security_code",
        "card_code",
        "verification_value",
    ];
    // JSON, JSON inside a JSON string, forms, XML, Rust's Debug, prose.
    const BETWEEN: [&str; 14] = [
        "\":\"",
        "\": \"",
        "\":",
        "\": ",
        "\\\":\\\"",
        "\\\": \\\"",
        "\\\":",
        "=",
        "]=",
        "%5D=",
        ">",
        ": \"",
        ": ",
        " ",
    ];
    let pairs =
        NAMES.iter().flat_map(|name| BETWEEN.iter().map(move |between| format!("{name}{between}{digits}")));
    pairs
        .flat_map(|text| {
            [
                (Form::Utf16Le, text.encode_utf16().flat_map(u16::to_le_bytes).collect()),
                (Form::Named, text.into_bytes()),
            ]
        })
        .collect()
}

pub(super) fn of_key(bytes: &[u8]) -> Vec<(Form, Vec<u8>)> {
    let mut forms = vec![(Form::Raw, bytes.to_vec())];
    forms.extend(hex_and_base64(bytes));
    forms
}

fn hex_and_base64(bytes: &[u8]) -> Vec<(Form, Vec<u8>)> {
    let mut forms = vec![
        (Form::Hex, hex::encode(bytes).into_bytes()),
        (Form::Hex, hex::encode_upper(bytes).into_bytes()),
    ];
    for before in 0..3 {
        forms.push((Form::Base64, base64_within(bytes, before, &STANDARD_NO_PAD)));
        forms.push((Form::Base64, base64_within(bytes, before, &URL_SAFE_NO_PAD)));
    }
    forms
}

/// The letters of a base64 text that these bytes alone decide, if `before` other bytes (mod 3) stand before them.
fn base64_within(bytes: &[u8], before: usize, engine: &impl base64::Engine) -> Vec<u8> {
    let mut padded = vec![0; before];
    padded.extend_from_slice(bytes);
    let text = engine.encode(&padded).into_bytes();
    let first_own = (before * 8).div_ceil(6);
    let first_foreign = padded.len() * 8 / 6;
    text[first_own..first_foreign].to_vec()
}

/// Groups of four; and as Amex (4-6-5) and Diners (4-6-4) print theirs.
fn groupings(digits: &str, separator: &str) -> Vec<String> {
    let join = |sizes: &[usize]| {
        let mut rest = digits;
        let mut groups = Vec::new();
        for &size in sizes {
            if rest.len() <= size {
                break;
            }
            let (group, after) = rest.split_at(size);
            groups.push(group);
            rest = after;
        }
        groups.push(rest);
        groups.join(separator)
    };
    match digits.len() {
        14 | 15 => vec![join(&[4; 4]), join(&[4, 6])],
        _ => vec![join(&[4; 4])],
    }
}

/// Two digits a byte; a last odd digit shares its byte with what follows and is left out.
fn packed(digits: &[u8]) -> Vec<u8> {
    let pair = |pair: &[u8; 2]| (pair[0] - b'0') << 4 | (pair[1] - b'0');
    digits.as_chunks::<2>().0.iter().map(pair).collect()
}

fn each(bytes: &[u8], write: impl Fn(u8) -> String) -> Vec<u8> {
    bytes.iter().map(|byte| write(*byte)).collect::<String>().into_bytes()
}
