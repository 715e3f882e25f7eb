//! Suspended means refused: every call, on every replica, after a restart, until a person lifts it.

mod by_rule;
mod everywhere;
mod held;

pub(crate) use everywhere::{LIFT, SUSPEND, change};
