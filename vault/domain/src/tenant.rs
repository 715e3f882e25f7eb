//! A merchant or business unit: its own data keys, fingerprint key and policy scope.

use std::fmt;

use crate::scan;

/// A tenant's name: `[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?`, and no card number in it: names are shown and logged.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct TenantId(Box<str>);

/// Not a tenant's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("tenant is not 1 to 63 lower-case letters, digits and inner hyphens, or holds a card number")]
pub struct InvalidTenantId;

impl TenantId {
    /// Longest name in bytes.
    pub const BYTES_MAX: usize = 63;

    /// ```
    /// # use strongroom_domain::TenantId;
    /// assert!(TenantId::parse("acme-2").is_ok());
    /// assert!(TenantId::parse("-acme").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidTenantId> {
        let inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let bytes = text.as_bytes();
        let ends_well = |byte: Option<&u8>| byte.is_some_and(|byte| *byte != b'-');
        if bytes.len() <= Self::BYTES_MAX
            && bytes.iter().copied().all(inner)
            && ends_well(bytes.first())
            && ends_well(bytes.last())
            && !scan::holds_pan(text)
        {
            Ok(Self(text.into()))
        } else {
            Err(InvalidTenantId)
        }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl serde::Serialize for TenantId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for TenantId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grammar_is_held() {
        for right in ["a", "7", "acme", "a-b", &"x".repeat(63)] {
            assert!(TenantId::parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "-",
            "-a",
            "a-",
            "A",
            "a_b",
            "a b",
            "ä",
            "4242424242424242",
            "acme-4242-4242-4242-4242",
            &"x".repeat(64),
        ] {
            assert_eq!(TenantId::parse(wrong), Err(InvalidTenantId), "{wrong}");
        }
    }
}
