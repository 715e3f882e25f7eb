//! Looking at the files a registry was read from, and reading them again when one changed.
//!
//! Promises: what is read is newer than its stamp, so no change is missed; reading never holds up a call.
//! Does not promise: to notice pinned roots outside `policies/routes`; they are read again with the next change.
//! Trusts: the file system to move a file's change time when it changes.
//! Upholds: C-37.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::{Registry, RegistryError, Sources};

impl Sources {
    /// Every file a registry depends on, by what changes when it changes.
    #[must_use]
    pub fn stamp(&self) -> Stamps {
        let config = &self.config;
        let mut stamps = Vec::new();
        for folder in ["routes", "accounts"] {
            walk(&config.policies_folder.join(folder), DEPTH_MAX, &mut stamps);
        }
        walk(&config.secrets_folder, DEPTH_MAX, &mut stamps);
        note(&config.policies_folder.join("workloads.json"), &mut stamps);
        if let Some(connect) = &config.connect {
            note(&connect.ca_certificate_file, &mut stamps);
            note(&connect.ca_key_file, &mut stamps);
        }
        stamps.sort_unstable();
        Stamps(stamps)
    }
}

/// `accounts/<route>/<account>.toml` lies two folders deep; secrets may have folders of their own.
const DEPTH_MAX: u8 = 4;

/// Every file a registry was read from, as it was.
#[derive(PartialEq, Eq)]
pub struct Stamps(Vec<Stamp>);

/// A file as it was: path, length, change time, inode.
type Stamp = (PathBuf, u64, i64, i64, u64);

fn walk(folder: &Path, depth: u8, into: &mut Vec<Stamp>) {
    let Ok(entries) = std::fs::read_dir(folder) else { return };
    for entry in entries.flatten() {
        let path = entry.path();
        match path.is_dir() {
            true if depth > 0 => walk(&path, depth - 1, into),
            true => {}
            false => note(&path, into),
        }
    }
}

fn note(path: &Path, into: &mut Vec<Stamp>) {
    if let Ok(file) = std::fs::metadata(path) {
        into.push((path.to_owned(), file.len(), file.ctime(), file.ctime_nsec(), file.ino()));
    }
}

/// Looks at the files again and again until `stop`; what cannot be used is said once and the old stays. `seen` was taken
/// before the registry in use was read.
pub async fn watch(
    registry: Arc<ArcSwap<Registry>>,
    sources: Arc<Sources>,
    seen: Stamps,
    every: Duration,
    stop: CancellationToken,
) {
    let mut tick = interval(every);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut seen = Some(seen);
    while stop.run_until_cancelled(tick.tick()).await.is_some() {
        let (sources, before) = (sources.clone(), registry.load_full());
        let last = seen.take();
        let looking = tokio::task::spawn_blocking(move || look(&sources, &before, last));
        // A panic in it is a defect the panic hook has logged; the next look begins anew.
        let Ok((stamp, read)) = looking.await else { continue };
        seen = Some(stamp);
        match read {
            None => {}
            Some(Ok(next)) => {
                metrics::counter!("strongroom_proxy_reloads_total", "outcome" => "replaced").increment(1);
                next.tell("routes and accounts reloaded");
                registry.store(Arc::new(next));
            }
            Some(Err(error)) => {
                metrics::counter!("strongroom_proxy_reloads_total", "outcome" => "refused").increment(1);
                let error = &error as &dyn std::error::Error;
                tracing::error!(error, "new routes or accounts are not usable; the old ones stay in use");
            }
        }
    }
}

/// Reads only where a file changed since `last`. The stamp is taken first: what changes meanwhile is seen next time.
fn look(
    sources: &Sources,
    before: &Registry,
    last: Option<Stamps>,
) -> (Stamps, Option<Result<Registry, RegistryError>>) {
    let stamp = sources.stamp();
    let read = (last.as_ref() != Some(&stamp)).then(|| sources.read(Some(before)));
    (stamp, read)
}
