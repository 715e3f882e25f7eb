//! The scenarios.

mod accounts;
mod authorize_net;
mod breaker;
mod charge;
mod command;
mod contract;
mod credentials;
mod deadline;
mod destination;
mod echo;
mod entry;
mod explain;
mod explain_command;
mod failures;
mod identity;
mod inbound;
mod independent;
mod limits;
mod load;
mod once;
mod pins;
mod relay;
mod shipped;
mod signed_routes;
mod signing;
mod tunnel;
