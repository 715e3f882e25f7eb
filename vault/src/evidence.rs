//! The evidence bundle: what an assessor files, made from the signed log, the store and the running configuration.
//!
//! Promises: every count comes from entries that make the root of a signed checkpoint, counted anew for each bundle; what the
//! system does not record is said to be not recorded; every file stands in a manifest the log's key signed, and the manifest's
//! hash is on the log before the bundle leaves. Software supports a requirement: no word here says that anybody complies.
//! Does not promise: anything of what other systems do: the proxy's processes, the KMS, people.
//! Trusts: the store for nothing that is in the log; for cards, keys and tenants it reports what the rows say.
//! Holds one page of entries, and rows, at most 20,000 of each table, however long the log is.
//! Upholds: C-62, C-63, C-69.

mod assemble;
mod bundle;
mod collect;
mod csv;
mod entry;
mod facts;
mod grants;
mod ground;
mod machine;
mod material;
mod page;
mod proofs;
mod sample;
mod table;
mod tally;
mod verify;

pub use assemble::{AssembleError, Assembled, assemble};
pub use bundle::{Bundle, Manifest};
pub use collect::{CollectError, Collected, Sources, collect};
pub use facts::{Facts, Kept};
pub use ground::EvidenceGround;
pub use proofs::{
    BadProofs, PROOFS_BYTES_MAX, PROOFS_FORMAT, PolicyProofs, ProvedBundle, ProvedFinding, ProvedInvariants,
    is_input,
};
pub use sample::SAMPLE_MAX;
pub use verify::{Unsound, VerifiedBundle, verify, verify_in};

use strongroom_domain::Timestamp;

/// The time a bundle is about: from `from` on and before `until`.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize)]
pub struct Period {
    /// The first moment.
    pub from: Timestamp,
    /// The first moment after it.
    pub until: Timestamp,
}

impl Period {
    fn holds(self, time: Timestamp) -> bool {
        self.from <= time && time < self.until
    }
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Wanted {
    /// The time it is about.
    pub period: Period,
    /// How many entries of each requirement to show with their proofs.
    pub sample: u32,
}
