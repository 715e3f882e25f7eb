//! JSON (RFC 8259), scanned in place: what stands where, and under which path.
//!
//! Promises: one pass, linear but for the comparison of an object's own keys (n log n); nothing is built, so the depth
//! bound and the body's size bound the memory. In requests what readers disagree about is refused: duplicate keys,
//! a byte order mark, halves of surrogate pairs.
//! Does not promise: anything of numbers but their grammar.

mod path;
mod text;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::ops::Range;

pub(crate) use path::{Path, Pointer, Segment};
pub(crate) use text::{Text, escape_into};

use super::Malformed;

/// Deepest nesting. PSP requests have six levels; the scanner recurses.
const DEPTH_MAX: usize = 64;

/// Who wrote the body.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Reading {
    /// A caller: refuse what two readers may read differently.
    Strict,
    /// A PSP: its answer is to be searched, not judged.
    Lenient,
}

/// What the scanner met. Containers come as [`Event::Other`] before what they hold.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    /// A key; the path is that of its value.
    Key(Text<'a>),
    String(Text<'a>),
    Number(Range<usize>),
    Null,
    Other,
}

/// Scans a body and reports every key and value in order.
pub(crate) fn scan<'a, E: From<Malformed>>(
    body: &'a [u8],
    reading: Reading,
    visit: impl FnMut(&Path<'a>, Event<'a>) -> Result<(), E>,
) -> Result<(), E> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed("the body is not UTF-8"))?;
    let mut at = 0;
    if text.starts_with('\u{feff}') {
        if reading == Reading::Strict {
            return Err(Malformed("the body begins with a byte order mark").into());
        }
        at = '\u{feff}'.len_utf8();
    }
    let mut scanner = Scanner { text, at, reading, path: Path::default(), visit };
    scanner.value()?;
    scanner.whitespace();
    if scanner.at == text.len() { Ok(()) } else { Err(Malformed("something follows the JSON value").into()) }
}

struct Scanner<'a, V> {
    text: &'a str,
    at: usize,
    reading: Reading,
    path: Path<'a>,
    visit: V,
}

impl<'a, E: From<Malformed>, V: FnMut(&Path<'a>, Event<'a>) -> Result<(), E>> Scanner<'a, V> {
    fn value(&mut self) -> Result<(), E> {
        self.whitespace();
        match self.peek() {
            Some(b'{') => self.object(),
            Some(b'[') => self.array(),
            Some(b'"') => {
                let text = self.string()?;
                (self.visit)(&self.path, Event::String(text))
            }
            Some(b'-' | b'0'..=b'9') => {
                let span = self.number()?;
                (self.visit)(&self.path, Event::Number(span))
            }
            Some(b't') => self.literal("true", Event::Other),
            Some(b'f') => self.literal("false", Event::Other),
            Some(b'n') => self.literal("null", Event::Null),
            _ => Err(Malformed("the body is not JSON: a value is missing").into()),
        }
    }

    fn object(&mut self) -> Result<(), E> {
        self.enter()?;
        let mut keys = BTreeSet::new();
        if self.closes(b'}') {
            return Ok(());
        }
        loop {
            self.whitespace();
            if self.peek() != Some(b'"') {
                return Err(Malformed("the body is not JSON: a key is missing").into());
            }
            let key = self.string()?;
            let name = key.decoded();
            self.path.push(Segment::Key(name.clone()));
            if self.reading == Reading::Strict && !keys.insert(name) {
                return Err(Malformed("an object of the body holds a key twice").into());
            }
            (self.visit)(&self.path, Event::Key(key))?;
            self.whitespace();
            self.expect(b':')?;
            self.value()?;
            self.path.pop();
            if !self.another(b'}')? {
                return Ok(());
            }
        }
    }

    fn array(&mut self) -> Result<(), E> {
        self.enter()?;
        if self.closes(b']') {
            return Ok(());
        }
        for index in 0.. {
            self.path.push(Segment::Index(index));
            self.value()?;
            self.path.pop();
            if !self.another(b']')? {
                break;
            }
        }
        Ok(())
    }

    /// Reports a container and steps over its opening bracket.
    fn enter(&mut self) -> Result<(), E> {
        if self.path.depth() >= DEPTH_MAX {
            return Err(Malformed("the body is nested too deeply").into());
        }
        (self.visit)(&self.path, Event::Other)?;
        self.at += 1;
        Ok(())
    }

    fn closes(&mut self, close: u8) -> bool {
        self.whitespace();
        let closes = self.peek() == Some(close);
        self.at += usize::from(closes);
        closes
    }

    /// Whether another member follows; steps over the comma or the closing bracket.
    fn another(&mut self, close: u8) -> Result<bool, E> {
        if self.closes(close) {
            return Ok(false);
        }
        self.expect(b',')?;
        Ok(true)
    }

    fn expect(&mut self, byte: u8) -> Result<(), E> {
        if self.peek() != Some(byte) {
            return Err(Malformed("the body is not JSON: a comma, colon or bracket is missing").into());
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<Text<'a>, E> {
        let text = text::scan(self.text, self.at, self.reading)?;
        self.at = text.span().end;
        Ok(text)
    }

    fn number(&mut self) -> Result<Range<usize>, E> {
        let start = self.at;
        self.at += usize::from(self.peek() == Some(b'-'));
        match self.peek() {
            Some(b'0') => self.at += 1,
            _ => self.digits()?,
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            self.at += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        Ok(start..self.at)
    }

    fn digits(&mut self) -> Result<(), E> {
        let length = self.text.as_bytes()[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += length;
        if length == 0 {
            Err(Malformed("the body is not JSON: a number is cut short").into())
        } else {
            Ok(())
        }
    }

    fn literal(&mut self, literal: &str, event: Event<'a>) -> Result<(), E> {
        if !self.text.as_bytes()[self.at..].starts_with(literal.as_bytes()) {
            return Err(Malformed("the body is not JSON: an unknown literal").into());
        }
        self.at += literal.len();
        (self.visit)(&self.path, event)
    }

    fn whitespace(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }
}

/// A key's name, borrowed unless it is escaped.
pub(crate) type Name<'a> = Cow<'a, str>;

#[cfg(test)]
mod tests;
