//! The audit log: what an entry is, how it becomes bytes, how those bytes are checked, and the signed tree over them.
//!
//! Promises: an entry holds no card number, no verification code, no whole token, no BIN and no last four: its types
//! have no room for them. Every entry has the fields of PCI DSS 10.2.2, because a [`Draft`] cannot be made without.
//! Does not promise: that nobody can remove the newest entries *and* the row that counts them within the second before they
//! are in the signed tree and its checkpoint is exported.
//! Trusts: the committer to number, and the store to keep; [`check`] and [`verify`] find what either did wrong.
//! Upholds: C-03, C-04, C-07, C-44, C-55, C-57.

mod check;
mod checkpoint;
mod entry;
mod event;
mod export;
mod finding;
mod hand_over;
mod index;
mod label;
mod layout;
mod leaf;
mod proven;
mod receipt;
mod seen;
mod sequencer;
mod serve;
mod show;
mod signing;
mod suspension;
pub mod tree;
mod verify;
mod wire;

pub use check::{BadEntry, Checked, Finding, MacKeys, check};
pub use checkpoint::{BadCheckpoint, Checkpoint, InvalidLogKey, InvalidOrigin, LogKey, Origin};
pub use entry::{
    Actor, CardChange, Destination, Draft, ExportRef, IdempotencyRef, InstanceId, InvalidInstanceId, KeyRef,
    Made, Object, Outcome, Pol, Req, Source, Tls,
};
pub use event::Event;
pub use export::{
    BucketError, BucketExport, BucketExportError, ExportError, LogBucket, LogFolder, Published,
};
pub use finding::FindingRef;
pub use hand_over::{BadKeys, HandOver, LogKeys};
pub use index::{Indexer, row_of};
pub use label::{InvalidLabel, Label};
pub use layout::{LogFile, bundle_path, hand_over_path, history_path, tile_path};
pub use leaf::{EntryId, EntryMac, InvalidLeaf, Leaf, ReadLeaf};
pub use proven::{
    BadReceipt, ProveError, Proven, ProvenEntry, ProvenState, VerifiedEntry, VerifiedReceipt, prove,
    verify_receipt, verify_receipt_in,
};
pub use receipt::{ReceiptId, Receipts};
pub use seen::Seen;
pub use sequencer::{Refusal, Sequencer, StepError, Stepped};
pub use serve::{Served, serve};
pub use show::{show, tail};
pub use signing::{LogSigners, SigningError};
pub(crate) use signing::{Signing, made_at};
pub use suspension::{InvalidReason, Reason, SuspensionRef};
pub use verify::{Damage, LogFiles, Verified, VerifyError, hand_overs_in, verify, verify_from};

pub use crate::follow::Followed as Indexed;
