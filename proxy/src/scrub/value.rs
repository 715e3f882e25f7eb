//! Searching one value, wherever it stands.

use std::ops::Range;

use secrecy::ExposeSecret;

use super::fields::{self, Selectors};
use super::number::{self, Needle};
use super::{ScrubCounts, ScrubRules, foreign};
use crate::body::edit::Edit;
use crate::body::escapes::{self, Origin};
use crate::inject::Injections;

/// What a verification code becomes.
pub(super) const CVC_MASK: &str = "***";

/// Everything to look for in one answer.
pub(super) struct Scrubber<'a> {
    needles: Vec<Needle<'a>>,
    cvcs: Vec<&'a str>,
    pub(super) ids: Selectors<'a>,
    pub(super) cvc_fields: Selectors<'a>,
}

/// What was found: edits of the body, in any order.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) edits: Vec<Edit>,
    pub(super) counts: ScrubCounts,
}

/// Whether what stands at a range of the text is a declared reference, never masked.
pub(super) type IsReference<'f> = &'f dyn Fn(&Range<usize>) -> bool;

impl<'a> Scrubber<'a> {
    #[expect(clippy::disallowed_methods, reason = "what was injected is what answers are searched for")]
    pub(super) fn new(secrets: &'a Injections, rules: &ScrubRules<'a>) -> Self {
        let needles = secrets.0.iter().filter_map(|card| {
            let digits = card.number.as_ref()?.expose_secret().as_bytes();
            Some(Needle { digits, token: card.name.as_str() })
        });
        Self {
            needles: needles.collect(),
            cvcs: secrets.0.iter().filter_map(|card| Some(card.cvc.as_ref()?.expose_secret())).collect(),
            ids: Selectors::new(rules.ids),
            cvc_fields: Selectors::new(rules.cvc_fields),
        }
    }

    /// Searches a text for the injected numbers, then for foreign ones.
    pub(super) fn search(
        &self,
        text: &[u8],
        is_reference: IsReference<'_>,
        origin: Origin<'_>,
        findings: &mut Findings,
    ) {
        let taken = self.search_injected(text, origin, findings);
        let foreign = foreign::find(text, &taken, is_reference);
        for number in &foreign.numbers {
            findings.counts.replaced = findings.counts.replaced.saturating_add(1);
            let digits = foreign::masked(text, number);
            findings.edits.extend(digits.map(|run| Edit::new(origin(run.clone()), "*".repeat(run.len()))));
        }
        findings.counts.suspected = findings.counts.suspected.saturating_add(foreign.suspected);
    }

    /// Searches a text for the injected numbers only.
    pub(super) fn search_injected(
        &self,
        text: &[u8],
        origin: Origin<'_>,
        findings: &mut Findings,
    ) -> Vec<Range<usize>> {
        let hits = number::find(&self.needles, text);
        for hit in &hits {
            findings.replace(origin(hit.span.clone()), self.needles[hit.needle].token);
        }
        hits.into_iter().map(|hit| hit.span).collect()
    }

    /// Whether an injected number is somewhere in a text.
    pub(super) fn holds_number(&self, text: &[u8]) -> bool {
        !number::find(&self.needles, text).is_empty()
    }

    /// Whether a whole field is an injected verification code. A JSON number has lost its leading zeros.
    pub(super) fn is_cvc(&self, field: &str) -> bool {
        let field = field.trim();
        let is_number = !field.is_empty() && field.bytes().all(|byte| byte.is_ascii_digit());
        let bare = |text: &str| text.trim_start_matches('0').len();
        self.cvcs
            .iter()
            .any(|cvc| *cvc == field || (is_number && cvc.ends_with(field) && bare(cvc) == field.len()))
    }

    /// Whether there is a verification code to look for.
    pub(super) fn knows_cvc(&self) -> bool {
        !self.cvcs.is_empty()
    }

    /// Whether a field of this name may hold a verification code, by its name alone.
    pub(super) fn is_cvc_field(&self, name: &str) -> bool {
        fields::is_cvc_name(fields::last_part(name)) || self.cvc_fields.hold_name(name)
    }

    /// Searches a text for verification codes in fields of their own, whatever notation the fields are in.
    pub(super) fn search_cvc(&self, text: &[u8], origin: Origin<'_>, findings: &mut Findings) {
        if !self.knows_cvc() {
            return;
        }
        let mut spans = Vec::new();
        escapes::each_level(text, |level, undone| {
            for field in foreign::digit_runs(level).filter(|field| self.is_cvc_at(level, field)) {
                spans.push(undone(field));
            }
        });
        spans.sort_by_key(|span| span.start);
        spans.dedup_by(|later, earlier| later.start < earlier.end);
        spans.into_iter().for_each(|span| findings.replace(origin(span), CVC_MASK));
    }

    fn is_cvc_at(&self, text: &[u8], field: &Range<usize>) -> bool {
        std::str::from_utf8(&text[field.clone()]).is_ok_and(|digits| self.is_cvc(digits))
            && fields::ends_at(text, field.end)
            && fields::name_before(text, field.start).is_some_and(|name| self.is_cvc_field(name))
    }

    /// Searches a header's value.
    pub(super) fn header(&self, name: &str, value: &[u8]) -> Findings {
        let mut findings = Findings::default();
        let itself = |span| span;
        let text = std::str::from_utf8(value).unwrap_or_default();
        if self.is_cvc(text) && self.is_cvc_field(name.trim_start_matches("x-")) {
            findings.replace(0..value.len(), CVC_MASK);
            return findings;
        }
        let is_reference = self.ids.hold_name(name);
        self.search(value, &|_| is_reference, &itself, &mut findings);
        self.search_cvc(value, &itself, &mut findings);
        findings
    }
}

impl Findings {
    pub(super) fn replace(&mut self, span: Range<usize>, text: &str) {
        self.edits.push(Edit::new(span, text));
        self.counts.replaced = self.counts.replaced.saturating_add(1);
    }
}
