//! Where a value stands, and the JSON Pointers (RFC 6901) that say so.

use super::Name;

/// The keys and indexes from the root to a value.
#[derive(Default, Debug)]
pub(crate) struct Path<'a>(Vec<Segment<'a>>);

/// One step.
#[derive(Debug)]
pub(crate) enum Segment<'a> {
    Key(Name<'a>),
    Index(usize),
}

impl<'a> Path<'a> {
    pub(super) fn push(&mut self, segment: Segment<'a>) {
        self.0.push(segment);
    }

    pub(super) fn pop(&mut self) {
        self.0.pop();
    }

    pub(crate) fn depth(&self) -> usize {
        self.0.len()
    }

    /// The steps from the root.
    pub(crate) fn segments(&self) -> &[Segment<'a>] {
        &self.0
    }

    /// The name of the field: the nearest key, above any array the value is in.
    pub(crate) fn name(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|segment| match segment {
            Segment::Key(name) => Some(name.as_ref()),
            Segment::Index(_) => None,
        })
    }
}

/// A parsed JSON Pointer, compared with unescaped keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Pointer {
    steps: Vec<String>,
    /// Its first step stands for any.
    any_root: bool,
}

impl Pointer {
    /// Reads a pointer. `None`: it does not begin with `/`, so it points at no member of anything.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let rest = text.strip_prefix('/')?;
        let steps = rest.split('/').map(|segment| segment.replace("~1", "/").replace("~0", "~")).collect();
        Some(Self { steps, any_root: false })
    }

    /// The same, in which a first step `*` stands for whatever the root's member is called.
    pub(crate) fn parse_below_any(text: &str) -> Option<Self> {
        Some(Self { any_root: text.starts_with("/*/"), ..Self::parse(text)? })
    }

    /// Its steps, unescaped.
    pub(crate) fn steps(&self) -> &[String] {
        &self.steps
    }

    pub(crate) fn is(&self, path: &Path<'_>) -> bool {
        let steps = self.steps.iter().zip(&path.0).skip(usize::from(self.any_root));
        self.steps.len() == path.0.len()
            && steps.rev().all(|(pointed, segment)| match segment {
                Segment::Key(name) => pointed == name.as_ref(),
                Segment::Index(index) => is_index(pointed, *index),
            })
    }
}

impl Pointer {
    /// Whether a reader that ignores the case of keys would find a value there.
    pub(crate) fn is_like(&self, path: &Path<'_>) -> bool {
        let mut steps = self.steps.iter().zip(&path.0).skip(usize::from(self.any_root));
        self.steps.len() == path.0.len()
            && steps.all(|(pointed, segment)| match segment {
                Segment::Key(name) => pointed.eq_ignore_ascii_case(name.trim()),
                Segment::Index(index) => is_index(pointed, *index),
            })
    }
}

/// RFC 6901 §4: no leading zeros.
fn is_index(pointed: &str, index: usize) -> bool {
    let canonical =
        pointed.bytes().all(|byte| byte.is_ascii_digit()) && (pointed == "0" || !pointed.starts_with('0'));
    canonical && pointed.parse() == Ok(index)
}
