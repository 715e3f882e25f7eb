//! Exports: refused by default and to everybody but two people who agree; what leaves is what they agreed to, encrypted,
//! and each card of it is on the log.

mod agreed;
mod ground;
mod killed;
mod moved;
mod reached;
mod suspended;

pub(crate) use ground::people;
