//! The audit log's first half: what an entry is, how it becomes bytes, and how those bytes are checked.
//!
//! Promises: an entry holds no card number, no verification code, no whole token, no BIN and no last four: its types
//! have no room for them. Every entry has the fields of PCI DSS 10.2.2, because a [`Draft`] cannot be made without.
//! Does not promise: that nobody can remove the newest entries *and* the row that counts them; that takes the signed
//! tree and its exported checkpoints, which come later.
//! Trusts: the committer to number, and the store to keep; [`check`] finds what either did wrong.
//! Upholds: C-03, C-04, C-07.

mod check;
mod entry;
mod event;
mod leaf;
mod show;
mod wire;

pub use check::{BadEntry, Checked, Finding, MacKeys, check};
pub use entry::{
    Actor, CardChange, Destination, Draft, IdempotencyRef, InstanceId, InvalidInstanceId, InvalidLabel,
    KeyRef, Label, Object, Outcome, Pol, Req, Source, Tls,
};
pub use event::Event;
pub use leaf::{EntryId, EntryMac, InvalidLeaf, Leaf, ReadLeaf};
pub use show::{show, tail};
