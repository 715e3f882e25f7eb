//! Scrubbing what has no fields we can trust: XML, HTML, plain text, JSON that is none, and bytes.

use super::fields::name_before;
use super::value::{Findings, Scrubber};

/// Finds what to replace in a text. Fields are taken from what stands before a value: a tag, or a name and `:` or `=`.
pub(super) fn scrub(scrubber: &Scrubber<'_>, body: &[u8]) -> Findings {
    let mut findings = Findings::default();
    let is_reference = |number: &std::ops::Range<usize>| {
        name_before(body, number.start).is_some_and(|name| scrubber.ids.hold_name(name))
    };
    scrubber.search(body, &is_reference, &|span| span, &mut findings);
    scrubber.search_cvc(body, &|span| span, &mut findings);
    findings
}

/// Finds the injected numbers in anything.
pub(super) fn scrub_injected(scrubber: &Scrubber<'_>, body: &[u8]) -> Findings {
    let mut findings = Findings::default();
    scrubber.search_injected(body, &|span| span, &mut findings);
    findings
}
