//! Gzip in files, tars and gzip; damaged, cut off, and made to hurt.

use strongroom_scan::{Budget, Finding, Stream};

use crate::{forms, gzip, number, search};

fn text() -> String {
    format!("before {} after", number("453201511283036"))
}

/// A tar of one file (POSIX.1-1988 ustar): a header block and the content, filled up to a block.
fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = vec![0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..107].copy_from_slice(b"0000600");
    header[124..135].copy_from_slice(format!("{:011o}", content.len()).as_bytes());
    header[156] = b'0';
    header[257..263].copy_from_slice(b"ustar\0");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..155].copy_from_slice(format!("{sum:06o}\0").as_bytes());
    let mut archive = header;
    archive.extend_from_slice(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

#[test]
fn a_number_in_a_member_is_found_wherever_the_member_is() {
    let plain = text();
    let zipped = gzip(plain.as_bytes());
    let in_tar = tar("card.txt", plain.as_bytes());
    for (name, bytes, members) in [
        ("a file", zipped.clone(), vec![0]),
        ("behind something", [&b"header of a dump"[..], &zipped].concat(), vec![16]),
        ("in a tar", tar("card.gz", &zipped), vec![512]),
        ("a tar in it", gzip(&in_tar), vec![0]),
        ("in a tar in it", gzip(&tar("card.gz", &zipped)), vec![0, 512]),
        ("in itself", gzip(&gzip(&zipped)), vec![0, 0, 0]),
    ] {
        // Two bytes at once: the magic number comes in pieces.
        for piece in [1, 2, 3, 1000] {
            let found = search(&bytes, 832, piece);
            assert_eq!(found.len(), 1, "{name}: {found:?}");
            assert_eq!(found[0].members, members, "{name}");
            assert_eq!(found[0].offset, if name == "a tar in it" { 519 } else { 7 }, "{name}");
        }
    }
}

#[test]
fn every_form_is_found_in_a_member_too() {
    let number = number("453201511283036");
    for (name, bytes, _) in forms(&number) {
        let content = [&b"<<"[..], &bytes, b">>"].concat();
        // A short member may hold its content as it is: then it is found in the file besides.
        let found = search(&gzip(&content), 832, 100);
        assert_eq!(found.iter().filter(|finding| !finding.members.is_empty()).count(), 1, "{name}");
    }
}

#[test]
fn members_one_after_the_other_are_each_searched() {
    let bytes = [
        gzip(text().as_bytes()),
        gzip(b"nothing"),
        gzip(text().as_bytes()),
        b"rest ".to_vec(),
        gzip(text().as_bytes()),
    ]
    .concat();
    for piece in [1, 50, 10_000] {
        assert_eq!(search(&bytes, 832, piece).len(), 3, "{piece}");
    }
}

fn cut(bytes: &[u8], budget: u64) -> (Vec<Finding>, u64) {
    let mut found = Vec::new();
    let mut stream = Stream::new(Budget::new(budget));
    bytes.chunks(1000).for_each(|piece| stream.push(piece, &mut found));
    stream.finish(&mut found);
    (found, stream.members_cut())
}

#[test]
fn what_is_cut_off_or_damaged_is_searched_as_far_as_it_goes_and_told() {
    let long = format!(
        "{}{}",
        text(),
        (0..20_000).map(|place| format!("line {}\n", place * 7_919 % 10_007)).collect::<String>()
    );
    let whole = gzip(long.as_bytes());
    assert_eq!((cut(&whole, 1 << 30).0.len(), cut(&whole, 1 << 30).1), (1, 0));
    let (found, told) = cut(&whole[..whole.len() / 2], 1 << 30);
    assert_eq!((found.len(), told), (1, 1));
    let mut damaged = whole.clone();
    let middle = damaged.len() / 2;
    damaged[middle..middle + 40].fill(0xFF);
    let (found, told) = cut(&damaged, 1 << 30);
    assert_eq!((found.len(), told), (1, 1));
}

#[test]
fn a_bomb_ends_where_the_budget_does_and_is_told() {
    let mut bomb = gzip(&[text().into_bytes(), vec![0; 20 << 20]].concat());
    let (found, told) = cut(&bomb, 1 << 20);
    assert_eq!((found.len(), told), (1, 1));
    // What follows is told too: nothing of it was searched.
    bomb.extend_from_slice(&gzip(text().as_bytes()));
    let (found, told) = cut(&bomb, 1 << 20);
    assert_eq!((found.len(), told), (1, 2));
    let deep = (0..6).fold(text().into_bytes(), |inside, _| gzip(&inside));
    let (found, told) = cut(&deep, 1 << 20);
    assert!(found.is_empty() && told >= 1, "{told}");
}

#[test]
fn what_only_looks_like_a_member_is_none() {
    let mut bytes = b"\x1f\x8b\x08".repeat(500);
    bytes.extend_from_slice(&gzip(text().as_bytes()));
    let (found, _) = cut(&bytes, 1 << 30);
    assert_eq!(found.len(), 1);
    assert_eq!(cut(b"....\x1f\x8b\x08\x00 and then text", 1 << 30), (Vec::new(), 0));
}
