//! Reviews that nobody filed in time: a finding a day until somebody does.
//!
//! Upholds: C-59, C-68.

use std::time::Duration;

use strongroom_domain::Timestamp;

use super::follow::{Rules, WatchError, Watcher};
use super::rules::{Hit, Rule};
use crate::audit::Receipts;
use crate::review::{ReviewKind, ReviewsConfig};

/// How often it is looked.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// How often is reviewed, and when it was looked at last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Minded {
    config: ReviewsConfig,
    looked: Option<Timestamp>,
}

impl Watcher {
    /// Tells of reviews that are overdue by this.
    #[must_use]
    pub fn minding(mut self, config: ReviewsConfig) -> Self {
        self.0.consumer.reviews = Some(Minded { config, looked: None });
        self
    }
}

impl Rules {
    pub(super) async fn mind_reviews(&mut self, now: Timestamp) -> Result<u64, WatchError> {
        let Some(minded) = &mut self.reviews else { return Ok(0) };
        if minded.looked.is_some_and(|looked| now < looked.plus(LOOK_EVERY)) {
            return Ok(0);
        }
        let config = minded.config;
        let mut news = Vec::new();
        for kind in ReviewKind::ALL {
            let last = match self.store.last_review(kind).await? {
                Some(row) => row.reviewed_at,
                None => self.store.boots().await?.iter().map(|boot| boot.started_at).min().unwrap_or(now),
            };
            let standing = config.standing(kind, last, now);
            let hit = overdue(kind, standing.due_at, config.days(kind), now);
            if standing.overdue && self.state.is_news(&hit) {
                news.push(hit);
            }
        }
        self.tell(&news, now, &Receipts::default()).await?;
        if let Some(minded) = &mut self.reviews {
            minded.looked = Some(now);
        }
        Ok(news.len() as u64)
    }
}

fn overdue(kind: ReviewKind, due_at: Timestamp, days: u32, now: Timestamp) -> Hit {
    Hit {
        rule: match kind {
            ReviewKind::Access => Rule::AccessReviewOverdue,
            ReviewKind::Log => Rule::LogReviewOverdue,
        },
        at: now,
        principal: None,
        certificate: None,
        route: None,
        tenant: None,
        token: None,
        count: 1,
        limit: u64::from(days),
        within: now.since(due_at),
        places: (0, 0),
    }
}
