//! What the tests share: a clock that stands where it was put, a PSP in a folder of its own.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use strongroom_domain::{Clock, Random, RandomUnavailable, Timestamp};
use strongroom_sandbox::client::{Client, Exchange, NoAnswer};
use strongroom_sandbox::pki::{Pki, Server};
use strongroom_sandbox::psp::{Psp, PspConfig};

pub(crate) struct HandClock(AtomicI64);

impl HandClock {
    /// Begins at the real time: other programs look at the certificates too.
    #[expect(clippy::disallowed_methods, reason = "the one place where the tests learn the time")]
    pub(crate) fn now() -> Arc<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        Arc::new(Self(AtomicI64::new(i64::try_from(now.as_micros()).unwrap())))
    }

    pub(crate) fn advance_days(&self, days: i64) {
        self.0.fetch_add(days * 86_400_000_000, Ordering::SeqCst);
    }
}

impl Clock for HandClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(self.0.load(Ordering::SeqCst))
    }
}

/// The system's randomness.
pub(crate) struct SystemRandom;

impl Random for SystemRandom {
    fn fill(&self, out: &mut [u8]) -> Result<(), RandomUnavailable> {
        use ring::rand::SecureRandom;
        ring::rand::SystemRandom::new().fill(out).map_err(|_| RandomUnavailable)
    }
}

/// A sandbox PSP with its certificates, in a folder that goes with it.
pub(crate) struct Setting {
    pub(crate) folder: tempfile::TempDir,
    pub(crate) clock: Arc<HandClock>,
    pub(crate) pki: Pki,
    pub(crate) psp: Psp,
}

pub(crate) const API_KEY: &str = "sk_test_sandbox";

impl Setting {
    pub(crate) async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let clock = HandClock::now();
        let pki = Pki::open_or_create(folder.path().join("pki"), clock.clone()).unwrap();
        let psp = start_psp(folder.path(), &pki, &clock).await;
        Self { folder, clock, pki, psp }
    }

    /// Stops the PSP and starts it again on what is on disk.
    pub(crate) async fn restart(self) -> Self {
        let Self { folder, clock, pki, psp } = self;
        psp.stop().await;
        let psp = start_psp(folder.path(), &pki, &clock).await;
        Self { folder, clock, pki, psp }
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.pki, None, Server::Psp, self.psp.address()).unwrap()
    }

    /// A form, with the API key and perhaps an idempotency key.
    pub(crate) async fn form(&self, path: &str, key: Option<&str>, body: &str) -> Exchange {
        self.try_form(path, key, body).await.unwrap()
    }

    pub(crate) async fn try_form(
        &self,
        path: &str,
        key: Option<&str>,
        body: &str,
    ) -> Result<Exchange, NoAnswer> {
        let bearer = format!("Bearer {API_KEY}");
        let mut headers =
            vec![("Authorization", bearer.as_str()), ("Content-Type", "application/x-www-form-urlencoded")];
        headers.extend(key.map(|key| ("Idempotency-Key", key)));
        self.client().send("POST", path, &headers, body.as_bytes()).await
    }

    pub(crate) async fn show(&self, path: &str) -> Exchange {
        let bearer = format!("Bearer {API_KEY}");
        self.client().send("GET", path, &[("Authorization", &bearer)], b"").await.unwrap()
    }
}

async fn start_psp(folder: &Path, pki: &Pki, clock: &Arc<HandClock>) -> Psp {
    let mut config = PspConfig::new(pki.server(Server::Psp).unwrap(), folder.join("psp"));
    config.api_key = Some(API_KEY.to_owned());
    config.slow = std::time::Duration::from_millis(1_500);
    Psp::start(config, clock.clone(), Arc::new(SystemRandom)).await.unwrap()
}
