//! Settings of events.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use http::Uri;
use serde::Deserialize;
use strongroom_domain::{Environment, TenantId};

use super::DAY;
use super::backoff::Backoff;
use super::kafka::KafkaConfig;
use crate::store::{Audience, DestinationName, Outbox, Subscription};

/// Most destinations: each has a task and asks the database twice a second.
const DESTINATIONS_MAX: usize = 64;
/// Keys of one destination: the one in use and the one that comes or goes.
const SECRETS_MAX: usize = 2;

/// Who is told what becomes of cards.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventsConfig {
    /// Hours an event is tried before it is given up, 1 to 720.
    pub give_up_hours: u64,
    /// Milliseconds until a refused event is tried again, 100 to 3,600,000. Doubles with each attempt.
    pub retry_min_ms: u64,
    /// Longest time between two attempts, in milliseconds, at most 86,400,000.
    pub retry_max_ms: u64,
    /// Days delivered events are kept, to be replayed, 0 to 90.
    pub delivered_days: u64,
    /// Days events that were given up are kept, 1 to 365.
    pub dead_days: u64,
    /// Days before its end that a card is told to be expiring, 0 (never) to 366.
    pub expiring_days: u64,
    /// Destinations that are posted to.
    pub webhooks: Vec<WebhookConfig>,
    /// Destinations that are topics of Kafka.
    pub kafka: Vec<KafkaConfig>,
}

/// One webhook.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookConfig {
    /// Its name: what is pending for it is found by it.
    pub name: DestinationName,
    /// Where events are posted to: `https://HOST[:PORT]/PATH`.
    pub url: String,
    /// Files holding its keys, one or two: every request is signed with each. Read anew every few seconds.
    pub secret_files: Vec<PathBuf>,
    /// Tenants whose cards it is told of.
    #[serde(default)]
    pub tenants: Vec<TenantId>,
    /// Groups of such tenants. Every tenant's cards if neither is given.
    #[serde(default)]
    pub groups: Vec<String>,
    /// PEM file of the only authorities its certificate may lead to; the WebPKI's if absent.
    pub roots_file: Option<PathBuf>,
    /// Addresses that are not public and that it may have all the same, one by one.
    #[serde(default)]
    pub private_addresses: Vec<IpAddr>,
    /// How long connecting and answering may take together, in milliseconds, 100 to 15,000.
    #[serde(default = "default_timeout_ms")]
    pub timeout_ms: u64,
    /// Most requests to it at once, 1 to 64; never two for one card.
    #[serde(default = "default_at_once")]
    pub at_once: usize,
}

const fn default_timeout_ms() -> u64 {
    10_000
}

const fn default_at_once() -> usize {
    16
}

impl Default for EventsConfig {
    fn default() -> Self {
        Self {
            give_up_hours: 72,
            retry_min_ms: 5_000,
            retry_max_ms: 3_600_000,
            delivered_days: 7,
            dead_days: 30,
            expiring_days: 30,
            webhooks: Vec::new(),
            kafka: Vec::new(),
        }
    }
}

impl EventsConfig {
    /// Whether every value is within its bounds.
    pub fn check(&self, environment: Environment) -> Result<(), String> {
        let within = |name: &str, value: u64, least: u64, most: u64| {
            let right = (least..=most).contains(&value);
            if right { Ok(()) } else { Err(format!("events.{name} is {least} to {most}")) }
        };
        within("give_up_hours", self.give_up_hours, 1, 720)?;
        within("retry_min_ms", self.retry_min_ms, 100, 3_600_000)?;
        within("retry_max_ms", self.retry_max_ms, self.retry_min_ms, 86_400_000)?;
        within("delivered_days", self.delivered_days, 0, 90)?;
        within("dead_days", self.dead_days, 1, 365)?;
        within("expiring_days", self.expiring_days, 0, 366)?;
        if self.webhooks.len() + self.kafka.len() > DESTINATIONS_MAX {
            return Err(format!("events.webhooks and events.kafka are at most {DESTINATIONS_MAX}"));
        }
        let mut names = HashSet::new();
        for name in self.names() {
            if !names.insert(name) {
                return Err(format!("events: two destinations are called {name}"));
            }
        }
        for webhook in &self.webhooks {
            webhook.check().map_err(|what| format!("events.webhooks {}: {what}", webhook.name))?;
        }
        for topic in &self.kafka {
            topic.check(environment).map_err(|what| format!("events.kafka {}: {what}", topic.name))?;
        }
        Ok(())
    }

    fn names(&self) -> impl Iterator<Item = &DestinationName> {
        let webhooks = self.webhooks.iter().map(|webhook| &webhook.name);
        webhooks.chain(self.kafka.iter().map(|topic| &topic.name))
    }

    /// Who is told of what.
    #[must_use]
    pub fn outbox(&self) -> Outbox {
        let subscribe = |destination: &DestinationName, audience| Subscription {
            destination: destination.clone(),
            audience,
        };
        let webhooks = self.webhooks.iter().map(|to| subscribe(&to.name, audience(&to.tenants, &to.groups)));
        let topics = self.kafka.iter().map(|to| subscribe(&to.name, audience(&to.tenants, &to.groups)));
        Outbox::new(webhooks.chain(topics).collect(), self.give_up())
    }

    pub(super) const fn give_up(&self) -> Duration {
        Duration::from_secs(self.give_up_hours.saturating_mul(3_600))
    }

    pub(super) const fn backoff(&self) -> Backoff {
        Backoff {
            least: Duration::from_millis(self.retry_min_ms),
            most: Duration::from_millis(self.retry_max_ms),
        }
    }

    pub(super) fn expiring(&self) -> Duration {
        days(self.expiring_days)
    }

    pub(super) fn delivered(&self) -> Duration {
        days(self.delivered_days)
    }

    pub(super) fn dead(&self) -> Duration {
        days(self.dead_days)
    }
}

fn days(days: u64) -> Duration {
    DAY.saturating_mul(u32::try_from(days).unwrap_or(u32::MAX))
}

impl WebhookConfig {
    fn check(&self) -> Result<(), String> {
        self.place()?;
        if !(1..=SECRETS_MAX).contains(&self.secret_files.len()) {
            return Err("secret_files are one or two".into());
        }
        if !(100..=15_000).contains(&self.timeout_ms) {
            return Err("timeout_ms is 100 to 15000".into());
        }
        if !(1..=64).contains(&self.at_once) {
            return Err("at_once is 1 to 64".into());
        }
        Ok(())
    }

    /// Where events are posted to, parsed.
    pub(super) fn place(&self) -> Result<Uri, String> {
        let wrong = || "url is not https://HOST[:PORT]/PATH without a user or a fragment".to_owned();
        let uri: Uri = self.url.parse().map_err(|_| wrong())?;
        let authority = uri.authority().ok_or_else(wrong)?.as_str();
        let right = uri.scheme_str() == Some("https") && !authority.contains('@') && !self.url.contains('#');
        if right { Ok(uri) } else { Err(wrong()) }
    }
}

/// Whose cards a destination is told of that names these.
fn audience(tenants: &[TenantId], groups: &[String]) -> Audience {
    let everyone = tenants.is_empty() && groups.is_empty();
    if everyone || groups.iter().any(|group| group == "*") {
        return Audience::Everyone;
    }
    Audience::Some { tenants: tenants.iter().cloned().collect(), groups: groups.iter().cloned().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<EventsConfig, String> {
        let config: EventsConfig = toml::from_str(text).map_err(|error| error.to_string())?;
        config.check(Environment::Live)?;
        Ok(config)
    }

    const HOOK: &str =
        "[[webhooks]]\nname = \"one\"\nurl = \"https://hooks.example/cards\"\nsecret_files = [\"a\"]\n";

    #[test]
    fn only_https_without_a_user_and_one_or_two_secrets_are_taken() {
        parse(HOOK).unwrap();
        assert!(parse("").unwrap().outbox().is_empty());
        for (from, to, word) in [
            ("https://", "http://", "url"),
            ("https://", "https://user:word@", "url"),
            ("/cards", "/cards#part", "url"),
            ("https://hooks.example/cards", "/cards", "url"),
            ("[\"a\"]", "[]", "secret_files"),
            ("[\"a\"]", "[\"a\", \"b\", \"c\"]", "secret_files"),
            ("name = \"one\"", "name = \"One\"", "name"),
            ("[[webhooks]]", "surprise = 1\n[[webhooks]]", "surprise"),
            ("name =", "secret = \"whsec_x\"\nname =", "secret"),
            ("name =", "timeout_ms = 60000\nname =", "timeout_ms"),
            ("name =", "at_once = 0\nname =", "at_once"),
            ("[[webhooks]]", "give_up_hours = 0\n[[webhooks]]", "give_up_hours"),
            ("[[webhooks]]", "retry_max_ms = 200\n[[webhooks]]", "retry_max_ms"),
        ] {
            let told = parse(&HOOK.replace(from, to)).unwrap_err();
            assert!(told.contains(word), "{word}: {told}");
        }
        assert!(parse(&format!("{HOOK}{HOOK}")).unwrap_err().contains("two destinations are called one"));
        let topic = "[[kafka]]\nname = \"one\"\nbrokers = [\"kafka.example:9093\"]\ntopic = \"cards\"\n";
        assert!(parse(&format!("{HOOK}{topic}")).unwrap_err().contains("two destinations are called one"));
        let both = parse(&format!("{HOOK}{}", topic.replace("one", "two"))).unwrap().outbox();
        assert_eq!(both.destinations().map(DestinationName::as_str).collect::<Vec<_>>(), ["one", "two"]);
    }

    #[test]
    fn who_names_nobody_is_told_of_everybody() {
        let audience = |more: &str| {
            let config = parse(&format!("{HOOK}{more}")).unwrap();
            audience(&config.webhooks[0].tenants, &config.webhooks[0].groups)
        };
        assert!(matches!(audience(""), Audience::Everyone));
        assert!(matches!(audience("groups = [\"*\"]"), Audience::Everyone));
        assert!(matches!(audience("groups = [\"shops\"]"), Audience::Some { .. }));
        assert!(matches!(audience("tenants = [\"acme\"]"), Audience::Some { .. }));
    }
}
