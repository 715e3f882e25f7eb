//! Scrubbing JSON, field by field: every string as what it says, every number as what stands there.

use std::ops::Range;

use super::fields;
use super::value::{CVC_MASK, Findings, Scrubber};
use crate::body::Malformed;
use crate::body::edit::{self, Edit};
use crate::body::json::{self, Event, Path, Reading, Text};

/// Finds what to replace. `Err`: the body is not JSON after all.
pub(super) fn scrub(scrubber: &Scrubber<'_>, body: &[u8]) -> Result<Findings, Malformed> {
    let mut findings = Findings::default();
    json::scan(body, Reading::Lenient, |path, event| {
        match event {
            Event::Key(text) => string(scrubber, text, false, &mut findings),
            Event::String(text) if is_cvc(scrubber, path, &text.decoded()) => {
                findings.replace(text.start()..text.start() + text.raw().len(), CVC_MASK);
            }
            Event::String(text) => {
                string(scrubber, text, scrubber.ids.hold_path(path), &mut findings);
            }
            Event::Number(span) => number(scrubber, path, body, span, &mut findings),
            Event::Null | Event::Other => {}
        }
        Ok::<(), Malformed>(())
    })?;
    Ok(findings)
}

fn is_cvc(scrubber: &Scrubber<'_>, path: &Path<'_>, field: &str) -> bool {
    scrubber.is_cvc(field)
        && (path.name().is_some_and(fields::is_cvc_name) || scrubber.cvc_fields.hold_path(path))
}

fn string(scrubber: &Scrubber<'_>, text: Text<'_>, is_reference: bool, findings: &mut Findings) {
    let moved = |span: Range<usize>| text.start() + span.start..text.start() + span.end;
    match text.mapped() {
        None => {
            scrubber.search(text.raw().as_bytes(), &|_| is_reference, &moved, findings);
            scrubber.search_cvc(text.raw().as_bytes(), &moved, findings);
        }
        Some(mapped) => {
            let origin = |span| moved(mapped.origin(span));
            scrubber.search(mapped.bytes(), &|_| is_reference, &origin, findings);
            scrubber.search_cvc(mapped.bytes(), &origin, findings);
        }
    }
}

/// A number that changes becomes a string: neither a token nor a mask is a number.
fn number(
    scrubber: &Scrubber<'_>,
    path: &Path<'_>,
    body: &[u8],
    span: Range<usize>,
    findings: &mut Findings,
) {
    let digits = &body[span.clone()];
    let text = std::str::from_utf8(digits).unwrap_or_default();
    if is_cvc(scrubber, path, text) {
        findings.replace(span, &format!("\"{CVC_MASK}\""));
        return;
    }
    let mut inside = Findings::default();
    // A sign, a fraction or an exponent makes it an amount, not a foreign card number.
    let is_plain = digits.iter().all(u8::is_ascii_digit);
    let is_reference = !is_plain || scrubber.ids.hold_path(path);
    scrubber.search(digits, &|_| is_reference, &|span| span, &mut inside);
    findings.counts.add(inside.counts);
    if !inside.edits.is_empty() {
        let scrubbed = edit::apply(digits, inside.edits);
        findings.edits.push(Edit::new(span, format!("\"{}\"", String::from_utf8_lossy(&scrubbed))));
    }
}
