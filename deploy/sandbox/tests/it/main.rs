//! The parts of the sandbox, used as their users use them.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod braintree;
mod crash;
mod explain;
mod house;
mod inbound;
mod once;
mod pki;
mod program;
mod psp;
mod stripe;
mod support;
mod tunnel;
