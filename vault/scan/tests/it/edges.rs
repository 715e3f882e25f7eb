//! Wherever a number stands, and however the bytes come, it is found once and where it is.

use proptest::prelude::*;
use strongroom_scan::Encoding;

use crate::{forms, number, search};

/// Shorter than anything shipped, so that a text has several edges.
const ROOM: usize = 1024;

#[test]
fn a_number_in_any_form_is_found_across_every_edge() {
    // By the length of its digits: what a room keeps in view is there for the longest.
    for number in [number("453201511283036"), number("37144963539843"), number("675964982643845123")] {
        for (name, bytes, encoding) in forms(&number) {
            // The first edge is where the room is full less what must be in view.
            for before in (0..1300).step_by(1) {
                let mut text = vec![b'.'; before];
                text.extend_from_slice(&bytes);
                text.extend_from_slice(b"<and then something else, over and over>".repeat(20).as_slice());
                let found = search(&text, ROOM, 4096);
                assert_eq!(found.len(), 1, "{name} at {before}: {found:?}");
                let off = found[0].offset - before as u64;
                assert!(off <= 1, "{name} at {before}: {off}");
                assert_eq!(usize::from(found[0].length), number.len(), "{name} at {before}");
                if !matches!(encoding, Encoding::Utf16Le | Encoding::Utf16Be) {
                    assert_eq!(found[0].encoding, encoding, "{name} at {before}");
                } else {
                    assert!(matches!(found[0].encoding, Encoding::Utf16Le | Encoding::Utf16Be), "{name}");
                }
                assert_eq!(found[0].shown.last4(), &number[number.len() - 4..]);
            }
        }
    }
}

#[test]
fn the_order_of_utf_16_is_told_in_a_text_of_it() {
    let text = format!("the number {} is in the middle of the text", number("453201511283036"));
    for (order, encoding) in
        [(u16::to_le_bytes as fn(u16) -> [u8; 2], Encoding::Utf16Le), (u16::to_be_bytes, Encoding::Utf16Be)]
    {
        let found = search(&crate::utf16(&text, order), ROOM, 64);
        assert_eq!(found.iter().map(|finding| finding.encoding).collect::<Vec<_>>(), [encoding]);
    }
}

#[test]
fn every_number_of_a_list_is_found_however_it_is_cut() {
    let list: String =
        (0..500).map(|place| format!("{},\n", number(&format!("45320151{place:07}")))).collect();
    for piece in [1, 7, 64, 1000, 100_000] {
        for room in [832, 1024, 4096, 131_072] {
            assert_eq!(search(list.as_bytes(), room, piece).len(), 500, "{piece} {room}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever stands around it, if it is not of digits: the noise has none, and nothing base64 has.
    #[test]
    fn a_number_in_noise_is_found(
        beginning in "4[0-9]{14}",
        before in proptest::collection::vec(0x80_u8..0xC0, 0..700),
        after in proptest::collection::vec(0x80_u8..0xC0, 0..700),
        form in any::<prop::sample::Index>(),
        piece in 1_usize..400,
    ) {
        let number = number(&beginning);
        let forms = forms(&number);
        let (name, bytes, _) = &forms[form.index(forms.len())];
        let text = [&before[..], b"<<", bytes, b">>", &after].concat();
        let found = search(&text, 832, piece);
        prop_assert_eq!(found.len(), 1, "{}: {:?}", name, found);
        prop_assert_eq!(found[0].shown.last4(), &number[12..]);
    }

    /// No bytes make it stop, panic or find what is not there: a finding is of an issued prefix and 12 to 19 digits.
    #[test]
    fn any_bytes_are_searched(bytes in proptest::collection::vec(prop_oneof![any::<u8>(), 0x2D_u8..0x3A, Just(0)], 0..2000), piece in 1_usize..900) {
        for finding in search(&bytes, 832, piece) {
            prop_assert!((12..=19).contains(&finding.length));
            prop_assert!(finding.offset < bytes.len() as u64);
        }
    }

    /// How the bytes come changes nothing.
    #[test]
    fn pieces_and_room_change_nothing(bytes in proptest::collection::vec(prop_oneof![4 => 0x2D_u8..0x3A, 1 => any::<u8>()], 0..2000), piece in 1_usize..900) {
        let whole = search(&bytes, 1 << 20, 1 << 20);
        prop_assert_eq!(whole, search(&bytes, 832, piece));
    }
}
