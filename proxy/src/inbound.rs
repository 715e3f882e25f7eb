//! Messages of others that hold card numbers, tokenized on their way to the platform (design §6).
//!
//! Promises: a message passes only at a declared path, from its sender, with a card number at a declared place and none
//! anywhere else; what passes has tokens there; nothing passes of a message that is refused. A message that a known sender
//! sends again leads to the same tokens. No answer goes back unscrubbed.
//! Does not promise: that a message reaches the platform once. It is told the message's name; the sender sends again.
//! Trusts: the vault for the tokens; the platform for what it does with them.
//! Upholds: C-53.

mod book;
mod platform;
mod refused;
mod service;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use serde::Deserialize;
use strongroom_perimeter::listener::{Listener, PublicListenerConfig};
use strongroom_perimeter::tls::{self, ClientTlsConfig};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use book::InboundError;
use book::Sources;
use service::Service;

use crate::app::{self, Ambient, StartError};
use crate::config::ProxyConfig;
use crate::vault::VaultClient;

/// How long messages whose senders hung up may take to end after the listener has drained.
const MESSAGES_DRAIN_MAX: Duration = Duration::from_secs(30);

/// Where messages come in, and whose identity tokenizes them.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InboundConfig {
    /// Where senders connect.
    pub listener: PublicListenerConfig,
    /// The certificate presented to the vault for tokenizing: a workload of the role `inbound`, never the one that forwards.
    pub vault_tls: ClientTlsConfig,
    /// The certificate presented to the platform, and the CA it is trusted by; without it none, and the entry's roots.
    pub platform_tls: Option<ClientTlsConfig>,
}

/// An inbound listener that is bound and not yet serving.
pub struct Receiver {
    listener: Listener,
    service: Arc<Service>,
    sources: Arc<Sources>,
    every: Duration,
    vault_tls: ClientTlsConfig,
}

impl Receiver {
    /// Reads everything, then binds. `None`: the settings have no inbound listener.
    pub fn bind(config: &ProxyConfig, ambient: &Ambient) -> Result<Option<Self>, StartError> {
        let Some(inbound) = &config.inbound else { return Ok(None) };
        let sources = Arc::new(Sources {
            policies: config.policies_folder.clone(),
            secrets: config.secrets_folder.clone(),
            platform_tls: inbound.platform_tls.clone(),
            resolver: ambient.resolver.clone(),
        });
        let book = sources.read()?;
        book.tell("inbound entries read");
        let vault = VaultClient::new(
            &config.vault.urls,
            tls::client_config(&inbound.vault_tls)?,
            &ambient.resolver,
            config.vault.open_timeout(),
        )?;
        let limits = inbound.listener.limits;
        let service = Arc::new(Service {
            book: ArcSwap::from_pointee(book),
            vault: Arc::new(vault),
            clock: ambient.clock.clone(),
            message_bytes_max: usize::try_from(limits.body_bytes_max.get())?,
            answer_bytes_max: config.limits.answer_bytes_max,
            messages: TaskTracker::new(),
        });
        let (clock, random) = (ambient.clock.clone(), ambient.random.clone());
        let listener = Listener::bind_public(inbound.listener.clone(), clock, random)?.named("inbound");
        let every = Duration::from_millis(limits.reload_interval_ms.get().into());
        Ok(Some(Self { listener, service, sources, every, vault_tls: inbound.vault_tls.clone() }))
    }

    /// Where senders connect.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.listener.local_addr()
    }

    /// Serves until `stop`, then drains. `background` ends what is looked at again and again.
    pub async fn serve(self, stop: CancellationToken, background: CancellationToken) {
        let Self { listener, service, sources, every, vault_tls } = self;
        tokio::spawn(app::renew(service.vault.clone(), vault_tls, background.clone()));
        tokio::spawn(book::watch(service.clone(), sources, every, background));
        let messages = service.messages.clone();
        listener.serve(service::router(service), stop).await;
        messages.close();
        if timeout(MESSAGES_DRAIN_MAX, messages.wait()).await.is_err() {
            tracing::error!(messages = messages.len(), "stopping with inbound messages under way");
        }
    }
}
