//! Receipts: the names under which a request finds its own entries, told once they are durable.
//!
//! Promises: a receipt names entries that are committed, and none that are not; nothing of their content is in it.
//! Does not promise: that entries of one request are one receipt. Those of one commit are; a request may have several.
//! Upholds: C-55.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use strongroom_domain::BootId;

use super::leaf::EntryId;

/// Most receipts one answer names: more would outgrow its header. The rest is on the log under the request's id.
const RECEIPTS_MAX: usize = 16;

/// One entry, or neighbours of one boot. Written `BOOT.NUMBER`, or `BOOT.NUMBER.COUNT` for more than one: two runs of digits
/// that no search for card numbers joins.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct ReceiptId {
    first: EntryId,
    count: u32,
}

impl ReceiptId {
    /// Most entries of one receipt: a batch has a hundred.
    pub const ENTRIES_MAX: u32 = 128;

    /// Of one entry.
    #[must_use]
    pub const fn of(entry: EntryId) -> Self {
        Self { first: entry, count: 1 }
    }

    /// Reads what [`Self`] displays; every other spelling is refused.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (boot, numbers) = text.split_once('.')?;
        let (seq, count) = numbers.split_once('.').unwrap_or((numbers, "1"));
        let first = EntryId { boot: BootId::parse(boot)?, seq: seq.parse().ok()? };
        let id = Self { first, count: count.parse().ok()? };
        let fits = (1..=Self::ENTRIES_MAX).contains(&id.count)
            && first.seq.checked_add(u64::from(id.count)).is_some()
            && id.to_string() == text;
        fits.then_some(id)
    }

    /// The first entry.
    #[must_use]
    pub const fn first(&self) -> EntryId {
        self.first
    }

    /// How many entries.
    #[must_use]
    pub const fn count(&self) -> u32 {
        self.count
    }

    /// The entries, in their order.
    pub fn entries(&self) -> impl Iterator<Item = EntryId> + use<> {
        let Self { first, count } = *self;
        (0..u64::from(count)).map(move |at| EntryId { boot: first.boot, seq: first.seq + at })
    }

    /// Takes the entry that follows, if it does and there is room.
    fn grow(&mut self, entry: EntryId) -> bool {
        let follows = entry.boot == self.first.boot && entry.seq == self.first.seq + u64::from(self.count);
        let grows = follows && self.count < Self::ENTRIES_MAX;
        self.count += u32::from(grows);
        grows
    }
}

impl fmt::Display for ReceiptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.first.boot, self.first.seq)?;
        if self.count > 1 { write!(f, ".{}", self.count) } else { Ok(()) }
    }
}

/// Where the entries of one request stand, as far as they are durable: one for each request, told by the committer.
#[derive(Clone, Debug, Default)]
pub struct Receipts(Arc<Mutex<Vec<ReceiptId>>>);

impl Receipts {
    /// An entry is durable.
    pub(crate) fn note(&self, entry: EntryId) {
        let mut noted = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.last_mut().is_some_and(|last| last.grow(entry)) {
            return;
        }
        if noted.len() < RECEIPTS_MAX {
            noted.push(ReceiptId::of(entry));
        }
    }

    /// What was told so far.
    #[must_use]
    pub fn so_far(&self) -> Vec<ReceiptId> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const BOOT: &str = "019aa5a0-0000-7000-8000-000000000001";

    fn entry(boot: u128, seq: u64) -> EntryId {
        EntryId { boot: BootId::from_uuid(Uuid::from_u128(boot)), seq }
    }

    #[test]
    fn a_receipt_reads_as_it_is_written_and_in_no_other_spelling() {
        for text in
            [format!("{BOOT}.0"), format!("{BOOT}.17"), format!("{BOOT}.17.2"), format!("{BOOT}.17.128")]
        {
            assert_eq!(ReceiptId::parse(&text).unwrap().to_string(), text);
        }
        let wrong = ["", ".", ".017", ".1.1", ".1.0", ".1.129", ".1.2.3", ".+1", ".-1", "/1", ".1 "];
        for end in wrong.iter().map(|end| format!("{BOOT}{end}")).chain([
            format!("{}.1", BOOT.to_uppercase()),
            format!("{BOOT}.{}.2", u64::MAX),
            "1.1".to_owned(),
        ]) {
            assert_eq!(ReceiptId::parse(&end), None, "{end}");
        }
    }

    #[test]
    fn neighbours_are_one_receipt_and_what_an_answer_names_is_bounded() {
        let receipts = Receipts::default();
        for seq in [4, 5, 6, 9] {
            receipts.note(entry(1, seq));
        }
        receipts.note(entry(2, 10));
        let told: Vec<_> = receipts.so_far().iter().map(|id| (id.first().seq, id.count())).collect();
        assert_eq!(told, [(4, 3), (9, 1), (10, 1)]);
        assert_eq!(receipts.so_far()[0].entries().map(|id| id.seq).collect::<Vec<_>>(), [4, 5, 6]);

        let many = Receipts::default();
        (0..10_000).for_each(|seq| many.note(entry(1, seq)));
        let told = many.so_far();
        assert_eq!(told.len(), RECEIPTS_MAX);
        assert!(told.iter().all(|id| id.count() == ReceiptId::ENTRIES_MAX));
    }
}
