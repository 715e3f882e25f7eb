//! The key store the sealing crate asks for.

pub use strongroom_sealing::{KeyScope, KeyState, KeyStore, KeyStoreError, Purpose, WrappedKey};

/// Tells the log what the sealing crate does not ask.
pub(super) fn unavailable(error: super::StoreError) -> KeyStoreError {
    tracing::warn!(error = &error as &dyn std::error::Error, "the store gave no data key");
    KeyStoreError
}
