//! What an error of the client library says of an event and of its destination.
//!
//! Promises: what is the record's own fault delays its card alone; everything else is the destination's. Nothing of a broker's
//! words is kept: codes are, as Kafka numbers them.

use krafka::KrafkaError;
use krafka::error::ErrorCode;

use crate::events::attempt::Attempt;

/// What came of a record that was not acknowledged.
pub(super) fn judged(error: &KrafkaError) -> Attempt {
    match error {
        KrafkaError::Broker { code, .. } if is_the_records(*code) => {
            refused(format!("error-{}", code.to_i16()))
        }
        KrafkaError::DeliveryTimeout { possibly_written: true, .. } => refused("timed-out".into()),
        KrafkaError::Serialization { .. } | KrafkaError::Compression { .. } => refused("not-a-record".into()),
        other => Attempt::Away(away(other)),
    }
}

/// Why nothing was taken.
pub(super) const fn away(error: &KrafkaError) -> &'static str {
    match error {
        KrafkaError::Network(_) => "network",
        KrafkaError::Timeout { .. } | KrafkaError::DeliveryTimeout { .. } => "timed-out",
        KrafkaError::Auth { .. } => "sign-in",
        KrafkaError::UnknownTopic { .. } => "unknown-topic",
        KrafkaError::Broker { code, .. } => away_by_code(*code),
        KrafkaError::Protocol { .. } => "protocol",
        KrafkaError::Config { .. } => "configuration",
        _ => "client",
    }
}

const fn away_by_code(code: ErrorCode) -> &'static str {
    match code {
        ErrorCode::UnknownTopicOrPartition | ErrorCode::UnknownTopicId | ErrorCode::InvalidTopic => {
            "unknown-topic"
        }
        ErrorCode::TopicAuthorizationFailed | ErrorCode::ClusterAuthorizationFailed => "not-allowed",
        ErrorCode::SaslAuthenticationFailed
        | ErrorCode::UnsupportedSaslMechanism
        | ErrorCode::IllegalSaslState => "sign-in",
        ErrorCode::NotEnoughReplicas | ErrorCode::NotEnoughReplicasAfterAppend => "too-few-replicas",
        _ => "broker",
    }
}

/// Whether another record might be taken.
const fn is_the_records(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::CorruptMessage
            | ErrorCode::MessageTooLarge
            | ErrorCode::RecordListTooLarge
            | ErrorCode::InvalidTimestamp
            | ErrorCode::UnsupportedForMessageFormat
            | ErrorCode::PolicyViolation
            | ErrorCode::InvalidRecord
    )
}

fn refused(met: String) -> Attempt {
    Attempt::Refused { met, wait: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_blamed_for_what_is_its_own_and_nothing_a_broker_says_is_kept() {
        let said = |code| KrafkaError::broker(code, "4111111111111111");
        for (error, met) in [
            (said(ErrorCode::MessageTooLarge), "error-10"),
            (said(ErrorCode::InvalidRecord), "error-87"),
            (KrafkaError::delivery_timeout(true, "4111111111111111"), "timed-out"),
        ] {
            assert!(
                matches!(judged(&error), Attempt::Refused { met: told, wait: None } if told == met),
                "{met}"
            );
        }
        for (error, why) in [
            (said(ErrorCode::UnknownTopicOrPartition), "unknown-topic"),
            (said(ErrorCode::TopicAuthorizationFailed), "not-allowed"),
            (said(ErrorCode::NotEnoughReplicas), "too-few-replicas"),
            (said(ErrorCode::KafkaStorageException), "broker"),
            (KrafkaError::auth("4111111111111111"), "sign-in"),
            (KrafkaError::delivery_timeout(false, ""), "timed-out"),
            (KrafkaError::timeout("connect"), "timed-out"),
            (KrafkaError::closed(""), "client"),
        ] {
            assert!(matches!(judged(&error), Attempt::Away(told) if told == why), "{why}");
        }
    }
}
