//! What an assessor may ask for and this system does not record. Saying so is part of the evidence.

use serde::Serialize;

use crate::config::VaultConfig;

/// One thing that is not recorded.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct NotRecorded {
    /// The requirement it would support.
    pub requirement: &'static str,
    /// What.
    pub what: &'static str,
    /// Where else it can be had, or why not.
    pub instead: &'static str,
}

const ALWAYS: [NotRecorded; 7] = [
    NotRecorded {
        requirement: "10.7.2",
        what: "heartbeats of controls: when each last worked and last failed",
        instead: "the services show their state as metrics; whoever collects those has the history",
    },
    NotRecorded {
        requirement: "12.10.7",
        what: "each card number that was found in a path, query or header: such a request is refused and only counted",
        instead: "the counter strongroom_pan_unexpected_total since the start of each process; the log below counts what was written as an entry",
    },
    NotRecorded {
        requirement: "3.3.1",
        what: "verification codes that came in, expired or were given back: they live in memory only and leave no entry",
        instead: "forwards that asked for a code are counted from the log, and no table of the store has a column for one",
    },
    NotRecorded {
        requirement: "4.2.1",
        what: "protocol versions and suites between the proxy and the PSPs",
        instead: "the proxy's configuration and metrics; sessions at the vault's api are counted from the log",
    },
    NotRecorded {
        requirement: "4.2.1.1",
        what: "subject and expiry of callers' certificates: entries hold the certificate's hash and the identity in it",
        instead: "the issuing authority's inventory, by that hash",
    },
    NotRecorded {
        requirement: "10.6.1",
        what: "the offset of this machine's clock",
        instead: "the time service of the host",
    },
    NotRecorded {
        requirement: "11.5.2",
        what: "earlier measurements of the program and its files: they are measured when a bundle is made",
        instead: "earlier bundles, each named on the log by its hash",
    },
];

pub(super) fn not_recorded(config: &VaultConfig) -> Vec<NotRecorded> {
    let mut all = ALWAYS.to_vec();
    if config.evidence.psp_register_file.is_none() {
        all.push(NotRecorded {
            requirement: "12.8.4",
            what: "attestations of compliance of PSPs and their dates: no register is configured",
            instead: "set evidence.psp_register_file; or the register kept by those who manage third parties",
        });
    }
    if config.audit.folder.is_none() && config.audit.bucket.is_none() {
        all.push(NotRecorded {
            requirement: "10.3.3",
            what: "a copy of the log outside the database: none is configured",
            instead: "set audit.folder or audit.bucket",
        });
    }
    all
}
