//! The access review as a table for people.

use std::fmt;

use super::{AccessCall, AccessReview, AccessRow};

impl fmt::Display for AccessReview {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "bundle version {} sha256 {} environment {}",
            self.bundle_version, self.bundle_sha256, self.environment
        )?;
        let mut table = vec![["who", "as", "may", "tenants", "where", "for", "by"].map(str::to_owned)];
        table.extend(self.rows.iter().map(AccessRow::cells));
        let widths: [usize; 7] =
            std::array::from_fn(|column| table.iter().map(|row| row[column].len()).max().unwrap_or(0));
        for row in &table {
            let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
            writeln!(f, "{}", cells.collect::<Vec<_>>().join("  ").trim_end())?;
        }
        write!(f, "Everything else is denied.")
    }
}

impl AccessRow {
    fn cells(&self) -> [String; 7] {
        let roles: Vec<&str> = self.roles.iter().map(String::as_str).collect();
        let calls: Vec<String> = self.calls.iter().map(AccessCall::to_string).collect();
        let place = match (&self.account, &self.host) {
            (Some(account), Some(host)) => format!("{account} at {host}: {}", calls.join("; ")),
            _ => "-".to_owned(),
        };
        let tenants = if self.tenants.is_empty() { "-".to_owned() } else { self.tenants.join(", ") };
        let who = match &self.person {
            Some(person) => format!("{} ({})", self.workload, person.as_str()),
            None => self.workload.to_string(),
        };
        [
            who,
            roles.join(", "),
            self.action.to_string(),
            tenants,
            place,
            self.caller.as_ref().map_or_else(|| "-".to_owned(), ToString::to_string),
            self.policies.join(", "),
        ]
    }
}

impl fmt::Display for AccessCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.attributes.iter().map(|attribute| attribute.as_str()).collect();
        write!(f, "{} {} ({})", self.method, self.path, names.join(" "))
    }
}
