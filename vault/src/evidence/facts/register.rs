//! The register of PSPs: who they are, what attests to them, and of which day (PCI DSS 12.8.1, 12.8.4). Kept by those who manage third
//! parties, in a file; held here against the routes in force.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use strongroom_domain::{Timestamp, scan};

/// Largest file.
const BYTES_MAX: u64 = 1024 * 1024;
/// How long an attestation stands unless it says so: PCI DSS 12.8.4 asks at least once every 12 months.
const STANDS_DAYS: u32 = 365;

/// The register, as far as a file gives one.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Register {
    /// The configured file.
    pub file: String,
    /// Its hash, if it could be read.
    pub sha256: Option<String>,
    /// Why it could not be read.
    pub wrong: Option<String>,
    /// Each route in force.
    pub rows: Vec<RegisterRow>,
}

/// One PSP.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize)]
pub struct RegisterRow {
    /// The route.
    pub route: String,
    /// Who it is.
    pub name: String,
    /// What attests to it.
    pub attestation: String,
    /// The day it was attested, `YYYY-MM-DD`.
    pub attested_on: String,
    /// The last day it stands.
    pub valid_until: String,
    /// SHA-256 of the document, where the register has it.
    pub document_sha256: String,
    /// Whether it stands.
    pub standing: Attested,
}

/// Whether an attestation stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Attested {
    /// To the end of the period.
    Stands,
    /// It ended before.
    Over,
    /// There is none in the register.
    #[default]
    None,
}

impl Attested {
    /// For people.
    pub(in crate::evidence) const fn words(self) -> &'static str {
        match self {
            Self::Stands => "in date at the end of the period",
            Self::Over => "over before the end of the period",
            Self::None => "not in the register",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    psp: Vec<Entry>,
}

#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    routes: Vec<String>,
    name: String,
    attestation: String,
    attested_on: String,
    valid_until: Option<String>,
    #[serde(default)]
    document_sha256: String,
}

impl Register {
    /// Reads the file and holds it against the routes in force. Blocks: not for a thread that serves.
    pub(in crate::evidence) fn read(file: &Path, routes: &[String], until: Timestamp) -> Self {
        let shown = file.display().to_string();
        let (sha256, entries) = match text(file) {
            Ok(text) => (Some(hex::encode(Sha256::digest(&text))), parse(&text)),
            Err(wrong) => (None, Err(wrong)),
        };
        let (entries, wrong) = match entries {
            Ok(entries) => (entries, None),
            Err(wrong) => (BTreeMap::new(), Some(wrong)),
        };
        let rows = routes.iter().map(|route| row(route, entries.get(route), until)).collect();
        Self { file: shown, sha256, wrong, rows }
    }

    /// PSPs whose attestation does not stand, or is not there.
    pub(in crate::evidence) fn missing(&self) -> u64 {
        self.rows.iter().filter(|row| row.standing != Attested::Stands).count() as u64
    }
}

fn text(file: &Path) -> Result<String, String> {
    let length = std::fs::metadata(file).map_err(|error| error.to_string())?.len();
    if length > BYTES_MAX {
        return Err("it is larger than 1 MiB".into());
    }
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    if scan::holds_pan(&text) { Err("it holds a card number".into()) } else { Ok(text) }
}

fn parse(text: &str) -> Result<BTreeMap<String, Entry>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.message().to_owned())?;
    let mut entries = BTreeMap::new();
    for entry in file.psp {
        let days = [Some(entry.attested_on.as_str()), entry.valid_until.as_deref()];
        if days.into_iter().flatten().any(|day| day_of(day).is_none()) {
            return Err("a day is not YYYY-MM-DD".into());
        }
        for route in &entry.routes {
            if entries.insert(route.clone(), entry.clone()).is_some() {
                return Err("a route stands there twice".into());
            }
        }
    }
    Ok(entries)
}

fn day_of(day: &str) -> Option<Timestamp> {
    (day.len() == 10).then(|| Timestamp::parse_rfc3339(&format!("{day}T00:00:00Z"))).flatten()
}

fn row(route: &str, entry: Option<&Entry>, until: Timestamp) -> RegisterRow {
    const DAY: std::time::Duration = std::time::Duration::from_secs(24 * 3_600);
    let Some(entry) = entry else { return RegisterRow { route: route.to_owned(), ..RegisterRow::default() } };
    let year = || day_of(&entry.attested_on).map(|day| day.plus(DAY * STANDS_DAYS));
    let last = entry.valid_until.as_deref().map_or_else(year, day_of);
    let stands = last.is_some_and(|last| last.plus(DAY) >= until);
    RegisterRow {
        route: route.to_owned(),
        name: entry.name.clone(),
        attestation: entry.attestation.clone(),
        attested_on: entry.attested_on.clone(),
        valid_until: last.map(|last| last.to_string().chars().take(10).collect()).unwrap_or_default(),
        document_sha256: entry.document_sha256.clone(),
        standing: if stands { Attested::Stands } else { Attested::Over },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, until: &str) -> Register {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("psps.toml");
        std::fs::write(&file, text).unwrap();
        let routes = ["psp".to_owned(), "other".to_owned()];
        Register::read(&file, &routes, Timestamp::parse_rfc3339(until).unwrap())
    }

    const ONE: &str = "[[psp]]\nroutes = [\"psp\"]\nname = \"A PSP\"\nattestation = \"AOC, level 1\"\nattested_on = \"2026-01-31\"\n";

    #[test]
    fn an_attestation_stands_for_a_year_or_as_long_as_it_says() {
        let standing = |text: &str, until: &str| {
            let register = read(text, until);
            assert_eq!(register.wrong, None);
            (register.rows[0].standing, register.rows[1].standing, register.missing())
        };
        assert_eq!(standing(ONE, "2026-10-01T00:00:00Z"), (Attested::Stands, Attested::None, 1));
        assert_eq!(standing(ONE, "2027-02-01T00:00:00Z"), (Attested::Stands, Attested::None, 1));
        assert_eq!(standing(ONE, "2027-02-01T00:00:01Z"), (Attested::Over, Attested::None, 2));
        let said = format!("{ONE}valid_until = \"2026-06-30\"\n");
        assert_eq!(standing(&said, "2026-07-01T00:00:00Z").0, Attested::Stands);
        assert_eq!(standing(&said, "2026-07-01T00:00:01Z").0, Attested::Over);
    }

    #[test]
    fn what_is_wrong_with_a_register_is_said_and_every_route_stands_there() {
        for wrong in [
            "[[psp]]\nroutes = [\"psp\"]\n".to_owned(),
            format!("{ONE}{ONE}"),
            ONE.replace("2026-01-31", "31.1.2026"),
            ONE.replace("A PSP", "4242424242424242"),
            format!("{ONE}more = 1\n"),
        ] {
            let register = read(&wrong, "2026-10-01T00:00:00Z");
            assert!(register.wrong.is_some(), "{wrong}");
            assert_eq!((register.rows.len(), register.missing()), (2, 2), "{wrong}");
        }
    }
}
