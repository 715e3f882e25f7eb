//! A text and the pieces it is written as.

use std::borrow::Cow;
use std::ops::Range;

/// The text of an attribute, or all the text an element holds itself, however many pieces it stands in.
#[derive(Debug)]
pub(crate) struct Value<'a> {
    pieces: Vec<Piece<'a>>,
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
    /// Where it begins in the whole: set when it is added.
    at: usize,
}

impl<'a> Piece<'a> {
    pub(super) fn text(body: &'a str, from: Range<usize>) -> Self {
        Self { says: Cow::Borrowed(&body[from.clone()]), from, is_verbatim: true, at: 0 }
    }

    pub(super) fn cdata(body: &'a str, from: Range<usize>) -> Self {
        Self::text(body, from)
    }

    pub(super) fn attribute_text(text: &'a str, start: usize) -> Self {
        Self { says: Cow::Borrowed(text), from: start..start + text.len(), is_verbatim: true, at: 0 }
    }

    pub(super) fn reference(char: char, from: Range<usize>) -> Self {
        Self { says: Cow::Owned(char.to_string()), from, is_verbatim: false, at: 0 }
    }

    fn end(&self) -> usize {
        self.at + self.says.len()
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

    pub(super) fn push(&mut self, piece: Piece<'a>) {
        let at = self.pieces.last().map_or(0, Piece::end);
        self.pieces.push(Piece { at, ..piece });
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

    /// The ranges a range of [`Self::decoded`] is written as, in order: several where markup stands between. Takes as
    /// long as the range has pieces, not as the whole has.
    pub(crate) fn origins(&self, decoded: &Range<usize>) -> Vec<Range<usize>> {
        let mut origins: Vec<Range<usize>> = Vec::new();
        let first = self.pieces.partition_point(|piece| piece.end() <= decoded.start);
        for piece in self.pieces[first..].iter().take_while(|piece| piece.at < decoded.end) {
            let part = decoded.start.max(piece.at)..decoded.end.min(piece.end());
            if part.is_empty() {
                continue;
            }
            let origin = piece.origin(part.start - piece.at..part.end - piece.at);
            match origins.last_mut() {
                Some(last) if last.end == origin.start => last.end = origin.end,
                _ => origins.push(origin),
            }
        }
        origins
    }
}
