//! What a policy bundle can never permit, proved for every request there can be; and what a change newly permits.
//!
//! Promises: *holds* means that no workload, tenant, token or context the schema can describe gets past it; *refuted* comes with one
//! that does, asked of the policy engine itself before it is shown. Whatever cannot be decided is said to be so, never passed.
//! Does not promise: anything of what policy is told. Who is a proxy, which tenant a token is of and what a route declares are facts
//! of the vault (T-01, T-13).
//! Trusts: Cedar's symbolic compiler and the solver, cvc5, when they say that something holds.
//! Upholds: C-61.

pub mod cli;
mod diff;
mod example;
mod invariants;
mod prover;

pub use diff::{Difference, Widening, diff};
pub use example::Example;
pub use invariants::{InvalidInvariants, Invariant, Invariants};
pub use prover::{Finding, Outcome, ProofError, Prover, first_refuted, prove};
