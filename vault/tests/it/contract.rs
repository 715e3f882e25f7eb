//! The committed contract against a running vault over mTLS: schemathesis, and clients generated from it.
//!
//! What they need is installed once under `target/`: it takes `python3` with `venv`, `node` with `npm`, and package
//! indexes the first time. What they generate lives in temporary folders.

mod asked;
mod clients;
mod tools;

/// The contract as committed; that it is what the code says is for `.ci/run fresh`.
const CONTRACT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.json");
/// Programs and pinned packages of these tests.
const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/contract");
