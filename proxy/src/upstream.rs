//! The way to a PSP: the house's guarded connections, with the TLS that PSPs speak.
//!
//! Promises: a request leaves over a connection to an address that was judged, to a peer whose certificate names the
//! route's host, exactly once.
//! Upholds: C-17, C-19.

pub mod pins;
pub mod tls;

pub use strongroom_perimeter::outbound::{
    Admission, Answer, CachedResolver, ConnectError, Dialer, InvalidHost, NameServers, Pool, Ready, Resolve,
    SendError, SystemResolver,
};
