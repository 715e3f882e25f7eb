//! Where the next page of events begins, as callers carry it: letters without digits, so that none can be taken for a card
//! number in a query. It is checked, not secret.

use strongroom_domain::{Timestamp, TokenHash};

use crate::store::EventPlace;

/// One letter for each four bits.
const LETTERS: &[u8; 16] = b"bcdfghjklmnpqrst";

/// Writes a place.
pub(super) fn write(place: &EventPlace) -> String {
    let mut bytes = Vec::with_capacity(48);
    bytes.extend(place.due_at.unix_micros().to_be_bytes());
    bytes.extend(place.token.as_bytes());
    bytes.extend(place.sequence.to_be_bytes());
    let letter = |four: u8| char::from(LETTERS[usize::from(four)]);
    bytes.iter().flat_map(|byte| [letter(byte >> 4), letter(byte & 15)]).collect()
}

/// Reads what [`write`] wrote.
pub(super) fn read(text: &str) -> Option<EventPlace> {
    let four = |letter: u8| LETTERS.iter().position(|known| *known == letter).map(|four| four as u8);
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(four(*high)? << 4 | four(*low)?),
        _ => None,
    };
    let bytes: Vec<u8> = text.as_bytes().chunks(2).map(pair).collect::<Option<_>>()?;
    let (due_at, rest) = bytes.split_first_chunk::<8>()?;
    let (token, rest) = rest.split_first_chunk::<32>()?;
    Some(EventPlace {
        due_at: Timestamp::from_unix_micros(i64::from_be_bytes(*due_at)),
        token: TokenHash::from_bytes(*token),
        sequence: u64::from_be_bytes(rest.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_comes_back_and_nothing_else_is_one() {
        let place = EventPlace {
            due_at: Timestamp::from_unix_micros(1_795_000_000_000_000),
            token: TokenHash::from_bytes([0xa5; 32]),
            sequence: 7,
        };
        let text = write(&place);
        assert_eq!(text.len(), 96);
        assert!(!text.bytes().any(|byte| byte.is_ascii_digit()));
        assert_eq!(read(&text), Some(place));
        for wrong in ["", "b", &text[..94], &format!("{text}bb"), &text.replace('b', "a")] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
