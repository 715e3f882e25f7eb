//! The detokenizing forward proxy: tokens in, card data only to registered PSPs, scrubbed answers out.

pub mod app;
pub mod body;
pub mod cli;
pub mod config;
pub mod inject;
pub mod listen;
pub mod rescue;
pub mod route;
pub mod scrub;
pub mod upstream;
pub mod vault;
