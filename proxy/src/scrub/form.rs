//! Scrubbing form-encoded answers, field by field.

use std::ops::Range;

use super::value::{CVC_MASK, Findings, Scrubber};
use crate::body::form;

/// Finds what to replace. Tokens and masks are written as they are: a form needs no escape for them.
pub(super) fn scrub(scrubber: &Scrubber<'_>, body: &[u8]) -> Findings {
    let mut findings = Findings::default();
    for pair in form::pairs(body) {
        let name = form::decode(&body[pair.name.clone()]);
        let start = pair.name.start;
        let origin = |span| moved(name.origin(span), start);
        scrubber.search(name.bytes(), &|_| false, &origin, &mut findings);
        let Some(at) = pair.value else { continue };
        let value = form::decode(&body[at.clone()]);
        let key = String::from_utf8_lossy(name.bytes());
        let text = std::str::from_utf8(value.bytes()).unwrap_or_default();
        if scrubber.is_cvc(text) && scrubber.is_cvc_field(&key) {
            findings.replace(at, CVC_MASK);
            continue;
        }
        let is_reference = scrubber.ids.hold_name(&key);
        let origin = |span| moved(value.origin(span), at.start);
        scrubber.search(value.bytes(), &|_| is_reference, &origin, &mut findings);
        scrubber.search_cvc(value.bytes(), &origin, &mut findings);
    }
    findings
}

fn moved(span: Range<usize>, by: usize) -> Range<usize> {
    span.start + by..span.end + by
}
