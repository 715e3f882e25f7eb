//! The card vault: tokens in place of card numbers, one audited door out.
//!
//! Arrows point one way: `http → operation → {authz, sealing, store, audit} → domain`.

pub mod app;
pub mod audit;
pub mod authz;
pub mod cli;
pub mod config;
pub mod events;
pub mod evidence;
mod follow;
pub mod http;
pub mod operation;
pub mod review;
pub mod sad;
pub mod store;
pub mod watch;
