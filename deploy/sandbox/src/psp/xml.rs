//! XML as far as the sandbox PSP needs it: the text of every element by its path.

use std::collections::BTreeMap;

use quick_xml::events::Event;
use quick_xml::reader::Reader;

/// Text by path: `transaction/amount`.
pub(super) type Fields = BTreeMap<String, String>;

/// Deepest nesting read.
const DEPTH_MAX: usize = 32;

/// Reads a document. `None`: it is none, nests too deeply, or refers to entities of its own.
pub(super) fn read(body: &[u8]) -> Option<Fields> {
    let mut reader = Reader::from_str(std::str::from_utf8(body).ok()?);
    let (mut path, mut fields) = (Vec::new(), Fields::new());
    loop {
        let text = match reader.read_event().ok()? {
            Event::Eof => return path.is_empty().then_some(fields),
            Event::Start(start) if path.len() < DEPTH_MAX => {
                path.push(start.name().into_inner().to_owned());
                continue;
            }
            Event::Start(_) => return None,
            Event::End(_) => {
                path.pop();
                continue;
            }
            Event::Text(text) => text.into_inner().into_owned(),
            Event::CData(text) => text.into_inner().into_owned(),
            Event::GeneralRef(reference) => match quick_xml::escape::resolve_xml_entity(&reference) {
                Some(text) => text.to_owned(),
                None => reference.resolve_char_ref().ok()??.to_string(),
            },
            Event::Empty(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {
                continue;
            }
        };
        if !path.is_empty() {
            fields.entry(path.join("/")).or_default().push_str(&text);
        }
    }
}

pub(super) fn escaped(text: &str) -> String {
    quick_xml::escape::escape(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_found_by_its_path() {
        let fields = read(b"<a><b>1&amp;<![CDATA[2]]>&#51;</b><c type='x'/></a>").unwrap();
        assert_eq!(fields.get("a/b").map(String::as_str), Some("1&23"));
        for body in [&b"<a>"[..], b"<a>&b;</a>", b"\xff", b"{"] {
            assert!(read(body).is_none_or(|fields| fields.is_empty()), "{body:?}");
        }
        assert!(read("<a>".repeat(40).as_bytes()).is_none());
    }
}
