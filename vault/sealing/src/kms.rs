//! The KMS: makes data keys and unwraps them. Two providers: [`aws`] and [`file`](mod@file).
//!
//! Promises: one trait, one conformance suite (`tests/it/conformance.rs`), the same errors from every provider.
//! Trusts: the KMS to check the encryption context and to know who may unwrap.

use std::fmt;
use std::time::Instant;

use async_trait::async_trait;

use crate::data_key::DataKey;
use crate::key::KeyContext;

pub mod aws;
pub mod file;

/// Why the KMS gave no key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KmsError {
    /// No answer, or an answer that says the service is ill. Keys already held stay good while they are fresh.
    #[error("the KMS cannot be reached")]
    Unreachable,
    /// Too many calls.
    #[error("the KMS throttles")]
    Throttled,
    /// The KMS says no: access denied, key disabled, pending deletion or unknown. Held keys are dropped at once.
    #[error("the KMS denies the use of its key")]
    Denied,
    /// The KMS does not know our credentials, or they are past their time. This says something of us, not of the key:
    /// held keys stay good while they are fresh.
    #[error("the KMS refuses our credentials")]
    Credentials,
    /// The wrapped key is not one of this context under this KMS key: altered, moved or foreign.
    #[error("the wrapped key does not belong to its context")]
    Mismatch,
    /// An answer the provider does not understand.
    #[error("the KMS gave an unexpected answer")]
    Unexpected,
    /// No randomness (provider `file`).
    #[error("no randomness available")]
    NoRandomness,
}

impl KmsError {
    /// As metrics name it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Throttled => "throttled",
            Self::Denied => "denied",
            Self::Credentials => "credentials",
            Self::Mismatch => "mismatch",
            Self::Unexpected => "unexpected",
            Self::NoRandomness => "no-randomness",
        }
    }
}

/// A data key as the KMS wrapped it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Wrapped {
    /// The blob, for the store.
    pub bytes: Vec<u8>,
    /// Name of the KMS key that wraps it.
    pub kms_key: String,
}

/// A KMS that wraps data keys under one of its own keys.
#[async_trait]
pub trait Kms: Send + Sync {
    /// `aws` or `file`, as the key inventory and metrics name it.
    fn provider(&self) -> &'static str;

    /// Makes a data key and wraps it under this context.
    async fn generate_data_key(&self, context: &KeyContext) -> Result<(DataKey, Wrapped), KmsError>;

    /// Unwraps a data key. `kms_key` is what [`Wrapped::kms_key`] said; a provider only ever uses KMS keys its own
    /// configuration names, whatever the store says here.
    async fn unwrap(&self, context: &KeyContext, wrapped: &[u8], kms_key: &str) -> Result<DataKey, KmsError>;

    /// Whether the KMS answers and its key is usable: for readiness, not for every request.
    async fn check(&self) -> Result<(), KmsError>;
}

/// Runs one KMS operation and counts it.
pub(crate) async fn counted<T>(
    provider: &'static str,
    operation: &'static str,
    call: impl Future<Output = Result<T, KmsError>>,
) -> Result<T, KmsError> {
    let start = Instant::now();
    let result = call.await;
    let outcome = result.as_ref().map_or_else(|error| error.as_str(), |_| "ok");
    metrics::histogram!("strongroom_kms_call_seconds", "provider" => provider, "op" => operation)
        .record(start.elapsed().as_secs_f64());
    metrics::counter!("strongroom_kms_calls_total", "provider" => provider, "op" => operation, "outcome" => outcome)
        .increment(1);
    result
}

impl fmt::Debug for dyn Kms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Kms({})", self.provider())
    }
}
