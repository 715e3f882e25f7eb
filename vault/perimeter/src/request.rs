//! What names a request: its id and its place in a distributed trace (W3C Trace Context level 1).
//!
//! Promises: the id is ours, never the caller's; a `traceparent` is taken over only if it is well formed;
//! `tracestate` and `baggage` go no further, because what a caller writes there would land in logs.

use std::fmt;

use axum::extract::FromRequestParts;
use http::HeaderMap;
use http::request::Parts;
use strongroom_domain::{Clock, Random, RandomUnavailable, RequestId};
use uuid::Uuid;

use crate::problem::ProblemResponse;

/// What every request carries in its extensions. Handlers take it as an argument.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequestInfo {
    /// The request's name in answers, logs and audit entries.
    pub id: RequestId,
    /// Where in a trace it stands, our own span last: what an outgoing call says in its `traceparent`.
    pub traceparent: Traceparent,
}

impl RequestInfo {
    /// Names a request. A malformed `traceparent` begins a new trace.
    pub fn generate(
        headers: &HeaderMap,
        clock: &dyn Clock,
        random: &dyn Random,
    ) -> Result<Self, RandomUnavailable> {
        let id = RequestId::generate(clock, random)?;
        Ok(Self { id, traceparent: Traceparent::continue_from(headers, random)? })
    }

    /// The id of a request, all zeroes where the listener did not name it.
    #[must_use]
    pub fn id_of(parts: &Parts) -> RequestId {
        parts.extensions.get::<Self>().map_or(RequestId::from_uuid(Uuid::nil()), |info| info.id)
    }
}

impl<S: Sync> FromRequestParts<S> for RequestInfo {
    type Rejection = ProblemResponse;

    /// The names of this request; `internal` where the router is served without the listener (a defect).
    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        use strongroom_domain::{Problem, ProblemKind};
        parts
            .extensions
            .get::<Self>()
            .copied()
            .ok_or_else(|| ProblemResponse(Problem::new(ProblemKind::Internal), Self::id_of(parts)))
    }
}

/// A `traceparent` (W3C Trace Context §3.2) whose parent id is our own span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Traceparent {
    trace: [u8; 16],
    span: [u8; 8],
    sampled: bool,
}

impl Traceparent {
    /// A new span in the caller's trace, or in a new one.
    pub fn continue_from(headers: &HeaderMap, random: &dyn Random) -> Result<Self, RandomUnavailable> {
        let mut drawn = [0_u8; 24];
        random.fill(&mut drawn)?;
        let (trace, span) = drawn.split_at(16);
        let mut own = Self { trace: [0; 16], span: [0; 8], sampled: false };
        own.trace.copy_from_slice(trace);
        own.span.copy_from_slice(span);
        if let Some(caller) = only(headers).and_then(Self::parse) {
            own.trace = caller.trace;
            own.sampled = caller.sampled;
        }
        Ok(own)
    }

    /// Reads version 00 exactly: lower case, no zero ids. Later versions are not guessed at.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('-');
        let (version, trace, span, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if version != "00" || parts.next().is_some() || text.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return None;
        }
        let mut read = Self { trace: [0; 16], span: [0; 8], sampled: false };
        hex::decode_to_slice(trace, &mut read.trace).ok()?;
        hex::decode_to_slice(span, &mut read.span).ok()?;
        let mut bits = [0_u8; 1];
        hex::decode_to_slice(flags, &mut bits).ok()?;
        read.sampled = bits[0] & 1 == 1;
        (read.trace != [0; 16] && read.span != [0; 8]).then_some(read)
    }

    /// The trace's id, 32 hex digits.
    #[must_use]
    pub fn trace_id(&self) -> String {
        hex::encode(self.trace)
    }
}

/// As the header says it.
impl fmt::Display for Traceparent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", hex::encode(self.trace), hex::encode(self.span), u8::from(self.sampled))
    }
}

fn only(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all("traceparent").iter();
    let value = values.next()?;
    if values.next().is_some() { None } else { value.to_str().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chance::SystemRandom;

    const CALLERS: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_caller_s_trace_goes_on_under_a_new_span() {
        let headers = HeaderMap::from_iter([("traceparent".parse().unwrap(), CALLERS.parse().unwrap())]);
        let own = Traceparent::continue_from(&headers, &SystemRandom::new()).unwrap();
        let text = own.to_string();
        assert_eq!(own.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert!(text.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && text.ends_with("-01"), "{text}");
        assert!(!text.contains("b7ad6b7169203331"), "{text}");
    }

    #[test]
    fn a_malformed_or_doubled_traceparent_begins_a_new_trace() {
        for wrong in [
            "",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-x",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-4111111111111111-b7ad6b7169203331-01",
        ] {
            assert_eq!(Traceparent::parse(wrong), None, "{wrong}");
        }
        let mut twice = HeaderMap::new();
        twice.append("traceparent", CALLERS.parse().unwrap());
        twice.append("traceparent", CALLERS.parse().unwrap());
        let own = Traceparent::continue_from(&twice, &SystemRandom::new()).unwrap();
        assert_ne!(own.trace_id(), "0af7651916cd43dd8448eb211c80319c");
    }
}
