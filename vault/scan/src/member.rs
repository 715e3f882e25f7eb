//! Gzip (RFC 1952) wherever it begins in a stream: in a file of its own, in a tar, in a dump, in another gzip.
//!
//! Promises: what is unpacked is searched as it comes and kept nowhere; depth, members at once and bytes unpacked are bounded,
//! and what a bound or damage cuts off is counted.

use std::cell::Cell;
use std::io::{self, Write};
use std::rc::Rc;

use flate2::write::GzDecoder;

use crate::finding::Finding;
use crate::stream::Stream;

/// How a member begins: the magic number and the only method there is.
const MAGIC: [u8; 3] = [0x1F, 0x8B, 0x08];
/// Bits of the flags that a member never has.
const FLAGS_RESERVED: u8 = 0xE0;
/// Gzip in gzip in gzip: nobody packs deeper but to hide or to hurt.
const DEPTH_MAX: usize = 4;
/// Members read at once: one that is real, and some that only look like it.
const MEMBERS_MAX: usize = 3;
/// More than this comes out of no chance bytes: sooner or later they break a rule of deflate.
const UNPACKED_BY_CHANCE_MAX: u64 = 1024;

/// Bytes that may still be unpacked, of all members of one input together.
#[derive(Clone, Debug)]
pub struct Budget(Rc<Cell<u64>>);

impl Default for Budget {
    /// 64 GiB: some minutes. A kilobyte of bomb is a gigabyte; a day of logs is less.
    fn default() -> Self {
        Self::new(64 * 1024 * 1024 * 1024)
    }
}

impl Budget {
    /// So many bytes.
    #[must_use]
    pub fn new(bytes: u64) -> Self {
        Self(Rc::new(Cell::new(bytes)))
    }

    fn take(&self, bytes: usize) -> bool {
        let left = self.0.get().checked_sub(bytes as u64);
        self.0.set(left.unwrap_or(0));
        left.is_some()
    }
}

/// The members of one stream that are being read.
pub(crate) struct Members {
    depth: usize,
    room: usize,
    budget: Budget,
    /// Offset of the next byte pushed.
    offset: u64,
    /// The last bytes pushed: a magic number may be cut in two.
    tail: Vec<u8>,
    open: Vec<Member>,
    cut: u64,
}

struct Member {
    at: u64,
    decoder: GzDecoder<Inside>,
}

/// The content of a member.
struct Inside {
    stream: Stream,
    found: Vec<Finding>,
    budget: Budget,
    unpacked: u64,
    /// The budget is spent.
    refused: bool,
}

impl Write for Inside {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if !self.budget.take(bytes.len()) {
            self.refused = true;
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        self.unpacked += bytes.len() as u64;
        self.stream.push(bytes, &mut self.found);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Members {
    pub(crate) fn new(depth: usize, room: usize, budget: Budget) -> Self {
        Self { depth, room, budget, offset: 0, tail: Vec::new(), open: Vec::new(), cut: 0 }
    }

    pub(crate) const fn cut(&self) -> u64 {
        self.cut
    }

    pub(crate) fn push(&mut self, bytes: &[u8], found: &mut Vec<Finding>) {
        // Up to here the bytes are a member's own: what looks like another in them is its content, packed.
        let mut covered = 0;
        for place in (0..self.open.len()).rev() {
            let fed = self.open[place].feed(bytes, found);
            covered = covered.max(fed.covered);
            if fed.ended {
                let member = self.open.remove(place);
                self.close(member, found);
            }
        }
        if covered == 0 {
            covered = self.begin_at_the_edge(bytes, found);
        }
        for place in memchr::memmem::find_iter(bytes, &MAGIC) {
            if place >= covered {
                covered = place + self.begin(self.offset + place as u64, &[&bytes[place..]], found);
            }
        }
        self.offset += bytes.len() as u64;
        self.tail.extend_from_slice(&bytes[bytes.len() - bytes.len().min(2)..]);
        self.tail.drain(..self.tail.len().saturating_sub(2));
    }

    /// Members whose magic number began in the bytes before. Answers how much of these bytes is theirs.
    fn begin_at_the_edge(&mut self, bytes: &[u8], found: &mut Vec<Finding>) -> usize {
        let tail = std::mem::take(&mut self.tail);
        let mut covered = 0;
        for place in 0..tail.len() {
            let before = &tail[place..];
            if before.iter().chain(bytes).take(MAGIC.len()).eq(&MAGIC) {
                covered = self.begin(self.offset - before.len() as u64, &[before, bytes], found);
            }
        }
        self.tail = tail;
        covered
    }

    /// Begins a member. Answers how much of the last part is its own.
    fn begin(&mut self, at: u64, parts: &[&[u8]], found: &mut Vec<Finding>) -> usize {
        let flags = parts.iter().flat_map(|part| part.iter()).nth(MAGIC.len());
        if flags.is_some_and(|flags| flags & FLAGS_RESERVED != 0) {
            return 0;
        }
        if self.depth == DEPTH_MAX || !self.has_room(found) {
            self.cut += 1;
            return 0;
        }
        let stream = Stream::with_room(self.room, self.depth + 1, self.budget.clone());
        let budget = self.budget.clone();
        let inside = Inside { stream, found: Vec::new(), budget, unpacked: 0, refused: false };
        let mut member = Member { at, decoder: GzDecoder::new(inside) };
        let mut fed = Fed::default();
        for part in parts.iter().filter(|part| !part.is_empty()) {
            fed = member.feed(part, found);
            if fed.ended {
                self.close(member, found);
                return fed.covered;
            }
        }
        self.open.push(member);
        fed.covered
    }

    /// Whether one more can be read. What has given nothing yet makes room: most likely it only looked like one.
    fn has_room(&mut self, found: &mut Vec<Finding>) -> bool {
        if self.open.len() < MEMBERS_MAX {
            return true;
        }
        let idle = self.open.iter().position(|member| member.decoder.get_ref().unpacked == 0);
        if let Some(place) = idle {
            let member = self.open.remove(place);
            self.close(member, found);
        }
        idle.is_some()
    }

    pub(crate) fn finish(&mut self, found: &mut Vec<Finding>) {
        for member in std::mem::take(&mut self.open) {
            self.close(member, found);
        }
    }

    /// Ends a member, whole or not.
    fn close(&mut self, mut member: Member, found: &mut Vec<Finding>) {
        let whole = member.decoder.try_finish().is_ok();
        let is_real = member.is_real();
        let inside = member.decoder.get_mut();
        inside.stream.finish(&mut inside.found);
        self.cut += inside.stream.members_cut() + u64::from(inside.refused || (!whole && is_real));
        member.hand_over(found);
    }
}

/// What came of feeding a member.
#[derive(Default)]
struct Fed {
    /// It has ended, whole or not.
    ended: bool,
    /// How many of the bytes are its own; none while it has given nothing.
    covered: usize,
}

impl Member {
    /// Unpacks and searches.
    fn feed(&mut self, bytes: &[u8], found: &mut Vec<Finding>) -> Fed {
        let (mut taken, mut ended) = (0, false);
        while taken < bytes.len() && !ended {
            match self.decoder.write(&bytes[taken..]) {
                Ok(0) | Err(_) => ended = true,
                Ok(more) => taken += more,
            }
        }
        // What is unpacked is handed on now: whether there is any tells a member from what only looks like one.
        ended |= self.decoder.flush().is_err();
        self.hand_over(found);
        let covered = if self.decoder.get_ref().unpacked > 0 { taken } else { 0 };
        Fed { ended, covered }
    }

    /// Whether it is a member, as far as one that is damaged or cut off can be told from chance: what it was made on is a system
    /// there is (RFC 1952 §2.3.1), and it gave something; or it gave much.
    fn is_real(&self) -> bool {
        let system = self.decoder.header().map(flate2::GzHeader::operating_system);
        let unpacked = self.decoder.get_ref().unpacked;
        unpacked > UNPACKED_BY_CHANCE_MAX || (unpacked > 0 && matches!(system, Some(0..=13 | 255)))
    }

    fn hand_over(&mut self, found: &mut Vec<Finding>) {
        let at = self.at;
        found.extend(self.decoder.get_mut().found.drain(..).map(|mut finding| {
            finding.members.insert(0, at);
            finding
        }));
    }
}
