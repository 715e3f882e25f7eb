//! Where cards are read from: a file or standard input, plain or age-encrypted.
//!
//! Promises: plaintext is only ever in buffers that are wiped; nothing of it is written to disk.
//! Does not promise: OpenPGP. `gpg --decrypt FILE | strongroom-vault card import … -` reads such files, and goes on after a
//! kill (`vault/docs/import.md`, which says why it is a pipe).

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal as _, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use age::armor::ArmoredReader;
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::cli::CliError;

/// Fewest lines of a plain source whose SHA-256 is written down. Of one card whose BIN and last four are known a
/// thousand numbers remain: the digest of a few such lines would tell which; of sixteen it does not.
pub(super) const HASHED_LINES_MIN: u64 = 16;
/// How much is read at once.
const READ_BYTES: usize = 64 * 1024;
/// First bytes of every age file, and of every armored one.
const AGE_MARKS: [&[u8]; 2] = [b"age-encryption.org/", b"-----BEGIN AGE ENCRYPTED FILE-----"];

/// What is read.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct SourceArgs {
    /// The file; `-` for standard input.
    source: PathBuf,
    /// How it is written. By default what the name ends in: .csv or .jsonl, also before .age.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The file is age-encrypted: the identities it may be opened with.
    #[arg(long, value_name = "FILE")]
    identity: Option<PathBuf>,
}

/// How a source is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, clap::ValueEnum, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Format {
    /// Comma-separated values (RFC 4180), one record a line, names in the first.
    Csv,
    /// One JSON object a line.
    Jsonl,
}

/// What a whole source was. `None`: too few lines to write the digest of down.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SourceFacts {
    /// SHA-256 of its bytes as they are: what `sha256sum` prints.
    pub(super) sha256: Option<String>,
    /// How many.
    pub(super) bytes: u64,
}

/// A source that can be read once.
pub(super) struct Source {
    pub(super) format: Format,
    /// The plaintext.
    pub(super) plaintext: Box<dyn Read + Send>,
    /// What it is, if that can be known beforehand.
    pub(super) facts: Option<SourceFacts>,
    pub(super) meter: Meter,
}

/// Counts and digests the raw bytes as they are read.
#[derive(Clone)]
pub(super) struct Meter(Arc<Mutex<Counted>>);

struct Counted {
    sha256: Sha256,
    bytes: u64,
    lines: u64,
    is_sealed: bool,
}

impl SourceArgs {
    pub(super) fn open(&self) -> Result<Source, CliError> {
        let format = self.format()?;
        let (raw, facts): (Box<dyn Read + Send>, _) = if self.is_standard_input() {
            if io::stdin().is_terminal() {
                return Err("standard input is a terminal: give a file, or feed one in".into());
            }
            (Box::new(io::stdin()), None)
        } else {
            let unreadable = |error| format!("cannot read {}: {error}", self.source.display());
            let facts = facts_of(&self.source, self.identity.is_some()).map_err(unreadable)?;
            (Box::new(File::open(&self.source).map_err(unreadable)?), Some(facts))
        };
        let meter = Meter::new(self.identity.is_some());
        let mut raw = BufReader::with_capacity(READ_BYTES, Metered { inner: raw, meter: meter.clone() });
        let start = raw.fill_buf()?;
        let is_sealed = AGE_MARKS.iter().any(|mark| start.starts_with(mark));
        let plaintext: Box<dyn Read + Send> = match (&self.identity, is_sealed) {
            (Some(identity), _) => Box::new(unseal(raw, identity)?),
            (None, true) => return Err("the source is age-encrypted: give --identity FILE".into()),
            (None, false) => Box::new(raw),
        };
        Ok(Source { format, plaintext, facts, meter })
    }

    fn is_standard_input(&self) -> bool {
        self.source == Path::new("-")
    }

    fn format(&self) -> Result<Format, CliError> {
        let name = self.source.to_str().unwrap_or_default();
        let name = name.strip_suffix(".age").unwrap_or(name);
        let by_name = match Path::new(name).extension().and_then(|ending| ending.to_str()) {
            Some("csv") => Some(Format::Csv),
            Some("jsonl" | "ndjson") => Some(Format::Jsonl),
            _ => None,
        };
        Ok(self.format.or(by_name).ok_or("say how the source is written: --format csv or --format jsonl")?)
    }
}

/// Opens an age file. Its header is checked now, every chunk as it is read.
fn unseal<R: Read + Send + 'static>(
    raw: R,
    identity: &Path,
) -> Result<age::stream::StreamReader<ArmoredReader<BufReader<R>>>, CliError> {
    let unusable = |why: String| format!("--identity {}: {why}", identity.display());
    let text = Zeroizing::new(std::fs::read(identity).map_err(|error| unusable(error.to_string()))?);
    let identities = age::IdentityFile::from_buffer(text.as_slice())
        .map_err(|_| unusable("it holds something other than age identities".into()))?
        .into_identities()
        .map_err(|error| unusable(error.to_string()))?;
    let decryptor = age::Decryptor::new(ArmoredReader::new(raw))
        .map_err(|error| format!("the source is not an age file this program reads: {error}"))?;
    let plaintext = decryptor.decrypt(identities.iter().map(|identity| &**identity as &dyn age::Identity));
    Ok(plaintext.map_err(|error| format!("the source cannot be opened: {error}"))?)
}

fn facts_of(path: &Path, is_sealed: bool) -> io::Result<SourceFacts> {
    let meter = Meter::new(is_sealed);
    let mut raw = Metered { inner: File::open(path)?, meter: meter.clone() };
    let mut chunk = Zeroizing::new(vec![0; READ_BYTES]);
    while raw.read(&mut chunk)? > 0 {}
    Ok(meter.facts())
}

impl Meter {
    fn new(is_sealed: bool) -> Self {
        Self(Arc::new(Mutex::new(Counted { sha256: Sha256::new(), bytes: 0, lines: 0, is_sealed })))
    }

    fn count(&self, read: &[u8]) {
        let mut counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counted.sha256.update(read);
        counted.bytes += read.len() as u64;
        if !counted.is_sealed {
            counted.lines += read.iter().filter(|byte| **byte == b'\n').count() as u64;
        }
    }

    /// How many bytes were read.
    pub(super) fn bytes(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).bytes
    }

    /// What was read so far.
    pub(super) fn facts(&self) -> SourceFacts {
        let counted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let tells_little = counted.is_sealed || counted.lines >= HASHED_LINES_MIN;
        let sha256 = tells_little.then(|| hex::encode(counted.sha256.clone().finalize()));
        SourceFacts { sha256, bytes: counted.bytes }
    }
}

/// A reader whose bytes are counted.
struct Metered<R> {
    inner: R,
    meter: Meter,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(out)?;
        self.meter.count(&out[..length]);
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn args(source: &Path, identity: Option<PathBuf>) -> SourceArgs {
        SourceArgs { source: source.to_owned(), format: None, identity }
    }

    fn read(args: &SourceArgs) -> (Vec<u8>, Source) {
        let mut source = args.open().unwrap();
        let mut plaintext = Vec::new();
        source.plaintext.read_to_end(&mut plaintext).unwrap();
        (plaintext, source)
    }

    #[test]
    fn plain_and_age_files_are_read_and_digested_as_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let lines = "a line\n".repeat(40).into_bytes();
        let plain = folder.path().join("cards.csv");
        std::fs::write(&plain, &lines).unwrap();
        let (text, source) = read(&args(&plain, None));
        assert_eq!((text == lines, source.format), (true, Format::Csv));
        assert_eq!(source.facts.unwrap().sha256.unwrap(), hex::encode(Sha256::digest(&lines)));

        let key = age::x25519::Identity::generate();
        let identity = folder.path().join("identity");
        let secret = age::secrecy::SecretString::from(key.to_string());
        #[expect(clippy::disallowed_methods, reason = "a test writes its own identity file")]
        std::fs::write(&identity, age::secrecy::ExposeSecret::expose_secret(&secret)).unwrap();
        for armored in [false, true] {
            let path = folder.path().join("cards.jsonl.age");
            let format = if armored { age::armor::Format::AsciiArmor } else { age::armor::Format::Binary };
            let out = age::armor::ArmoredWriter::wrap_output(File::create(&path).unwrap(), format).unwrap();
            let to = key.to_public();
            let encryptor =
                age::Encryptor::with_recipients(std::iter::once(&to as &dyn age::Recipient)).unwrap();
            let mut writer = encryptor.wrap_output(out).unwrap();
            writer.write_all(&lines).unwrap();
            writer.finish().unwrap().finish().unwrap();
            let (text, source) = read(&args(&path, Some(identity.clone())));
            assert_eq!((text == lines, source.format), (true, Format::Jsonl));
            let raw = std::fs::read(&path).unwrap();
            assert_eq!(source.meter.facts().sha256.unwrap(), hex::encode(Sha256::digest(&raw)));
            let told = args(&path, None).open().err().expect("an identity is needed").to_string();
            assert!(told.contains("--identity"), "{told}");
            let other = folder.path().join("cards.csv");
            assert!(args(&path, Some(other)).open().is_err(), "no identities in there");
        }
    }

    #[test]
    fn few_lines_have_no_digest() {
        let folder = tempfile::tempdir().unwrap();
        let plain = folder.path().join("cards.csv");
        std::fs::write(&plain, "number\n4242424242424242\n").unwrap();
        let (_, source) = read(&args(&plain, None));
        assert_eq!(source.facts, Some(SourceFacts { sha256: None, bytes: 24 }));
    }
}
