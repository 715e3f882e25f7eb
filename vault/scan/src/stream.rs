//! One stream of bytes, searched as it comes by in bounded memory.
//!
//! Every place is decided exactly once, with what stands before and after it in view: a block of 64 bytes is looked at twice, once
//! for digits and once for base64, and only where there are enough of either is anything read in order.

use std::ops::Range;

use strongroom_domain::Pan;
use zeroize::Zeroizing;

use crate::base64;
use crate::finding::{Encoding, Finding};
use crate::member::{Budget, Members};
use crate::number;
use crate::reading::{Narrow, Reading as _, Wide, is_digit};

/// What stays in view before the place that is decided: an identifier's reach, a wrapped line of base64.
const BEFORE_BYTES: usize = 256;
/// What must be in view after it, unless the stream ends there.
const AFTER_BYTES: usize = 512;
/// Bytes looked at at once for whether a closer look is worth it.
const BLOCK_BYTES: usize = 64;
/// Room of one stream: fits the second cache of a core beside what it is read from.
const ROOM_BYTES: usize = 128 * 1024;
/// Fewest digits a number has. Its longest form begins in one block and ends at most two blocks on.
const DIGITS_MIN: u32 = 12;

/// Searches a stream for card numbers. Give it the bytes in whatever pieces, then [`finish`](Self::finish) it.
pub struct Stream {
    room: Zeroizing<Vec<u8>>,
    capacity: usize,
    /// Offset of the first byte in `room`.
    base: u64,
    /// Up to here everything in `room` is decided.
    decided: usize,
    /// Up to here what was found reaches.
    resume: usize,
    /// Up to here base64 was decoded.
    resume_base64: usize,
    members: Members,
}

impl Default for Stream {
    fn default() -> Self {
        Self::new(Budget::default())
    }
}

impl Stream {
    /// A stream of which gzip members may become so much.
    #[must_use]
    pub fn new(budget: Budget) -> Self {
        Self::with_room(ROOM_BYTES, 0, budget)
    }

    /// With less room, so that tests see the edges of it.
    #[doc(hidden)]
    #[must_use]
    pub fn with_room(capacity: usize, depth: usize, budget: Budget) -> Self {
        // Even, so that a place in the room is even where its offset is.
        let capacity = capacity.max(BEFORE_BYTES + AFTER_BYTES + BLOCK_BYTES).next_multiple_of(2);
        Self {
            room: Zeroizing::default(),
            capacity,
            base: 0,
            decided: 0,
            resume: 0,
            resume_base64: 0,
            members: Members::new(depth, capacity, budget),
        }
    }

    /// The next bytes of the stream. What is found is added to `found`.
    pub fn push(&mut self, mut bytes: &[u8], found: &mut Vec<Finding>) {
        self.members.push(bytes, found);
        // Once and for all: growth would leave copies behind. Not before: what only looks like a gzip member needs none.
        if self.room.capacity() == 0 {
            self.room.reserve_exact(self.capacity);
        }
        while !bytes.is_empty() {
            let (fits, rest) = bytes.split_at(bytes.len().min(self.capacity - self.room.len()));
            self.room.extend_from_slice(fits);
            bytes = rest;
            if self.room.len() == self.capacity {
                self.decide(self.capacity - AFTER_BYTES, found);
                self.forget();
            }
        }
    }

    /// The stream ends here.
    pub fn finish(&mut self, found: &mut Vec<Finding>) {
        self.members.finish(found);
        self.decide(self.room.len(), found);
        self.room.clear();
    }

    /// Gzip members of which not everything was searched: damaged, cut off, too deep or beyond the budget.
    #[must_use]
    pub const fn members_cut(&self) -> u64 {
        self.members.cut()
    }

    fn forget(&mut self) {
        let gone = self.decided - BEFORE_BYTES;
        self.room.copy_within(gone.., 0);
        self.room.truncate(self.capacity - gone);
        self.base += gone as u64;
        self.decided = BEFORE_BYTES;
        self.resume = self.resume.saturating_sub(gone);
        self.resume_base64 = self.resume_base64.saturating_sub(gone);
    }

    /// Finds what begins before `to`.
    fn decide(&mut self, to: usize, found: &mut Vec<Finding>) {
        let first_new = found.len();
        let (room, base) = (&self.room, self.base);
        let mut add = |mut finding: Finding, place: usize| {
            finding.offset = base + place as u64;
            found.push(finding);
        };
        let mut counts =
            [digits_in(block(room, self.decided)), digits_in(block(room, self.decided + BLOCK_BYTES))];
        for from in (self.decided..to).step_by(BLOCK_BYTES) {
            let end = to.min(from + BLOCK_BYTES);
            let after_next = digits_in(block(room, from + 2 * BLOCK_BYTES));
            if counts[0] > 0 && counts[0] + counts[1] + after_next >= DIGITS_MIN {
                digits(room, (from, end), &mut self.resume, &mut add);
            }
            counts = [counts[1], after_next];
            if may_hold_base64(room, from) {
                base64::search(room, (from, end), &mut self.resume_base64, &mut add);
            }
        }
        self.decided = to;
        found[first_new..].sort_by_key(|finding| finding.offset);
    }
}

fn block(text: &[u8], at: usize) -> &[u8] {
    let rest = text.get(at..).unwrap_or_default();
    rest.get(..BLOCK_BYTES).unwrap_or(rest)
}

fn digits_in(block: &[u8]) -> u32 {
    let count = |bytes: &[u8]| bytes.iter().map(|byte| u8::from(byte.wrapping_sub(b'0') < 10)).sum::<u8>();
    // Of a known length: compiles to vector instructions.
    u32::from(block.first_chunk::<BLOCK_BYTES>().map_or_else(|| count(block), |whole| count(whole)))
}

fn may_hold_base64(text: &[u8], at: usize) -> bool {
    let rest = text.get(at..).unwrap_or_default();
    match rest.split_first_chunk::<BLOCK_BYTES>() {
        Some((block, next)) if let Some(next) = next.first_chunk() => base64::may_hold(block, next),
        // The end of a stream is short: worth the closer look.
        _ => true,
    }
}

/// Finds the numbers that begin in `from..to`, in either reading.
fn digits(
    text: &[u8],
    (from, to): (usize, usize),
    resume: &mut usize,
    found: &mut impl FnMut(Finding, usize),
) {
    let mut at = from.max(*resume);
    while at < to {
        if !is_digit(text, at) {
            at += 1;
            continue;
        }
        let run = at..run_end(text, at);
        at = match narrow(text, &run).or_else(|| wide(text, &run)) {
            Some((end, finding)) => {
                found(finding, run.start);
                *resume = end;
                end
            }
            None => run.end,
        };
    }
}

/// Where a run of digits ends, or is too long for any number: a file of digits is not read from each of its blocks to its end.
fn run_end(text: &[u8], at: usize) -> usize {
    let run = text[at..].iter().take(Pan::LENGTH_MAX + 1);
    at + run.take_while(|byte| byte.is_ascii_digit()).count()
}

fn narrow(text: &[u8], run: &Range<usize>) -> Option<(usize, Finding)> {
    // Most runs end here: too short, and nothing after them that stands between groups.
    let may_be = run.len() >= Pan::LENGTH_MIN || Narrow::may_go_on(text, run.end);
    let number =
        (may_be && Narrow::begins(text, run.start)).then(|| number::at::<Narrow>(text, run.start))??;
    let finding = Finding::new(number.digits(), 0, Encoding::Plain, number.separated);
    Some((number.range.end, finding))
}

fn wide(text: &[u8], run: &Range<usize>) -> Option<(usize, Finding)> {
    let is_wide = run.len() == 1 && Wide::begins(text, run.start);
    let number = is_wide.then(|| number::at::<Wide>(text, run.start))??;
    let finding = Finding::new(number.digits(), 0, order(text, &number.range), number.separated);
    Some((number.range.end, finding))
}

/// Which byte of a unit comes first. Inside a longer text both orders read the same, and the offset decides: texts begin at even
/// ones.
fn order(text: &[u8], number: &Range<usize>) -> Encoding {
    let zero = |at: Option<usize>| at.and_then(|at| text.get(at)) == Some(&0);
    match (zero(number.start.checked_sub(1)), zero(Some(number.end))) {
        (false, _) => Encoding::Utf16Le,
        (true, false) => Encoding::Utf16Be,
        (true, true) if number.start.is_multiple_of(2) => Encoding::Utf16Le,
        (true, true) => Encoding::Utf16Be,
    }
}
