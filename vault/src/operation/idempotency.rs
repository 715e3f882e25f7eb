//! `Idempotency-Key`: the same request twice is one effect (draft-ietf-httpapi-idempotency-key-header-07).
//!
//! Promises: the digest of a request is keyed, and never covers a verification code. The stored answer holds a token and
//! facts, never card data. Scope: caller, tenant, key; 24 hours.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use sha2::{Digest, Sha256};
use strongroom_domain::{DataKeyId, TenantId, WorkloadId};

/// How long a key is remembered.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(24 * 3_600);

/// A caller's idempotency key: 1 to 255 visible ASCII characters.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IdempotencyKey(String);

/// Not an idempotency key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("idempotency key is not 1 to 255 visible characters")]
pub struct InvalidIdempotencyKey;

impl IdempotencyKey {
    /// Reads a header value, with or without the quotes of a structured-field string.
    pub fn parse(value: &str) -> Result<Self, InvalidIdempotencyKey> {
        let inner = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(value);
        let right = (1..=255).contains(&inner.len())
            && inner.bytes().all(|byte| (0x21..=0x7e).contains(&byte) && byte != b'"');
        let holds_card_data = strongroom_domain::scan::holds_pan(inner);
        if right && !holds_card_data { Ok(Self(inner.to_owned())) } else { Err(InvalidIdempotencyKey) }
    }

    /// What the key is stored under: callers and tenants never share one.
    pub(crate) fn scope(&self, caller: &WorkloadId, tenant: &TenantId) -> Scope {
        let mut hash = Sha256::new();
        hash.update(b"strongroom/idempotency-scope/v1\0");
        for part in [caller.as_str(), tenant.as_str(), &self.0] {
            // Every part is bounded far below 64 KiB by its own type.
            hash.update((part.len() as u16).to_be_bytes());
            hash.update(part.as_bytes());
        }
        hash.finalize().into()
    }
}

/// What a key is stored under.
pub(crate) type Scope = [u8; 32];

/// An answer as it is stored: the id of the key its request was digested with (16 bytes), then the body. Keys have
/// successors; a repeat after the change of keys is still recognised.
pub(crate) struct StoredAnswer {
    /// The idempotency data key.
    pub(crate) key: DataKeyId,
    /// Token and facts, never card data.
    pub(crate) body: Vec<u8>,
}

impl StoredAnswer {
    pub(crate) fn write(&self) -> Vec<u8> {
        [self.key.as_uuid().as_bytes(), self.body.as_slice()].concat()
    }

    pub(crate) fn read(stored: &[u8]) -> Option<Self> {
        let (key, body) = stored.split_first_chunk::<16>()?;
        Some(Self { key: DataKeyId::from_uuid(uuid::Uuid::from_bytes(*key)), body: body.to_vec() })
    }
}

/// Scopes being worked on in this process. Across replicas the unique index decides.
#[derive(Clone, Default)]
pub struct InFlight(Arc<Mutex<HashSet<Scope>>>);

/// Removes its scope when dropped, also when the request is cancelled.
pub(crate) struct Working {
    scope: Scope,
    all: InFlight,
}

impl InFlight {
    /// `None`: somebody is at it.
    pub(crate) fn begin(&self, scope: Scope) -> Option<Working> {
        let mut scopes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        scopes.insert(scope).then(|| Working { scope, all: self.clone() })
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.all.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.scope);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_visible_text_without_card_data() {
        assert_eq!(IdempotencyKey::parse("\"order-7\""), IdempotencyKey::parse("order-7"));
        for wrong in ["", "\"\"", "a b", "a\u{7f}", "ä", "4111111111111111", &"x".repeat(256)] {
            assert_eq!(IdempotencyKey::parse(wrong), Err(InvalidIdempotencyKey), "{wrong}");
        }
    }

    #[test]
    fn scopes_differ_by_caller_tenant_and_key() {
        let key = |text| IdempotencyKey::parse(text).unwrap();
        let caller = |text| WorkloadId::parse(text).unwrap();
        let tenant = |text| TenantId::parse(text).unwrap();
        let scopes = [
            key("k").scope(&caller("spiffe://a/b"), &tenant("t")),
            key("k").scope(&caller("spiffe://a/bt"), &tenant("t")),
            key("tk").scope(&caller("spiffe://a/b"), &tenant("t")),
            key("k").scope(&caller("spiffe://a/b"), &tenant("tt")),
        ];
        assert_eq!(scopes.iter().collect::<HashSet<_>>().len(), scopes.len());
    }

    #[test]
    fn work_ends_when_it_is_dropped() {
        let all = InFlight::default();
        let working = all.begin([1; 32]);
        assert!(working.is_some() && all.begin([1; 32]).is_none() && all.begin([2; 32]).is_some());
        drop(working);
        assert!(all.begin([1; 32]).is_some());
    }
}
