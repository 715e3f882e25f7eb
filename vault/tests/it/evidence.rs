//! The evidence bundle: what is in it, what an independent count says of it, and when there is none.

mod filed;
pub(crate) mod given;
mod ground;
mod machines;
mod quarter;
mod refusals;
