//! The parts of the sandbox, used as their users use them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod adyen;
mod authorize_net;
mod braintree;
mod crash;
mod cybersource;
mod explain;
mod house;
mod inbound;
mod matrix;
mod nuvei;
mod once;
mod pki;
mod program;
mod psp;
mod receipts;
mod stripe;
mod stripe_node;
mod support;
mod suspended;
mod tunnel;
