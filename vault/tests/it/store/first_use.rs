//! Keys made at first use: how often the KMS is asked for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use strongroom_domain::Environment;
use strongroom_sealing::kms::file::FileKms;
use strongroom_sealing::{
    DataKey, KeyContext, KeyRing, KeyRingConfig, KeyScope, Kms, KmsError, Purpose, Wrapped,
};
use strongroom_vault::store::{AuditedKeys, Committer};

use super::ground::{Ground, tenant_id};

super::both! {
    a_tenants_first_use_asks_the_kms_once_for_each_purpose;
}

/// Tenants that come at once, and callers of each.
const TENANTS: usize = 60;
const CALLERS: usize = 4;
const PURPOSES: [Purpose; 3] = [Purpose::Card, Purpose::Fingerprint, Purpose::Idempotency];

/// Counts what it is asked.
struct CountingKms {
    inner: FileKms,
    generated: AtomicUsize,
    unwrapped: AtomicUsize,
}

impl CountingKms {
    fn calls(&self) -> (usize, usize) {
        (self.generated.load(Ordering::SeqCst), self.unwrapped.load(Ordering::SeqCst))
    }
}

#[async_trait]
impl Kms for CountingKms {
    fn provider(&self) -> &'static str {
        self.inner.provider()
    }

    async fn generate_data_key(&self, context: &KeyContext) -> Result<(DataKey, Wrapped), KmsError> {
        self.generated.fetch_add(1, Ordering::SeqCst);
        self.inner.generate_data_key(context).await
    }

    async fn unwrap(&self, context: &KeyContext, wrapped: &[u8], kms_key: &str) -> Result<DataKey, KmsError> {
        self.unwrapped.fetch_add(1, Ordering::SeqCst);
        self.inner.unwrap(context, wrapped, kms_key).await
    }

    async fn check(&self) -> Result<(), KmsError> {
        self.inner.check().await
    }
}

fn ring(ground: &Ground, committer: Committer, kms: &Arc<CountingKms>) -> Arc<KeyRing> {
    let keys = AuditedKeys::new(ground.store.clone(), committer, ground.clock.clone());
    Arc::new(KeyRing::new(
        kms.clone(),
        Arc::new(keys),
        ground.clock.clone(),
        ground.chance.clone(),
        Environment::Test,
        KeyRingConfig::default(),
    ))
}

/// Everybody asks for every key at once; gives the ids in order of tenants and purposes.
async fn everybody(ring: &Arc<KeyRing>) -> Vec<strongroom_domain::DataKeyId> {
    let asked = (0..TENANTS * PURPOSES.len() * CALLERS).map(|n| {
        let (ring, purpose) = (Arc::clone(ring), PURPOSES[n / CALLERS % PURPOSES.len()]);
        let scope = KeyScope::Tenant(tenant_id(&format!("m-{}", n / CALLERS / PURPOSES.len())));
        tokio::spawn(async move { ring.active(&scope, purpose).await.unwrap().id })
    });
    let ids: Vec<_> = futures_util::future::join_all(asked).await.into_iter().map(Result::unwrap).collect();
    assert!(ids.chunks(CALLERS).all(|ids| ids.iter().all(|id| *id == ids[0])), "one key for all who ask");
    ids.into_iter().step_by(CALLERS).collect()
}

async fn a_tenants_first_use_asks_the_kms_once_for_each_purpose(ground: Ground) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("kms.key");
    write_private(&file);
    let inner = FileKms::from_key_file(&file, Environment::Test, ground.chance.clone()).unwrap();
    let kms = Arc::new(CountingKms { inner, generated: AtomicUsize::new(0), unwrapped: AtomicUsize::new(0) });
    let (first, _task, _) = ground.committer().await;
    let (second, _other, _) = ground.committer().await;
    let made = everybody(&ring(&ground, first, &kms)).await;
    let keys = TENANTS * PURPOSES.len();
    assert_eq!(kms.calls(), (keys, 0), "one call for each tenant and purpose");
    assert_eq!(ground.count("data_keys").await as usize, keys);
    assert_eq!(ground.told_of("dek.create").await.len(), keys);
    // Another replica finds them: it makes none.
    assert_eq!(everybody(&ring(&ground, second, &kms)).await, made);
    assert_eq!(kms.calls(), (keys, keys));
}

fn write_private(path: &std::path::Path) {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;

    use strongroom_perimeter::chance::SystemRandom;

    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).unwrap();
    let mut key = [0; 32];
    strongroom_domain::Random::fill(&SystemRandom::new(), &mut key).unwrap();
    file.write_all(&key).unwrap();
}
