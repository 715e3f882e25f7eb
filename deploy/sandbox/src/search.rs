//! Looking for card data where none may be: a byte search for every form in which a secret could have been written.
//!
//! Promises: a needle in one of its [`Form`]s is found at any offset of any file, also across the edges of what is read at
//! once; what could not be searched is an error or listed in [`Report::skipped`], never silence; the bytes searched are
//! counted, so that a search of nothing shows.
//! Does not promise: sight through compression or encryption.

mod form;

pub use form::Form;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

/// How much is read at once: large enough that the overlap costs nothing, small enough to stay in the cache.
const CHUNK_BYTES: usize = 1024 * 1024;
/// Hits listed one by one; more are only counted. A log that holds the number a million times is told with one.
const HITS_LISTED_MAX: usize = 1_000;
/// Up to so many bytes of patterns the fastest automaton is built (up to a kilobyte a byte of pattern): a hundred cards.
const DFA_PATTERN_BYTES_MAX: usize = 200_000;

/// What to look for. Each needle has a label: hits name the label, never the secret.
#[derive(Default)]
pub struct Needles {
    patterns: Vec<Vec<u8>>,
    names: Vec<(Arc<str>, Form)>,
    seen: BTreeSet<(Vec<u8>, Arc<str>)>,
}

impl Needles {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A card number, in every form.
    pub fn number(&mut self, label: &str, digits: &str) -> &mut Self {
        self.add(label, form::of_number(digits))
    }

    /// A verification code, beside a name of one: three digits alone are everywhere.
    pub fn cvc(&mut self, label: &str, digits: &str) -> &mut Self {
        self.add(label, form::of_cvc(digits))
    }

    /// A key, or any other secret bytes: raw, hex, base64.
    pub fn key(&mut self, label: &str, bytes: &[u8]) -> &mut Self {
        self.add(label, form::of_key(bytes))
    }

    /// Makes the searcher.
    pub fn compile(self) -> Result<Searcher, NeedlesUnusable> {
        if self.patterns.is_empty() {
            return Err(NeedlesUnusable::None);
        }
        if self.patterns.iter().any(|pattern| pattern.len() < form::BYTES_MIN) {
            return Err(NeedlesUnusable::Short);
        }
        let longest = self.patterns.iter().map(Vec::len).max().unwrap_or_default();
        let total: usize = self.patterns.iter().map(Vec::len).sum();
        let kind = (total <= DFA_PATTERN_BYTES_MAX).then_some(AhoCorasickKind::DFA);
        let automaton = AhoCorasick::builder().kind(kind).build(&self.patterns);
        let automaton = automaton.map_err(|_| NeedlesUnusable::Many)?;
        Ok(Searcher { automaton, names: self.names, longest })
    }

    fn add(&mut self, label: &str, forms: Vec<(Form, Vec<u8>)>) -> &mut Self {
        let label: Arc<str> = label.into();
        for (form, pattern) in forms {
            if self.seen.insert((pattern.clone(), label.clone())) {
                self.patterns.push(pattern);
                self.names.push((label.clone(), form));
            }
        }
        self
    }
}

/// Why there is nothing to search with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NeedlesUnusable {
    /// No needle was given: a search for nothing finds nothing and proves nothing.
    #[error("there is nothing to search for")]
    None,
    /// A needle is so short that it is everywhere.
    #[error("a needle is too short to mean anything")]
    Short,
    /// More needles than the automaton holds.
    #[error("there are too many needles for one search")]
    Many,
}

/// Where something was found.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, serde::Serialize)]
pub struct Hit {
    /// The needle's label.
    pub label: Arc<str>,
    /// In which form.
    pub form: Form,
    /// In which file; empty for a search of bytes.
    pub path: PathBuf,
    /// At which byte of the file, or of its path if [`Self::in_name`].
    pub offset: u64,
    /// The file's very path holds it.
    pub in_name: bool,
}

/// What a search found, and how much it saw.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Report {
    /// The first hits, up to a thousand.
    pub hits: Vec<Hit>,
    /// All hits, by label.
    pub hits_total: BTreeMap<Arc<str>, u64>,
    /// Bytes searched.
    pub bytes: u64,
    /// Files searched.
    pub files: u64,
    /// What is no regular file and was not searched: sockets, pipes, symbolic links; and files that vanished meanwhile.
    pub skipped: Vec<PathBuf>,
}

impl Report {
    /// Whether nothing was found in something: a search of no bytes is not clean.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.hits_total.is_empty() && self.bytes > 0
    }

    /// Whether a needle with this label was found.
    #[must_use]
    pub fn found(&self, label: &str) -> bool {
        self.hits_total.contains_key(label)
    }

    /// Adds another report.
    pub fn merge(&mut self, other: Self) {
        let room = HITS_LISTED_MAX.saturating_sub(self.hits.len());
        self.hits.extend(other.hits.into_iter().take(room));
        for (label, count) in other.hits_total {
            *self.hits_total.entry(label).or_default() += count;
        }
        self.bytes += other.bytes;
        self.files += other.files;
        self.skipped.extend(other.skipped);
    }

    fn hit(&mut self, hit: Hit) {
        *self.hits_total.entry(hit.label.clone()).or_default() += 1;
        if self.hits.len() < HITS_LISTED_MAX {
            self.hits.push(hit);
        }
    }
}

/// A file or folder cannot be searched, so nothing can be said of it.
#[derive(Debug, thiserror::Error)]
#[error("cannot search {}: {source}", path.display())]
pub struct SearchError {
    /// Which.
    pub path: PathBuf,
    /// What the system says.
    pub source: io::Error,
}

/// Finds needles.
pub struct Searcher {
    automaton: AhoCorasick,
    names: Vec<(Arc<str>, Form)>,
    longest: usize,
}

impl Searcher {
    /// Searches bytes.
    #[must_use]
    pub fn bytes(&self, bytes: &[u8]) -> Report {
        let mut report = Report { bytes: bytes.len() as u64, ..Report::default() };
        for found in self.automaton.find_overlapping_iter(bytes) {
            report.hit(self.hit(found.pattern().as_usize(), Path::new(""), found.start() as u64));
        }
        report
    }

    /// Searches a file, or a folder and everything below it. Symbolic links are not followed.
    pub fn path(&self, path: &Path) -> Result<Report, SearchError> {
        let mut report = Report::default();
        let mut waiting = Vec::new();
        let failed = |path: &Path, source| SearchError { path: path.to_path_buf(), source };
        self.visit(path, &mut waiting, &mut report).map_err(|error| failed(path, error))?;
        while let Some(path) = waiting.pop() {
            match self.visit(&path, &mut waiting, &mut report) {
                Ok(()) => {}
                // Databases delete files while they live.
                Err(error) if error.kind() == io::ErrorKind::NotFound => report.skipped.push(path),
                Err(error) => return Err(failed(&path, error)),
            }
        }
        Ok(report)
    }

    fn visit(&self, path: &Path, waiting: &mut Vec<PathBuf>, report: &mut Report) -> io::Result<()> {
        let kind = fs::symlink_metadata(path)?.file_type();
        for mut hit in self.bytes(path.as_os_str().as_encoded_bytes()).hits {
            hit.path = path.to_path_buf();
            hit.in_name = true;
            report.hit(hit);
        }
        if kind.is_dir() {
            for entry in fs::read_dir(path)? {
                waiting.push(entry?.path());
            }
        } else if kind.is_file() {
            let bytes = self.stream(File::open(path)?, |pattern, offset| {
                report.hit(self.hit(pattern, path, offset));
            })?;
            report.bytes += bytes;
            report.files += 1;
        } else {
            report.skipped.push(path.to_path_buf());
        }
        Ok(())
    }

    /// Searches a stream in chunks; each begins with the end of the one before, one byte short of the longest needle.
    fn stream(&self, mut reader: impl Read, mut found: impl FnMut(usize, u64)) -> io::Result<u64> {
        let overlap = self.longest - 1;
        let mut buffer = vec![0; overlap + CHUNK_BYTES];
        let (mut kept, mut start, mut total) = (0, 0_u64, 0_u64);
        loop {
            let read = read_full(&mut reader, &mut buffer[kept..])?;
            if read == 0 {
                return Ok(total);
            }
            let end = kept + read;
            for hit in self.automaton.find_overlapping_iter(&buffer[..end]) {
                // One that ends in the kept part was told with the chunk before.
                if hit.end() > kept {
                    found(hit.pattern().as_usize(), start + hit.start() as u64);
                }
            }
            total += read as u64;
            kept = overlap.min(end);
            buffer.copy_within(end - kept..end, 0);
            start += (end - kept) as u64;
        }
    }

    fn hit(&self, pattern: usize, path: &Path, offset: u64) -> Hit {
        let (label, form) = &self.names[pattern];
        Hit { label: label.clone(), form: *form, path: path.to_path_buf(), offset, in_name: false }
    }
}

fn read_full(reader: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;

    const NUMBERS: [&str; 5] =
        ["4242424242424242", "378282246310005", "38000000000006", "4007000000027", "4917610000000000003"];

    fn searcher() -> Searcher {
        let mut needles = Needles::new();
        for number in NUMBERS {
            needles.number(number, number);
        }
        needles.cvc("cvc", "737").key("key", &[0xfb; 32]);
        needles.compile().unwrap()
    }

    fn forms(searcher: &Searcher, label: &str, bytes: &[u8]) -> BTreeSet<Form> {
        searcher.bytes(bytes).hits.iter().filter(|hit| &*hit.label == label).map(|hit| hit.form).collect()
    }

    #[test]
    fn every_form_of_every_number_is_found() {
        let searcher = searcher();
        for number in NUMBERS {
            let found = |bytes: &[u8], form| {
                assert!(forms(&searcher, number, bytes).contains(&form), "{number} {form:?}")
            };
            found(number.as_bytes(), Form::Plain);
            let grouped = |separator: &str| {
                let groups: Vec<_> = number.as_bytes().chunks(4).map(String::from_utf8_lossy).collect();
                groups.join(separator)
            };
            for separator in [" ", "-", "+", "%20"] {
                found(grouped(separator).as_bytes(), Form::Grouped);
            }
            let wide: Vec<u16> = grouped(" ").encode_utf16().collect();
            found(&wide.iter().flat_map(|unit| unit.to_le_bytes()).collect::<Vec<_>>(), Form::Utf16Le);
            found(&wide.iter().flat_map(|unit| unit.to_be_bytes()).collect::<Vec<_>>(), Form::Utf16Be);
            for nibbles in
                [number.to_owned(), format!("0{number}"), format!("f{number}"), format!("{number}f")]
            {
                let even = if nibbles.len() % 2 == 0 { nibbles } else { format!("{nibbles}0") };
                found(&hex::decode(even).unwrap(), Form::Bcd);
            }
            found(hex::encode(number).as_bytes(), Form::Hex);
            for before in ["", "a", "ab", "abc"] {
                let text = format!("{before}{number}xyz");
                let engine = base64::engine::general_purpose::STANDARD;
                found(engine.encode(text).as_bytes(), Form::Base64);
            }
            found(&number.parse::<u64>().unwrap().to_be_bytes(), Form::Integer);
            found(&number.parse::<u64>().unwrap().to_le_bytes(), Form::Integer);
            let escaped: String = number.bytes().map(|byte| format!("\\u00{byte:x}")).collect();
            found(escaped.as_bytes(), Form::JsonEscape);
            let percent: String = number.bytes().map(|byte| format!("%{byte:X}")).collect();
            found(percent.as_bytes(), Form::Percent);
            let entities: String = number.bytes().map(|byte| format!("&#{byte};")).collect();
            found(entities.as_bytes(), Form::XmlEntity);
        }
        assert!(forms(&searcher, NUMBERS[1], b"3782 822463 10005").contains(&Form::Grouped));
        assert!(forms(&searcher, NUMBERS[2], b"3800-000000-0006").contains(&Form::Grouped));
    }

    #[test]
    fn codes_are_found_beside_their_name_and_keys_in_every_form() {
        let searcher = searcher();
        for text in [
            r#"{"cvc":"737"}"#,
            r#"{"cvc": 737}"#,
            r#"{"body":"{\"cvv\":\"737\"}"}"#,
            "card[cvc]=737&x=1",
            "card%5Bcvc%5D=737",
            "<cardCode>737</cardCode>",
            "Card { cvc: \"737\" }",
        ] {
            assert!(searcher.bytes(text.as_bytes()).found("cvc"), "{text}");
        }
        assert!(!searcher.bytes(b"737 1737 \"amount\":737").found("cvc"));
        assert_eq!(forms(&searcher, "key", &[0xfb; 32]), BTreeSet::from([Form::Raw]));
        for text in [hex::encode([0xfb; 32]), hex::encode_upper([0xfb; 32])] {
            assert_eq!(forms(&searcher, "key", text.as_bytes()), BTreeSet::from([Form::Hex]));
        }
        for before in 0..3 {
            let mut bytes = vec![7; before];
            bytes.extend([0xfb; 32]);
            for text in [
                base64::engine::general_purpose::STANDARD.encode(&bytes),
                base64::engine::general_purpose::URL_SAFE.encode(&bytes),
            ] {
                assert!(searcher.bytes(text.as_bytes()).found("key"), "{text}");
            }
        }
    }

    #[test]
    fn other_digits_are_not_found() {
        let report =
            searcher().bytes(b"4242424242424241 4242 4242-4242 4242 tok_test_bcdfgh 424242******4242");
        assert!(report.is_clean(), "{report:?}");
    }

    #[test]
    fn a_number_across_any_edge_of_a_chunk_is_found_exactly_once() {
        let searcher = searcher();
        let number = NUMBERS[0].as_bytes();
        for chunk in 1..=2 {
            for shift in 0..=2 * number.len() {
                let at = chunk * (CHUNK_BYTES + searcher.longest - 1) - number.len() - shift + 16;
                let mut bytes = vec![b'x'; at];
                bytes.extend_from_slice(number);
                bytes.extend_from_slice(b"yyyy");
                let mut offsets = Vec::new();
                let plain = |pattern: usize| searcher.names[pattern].1 == Form::Plain;
                let total = searcher.stream(&*bytes, |pattern, offset| {
                    if plain(pattern) {
                        offsets.push(offset);
                    }
                });
                assert_eq!(total.unwrap(), bytes.len() as u64);
                assert_eq!(offsets, [at as u64], "chunk {chunk}, shift {shift}");
            }
        }
    }

    #[test]
    fn folders_are_searched_to_the_bottom_and_names_too() {
        let folder = tempfile::tempdir().unwrap();
        let deep = folder.path().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        fs::write(deep.join("page"), b"\0\0\x424242424242424242\0").unwrap();
        fs::write(folder.path().join("4242-4242-4242-4242.txt"), b"nothing").unwrap();
        std::os::unix::fs::symlink("/nowhere", folder.path().join("link")).unwrap();
        let report = searcher().path(folder.path()).unwrap();
        assert_eq!((report.files, report.skipped.len()), (2, 1));
        assert!(
            report
                .hits
                .iter()
                .any(|hit| hit.path == deep.join("page") && hit.form == Form::Plain && hit.offset == 3)
        );
        assert!(report.hits.iter().any(|hit| hit.in_name));
        assert!(searcher().path(&folder.path().join("absent")).is_err());
    }

    #[test]
    fn a_search_of_nothing_or_for_nothing_is_no_proof() {
        assert!(!searcher().bytes(b"").is_clean());
        assert_eq!(Needles::new().compile().err(), Some(NeedlesUnusable::None));
        let mut needles = Needles::new();
        needles.key("short", b"ab");
        assert_eq!(needles.compile().err(), Some(NeedlesUnusable::Short));
    }
}
