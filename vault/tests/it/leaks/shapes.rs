//! The other way to search: not for the numbers that went in, but for anything that looks like a card number.

use std::path::{Path, PathBuf};

use strongroom_scan::{Finding, Stream};

/// Everything in a file or below a folder that looks like a card number.
pub(super) fn in_path(path: &Path) -> Vec<(PathBuf, Finding)> {
    if path.is_dir() {
        let entries = std::fs::read_dir(path).unwrap();
        return entries.flat_map(|entry| in_path(&entry.unwrap().path())).collect();
    }
    if !path.is_file() {
        return Vec::new();
    }
    let bytes = std::fs::read(path).unwrap();
    in_bytes(&bytes).into_iter().map(|finding| (path.to_owned(), finding)).collect()
}

pub(super) fn in_bytes(bytes: &[u8]) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut stream = Stream::default();
    stream.push(bytes, &mut found);
    stream.finish(&mut found);
    found
}

/// How the campaign's cards expire, as a row holds it (YYMM).
const EXPIRIES: [&str; 5] = ["3103", "3201", "3204", "3305", "3311"];

/// In a row of SQLite the first digits of a card, its last four and its expiry lie side by side, and one row in ten passes for a
/// number. The numbers themselves are searched for apart, whatever this leaves out.
pub(super) fn is_a_row_of_facts(finding: &Finding) -> bool {
    EXPIRIES.contains(&finding.shown.last4()) && finding.shown.bin().is_some_and(|bin| bin == "999999")
}
