//! Free text a caller keeps beside a card: bounded, and searched for card numbers.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
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

    /// The same with a patch applied. `TooLarge` if that makes more entries than allowed.
    pub fn patched(&self, patch: &MetadataPatch) -> Result<Self, InvalidMetadata> {
        let stays = |name: &str| !patch.gone.contains(name) && !patch.set.0.contains_key(name);
        let mut patched = self.clone();
        patched.0.retain(|name, _| stays(name));
        for (name, value) in &patch.set.0 {
            patched.insert(name.clone(), value.clone())?;
        }
        Ok(patched)
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

/// Changes of metadata as JSON Merge Patch writes them (RFC 7396): a text is set, `null` removes. Every text is checked as
/// [`Metadata`] checks it.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct MetadataPatch {
    set: Metadata,
    gone: BTreeSet<String>,
}

impl MetadataPatch {
    fn add(&mut self, name: String, value: Option<String>) -> Result<(), InvalidMetadata> {
        if self.gone.contains(&name) || self.set.0.contains_key(&name) {
            return Err(InvalidMetadata::Duplicate);
        }
        match value {
            Some(value) => self.set.insert(name, value),
            None if self.gone.len() == Metadata::ENTRIES_MAX => Err(InvalidMetadata::TooLarge),
            None => {
                Metadata::default().insert(name.clone(), String::new())?;
                self.gone.insert(name);
                Ok(())
            }
        }
    }
}

impl<'de> serde::Deserialize<'de> for MetadataPatch {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;
        impl<'de> Visitor<'de> for Entries {
            type Value = MetadataPatch;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts and nulls")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<MetadataPatch, A::Error> {
                let mut patch = MetadataPatch::default();
                while let Some((name, value)) = map.next_entry()? {
                    patch.add(name, value).map_err(A::Error::custom)?;
                }
                Ok(patch)
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

    #[test]
    fn a_patch_sets_removes_and_leaves_the_rest() {
        let patch = |text: &str| serde_json::from_str::<MetadataPatch>(text);
        let before: Metadata = serde_json::from_str(r#"{"a":"1","b":"2","c":"3"}"#).unwrap();
        let after = before.patched(&patch(r#"{"a":null,"b":"4","d":"5","z":null}"#).unwrap()).unwrap();
        assert_eq!(after.iter().collect::<Vec<_>>(), [("b", "4"), ("c", "3"), ("d", "5")]);
        for wrong in [
            r#"{"a":"4111 1111 1111 1111"}"#,
            r#"{"4111111111111111":null}"#,
            r#"{"a":"1","a":null}"#,
            r#"{"a":null,"a":"1"}"#,
            r#"{"a":1}"#,
            "null",
        ] {
            assert!(patch(wrong).is_err(), "{wrong}");
        }
        let mut full = Metadata::default();
        for n in 0..Metadata::ENTRIES_MAX {
            full.insert(format!("n{n}"), String::new()).unwrap();
        }
        assert_eq!(full.patched(&patch(r#"{"one":"more"}"#).unwrap()), Err(InvalidMetadata::TooLarge));
        assert!(full.patched(&patch(r#"{"one":"more","n3":null}"#).unwrap()).is_ok());
    }
}
