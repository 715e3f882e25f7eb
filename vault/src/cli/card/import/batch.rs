//! Lines as batches: the same source makes the same batches, whenever and however often it is read.

use std::collections::HashSet;
use std::io::Read;

use bytes::Bytes;
use zeroize::Zeroizing;

use super::kind::{Item, Kind};
use crate::cli::CliError;
use crate::cli::card::fields::{Fault, FieldReader, ReadError};
use crate::cli::card::lines::Lines;
use crate::cli::card::source::Format;

/// Most cards of one batch: what the call takes.
pub(super) const CARDS_MAX: usize = 100;
/// Largest body of one batch: what the call takes.
const BODY_BYTES_MAX: usize = 256 * 1024;
/// Most lines that are refused here in one batch, so that a file of nothing else has batches too.
const FAULTS_MAX: usize = 1_000;
/// What the body ends with.
const TAIL: &[u8] = b"]}";

/// Some lines that follow each other.
pub(super) struct Batch {
    /// 0 for the first.
    pub(super) number: u64,
    pub(super) first_line: u64,
    pub(super) last_line: u64,
    /// The cards in it, in order.
    pub(super) cards: Vec<Sent>,
    /// The lines refused here.
    pub(super) faults: Vec<Fault>,
    /// What is sent; wiped with its last copy.
    pub(super) body: Bytes,
    /// SHA-256 of the source's lines up to here.
    pub(super) through: Option<String>,
}

/// A card that is sent.
pub(super) struct Sent {
    pub(super) line: u64,
    pub(super) alias: Option<String>,
    /// What is changed of a card that is there.
    pub(super) what: Option<&'static str>,
}

/// Makes batches of a source.
pub(super) struct Batches<R> {
    kind: Kind,
    lines: Lines<R>,
    fields: FieldReader,
    next: u64,
    /// Read already, and without room in the batch before.
    left: Option<(u64, Item)>,
    is_over: bool,
}

impl<R: Read> Batches<R> {
    pub(super) fn new(kind: Kind, plaintext: R, format: Format) -> Self {
        let fields = FieldReader::new(format, kind.allowed());
        Self { kind, lines: Lines::new(plaintext), fields, next: 0, left: None, is_over: false }
    }

    /// The next batch; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Batch>, CliError> {
        let mut body = Zeroizing::new(Vec::with_capacity(BODY_BYTES_MAX));
        body.extend_from_slice(self.kind.head());
        let (mut cards, mut faults, mut last_line) = (Vec::new(), Vec::new(), 0);
        let (mut first_line, mut changed) = (None, HashSet::new());
        while cards.len() < CARDS_MAX && faults.len() < FAULTS_MAX {
            let (line, read) = match self.left.take() {
                Some((line, item)) => (line, Ok(item)),
                None => match self.item()? {
                    Some(read) => read,
                    None => break,
                },
            };
            match read {
                Ok(item) if item.changed().is_some_and(|card| changed.contains(card)) => {
                    self.left = Some((line, item));
                    break;
                }
                Ok(item) if add(&item, cards.is_empty(), &mut body) => {
                    changed.extend(item.changed().map(str::to_owned));
                    cards.push(Sent { line, alias: item.alias().cloned(), what: item.what() });
                }
                Ok(_) if cards.is_empty() => {
                    faults.push(Fault::of_line(line, "as JSON it is longer than 64 KiB"));
                }
                Ok(item) => {
                    self.left = Some((line, item));
                    break;
                }
                Err(fault) => faults.push(fault),
            }
            first_line.get_or_insert(line);
            last_line = line;
        }
        let Some(first_line) = first_line else { return Ok(None) };
        body.extend_from_slice(TAIL);
        let number = self.next;
        self.next += 1;
        let through = self.lines.through();
        Ok(Some(Batch { number, first_line, last_line, cards, faults, body: exactly(&body), through }))
    }

    /// How many batches there were.
    pub(super) fn made(&self) -> u64 {
        self.next
    }

    /// The next line as what is sent for it, or its fault.
    #[expect(clippy::type_complexity, reason = "a line's number with what became of it")]
    fn item(&mut self) -> Result<Option<(u64, Result<Item, Fault>)>, CliError> {
        while !self.is_over {
            let Some(line) = self.lines.next()? else { break };
            let number = line.number;
            return Ok(Some(match self.fields.read(&line) {
                Ok(None) => continue,
                Ok(Some(fields)) => (number, self.kind.read(number, fields)),
                Err(ReadError::Line(fault)) => (number, Err(fault)),
                Err(ReadError::Header(told)) => return Err(told.into()),
            }));
        }
        self.is_over = true;
        Ok(None)
    }
}

/// Whether it had room, with what must stand before it and what must follow.
fn add(item: &Item, is_first: bool, body: &mut Zeroizing<Vec<u8>>) -> bool {
    let before = body.len();
    if !is_first {
        body.push(b',');
    }
    let fits = item.write(body) && body.len() + 1 + TAIL.len() <= BODY_BYTES_MAX;
    if !fits {
        body.truncate(before);
    }
    fits
}

/// A copy of its own size, wiped with its last holder.
fn exactly(body: &[u8]) -> Bytes {
    let mut exact = Vec::with_capacity(body.len());
    exact.extend_from_slice(body);
    Bytes::from_owner(Zeroizing::new(exact))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn batches(format: Format, text: &str) -> Vec<Batch> {
        let mut batches = Batches::new(Kind::Import, text.as_bytes(), format);
        std::iter::from_fn(|| batches.next().unwrap()).collect()
    }

    #[test]
    fn a_batch_is_a_hundred_cards_and_their_lines() {
        let mut text = "number,exp_month,exp_year,alias\n".to_owned();
        for n in 0..250 {
            text.push_str(if n == 5 {
                "4242424242424241x,1,2030,\n"
            } else {
                "4242424242424242,1,2030,old-1\n"
            });
        }
        let found = batches(Format::Csv, &text);
        let cards: Vec<_> = found.iter().map(|batch| batch.cards.len()).collect();
        assert_eq!(cards, [100, 100, 49]);
        assert_eq!((found[0].first_line, found[0].last_line, found[2].last_line), (2, 102, 251));
        assert_eq!((found[0].faults.len(), found[0].faults[0].line), (1, 7));
        let body: serde_json::Value = serde_json::from_slice(&found[2].body).unwrap();
        assert_eq!(body["cards"].as_array().unwrap().len(), 49);
        assert_eq!(
            body["cards"][0],
            serde_json::json!({ "number": "4242424242424242", "exp_month": 1, "exp_year": 2030, "alias": "old-1" })
        );
        let again = batches(Format::Csv, &text);
        assert!(
            found
                .iter()
                .zip(&again)
                .all(|(one, other)| one.body == other.body && one.through == other.through)
        );
    }

    #[test]
    fn the_token_of_another_strongroom_is_mapped_and_not_sent() {
        let token = "tok_test_bkscltdmvfnwgpxhqzjrbkscltdmvfnwzv";
        let line = format!(r#"{{"number":"4242424242424242","alias":"old-card-1","token":"{token}"}}"#);
        let found = batches(Format::Jsonl, &line);
        assert_eq!(found[0].cards[0].alias.as_deref(), Some(token));
        let body: serde_json::Value = serde_json::from_slice(&found[0].body).unwrap();
        let sent = serde_json::json!({ "number": "4242424242424242", "alias": "old-card-1" });
        assert_eq!(body["cards"][0], sent);
    }

    #[test]
    fn large_cards_make_smaller_batches() {
        let line = |n: u32| {
            let texts: Vec<_> = (0..20).map(|at| format!("\"m{at}\":\"{}\"", "x".repeat(500))).collect();
            format!(
                "{{\"number\":\"4242424242424242\",\"holder\":\"H {n}\",\"metadata\":{{{}}}}}\n",
                texts.join(",")
            )
        };
        let text: String = (0..60).map(line).collect();
        let found = batches(Format::Jsonl, &text);
        assert!(found.len() > 2 && found.iter().all(|batch| batch.body.len() <= BODY_BYTES_MAX));
        assert_eq!(found.iter().map(|batch| batch.cards.len()).sum::<usize>(), 60);
        assert!(found.windows(2).all(|pair| pair[0].last_line + 1 == pair[1].first_line));
    }

    #[test]
    fn refused_lines_make_batches_of_their_own_and_say_nothing_of_the_card() {
        let text = format!("number\n{}", "4242424242424243\n".repeat(1_500));
        let found = batches(Format::Csv, &text);
        assert_eq!(found.iter().map(|batch| batch.faults.len()).collect::<Vec<_>>(), [1_000, 500]);
        assert!(found.iter().all(|batch| batch.cards.is_empty()));
        assert_eq!(found[0].faults[0].detail, "it has a wrong check digit");
        for (line, field) in [
            (r#"{"number":"4242424242424242","exp_month":13,"exp_year":2030}"#, "exp_month"),
            (r#"{"number":"4242424242424242","exp_month":300,"exp_year":2030}"#, "exp_month"),
            (r#"{"number":"4242424242424242","exp_month":1}"#, "exp_year"),
            (r#"{"number":"4242424242424242","expires_at":"soon"}"#, "expires_at"),
            (r#"{"number":"4242424242424242","metadata":{"a":"4111111111111111"}}"#, "metadata"),
            (r#"{"number":"4242424242424242","holder":"4111111111111111"}"#, "holder"),
            (r#"{"number":"4242424242424242","token":"tok_test_x"}"#, "token"),
            (r#"{"exp_month":1}"#, "number"),
        ] {
            let found = batches(Format::Jsonl, line);
            assert_eq!(found[0].faults[0].field.as_deref(), Some(field), "{line}");
        }
    }

    #[test]
    fn a_wrong_header_ends_it_before_anything_is_sent() {
        let mut batches =
            Batches::new(Kind::Import, "number,cvc\n4242424242424242,123\n".as_bytes(), Format::Csv);
        assert!(batches.next().is_err());
    }

    #[test]
    fn two_updates_of_one_card_are_in_two_batches_in_their_order() {
        let token = |last: &str| format!("old-vault-{last}");
        let text = format!(
            "token,number,exp_month,exp_year,closed\n{},4242424242424242,1,2031,\n{},,,,true\n{},,2,2032,false\n{},,,,\n4242424242424242,,,,true\n",
            token("a"),
            token("b"),
            token("a"),
            token("c"),
        );
        let mut made = Batches::new(Kind::Update, text.as_bytes(), Format::Csv);
        let found: Vec<Batch> = std::iter::from_fn(|| made.next().unwrap()).collect();
        let bodies: Vec<serde_json::Value> =
            found.iter().map(|batch| serde_json::from_slice(&batch.body).unwrap()).collect();
        let first = serde_json::json!({ "updates": [
            { "token": "old-vault-a", "change": { "number": "4242424242424242", "exp_month": 1, "exp_year": 2031 } },
            { "token": "old-vault-b", "change": { "closed": true } },
        ] });
        let second = serde_json::json!({ "updates": [
            { "token": "old-vault-a", "change": { "exp_month": 2, "exp_year": 2032, "closed": false } },
        ] });
        assert_eq!(bodies, [first, second]);
        assert_eq!(
            found[0].cards.iter().map(|sent| sent.what).collect::<Vec<_>>(),
            [Some("number"), Some("closed")]
        );
        let faults: Vec<_> =
            found[1].faults.iter().map(|fault| (fault.line, fault.detail.as_ref())).collect();
        assert_eq!(faults, [(5, "it changes nothing"), (6, "it is neither a token nor an alias")]);
    }

    proptest! {
        /// Lines of the characters both formats are made of, and any bytes.
        #[test]
        fn no_file_makes_it_panic_and_no_batch_is_larger_than_the_call_takes(
            rows in "[a-z\"{}:,0-9é \r\n-]{0,200}",
            raw: Vec<u8>,
            is_csv: bool,
        ) {
            let head = if is_csv { "number,exp_month,exp_year,holder\n" } else { "" };
            for text in [format!("{head}{rows}").into_bytes(), raw] {
                let format = if is_csv { Format::Csv } else { Format::Jsonl };
                let mut made = Batches::new(Kind::Import, &text[..], format);
                while let Ok(Some(batch)) = made.next() {
                    prop_assert!(batch.cards.len() <= CARDS_MAX && batch.faults.len() <= FAULTS_MAX);
                    prop_assert!(batch.body.len() <= BODY_BYTES_MAX && batch.first_line <= batch.last_line);
                    let is_json = serde_json::from_slice::<serde_json::Value>(&batch.body).is_ok();
                    prop_assert!(batch.cards.is_empty() || is_json);
                }
            }
        }
    }
}
