//! Opening what the configuration names: KMS, store, keys of the service.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use secrecy::SecretString;
use strongroom_domain::ids::BootId;
use strongroom_domain::{Clock, DataKeyId, Random};
use strongroom_perimeter::chance::SystemRandom;
use strongroom_perimeter::clock::SystemClock;
use strongroom_sealing::kms::aws::{AwsCredentials, AwsKms, AwsKmsConfig, AwsKmsLimits};
use strongroom_sealing::kms::file::FileKms;
use strongroom_sealing::{InstanceMac, KeyError, KeyRing, KeyScope, Kms, Purpose};

use super::StartError;
use crate::audit::{self, Checked, EntryMac, InstanceId, MacKeys};
use crate::config::{KmsConfig, PostgresConfig, StoreConfig, StoreTls, VaultConfig};
use crate::store::{
    PostgresOptions, PostgresStore, PostgresTls, SchemaError, SqliteStore, Store, StoreError,
};

/// Opens the store the configuration names; its schema must be this program's.
pub async fn open_store(config: &StoreConfig) -> Result<Arc<dyn Store>, StartError> {
    Ok(match config {
        StoreConfig::Sqlite { path } => Arc::new(SqliteStore::open(path).await?),
        StoreConfig::Postgres(postgres) => Arc::new(PostgresStore::open(&options(postgres)?).await?),
    })
}

/// Connections of what follows requests: one reads while another writes.
const APART_CONNECTIONS: u32 = 2;

/// The same store over connections of its own, for what runs on a thread of its own.
pub(super) async fn open_store_apart(config: &StoreConfig) -> Result<Arc<dyn Store>, StartError> {
    match config {
        StoreConfig::Sqlite { .. } => open_store(config).await,
        StoreConfig::Postgres(postgres) => {
            let options = PostgresOptions { readers_max: APART_CONNECTIONS, ..options(postgres)? };
            Ok(Arc::new(PostgresStore::open(&options).await?))
        }
    }
}

/// Creates the schema or brings it to this program's version. Gives the versions that were added.
pub async fn migrate(config: &VaultConfig) -> Result<Vec<u32>, StartError> {
    let added: Result<_, SchemaError> = match &config.store {
        StoreConfig::Sqlite { path } => SqliteStore::migrate(path).await,
        StoreConfig::Postgres(postgres) => PostgresStore::migrate(&options(postgres)?).await,
    };
    Ok(added?)
}

fn options(config: &PostgresConfig) -> Result<PostgresOptions, StartError> {
    let tls = match config.tls {
        StoreTls::VerifyFull => PostgresTls::VerifyFull { ca_file: config.ca_file.clone() },
        StoreTls::Off => PostgresTls::Off,
    };
    Ok(PostgresOptions {
        host: config.host.clone(),
        port: config.port,
        user: config.user.clone(),
        password: config.password_file.as_deref().map(read_password).transpose()?,
        database: config.database.clone(),
        tls,
        readers_max: config.read_connections,
    })
}

fn read_password(file: &Path) -> Result<SecretString, StartError> {
    let unreadable = |error| StartError::Config(format!("store.password_file {}: {error}", file.display()));
    let text = zeroize::Zeroizing::new(std::fs::read_to_string(file).map_err(unreadable)?);
    Ok(SecretString::from(text.trim_end_matches('\n')))
}

pub(super) async fn open_kms(
    config: &VaultConfig,
    random: &Arc<dyn Random>,
) -> Result<Arc<dyn Kms>, StartError> {
    let random = Arc::clone(random);
    Ok(match &config.kms {
        KmsConfig::File { key_file } => {
            Arc::new(FileKms::from_key_file(key_file, config.environment, random)?)
        }
        KmsConfig::Aws { key, former_keys, region, endpoint } => {
            let aws = AwsKmsConfig {
                key: key.clone(),
                former_keys: former_keys.clone(),
                region: region.clone(),
                endpoint: endpoint.clone(),
                endpoint_ca_pem: None,
                credentials: AwsCredentials::Chain,
                limits: AwsKmsLimits::default(),
            };
            Arc::new(AwsKms::from_config(aws, config.environment, random).await?)
        }
    })
}

/// Keys straight from the store: for the audit log's own, which exist before the log does.
pub(super) fn service_keys(
    config: &VaultConfig,
    kms: &Arc<dyn Kms>,
    store: &Arc<dyn Store>,
    clock: &Arc<dyn Clock>,
    random: &Arc<dyn Random>,
) -> Result<KeyRing, StartError> {
    let keys: Arc<dyn strongroom_sealing::KeyStore> = Arc::clone(store) as _;
    let ring = config.keys.ring().map_err(StartError::Config)?;
    Ok(KeyRing::new(Arc::clone(kms), keys, Arc::clone(clock), Arc::clone(random), config.environment, ring))
}

/// Reads the whole log and checks every entry.
pub async fn check_audit(config: &VaultConfig) -> Result<Checked, StartError> {
    let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) =
        (Arc::new(SystemClock), Arc::new(SystemRandom::new()));
    let kms = open_kms(config, &random).await?;
    let store = open_store(&config.store).await?;
    let ring = service_keys(config, &kms, &store, &clock, &random)?;
    let keys = RingMacs { ring, unwrapped: Mutex::default() };
    audit::check(&*store, &keys).await.map_err(|error| StartError::Log(error.into()))
}

/// MACs of past boots from the keys their first entries name.
struct RingMacs {
    ring: KeyRing,
    unwrapped: Mutex<HashMap<(BootId, DataKeyId), EntryMac>>,
}

#[async_trait]
impl MacKeys for RingMacs {
    async fn mac_of(
        &self,
        instance: &InstanceId,
        boot: BootId,
        key: DataKeyId,
    ) -> Result<Option<EntryMac>, StoreError> {
        let known = self.unwrapped.lock().unwrap_or_else(PoisonError::into_inner).get(&(boot, key)).cloned();
        if known.is_some() {
            return Ok(known);
        }
        let held = match self.ring.by_id(&KeyScope::Service, Purpose::AuditSigning, key).await {
            Ok(held) => held,
            Err(KeyError::Unknown | KeyError::Tampered) => return Ok(None),
            Err(KeyError::Unavailable | KeyError::Denied | KeyError::Store) => {
                return Err(StoreError::Away("the key of the log cannot be had"));
            }
        };
        let mac = InstanceMac::derive(&held.key, instance.as_str(), boot);
        let mac = EntryMac::new(move |leaf| mac.mac(leaf));
        self.unwrapped.lock().unwrap_or_else(PoisonError::into_inner).insert((boot, key), mac.clone());
        Ok(Some(mac))
    }
}
