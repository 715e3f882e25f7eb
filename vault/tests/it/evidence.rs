//! The evidence bundle: what is in it, what an independent count says of it, and when there is none.

mod filed;
mod given;
mod ground;
mod machines;
mod quarter;
mod refusals;
