//! The detokenizing forward proxy: tokens in, card data only to registered PSPs, scrubbed answers out.

pub mod app;
pub mod authority;
pub mod body;
pub mod check;
pub mod cli;
pub mod config;
pub mod credential;
pub mod examples;
pub mod explain;
pub mod fields;
pub mod forward;
pub mod headers;
pub mod inbound;
pub mod inject;
pub mod listen;
pub mod measure;
pub mod outcome;
pub mod registry;
pub mod relay;
pub mod rescue;
pub mod route;
pub mod scrub;
pub mod sign;
pub mod tunnel;
pub mod upstream;
pub mod vault;
