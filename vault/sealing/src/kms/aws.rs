//! The `aws` provider: AWS KMS, or a service that speaks its protocol, through `aws-sdk-kms`.
//!
//! Promises: data keys are made and unwrapped only under KMS keys the configuration names; a store that names another
//! one is not followed. Every call ends within the operation timeout. The SDK's own retries are off: under throttling
//! they took seconds, and the ring has keys to serve meanwhile.
//! Does not promise: that the SDK's buffers are wiped; the allocator zeroes what they free.
//! Trusts: the KMS, the TLS roots of the system, and the credentials it was given.
//! Upholds: C-12.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::BehaviorVersion;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_sdk_kms::Client;
use aws_sdk_kms::config::{Credentials, Region, SharedHttpClient};
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{DataKeySpec, KeyState, KeyUsageType};
use aws_smithy_http_client::tls::{self, TlsContext, TrustStore};
use secrecy::{ExposeSecret, SecretString};
use strongroom_domain::{Environment, Random};
use zeroize::Zeroizing;

use super::{Kms, KmsError, Wrapped};
use crate::data_key::DataKey;
use crate::key::KeyContext;

mod error;

use error::classify;

/// First pause before a second attempt; it doubles, and up to as much again is added by chance.
const BACKOFF: Duration = Duration::from_millis(50);

/// Longest `CiphertextBlob` the protocol knows. Anything else never came from a KMS, and need not go to one.
const WRAPPED_BYTES_MAX: usize = 6_144;

/// Where the KMS is and which of its keys wraps ours.
#[derive(Debug)]
pub struct AwsKmsConfig {
    /// Key id, key ARN, alias name (`alias/…`) or alias ARN of the key that wraps new data keys.
    pub key: String,
    /// Key ARNs that wrapped data keys before `key` did (an alias that moved, a replaced key): still unwrapped with.
    pub former_keys: Vec<String>,
    /// AWS region.
    pub region: String,
    /// Another address than the region's: a VPC endpoint, or a compatible service. `https`, or `http` outside `live`.
    pub endpoint: Option<String>,
    /// Certificate authority of that endpoint in PEM, trusted besides the system's.
    pub endpoint_ca_pem: Option<Vec<u8>>,
    /// Who we are to the KMS.
    pub credentials: AwsCredentials,
    /// Bounds on time and attempts.
    pub limits: AwsKmsLimits,
}

/// Who we are to the KMS.
#[derive(Debug)]
pub enum AwsCredentials {
    /// The SDK's default chain: environment, profile, web identity, container, instance.
    Chain,
    /// A long-lived access key. Prefer the chain.
    Static {
        /// Its public part.
        access_key_id: String,
        /// Its secret.
        secret_access_key: SecretString,
    },
}

/// Bounds on time and attempts of one operation.
#[derive(Clone, Copy, Debug)]
pub struct AwsKmsLimits {
    /// TCP and TLS.
    pub connect_timeout: Duration,
    /// One attempt, connect included.
    pub attempt_timeout: Duration,
    /// The whole operation with its retries and pauses.
    pub operation_timeout: Duration,
    /// Attempts, the first included. Only throttling and unreachability are tried again.
    pub attempts_max: NonZeroU32,
}

impl Default for AwsKmsLimits {
    /// A KMS answers in 10 ms. Three attempts in three seconds ride out a lost packet or a burst; whoever waits longer
    /// is better served by a 503 it can retry.
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(1),
            attempt_timeout: Duration::from_millis(1_500),
            operation_timeout: Duration::from_secs(3),
            attempts_max: NonZeroU32::new(3).expect("not zero"),
        }
    }
}

/// Why the configuration was not taken. Each message says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AwsKmsConfigError {
    /// Data keys would cross the network in the clear.
    #[error("the KMS endpoint is not https: in environment \"live\" set one that is, or none")]
    PlaintextEndpoint,
    /// Neither `https://` nor `http://`.
    #[error("the KMS endpoint is not a URL: write it as https://host or https://host:port")]
    Endpoint,
    /// No key.
    #[error("no KMS key is named: set the id, ARN or alias of the key that wraps data keys")]
    Key,
    /// The CA of the endpoint is no certificate.
    #[error("the certificate authority of the KMS endpoint cannot be read: give it as PEM")]
    EndpointCa,
}

/// Wraps data keys under an AWS KMS key.
pub struct AwsKms {
    client: Client,
    key: String,
    former_keys: Vec<String>,
    limits: AwsKmsLimits,
    random: Arc<dyn Random>,
}

impl AwsKms {
    /// Prepares the one client. Calls nothing yet: [`Kms::check`] does.
    pub async fn from_config(
        config: AwsKmsConfig,
        environment: Environment,
        random: Arc<dyn Random>,
    ) -> Result<Self, AwsKmsConfigError> {
        if config.key.is_empty() {
            return Err(AwsKmsConfigError::Key);
        }
        let http = http_client(config.endpoint_ca_pem)?;
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(config.limits.connect_timeout)
            .operation_attempt_timeout(config.limits.attempt_timeout)
            .operation_timeout(config.limits.operation_timeout)
            .build();
        // The loader needs the client too: credentials are fetched through it, and without one it panics.
        let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .http_client(http)
            .region(Region::new(config.region))
            .retry_config(RetryConfig::disabled())
            .timeout_config(timeouts);
        if let Some(endpoint) = config.endpoint {
            check_endpoint(&endpoint, environment)?;
            loader = loader.endpoint_url(endpoint);
        }
        if let AwsCredentials::Static { access_key_id, secret_access_key } = config.credentials {
            #[expect(clippy::disallowed_methods, reason = "handed to the SDK, which signs with it")]
            let secret = secret_access_key.expose_secret();
            let credentials = Credentials::builder()
                .access_key_id(access_key_id)
                .secret_access_key(secret)
                .provider_name("strongroom configuration");
            loader = loader.credentials_provider(credentials.build());
        }
        let client = Client::new(&loader.load().await);
        let AwsKmsConfig { key, former_keys, limits, .. } = config;
        Ok(Self { client, key, former_keys, limits, random })
    }

    /// The KMS key to unwrap with: one the configuration names, or the configured one. A row that named an attacker's
    /// key would otherwise make us seal under a data key the attacker knows.
    fn trusted_key<'a>(&'a self, named: &str) -> &'a str {
        self.former_keys.iter().find(|former| *former == named).unwrap_or(&self.key)
    }

    /// Attempts within the operation's time: the SDK's retries would neither know the ring nor the deadline.
    async fn attempt<T, F>(&self, call: impl Fn() -> F) -> Result<T, KmsError>
    where
        F: Future<Output = Result<T, KmsError>>,
    {
        let deadline = tokio::time::Instant::now() + self.limits.operation_timeout;
        let mut pause = BACKOFF;
        let mut last = KmsError::Unreachable;
        for attempt in 1..=self.limits.attempts_max.get() {
            last = match tokio::time::timeout_at(deadline, call()).await {
                Ok(Err(error @ (KmsError::Unreachable | KmsError::Throttled))) => error,
                Ok(done) => return done,
                Err(_) => return Err(last),
            };
            let wake = tokio::time::Instant::now() + pause + self.jitter(pause);
            if attempt == self.limits.attempts_max.get() || wake >= deadline {
                break;
            }
            tokio::time::sleep_until(wake).await;
            pause *= 2;
        }
        Err(last)
    }

    fn jitter(&self, pause: Duration) -> Duration {
        let mut byte = [0];
        // Without randomness there is no spread, and nothing else is lost.
        self.random.fill(&mut byte).map_or(Duration::ZERO, |()| pause * u32::from(byte[0]) / 256)
    }

    async fn generate(&self, context: &KeyContext) -> Result<(DataKey, Wrapped), KmsError> {
        let answer = self
            .client
            .generate_data_key()
            .key_id(&self.key)
            .key_spec(DataKeySpec::Aes256)
            .set_encryption_context(Some(encryption_context(context)))
            .send()
            .await
            .map_err(|error| classify(&error))?;
        let key = take_key(answer.plaintext).ok_or(KmsError::Unexpected)?;
        let bytes = answer.ciphertext_blob.ok_or(KmsError::Unexpected)?.into_inner();
        let kms_key = answer.key_id.ok_or(KmsError::Unexpected)?;
        Ok((key, Wrapped { bytes, kms_key }))
    }

    async fn decrypt(&self, context: &KeyContext, wrapped: &[u8], key: &str) -> Result<DataKey, KmsError> {
        let answer = self
            .client
            .decrypt()
            .key_id(key)
            .ciphertext_blob(Blob::new(wrapped))
            .set_encryption_context(Some(encryption_context(context)))
            .send()
            .await
            .map_err(|error| classify(&error))?;
        // Right tag, wrong length: not a data key.
        take_key(answer.plaintext).ok_or(KmsError::Mismatch)
    }

    async fn describe(&self) -> Result<(), KmsError> {
        let answer = self.client.describe_key().key_id(&self.key).send().await;
        let key = answer.map_err(|error| classify(&error))?.key_metadata.ok_or(KmsError::Unexpected)?;
        let enabled = key.key_state.is_none_or(|state| state == KeyState::Enabled);
        let encrypts = key.key_usage.is_none_or(|usage| usage == KeyUsageType::EncryptDecrypt);
        if enabled && encrypts { Ok(()) } else { Err(KmsError::Denied) }
    }
}

impl std::fmt::Debug for AwsKms {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AwsKms({})", self.key)
    }
}

#[async_trait]
impl Kms for AwsKms {
    fn provider(&self) -> &'static str {
        "aws"
    }

    async fn generate_data_key(&self, context: &KeyContext) -> Result<(DataKey, Wrapped), KmsError> {
        self.attempt(|| self.generate(context)).await
    }

    async fn unwrap(&self, context: &KeyContext, wrapped: &[u8], kms_key: &str) -> Result<DataKey, KmsError> {
        if wrapped.is_empty() || wrapped.len() > WRAPPED_BYTES_MAX {
            return Err(KmsError::Mismatch);
        }
        let key = self.trusted_key(kms_key);
        self.attempt(|| self.decrypt(context, wrapped, key)).await
    }

    /// `DescribeKey`: the identity needs `kms:DescribeKey` besides `GenerateDataKey` and `Decrypt`.
    async fn check(&self) -> Result<(), KmsError> {
        self.attempt(|| self.describe()).await
    }
}

fn http_client(ca_pem: Option<Vec<u8>>) -> Result<SharedHttpClient, AwsKmsConfigError> {
    let mut roots = TrustStore::default();
    if let Some(pem) = ca_pem {
        // The SDK reads it at the first call and panics if it cannot: look first.
        if !pem.windows(CERTIFICATE.len()).any(|window| window == CERTIFICATE) {
            return Err(AwsKmsConfigError::EndpointCa);
        }
        roots.add_pem_certificate(pem);
    }
    let context =
        TlsContext::builder().with_trust_store(roots).build().map_err(|_| AwsKmsConfigError::EndpointCa)?;
    let provider = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::AwsLc);
    Ok(aws_smithy_http_client::Builder::new().tls_provider(provider).tls_context(context).build_https())
}

const CERTIFICATE: &[u8] = b"-----BEGIN CERTIFICATE-----";

fn check_endpoint(endpoint: &str, environment: Environment) -> Result<(), AwsKmsConfigError> {
    match endpoint.split_once("://") {
        Some(("https", host)) if !host.is_empty() => Ok(()),
        Some(("http", host)) if !host.is_empty() => match environment {
            Environment::Test => Ok(()),
            Environment::Live => Err(AwsKmsConfigError::PlaintextEndpoint),
        },
        _ => Err(AwsKmsConfigError::Endpoint),
    }
}

fn encryption_context(context: &KeyContext) -> std::collections::HashMap<String, String> {
    context.pairs().into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

fn take_key(plaintext: Option<Blob>) -> Option<DataKey> {
    let bytes = Zeroizing::new(plaintext?.into_inner());
    let mut key = Zeroizing::new(<[u8; DataKey::BYTES]>::try_from(bytes.as_slice()).ok()?);
    Some(DataKey::take(&mut key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_live_data_keys_never_cross_the_network_in_the_clear() {
        let check = |endpoint, environment| check_endpoint(endpoint, environment);
        for environment in [Environment::Live, Environment::Test] {
            assert_eq!(check("https://kms.internal", environment), Ok(()));
            for wrong in ["", "kms.internal", "https://", "http://", "ftp://kms.internal"] {
                assert_eq!(check(wrong, environment), Err(AwsKmsConfigError::Endpoint), "{wrong}");
            }
        }
        assert_eq!(check("http://127.0.0.1:4599", Environment::Test), Ok(()));
        let live = check("http://127.0.0.1:4599", Environment::Live);
        assert_eq!(live, Err(AwsKmsConfigError::PlaintextEndpoint));
    }

    #[test]
    fn an_answer_of_another_length_is_no_key() {
        for length in [0, 16, 31, 33, 64] {
            assert!(take_key(Some(Blob::new(vec![1; length]))).is_none(), "{length}");
        }
        assert!(take_key(None).is_none());
        assert!(take_key(Some(Blob::new(vec![1; 32]))).is_some());
    }
}
