//! Files, folders and streams, one after the other.
//!
//! Promises: every regular file below a folder is searched, and its name; what cannot be read, or not whole, is told and counted.
//! Links and special files inside folders are counted, not followed; named by themselves they are read.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use zeroize::Zeroizing;

use crate::finding::{Encoding, Finding};
use crate::ignore::Ignores;
use crate::member::Budget;
use crate::number;
use crate::reading::Narrow;
use crate::report::{Located, Report, Standing};
use crate::stream::Stream;

/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;
/// Folders in folders: no file system has more, a loop of mounts has.
const DEPTH_MAX: usize = 200;

/// How much was searched, and what came of it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, serde::Serialize)]
pub struct Totals {
    /// Files and streams.
    pub files: u64,
    /// Their bytes, as read.
    pub bytes: u64,
    /// Card numbers, as far as digits can tell.
    pub found: u64,
    /// Known test numbers.
    pub test: u64,
    /// On the ignore list.
    pub ignored: u64,
    /// Files, folders and gzip members that could not be read, or not whole.
    pub unread: u64,
    /// Links and special files inside folders.
    pub skipped: u64,
}

/// Something that could not be read, or not whole.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Trouble {
    /// Where.
    pub path: String,
    /// Why.
    pub why: String,
}

/// One search.
pub struct Scan {
    ignores: Ignores,
    unpacked_max: u64,
    totals: Totals,
    buffer: Zeroizing<Vec<u8>>,
    found: Vec<Finding>,
}

impl Scan {
    /// A search that accepts what `ignores` lists and unpacks at most `unpacked_max` bytes of each file.
    #[must_use]
    pub fn new(ignores: Ignores, unpacked_max: u64) -> Self {
        let buffer = Zeroizing::new(vec![0; READ_BYTES]);
        Self { ignores, unpacked_max, totals: Totals::default(), buffer, found: Vec::new() }
    }

    /// What came of it so far.
    #[must_use]
    pub const fn totals(&self) -> &Totals {
        &self.totals
    }

    /// The ignore list, and which of it was needed.
    #[must_use]
    pub const fn ignores(&self) -> &Ignores {
        &self.ignores
    }

    /// Searches a file or a folder. Fails only if what it tells cannot be written.
    pub fn path<W: Write>(&mut self, path: &Path, report: &mut Report<W>) -> io::Result<()> {
        // Named by its user: a link or a device here is meant.
        match fs::metadata(path) {
            Ok(facts) if facts.is_dir() => self.folder(path, 0, report),
            Ok(_) => self.file(path, report),
            Err(error) => self.unread(path, &error, report),
        }
    }

    fn folder<W: Write>(&mut self, path: &Path, depth: usize, report: &mut Report<W>) -> io::Result<()> {
        if depth == DEPTH_MAX {
            return self.unread(path, &io::Error::other("too many folders in folders"), report);
        }
        self.name(path, report)?;
        let entries = fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = match entries {
            Ok(entries) => entries,
            Err(error) => return self.unread(path, &error, report),
        };
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => self.folder(&path, depth + 1, report)?,
                Ok(kind) if kind.is_file() => self.file(&path, report)?,
                Ok(_) => self.totals.skipped += 1,
                Err(error) => self.unread(&path, &error, report)?,
            }
        }
        Ok(())
    }

    fn file<W: Write>(&mut self, path: &Path, report: &mut Report<W>) -> io::Result<()> {
        let shown = self.name(path, report)?;
        match File::open(path) {
            Ok(file) => self.reader(&shown, file, report),
            Err(error) => self.unread(path, &error, report),
        }
    }

    /// Searches the name itself, and answers how to show it.
    fn name<W: Write>(&mut self, path: &Path, report: &mut Report<W>) -> io::Result<String> {
        let (shown, found) = shown(path);
        for finding in found {
            self.tell(&shown, true, finding, report)?;
        }
        Ok(shown)
    }

    /// Searches a stream, told by this name.
    pub fn reader<W: Write>(
        &mut self,
        name: &str,
        mut reader: impl Read,
        report: &mut Report<W>,
    ) -> io::Result<()> {
        self.totals.files += 1;
        let mut stream = Stream::new(Budget::new(self.unpacked_max));
        let mut failed = None;
        loop {
            match reader.read(&mut self.buffer) {
                Ok(0) => break,
                Ok(read) => {
                    self.totals.bytes += read as u64;
                    stream.push(&self.buffer[..read], &mut self.found);
                    self.tell_found(name, report)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    failed = Some(error.to_string());
                    break;
                }
            }
        }
        stream.finish(&mut self.found);
        self.tell_found(name, report)?;
        let cut = stream.members_cut();
        if cut > 0 {
            let why = format!(
                "{cut} gzip members are damaged, cut off, too deep or too large to be searched whole"
            );
            self.trouble(Trouble { path: name.to_owned(), why }, report)?;
        }
        failed.map_or(Ok(()), |why| self.trouble(Trouble { path: name.to_owned(), why }, report))
    }

    fn tell_found<W: Write>(&mut self, name: &str, report: &mut Report<W>) -> io::Result<()> {
        for finding in std::mem::take(&mut self.found) {
            self.tell(name, false, finding, report)?;
        }
        Ok(())
    }

    fn tell<W: Write>(
        &mut self,
        path: &str,
        in_name: bool,
        finding: Finding,
        report: &mut Report<W>,
    ) -> io::Result<()> {
        let mut located = Located { path: path.to_owned(), in_name, finding, standing: Standing::Found };
        // A place whose name was starred is not told apart from others that are starred alike: nothing there is accepted.
        let is_starred = located.path.contains('*');
        let count = if !is_starred && self.ignores.accepts(&located.location()) {
            located.standing = Standing::Ignored;
            &mut self.totals.ignored
        } else if located.finding.is_test {
            located.standing = Standing::Test;
            &mut self.totals.test
        } else {
            &mut self.totals.found
        };
        *count += 1;
        report.found(&located)
    }

    fn unread<W: Write>(&mut self, path: &Path, error: &io::Error, report: &mut Report<W>) -> io::Result<()> {
        self.trouble(Trouble { path: shown(path).0, why: error.to_string() }, report)
    }

    fn trouble<W: Write>(&mut self, trouble: Trouble, report: &mut Report<W>) -> io::Result<()> {
        self.totals.unread += 1;
        report.trouble(&trouble)
    }
}

/// A path for people, and the numbers in its last part: their digits become stars, before anything else is made of the name. Control
/// characters are written out, since a name can hold whatever its maker wants a terminal to do.
fn shown(path: &Path) -> (String, Vec<Finding>) {
    let mut bytes = path.as_os_str().as_bytes().to_vec();
    // A control character between the digits of a number, which is written out below, is no better than a dash there.
    let dashed = |byte: &u8| if byte.is_ascii_control() { b'-' } else { *byte };
    let searched: Zeroizing<Vec<u8>> = Zeroizing::new(bytes.iter().map(dashed).collect());
    let mut found = Vec::new();
    let mut stream = Stream::default();
    stream.push(&searched, &mut found);
    stream.finish(&mut found);
    for finding in &found {
        let start = usize::try_from(finding.offset).unwrap_or(usize::MAX);
        let range = match finding.encoding {
            Encoding::Plain => number::at::<Narrow>(&searched, start).map(|number| number.range),
            // Base64: up to where it ends.
            _ => None,
        };
        let end =
            || searched[start..].iter().position(|byte| *byte == b'/').unwrap_or(searched.len() - start);
        let range = range.unwrap_or_else(|| start..start + end());
        bytes[range].iter_mut().filter(|byte| byte.is_ascii_alphanumeric()).for_each(|byte| *byte = b'*');
    }
    let name_ends = searched.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
    let name_begins =
        searched[..name_ends].iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1);
    found.retain(|finding| finding.offset >= name_begins as u64);
    (written_out(&bytes), found)
}

fn written_out(name: &[u8]) -> String {
    let text = String::from_utf8_lossy(name);
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_control() { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    shown
}
