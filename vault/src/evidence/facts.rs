//! What a bundle says, as values: everything the pages, tables and machine forms are made of.

mod difference;
mod flow;
mod missing;
mod register;
mod reviews;

pub(super) use difference::{ACCESS, Difference, Previous, State};
pub(super) use flow::{Flow, Psp};
pub(super) use missing::NotRecorded;
pub(super) use register::{Register, RegisterRow};
pub(super) use reviews::{HeldReview, ReviewFile, Reviews};

use serde::Serialize;
use strongroom_domain::{Environment, Timestamp};

use super::material::Measured;
use super::proofs::PolicyProofs;
use super::tally::Tally;
use super::{Period, grants};
use crate::authz::{AccessReview, AccessRow, Authorizer};
use crate::config::VaultConfig;
use crate::review::access_sha256;
use crate::store::ReviewRow;
use crate::store::inventory::KeyFacts;

/// How long a grant may go unused before it is listed.
pub(super) const UNUSED_DAYS: u32 = 90;
const DAY_SECONDS: u64 = 24 * 60 * 60;

/// Everything a bundle says.
#[derive(Debug, Serialize)]
pub struct Facts {
    /// Of which form this is.
    pub format: &'static str,
    /// What it is about, and who made it.
    pub about: About,
    /// What was counted in the log.
    pub log: Tally,
    /// Who can do what, by the bundle in force now, and when each did it last.
    pub access: Access,
    /// Data keys.
    pub keys: Vec<KeyFacts>,
    /// What each tenant keeps.
    pub retention: Vec<Kept>,
    /// What was measured on this machine.
    pub measured: Measured,
    /// Configuration and policy in force.
    pub configuration: Configuration,
    /// Where data flows, by the running configuration.
    pub flows: Vec<Flow>,
    /// The PSPs that card data can go to.
    pub psps: Vec<Psp>,
    /// Who attests to them, if a register is configured.
    pub psp_register: Option<Register>,
    /// Reviews of access and of the log.
    pub reviews: [Reviews; 2],
    /// What was proved of the policy bundle, if proofs were given.
    pub proofs: Option<PolicyProofs>,
    /// What an assessor may ask for and this system does not record.
    pub not_recorded: Vec<NotRecorded>,
}

/// What a bundle is about.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct About {
    /// The environment.
    pub environment: Environment,
    /// The instance that made it.
    pub instance: String,
    /// This program's version.
    pub version: &'static str,
    /// The log's name.
    pub log: String,
    /// The key the log and the bundle are verified with.
    pub log_key: String,
    /// The time it is about.
    #[serde(flatten)]
    pub period: Period,
    /// When it was made.
    pub made_at: Timestamp,
    /// By whom.
    pub made_by: String,
    /// Entries of the log that were read: all of the checkpoint's.
    pub checkpoint_size: u64,
    /// Their root.
    pub checkpoint_root: String,
}

/// Who can do what.
#[derive(Clone, Debug, Serialize)]
pub struct Access {
    /// Version of the bundle.
    pub bundle_version: u64,
    /// Its hash.
    pub bundle_sha256: String,
    /// SHA-256 of the matrix (`access.json`), as reviews name it.
    pub access_sha256: String,
    /// Every grant.
    pub grants: Vec<Grant>,
    /// What is not as it was in the bundle before.
    pub difference: Difference,
    /// The matrix as reviews and the next bundle read it.
    #[serde(skip)]
    pub matrix: String,
}

/// One grant and its use.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Grant {
    /// The grant.
    #[serde(flatten)]
    pub row: AccessRow,
    /// When it was used last, before the end of the period.
    pub last_use: Option<Timestamp>,
    /// How often in the period.
    pub uses: u64,
    /// Whether it is in use.
    pub standing: Standing,
    /// Since when its workload, or the caller it is for, is suspended: none of it is any use until that ends.
    pub suspended_since: Option<Timestamp>,
}

/// Whether a grant is in use.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// It was used within 90 days before the end of the period.
    InUse,
    /// It was not, for 90 days or longer.
    Unused,
    /// It was not, and the log is younger than 90 days.
    LogTooYoung,
    /// No entry tells of its use.
    NotRecorded,
}

impl Standing {
    /// For people.
    pub(super) const fn words(self) -> &'static str {
        match self {
            Self::InUse => "in use",
            Self::Unused => "unused for 90 days or longer",
            Self::LogTooYoung => "not used; the log is younger than 90 days",
            Self::NotRecorded => "use is not recorded",
        }
    }
}

/// What a tenant keeps.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Kept {
    /// The tenant.
    pub tenant: String,
    /// Days after the last change; none is for ever.
    pub days: Option<u32>,
    /// Why.
    pub reason: Option<String>,
    /// When the card that is kept longest was last changed.
    pub oldest: Option<Timestamp>,
    /// Cards that should be gone. Must be 0.
    pub past_due: u64,
}

/// What is in force.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Configuration {
    /// SHA-256 of the configuration file as it was read at the start.
    pub config_sha256: String,
    /// Version of the policy bundle.
    pub bundle_version: u64,
    /// Its hash.
    pub bundle_sha256: String,
    /// Its files with their hashes.
    pub bundle_files: Vec<(String, String)>,
    /// Routes with the hash both services must agree on.
    pub routes: Vec<(String, String)>,
    /// Seconds an unwrapped key may stay in memory.
    pub key_age_max_seconds: u64,
    /// Seconds a verification code may wait in memory.
    pub code_seconds: u64,
    /// Hours an erased card stays before it is destroyed.
    pub erase_hold_hours: u64,
}

/// Facts that are put together before the rest.
pub(super) struct Parts {
    pub(super) about: About,
    pub(super) log: Tally,
    pub(super) keys: Vec<KeyFacts>,
    pub(super) retention: Vec<Kept>,
    pub(super) measured: Measured,
    /// Who is suspended now, since when.
    pub(super) suspended: Suspensions,
    pub(super) reviews: Vec<ReviewRow>,
    pub(super) previous: Previous,
    pub(super) proofs: Option<PolicyProofs>,
}

/// Who is suspended, since when.
pub(super) type Suspensions = std::collections::BTreeMap<strongroom_domain::WorkloadId, Timestamp>;

impl Facts {
    pub(super) fn of(parts: Parts, authorizer: &Authorizer, config: &VaultConfig) -> Self {
        let Parts { about, log, keys, retention, measured, suspended, reviews, previous, proofs } = parts;
        let access = Access::of(authorizer.access(), previous, &log, about.period, &suspended);
        let psps = flow::psps(authorizer.routes());
        let routes: Vec<String> = psps.iter().map(|psp| psp.route.clone()).collect();
        let file = config.evidence.psp_register_file.as_ref();
        let reviews = reviews::reviews(&log.filed, reviews, config.reviews, log.oldest, about.period);
        Self {
            format: "strongroom-evidence/1",
            configuration: Configuration::of(authorizer, config),
            flows: flow::flows(config, authorizer.routes()),
            psps,
            psp_register: file.map(|file| Register::read(file, &routes, about.period.until)),
            reviews,
            proofs,
            not_recorded: missing::not_recorded(config),
            about,
            log,
            access,
            keys,
            retention,
            measured,
        }
    }

    /// Cards that should be gone, of all tenants.
    pub(super) fn past_due(&self) -> u64 {
        self.retention.iter().map(|kept| kept.past_due).sum()
    }

    /// Grants that are no use, because their workload or its caller is suspended.
    pub(super) fn suspended_grants(&self) -> u64 {
        self.access.grants.iter().filter(|grant| grant.suspended_since.is_some()).count() as u64
    }

    /// Reviews that are overdue, or have no record that holds.
    pub(super) fn reviews_missing(&self) -> u64 {
        self.reviews.iter().map(|reviews| u64::from(reviews.overdue) + reviews.wrong()).sum()
    }

    /// Grants of this standing.
    pub(super) fn grants_that_are(&self, standing: Standing) -> impl Iterator<Item = &Grant> {
        self.access.grants.iter().filter(move |grant| grant.standing == standing)
    }
}

impl Access {
    fn of(
        review: AccessReview,
        previous: Previous,
        log: &Tally,
        period: Period,
        suspended: &Suspensions,
    ) -> Self {
        let difference = Difference::between(previous, &review.rows);
        let (matrix, sha256) = access_sha256(&review).unwrap_or_default();
        let long_ago =
            period.until.minus(std::time::Duration::from_secs(u64::from(UNUSED_DAYS) * DAY_SECONDS));
        let log_is_old = log.oldest.is_some_and(|oldest| oldest <= long_ago);
        let grant = |row: AccessRow| {
            let key = grants::key_of(&row);
            let span = key.as_ref().and_then(|key| log.grants.find(key)).copied();
            let last_use = span.map(|span| span.last);
            let standing = match (key, last_use) {
                (None, _) => Standing::NotRecorded,
                (_, Some(last)) if last >= long_ago => Standing::InUse,
                _ if log.grants.not_itemised() > 0 => Standing::NotRecorded,
                _ if log_is_old => Standing::Unused,
                _ => Standing::LogTooYoung,
            };
            let of_caller = row.caller.as_ref().and_then(|caller| suspended.get(caller));
            let suspended_since = suspended.get(&row.workload).or(of_caller).copied();
            Grant { row, last_use, uses: span.map_or(0, |span| span.count), standing, suspended_since }
        };
        Self {
            bundle_version: review.bundle_version,
            bundle_sha256: review.bundle_sha256,
            access_sha256: hex::encode(sha256),
            difference,
            matrix,
            grants: review.rows.into_iter().map(grant).collect(),
        }
    }
}

impl Configuration {
    fn of(authorizer: &Authorizer, config: &VaultConfig) -> Self {
        let bundle = authorizer.bundle();
        let files = bundle.file_sha256.iter().map(|(path, sha256)| (path.clone(), hex::encode(sha256)));
        let route = |planned: &crate::authz::PlannedRoute| {
            (planned.route.name.to_string(), hex::encode(planned.route.sha256))
        };
        Self {
            config_sha256: hex::encode(config.sha256),
            bundle_version: bundle.version,
            bundle_sha256: hex::encode(bundle.sha256),
            bundle_files: files.collect(),
            routes: bundle.routes.iter().map(route).collect(),
            key_age_max_seconds: config.keys.max_age_seconds,
            code_seconds: config.cards.cvc_seconds,
            erase_hold_hours: config.cards.erase_hold_hours,
        }
    }
}
