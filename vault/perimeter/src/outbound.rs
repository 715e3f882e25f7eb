//! The way out of the house: guard, TLS, and connections that are values.
//!
//! Promises: a request leaves over a connection to an address that was judged, to a peer whose certificate names the
//! host, exactly once.
//! Upholds: C-17, C-19.

pub mod cache;
pub mod dial;
pub mod dns;
pub mod guard;
pub mod pool;

pub use cache::CachedResolver;
pub use dial::{Admission, ConnectError, Dialer, Found, InvalidHost, Resolve, SystemResolver};
pub use dns::NameServers;
pub use pool::{Answer, Pool, Ready, SendError};
