//! What the tests share: chance, contexts, clients.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kms::config::{BehaviorVersion, Credentials, Region};
use secrecy::SecretString;
use strongroom_domain::{Clock, DataKeyId, Environment, Pan, Random, RandomUnavailable, TenantId, Timestamp};
use strongroom_sealing::kms::aws::{AwsCredentials, AwsKms, AwsKmsConfig, AwsKmsLimits};
use strongroom_sealing::{DataKey, KeyContext, KeyScope, Purpose, fingerprint};

pub(crate) const REGION: &str = "eu-central-1";
const ACCESS_KEY_ID: &str = "strongroom-tests";

pub(crate) struct SystemChance;

impl Random for SystemChance {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), out).map_err(|_| RandomUnavailable)
    }
}

/// A clock that stands still until it is told.
pub(crate) struct FakeClock(std::sync::atomic::AtomicI64);

impl FakeClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self(1_800_000_000_000_000.into()))
    }

    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(by.as_micros() as i64, std::sync::atomic::Ordering::SeqCst);
    }
}

impl Clock for FakeClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(self.0.load(std::sync::atomic::Ordering::SeqCst))
    }
}

pub(crate) fn tenant(name: &str) -> KeyScope {
    KeyScope::Tenant(TenantId::parse(name).unwrap())
}

/// The context the suite wraps under.
pub(crate) fn context() -> KeyContext {
    KeyContext {
        environment: Environment::Test,
        scope: tenant("acme"),
        purpose: Purpose::Card,
        key_id: DataKeyId::parse("0190a0b0-c0d0-7e0f-8f00-112233445566").unwrap(),
    }
}

/// Two keys are the same if they fingerprint alike: keys themselves cannot be compared or looked at.
pub(crate) fn probe(key: &DataKey) -> [u8; 32] {
    let pan = Pan::parse("4242424242424242", Environment::Test).unwrap();
    *fingerprint(key, &TenantId::parse("acme").unwrap(), &pan).as_bytes()
}

/// Quick to give up: tests of an ill KMS wait for these.
pub(crate) fn limits() -> AwsKmsLimits {
    AwsKmsLimits {
        connect_timeout: Duration::from_millis(500),
        attempt_timeout: Duration::from_millis(500),
        operation_timeout: Duration::from_millis(1_500),
        ..AwsKmsLimits::default()
    }
}

pub(crate) fn config(endpoint: &str, key: &str) -> AwsKmsConfig {
    AwsKmsConfig {
        key: key.to_owned(),
        former_keys: Vec::new(),
        region: REGION.to_owned(),
        endpoint: Some(endpoint.to_owned()),
        endpoint_ca_pem: None,
        credentials: AwsCredentials::Static {
            access_key_id: ACCESS_KEY_ID.to_owned(),
            secret_access_key: SecretString::from("not a secret"),
        },
        // A busy machine is no ill KMS.
        limits: AwsKmsLimits {
            connect_timeout: Duration::from_secs(10),
            attempt_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(30),
            ..limits()
        },
    }
}

pub(crate) async fn aws(config: AwsKmsConfig) -> Arc<AwsKms> {
    Arc::new(AwsKms::from_config(config, Environment::Test, Arc::new(SystemChance)).await.unwrap())
}

/// A client that makes, disables and deletes KMS keys: what the service itself may never do.
pub(crate) fn admin(endpoint: &str) -> aws_sdk_kms::Client {
    let credentials =
        Credentials::builder().access_key_id(ACCESS_KEY_ID).secret_access_key("x").provider_name("tests");
    let config = aws_sdk_kms::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::new(REGION))
        .endpoint_url(endpoint)
        .credentials_provider(credentials.build())
        .http_client(aws_smithy_http_client::Builder::new().build_http())
        .build();
    aws_sdk_kms::Client::from_conf(config)
}

/// Makes a KMS key and gives its ARN.
pub(crate) async fn make_key(admin: &aws_sdk_kms::Client) -> String {
    admin.create_key().send().await.unwrap().key_metadata.unwrap().arn.unwrap()
}
