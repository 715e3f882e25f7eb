//! One line as a card: checked as far as it can be here, written as the API takes it.

use std::io::Write as _;

use secrecy::SecretString;
use strongroom_domain::{Environment, Expiry, Holder, InvalidPan, Metadata, Pan, Timestamp, Token};

use crate::cli::card::fields::{Fault, Fields, Name};

/// Largest card as JSON: as large as the body of one card may be.
pub(super) const CARD_BYTES_MAX: usize = 64 * 1024;

/// A card on its way in.
pub(super) struct Card {
    number: SecretString,
    expiry: Option<Expiry>,
    holder: Option<SecretString>,
    expires_at: Option<Timestamp>,
    metadata: Metadata,
    /// The token it has elsewhere, which is to lead to it here too.
    alias: Option<String>,
    /// The token it has in the Strongroom it comes from: tokens are one vault's, so it is mapped and not sent.
    former: Option<String>,
}

/// What lines of an import may hold. No verification code: it must not be in a file at all (PCI DSS 3.3.1).
pub(super) fn is_allowed(name: &Name) -> bool {
    match name {
        Name::Number
        | Name::ExpMonth
        | Name::ExpYear
        | Name::Holder
        | Name::Alias
        | Name::Token
        | Name::ExpiresAt
        | Name::Metadata(_) => true,
        Name::Version | Name::Closed => false,
    }
}

impl Card {
    pub(super) fn read(line: u64, fields: &Fields) -> Result<Self, Fault> {
        let number = number(line, fields)?.ok_or(Fault::of_field(line, "number", "it is missing"))?;
        let former = fields.value(&Name::Token);
        if former.is_some_and(|token| Token::parse(token).is_err()) {
            return Err(Fault::of_field(line, "token", "it is no token of a Strongroom"));
        }
        Ok(Self {
            number,
            expiry: expiry(line, fields)?,
            holder: holder(line, fields)?,
            expires_at: expires_at(line, fields)?,
            metadata: metadata(line, fields)?,
            alias: fields.value(&Name::Alias).map(str::to_owned),
            former: former.map(str::to_owned),
        })
    }

    /// What the mapping calls it: the name that changes, if it has one; an alias goes on leading here by itself.
    pub(super) fn known_as(&self) -> Option<&String> {
        self.former.as_ref().or(self.alias.as_ref())
    }

    #[expect(clippy::disallowed_methods, reason = "the body of the request that brings the card in")]
    pub(super) fn members(&self, out: &mut Bounded<'_>) -> std::io::Result<()> {
        use secrecy::ExposeSecret as _;
        out.write_all(b"{\"number\":")?;
        serde_json::to_writer(&mut *out, self.number.expose_secret())?;
        if let Some(expiry) = self.expiry {
            write!(out, ",\"exp_month\":{},\"exp_year\":{}", expiry.month(), expiry.year())?;
        }
        if let Some(holder) = &self.holder {
            out.write_all(b",\"holder\":")?;
            serde_json::to_writer(&mut *out, holder.expose_secret())?;
        }
        if let Some(at) = self.expires_at {
            write!(out, ",\"expires_at\":\"{at}\"")?;
        }
        if !self.metadata.is_empty() {
            out.write_all(b",\"metadata\":")?;
            serde_json::to_writer(&mut *out, &self.metadata)?;
        }
        if let Some(alias) = &self.alias {
            out.write_all(b",\"alias\":")?;
            serde_json::to_writer(&mut *out, alias)?;
        }
        out.write_all(b"}")
    }
}

pub(super) fn number(line: u64, fields: &Fields) -> Result<Option<SecretString>, Fault> {
    let Some(number) = fields.value(&Name::Number) else { return Ok(None) };
    // Which numbers this vault's environment takes is for the vault to say.
    Pan::parse(number, Environment::Test).map_err(|error| {
        Fault::of_field(
            line,
            "number",
            match error {
                InvalidPan::NotDigits => "it holds something other than digits, spaces and dashes",
                InvalidPan::Length => "it is not 12 to 19 digits long",
                InvalidPan::CheckDigit => "it has a wrong check digit",
            },
        )
    })?;
    Ok(Some(SecretString::from(number)))
}

pub(super) fn holder(line: u64, fields: &Fields) -> Result<Option<SecretString>, Fault> {
    let holder = fields.value(&Name::Holder);
    if holder.is_some_and(|holder| Holder::parse(holder).is_err()) {
        let detail = "it is not 1 to 70 bytes of text without control characters or card numbers";
        return Err(Fault::of_field(line, "holder", detail));
    }
    Ok(holder.map(SecretString::from))
}

pub(super) fn expiry(line: u64, fields: &Fields) -> Result<Option<Expiry>, Fault> {
    let wrong = |field| Fault::of_field(line, field, "it is not a month 1 to 12 of a year 2000 to 2099");
    match (fields.value(&Name::ExpMonth), fields.value(&Name::ExpYear)) {
        (None, None) => Ok(None),
        (Some(month), Some(year)) => {
            let month = month.parse().map_err(|_| wrong("exp_month"))?;
            let year = year.parse().map_err(|_| wrong("exp_year"))?;
            Expiry::new(month, year).map(Some).map_err(|_| wrong("exp_month"))
        }
        (None, Some(_)) => Err(Fault::of_field(line, "exp_month", "exp_year needs exp_month")),
        (Some(_), None) => Err(Fault::of_field(line, "exp_year", "exp_month needs exp_year")),
    }
}

pub(super) fn expires_at(line: u64, fields: &Fields) -> Result<Option<Timestamp>, Fault> {
    let Some(text) = fields.value(&Name::ExpiresAt) else { return Ok(None) };
    let at = Timestamp::parse_rfc3339(text);
    at.map(Some).ok_or(Fault::of_field(line, "expires_at", "it is not an RFC 3339 date-time"))
}

pub(super) fn metadata(line: u64, fields: &Fields) -> Result<Metadata, Fault> {
    let mut metadata = Metadata::default();
    for (name, value) in fields.iter() {
        if let Name::Metadata(name) = name {
            let detail = "it is larger than 20 texts of 500 bytes, or holds a name, card number or token that does not belong there";
            metadata
                .insert(name.clone(), value.to_owned())
                .map_err(|_| Fault::of_field(line, "metadata", detail))?;
        }
    }
    Ok(metadata)
}

/// Writes up to a bound: growth would leave copies behind.
pub(super) struct Bounded<'a> {
    pub(super) out: &'a mut Vec<u8>,
    pub(super) room: usize,
}

impl std::io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.out.len() + bytes.len() > self.room {
            return Err(std::io::ErrorKind::StorageFull.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}
