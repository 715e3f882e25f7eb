//! Messages of the DNS (RFC 1035 §4): one question, and what an answer to it says.
//!
//! Promises: what is read as an answer carries the question's identifier and repeats the question; aliases are followed
//! inside the answer alone, and the time to live is the least of the whole way; reading ends, whatever the bytes are.
//! Does not promise: that an answer is true: nobody signed it. Who dials judges the address and asks for a certificate.
//! Upholds: C-70.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which addresses are asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Family {
    /// A records.
    V4,
    /// AAAA records (RFC 3596).
    V6,
}

const CNAME: u16 = 5;
const CLASS_IN: u16 = 1;
const HEADER_BYTES: usize = 12;
const LABEL_BYTES_MAX: usize = 63;
const NAME_BYTES_MAX: usize = 255;
/// Most records of an answer that are looked at. A PSP behind many balancers has under twenty.
const RECORDS_MAX: usize = 256;
/// Most aliases followed, one after the other.
const ALIASES_MAX: usize = 16;

impl Family {
    const fn code(self) -> u16 {
        match self {
            Self::V4 => 1,
            Self::V6 => 28,
        }
    }

    fn address(self, data: &[u8]) -> Option<IpAddr> {
        match self {
            Self::V4 => <[u8; 4]>::try_from(data).ok().map(|bytes| Ipv4Addr::from(bytes).into()),
            Self::V6 => <[u8; 16]>::try_from(data).ok().map(|bytes| Ipv6Addr::from(bytes).into()),
        }
    }
}

/// One question.
#[derive(Clone, Debug)]
pub struct Question {
    id: u16,
    /// Labels in lower case, each after its length, and the empty one.
    name: Vec<u8>,
    family: Family,
}

/// What an answer says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Said {
    /// The name has these addresses, for so many seconds. None: it has none of this family.
    Addresses(Vec<IpAddr>, u32),
    /// There is no such name.
    NoSuchName,
    /// The whole does not fit: ask again over TCP.
    Truncated,
    /// The server cannot or will not say.
    Failed,
}

/// No answer to this question.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("these bytes are no answer to the question")]
pub struct NotOurs;

impl Question {
    /// A question about a host; `None`: no host has this name.
    #[must_use]
    pub fn new(id: u16, host: &str, family: Family) -> Option<Self> {
        let host = host.strip_suffix('.').unwrap_or(host);
        let right = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let mut name = Vec::with_capacity(host.len() + 2);
        for label in host.split('.') {
            let length = u8::try_from(label.len()).ok()?;
            if !(1..=LABEL_BYTES_MAX).contains(&label.len()) || !label.bytes().all(right) {
                return None;
            }
            name.push(length);
            name.extend(label.bytes().map(|byte| byte.to_ascii_lowercase()));
        }
        name.push(0);
        (name.len() <= NAME_BYTES_MAX).then_some(Self { id, name, family })
    }

    /// The question as it is sent: recursion desired, nothing else.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_BYTES + self.name.len() + 4);
        out.extend_from_slice(&self.id.to_be_bytes());
        out.extend_from_slice(&[1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&self.name);
        out.extend_from_slice(&self.family.code().to_be_bytes());
        out.extend_from_slice(&CLASS_IN.to_be_bytes());
        out
    }

    /// What a message says to this question.
    pub fn read(&self, message: &[u8]) -> Result<Said, NotOurs> {
        let mut reader = Reader { message, at: 0 };
        let (id, flags) = (reader.number()?, reader.number()?);
        let (questions, answers) = (reader.number()?, reader.number()?);
        reader.skip(4)?;
        let (is_answer, is_query) = (flags & 0x8000 != 0, flags & 0x7800 == 0);
        if id != self.id || !is_answer || !is_query {
            return Err(NotOurs);
        }
        // Some cut the question off too. It leads to nothing but the same question over TCP.
        if flags & 0x0200 != 0 {
            return Ok(Said::Truncated);
        }
        if questions != 1 || !self.is_repeated(&mut reader)? {
            return Err(NotOurs);
        }
        match flags & 0x000f {
            0 => self.addresses(reader, answers.into()),
            3 => Ok(Said::NoSuchName),
            _ => Ok(Said::Failed),
        }
    }

    fn is_repeated(&self, reader: &mut Reader<'_>) -> Result<bool, NotOurs> {
        let (name, kind, class) = (reader.name()?, reader.number()?, reader.number()?);
        Ok(name == self.name && kind == self.family.code() && class == CLASS_IN)
    }

    /// The addresses of the name, or of what it is an alias of.
    fn addresses(&self, mut reader: Reader<'_>, answers: usize) -> Result<Said, NotOurs> {
        let (mut aliases, mut found) = (Vec::new(), Vec::new());
        for _ in 0..answers.min(RECORDS_MAX) {
            let record = reader.record()?;
            if record.class != CLASS_IN {
                continue;
            }
            if record.kind == CNAME {
                let target = Reader { message: reader.message, at: record.data.start }.name()?;
                aliases.push((record.name, target, record.ttl));
            } else if record.kind == self.family.code() {
                let address = self.family.address(&reader.message[record.data]).ok_or(NotOurs)?;
                found.push((record.name, address, record.ttl));
            }
        }
        let (mut name, mut ttl) = (&self.name, u32::MAX);
        for _ in 0..=ALIASES_MAX {
            let here: Vec<_> = found.iter().filter(|(of, ..)| of == name).collect();
            if !here.is_empty() {
                let least = here.iter().map(|(_, _, ttl)| *ttl).min().unwrap_or_default();
                return Ok(Said::Addresses(here.iter().map(|(_, one, _)| *one).collect(), ttl.min(least)));
            }
            let Some((_, target, of_alias)) = aliases.iter().find(|(of, ..)| of == name) else { break };
            (name, ttl) = (target, ttl.min(*of_alias));
        }
        Ok(Said::Addresses(Vec::new(), 0))
    }
}

struct Record {
    name: Vec<u8>,
    kind: u16,
    class: u16,
    ttl: u32,
    data: std::ops::Range<usize>,
}

struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn skip(&mut self, bytes: usize) -> Result<std::ops::Range<usize>, NotOurs> {
        let end = self.at.checked_add(bytes).filter(|end| *end <= self.message.len()).ok_or(NotOurs)?;
        let span = self.at..end;
        self.at = end;
        Ok(span)
    }

    fn number(&mut self) -> Result<u16, NotOurs> {
        let span = self.skip(2)?;
        Ok(u16::from_be_bytes([self.message[span.start], self.message[span.start + 1]]))
    }

    fn record(&mut self) -> Result<Record, NotOurs> {
        let (name, kind, class) = (self.name()?, self.number()?, self.number()?);
        let ttl = u32::from(self.number()?) << 16 | u32::from(self.number()?);
        // RFC 2181 §8: a number with its highest bit set is none.
        let ttl = if ttl >> 31 == 1 { 0 } else { ttl };
        let length = self.number()?;
        let data = self.skip(length.into())?;
        Ok(Record { name, kind, class, ttl, data })
    }

    /// A name, in lower case. Each pointer leads to before where the last one led, so following them ends.
    fn name(&mut self) -> Result<Vec<u8>, NotOurs> {
        let (mut name, mut at, mut before) = (Vec::new(), self.at, self.at);
        let mut jumped = false;
        loop {
            let length = usize::from(*self.message.get(at).ok_or(NotOurs)?);
            if length & 0xc0 == 0xc0 {
                let low = usize::from(*self.message.get(at + 1).ok_or(NotOurs)?);
                if !jumped {
                    self.at = at + 2;
                }
                jumped = true;
                at = (length & 0x3f) << 8 | low;
                if at >= before {
                    return Err(NotOurs);
                }
                before = at;
                continue;
            }
            let label =
                self.message.get(at..=at + length).filter(|_| length <= LABEL_BYTES_MAX).ok_or(NotOurs)?;
            name.extend(label.iter().map(u8::to_ascii_lowercase));
            at += 1 + length;
            if name.len() > NAME_BYTES_MAX {
                return Err(NotOurs);
            }
            if length == 0 {
                if !jumped {
                    self.at = at;
                }
                return Ok(name);
            }
        }
    }
}

#[cfg(test)]
mod tests;
