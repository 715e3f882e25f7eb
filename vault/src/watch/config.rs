//! What is watched for: every rule is on, with defaults that fit the limits of `[limits]`.

use std::path::PathBuf;

use serde::Deserialize;
use strongroom_domain::Environment;

use super::rules::Rule;
use super::suspend::SuspendConfig;
use super::syslog::SyslogConfig;

/// The rules.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchConfig {
    /// File that findings are appended to, one OCSF 1.8 event a line; none if absent. They are on the log either way.
    pub findings_file: Option<PathBuf>,
    /// Cards a minute one caller may have released before it is a finding.
    pub releases_per_minute: u32,
    /// Facts of cards a minute one caller may read: look-ups, pages and matches.
    pub lookups_per_minute: u32,
    /// Refusals of one caller within ten minutes that can be a finding.
    pub denied_least: u32,
    /// And which part of all its entries they then must be, in percent.
    pub denied_percent: u32,
    /// How long the same is not told again, in minutes.
    pub repeat_after_minutes: u64,
    /// Rules that are off, by name. Each is on the log as long as it is on; that one is off stands in this file alone.
    pub off: Vec<Rule>,
    /// Rules that suspend whom they find.
    pub suspend: SuspendConfig,
    /// Where findings go by syslog; nowhere if absent.
    pub syslog: Option<SyslogConfig>,
}

impl Default for WatchConfig {
    fn default() -> Self {
        Self {
            findings_file: None,
            releases_per_minute: 1_500,
            lookups_per_minute: 3_000,
            denied_least: 20,
            denied_percent: 20,
            repeat_after_minutes: 60,
            off: Vec::new(),
            suspend: SuspendConfig::default(),
            syslog: None,
        }
    }
}

impl WatchConfig {
    /// Refuses what would find nothing, or everything.
    pub fn check(&self, environment: Environment) -> Result<(), String> {
        let least = [self.releases_per_minute, self.lookups_per_minute, self.denied_least];
        if least.contains(&0) {
            return Err(
                "watch: releases_per_minute, lookups_per_minute and denied_least are at least 1".into()
            );
        }
        if !(1..=100).contains(&self.denied_percent) {
            return Err("watch.denied_percent is 1 to 100".into());
        }
        if !(1..=1_440).contains(&self.repeat_after_minutes) {
            return Err("watch.repeat_after_minutes is 1 to 1440".into());
        }
        if let Some(syslog) = &self.syslog {
            syslog.check(environment).map_err(|error| format!("watch.syslog: {error}"))?;
        }
        self.suspend.check(&self.off)
    }
}
