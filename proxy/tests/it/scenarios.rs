//! The scenarios.

mod accounts;
mod charge;
mod command;
mod credentials;
mod destination;
mod entry;
mod failures;
mod load;
mod relay;
mod shipped;
mod tunnel;
