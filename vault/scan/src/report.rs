//! What a search tells: lines for people, or a JSON object a line.

use std::io::{self, Write};

use serde_json::json;
use sha2::{Digest, Sha256};

use crate::files::{Totals, Trouble};
use crate::finding::Finding;
use crate::ignore::Ignores;

/// How it is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// A JSON object a line; the last one is the summary.
    Json,
}

/// What a finding counts as.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// A card number, as far as digits can tell.
    Found,
    /// A known test number: listed apart.
    Test,
    /// On the ignore list, and its day has not passed.
    Ignored,
}

impl Standing {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Found => "found",
            Self::Test => "test",
            Self::Ignored => "ignored",
        }
    }
}

/// A finding and the file it is in.
#[derive(Clone, Debug)]
pub struct Located {
    /// The file, as given or below what was given, without any number of its own.
    pub path: String,
    /// The number is in the file's very name.
    pub in_name: bool,
    /// What was found there.
    pub finding: Finding,
    /// What it counts as.
    pub standing: Standing,
}

impl Located {
    /// Names the place for the ignore list: the first 32 hex digits of `SHA-256("strongroom/scan-location/v2" 00 ‖ LP(path) ‖
    /// LP(members) ‖ LP(offset) ‖ LP(encoding) ‖ LP(brand and length))`. Made of what is shown without facts too and of
    /// nothing else: from a hash of digits next to all the rest, those digits are found by trying.
    #[must_use]
    pub fn location(&self) -> String {
        let finding = &self.finding;
        let kind = if self.in_name { "name" } else { finding.encoding.as_str() };
        let mut hash = Sha256::new();
        hash.update(b"strongroom/scan-location/v2\0");
        for part in [
            self.path.as_str(),
            &members(finding),
            &finding.offset.to_string(),
            kind,
            &format!("{} {}", finding.brand.as_str(), finding.length),
        ] {
            // Longer than a path may be, it is told apart by what follows.
            hash.update(u16::try_from(part.len()).unwrap_or(u16::MAX).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hex::encode(&hash.finalize()[..16])
    }
}

fn members(finding: &Finding) -> String {
    finding.members.iter().map(|at| format!("{at}/")).collect()
}

/// Writes what a search tells.
pub struct Report<W> {
    out: W,
    format: Format,
    with_facts: bool,
}

impl<W: Write> Report<W> {
    /// Tells it to `out`; without facts, nothing of any number is shown.
    pub const fn new(out: W, format: Format, with_facts: bool) -> Self {
        Self { out, format, with_facts }
    }

    pub(crate) fn found(&mut self, located: &Located) -> io::Result<()> {
        match self.format {
            Format::Text => self.text(located),
            Format::Json => self.json(located),
        }
    }

    fn text(&mut self, located: &Located) -> io::Result<()> {
        let (finding, standing) = (&located.finding, located.standing.as_str());
        let what = match (self.with_facts, finding.shown.bin()) {
            (false, _) => String::new(),
            (true, Some(bin)) => format!(" {bin}…{}", finding.shown.last4()),
            (true, None) => format!(" …{}", finding.shown.last4()),
        };
        let place = if located.in_name {
            "in its name".to_owned()
        } else {
            format!("at {}{}, {}", members(finding), finding.offset, finding.encoding.as_str())
        };
        let (brand, length, location) = (finding.brand.as_str(), finding.length, located.location());
        let path = &located.path;
        writeln!(self.out, "{standing:7} {location} {brand}{what} ({length} digits) {place}: {path}")
    }

    fn json(&mut self, located: &Located) -> io::Result<()> {
        let finding = &located.finding;
        let mut line = json!({
            "kind": located.standing.as_str(),
            "location": located.location(),
            "path": located.path,
            "in_name": located.in_name,
            "members": finding.members,
            "offset": finding.offset,
            "encoding": finding.encoding,
            "separated": finding.separated,
            "brand": finding.brand,
            "digits": finding.length,
        });
        if self.with_facts {
            line["bin"] = finding.shown.bin().into();
            line["last4"] = finding.shown.last4().into();
        }
        writeln!(self.out, "{line}")
    }

    pub(crate) fn trouble(&mut self, trouble: &Trouble) -> io::Result<()> {
        let Trouble { path, why } = trouble;
        match self.format {
            Format::Text => writeln!(self.out, "unread  {path}: {why}"),
            Format::Json => writeln!(self.out, "{}", json!({ "kind": "unread", "path": path, "why": why })),
        }
    }

    /// The end of it.
    pub fn summary(&mut self, totals: &Totals, ignores: &Ignores) -> io::Result<()> {
        if self.format == Format::Json {
            let ended: Vec<_> = ignores.ended().collect();
            let unused: Vec<_> = ignores.unused().collect();
            let line = json!({ "kind": "summary", "totals": totals, "ignores_ended": ended, "ignores_unused": unused });
            return writeln!(self.out, "{line}");
        }
        for location in ignores.ended() {
            writeln!(self.out, "ended   {location}: the day of its entry in the ignore list has passed")?;
        }
        for location in ignores.unused() {
            writeln!(self.out, "unused  {location}: nothing was found there; take it off the ignore list")?;
        }
        let Totals { files, bytes, found, test, ignored, unread, skipped } = totals;
        writeln!(
            self.out,
            "{found} found, {test} known test numbers, {ignored} ignored; {bytes} bytes in {files} files; \
             {unread} not read whole, {skipped} links and special files not followed"
        )
    }
}
