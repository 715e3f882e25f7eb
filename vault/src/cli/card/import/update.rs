//! One line as an update of a card: checked as far as it can be here, written as the API takes it.

use std::io::Write as _;

use secrecy::SecretString;
use strongroom_domain::{CardName, Expiry, Metadata, Timestamp};

use super::card::{Bounded, expires_at, expiry, holder, metadata, number};
use crate::cli::card::fields::{Fault, Fields, Name};

/// An update on its way in.
pub(super) struct Update {
    /// Which card: its token, or an alias.
    pub(super) token: String,
    version: Option<u64>,
    number: Option<SecretString>,
    expiry: Option<Expiry>,
    holder: Option<SecretString>,
    expires_at: Option<Timestamp>,
    metadata: Metadata,
    closed: Option<bool>,
}

/// What lines of an update may hold. No verification code: it must not be in a file at all (PCI DSS 3.3.1).
pub(super) fn is_allowed(name: &Name) -> bool {
    match name {
        Name::Token
        | Name::Version
        | Name::Closed
        | Name::Number
        | Name::ExpMonth
        | Name::ExpYear
        | Name::Holder
        | Name::ExpiresAt
        | Name::Metadata(_) => true,
        Name::Alias => false,
    }
}

impl Update {
    pub(super) fn read(line: u64, fields: &Fields) -> Result<Self, Fault> {
        let wrong = |field, detail| Fault::of_field(line, field, detail);
        let token = fields.value(&Name::Token).ok_or(wrong("token", "it is missing"))?;
        // Also keeps card numbers that stand in the wrong column out of requests and reports.
        CardName::parse(token).map_err(|_| wrong("token", "it is neither a token nor an alias"))?;
        let version = fields.value(&Name::Version).map(str::parse).transpose();
        let closed = match fields.value(&Name::Closed) {
            None => None,
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some(_) => return Err(wrong("closed", "it is neither true nor false")),
        };
        let update = Self {
            token: token.to_owned(),
            version: version.map_err(|_| wrong("version", "it is not a whole number"))?,
            number: number(line, fields)?,
            expiry: expiry(line, fields)?,
            holder: holder(line, fields)?,
            expires_at: expires_at(line, fields)?,
            metadata: metadata(line, fields)?,
            closed,
        };
        if update.what().is_none() {
            return Err(Fault::of_line(line, "it changes nothing"));
        }
        Ok(update)
    }

    /// What it changes, for the counts of the report.
    pub(super) fn what(&self) -> Option<&'static str> {
        if self.number.is_some() {
            Some("number")
        } else if self.closed == Some(true) {
            Some("closed")
        } else if self.expiry.is_some() {
            Some("expiry")
        } else {
            let is_more = self.holder.is_some()
                || self.expires_at.is_some()
                || !self.metadata.is_empty()
                || self.closed.is_some();
            is_more.then_some("details")
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the body of the request that changes the card")]
    pub(super) fn members(&self, out: &mut Bounded<'_>) -> std::io::Result<()> {
        use secrecy::ExposeSecret as _;
        out.write_all(b"{\"token\":")?;
        serde_json::to_writer(&mut *out, &self.token)?;
        if let Some(version) = self.version {
            write!(out, ",\"version\":{version}")?;
        }
        out.write_all(b",\"change\":{")?;
        let mut is_first = true;
        let mut member = |out: &mut Bounded<'_>, name: &str| {
            let comma = if std::mem::take(&mut is_first) { "" } else { "," };
            write!(out, "{comma}\"{name}\":")
        };
        if let Some(number) = &self.number {
            member(out, "number")?;
            serde_json::to_writer(&mut *out, number.expose_secret())?;
        }
        if let Some(expiry) = self.expiry {
            member(out, "exp_month")?;
            write!(out, "{}", expiry.month())?;
            member(out, "exp_year")?;
            write!(out, "{}", expiry.year())?;
        }
        if let Some(holder) = &self.holder {
            member(out, "holder")?;
            serde_json::to_writer(&mut *out, holder.expose_secret())?;
        }
        if let Some(at) = self.expires_at {
            member(out, "expires_at")?;
            write!(out, "\"{at}\"")?;
        }
        if !self.metadata.is_empty() {
            member(out, "metadata")?;
            serde_json::to_writer(&mut *out, &self.metadata)?;
        }
        if let Some(closed) = self.closed {
            member(out, "closed")?;
            write!(out, "{closed}")?;
        }
        out.write_all(b"}}")
    }
}
