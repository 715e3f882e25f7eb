//! One binary for all integration tests of the vault.

#[cfg(test)] // so that lints see tests
mod authz_matrix;
