//! Scrubbing XML, field by field: every element's own text and every attribute as what they say, in whatever pieces.

use std::ops::Range;

use super::value::{CVC_MASK, Findings, Scrubber};
use crate::body::Malformed;
use crate::body::edit::Edit;
use crate::body::json::Reading;
use crate::body::xml::{self, Event, Path, Value};

/// Finds what to replace. `Err`: the body is not XML after all. Tokens and masks need no escape.
pub(super) fn scrub(scrubber: &Scrubber<'_>, body: &[u8]) -> Result<Findings, Malformed> {
    let mut findings = Findings::default();
    xml::scan(body, None, Reading::Lenient, |path, event| {
        match event {
            Event::Aside(text, at) => aside(scrubber, text, at.start, &mut findings),
            Event::Value(value) => field(scrubber, path, value, &mut findings),
        }
        Ok::<(), Malformed>(())
    })?;
    Ok(findings)
}

fn aside(scrubber: &Scrubber<'_>, text: &str, start: usize, findings: &mut Findings) {
    let moved = |span: Range<usize>| start + span.start..start + span.end;
    scrubber.search(text.as_bytes(), &|_| false, &moved, findings);
    scrubber.search_cvc(text.as_bytes(), &moved, findings);
}

fn field(scrubber: &Scrubber<'_>, path: &Path<'_>, value: &Value<'_>, findings: &mut Findings) {
    let text = value.decoded();
    if text.is_empty() {
        return;
    }
    let mut inside = Findings::default();
    if scrubber.is_cvc(&text)
        && (scrubber.is_cvc_field(path.name()) || scrubber.cvc_fields.hold_xml_path(path))
    {
        let start = text.len() - text.trim_start().len();
        inside.replace(start..start + text.trim().len(), CVC_MASK);
    } else {
        let is_reference = scrubber.ids.hold_xml_path(path);
        scrubber.search(text.as_bytes(), &|_| is_reference, &|span| span, &mut inside);
        scrubber.search_cvc(text.as_bytes(), &|span| span, &mut inside);
    }
    findings.counts.add(inside.counts);
    for Edit { span, text } in inside.edits {
        // What stands in several pieces becomes one, in the first of them; the markup between stays.
        let mut text = text.as_str();
        for origin in value.origins(&span) {
            findings.edits.push(Edit::new(origin, text));
            text = "";
        }
    }
}
