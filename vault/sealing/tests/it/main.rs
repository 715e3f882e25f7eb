//! The providers against KMS servers: one conformance suite over `file` and `aws`, and what happens when the KMS is ill.
//!
//! `aws` runs against a strict double (`double.rs`, no known gaps) and two emulators from PyPI, each installed once
//! into `target/tmp` or the folder `STRONGROOM_TEST_CACHE` names (needs `python3` of 3.10 or newer with `venv`).

#[cfg(test)]
mod conformance;
#[cfg(test)]
mod double;
#[cfg(test)]
mod emulator;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod ring;
#[cfg(test)]
mod world;
