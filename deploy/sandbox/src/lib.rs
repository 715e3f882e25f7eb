//! Everything in one process for a first try: vault, proxy and a sandbox PSP over real mTLS.
//!
//! The parts are a library, because the tests of both services use them: throw-away certificates ([`pki`]), a PSP with
//! test cards ([`psp`]), the search for card data where none may be ([`search`]), and all of it together ([`house`]).

pub mod check;
pub mod cli;
pub mod client;
pub mod house;
pub mod line;
pub mod pki;
pub mod psp;
pub mod search;
