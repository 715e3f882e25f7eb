//! Everything in one process for a first try: vault, proxy and a sandbox PSP over real mTLS.
//!
//! The parts are a library, because the tests of both services use them: throw-away certificates ([`pki`]), a PSP with
//! test cards ([`psp`]), and the search for card data where none may be ([`search`]).

pub mod client;
pub mod house;
pub mod pki;
pub mod psp;
pub mod search;
