//! XML 1.0, read in place: what stands where, and under which path.
//!
//! Promises: nothing is built but the stack of open elements; every reported text leads back to the bytes it is written as,
//! piece by piece. No entity is expanded but the five of XML and character references, no document type is resolved, no
//! address is fetched: an entity of its own is an error, and in requests so is a document type with declarations inside.
//! In requests what readers disagree about is refused: other versions and encodings, control characters, two roots.
//! Does not promise: validity, nor that a text is what a schema says.
//! Trusts: quick-xml for where markup begins and ends; that its ranges and ours agree is checked at every event.
//! Upholds: C-39.

mod path;
mod value;

use std::ops::Range;

use quick_xml::events::{BytesDecl, BytesRef, Event as Markup};
use quick_xml::name::ResolveResult;
use quick_xml::reader::NsReader;

pub(crate) use path::{Path, Selector};
pub(crate) use value::{Piece, Value};

use super::Malformed;
use super::json::Reading;
use path::Segment;

/// Deepest nesting. PSP requests have eight levels.
const DEPTH_MAX: usize = 64;
/// Most attributes of one element: they are compared with each other.
const ATTRIBUTES_MAX: usize = 64;

/// Most namespaces declared at once: every element is looked up among them.
const NAMESPACES_MAX: usize = 32;

const NOT_XML: Malformed = Malformed("the body is not XML");

/// What the scanner met.
#[derive(Debug)]
pub(crate) enum Event<'e, 'a> {
    /// Text that is nobody's value: a name, a comment, a processing instruction, the document type. With where it stands.
    Aside(&'a str, Range<usize>),
    /// An attribute, or an element that ends: all its own text. The path is that of the value.
    Value(&'e Value<'a>),
}

/// Scans a body. `home` is the namespace whose elements the paths count as the caller's own.
pub(crate) fn scan<'a, E: From<Malformed>>(
    body: &'a [u8],
    home: Option<&'a str>,
    reading: Reading,
    visit: impl FnMut(&Path<'a>, Event<'_, 'a>) -> Result<(), E>,
) -> Result<(), E> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed("the body is not UTF-8"))?;
    let start = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let inside = &text[start..];
    if inside.starts_with('\u{feff}') || inside.bytes().any(|byte| byte < b' ' && !b"\t\n\r".contains(&byte))
    {
        return Err(Malformed("the body holds characters XML has not").into());
    }
    let mut reader = NsReader::from_str(inside);
    reader.config_mut().check_comments = true;
    reader.resolver_mut().set_max_namespace_bindings(NAMESPACES_MAX);
    let (path, open) = (Path::default(), Vec::new());
    Scanner { text, start, home, reading, reader, path, open, seen: Seen::default(), visit }.run()
}

struct Scanner<'a, V> {
    text: &'a str,
    /// Where the document begins: after a byte order mark.
    start: usize,
    home: Option<&'a str>,
    reading: Reading,
    reader: NsReader<&'a [u8]>,
    path: Path<'a>,
    /// One for each element of the path.
    open: Vec<Value<'a>>,
    seen: Seen,
    visit: V,
}

#[derive(Default)]
struct Seen {
    root: bool,
    doctype: bool,
}

impl<'a, E: From<Malformed>, V: FnMut(&Path<'a>, Event<'_, 'a>) -> Result<(), E>> Scanner<'a, V> {
    fn run(mut self) -> Result<(), E> {
        loop {
            let from = self.position()?;
            let markup = self.reader.read_event().map_err(|_| NOT_XML)?;
            let span = from..self.position()?;
            match markup {
                Markup::Eof => break,
                Markup::Start(_) => self.start(&span, 1)?,
                Markup::Empty(_) => {
                    self.start(&span, 2)?;
                    self.end(None)?;
                }
                Markup::End(_) => self.end(Some(span.start))?,
                Markup::Text(_) => self.text(span)?,
                Markup::CData(_) => {
                    let inner = self.inner(&span, "<![CDATA[", "]]>")?;
                    self.add(Piece::cdata(self.text, inner))?;
                }
                Markup::GeneralRef(_) => {
                    let name = self.inner(&span, "&", ";")?;
                    let char = reference(&self.text[name], self.reading)?;
                    self.add(Piece::reference(char, span))?;
                }
                Markup::Comment(_) => self.aside(&span, "<!--", "-->")?,
                Markup::PI(_) => self.aside(&span, "<?", "?>")?,
                Markup::Decl(declaration) => self.declaration(&declaration, &span)?,
                Markup::DocType(_) => self.doctype(&span)?,
            }
        }
        if self.open.is_empty() && self.seen.root { Ok(()) } else { Err(NOT_XML.into()) }
    }

    fn position(&self) -> Result<usize, Malformed> {
        usize::try_from(self.reader.buffer_position()).map(|at| at + self.start).map_err(|_| NOT_XML)
    }

    /// Between the marks that must stand at both ends of a range: what the reader calls markup is what we call it.
    fn inner(&self, span: &Range<usize>, before: &str, after: &str) -> Result<Range<usize>, Malformed> {
        let whole = self.text.get(span.clone()).ok_or(NOT_XML)?;
        let is_whole =
            whole.len() >= before.len() + after.len() && whole.starts_with(before) && whole.ends_with(after);
        if is_whole { Ok(span.start + before.len()..span.end - after.len()) } else { Err(NOT_XML) }
    }

    /// An element begins; `closing` is the length of what ends its tag.
    fn start(&mut self, span: &Range<usize>, closing: usize) -> Result<(), E> {
        let inner = self.inner(span, "<", if closing == 2 { "/>" } else { ">" })?;
        let content = &self.text[inner.clone()];
        let length = content.find([' ', '\t', '\n', '\r']).unwrap_or(content.len());
        let name = &content[..length];
        if !is_name(name) || (self.open.is_empty() && self.seen.root) {
            return Err(NOT_XML.into());
        }
        if self.path.depth() >= DEPTH_MAX {
            return Err(Malformed("the body is nested too deeply").into());
        }
        self.seen.root = true;
        if let Some(parent) = self.open.last_mut() {
            parent.has_children = true;
        }
        let qualified = quick_xml::name::QName(name);
        let at_home = match self.reader.resolver().resolve_element(qualified).0 {
            ResolveResult::Unbound => self.home.is_none(),
            ResolveResult::Bound(namespace) => self.home == Some(namespace.0),
            ResolveResult::Unknown(_) if self.reading == Reading::Lenient => false,
            ResolveResult::Unknown(_) => {
                return Err(Malformed("a prefix of the body has no namespace").into());
            }
        };
        self.path.push(Segment { local: qualified.local_name().into_inner(), at_home });
        (self.visit)(&self.path, Event::Aside(name, inner.start..inner.start + length))?;
        self.attributes(content, length, inner.start)?;
        self.open.push(Value::new(span.end));
        Ok(())
    }

    fn attributes(&mut self, tag: &'a str, length: usize, start: usize) -> Result<(), E> {
        for (index, attribute) in quick_xml::events::attributes::Attributes::new(tag, length).enumerate() {
            if index == ATTRIBUTES_MAX {
                return Err(Malformed("an element of the body has too many attributes").into());
            }
            let attribute = attribute.map_err(|_| NOT_XML)?;
            let name = attribute.key.into_inner();
            let std::borrow::Cow::Borrowed(written) = attribute.value else { return Err(NOT_XML.into()) };
            if !is_name(name) || written.contains('<') {
                return Err(NOT_XML.into());
            }
            let at = |part: &str| start + (part.as_ptr() as usize - tag.as_ptr() as usize);
            let value = attribute_value(written, at(written), self.reading)?;
            self.path.attribute = Some(name);
            (self.visit)(&self.path, Event::Aside(name, at(name)..at(name) + name.len()))?;
            (self.visit)(&self.path, Event::Value(&value))?;
            self.path.attribute = None;
        }
        Ok(())
    }

    /// An element ends. `None`: it is empty, so that there is no place in it.
    fn end(&mut self, at: Option<usize>) -> Result<(), E> {
        let mut value = self.open.pop().ok_or(NOT_XML)?;
        match at {
            Some(at) => value.span.end = at,
            None => value.is_empty_tag = true,
        }
        (self.visit)(&self.path, Event::Value(&value))?;
        self.path.pop();
        Ok(())
    }

    fn text(&mut self, span: Range<usize>) -> Result<(), E> {
        let text = self.text.get(span.clone()).ok_or(NOT_XML)?;
        if text.contains(['<', '&']) || text.contains("]]>") {
            return Err(NOT_XML.into());
        }
        if self.open.is_empty() && text.bytes().all(|byte| byte.is_ascii_whitespace()) {
            return Ok(());
        }
        self.add(Piece::text(self.text, span))
    }

    fn add(&mut self, piece: Piece<'a>) -> Result<(), E> {
        let value = self.open.last_mut().ok_or(Malformed("the body holds text outside its root element"))?;
        value.push(piece);
        Ok(())
    }

    fn aside(&mut self, span: &Range<usize>, before: &str, after: &str) -> Result<(), E> {
        let inner = self.inner(span, before, after)?;
        if let Some(value) = self.open.last_mut() {
            value.is_parted = true;
        }
        (self.visit)(&self.path, Event::Aside(&self.text[inner.clone()], inner))
    }

    fn declaration(&mut self, declaration: &BytesDecl<'_>, span: &Range<usize>) -> Result<(), E> {
        if self.reading == Reading::Strict {
            let is_first = span.start == self.start;
            let version = declaration.version().is_ok_and(|version| version == "1.0");
            let encoding = match declaration.encoding() {
                None => true,
                Some(Ok(encoding)) => encoding.eq_ignore_ascii_case("utf-8"),
                Some(Err(_)) => false,
            };
            if !is_first || !version || !encoding {
                return Err(Malformed("the body is not XML 1.0 in UTF-8, by its own declaration").into());
            }
        }
        self.aside(span, "<?", "?>")
    }

    fn doctype(&mut self, span: &Range<usize>) -> Result<(), E> {
        let inner = self.inner(span, "<!", ">")?;
        let text = &self.text[inner.clone()];
        if self.reading == Reading::Strict {
            if self.seen.root || self.seen.doctype {
                return Err(NOT_XML.into());
            }
            if text.contains('[') {
                return Err(Malformed("the body declares its own document type").into());
            }
        }
        self.seen.doctype = true;
        (self.visit)(&self.path, Event::Aside(text, inner))
    }
}

/// The character a reference stands for. In answers an entity of somebody's own stands for U+FFFD.
fn reference(name: &str, reading: Reading) -> Result<char, Malformed> {
    let char = match quick_xml::escape::resolve_xml_entity(name) {
        Some(text) => text.chars().next(),
        None => BytesRef::new(name).resolve_char_ref().ok().flatten(),
    };
    match (char, reading) {
        (Some(char), _) => Ok(char),
        (None, Reading::Lenient) => Ok(char::REPLACEMENT_CHARACTER),
        (None, Reading::Strict) => {
            Err(Malformed("the body refers to an entity that is not one of XML's five"))
        }
    }
}

/// The pieces of an attribute's value: text and references.
fn attribute_value(written: &str, start: usize, reading: Reading) -> Result<Value<'_>, Malformed> {
    let mut value = Value::new(start);
    value.span.end = start + written.len();
    let mut at = 0;
    while at < written.len() {
        let rest = &written[at..];
        let length = if rest.starts_with('&') {
            let end = rest.find(';').ok_or(NOT_XML)?;
            let char = reference(&rest[1..end], reading)?;
            value.push(Piece::reference(char, start + at..start + at + end + 1));
            end + 1
        } else {
            let length = rest.find('&').unwrap_or(rest.len());
            value.push(Piece::attribute_text(&rest[..length], start + at));
            length
        };
        at += length;
    }
    Ok(value)
}

/// Stricter than XML's where it costs nobody anything: one colon at most, and within.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        let is_first = |char: char| char.is_ascii_alphabetic() || char == '_' || !char.is_ascii();
        let is_next = |char: char| is_first(char) || char.is_ascii_digit() || char == '-' || char == '.';
        part.chars().next().is_some_and(is_first) && part.chars().all(is_next)
    };
    name.splitn(2, ':').all(is_part)
}

/// Writes text so that it says the same in an element and in an attribute.
pub(crate) fn escape_into(text: &str, out: &mut String) {
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            other => out.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
