//! What one caller waits for a read, one after another on one connection.

use strongroom_domain::Clock as _;
use strongroom_perimeter::clock::SystemClock;

use super::super::load::{self, Call, Cards, Load, Measured, Wallet};
use super::{Failure, Import};

/// Different tokens that are asked for.
pub(super) const TOKENS: u64 = 10_000;
/// Calls of each kind.
const CALLS: u64 = 1_000;

/// One kind of read beside so many cards.
pub(crate) struct Read {
    pub(crate) call: Call,
    pub(crate) cards: u64,
    pub(crate) measured: Measured,
}

impl Import<'_> {
    /// Every kind of read.
    pub(super) fn reads(&mut self, cards: u64, wallet: &Wallet) -> Result<Vec<Read>, Failure> {
        // The newest file came in within its own time: its middle is near half of it.
        let half = i64::try_from(self.began.elapsed().as_secs() / 2)?;
        let middle = SystemClock.now().unix_seconds() - half;
        let calls = [Call::Show, Call::Lookup, Call::List, Call::ListBefore(middle), Call::ListLast4];
        let mut reads = Vec::new();
        for call in calls {
            let measured = load::run(self.vault, call, 1, Load::Calls(CALLS), &Cards::default(), wallet)?;
            let answered = measured.acknowledged() == CALLS;
            self.report.agree(self.store, &format!("{} beside {cards} cards", call.name()), answered);
            reads.push(Read { call, cards, measured });
        }
        Ok(reads)
    }
}
