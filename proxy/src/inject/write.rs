//! Writing one released value into its place: the only code that puts card data into a request.

use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use strongroom_domain::Pan;
use strongroom_domain::route::Attribute;
use zeroize::Zeroizing;

use super::{InjectError, Insertion, Notation, ReleasedCard};
use crate::body::{form, json, xml};

/// Longest written value: a holder of 70 bytes, each escaped as `\u00XX`, and quotes.
const WRITTEN_BYTES_MAX: usize = 6 * 70 + 2;

/// What a place is filled with, as it is written there.
pub(super) fn write(insertion: &Insertion, card: &ReleasedCard) -> Result<Zeroizing<String>, InjectError> {
    let value = value(insertion, card).ok_or(InjectError::AttributeMissing)?;
    Ok(notate(insertion.notation, &value))
}

/// A value as its place writes it.
pub(super) fn notate(notation: Notation, value: &str) -> Zeroizing<String> {
    // Sized up front: growth would leave copies behind.
    let mut text = Zeroizing::new(String::with_capacity(WRITTEN_BYTES_MAX));
    match notation {
        Notation::Form => form::encode_into(value, &mut text),
        Notation::Xml => xml::escape_into(value, &mut text),
        Notation::Plain => text.push_str(value),
        // No leading zeros (RFC 8259 §6), but the year 00 keeps one.
        Notation::JsonInteger => {
            let zeros = value.len() - value.trim_start_matches('0').len();
            text.push_str(&value[zeros.min(value.len() - 1)..]);
        }
        Notation::JsonString => {
            text.push('"');
            json::escape_into(value, &mut text);
            text.push('"');
        }
    }
    text
}

/// A header that no log shows.
pub(super) fn header(text: &str) -> Result<HeaderValue, InjectError> {
    let mut value = HeaderValue::from_str(text).map_err(|_| InjectError::ReleaseMismatch)?;
    value.set_sensitive(true);
    Ok(value)
}

fn value(insertion: &Insertion, card: &ReleasedCard) -> Option<Zeroizing<String>> {
    match insertion.attribute {
        Attribute::Number => card.number.as_ref().map(copy),
        Attribute::Cvc => card.cvc.as_ref().map(copy),
        Attribute::Holder => card.holder.as_ref().map(copy),
        Attribute::NetworkToken | Attribute::Cryptogram => None,
        Attribute::Exp => {
            card.expiry.zip(insertion.format).map(|(expiry, format)| format.write(expiry).into())
        }
    }
}

#[expect(clippy::disallowed_methods, reason = "goes into the request to the PSP; wiped after")]
fn copy(secret: &SecretString) -> Zeroizing<String> {
    Zeroizing::new(secret.expose_secret().to_owned())
}

/// Whether what the vault released has the shape it must have.
pub(super) fn is_well_formed(card: &ReleasedCard) -> bool {
    let digits = |secret: &Option<SecretString>, min, max| {
        secret.as_ref().is_none_or(|secret| {
            #[expect(clippy::disallowed_methods, reason = "counts the digits; nothing leaves")]
            let text = secret.expose_secret().as_bytes();
            (min..=max).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
        })
    };
    digits(&card.number, Pan::LENGTH_MIN, Pan::LENGTH_MAX) && digits(&card.cvc, 3, 4)
}
