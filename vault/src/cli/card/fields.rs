//! One line as named values: CSV and JSON lines alike, strict in names.
//!
//! Promises: values lie in one buffer that is wiped; a fault names line, field and reason and holds nothing of the line.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, Visitor};
use strongroom_domain::Metadata;
use zeroize::Zeroizing;

use super::lines::{LINE_BYTES_MAX, Line};
use super::source::Format;

/// Most columns or members: every name there is, and as much metadata as a card holds.
const NAMES_MAX: usize = 16 + Metadata::ENTRIES_MAX;

/// What a column or member may be called.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Name {
    Number,
    ExpMonth,
    ExpYear,
    Holder,
    Alias,
    /// Of an import the token the card has in the Strongroom it comes from, of an update the card that it changes.
    Token,
    ExpiresAt,
    Version,
    Closed,
    /// `metadata.NAME` in CSV, a member of `metadata` in JSON.
    Metadata(String),
}

/// Why a line is not taken. Nothing of its values.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub(super) struct Fault {
    pub(super) line: u64,
    pub(super) field: Option<Cow<'static, str>>,
    pub(super) reason: Cow<'static, str>,
    pub(super) detail: Cow<'static, str>,
}

/// The reason of every fault found before anything was sent.
const REASON: &str = "invalid-line";

impl Fault {
    pub(super) fn of_line(line: u64, detail: &'static str) -> Self {
        Self { line, field: None, reason: REASON.into(), detail: detail.into() }
    }

    pub(super) fn of_field(line: u64, field: &'static str, detail: &'static str) -> Self {
        Self { line, field: Some(field.into()), reason: REASON.into(), detail: detail.into() }
    }
}

impl Name {
    pub(super) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "number" => Self::Number,
            "exp_month" => Self::ExpMonth,
            "exp_year" => Self::ExpYear,
            "holder" => Self::Holder,
            "alias" => Self::Alias,
            "token" => Self::Token,
            "expires_at" => Self::ExpiresAt,
            "version" => Self::Version,
            "closed" => Self::Closed,
            other => Self::Metadata(other.strip_prefix("metadata.")?.to_owned()),
        })
    }

    pub(super) fn as_str(&self) -> &'static str {
        match self {
            Self::Number => "number",
            Self::ExpMonth => "exp_month",
            Self::ExpYear => "exp_year",
            Self::Holder => "holder",
            Self::Alias => "alias",
            Self::Token => "token",
            Self::ExpiresAt => "expires_at",
            Self::Version => "version",
            Self::Closed => "closed",
            Self::Metadata(_) => "metadata",
        }
    }
}

/// Reads lines of one source as fields.
pub(super) struct FieldReader {
    format: Format,
    /// Names a line must and may have.
    allowed: fn(&Name) -> bool,
    header: Option<Vec<Name>>,
    fields: Fields,
}

/// The values of one line.
pub(super) struct Fields {
    values: Zeroizing<Vec<u8>>,
    pairs: Vec<(Name, Range<usize>)>,
}

impl FieldReader {
    pub(super) fn new(format: Format, allowed: fn(&Name) -> bool) -> Self {
        // A value is never longer than the line it stands in, escapes and all.
        let values = Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX + 2));
        let pairs = Vec::with_capacity(NAMES_MAX);
        Self { format, allowed, header: None, fields: Fields { values, pairs } }
    }

    /// Reads one line. `Ok(None)`: it is the header. A header that is not right is an error of the whole source.
    pub(super) fn read(&mut self, line: &Line<'_>) -> Result<Option<&Fields>, ReadError> {
        let text = line.text.ok_or(Fault::of_line(line.number, "longer than 64 KiB, or not UTF-8"))?;
        self.fields.values.clear();
        self.fields.pairs.clear();
        match (self.format, self.header.take()) {
            (Format::Csv, None) => {
                self.header = Some(self.header(text)?);
                return Ok(None);
            }
            (Format::Csv, Some(header)) => {
                let read = self.fields.csv(&header, text);
                self.header = Some(header);
                read.map_err(|detail| Fault::of_line(line.number, detail))?;
            }
            (Format::Jsonl, _) => self.fields.json(text, self.allowed).map_err(|refused| Fault {
                field: refused.field.map(Cow::Borrowed),
                ..Fault::of_line(line.number, refused.detail)
            })?,
        }
        Ok(Some(&self.fields))
    }

    fn header(&mut self, text: &str) -> Result<Vec<Name>, ReadError> {
        let mut names = Vec::new();
        let known = |place: usize, value: &str| {
            let name = Name::parse(value).filter(self.allowed).filter(|name| !names.contains(name));
            names.push(name.ok_or(place)?);
            Ok::<_, usize>(())
        };
        split(text, &mut self.fields.values, known, &mut Vec::new()).map_err(|error| match error {
            SplitError::Refused(place) => ReadError::Header(format!(
                "column {} of the first line is a name this command does not know, or stands there twice; see --help",
                place + 1
            )),
            SplitError::Form(detail) => ReadError::Header(format!("the first line is not right: {detail}")),
        })?;
        Ok(names)
    }
}

/// Why a line gives no fields.
#[derive(Debug)]
pub(super) enum ReadError {
    /// This line; the next may be right.
    Line(Fault),
    /// Every line: the names are wrong.
    Header(String),
}

impl From<Fault> for ReadError {
    fn from(fault: Fault) -> Self {
        Self::Line(fault)
    }
}

enum SplitError<E> {
    Form(&'static str),
    Refused(E),
}

impl Fields {
    /// A value that is there and, in CSV, not empty.
    pub(super) fn value(&self, name: &Name) -> Option<&str> {
        self.iter().find(|(held, _)| *held == name).map(|(_, value)| value)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Name, &str)> {
        self.pairs.iter().map(|(name, span)| (name, self.text(span)))
    }

    fn text(&self, span: &Range<usize>) -> &str {
        std::str::from_utf8(&self.values[span.clone()]).expect("parts of UTF-8 text, cut at ASCII characters")
    }

    fn csv(&mut self, header: &[Name], text: &str) -> Result<(), &'static str> {
        let mut spans = Vec::with_capacity(header.len());
        let as_many = |place: usize, _: &str| if place < header.len() { Ok(()) } else { Err(()) };
        match split(text, &mut self.values, as_many, &mut spans) {
            Err(SplitError::Form(detail)) => return Err(detail),
            Err(SplitError::Refused(())) => return Err("it has more values than the first line has names"),
            Ok(()) if spans.len() < header.len() => {
                return Err("it has fewer values than the first line has names");
            }
            Ok(()) => {}
        }
        let named = header.iter().cloned().zip(spans).filter(|(_, span)| !span.is_empty());
        self.pairs.extend(named);
        Ok(())
    }

    fn json(&mut self, text: &str, allowed: fn(&Name) -> bool) -> Result<(), Refused> {
        let mut refused = Refused { field: None, detail: "it is not a JSON object" };
        let mut json = serde_json::Deserializer::from_str(text);
        let members = Members { fields: self, allowed, refused: &mut refused };
        let not_json = Refused { field: None, detail: "it is not valid JSON" };
        members.deserialize(&mut json).map_err(|error| if error.is_data() { refused } else { not_json })?;
        json.end().map_err(|_| Refused { field: None, detail: "something follows the JSON object" })
    }

    fn push(&mut self, name: Name, value: &str) {
        let from = self.values.len();
        self.values.extend_from_slice(value.as_bytes());
        self.pairs.push((name, from..self.values.len()));
    }
}

/// Cuts one line of RFC 4180 into values, unquoted into `values`. A value never spans lines.
fn split<E>(
    text: &str,
    values: &mut Vec<u8>,
    mut each: impl FnMut(usize, &str) -> Result<(), E>,
    spans: &mut Vec<Range<usize>>,
) -> Result<(), SplitError<E>> {
    let mut rest = text;
    for place in 0.. {
        let from = values.len();
        rest = if let Some(quoted) = rest.strip_prefix('"') {
            unquote(quoted, values).map_err(SplitError::Form)?
        } else {
            let (value, after) = rest.split_at(rest.find(',').unwrap_or(rest.len()));
            if value.contains('"') {
                return Err(SplitError::Form("a quote stands inside a value that does not begin with one"));
            }
            values.extend_from_slice(value.as_bytes());
            after
        };
        let value =
            std::str::from_utf8(&values[from..]).expect("parts of UTF-8 text, cut at ASCII characters");
        each(place, value).map_err(SplitError::Refused)?;
        spans.push(from..values.len());
        match rest.strip_prefix(',') {
            Some(after) => rest = after,
            None => break,
        }
    }
    Ok(())
}

/// What follows an opening quote, without the quotes. Gives what follows the closing one.
fn unquote<'a>(mut rest: &'a str, values: &mut Vec<u8>) -> Result<&'a str, &'static str> {
    loop {
        let (part, after) = rest.split_once('"').ok_or("a quoted value does not end on its line")?;
        values.extend_from_slice(part.as_bytes());
        match after.as_bytes().first() {
            Some(b'"') => {
                values.push(b'"');
                rest = &after[1..];
            }
            None | Some(b',') => return Ok(after),
            Some(_) => return Err("something follows a closing quote"),
        }
    }
}

/// Why a JSON line is refused.
#[derive(Clone, Copy)]
struct Refused {
    field: Option<&'static str>,
    detail: &'static str,
}

/// Members of the line's object.
struct Members<'a> {
    fields: &'a mut Fields,
    allowed: fn(&Name) -> bool,
    refused: &'a mut Refused,
}

impl Members<'_> {
    fn refuse<E: serde::de::Error>(&mut self, field: Option<&'static str>, detail: &'static str) -> E {
        *self.refused = Refused { field, detail };
        E::custom(detail)
    }

    fn name<E: serde::de::Error>(&mut self, text: &str) -> Result<Name, E> {
        let name = Name::parse(text).filter(|name| !text.contains('.') && (self.allowed)(name));
        let name = name.ok_or_else(|| self.refuse(None, "it has a member this command does not know"))?;
        self.once(name)
    }

    fn once<E: serde::de::Error>(&mut self, name: Name) -> Result<Name, E> {
        if self.fields.pairs.iter().any(|(held, _)| *held == name) {
            return Err(self.refuse(Some(name.as_str()), "it stands there twice"));
        }
        Ok(name)
    }
}

impl<'de> DeserializeSeed<'de> for Members<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Members<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        let may_have_metadata = (self.allowed)(&Name::Metadata(String::new()));
        while let Some(key) = map.next_key::<Cow<'de, str>>()? {
            if key == "metadata" && may_have_metadata {
                *self.refused = Refused { field: Some("metadata"), detail: "it is not an object of texts" };
                let metadata: MetadataMembers = map.next_value()?;
                for (name, value) in metadata.0 {
                    let name = self.once(Name::Metadata(name))?;
                    self.fields.push(name, &value);
                }
                continue;
            }
            let name = self.name(&key)?;
            *self.refused =
                Refused { field: Some(name.as_str()), detail: "it is neither text nor a whole number" };
            map.next_value_seed(Value { name, fields: self.fields })?;
        }
        Ok(())
    }
}

/// The members of `metadata`, in order; twice the same is found by the caller.
struct MetadataMembers(Vec<(String, String)>);

impl<'de> serde::Deserialize<'de> for MetadataMembers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = MetadataMembers;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MetadataMembers, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                    if pairs.len() > Metadata::ENTRIES_MAX {
                        return Err(A::Error::custom("too many"));
                    }
                }
                Ok(MetadataMembers(pairs))
            }
        }
        deserializer.deserialize_map(Pairs)
    }
}

/// One value: text, or a whole number as its digits. `null` is no value.
struct Value<'a> {
    name: Name,
    fields: &'a mut Fields,
}

impl<'de> DeserializeSeed<'de> for Value<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Value<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("text or a whole number")
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.fields.push(self.name, value);
        Ok(())
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        if !matches!(self.name, Name::ExpMonth | Name::ExpYear | Name::Version) {
            return Err(E::custom("not a number"));
        }
        self.fields.push(self.name, &value.to_string());
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        if self.name != Name::Closed {
            return Err(E::custom("not true or false"));
        }
        self.fields.push(self.name, if value { "true" } else { "false" });
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
