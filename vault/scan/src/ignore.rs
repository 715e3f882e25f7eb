//! Places where what is found is known and accepted: each with a reason, and until a day.

use std::collections::BTreeMap;

use serde::Deserialize;
use time::Date;
use time::macros::format_description;

/// Most entries: more are a policy, not exceptions.
const ENTRIES_MAX: usize = 10_000;

/// A list of accepted places.
#[derive(Debug, Default)]
pub struct Ignores {
    entries: BTreeMap<String, Entry>,
}

#[derive(Debug)]
struct Entry {
    ended: bool,
    used: bool,
}

/// Why a list is refused.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIgnores {
    /// Not the form it must have.
    #[error("the ignore list is refused: {0}")]
    Form(#[from] toml::de::Error),
    /// An entry that says not where, why or until when.
    #[error("the ignore list is refused: entry {entry}: {what}")]
    Entry {
        /// Which one, from 1.
        entry: usize,
        /// What is wrong with it.
        what: &'static str,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    ignore: Vec<Line>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    location: String,
    reason: String,
    until: String,
}

impl Ignores {
    /// Reads a list as of `today`.
    ///
    /// ```
    /// # use strongroom_scan::Ignores;
    /// let list = "[[ignore]]\nlocation = \"00112233445566778899aabbccddeeff\"\nreason = \"a fixture\"\nuntil = \"2027-03-31\"";
    /// let today = time::macros::date!(2026 - 11 - 29);
    /// assert!(Ignores::parse(list, today).is_ok());
    /// assert!(Ignores::parse(&list.replace("a fixture", ""), today).is_err());
    /// ```
    pub fn parse(text: &str, today: Date) -> Result<Self, InvalidIgnores> {
        let file: File = toml::from_str(text)?;
        let mut entries = BTreeMap::new();
        for (place, line) in file.ignore.into_iter().enumerate() {
            let refused = |what| InvalidIgnores::Entry { entry: place + 1, what };
            if place == ENTRIES_MAX {
                return Err(refused("there are too many"));
            }
            let entry = line.read(today).map_err(refused)?;
            if entries.insert(line.location, entry).is_some() {
                return Err(refused("this location is listed twice"));
            }
        }
        Ok(Self { entries })
    }

    /// Whether what is found at this location is accepted today.
    pub(crate) fn accepts(&mut self, location: &str) -> bool {
        self.entries.get_mut(location).is_some_and(|entry| {
            entry.used = true;
            !entry.ended
        })
    }

    /// Locations whose day has passed though something is still there.
    pub fn ended(&self) -> impl Iterator<Item = &str> {
        self.entries
            .iter()
            .filter(|(_, entry)| entry.ended && entry.used)
            .map(|(location, _)| location.as_str())
    }

    /// Locations where nothing was found: the entry can go.
    pub fn unused(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().filter(|(_, entry)| !entry.used).map(|(location, _)| location.as_str())
    }
}

impl Line {
    fn read(&self, today: Date) -> Result<Entry, &'static str> {
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if self.location.len() != 32 || !self.location.bytes().all(is_hex) {
            return Err("its location is not the 32 letters a report shows");
        }
        if self.reason.trim().is_empty() {
            return Err("its reason is empty");
        }
        let until = Date::parse(&self.until, format_description!("[year]-[month]-[day]"))
            .map_err(|_| "its until is not a day like 2027-03-31")?;
        if until > today.saturating_add(time::Duration::days(366)) {
            return Err("its until is more than a year away: accept it anew then");
        }
        Ok(Entry { ended: until < today, used: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use time::macros::date;

    const HERE: &str = "00112233445566778899aabbccddeeff";

    fn list(until: &str) -> Result<Ignores, InvalidIgnores> {
        let text = format!("[[ignore]]\nlocation = \"{HERE}\"\nreason = \"a fixture\"\nuntil = \"{until}\"");
        Ignores::parse(&text, date!(2026 - 11 - 29))
    }

    #[test]
    fn an_entry_serves_until_its_day_and_no_longer() {
        for (until, accepted) in [("2026-11-28", false), ("2026-11-29", true), ("2027-11-29", true)] {
            let mut ignores = list(until).unwrap();
            assert_eq!(ignores.unused().count(), 1);
            assert_eq!(ignores.accepts(HERE), accepted, "{until}");
            assert_eq!((ignores.ended().count(), ignores.unused().count()), (usize::from(!accepted), 0));
        }
        assert!(!list("2027-01-01").unwrap().accepts("ffeeddccbbaa99887766554433221100"));
    }

    #[test]
    fn an_entry_without_end_reason_or_place_is_refused() {
        for (from, to) in [
            ("2027-01-01", "2028-01-01"),
            ("2027-01-01", "soon"),
            ("a fixture", " "),
            ("until = \"2027-01-01\"", ""),
            ("reason", "because"),
            (HERE, "0011"),
            (HERE, "00112233445566778899AABBCCDDEEFF"),
        ] {
            let text =
                format!("[[ignore]]\nlocation = \"{HERE}\"\nreason = \"a fixture\"\nuntil = \"2027-01-01\"");
            assert!(Ignores::parse(&text.replace(from, to), date!(2026 - 11 - 29)).is_err(), "{to}");
        }
        let twice =
            format!("[[ignore]]\nlocation = \"{HERE}\"\nreason = \"a\"\nuntil = \"2027-01-01\"\n").repeat(2);
        assert!(Ignores::parse(&twice, date!(2026 - 11 - 29)).unwrap_err().to_string().contains("twice"));
    }
}
