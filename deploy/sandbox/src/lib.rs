//! Everything in one process for a first try: vault, proxy and a sandbox PSP over real mTLS.

pub mod pki;
pub mod psp;
