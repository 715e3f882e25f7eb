//! Hardening of the process at its start: what it holds in memory is not written to disk by a crash, nor read by a debugger.
//!
//! Does not promise: protection from root or from the kernel.
//! Upholds: C-21.

use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// The operating system refused to harden the process. The start ends here.
#[derive(Debug, thiserror::Error)]
#[error("cannot {what}: let the service manager allow it")]
pub struct HardeningError {
    what: &'static str,
    #[source]
    source: rustix::io::Errno,
}

/// No core dumps, no attaching, no reading of `/proc/self/mem` by others of the same user. Call it first in `main`.
pub fn apply() -> Result<(), HardeningError> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })
        .map_err(|source| HardeningError { what: "forbid core dumps", source })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
        .map_err(|source| HardeningError { what: "make the process not dumpable", source })
}

#[cfg(test)]
mod tests {
    use rustix::process::{dumpable_behavior, getrlimit};

    use super::*;

    #[test]
    fn a_hardened_process_leaves_no_core() {
        apply().unwrap();
        assert_eq!(getrlimit(Resource::Core).maximum, Some(0));
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
