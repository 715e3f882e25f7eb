//! The proxy between a caller, a vault and a PSP: each scenario reads as the story of one connection.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by panicking")]

mod pki;
mod psp;
mod references;
mod scenarios;
mod tube;
mod vault;
mod world;
