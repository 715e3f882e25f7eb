//! Every data key of the service in the clear, as a thief of database and key file would have it.

use std::path::Path;

use strongroom_sandbox::house::House;
use strongroom_vault::config::VaultConfig;

/// Every data key of the service, unwrapped as the `file` provider wraps them (design §4).
pub(super) async fn data_keys(house: &House) -> Vec<(String, Vec<u8>)> {
    let kek = std::fs::read(house.folder().kms_key()).unwrap();
    let kek =
        if kek.len() == 32 { kek } else { hex::decode(String::from_utf8(kek).unwrap().trim()).unwrap() };
    let mut keys = Vec::new();
    for (id, scope, purpose, wrapped) in wrapped_keys(house).await {
        let context = format!(
            r#"{{"app":"strongroom","environment":"test","key_id":"{id}","purpose":"{purpose}","tenant":"{scope}"}}"#
        );
        keys.push((format!("{scope} {purpose}"), unwrap(&kek, &wrapped, context.as_bytes())));
    }
    assert!(keys.len() >= 3, "a key for each purpose in use");
    keys
}

fn unwrap(kek: &[u8], wrapped: &[u8], context: &[u8]) -> Vec<u8> {
    use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
    assert_eq!(wrapped[0], 1);
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, kek).unwrap());
    let nonce = Nonce::try_assume_unique_for_key(&wrapped[1..13]).unwrap();
    let mut sealed = wrapped[13..].to_vec();
    key.open_in_place(nonce, Aad::from(context), &mut sealed).unwrap().to_vec()
}

/// Id, scope, purpose, wrapped bytes: read past the service, as a thief of the database would.
async fn wrapped_keys(house: &House) -> Vec<(String, String, String, Vec<u8>)> {
    let text = std::fs::read_to_string(house.folder().vault_config()).unwrap();
    let config = VaultConfig::parse(Path::new("vault.toml"), &text).unwrap();
    let store = strongroom_vault::app::open_store(&config.store).await.unwrap();
    let mut found = Vec::new();
    for (scope, name) in [
        (strongroom_sealing::KeyScope::Service, "-"),
        (strongroom_sealing::KeyScope::Tenant(strongroom_domain::TenantId::parse("acme").unwrap()), "acme"),
    ] {
        use strongroom_sealing::Purpose;
        for purpose in [Purpose::Card, Purpose::Idempotency, Purpose::AuditSigning] {
            if let Some(key) = store.active_key(&scope, purpose).await.unwrap() {
                found.push((key.id.to_string(), name.to_owned(), purpose.as_str().to_owned(), key.wrapped));
            }
        }
    }
    found
}
