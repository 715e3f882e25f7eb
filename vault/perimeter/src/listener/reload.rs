//! Certificates, keys, CAs and revocation lists, replaced without a restart.
//!
//! Promises: what was in use stays in use until something better has been verified; every change and every refusal is
//! logged once and counted.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::config::TlsFiles;
use super::trust::{Read, Trust};
use crate::tls::MaterialError;

/// Reads a listener's files again on demand. Clones are handles to the same listener.
#[derive(Clone)]
pub struct Reloader(Arc<Inner>);

struct Inner {
    service: &'static str,
    files: TlsFiles,
    trust: Arc<ArcSwap<Trust>>,
    /// Held while reading, so that two reloads do not overtake each other; the hash of what was refused last.
    refused: Mutex<Option<[u8; 32]>>,
}

/// What a reload did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reloaded {
    /// The files are as they were.
    Unchanged,
    /// New handshakes see the new material, and every open connection is verified against it at its next request.
    Replaced,
}

impl Reloader {
    pub(crate) fn new(service: &'static str, files: TlsFiles, trust: Arc<ArcSwap<Trust>>) -> Self {
        Self(Arc::new(Inner { service, files, trust, refused: Mutex::new(None) }))
    }

    /// Reads the files now. Blocks for as long as the file system does. On an error the old material stays in use.
    pub fn reload(&self) -> Result<Reloaded, MaterialError> {
        let mut refused = self.0.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let read = Read::all(&self.0.files);
        let sha256 = read.as_ref().map_or([0; 32], |read| read.sha256);
        let current = self.0.trust.load_full();
        match read.and_then(|read| current.reload(&read)) {
            Ok(None) => {
                *refused = None;
                Ok(Reloaded::Unchanged)
            }
            Ok(Some(next)) => {
                *refused = None;
                self.0.replaced(&next);
                self.0.trust.store(Arc::new(next));
                Ok(Reloaded::Replaced)
            }
            Err(error) => {
                if refused.replace(sha256) != Some(sha256) {
                    self.0.refused(&error);
                }
                Err(error)
            }
        }
    }

    /// Looks at the files again and again until `stop`.
    pub(crate) async fn poll(self, every: Duration, stop: CancellationToken) {
        let mut tick = interval(every);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            let this = self.clone();
            // Its errors have been logged and counted; a panic in it is a defect the panic hook has logged.
            drop(tokio::task::spawn_blocking(move || this.reload().is_ok()).await);
        }
    }
}

impl Inner {
    fn replaced(&self, next: &Trust) {
        metrics::counter!("strongroom_tls_reloads_total", "service" => self.service, "outcome" => "replaced")
            .increment(1);
        tell_ends(self.service, next);
        tracing::info!(
            service = self.service,
            generation = next.generation,
            certificate_sha256 = hex::encode(next.certificate_sha256),
            not_after = %next.not_after,
            "certificates and revocation lists reloaded"
        );
    }

    fn refused(&self, error: &MaterialError) {
        metrics::counter!("strongroom_tls_reloads_total", "service" => self.service, "outcome" => "refused")
            .increment(1);
        tracing::error!(
            service = self.service,
            error = error as &dyn std::error::Error,
            "new certificates or revocation lists are not usable; the old ones stay in use"
        );
    }
}

/// Gauges an alarm can watch: when our certificate and the first revocation list end, Unix seconds.
pub(crate) fn tell_ends(service: &'static str, trust: &Trust) {
    metrics::gauge!("strongroom_tls_certificate_not_after_seconds", "service" => service)
        .set(trust.not_after.unix_seconds() as f64);
    if let Some(ends) = trust.lists.next_update {
        metrics::gauge!("strongroom_tls_crl_next_update_seconds", "service" => service)
            .set(ends.unix_seconds() as f64);
    }
}

impl std::fmt::Debug for Reloader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reloader").field("service", &self.0.service).finish_non_exhaustive()
    }
}
