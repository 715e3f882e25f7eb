//! Cursors: where the next page of a list begins, as callers carry it.
//!
//! 49 bytes in letters without digits, so that no cursor can be taken for a card number in a query: a version, the place,
//! and eight bytes that bind it to its tenant and filter. It is checked, not secret: whoever makes one up chooses where in a
//! list they may read anyway a page begins, and no more.

use sha2::{Digest, Sha256};
use strongroom_domain::{TenantId, Timestamp, TokenHash};

use crate::store::{CardFilter, CardPlace};

/// One letter for each four bits.
const LETTERS: &[u8; 16] = b"bcdfghjklmnpqrst";
const VERSION: u8 = 1;
/// Version, time, hash, binding.
const BYTES: usize = 1 + 8 + 32 + 8;

/// Writes a place in the list of this tenant under this filter.
pub(super) fn write(place: &CardPlace, tenant: &TenantId, filter: &CardFilter) -> String {
    let mut bytes = Vec::with_capacity(BYTES);
    bytes.push(VERSION);
    bytes.extend(place.created_at.unix_micros().to_be_bytes());
    bytes.extend(place.token.as_bytes());
    bytes.extend(binding(tenant, filter));
    let letter = |four: u8| char::from(LETTERS[usize::from(four)]);
    bytes.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]).collect()
}

/// Reads what [`write`] wrote for the same tenant and filter.
pub(super) fn read(text: &str, tenant: &TenantId, filter: &CardFilter) -> Option<CardPlace> {
    let four = |letter: u8| LETTERS.iter().position(|known| *known == letter).map(|four| four as u8);
    let pairs = text.as_bytes().chunks(2);
    let bytes: Vec<u8> = pairs
        .map(|pair| match pair {
            [high, low] => Some(four(*high)? << 4 | four(*low)?),
            _ => None,
        })
        .collect::<Option<_>>()?;
    let (version, rest) = bytes.split_first()?;
    let (time, rest) = rest.split_first_chunk::<8>()?;
    let (token, bound) = rest.split_first_chunk::<32>()?;
    (*version == VERSION && bound == binding(tenant, filter)).then_some(CardPlace {
        created_at: Timestamp::from_unix_micros(i64::from_be_bytes(*time)),
        token: TokenHash::from_bytes(*token),
    })
}

fn binding(tenant: &TenantId, filter: &CardFilter) -> [u8; 8] {
    let CardFilter { last4, brand, expiring_before, created_after, created_before } = filter;
    let mut hash = Sha256::new();
    hash.update(b"strongroom/list-cursor/v1\0");
    let parts = [
        Some(tenant.as_str().to_owned()),
        last4.map(|last4| last4.as_str().to_owned()),
        brand.map(|brand| brand.as_str().to_owned()),
        expiring_before.map(|month| month.to_string()),
        created_after.map(|time| time.to_string()),
        created_before.map(|time| time.to_string()),
    ];
    for part in parts {
        // No part holds a line end.
        hash.update(part.unwrap_or_default());
        hash.update(b"\n");
    }
    let digest: [u8; 32] = hash.finalize().into();
    let (first, _) = digest.split_first_chunk::<8>().expect("32 bytes have a first eight");
    *first
}

#[cfg(test)]
mod tests {
    use super::*;
    use strongroom_domain::Brand;

    fn tenant(name: &str) -> TenantId {
        TenantId::parse(name).unwrap()
    }

    #[test]
    fn a_cursor_leads_back_to_its_place_and_holds_no_digit() {
        let filter = CardFilter { brand: Some(Brand::Visa), ..CardFilter::default() };
        for seed in 0..=255 {
            let place = CardPlace {
                created_at: Timestamp::from_unix_micros(i64::from(seed) - 128),
                token: TokenHash::from_bytes([seed; 32]),
            };
            let text = write(&place, &tenant("acme"), &filter);
            assert_eq!(text.len(), 2 * BYTES);
            assert!(text.bytes().all(|byte| byte.is_ascii_lowercase()), "{text}");
            assert_eq!(read(&text, &tenant("acme"), &filter), Some(place));
        }
    }

    #[test]
    fn a_cursor_of_another_list_or_altered_leads_nowhere() {
        let filter = CardFilter::default();
        let place =
            CardPlace { created_at: Timestamp::from_unix_micros(7), token: TokenHash::from_bytes([7; 32]) };
        let text = write(&place, &tenant("acme"), &filter);
        assert_eq!(read(&text, &tenant("globex"), &filter), None);
        let other = CardFilter { created_after: Some(Timestamp::from_unix_micros(1)), ..filter };
        assert_eq!(read(&text, &tenant("acme"), &other), None);
        let later = CardFilter { created_before: other.created_after, ..filter };
        let of_other = write(&place, &tenant("acme"), &other);
        assert_eq!(read(&of_other, &tenant("acme"), &later), None, "after is not before");
        let uppercase = text.to_uppercase();
        let longer = format!("{text}bb");
        let version = format!("bb{}", &text[2..]);
        for wrong in
            ["", "b", &text[1..], &text[..96], &uppercase, &longer, &version, "é", "4242424242424242"]
        {
            assert_eq!(read(wrong, &tenant("acme"), &filter), None, "{wrong}");
        }
    }
}
