//! `kill -9`, at random moments, with at least 64 requests in flight: nothing that was acknowledged is lost, no answered
//! forward lacks its entry, the log has no hole, and a restart needs no help.
//!
//! The vault is the real program. The client is a process of its own and syncs every acknowledgement before it counts.
//! `STRONGROOM_CRASH_ROUNDS=20 STRONGROOM_CRASH_ACKS=10000` runs the full campaign; `STRONGROOM_CRASH_SEED` repeats the
//! moments of one. Each run prints one line of figures.

mod campaign;
mod client;
mod journal;
mod process;
mod verify;

pub(crate) use campaign::{onboard, store_of};
pub(crate) use client::{card, door, number};
pub(crate) use process::Vault;
pub(crate) use verify::sound_log;

use campaign::{Campaign, Victim};

/// One setting of the tests.
#[expect(clippy::disallowed_methods, reason = "tests take their settings from the environment")]
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var(name).ok()
}

#[test]
fn a_killed_vault_on_sqlite_loses_nothing() {
    Campaign::on_sqlite(Victim::Vault).run();
}

#[test]
fn a_killed_vault_on_postgres_loses_nothing() {
    Campaign::on_postgres(Victim::Vault).run();
}

#[test]
fn a_postgres_killed_under_the_vault_loses_nothing_and_the_vault_goes_on_by_itself() {
    Campaign::on_postgres(Victim::Postgres).run();
}
