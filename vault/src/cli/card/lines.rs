//! A source, line by line: bounded, numbered, digested, and wiped.

use std::io::{self, Read};

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use super::source::HASHED_LINES_MIN;

/// Longest line: as long as the body of one card may be.
pub(super) const LINE_BYTES_MAX: usize = 64 * 1024;
const LINE_FEED: u8 = b'\n';
/// What some programs begin UTF-8 files with.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines of a source. One buffer, never grown: nothing of a line stays behind elsewhere.
pub(super) struct Lines<R> {
    inner: R,
    buffer: Zeroizing<Vec<u8>>,
    start: usize,
    end: usize,
    is_over: bool,
    number: u64,
    through: Sha256,
}

/// One line, without its end.
pub(super) struct Line<'a> {
    /// 1 for the first.
    pub(super) number: u64,
    /// `None`: longer than [`LINE_BYTES_MAX`], or not UTF-8.
    pub(super) text: Option<&'a str>,
}

impl<R: Read> Lines<R> {
    pub(super) fn new(inner: R) -> Self {
        let buffer = Zeroizing::new(vec![0; LINE_BYTES_MAX + 2]);
        Self { inner, buffer, start: 0, end: 0, is_over: false, number: 0, through: Sha256::new() }
    }

    /// The next line that is not empty.
    pub(super) fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        loop {
            let Some(span) = self.take()? else { return Ok(None) };
            self.number += 1;
            let Some((from, to)) = span else { return Ok(Some(Line { number: self.number, text: None })) };
            let mut bytes = &self.buffer[from..to];
            bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
            if self.number == 1 {
                bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
            }
            if bytes.is_empty() {
                continue;
            }
            // Found again: the borrow of a line that is given out cannot be one of a loop.
            let (offset, length) = (bytes.as_ptr().addr() - self.buffer.as_ptr().addr(), bytes.len());
            let text = std::str::from_utf8(&self.buffer[offset..offset + length]).ok();
            return Ok(Some(Line { number: self.number, text }));
        }
    }

    /// SHA-256 of every line so far; `None` while there are too few to write it down.
    pub(super) fn through(&self) -> Option<String> {
        (self.number > HASHED_LINES_MIN).then(|| hex::encode(self.through.clone().finalize()))
    }

    /// Where the next line stands in the buffer; `Some(None)` if it is too long.
    #[expect(clippy::option_option, reason = "no line, or a line, which may be too long")]
    fn take(&mut self) -> io::Result<Option<Option<(usize, usize)>>> {
        let mut is_too_long = false;
        let mut searched = self.start;
        loop {
            if let Some(at) = self.buffer[searched..self.end].iter().position(|byte| *byte == LINE_FEED) {
                let (from, to) = (self.start, searched + at);
                self.start = to + 1;
                self.through.update(&self.buffer[from..=to]);
                return Ok(Some((!is_too_long).then_some((from, to))));
            }
            if self.is_over {
                let (from, to) = (self.start, self.end);
                self.start = to;
                self.through.update(&self.buffer[from..to]);
                let is_there = is_too_long || from < to;
                return Ok(is_there.then_some((!is_too_long).then_some((from, to))));
            }
            if self.end - self.start == self.buffer.len() {
                self.through.update(&self.buffer[..]);
                (self.start, self.end, is_too_long) = (0, 0, true);
            } else if self.end == self.buffer.len() {
                self.buffer.copy_within(self.start.., 0);
                (self.start, self.end) = (0, self.end - self.start);
            }
            searched = self.end;
            let length = self.inner.read(&mut self.buffer[self.end..])?;
            self.is_over = length == 0;
            self.end += length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(text: &[u8]) -> Vec<(u64, Option<String>)> {
        let mut lines = Lines::new(text);
        let mut found = Vec::new();
        while let Some(line) = lines.next().unwrap() {
            found.push((line.number, line.text.map(str::to_owned)));
        }
        assert_eq!(lines.through.clone().finalize()[..], Sha256::digest(text)[..], "every byte is digested");
        found
    }

    #[test]
    fn lines_are_numbered_as_editors_do_and_blank_ones_skipped() {
        let found = all(b"\xef\xbb\xbfone\r\n\n\r\ntwo\nthree");
        assert_eq!(found, [(1, Some("one".into())), (4, Some("two".into())), (5, Some("three".into()))]);
        assert_eq!(all(b""), []);
        assert_eq!(all(b"\n\n"), []);
    }

    #[test]
    fn long_and_foreign_lines_are_said_and_the_next_is_read() {
        for length in [LINE_BYTES_MAX - 1, LINE_BYTES_MAX, LINE_BYTES_MAX + 1] {
            let text = [b"a\n".to_vec(), vec![b'x'; length], b"\nb\n".to_vec()].concat();
            assert_eq!(all(&text)[1].1.as_ref().map(String::len), Some(length), "{length}");
        }
        let text = [b"a\n".to_vec(), vec![b'x'; 3 * LINE_BYTES_MAX], b"\nb\n\xff\n".to_vec()].concat();
        let found = all(&text);
        assert_eq!(found[1], (2, None));
        assert_eq!(found[2], (3, Some("b".into())));
        assert_eq!(found[3], (4, None));
    }
}
