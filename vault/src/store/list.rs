//! Pages of a tenant's cards, newest first: what is asked, where a page begins, and its SQL for both databases.
//!
//! A page begins after a *place*, the pair (`created_at`, `token_hash`) of the last card looked at. The pair never changes,
//! so a card that was there when the first page was read is on exactly one page, however many are added meanwhile.
//!
//! Promises: one page looks at no more than [`CARDS_LOOKED_AT_MAX`] cards, whatever the filter leaves of them.
//! Does not promise: full pages. Only a page without [`CardPage::next`] is the last.

use std::fmt::Write as _;

use strongroom_domain::{Brand, Digits, Expiry, Timestamp, TokenHash};

use super::rows::CardRow;

/// Most cards one page looks at. A filter that fits one card in a thousand still fills pages; one that fits none costs
/// milliseconds a page and not a second.
pub const CARDS_LOOKED_AT_MAX: u32 = 5_000;

/// Which cards are wanted. Hidden and expired ones never are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CardFilter {
    /// The last four digits.
    pub last4: Option<Digits>,
    /// The brand.
    pub brand: Option<Brand>,
    /// Cards that end before this month. Cards without expiry do not end.
    pub expiring_before: Option<Expiry>,
    /// Cards that came in after this.
    pub created_after: Option<Timestamp>,
    /// Cards that came in before this.
    pub created_before: Option<Timestamp>,
}

/// A card's place in the list.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CardPlace {
    /// When it came in.
    pub created_at: Timestamp,
    /// Its token's hash, for cards of the same microsecond.
    pub token: TokenHash,
}

/// One page.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardPage {
    /// Newest first.
    pub cards: Vec<CardRow>,
    /// Where the next page begins; none after the last.
    pub next: Option<CardPlace>,
}

impl CardPage {
    /// From one row more than was asked for, and the last place looked at where more cards follow it.
    pub(super) fn of(mut cards: Vec<CardRow>, limit: u32, edge: Option<CardPlace>) -> Self {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let next = if cards.len() > limit {
            cards.truncate(limit);
            cards.last().map(|row| CardPlace { created_at: row.created_at, token: row.token.hash() })
        } else {
            edge
        };
        Self { cards, next }
    }
}

/// The two statements of a page. Both bind tenant, upper bound and lower bound (a time and a hash each) as 1 to 5.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CardListSql {
    /// The place at [`CARDS_LOOKED_AT_MAX`], if there are so many. Then binds the last four digits, if asked for.
    pub edge: String,
    /// The cards. Then binds the time, one more than the limit, and what is asked for: last four, brand, expiry.
    pub page: String,
    /// How many cards there are. Binds as the page does; the limit is the one row of the answer.
    pub count: String,
}

impl CardListSql {
    /// For placeholders written `?1` (SQLite) or `$1` (Postgres).
    #[must_use]
    pub fn new(filter: &CardFilter, sigil: char) -> Self {
        // SQLite keeps no statistics here and takes the first index that fits, a hundred times slower; Postgres takes no advice.
        let index = match (sigil, filter.last4) {
            ('?', Some(_)) => " INDEXED BY cards_by_last4",
            ('?', None) => " INDEXED BY cards_page",
            _ => "",
        };
        let range = format!(
            "FROM cards{index} WHERE tenant = {sigil}1 AND deleted_at IS NULL \
             AND (created_at, token_hash) < ({sigil}2, {sigil}3) AND (created_at, token_hash) >= ({sigil}4, {sigil}5)"
        );
        const ORDER: &str = "ORDER BY created_at DESC, token_hash DESC LIMIT";
        let mut edge = format!("SELECT created_at, token_hash {range}");
        let mut page = format!(
            "SELECT {} {range} AND (expires_at IS NULL OR expires_at > {sigil}6)",
            super::decode::card_columns!()
        );
        let mut place = 8;
        let mut condition = |text: &mut String, is_asked: bool, condition: &str| {
            if is_asked {
                let _ = write!(text, " AND {condition} {sigil}{place}"); // a String takes every write
                place += 1;
            }
        };
        if filter.last4.is_some() {
            let _ = write!(edge, " AND last4 = {sigil}6 AND last4 <> ''");
        }
        condition(&mut page, filter.last4.is_some(), "last4 <> '' AND last4 =");
        condition(&mut page, filter.brand.is_some(), "brand =");
        condition(&mut page, filter.expiring_before.is_some(), "exp <");
        let _ = write!(edge, " {ORDER} 1 OFFSET {}", CARDS_LOOKED_AT_MAX - 1);
        let (_, conditions) = page.split_once(" FROM cards").unwrap_or_default();
        let count = format!("SELECT count(*) FROM cards{conditions} LIMIT {sigil}7");
        let _ = write!(page, " {ORDER} {sigil}7");
        Self { edge, page, count }
    }
}

/// The bounds of a page: places below the first, from the second on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds<'a> {
    pub(super) below: (i64, &'a [u8]),
    pub(super) from: (i64, &'a [u8]),
}

impl<'a> Bounds<'a> {
    /// No hash is as short as the empty one: it stands before every card of its microsecond.
    pub(super) fn new(filter: &CardFilter, after: Option<&'a CardPlace>) -> Self {
        let end = (filter.created_before.map_or(i64::MAX, Timestamp::unix_micros), [].as_slice());
        let below = after.map_or(end, |place| end.min(key(place)));
        let from = filter.created_after.map_or(i64::MIN, |time| time.unix_micros().saturating_add(1));
        Self { below, from: (from, &[]) }
    }

    /// The same, ending at the last place this page looks at.
    pub(super) fn down_to(self, edge: Option<&'a CardPlace>) -> Self {
        Self { from: edge.map_or(self.from, key), ..self }
    }
}

fn key(place: &CardPlace) -> (i64, &[u8]) {
    (place.created_at.unix_micros(), place.token.as_bytes())
}
