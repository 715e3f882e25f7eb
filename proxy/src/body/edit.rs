//! Replacing ranges of a body.
//!
//! Promises: every byte outside the replaced ranges is copied as it is; the result is allocated once, at its exact
//! size, so that no half-grown copy of it stays behind.

use std::ops::Range;

use zeroize::Zeroizing;

/// One range and what stands there afterwards.
pub(crate) struct Edit {
    pub(crate) span: Range<usize>,
    pub(crate) text: Zeroizing<String>,
}

impl Edit {
    pub(crate) fn new(span: Range<usize>, text: impl Into<String>) -> Self {
        Self { span, text: Zeroizing::new(text.into()) }
    }
}

/// Applies edits in the order of their ranges; of two that overlap the first one counts and is stretched over both.
pub(crate) fn apply(body: &[u8], mut edits: Vec<Edit>) -> Vec<u8> {
    edits.sort_by_key(|edit| (edit.span.start, edit.span.end));
    edits.dedup_by(|later, earlier| {
        let overlap = later.span.start < earlier.span.end;
        if overlap {
            earlier.span.end = earlier.span.end.max(later.span.end);
        }
        overlap
    });
    let removed: usize = edits.iter().map(|edit| edit.span.len()).sum();
    let added: usize = edits.iter().map(|edit| edit.text.len()).sum();
    let mut out = Vec::with_capacity(body.len() - removed + added);
    let mut from = 0;
    for edit in &edits {
        out.extend_from_slice(&body[from..edit.span.start]);
        out.extend_from_slice(edit.text.as_bytes());
        from = edit.span.end;
    }
    out.extend_from_slice(&body[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_replaced_in_order_and_overlaps_once() {
        let edits =
            vec![Edit::new(6..7, "Z"), Edit::new(1..3, "__"), Edit::new(2..5, "lost"), Edit::new(7..7, "+")];
        assert_eq!(apply(b"abcdefgh", edits), b"a__fZ+h");
        assert_eq!(apply(b"", Vec::new()), b"");
    }
}
