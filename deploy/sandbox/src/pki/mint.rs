//! What a certificate shall say: the right ones, and every way to be wrong that a test needs.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use super::{LEAF_DAYS, Pki};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a leaf may be used for (RFC 5280 §4.2.1.12).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Usage {
    /// `id-kp-clientAuth`.
    Client,
    /// `id-kp-serverAuth`.
    Server,
}

/// Whose signature a leaf carries.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SignedBy {
    /// The root of this infrastructure's workloads.
    Workloads,
    /// The root of the sandbox PSP.
    Psp,
    /// A root made for this one certificate, which nobody trusts.
    Stranger,
    /// The same, under the very name of the workload root: only its signature tells.
    Impostor,
}

/// When a leaf is valid.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lifetime {
    /// From a little before now, for [`LEAF_DAYS`].
    Usual,
    /// From a little before now, for this long: to watch one end during a test.
    For(Duration),
    /// Ended an hour ago.
    Expired,
    /// Begins in a day.
    NotYet,
}

impl Lifetime {
    /// Clocks of two machines differ; five minutes is what Kerberos allows (RFC 4120 §8.1).
    const SKEW: Duration = Duration::from_secs(300);

    /// Start and end in whole seconds since the Unix epoch.
    pub(super) fn bounds(self, now: i64) -> (i64, i64) {
        let seconds = |duration: Duration| i64::try_from(duration.as_secs()).unwrap_or(i64::MAX / 4);
        let days = |days: u64| seconds(DAY) * i64::try_from(days).unwrap_or(i64::MAX / 4);
        match self {
            Self::Usual => (now - seconds(Self::SKEW), now + days(LEAF_DAYS)),
            Self::For(duration) => (now - seconds(Self::SKEW), now + seconds(duration)),
            Self::Expired => (now - days(30), now - 3_600),
            Self::NotYet => (now + days(1), now + days(2)),
        }
    }
}

/// What a certificate shall say. Begin with [`Self::client`] or [`Self::server`] and change what shall be wrong.
///
/// ```
/// # use strongroom_sandbox::pki::{Lifetime, MintOptions, SignedBy};
/// let two_names = MintOptions::client("orchestrator").also_uri("spiffe://strongroom.test/proxy");
/// let expired = MintOptions::client("orchestrator").lifetime(Lifetime::Expired);
/// let foreign = MintOptions::client("orchestrator").signed_by(SignedBy::Impostor);
/// ```
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MintOptions {
    pub(super) usage: Usage,
    pub(super) uris: Vec<String>,
    pub(super) dns: Vec<String>,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) signed_by: SignedBy,
    pub(super) lifetime: Lifetime,
}

impl MintOptions {
    /// A client certificate for one workload.
    #[must_use]
    pub fn client(workload: &str) -> Self {
        Self {
            usage: Usage::Client,
            uris: vec![Pki::spiffe_id(workload)],
            dns: Vec::new(),
            addresses: Vec::new(),
            signed_by: SignedBy::Workloads,
            lifetime: Lifetime::Usual,
        }
    }

    /// A server certificate for these DNS names and both loopback addresses.
    #[must_use]
    pub fn server(names: &[&str]) -> Self {
        Self {
            usage: Usage::Server,
            uris: Vec::new(),
            dns: names.iter().map(|&name| name.to_owned()).collect(),
            addresses: vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()],
            signed_by: SignedBy::Workloads,
            lifetime: Lifetime::Usual,
        }
    }

    /// The same with one more URI SAN.
    #[must_use]
    pub fn also_uri(mut self, uri: &str) -> Self {
        self.uris.push(uri.to_owned());
        self
    }

    /// The same with one more DNS SAN.
    #[must_use]
    pub fn also_dns(mut self, name: &str) -> Self {
        self.dns.push(name.to_owned());
        self
    }

    /// The same without any URI SAN.
    #[must_use]
    pub fn without_uri(mut self) -> Self {
        self.uris.clear();
        self
    }

    /// The same without the loopback addresses: a server reached under another name than its certificate's.
    #[must_use]
    pub fn without_addresses(mut self) -> Self {
        self.addresses.clear();
        self
    }

    /// The same for another use.
    #[must_use]
    pub fn usage(self, usage: Usage) -> Self {
        Self { usage, ..self }
    }

    /// The same, signed by another root.
    #[must_use]
    pub fn signed_by(self, signed_by: SignedBy) -> Self {
        Self { signed_by, ..self }
    }

    /// The same, valid at another time.
    #[must_use]
    pub fn lifetime(self, lifetime: Lifetime) -> Self {
        Self { lifetime, ..self }
    }
}
