//! The key ring over the `aws` provider: how often the KMS is really called.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use strongroom_domain::{CardFacts, DataKeyId, Environment, FactsKept, Pan, TenantId, Token};
use strongroom_sealing::{
    CardSecrets, KeyError, KeyRing, KeyRingConfig, KeyScope, KeyState, KeyStore, KeyStoreError, Purpose,
    SealContext, WrappedKey, open, record_key_id, seal,
};

use crate::double::{Double, Fault};
use crate::world::{FakeClock, SystemChance, admin, aws, config, limits, make_key, tenant};

const OPENS: usize = 500;

/// Rows in memory.
#[derive(Default)]
struct Rows(Mutex<Vec<WrappedKey>>);

#[async_trait]
impl KeyStore for Rows {
    async fn active_key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
    ) -> Result<Option<WrappedKey>, KeyStoreError> {
        let rows = self.0.lock().unwrap();
        let mine = |row: &&WrappedKey| {
            row.scope == *scope && row.purpose == purpose && row.state == KeyState::Active
        };
        Ok(rows.iter().rfind(mine).cloned())
    }

    async fn key(
        &self,
        scope: &KeyScope,
        purpose: Purpose,
        id: DataKeyId,
    ) -> Result<Option<WrappedKey>, KeyStoreError> {
        let rows = self.0.lock().unwrap();
        Ok(rows.iter().find(|row| row.scope == *scope && row.purpose == purpose && row.id == id).cloned())
    }

    async fn insert_key_if_first(&self, key: WrappedKey) -> Result<WrappedKey, KeyStoreError> {
        if let Some(first) = self.active_key(&key.scope, key.purpose).await? {
            return Ok(first);
        }
        self.0.lock().unwrap().push(key.clone());
        Ok(key)
    }
}

struct House {
    double: Double,
    key: String,
    rows: Arc<Rows>,
    clock: Arc<FakeClock>,
}

impl House {
    async fn new() -> Self {
        let double = Double::start().await;
        let key = make_key(&admin(&double.endpoint)).await;
        Self { double, key, rows: Arc::default(), clock: FakeClock::new() }
    }

    async fn ring(&self) -> KeyRing {
        let mut config = config(&self.double.endpoint, &self.key);
        config.limits = limits();
        let (kms, rows, clock) = (aws(config).await, self.rows.clone(), self.clock.clone());
        KeyRing::new(kms, rows, clock, Arc::new(SystemChance), Environment::Test, KeyRingConfig::default())
    }
}

#[tokio::test]
async fn many_records_are_one_generate_and_their_opens_one_decrypt() {
    let house = House::new().await;
    let name = TenantId::parse("acme").unwrap();
    let scope = tenant("acme");
    let mut sealed = Vec::new();
    let ring = house.ring().await;
    for _ in 0..OPENS {
        let held = ring.active(&scope, Purpose::Card).await.unwrap();
        let pan = Pan::parse("4242424242424242", Environment::Test).unwrap();
        let facts = CardFacts::of(&pan, None, FactsKept::BinAndLast4);
        let token = Token::generate(Environment::Test, &SystemChance).unwrap().hash();
        let context = SealContext {
            environment: Environment::Test,
            tenant: &name,
            token,
            data_key: held.id,
            facts: &facts,
            row_version: 1,
            expires_at: None,
        };
        let card = CardSecrets { pan, expiry: None, holder: None };
        sealed.push((token, facts, seal(&held.key, &context, &card, &SystemChance).unwrap()));
    }
    assert_eq!((house.double.calls("GenerateDataKey"), house.double.calls("Decrypt")), (1, 0));

    // Another replica opens them all, at once.
    let ring = house.ring().await;
    let opens: Vec<_> = sealed
        .into_iter()
        .map(|(token, facts, record)| {
            let (ring, name, scope) = (ring.clone(), name.clone(), scope.clone());
            tokio::spawn(async move {
                let data_key = record_key_id(&record).unwrap();
                let held = ring.by_id(&scope, Purpose::Card, data_key).await.unwrap();
                let context = SealContext {
                    environment: Environment::Test,
                    tenant: &name,
                    token,
                    data_key,
                    facts: &facts,
                    row_version: 1,
                    expires_at: None,
                };
                open(&held.key, &context, &record).unwrap()
            })
        })
        .collect();
    for open in opens {
        open.await.unwrap();
    }
    assert_eq!((house.double.calls("GenerateDataKey"), house.double.calls("Decrypt")), (1, 1));
}

#[tokio::test]
async fn an_outage_is_not_felt_while_keys_are_fresh() {
    let house = House::new().await;
    let ring = house.ring().await;
    let scope = tenant("acme");
    let id = ring.active(&scope, Purpose::Card).await.unwrap().id;
    house.double.fail_always(Some(Fault::Html(503)));
    house.clock.advance(Duration::from_secs(299));
    assert_eq!(ring.active(&scope, Purpose::Card).await.unwrap().id, id);
    assert_eq!(ring.by_id(&scope, Purpose::Card, id).await.unwrap().id, id);
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(ring.active(&scope, Purpose::Card).await.unwrap_err(), KeyError::Unavailable);
    assert_eq!(ring.by_id(&scope, Purpose::Card, id).await.unwrap_err(), KeyError::Unavailable);
    house.double.fail_always(None);
    house.clock.advance(Duration::from_secs(1));
    assert_eq!(ring.active(&scope, Purpose::Card).await.unwrap().id, id);
}

#[tokio::test]
async fn a_disabled_kms_key_is_felt_at_the_next_refresh() {
    let house = House::new().await;
    let ring = house.ring().await;
    let scope = tenant("acme");
    let id = ring.active(&scope, Purpose::Card).await.unwrap().id;
    admin(&house.double.endpoint).disable_key().key_id(&house.key).send().await.unwrap();
    house.clock.advance(Duration::from_secs(250));
    ring.by_id(&scope, Purpose::Card, id).await.unwrap();
    for _ in 0..100 {
        if ring.ages().is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(ring.ages().is_empty(), "dropped, not only refused");
    assert_eq!(ring.by_id(&scope, Purpose::Card, id).await.unwrap_err(), KeyError::Denied);
    assert_eq!(ring.check().await.unwrap_err(), strongroom_sealing::KmsError::Denied);
}
