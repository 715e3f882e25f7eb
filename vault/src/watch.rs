//! Follows the log by rules and writes what they find: as entries of the log, as metrics, and as OCSF events to a file and a syslog
//! server.
//!
//! One replica at a time, behind the index, apart from every request. What the rules remember is read back from the log when
//! another replica takes over.
//!
//! Promises: every entry up to the place that was reached was looked at, and what was found of it is on the log; a finding may
//! be written twice if a process dies in between, never lost.
//! Does not promise: to stop anybody unless its configuration says so of a rule. It tells people; limits and policy refuse.
//! Trusts: the index for whether a card was used before.
//! Upholds: C-59, C-64.

mod config;
mod follow;
mod known;
mod ocsf;
mod reviews;
mod rules;
mod state;
mod stream;
mod suspend;
mod syslog;

pub use config::WatchConfig;
pub use follow::{WatchError, Watcher};
pub use ocsf::line;
pub use rules::{Hit, Rule, Severity};
pub use state::State;
pub use stream::FindingsFile;
pub use suspend::{Suspend, SuspendConfig};
pub use syslog::{CloseNotify, SendError, Sender, Sent, Syslog, SyslogConfig, SyslogError, Urgent};

pub use crate::follow::Followed as Watched;
