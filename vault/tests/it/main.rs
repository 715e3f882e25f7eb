//! One binary for all integration tests of the vault.

#[cfg(test)] // so that lints see tests
mod aliases;
#[cfg(test)]
mod audit_format;
#[cfg(test)]
mod authz_matrix;
#[cfg(test)]
mod aws;
#[cfg(test)]
mod batches;
#[cfg(test)]
mod cards;
#[cfg(test)]
mod cards_read;
#[cfg(test)]
mod compat;
#[cfg(test)]
mod console;
#[cfg(test)]
mod contract;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod dedupe;
#[cfg(test)]
mod denials;
#[cfg(test)]
mod deploy;
#[cfg(test)]
mod ends;
#[cfg(test)]
mod events;
#[cfg(test)]
mod evidence;
#[cfg(test)]
mod exports;
#[cfg(test)]
mod find;
#[cfg(test)]
mod forwards;
#[cfg(test)]
mod hand_over;
#[cfg(test)]
mod imports;
#[cfg(test)]
mod leaks;
#[cfg(test)]
mod matching;
#[cfg(test)]
mod once;
#[cfg(test)]
mod peer_failures;
#[cfg(test)]
mod postgres;
#[cfg(test)]
mod races;
#[cfg(test)]
mod receipts;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod reviews;
#[cfg(test)]
mod served_log;
#[cfg(test)]
mod service;
#[cfg(test)]
mod signed_log;
#[cfg(test)]
mod simultaneous;
#[cfg(test)]
mod store;
#[cfg(test)]
mod suspension;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod threat_model;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod update_races;
#[cfg(test)]
mod updates;
#[cfg(test)]
mod watch;
