//! The scenarios.

mod charge;
mod credentials;
mod destination;
mod entry;
mod failures;
mod load;
mod shipped;
