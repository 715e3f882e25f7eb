//! One card as a line of the file: the JSON line that `card import` reads.
//!
//! Promises: what is stored of the card, its token and one alias from another vault. No verification code: there is none at
//! rest. The line is written into a buffer that never grows and is wiped.

use std::io::{self, Write};

use secrecy::ExposeSecret as _;
use strongroom_domain::{Alias, Brand};
use strongroom_sealing::CardSecrets;
use zeroize::Zeroizing;

use crate::store::CardRow;

/// Largest line: twenty texts of 500 bytes, each byte escaped as six, are 60 KiB. `card import` reads up to 64 KiB.
const LINE_BYTES_MAX: usize = 64 * 1024;

/// A buffer for one line after the other.
pub(super) struct LineBuffer(Zeroizing<Vec<u8>>);

impl LineBuffer {
    pub(super) fn new() -> Self {
        Self(Zeroizing::new(Vec::with_capacity(LINE_BYTES_MAX)))
    }

    /// The card's line, its line end included.
    pub(super) fn write(
        &mut self,
        row: &CardRow,
        secrets: &CardSecrets,
        alias: Option<&Alias>,
    ) -> io::Result<&[u8]> {
        self.0.clear();
        members(&mut Bounded(&mut self.0), row, secrets, alias)?;
        Ok(&self.0)
    }
}

/// The brand by the number itself: what is stored beside it is no authority, and may not be kept.
#[expect(clippy::disallowed_methods, reason = "its leading digits say the brand that is counted")]
pub(super) fn brand(secrets: &CardSecrets) -> Brand {
    Brand::of_digits(secrets.pan.expose_secret().as_bytes())
}

#[expect(
    clippy::disallowed_methods,
    reason = "the line of an approved export: audited, durable, encrypted next"
)]
fn members(
    out: &mut Bounded<'_>,
    row: &CardRow,
    secrets: &CardSecrets,
    alias: Option<&Alias>,
) -> io::Result<()> {
    out.write_all(b"{\"number\":")?;
    serde_json::to_writer(&mut *out, secrets.pan.expose_secret())?;
    if let Some(expiry) = secrets.expiry {
        write!(out, ",\"exp_month\":{},\"exp_year\":{}", expiry.month(), expiry.year())?;
    }
    if let Some(holder) = &secrets.holder {
        out.write_all(b",\"holder\":")?;
        serde_json::to_writer(&mut *out, holder.expose_secret())?;
    }
    if let Some(at) = row.expires_at {
        write!(out, ",\"expires_at\":\"{at}\"")?;
    }
    if !row.metadata.is_empty() {
        out.write_all(b",\"metadata\":")?;
        serde_json::to_writer(&mut *out, &row.metadata)?;
    }
    if let Some(alias) = alias {
        out.write_all(b",\"alias\":")?;
        serde_json::to_writer(&mut *out, alias.as_str())?;
    }
    writeln!(out, ",\"token\":\"{}\"}}", row.token.as_str())
}

/// Writes up to the buffer's size: growth would leave copies behind.
struct Bounded<'a>(&'a mut Vec<u8>);

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > self.0.capacity() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
