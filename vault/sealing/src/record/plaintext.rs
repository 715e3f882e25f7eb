//! The card inside a record: fixed layout, zero padding, one encoding per card.
//!
//! Promises: [`parse`] accepts exactly what [`encode`] can write, and only the card its context describes.

use secrecy::ExposeSecret;
use strongroom_domain::holder::HOLDER_BYTES_MAX;
use strongroom_domain::{Expiry, Holder, Pan};
use zeroize::Zeroizing;

use super::CardSecrets;
use crate::context::{NO_EXPIRY, SealContext};

const VERSION: u8 = 1;
const PAN_AT: usize = 2;
const EXPIRY_AT: usize = PAN_AT + Pan::LENGTH_MAX;
const HOLDER_LENGTH_AT: usize = EXPIRY_AT + NO_EXPIRY.len();
const HOLDER_AT: usize = HOLDER_LENGTH_AT + 1;

/// The sizes a card is padded to, so that length tells little of the holder's name.
pub(super) const SIZES: [usize; 3] = [32, 64, HOLDER_AT + HOLDER_BYTES_MAX];

/// Not one canonical card of this context.
#[derive(Debug)]
pub(super) struct Malformed;

/// Writes a card. The buffer wipes itself; sealing encrypts it in place.
pub(super) fn encode(card: &CardSecrets) -> Zeroizing<Vec<u8>> {
    #[expect(clippy::disallowed_methods, reason = "sealed into the record")]
    let (pan, holder) =
        (card.pan.expose_secret(), card.holder.as_ref().map_or("", ExposeSecret::expose_secret));
    let mut out = Zeroizing::new(vec![0; size_for(holder.len())]);
    out[0] = VERSION;
    out[1] = card.pan.length();
    out[PAN_AT..PAN_AT + pan.len()].copy_from_slice(pan.as_bytes());
    let expiry = card.expiry.map_or(NO_EXPIRY, Expiry::yymm);
    out[EXPIRY_AT..HOLDER_LENGTH_AT].copy_from_slice(&expiry);
    out[HOLDER_LENGTH_AT] = u8::try_from(holder.len()).expect("a holder has at most 70 bytes");
    out[HOLDER_AT..HOLDER_AT + holder.len()].copy_from_slice(holder.as_bytes());
    out
}

fn size_for(holder_bytes: usize) -> usize {
    let needed = HOLDER_AT + holder_bytes;
    SIZES.into_iter().find(|size| *size >= needed).expect("the largest size holds the longest holder")
}

/// Reads a card back, strictly.
pub(super) fn parse(bytes: &[u8], context: &SealContext<'_>) -> Result<CardSecrets, Malformed> {
    let (fixed, rest) = bytes.split_at_checked(HOLDER_AT).ok_or(Malformed)?;
    let holder_bytes = usize::from(fixed[HOLDER_LENGTH_AT]);
    let (holder, padding) = rest.split_at_checked(holder_bytes).ok_or(Malformed)?;
    let canonical = fixed[0] == VERSION
        && holder_bytes <= HOLDER_BYTES_MAX
        && bytes.len() == size_for(holder_bytes)
        && is_zero(padding);
    if !canonical {
        return Err(Malformed);
    }
    let pan = parse_pan(fixed[1], &fixed[PAN_AT..EXPIRY_AT], context)?;
    let expiry = match &fixed[EXPIRY_AT..HOLDER_LENGTH_AT] {
        none if *none == NO_EXPIRY => None,
        digits => Some(Expiry::parse_yymm(digits).map_err(|_| Malformed)?),
    };
    let holder = match holder {
        [] => None,
        name => Some(Holder::from_record(name).map_err(|_| Malformed)?),
    };
    if expiry == context.facts.expiry && context.facts.match_number(&pan) {
        Ok(CardSecrets { pan, expiry, holder })
    } else {
        Err(Malformed)
    }
}

fn parse_pan(length: u8, field: &[u8], context: &SealContext<'_>) -> Result<Pan, Malformed> {
    let (digits, padding) = field.split_at_checked(usize::from(length)).ok_or(Malformed)?;
    // `Pan::parse` would skip separators; a record has none.
    if !digits.iter().all(u8::is_ascii_digit) || !is_zero(padding) {
        return Err(Malformed);
    }
    let text = std::str::from_utf8(digits).map_err(|_| Malformed)?;
    Pan::parse(text, context.environment).map_err(|_| Malformed)
}

fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}
