//! Keyed digests: fingerprints, idempotency digests and the MAC of audit entries. All are HMAC-SHA-256 (RFC 2104).
//!
//! Promises: no unkeyed hash of a card number; BIN and last four leave 1,000 candidates, so one would be no secret.
//! Upholds: C-14 (keyed digests only).

use std::fmt;

use aws_lc_rs::hmac;
use secrecy::ExposeSecret;
use strongroom_domain::{Alias, BootId, Pan, TenantId, Timestamp, TokenHash};

use crate::data_key::DataKey;
use crate::encoding;

/// Says whether two cards of one tenant are the same number, to whoever holds the tenant's fingerprint key.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// From one read back from the store.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// As the store keeps it.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// Not for logs: it links a tenant's cards.
impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Fingerprint([REDACTED])")
    }
}

/// `HMAC-SHA-256(key, "strongroom/fingerprint/v1" 00 ‖ LP(tenant) ‖ LP(pan))`. The key is the tenant's, of purpose
/// `fingerprint`.
#[must_use]
pub fn fingerprint(key: &DataKey, tenant: &TenantId, pan: &Pan) -> Fingerprint {
    #[expect(clippy::disallowed_methods, reason = "keyed digest of the number; only the digest leaves")]
    let digits = pan.expose_secret().as_bytes();
    let message = Message::begin(key, b"strongroom/fingerprint/v1\0");
    Fingerprint(message.field(tenant.as_str().as_bytes()).field(digits).finish())
}

/// Binds an alias to the card it leads to:
/// `HMAC-SHA-256(key, "strongroom/alias-mac/v1" 00 ‖ LP(tenant) ‖ LP(kind) ‖ LP(alias) ‖ LP(token hash) ‖ LP(u64be created_at, µs))`.
///
/// Whoever can write to the database and cannot ask the KMS can neither make an alias nor let one lead to another card.
/// The key is the tenant's, of purpose `fingerprint`: the one key of a tenant that does not end by time.
#[must_use]
pub fn alias_mac(
    key: &DataKey,
    tenant: &TenantId,
    alias: &Alias,
    token: TokenHash,
    created_at: Timestamp,
) -> [u8; 32] {
    Message::begin(key, b"strongroom/alias-mac/v1\0")
        .field(tenant.as_str().as_bytes())
        .field(alias.kind().as_str().as_bytes())
        .field(alias.as_str().as_bytes())
        .field(token.as_bytes())
        .field(&created_at.unix_micros().to_be_bytes())
        .finish()
}

/// Whether `mac` is the alias's, in constant time.
#[must_use]
pub fn alias_mac_holds(
    key: &DataKey,
    tenant: &TenantId,
    alias: &Alias,
    token: TokenHash,
    created_at: Timestamp,
    mac: &[u8; 32],
) -> bool {
    let found = alias_mac(key, tenant, alias, token, created_at);
    subtle::ConstantTimeEq::ct_eq(found.as_slice(), mac.as_slice()).into()
}

/// `HMAC-SHA-256(key, "strongroom/export-mac/v1" 00 ‖ LP(tenant) ‖ LP(step) ‖ LP(field) …)`: what two people said of an export.
///
/// Whoever can write to the database and cannot ask the KMS can neither ask for an export nor approve one. `step` is
/// `request` or `approval`; each has its own fixed number of fields. The key is the tenant's, of purpose `fingerprint`.
#[must_use]
pub fn export_mac(key: &DataKey, tenant: &TenantId, step: &str, fields: &[&[u8]]) -> [u8; 32] {
    let mut message = Message::begin(key, b"strongroom/export-mac/v1\0")
        .field(tenant.as_str().as_bytes())
        .field(step.as_bytes());
    for field in fields {
        message = message.field(field);
    }
    message.finish()
}

/// Whether `mac` is that step's, in constant time.
#[must_use]
pub fn export_mac_holds(
    key: &DataKey,
    tenant: &TenantId,
    step: &str,
    fields: &[&[u8]],
    mac: &[u8; 32],
) -> bool {
    let found = export_mac(key, tenant, step, fields);
    subtle::ConstantTimeEq::ct_eq(found.as_slice(), mac.as_slice()).into()
}

/// `HMAC-SHA-256(key, "strongroom/idempotency/v1" 00 ‖ LP(caller) ‖ LP(tenant) ‖ LP(request) ‖ u32be(len) ‖ body)`.
///
/// `request` is method and path (`POST /v1/…`); `canonical_body` is the body re-serialised by RFC 8785 without the
/// CVC. The key is of purpose `idempotency`.
///
/// # Panics
/// If a field is longer than 64 KiB or the body than 4 GiB; the listener's limits are far below both.
#[must_use]
pub fn idempotency_digest(
    key: &DataKey,
    caller: &str,
    tenant: &str,
    request: &str,
    canonical_body: &[u8],
) -> [u8; 32] {
    let length = u32::try_from(canonical_body.len()).expect("bodies are bounded far below 4 GiB");
    Message::begin(key, b"strongroom/idempotency/v1\0")
        .field(caller.as_bytes())
        .field(tenant.as_bytes())
        .field(request.as_bytes())
        .raw(&length.to_be_bytes())
        .raw(canonical_body)
        .finish()
}

/// A merchant's payment reference, keyed:
/// `HMAC-SHA-256(key, "strongroom/payment-reference/v1" 00 ‖ LP(tenant) ‖ LP(route) ‖ LP(account) ‖ LP(reference))`.
///
/// The key is the tenant's, of purpose `fingerprint`: the one key of a tenant that does not end by time, so that a reference
/// stays the same one.
#[must_use]
pub fn reference_digest(
    key: &DataKey,
    tenant: &TenantId,
    route: &str,
    account: &str,
    reference: &str,
) -> [u8; 32] {
    Message::begin(key, b"strongroom/payment-reference/v1\0")
        .field(tenant.as_str().as_bytes())
        .field(route.as_bytes())
        .field(account.as_bytes())
        .field(reference.as_bytes())
        .finish()
}

/// The key one start of one instance authenticates its audit entries with.
///
/// `K = HMAC-SHA-256(key, "strongroom/audit-mac/v1" 00 ‖ LP(instance) ‖ LP(boot id, 16 bytes))`, where `key` is the
/// service's own, of purpose `audit-signing`; the MAC of an entry is `HMAC-SHA-256(K, the entry's bytes without its
/// MAC)`. An entry copied to another instance or boot does not verify.
pub struct InstanceMac(hmac::Key);

impl InstanceMac {
    /// Derives the key of one boot of one instance.
    ///
    /// # Panics
    /// If `instance` is longer than 64 KiB.
    #[must_use]
    pub fn derive(key: &DataKey, instance: &str, boot: BootId) -> Self {
        let derived = Message::begin(key, b"strongroom/audit-mac/v1\0")
            .field(instance.as_bytes())
            .field(boot.as_uuid().as_bytes())
            .finish_in(zeroize::Zeroizing::new([0; 32]));
        Self(hmac::Key::new(hmac::HMAC_SHA256, derived.as_slice()))
    }

    /// The MAC of one entry.
    #[must_use]
    pub fn mac(&self, leaf_without_mac: &[u8]) -> [u8; 32] {
        first_32(hmac::sign(&self.0, leaf_without_mac).as_ref())
    }

    /// Whether `mac` is this entry's, in constant time.
    #[must_use]
    pub fn verify(&self, leaf_without_mac: &[u8], mac: &[u8]) -> bool {
        hmac::verify(&self.0, leaf_without_mac, mac).is_ok()
    }
}

impl fmt::Debug for InstanceMac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InstanceMac([REDACTED])")
    }
}

/// A labelled, length-prefixed message under HMAC-SHA-256. Streams: no copy of a card number is made.
pub(crate) struct Message(hmac::Context);

impl Message {
    pub(crate) fn begin(key: &DataKey, label: &[u8]) -> Self {
        key.with(|bytes| Self::begin_with(bytes, label))
    }

    pub(crate) fn begin_with(key: &[u8; DataKey::BYTES], label: &[u8]) -> Self {
        Self(hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, key))).raw(label)
    }

    pub(crate) fn field(self, field: &[u8]) -> Self {
        self.raw(&encoding::length_prefix(field)).raw(field)
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    pub(crate) fn finish(self) -> [u8; 32] {
        first_32(self.0.sign().as_ref())
    }

    pub(crate) fn finish_in(self, mut out: zeroize::Zeroizing<[u8; 32]>) -> zeroize::Zeroizing<[u8; 32]> {
        out.copy_from_slice(self.0.sign().as_ref());
        out
    }
}

fn first_32(tag: &[u8]) -> [u8; 32] {
    tag.try_into().expect("HMAC-SHA-256 gives 32 bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::Environment;

    static_assertions::assert_not_impl_any!(InstanceMac: Clone, fmt::Display, PartialEq, serde::Serialize);

    fn key(hex: &serde_json::Value) -> DataKey {
        let mut bytes = [0; 32];
        hex::decode_to_slice(hex.as_str().unwrap(), &mut bytes).unwrap();
        DataKey::take(&mut bytes)
    }

    fn cases(text: &str) -> Vec<serde_json::Value> {
        let vectors: serde_json::Value = serde_json::from_str(text).unwrap();
        vectors["cases"].as_array().unwrap().clone()
    }

    #[test]
    fn fingerprints_match_the_vectors() {
        for case in cases(include_str!("../tests/vectors/fingerprint.json")) {
            let tenant = TenantId::parse(case["tenant"].as_str().unwrap()).unwrap();
            let pan = Pan::parse(case["pan"].as_str().unwrap(), Environment::Test).unwrap();
            let found = fingerprint(&key(&case["key"]), &tenant, &pan);
            assert_eq!(hex::encode(found.as_bytes()), case["fingerprint"].as_str().unwrap());
            assert_eq!(Fingerprint::from_bytes(*found.as_bytes()), found);
            assert_eq!(format!("{found:?}"), "Fingerprint([REDACTED])");
        }
    }

    #[test]
    fn an_alias_is_bound_to_tenant_text_card_and_time() {
        let tenant = |name| TenantId::parse(name).unwrap();
        let alias = |text| Alias::parse(text).unwrap();
        let (token, other) = (TokenHash::from_bytes([1; 32]), TokenHash::from_bytes([2; 32]));
        let at = Timestamp::from_unix_micros(1_795_000_000_000_000);
        let key = DataKey::take(&mut [5; 32]);
        let mac = alias_mac(&key, &tenant("acme"), &alias("foreign-1"), token, at);
        // Python: hmac(bytes([5]) * 32, label + LP(b"acme") + LP(b"foreign") + LP(b"foreign-1") + LP(bytes([1]) * 32) + LP(at), sha256)
        assert_eq!(hex::encode(mac), "f520652db5b78b95432983f8cdfe1f854e29fc86b2276d2535f52b035dfcc02d");
        let holds = |tenant: &TenantId, alias: &Alias, token, at| {
            alias_mac_holds(&key, tenant, alias, token, at, &mac)
        };
        assert!(holds(&tenant("acme"), &alias("foreign-1"), token, at));
        assert!(!holds(&tenant("acmf"), &alias("foreign-1"), token, at));
        assert!(!holds(&tenant("acme"), &alias("foreign-2"), token, at));
        assert!(!holds(&tenant("acme"), &alias("foreign-1"), other, at));
        assert!(!holds(&tenant("acme"), &alias("foreign-1"), token, Timestamp::from_unix_micros(1)));
        let another = DataKey::take(&mut [6; 32]);
        assert!(!alias_mac_holds(&another, &tenant("acme"), &alias("foreign-1"), token, at, &mac));
    }

    #[test]
    fn what_was_said_of_an_export_is_bound_to_tenant_step_and_every_field() {
        let (key, another) = (DataKey::take(&mut [5; 32]), DataKey::take(&mut [6; 32]));
        let tenant = |name: &str| TenantId::parse(name).unwrap();
        let fields: [&[u8]; 2] = [&[1; 16], b"one"];
        let mac = export_mac(&key, &tenant("acme"), "request", &fields);
        // Python: hmac(bytes([5]) * 32, label + LP(b"acme") + LP(b"request") + LP(bytes([1]) * 16) + LP(b"one"), sha256)
        assert_eq!(hex::encode(mac), "03912c50e5b70e1982b4e1cddd7ed9c362872aa145417daf75535bd5b627a4cf");
        assert!(export_mac_holds(&key, &tenant("acme"), "request", &fields, &mac));
        let shifted: [&[u8]; 2] = [&[1; 15], b"\x01one"];
        assert!(!export_mac_holds(&key, &tenant("acmf"), "request", &fields, &mac));
        assert!(!export_mac_holds(&key, &tenant("acme"), "approval", &fields, &mac));
        assert!(!export_mac_holds(&key, &tenant("acme"), "request", &shifted, &mac));
        assert!(!export_mac_holds(&key, &tenant("acme"), "request", &fields[..1], &mac));
        assert!(!export_mac_holds(&another, &tenant("acme"), "request", &fields, &mac));
    }

    #[test]
    fn a_reference_is_keyed_for_its_tenant_route_and_account() {
        let key = DataKey::take(&mut [5; 32]);
        let tenant = |name| TenantId::parse(name).unwrap();
        let found = reference_digest(&key, &tenant("acme"), "psp", "default", "order-1");
        // Python: hmac(bytes([5]) * 32, label + LP(b"acme") + LP(b"psp") + LP(b"default") + LP(b"order-1"), sha256)
        assert_eq!(hex::encode(found), "fcd79b66e4d52cf77ff5baecdf7a652e78203a2e9c224385b7d6d5f8e8458bde");
        let another = DataKey::take(&mut [6; 32]);
        for other in [
            reference_digest(&key, &tenant("acmf"), "psp", "default", "order-1"),
            reference_digest(&key, &tenant("acme"), "psq", "default", "order-1"),
            reference_digest(&key, &tenant("acme"), "psp", "m-501", "order-1"),
            reference_digest(&key, &tenant("acme"), "psp", "default", "order-2"),
            reference_digest(&key, &tenant("acme"), "psp", "defaultorder", "-1"),
            reference_digest(&another, &tenant("acme"), "psp", "default", "order-1"),
        ] {
            assert_ne!(other, found);
        }
    }

    #[test]
    fn idempotency_digests_match_the_vectors() {
        for case in cases(include_str!("../tests/vectors/idempotency.json")) {
            let text = |name: &str| case[name].as_str().unwrap();
            let body = text("body_without_cvc").as_bytes();
            let key = key(&case["key"]);
            let found = idempotency_digest(&key, text("caller"), text("tenant"), text("request"), body);
            assert_eq!(hex::encode(found), text("digest"));
            // The border between two fields is part of the message.
            let shifted = idempotency_digest(
                &key,
                &format!("{}a", text("caller")),
                text("tenant").strip_prefix('a').unwrap(),
                text("request"),
                body,
            );
            assert_ne!(shifted, found);
        }
    }

    #[test]
    fn an_entry_of_another_instance_boot_or_key_does_not_verify() {
        let boot = |number: u128| BootId::from_uuid(uuid::Uuid::from_u128(number));
        let derive = |byte: u8, instance, number| {
            InstanceMac::derive(&DataKey::take(&mut [byte; 32]), instance, boot(number))
        };
        let mac = derive(1, "vault-0", 7).mac(b"{}");
        assert!(derive(1, "vault-0", 7).verify(b"{}", &mac));
        assert!(!derive(1, "vault-0", 7).verify(b"{ }", &mac));
        assert!(!derive(1, "vault-0", 7).verify(b"{}", &mac[..31]));
        for other in [derive(2, "vault-0", 7), derive(1, "vault-1", 7), derive(1, "vault-0", 8)] {
            assert!(!other.verify(b"{}", &mac));
        }
        assert_eq!(format!("{:?}", derive(1, "vault-0", 7)), "InstanceMac([REDACTED])");
    }

    #[test]
    fn the_instance_mac_is_the_documented_construction() {
        // Python: k = hmac(bytes([1]) * 32, b"strongroom/audit-mac/v1\0" + LP(b"vault-0") + LP(uuid.bytes)), hmac(k, b"{}")
        let boot = BootId::parse("0190a0b0-c0d0-7e0f-8f00-112233445566").unwrap();
        let mac = InstanceMac::derive(&DataKey::take(&mut [1; 32]), "vault-0", boot).mac(b"{}");
        assert_eq!(hex::encode(mac), "beb60f26b56d7e40ffe198292804913cc1af6b34115aa0358e33295e5e6aeb3a");
    }
}
