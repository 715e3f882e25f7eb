//! What the console shows and no call of the API gives as such: how busy the log is, how old keys are, who may do what, and what
//! the log says of one forward.
//!
//! Promises: each look takes a permit and is an entry, durable before the page leaves (PCI DSS 10.2.1.3). What a look reads is
//! bounded, and read once for everybody who looks within a moment: `OVERVIEW_HELD`, `KEYS_HELD`.
//! Does not promise: that a page is of this very moment; it says of when it is.
//! Upholds: C-04, C-66.

mod forward;
mod keys;

use std::sync::Arc;
use std::time::Duration;

use strongroom_domain::Timestamp;
use tokio::sync::Mutex;

pub use self::forward::{Explained, LogReader};
pub use self::keys::{KeyAges, KeyGroup};
use super::find::{fits, report_damage};
use super::{Asking, OperationError, Vault};
use crate::audit::{Checkpoint, Event, Object, Outcome};
use crate::authz::{AccessReview, Permit, ReadAudit, ReadEvidence};
use crate::store::find::{ActivityRow, EntryFilter, EntryRange, Follower, LoggedLeaf, PlacePage};

/// How long one reading of the overview serves everybody: live pages ask every ten seconds.
const OVERVIEW_HELD: Duration = Duration::from_secs(2);
/// How long one reading of the inventory of keys does.
const KEYS_HELD: Duration = Duration::from_secs(60);
/// Findings an overview shows.
const FINDINGS_SHOWN: u32 = 8;
/// Refusals an overview shows.
const REFUSALS_SHOWN: u32 = 12;

/// What was read a moment ago, held by the vault.
#[derive(Default)]
pub struct Console {
    overview: Recent<Overview>,
    keys: Recent<KeyAges>,
    access: Mutex<Option<Arc<AccessReview>>>,
}

/// The log at a glance.
#[derive(Debug)]
pub struct Overview {
    /// Of when it is.
    pub as_of: Timestamp,
    /// How many entries are in the signed tree.
    pub size: u64,
    /// How many can be found.
    pub indexed: u64,
    /// How many the rules looked at.
    pub watched: u64,
    /// The newest checkpoint, and when it was signed.
    pub checkpoint: Option<(Checkpoint, Timestamp)>,
    /// The newest entries, counted.
    pub activity: Vec<ActivityRow>,
    /// The newest findings.
    pub findings: Vec<LoggedLeaf>,
    /// The newest refusals.
    pub refusals: Vec<LoggedLeaf>,
}

impl Vault {
    /// The log at a glance.
    pub async fn overview(
        &self,
        asking: &Asking,
        permit: Permit<ReadAudit>,
    ) -> Result<Arc<Overview>, OperationError> {
        let held = &self.console.overview;
        let overview = held.read(asking.at, OVERVIEW_HELD, self.overview_at(asking.at)).await?;
        let shown = overview.findings.len().saturating_add(overview.refusals.len()) as u64;
        let entry = Self::allowed(asking, Event::AuditRead, permit.decision(), Object::Log);
        self.record(entry.because("overview").counting(shown)).await?;
        Ok(overview)
    }

    async fn overview_at(&self, now: Timestamp) -> Result<Overview, OperationError> {
        let index = self.store.index();
        let (indexed, watched) =
            (index.followed(Follower::Find).await?, index.followed(Follower::Watch).await?);
        let checkpoint = self.store.newest_checkpoint().await?;
        let findings =
            EntryFilter { verb: Some(Event::AnomalyFound.as_str().to_owned()), ..EntryFilter::default() };
        let refusals =
            EntryFilter { outcome: Some(Outcome::Denied.as_str().to_owned()), ..EntryFilter::default() };
        Ok(Overview {
            as_of: now,
            size: self.store.log_head().await?.size,
            indexed,
            watched,
            checkpoint: checkpoint
                .and_then(|kept| Checkpoint::unverified(&kept.note).map(|read| (read, kept.signed_at))),
            activity: index.activity(indexed).await?,
            findings: self.newest(&findings, FINDINGS_SHOWN).await?,
            refusals: self.newest(&refusals, REFUSALS_SHOWN).await?,
        })
    }

    async fn newest(&self, filter: &EntryFilter, limit: u32) -> Result<Vec<LoggedLeaf>, OperationError> {
        self.entries_that_fit(filter, EntryRange { newest_first: true, after: None, limit })
            .await
            .map(|(found, _)| found)
    }

    /// A page of entries that fit, held against the tree, and where the next begins.
    async fn entries_that_fit(
        &self,
        filter: &EntryFilter,
        range: EntryRange,
    ) -> Result<(Vec<LoggedLeaf>, Option<u64>), OperationError> {
        let index = self.store.index();
        let PlacePage { places, next } = index.places(filter, range).await?;
        let mut found = index.leaves(&places).await?;
        found.retain(|entry| entry.intact().is_none_or(|leaf| fits(leaf, filter)));
        report_damage(&found);
        Ok((found, next))
    }

    /// Who may do what, by the bundle in force.
    pub async fn access_review(
        &self,
        asking: &Asking,
        permit: Permit<ReadEvidence>,
    ) -> Result<Arc<AccessReview>, OperationError> {
        let review = self.reviewed().await?;
        let object = Object::Service("access-review");
        let entry = Self::allowed(asking, Event::EvidenceRead, permit.decision(), object);
        self.record(entry.because("access").counting(review.rows.len() as u64)).await?;
        Ok(review)
    }

    /// Asked of policy once for each bundle: thousands of accounts take a while.
    async fn reviewed(&self) -> Result<Arc<AccessReview>, OperationError> {
        let mut held = self.console.access.lock().await;
        let authorizer = self.authorizer.load_full();
        let bundle = hex::encode(authorizer.bundle_sha256());
        if let Some(review) = held.as_ref().filter(|review| review.bundle_sha256 == bundle) {
            return Ok(Arc::clone(review));
        }
        let asked = tokio::task::spawn_blocking(move || authorizer.access()).await;
        let review = asked.map_err(|_| OperationError::Defect("the access review ended with a defect"))?;
        Ok(Arc::clone(held.insert(Arc::new(review))))
    }
}

/// A value that serves for a while. Whoever asks while it is read anew waits for that reading.
struct Recent<T>(Mutex<Option<(Timestamp, Arc<T>)>>);

impl<T> Default for Recent<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Recent<T> {
    async fn read(
        &self,
        now: Timestamp,
        within: Duration,
        anew: impl Future<Output = Result<T, OperationError>>,
    ) -> Result<Arc<T>, OperationError> {
        let mut held = self.0.lock().await;
        if let Some((at, value)) = held.as_ref()
            && now < at.plus(within)
        {
            return Ok(Arc::clone(value));
        }
        let value = Arc::new(anew.await?);
        *held = Some((now, Arc::clone(&value)));
        Ok(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_reading_serves_for_its_time_and_a_failed_one_nobody() {
        let recent = Recent::default();
        let at = Timestamp::from_unix_seconds;
        let within = Duration::from_secs(2);
        let failed = recent.read(at(10), within, async { Err(OperationError::UnknownForward) }).await;
        assert!(failed.is_err());
        for (second, value, given) in [(10, 1, 1), (11, 2, 1), (12, 3, 3), (13, 4, 3)] {
            let read = recent.read(at(second), within, async move { Ok(value) }).await.unwrap();
            assert_eq!(*read, given, "{second}");
        }
    }
}
