//! The scenarios.

mod accounts;
mod charge;
mod command;
mod contract;
mod credentials;
mod destination;
mod echo;
mod entry;
mod explain;
mod explain_command;
mod failures;
mod identity;
mod inbound;
mod independent;
mod load;
mod once;
mod relay;
mod shipped;
mod signed_routes;
mod signing;
mod tunnel;
