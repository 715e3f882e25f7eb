//! Card verification codes between capture and one payment attempt.
//!
//! Promises: in this process's memory only, for at most [`CVC_TTL_MAX`]; gone when used, when late, when the process ends
//! (PCI DSS 3.3.1: sensitive authentication data is not kept after authorization).
//! Does not promise: that another replica has it. A code lives where it was given; `design.md` §5 names the limit.
//! Upholds: C-06.

mod memory;

pub use memory::{CodeOwner, CvcShelf, CvcShelfConfig, ShelfFull, TakenCvc};

use std::time::Duration;

/// How long a code waits for its payment attempt unless configured.
pub const CVC_TTL_DEFAULT: Duration = Duration::from_secs(600);
/// The longest that can be configured.
pub const CVC_TTL_MAX: Duration = Duration::from_secs(3_600);
