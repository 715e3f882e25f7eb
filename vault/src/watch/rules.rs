//! The rules, and what one says when it finds something.

use std::time::Duration;

use strongroom_domain::route::RouteName;
use strongroom_domain::{TenantId, Timestamp, TokenRef, WorkloadId};

use crate::audit::{Draft, Event, FindingRef, Object, Outcome, Seen};

macro_rules! rules {
    ($($(#[$doc:meta])* $variant:ident = ($name:literal, $severity:ident),)*) => {
        /// What is watched for.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, serde::Deserialize)]
        pub enum Rule { $($(#[$doc])* #[serde(rename = $name)] $variant,)* }

        impl Rule {
            /// Every rule.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The reason in a finding's entry.
            #[must_use]
            pub const fn as_str(self) -> &'static str { match self { $(Self::$variant => $name,)* } }

            /// How bad it is.
            #[must_use]
            pub const fn severity(self) -> Severity { match self { $(Self::$variant => Severity::$severity,)* } }
        }
    };
}

rules! {
    /// A caller had more cards released within a minute than it usually may.
    ReleaseRate = ("release-rate", High),
    /// A caller read facts of more cards within a minute than it usually may.
    LookupRate = ("lookup-rate", Medium),
    /// Much of what a caller asked for was refused.
    DeniedRatio = ("denied-ratio", Medium),
    /// A caller tokenized many numbers of one BIN and last four.
    ManyNumbers = ("many-numbers", High),
    /// A card others had released was released to a caller that never had it.
    NewCaller = ("new-caller", Medium),
    /// A caller that is known by other certificates showed a new one.
    NewCertificate = ("new-certificate", Low),
    /// Card data of a caller that uses other routes or accounts went to one it never went to before.
    NewRoute = ("new-route", Medium),
    /// A policy bundle came into force that sends cards to another place.
    NewDestination = ("new-destination", High),
    /// A record, a key or an entry was altered, or a record was moved.
    ControlFailed = ("control-failed", Critical),
    /// A card number was found where none belongs.
    PanUnexpected = ("pan-unexpected", High),
    /// Entries wait for the signed log and nobody takes them in.
    LogStalled = ("log-stalled", Critical),
    /// Nobody signed within the time set that access was reviewed.
    AccessReviewOverdue = ("access-review-overdue", Medium),
    /// Nobody signed within the time set that the log was reviewed.
    LogReviewOverdue = ("log-review-overdue", Medium),
}

/// How bad it is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    /// To know.
    Low,
    /// To look at today.
    Medium,
    /// To look at now.
    High,
    /// To page somebody for.
    Critical,
}

impl Severity {
    /// As a finding's entry says it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}

/// Something a rule found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Hit {
    /// Which rule.
    pub rule: Rule,
    /// When the entry was written that made it one.
    pub at: Timestamp,
    /// Who did it.
    pub principal: Option<WorkloadId>,
    /// With which certificate.
    pub certificate: Option<[u8; 32]>,
    /// Where card data went.
    pub route: Option<RouteName>,
    /// Of which tenant.
    pub tenant: Option<TenantId>,
    /// Which card.
    pub token: Option<TokenRef>,
    /// How many.
    pub count: u64,
    /// How many are let pass.
    pub limit: u64,
    /// Within which time.
    pub within: Duration,
    /// First and last entry it rests on.
    pub places: (u64, u64),
}

impl Hit {
    /// About one entry.
    pub(super) fn of(rule: Rule, place: u64, seen: &Seen) -> Self {
        Self {
            rule,
            at: seen.ts,
            principal: WorkloadId::parse(&seen.actor.id).ok(),
            certificate: None,
            route: None,
            tenant: seen.obj.tenant.as_deref().and_then(|tenant| TenantId::parse(tenant).ok()),
            token: None,
            count: 1,
            limit: 0,
            within: Duration::ZERO,
            places: (place, place),
        }
    }

    /// Entries wait for the signed log since so long.
    pub(super) const fn of_stalled(now: Timestamp, since: Duration) -> Self {
        Self {
            rule: Rule::LogStalled,
            at: now,
            principal: None,
            certificate: None,
            route: None,
            tenant: None,
            token: None,
            count: 1,
            limit: 0,
            within: since,
            places: (0, 0),
        }
    }

    /// What an earlier finding on the log was.
    pub(super) fn told(seen: &Seen) -> Option<Self> {
        let finding = seen.finding.as_ref()?;
        let text = |name: &str| finding.get(name).and_then(serde_json::Value::as_str);
        let rule = Rule::ALL.iter().find(|rule| Some(rule.as_str()) == seen.rsn.as_deref())?;
        Some(Self {
            principal: text("principal").and_then(|name| WorkloadId::parse(name).ok()),
            route: text("route").and_then(RouteName::parse),
            ..Self::of(*rule, 0, seen)
        })
    }

    /// What makes two of them the same, so that the second is not told at once.
    pub(super) fn sameness(&self) -> (Rule, String) {
        let principal = self.principal.as_ref().map_or("-", WorkloadId::as_str);
        let route = self.route.as_ref().map_or("-", RouteName::as_str);
        let tenant = match self.rule {
            Rule::ManyNumbers | Rule::ControlFailed | Rule::PanUnexpected => self.tenant.as_ref(),
            _ => None,
        };
        (self.rule, format!("{principal} {route} {}", tenant.map_or("-", TenantId::as_str)))
    }

    /// Its entry.
    pub(super) fn entry(&self, now: Timestamp) -> Draft {
        let object = match (&self.token, &self.tenant) {
            (Some(token), tenant) => Object::Token { token: token.clone(), tenant: tenant.clone() },
            (None, Some(tenant)) => Object::Tenant(tenant.clone()),
            (None, None) => Object::Service("watch"),
        };
        let finding = FindingRef {
            certificate_sha256: self.certificate,
            count: self.count,
            first_index: self.places.0,
            last_index: self.places.1,
            limit: self.limit,
            principal: self.principal.clone(),
            route: self.route.clone(),
            seconds: self.within.as_secs(),
            severity: self.rule.severity().as_str(),
        };
        Draft::by_service(now, Event::AnomalyFound, Outcome::Success, object)
            .because(self.rule.as_str())
            .finding(finding)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_names_of_their_own() {
        let mut names: Vec<_> = Rule::ALL.iter().map(|rule| rule.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Rule::ALL.len());
    }
}
