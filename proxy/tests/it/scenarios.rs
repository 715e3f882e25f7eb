//! The scenarios.

mod charge;
mod command;
mod credentials;
mod destination;
mod entry;
mod failures;
mod load;
mod shipped;
