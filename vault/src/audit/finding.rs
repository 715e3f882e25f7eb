//! What a rule found in the log, as its entry says it (`finding`).
//!
//! Promises: names are checked names and the rest are numbers: nothing of a card fits in.
//! Upholds: C-03, C-59.

use serde::{Serialize, Serializer};
use strongroom_domain::WorkloadId;
use strongroom_domain::route::RouteName;

use super::entry::Draft;

/// What was found. The rule is the entry's reason, the card or tenant its object.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct FindingRef {
    /// The certificate it is about.
    #[serde(skip_serializing_if = "Option::is_none", serialize_with = "some_hex")]
    pub certificate_sha256: Option<[u8; 32]>,
    /// How many there were.
    pub count: u64,
    /// The first entry it rests on, by its index in the log.
    pub first_index: u64,
    /// The last.
    pub last_index: u64,
    /// How many are let pass.
    pub limit: u64,
    /// Who did it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub principal: Option<WorkloadId>,
    /// Where card data went.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteName>,
    /// Within how many seconds.
    pub seconds: u64,
    /// `low`, `medium`, `high` or `critical`.
    pub severity: &'static str,
}

impl Draft {
    /// What was found.
    pub fn finding(mut self, finding: FindingRef) -> Self {
        self.finding = Some(Box::new(finding));
        self
    }
}

fn some_hex<S: Serializer>(bytes: &Option<[u8; 32]>, to: S) -> Result<S::Ok, S::Error> {
    bytes.map(hex::encode).serialize(to)
}
