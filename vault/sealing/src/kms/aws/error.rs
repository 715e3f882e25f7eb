//! What an answer of AWS KMS means to us.

use aws_sdk_kms::error::{ProvideErrorMetadata, SdkError};

use crate::kms::KmsError;

/// Reads the code, not the type: throttling and credential errors have no type in the SDK.
pub(super) fn classify<E>(error: &SdkError<E>) -> KmsError
where
    E: ProvideErrorMetadata,
{
    let kind = match error {
        SdkError::ServiceError(answer) => {
            let status = answer.raw().status().as_u16();
            by_code(answer.err().code().unwrap_or_default(), status)
        }
        SdkError::TimeoutError(_) | SdkError::DispatchFailure(_) | SdkError::ResponseError(_) => {
            KmsError::Unreachable
        }
        // Building the request failed: in practice no credentials could be had.
        SdkError::ConstructionFailure(_) => KmsError::Credentials,
        _ => KmsError::Unexpected,
    };
    // The code and the kind of failure; never the message, which may quote the request.
    tracing::debug!(code = error.code().unwrap_or("none"), kind = kind.as_str(), "KMS call failed");
    kind
}

fn by_code(code: &str, status: u16) -> KmsError {
    match code {
        "ThrottlingException"
        | "Throttling"
        | "RequestLimitExceeded"
        | "TooManyRequestsException"
        | "LimitExceededException"
        | "SlowDown" => KmsError::Throttled,
        "AccessDeniedException"
        | "AccessDenied"
        | "DisabledException"
        | "KMSInvalidStateException"
        | "NotFoundException"
        | "InvalidKeyUsageException"
        | "InvalidGrantTokenException" => KmsError::Denied,
        "UnrecognizedClientException"
        | "InvalidClientTokenId"
        | "InvalidSignatureException"
        | "SignatureDoesNotMatch"
        | "IncompleteSignature"
        | "MissingAuthenticationToken"
        | "MissingAuthenticationTokenException"
        | "ExpiredTokenException"
        | "ExpiredToken"
        | "RequestExpired"
        | "OptInRequired"
        | "NotAuthorized" => KmsError::Credentials,
        "InvalidCiphertextException" | "IncorrectKeyException" => KmsError::Mismatch,
        // Documented as "you can retry the request".
        "DependencyTimeoutException"
        | "KeyUnavailableException"
        | "KMSInternalException"
        | "InternalFailure"
        | "ServiceUnavailable"
        | "ServiceUnavailableException" => KmsError::Unreachable,
        _ if status == 429 => KmsError::Throttled,
        _ if status >= 500 => KmsError::Unreachable,
        _ => KmsError::Unexpected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ill_service_is_not_a_refusal() {
        assert_eq!(by_code("", 503), KmsError::Unreachable);
        assert_eq!(by_code("", 429), KmsError::Throttled);
        assert_eq!(by_code("SomethingNew", 400), KmsError::Unexpected);
        assert_eq!(by_code("AccessDeniedException", 400), KmsError::Denied);
        assert_eq!(by_code("ExpiredTokenException", 400), KmsError::Credentials);
        assert_eq!(by_code("IncorrectKeyException", 400), KmsError::Mismatch);
        assert_eq!(by_code("KMSInternalException", 500), KmsError::Unreachable);
    }
}
