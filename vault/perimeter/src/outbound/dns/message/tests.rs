use super::*;

fn question(host: &str) -> Question {
    Question::new(0x1234, host, Family::V4).unwrap()
}

fn labels(host: &str) -> Vec<u8> {
    Question::new(0, host, Family::V4).unwrap().name
}

/// A record as it stands in a message.
fn record(name: &[u8], kind: u16, ttl: u32, data: &[u8]) -> Vec<u8> {
    let length = u16::try_from(data.len()).unwrap().to_be_bytes();
    [name, &kind.to_be_bytes(), &[0, 1], &ttl.to_be_bytes(), &length, data].concat()
}

/// An answer to a question: flags, and the records in it.
fn answer(question: &Question, flags: u16, records: &[Vec<u8>]) -> Vec<u8> {
    let mut message = question.encode();
    message[2..4].copy_from_slice(&flags.to_be_bytes());
    message[6..8].copy_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
    message.extend(records.concat());
    message
}

const GOOD: u16 = 0x8180;
/// A pointer to the name of the question.
const ASKED: &[u8] = &[0xc0, 12];

fn said(records: &[Vec<u8>]) -> Result<Said, NotOurs> {
    let question = question("api.psp.example");
    question.read(&answer(&question, GOOD, records))
}

fn addresses(all: &[&str], ttl: u32) -> Result<Said, NotOurs> {
    Ok(Said::Addresses(all.iter().map(|one| one.parse().unwrap()).collect(), ttl))
}

#[test]
fn names_no_host_has_are_not_asked_for() {
    let long = [&["a"; 127].join("."), ".bc"].concat();
    for name in ["", ".", "a..b", "a b", "ä.example", "a.example..", &"a".repeat(64), &long] {
        assert!(Question::new(1, name, Family::V4).is_none(), "{name}");
    }
    assert_eq!(labels("API.psp.example."), b"\x03api\x03psp\x07example\x00");
    assert_eq!(
        question("a.b").encode(),
        b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x01b\x00\x00\x01\x00\x01"
    );
}

#[test]
fn addresses_come_with_the_least_time_to_live_of_the_whole_way() {
    let one = record(ASKED, 1, 300, &[8, 8, 8, 8]);
    let two = record(ASKED, 1, 60, &[8, 8, 4, 4]);
    assert_eq!(said(&[one.clone(), two]), addresses(&["8.8.8.8", "8.8.4.4"], 60));
    let alias = record(ASKED, CNAME, 20, &labels("lb.psp.example"));
    let second = record(&labels("LB.psp.example"), CNAME, 500, &labels("x.cdn.example"));
    let there = record(&labels("x.cdn.example"), 1, 30, &[9, 9, 9, 9]);
    let beside = record(&labels("y.cdn.example"), 1, 1, &[7, 7, 7, 7]);
    // In whatever order; a name nobody asked for is not looked at.
    assert_eq!(
        said(&[beside.clone(), there.clone(), second.clone(), alias.clone()]),
        addresses(&["9.9.9.9"], 20)
    );
    assert_eq!(said(&[there, beside]), addresses(&[], 0));
    assert_eq!(said(&[record(ASKED, 1, 0x8000_0001, &[8, 8, 8, 8])]), addresses(&["8.8.8.8"], 0));
    let other_class = [ASKED, &[0, 1, 0, 3], &60_u32.to_be_bytes(), &[0, 4, 8, 8, 8, 8]].concat();
    assert_eq!(said(&[other_class, record(ASKED, 16, 9, b"\x01x")]), addresses(&[], 0));
    let v6 = Question::new(7, "psp.example", Family::V6).unwrap();
    let six = record(ASKED, 28, 9, &[0x26, 6, 0x47, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    assert_eq!(v6.read(&answer(&v6, GOOD, &[one, six])), addresses(&["2606:4700::1"], 9));
}

#[test]
fn what_answers_another_question_is_none() {
    let asked = question("api.psp.example");
    let good = answer(&asked, GOOD, &[record(ASKED, 1, 60, &[8, 8, 8, 8])]);
    assert!(asked.read(&good).is_ok());
    let other_id = Question { id: 0x1235, ..asked.clone() };
    let other_name = question("b.psp.example");
    let other_family = Question { family: Family::V6, ..asked.clone() };
    for other in [other_id, other_name, other_family] {
        assert_eq!(other.read(&good), Err(NotOurs));
    }
    assert_eq!(asked.read(&asked.encode()), Err(NotOurs), "a question is no answer");
    assert_eq!(asked.read(&answer(&asked, GOOD | 0x0800, &[])), Err(NotOurs), "another kind of query");
    for end in 0..good.len() {
        assert_eq!(asked.read(&good[..end]), Err(NotOurs), "cut at {end}");
    }
    let louder = [good[..12].to_vec(), good[12..28].to_ascii_uppercase(), good[28..].to_vec()].concat();
    assert!(asked.read(&louder).is_ok(), "names have no case");
}

#[test]
fn refusals_are_told_apart() {
    let asked = question("api.psp.example");
    for (flags, expected) in [
        (0x8183, Said::NoSuchName),
        (0x8182, Said::Failed),
        (0x8185, Said::Failed),
        (0x8380, Said::Truncated),
        (0x8383, Said::Truncated),
    ] {
        assert_eq!(asked.read(&answer(&asked, flags, &[])), Ok(expected), "{flags:x}");
    }
    assert_eq!(asked.read(b"\x12\x34\x87\x80\0\0\0\0\0\0\0\0"), Ok(Said::Truncated), "without the question");
    assert_eq!(asked.read(b"\x12\x34\x85\x80\0\0\0\0\0\0\0\0"), Err(NotOurs));
}

#[test]
fn names_that_lead_nowhere_or_round_are_no_answer() {
    let loops = [
        &[0xc0, 33][..], // to itself
        &[0xc0, 200],    // past the end
        &[0xc0, 12, 0],  // a pointer, then what is no record
        &[0x80, 0],      // a kind of label there is none of
        &[63, b'a'],     // longer than what follows
    ];
    for name in loops {
        assert_eq!(said(&[name.to_vec()]), Err(NotOurs), "{name:?}");
    }
    // Aliases that lead round end somewhere, without an address.
    let round = record(ASKED, CNAME, 60, ASKED);
    assert_eq!(said(&[round]), addresses(&[], 0));
    let short = record(ASKED, 1, 60, &[8, 8, 8]);
    assert_eq!(said(&[short]), Err(NotOurs));
}
