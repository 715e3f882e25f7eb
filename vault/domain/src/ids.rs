//! Identifiers as types: one is never passed where another is meant.

use std::fmt;

use uuid::Uuid;

use crate::chance::{Random, RandomUnavailable};
use crate::clock::Clock;

macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// A new UUIDv7 (RFC 9562 §5.7): ordered by the millisecond it was made in.
            pub fn generate(clock: &dyn Clock, random: &dyn Random) -> Result<Self, RandomUnavailable> {
                let mut tail = [0_u8; 10];
                random.fill(&mut tail)?;
                Ok(Self(uuid::Builder::from_unix_timestamp_millis(clock.now().unix_millis(), &tail).into_uuid()))
            }

            /// From a UUID read back from the store.
            #[must_use]
            pub const fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }

            /// The UUID.
            #[must_use]
            pub const fn as_uuid(self) -> Uuid {
                self.0
            }

            /// Reads the lower-case hyphenated form; every other spelling is refused.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                let uuid = Uuid::try_parse(text).ok()?;
                (uuid.as_hyphenated().encode_lower(&mut Uuid::encode_buffer()) == text).then_some(Self(uuid))
            }
        }

        /// Lower-case, hyphenated.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    };
}

uuid_id! {
    /// One data key.
    DataKeyId
}
uuid_id! {
    /// One forward: one permitted use of card data at one route.
    ForwardId
}
uuid_id! {
    /// One request, as callers and logs name it.
    RequestId
}
uuid_id! {
    /// One start of one instance: audit sequences begin anew with it.
    BootId
}
uuid_id! {
    /// One export: cards of one tenant that two people agreed to hand over.
    ExportId
}
uuid_id! {
    /// One policy decision.
    DecisionId
}

/// Who an mTLS peer is: a SPIFFE ID (`spiffe://domain/path`) or, where configured, `dns:name`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Serialize)]
#[serde(transparent)]
pub struct WorkloadId(std::sync::Arc<str>);

/// Not a workload's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("workload is neither a SPIFFE ID with a path nor dns: and a host name")]
pub struct InvalidWorkloadId;

impl WorkloadId {
    /// Longest SPIFFE ID in bytes (SPIFFE-ID §2.3).
    pub const BYTES_MAX: usize = 2048;

    /// ```
    /// # use strongroom_domain::WorkloadId;
    /// assert!(WorkloadId::parse("spiffe://example.org/checkout").is_ok());
    /// assert!(WorkloadId::parse("spiffe://example.org").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, InvalidWorkloadId> {
        let right = text.len() <= Self::BYTES_MAX
            && match (text.strip_prefix("spiffe://"), text.strip_prefix("dns:")) {
                (Some(rest), _) => rest.split_once('/').is_some_and(|(domain, path)| {
                    is_name(domain, b"-._")
                        && path.split('/').all(|part| part != "." && part != ".." && is_path_part(part))
                }),
                (None, Some(name)) => is_name(name, b"-."),
                (None, None) => false,
            };
        if right { Ok(Self(text.into())) } else { Err(InvalidWorkloadId) }
    }

    /// The whole name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

fn is_name(text: &str, also: &[u8]) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || also.contains(&byte))
}

fn is_path_part(part: &str) -> bool {
    !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
}

impl fmt::Display for WorkloadId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for WorkloadId {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_have_one_spelling() {
        let text = "0190a0b0-c0d0-7e0f-8f00-112233445566";
        assert_eq!(ForwardId::parse(text).unwrap().to_string(), text);
        assert_eq!(ForwardId::parse(&text.to_uppercase()), None);
        assert_eq!(ForwardId::parse("0190a0b0c0d07e0f8f00112233445566"), None);
    }

    #[test]
    fn workloads_are_spiffe_ids_or_dns_names() {
        for right in ["spiffe://a/b", "spiffe://example.org/ns/pay/sa/proxy-1", "dns:proxy.internal"] {
            assert!(WorkloadId::parse(right).is_ok(), "{right}");
        }
        for wrong in [
            "",
            "spiffe://",
            "spiffe://a",
            "spiffe://a/",
            "spiffe://a//b",
            "spiffe://a/../b",
            "spiffe://A/b",
            "spiffe://a/b?c",
            "dns:",
            "dns:UP",
            "http://a/b",
        ] {
            assert_eq!(WorkloadId::parse(wrong), Err(InvalidWorkloadId), "{wrong}");
        }
    }
}
