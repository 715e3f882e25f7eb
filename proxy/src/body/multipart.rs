//! `multipart/form-data` (RFC 7578), part by part.
//!
//! Promises: linear; every part's ranges are those of the body as it came. What readers disagree about is refused: text
//! before the first boundary or after the last, bare line feeds at a boundary, a part with two names, names with escapes,
//! transfer encodings.
//! Does not promise: anything of what a part holds.
//! Upholds: C-39.

use std::ops::Range;

use super::Malformed;

/// Most parts: a form of a payment has a dozen.
const PARTS_MAX: usize = 256;
/// Longest boundary (RFC 2046 §5.1.1).
const BOUNDARY_BYTES_MAX: usize = 70;

/// One part, as it stands.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Part {
    /// Its name: without quotes, and without escapes.
    pub(crate) name: Range<usize>,
    /// Its header lines.
    pub(crate) head: Range<usize>,
    pub(crate) content: Range<usize>,
    /// A plain field: no file, and of no type but text.
    pub(crate) is_field: bool,
}

/// The boundary a content type names. `None`: none, two, or one no boundary can be.
pub(crate) fn boundary(content_type: &str) -> Option<&str> {
    let mut named = parameters(content_type)?.into_iter().filter(|(name, _)| name == "boundary");
    let (_, boundary) = named.next()?;
    let is_right = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=? ".contains(&byte);
    let right = (1..=BOUNDARY_BYTES_MAX).contains(&boundary.len())
        && boundary.bytes().all(is_right)
        && !boundary.ends_with(' ');
    (right && named.next().is_none()).then_some(boundary)
}

/// Reads every part.
pub(crate) fn parts(body: &[u8], boundary: &str) -> Result<Vec<Part>, Malformed> {
    const BROKEN: Malformed =
        Malformed("the body is not multipart/form-data with the boundary of its header");
    let open = format!("--{boundary}");
    let delimiter = format!("\r\n--{boundary}");
    let mut at = body.starts_with(open.as_bytes()).then_some(open.len()).ok_or(BROKEN)?;
    let mut parts = Vec::new();
    loop {
        match &body[at..] {
            [b'-', b'-'] | [b'-', b'-', b'\r', b'\n'] => return Ok(parts),
            [b'\r', b'\n', ..] if parts.len() < PARTS_MAX => at += 2,
            _ => return Err(BROKEN),
        }
        let head = find(&body[at..], b"\r\n\r\n").ok_or(BROKEN)?;
        let head = at..at + head;
        let start = head.end + 4;
        let length = find(&body[start..], delimiter.as_bytes()).ok_or(BROKEN)?;
        // Some readers take a line feed alone for the end of a line.
        if find(&body[start..start + length], &delimiter.as_bytes()[1..]).is_some() {
            return Err(BROKEN);
        }
        parts.push(part(body, head, start..start + length)?);
        at = start + length + delimiter.len();
    }
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    // All of them begin with an end of line: what is between is stepped over at once.
    let mut at = 0;
    loop {
        at += text[at..].iter().position(|byte| *byte == needle[0])?;
        if text[at..].starts_with(needle) {
            return Some(at);
        }
        at += 1;
    }
}

fn part(body: &[u8], head: Range<usize>, content: Range<usize>) -> Result<Part, Malformed> {
    const BROKEN: Malformed = Malformed("a part of the body has header lines that cannot be read");
    let text = std::str::from_utf8(&body[head.clone()]).map_err(|_| BROKEN)?;
    let mut part = Part { name: 0..0, head: head.clone(), content, is_field: true };
    let mut is_named = false;
    for line in text.split("\r\n") {
        let (name, value) = line.split_once(':').ok_or(BROKEN)?;
        if name.is_empty() || name.contains([' ', '\t']) || line.contains(['\r', '\n', '\0']) {
            return Err(BROKEN);
        }
        match name.to_ascii_lowercase().as_str() {
            "content-disposition" if !is_named => {
                let (field, is_file) = disposition(value).ok_or(BROKEN)?;
                let start = head.start + (field.as_ptr() as usize - text.as_ptr() as usize);
                part.name = start..start + field.len();
                part.is_field &= !is_file;
                is_named = true;
            }
            "content-disposition" => return Err(BROKEN),
            "content-type" => part.is_field &= is_text(value),
            "content-transfer-encoding" => {
                return Err(Malformed("a part of the body is in a transfer encoding"));
            }
            _ => {}
        }
    }
    if is_named && &body[part.name.clone()] != b"_charset_" { Ok(part) } else { Err(BROKEN) }
}

/// The field's name, and whether it is a file.
fn disposition(value: &str) -> Option<(&str, bool)> {
    let (kind, _) = value.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("form-data") {
        return None;
    }
    let (mut field, mut is_file) = (None, false);
    for (name, value) in parameters(value)? {
        match name.as_str() {
            "name" if field.is_none() && !value.contains(['\\', '%']) => field = Some(value),
            "filename" | "filename*" => is_file = true,
            _ => return None,
        }
    }
    Some((field?, is_file))
}

fn is_text(value: &str) -> bool {
    let essence = value.split(';').next().unwrap_or_default().trim();
    let is_utf8 = parameters(value).is_some_and(|parameters| {
        parameters.iter().all(|(name, value)| name != "charset" || value.eq_ignore_ascii_case("utf-8"))
    });
    essence.eq_ignore_ascii_case("text/plain") && is_utf8
}

/// The parameters after the first `;`, names in lower case, values without quotes. `None`: not to be read one way only.
fn parameters(value: &str) -> Option<Vec<(String, &str)>> {
    let mut rest = value.split_once(';').map_or("", |(_, rest)| rest);
    let mut found = Vec::new();
    while !rest.trim().is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let value = if let Some(quoted) = after.strip_prefix('"') {
            let end = quoted.find('"')?;
            if quoted[..end].ends_with('\\') {
                return None;
            }
            let tail = quoted[end + 1..].trim_start();
            rest = if tail.is_empty() { tail } else { tail.strip_prefix(';')? };
            &quoted[..end]
        } else {
            let end = after.find(';').unwrap_or(after.len());
            rest = after.get(end + 1..).unwrap_or_default();
            after[..end].trim()
        };
        if name.is_empty() || name.contains([' ', '\t', '"', ';']) {
            return None;
        }
        found.push((name, value));
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BODY: &str = "--x\r\nContent-Disposition: form-data; name=\"card[number]\"\r\n\r\n42\r\n--x\r\n\
        content-disposition: form-data; name=note\r\nContent-Type: text/plain; charset=UTF-8\r\n\r\n\r\n--x\r\n\
        Content-Disposition: form-data; name=\"f\"; filename=\"a;b.txt\"\r\nContent-Type: image/png\r\n\r\n--y\r\n\r\n--x--\r\n";

    #[test]
    fn parts_are_found_where_they_stand() {
        let parts = parts(BODY.as_bytes(), "x").unwrap();
        let shown: Vec<_> = parts
            .iter()
            .map(|part| (&BODY[part.name.clone()], &BODY[part.content.clone()], part.is_field))
            .collect();
        assert_eq!(shown, [("card[number]", "42", true), ("note", "", true), ("f", "--y\r\n", false)]);
    }

    #[test]
    fn boundaries_are_read_one_way_or_not_at_all() {
        for (text, expected) in [
            ("multipart/form-data; boundary=abc", Some("abc")),
            ("multipart/form-data; Boundary=\"a b=c\"; charset=utf-8", Some("a b=c")),
            ("multipart/form-data", None),
            ("multipart/form-data; boundary=a; boundary=b", None),
            ("multipart/form-data; boundary=\"a", None),
            ("multipart/form-data; boundary=\"a\\\"b\"", None),
            ("multipart/form-data; boundary=", None),
            ("multipart/form-data; boundary=a\u{e9}", None),
        ] {
            assert_eq!(boundary(text), expected, "{text}");
        }
    }

    #[test]
    fn what_readers_disagree_about_is_refused() {
        for (from, to) in [
            (
                "--x\r\nContent-Disposition: form-data; name=\"card",
                "preamble\r\n--x\r\nContent-Disposition: form-data; name=\"card",
            ),
            ("--x--\r\n", "--x--\r\nepilogue"),
            ("--x--\r\n", "--x"),
            ("name=note", "name=note; name=other"),
            ("name=note", "name*=utf-8''note"),
            ("name=\"card[number]\"", "name=\"card%5Bnumber]\""),
            ("name=\"card[number]\"", "name=\"a\\\"b\""),
            ("form-data; name=note", "attachment; name=note"),
            (
                "Content-Type: text/plain",
                "Content-Disposition: form-data; name=\"n\"\r\nContent-Type: text/plain",
            ),
            ("Content-Type: image/png", "Content-Transfer-Encoding: base64"),
            ("content-disposition: form-data", "content-disposition : form-data"),
            ("name=note", "name=_charset_"),
            ("\r\n\r\n42", "\n\n42"),
            ("\r\n\r\n42", "\r\n\r\n42\n--x"),
        ] {
            assert!(BODY.contains(from), "{from}");
            assert!(parts(BODY.replacen(from, to, 1).as_bytes(), "x").is_err(), "{to}");
        }
    }

    proptest! {
        #[test]
        fn no_body_makes_it_panic(body in r#"(--x|\r\n|-|:|;|name=|"|form-data|content-disposition|a){0,30}"#, raw: Vec<u8>) {
            let _ = parts(body.as_bytes(), "x");
            let _ = parts(&raw, "x");
            let _ = boundary(&body);
        }
    }
}
