//! What both Strongroom services show the world: mTLS listener, caller identity, problems, telemetry, limits, drain.
//!
//! Promises: a handler runs only for a caller whose certificate was verified, in date and not revoked; every answer has a
//! request id and forbids caching; no card number reaches a log line.
//! Trusts: the operating system's clock and randomness, and the files of certificates and keys it is given.
//! Upholds: C-11 (mTLS identities), C-20 (no card number in a log), C-21 (process), C-22 (bounds).

pub mod caller;
pub mod chance;
pub mod clock;
pub mod drain;
pub mod hardening;
pub mod limits;
pub mod listener;
pub mod ops;
pub mod outbound;
pub mod problem;
pub mod request;
pub mod secret_file;
pub mod telemetry;
pub mod tls;

pub use caller::{Caller, TlsFacts};
pub use problem::ProblemResponse;
pub use request::RequestInfo;
