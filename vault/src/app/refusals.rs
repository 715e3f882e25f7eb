//! Refused handshakes become audit entries (PCI DSS 10.2.1.4).
//!
//! Promises: a flood of refusals fills a bounded queue and is counted beyond it; it never slows a handshake or a commit.

use std::sync::Arc;

use strongroom_domain::Clock;
use strongroom_perimeter::listener::{HandshakeObserver, HandshakeRefusal};
use tokio::sync::mpsc;

use crate::audit::{Actor, Draft, Event, Object, Outcome, Source};
use crate::store::{Change, Committer};

/// Most refusals that wait: whoever reaches the port can cause them.
const WAITING_MAX: usize = 1_024;

/// Takes refusals from the listener.
pub(super) struct Observer(mpsc::Sender<HandshakeRefusal>);

/// Writes them to the log.
pub(super) struct Refusals {
    waiting: mpsc::Receiver<HandshakeRefusal>,
    committer: Committer,
    clock: Arc<dyn Clock>,
}

pub(super) fn channel(committer: Committer, clock: Arc<dyn Clock>) -> (Observer, Refusals) {
    let (sender, waiting) = mpsc::channel(WAITING_MAX);
    (Observer(sender), Refusals { waiting, committer, clock })
}

impl HandshakeObserver for Observer {
    fn refused(&self, refusal: HandshakeRefusal) {
        if self.0.try_send(refusal).is_err() {
            metrics::counter!("strongroom_tls_refusals_unwritten_total").increment(1);
        }
    }
}

impl Refusals {
    pub(super) async fn write(mut self) {
        while let Some(refusal) = self.waiting.recv().await {
            let actor = Actor::Unidentified { cert_sha256: refusal.certificate_sha256 };
            let source = Source { peer: refusal.peer, tls: None };
            let object = Object::Listener("api");
            let entry =
                Draft::by_peer(self.clock.now(), Event::TlsReject, Outcome::Denied, actor, source, object);
            let written = self.committer.commit(Change::Entry { entry: entry.because(refusal.reason) }).await;
            if written.is_err() {
                metrics::counter!("strongroom_tls_refusals_unwritten_total").increment(1);
            }
        }
    }
}
