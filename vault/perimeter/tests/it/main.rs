//! The listener as peers see it: who is refused and why, what survives a reload, what slowness and silence cost.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod drain;
mod http;
mod ops;
mod public;
mod reload;
mod slow;
mod support;
mod telemetry;
mod tls_matrix;
