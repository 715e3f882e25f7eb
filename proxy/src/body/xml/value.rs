//! A text and the pieces it is written as.

use std::borrow::Cow;
use std::ops::Range;

/// The text of an attribute, or all the text an element holds itself, however many pieces it stands in.
#[derive(Debug)]
pub(crate) struct Value<'a> {
    pub(super) pieces: Vec<Piece<'a>>,
    /// Between the tags, or between the quotes.
    pub(crate) span: Range<usize>,
    /// Other elements stand between the pieces.
    pub(crate) has_children: bool,
    /// Comments or processing instructions stand between the pieces: readers disagree about the whole.
    pub(crate) is_parted: bool,
    /// `<a/>`: there is no place inside.
    pub(crate) is_empty_tag: bool,
}

/// One run of text, or one character reference.
#[derive(Debug)]
pub(crate) struct Piece<'a> {
    says: Cow<'a, str>,
    from: Range<usize>,
    /// It says what stands there.
    is_verbatim: bool,
}

impl<'a> Piece<'a> {
    pub(super) fn text(body: &'a str, from: Range<usize>) -> Self {
        Self { says: Cow::Borrowed(&body[from.clone()]), from, is_verbatim: true }
    }

    pub(super) fn cdata(body: &'a str, from: Range<usize>) -> Self {
        Self::text(body, from)
    }

    pub(super) fn attribute_text(text: &'a str, start: usize) -> Self {
        Self { says: Cow::Borrowed(text), from: start..start + text.len(), is_verbatim: true }
    }

    pub(super) fn reference(char: char, from: Range<usize>) -> Self {
        Self { says: Cow::Owned(char.to_string()), from, is_verbatim: false }
    }

    /// Where a part of what it says stands.
    fn origin(&self, part: Range<usize>) -> Range<usize> {
        if self.is_verbatim {
            self.from.start + part.start..self.from.start + part.end
        } else {
            self.from.clone()
        }
    }
}

impl<'a> Value<'a> {
    pub(super) fn new(start: usize) -> Self {
        Self {
            pieces: Vec::new(),
            span: start..start,
            has_children: false,
            is_parted: false,
            is_empty_tag: false,
        }
    }

    /// Whether something other than text stands in it.
    pub(crate) fn is_mixed(&self) -> bool {
        self.has_children || self.is_parted
    }

    /// What it says: its pieces as one.
    pub(crate) fn decoded(&self) -> Cow<'a, str> {
        match self.pieces.as_slice() {
            [] => Cow::Borrowed(""),
            [Piece { says: Cow::Borrowed(says), .. }] => Cow::Borrowed(says),
            pieces => {
                let mut decoded = String::with_capacity(pieces.iter().map(|piece| piece.says.len()).sum());
                pieces.iter().for_each(|piece| decoded.push_str(&piece.says));
                Cow::Owned(decoded)
            }
        }
    }

    /// The ranges a range of [`Self::decoded`] is written as, in order: several where markup stands between.
    pub(crate) fn origins(&self, decoded: &Range<usize>) -> Vec<Range<usize>> {
        let mut origins: Vec<Range<usize>> = Vec::new();
        let mut at = 0;
        for piece in &self.pieces {
            let length = piece.says.len();
            let part = decoded.start.max(at)..decoded.end.min(at + length);
            if part.start < part.end {
                let origin = piece.origin(part.start - at..part.end - at);
                match origins.last_mut() {
                    Some(last) if last.end == origin.start => last.end = origin.end,
                    _ => origins.push(origin),
                }
            }
            at += length;
        }
        origins
    }
}
