//! Finding everything that is wrong with a file, each with its place, by asking the one parser again and again.
//!
//! What a parser refuses is noted and taken out; then it is asked about the rest. So there is no second opinion on what a
//! file may say, and no error hides another. What may only follow from something taken out is not said.
//!
//! Promises: a file without a finding is one the parser takes.
//! Does not promise: the narrowest place for every sentence. One that names a setting or a value in backticks is placed
//! there; any other at the table it is about.
//! Upholds: C-51.

use std::ops::Range;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

/// Most findings of one file: whoever has so many mends some first.
const FINDINGS_MAX: usize = 100;

/// One thing that is wrong, and where.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// A sentence that says what to change.
    pub reason: String,
}

/// A part of a file, with its places.
pub(super) type Part<'t> = Spanned<DeValue<'t>>;

/// Collects what is wrong with one file.
pub(super) struct Checker<'t> {
    text: &'t str,
    found: Vec<(usize, String)>,
    /// Tables something was taken out of: what they miss may be that.
    thinned: Vec<Range<usize>>,
}

impl<'t> Checker<'t> {
    /// Reads a file as TOML. What is no TOML is all that is said of it.
    pub(super) fn new(text: &'t str) -> (Self, Option<Part<'t>>) {
        let mut checker = Self { text, found: Vec::new(), thinned: Vec::new() };
        let (table, errors) = DeTable::parse_recoverable(text);
        for error in &errors {
            checker.add(error.span().unwrap_or(0..0), error.message().to_owned());
        }
        let span = table.span();
        let whole = errors.is_empty().then(|| Spanned::new(span, DeValue::Table(table.into_inner())));
        (checker, whole)
    }

    /// What was found, in the order of the file, each once.
    pub(super) fn findings(mut self) -> Vec<Finding> {
        self.found.sort();
        self.found.dedup();
        self.found.into_iter().map(|(at, reason)| Finding::at(self.text, at, reason)).collect()
    }

    /// How many there are so far.
    pub(super) fn count(&self) -> usize {
        self.found.len()
    }

    pub(super) fn add(&mut self, span: Range<usize>, reason: String) {
        if self.found.len() < FINDINGS_MAX {
            self.found.push((span.start, reason));
        }
    }

    /// Reads a part, noting and taking out what does not fit. `None`: too much of it had to go.
    pub(super) fn read<T: DeserializeOwned>(&mut self, part: &mut Part<'t>) -> Option<T> {
        for _ in 0..FINDINGS_MAX {
            let error = match T::deserialize(ValueDeserializer::from(part.clone())) {
                Ok(read) => return Some(read),
                Err(error) => error,
            };
            let span = error.span().unwrap_or_else(|| part.span());
            if error.message().starts_with("missing field") && self.thinned.contains(&span) {
                return None;
            }
            self.add(span.clone(), error.message().to_owned());
            if !self.take_out(part, &span) {
                return None;
            }
        }
        None
    }

    /// Reads a part and makes of it what it is for, noting what is refused and taking out the setting it names; of one
    /// that has to be there, its stand-in takes the place.
    pub(super) fn settle<T: DeserializeOwned, R>(
        &mut self,
        part: &mut Part<'t>,
        stand_in: (&str, DeValue<'static>),
        make: impl Fn(T) -> Result<R, String>,
    ) -> Option<R> {
        for _ in 0..FINDINGS_MAX {
            match make(self.read(part)?) {
                Ok(made) => return Some(made),
                Err(reason) => {
                    let (table, (span, setting)) = (part.span(), blamed(part, &reason));
                    if setting.is_none() && self.thinned.contains(&table) {
                        return None;
                    }
                    self.add(span, reason);
                    let refused = table_of(part)?.get_mut(setting.as_deref()?)?;
                    if setting.as_deref() == Some(stand_in.0) {
                        *refused.get_mut() = stand_in.1.clone();
                    } else {
                        table_of(part)?.remove(setting?.as_str())?;
                        self.thinned.push(table);
                    }
                }
            }
        }
        None
    }

    /// Notes a sentence about a part at the place it names.
    pub(super) fn blame(&mut self, part: &Part<'t>, reason: String) {
        let (span, _) = blamed(part, &reason);
        self.add(span, reason);
    }

    /// Takes out the innermost entry or element at this place.
    fn take_out(&mut self, part: &mut Part<'t>, at: &Range<usize>) -> bool {
        let own = part.span();
        match part.get_mut() {
            DeValue::Table(table) => {
                let here = table.iter().find(|(key, value)| key.span() == *at || value.span() == *at);
                if let Some(name) = here.map(|(key, _)| key.get_ref().to_string()) {
                    self.thinned.push(own);
                    return table.remove(name.as_str()).is_some();
                }
                let names: Vec<String> = table.keys().map(|key| key.get_ref().to_string()).collect();
                names
                    .iter()
                    .any(|name| table.get_mut(name.as_str()).is_some_and(|value| self.take_out(value, at)))
            }
            DeValue::Array(array) => {
                if array.iter().any(|element| element.span() == *at) {
                    let kept: DeArray<'t> = array.iter().filter(|one| one.span() != *at).cloned().collect();
                    *array = kept;
                    return true;
                }
                array.iter_mut().any(|element| self.take_out(element, at))
            }
            _ => false,
        }
    }
}

/// The entries of a table.
pub(super) fn table_of<'p, 't>(part: &'p mut Part<'t>) -> Option<&'p mut DeTable<'t>> {
    match part.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

/// Takes the elements of an array out of a table and leaves it empty. What is no array stays, for the parser to refuse.
pub(super) fn elements<'t>(part: &mut Part<'t>, name: &str) -> Vec<Part<'t>> {
    let array = table_of(part).and_then(|table| table.get_mut(name)).map(Spanned::get_mut);
    match array {
        Some(DeValue::Array(array)) => std::mem::replace(array, DeArray::new()).into_iter().collect(),
        _ => Vec::new(),
    }
}

/// Where a setting of a table stands, or the table.
pub(super) fn place_of(part: &Part<'_>, setting: &str) -> Range<usize> {
    let value = part.get_ref().as_table().and_then(|table| table.get(setting));
    value.map_or_else(|| part.span(), Spanned::span)
}

/// The place a sentence names in backticks, and the setting of this table it lies in: the last value that is named, else
/// the first setting. Nothing named is there: the table itself.
fn blamed(part: &Part<'_>, reason: &str) -> (Range<usize>, Option<String>) {
    let Some(table) = part.get_ref().as_table() else { return (part.span(), None) };
    let named: Vec<_> = reason.split('`').skip(1).step_by(2).collect();
    for word in named.iter().rev() {
        for (key, value) in table {
            if let Some(span) = find_text(value, word) {
                return (span, Some(key.get_ref().to_string()));
            }
        }
    }
    let setting = named.iter().find_map(|word| table.get_key_value(*word));
    let setting = setting.map(|(key, _)| (key.span(), Some(key.get_ref().to_string())));
    setting.unwrap_or_else(|| (part.span(), None))
}

fn find_text(part: &Part<'_>, text: &str) -> Option<Range<usize>> {
    match part.get_ref() {
        DeValue::String(own) if own == text => Some(part.span()),
        DeValue::Array(array) => array.iter().find_map(|element| find_text(element, text)),
        DeValue::Table(table) => table.values().find_map(|value| find_text(value, text)),
        _ => None,
    }
}

impl Finding {
    /// Something wrong at a byte of a text.
    #[must_use]
    pub fn at(text: &str, at: usize, reason: String) -> Self {
        let before = text.get(..at).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |end| end + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1);
        Self { line, column, reason }
    }
}
