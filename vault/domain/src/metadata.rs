//! Free text a caller keeps beside a card: bounded, and searched for card numbers.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};

use crate::{scan, token};

/// Up to [`Metadata::ENTRIES_MAX`] short texts by name.
#[derive(Clone, PartialEq, Eq, Debug, Default, serde::Serialize)]
#[serde(transparent)]
pub struct Metadata(BTreeMap<String, String>);

/// Why a map is no metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetadata {
    /// More entries, longer names or longer values than allowed.
    #[error("metadata is larger than 20 entries, names of 40 bytes or values of 500 bytes")]
    TooLarge,
    /// A name outside `[A-Za-z0-9_.-]+`.
    #[error("metadata names are letters, digits, underscore, dot and dash")]
    Name,
    /// A card number or token stands in it (PCI DSS 3.5.1).
    #[error("metadata holds a card number or a token")]
    HoldsCardData,
    /// The same name twice.
    #[error("metadata names the same entry twice")]
    Duplicate,
}

impl Metadata {
    /// Most entries.
    pub const ENTRIES_MAX: usize = 20;
    /// Longest name in bytes.
    pub const NAME_BYTES_MAX: usize = 40;
    /// Longest value in bytes.
    pub const VALUE_BYTES_MAX: usize = 500;

    /// Checks one more entry and adds it.
    pub fn insert(&mut self, name: String, value: String) -> Result<(), InvalidMetadata> {
        let name_is_right = !name.is_empty()
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte));
        if self.0.len() == Self::ENTRIES_MAX
            || name.len() > Self::NAME_BYTES_MAX
            || value.len() > Self::VALUE_BYTES_MAX
        {
            Err(InvalidMetadata::TooLarge)
        } else if !name_is_right {
            Err(InvalidMetadata::Name)
        } else if [&name, &value]
            .into_iter()
            .any(|text| scan::holds_pan(text) || token::holds_token_shape(text.as_bytes()))
        {
            Err(InvalidMetadata::HoldsCardData)
        } else {
            match self.0.entry(name) {
                Entry::Occupied(_) => Err(InvalidMetadata::Duplicate),
                Entry::Vacant(place) => {
                    place.insert(value);
                    Ok(())
                }
            }
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The entries by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<'de> serde::Deserialize<'de> for Metadata {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut metadata = Metadata::default();
                while let Some((name, value)) = map.next_entry()? {
                    metadata.insert(name, value).map_err(A::Error::custom)?;
                }
                Ok(metadata)
            }
        }
        deserializer.deserialize_map(Entries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn card_numbers_tokens_and_duplicates_are_refused() {
        for wrong in [
            r#"{"a":"4111 1111 1111 1111"}"#,
            r#"{"4111111111111111":"a"}"#,
            r#"{"a":"tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv"}"#,
            r#"{"a":"1","a":"2"}"#,
            r#"{"a b":"1"}"#,
            r#"{"":"1"}"#,
            r#"{"a":1}"#,
        ] {
            assert!(serde_json::from_str::<Metadata>(wrong).is_err(), "{wrong}");
        }
        let right: Metadata = serde_json::from_str(r#"{"order.id":"2026-11-21/77","plan":"gold"}"#).unwrap();
        assert_eq!(right.iter().count(), 2);
    }
}
