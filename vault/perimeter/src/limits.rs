//! The bounds of a listener, and the one way to read a request's body.

use std::num::NonZeroU32;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};
use strongroom_domain::{Problem, ProblemKind};

/// What a listener allows. Every default is the secure one; a setting may only be changed by someone who knows the load.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connections open at once, those still in their handshake included. One costs about 60 KiB.
    pub connections_max: NonZeroU32,
    /// Requests worked on at once; one more is answered `overloaded`.
    pub in_flight_max: NonZeroU32,
    /// Requests of one connection worked on at once (HTTP/2 streams).
    pub in_flight_per_connection_max: NonZeroU32,
    /// Largest request header. Ours are under 2 KiB; SDKs of PSPs send up to 8.
    pub header_bytes_max: NonZeroU32,
    /// Largest request body of any call; single calls take less.
    pub body_bytes_max: NonZeroU32,
    /// From the accepted connection to the end of the handshake.
    pub handshake_timeout_ms: NonZeroU32,
    /// From the first byte of a request to the end of its header.
    pub header_timeout_ms: NonZeroU32,
    /// From the end of the header to the end of the body.
    pub body_timeout_ms: NonZeroU32,
    /// How long a connection may stay without a request.
    pub idle_timeout_ms: NonZeroU32,
    /// How old a connection may become before it is closed gracefully, so that new certificates and lists reach every peer.
    pub connection_age_max_ms: NonZeroU32,
    /// How long requests in flight may take to end after the stop signal, or after their connection grew too old.
    pub drain_timeout_ms: NonZeroU32,
    /// How often certificates, keys, CAs and revocation lists are looked at for changes.
    pub reload_interval_ms: NonZeroU32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: count(4_096),
            in_flight_max: count(1_024),
            in_flight_per_connection_max: count(128),
            header_bytes_max: count(32 * 1024),
            body_bytes_max: count(1024 * 1024),
            handshake_timeout_ms: count(5_000),
            header_timeout_ms: count(5_000),
            body_timeout_ms: count(10_000),
            idle_timeout_ms: count(60_000),
            connection_age_max_ms: count(600_000),
            drain_timeout_ms: count(30_000),
            reload_interval_ms: count(5_000),
        }
    }
}

const fn count(number: u32) -> NonZeroU32 {
    match NonZeroU32::new(number) {
        Some(number) => number,
        None => NonZeroU32::MIN,
    }
}

pub(crate) fn millis(number: NonZeroU32) -> Duration {
    Duration::from_millis(u64::from(number.get()))
}

pub(crate) fn size(number: NonZeroU32) -> usize {
    usize::try_from(number.get()).unwrap_or(usize::MAX)
}

/// Reads a whole body of at most `bytes_max`. The listener's body timeout holds here too.
pub async fn read_body(body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    match Limited::new(body, bytes_max).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if is_too_long(error.as_ref()) => Err(Problem::new(ProblemKind::BodyTooLarge)),
        Err(_) => {
            Err(Problem::because(ProblemKind::InvalidRequest, "the body ended early or came too slowly"))
        }
    }
}

fn is_too_long(error: &(dyn std::error::Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| error.source()).any(|error| error.is::<LengthLimitError>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_read_up_to_its_limit_and_no_further() {
        assert_eq!(read_body(Body::from("12345"), 5).await.unwrap(), "12345");
        let refused = read_body(Body::from("123456"), 5).await.unwrap_err();
        assert_eq!(refused.kind, ProblemKind::BodyTooLarge);
    }

    #[tokio::test]
    async fn a_limit_further_out_is_still_seen_as_one() {
        let outer = Body::new(Limited::new(Body::from("123456"), 5));
        assert_eq!(read_body(outer, 100).await.unwrap_err().kind, ProblemKind::BodyTooLarge);
    }
}
