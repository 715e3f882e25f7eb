//! What a search tells: where, never what.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use strongroom_scan::{Format, Ignores, Report, Scan, Totals};

use crate::{forms, gzip, number};

fn scan(path: &Path, format: Format) -> (String, Totals) {
    scan_ignoring(path, format, Ignores::default())
}

fn scan_ignoring(path: &Path, format: Format, ignores: Ignores) -> (String, Totals) {
    let mut out = Vec::new();
    let mut report = Report::new(&mut out, format, true);
    let mut scan = Scan::new(ignores, 1 << 30);
    scan.path(path, &mut report).unwrap();
    report.summary(scan.totals(), scan.ignores()).unwrap();
    let totals = *scan.totals();
    (String::from_utf8(out).unwrap(), totals)
}

/// The longest run of digits, whatever stands between them of what stands between digits of cards.
fn longest_run(text: &str) -> usize {
    let mut longest = 0;
    let mut run = 0;
    for letter in text.chars() {
        run = match letter {
            '0'..='9' => run + 1,
            ' ' | '-' | '.' => run,
            _ => 0,
        };
        longest = longest.max(run);
    }
    longest
}

#[test]
fn files_and_their_names_are_searched_and_neither_number_is_shown() {
    let folder = tempfile::tempdir().unwrap();
    let number = number("453201511283036");
    let named = folder.path().join(format!("export-{number}.csv"));
    fs::write(&named, "empty").unwrap();
    fs::create_dir(folder.path().join("deeper")).unwrap();
    fs::write(folder.path().join("deeper/log.gz"), gzip(number.as_bytes())).unwrap();
    fs::write(folder.path().join("test-cards"), "4242424242424242 and 5555555555554444").unwrap();
    std::os::unix::fs::symlink(&named, folder.path().join("link")).unwrap();
    let (text, totals) = scan(folder.path(), Format::Text);
    assert_eq!(
        (totals.found, totals.test, totals.files, totals.skipped, totals.unread),
        (2, 2, 3, 1, 0),
        "{text}"
    );
    assert!(text.contains("in its name") && text.contains("export-****************.csv"), "{text}");
    assert!(text.contains("at 0/0, plain") && text.contains("deeper/log.gz"), "{text}");
    assert!(!text.contains(&number), "{text}");
    let (json, _) = scan(folder.path(), Format::Json);
    for line in json.lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(line["kind"].is_string(), "{line}");
    }
    assert!(!json.contains(&number) && json.contains("\"members\":[0]"), "{json}");
}

/// Names as their makers wrote them: not UTF-8, with what a terminal obeys, ending as a shell completes them.
#[test]
fn no_name_hides_the_number_in_it() {
    use std::os::unix::ffi::OsStringExt as _;
    let number = number("453201511283036");
    let groups = |between: &[u8]| {
        let groups: Vec<&[u8]> = number.as_bytes().chunks(4).collect();
        [b"export-".to_vec(), groups.join(between), b".csv".to_vec()].concat()
    };
    for between in [&b"\xa0"[..], b"\x96", b"\xad", b"\x01", b"\n", b" ", b"-"] {
        let folder = tempfile::tempdir().unwrap();
        let name = folder.path().join(std::ffi::OsString::from_vec(groups(between)));
        fs::write(&name, "empty").unwrap();
        for format in [Format::Text, Format::Json] {
            let (text, totals) = scan(folder.path(), format);
            assert_eq!(totals.found, 1, "{between:?}: {text}");
            assert!(!text.contains(&number[4..8]) && !text.contains(&number[8..12]), "{between:?}: {text}");
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join(format!("export-{number}/"));
    fs::create_dir(&named).unwrap();
    let (text, totals) = scan(&named, Format::Text);
    assert!(totals.found == 1 && !text.contains(&number), "{text}");
}

/// Two files that are starred alike are two places, though nobody can say so.
#[test]
fn nothing_at_a_starred_place_is_accepted() {
    let folder = tempfile::tempdir().unwrap();
    let named = folder.path().join(format!("export-{}.csv", number("453201511283036")));
    fs::write(&named, "empty").unwrap();
    let (json, totals) = scan(folder.path(), Format::Json);
    assert_eq!(totals.found, 1, "{json}");
    let line: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
    let list = format!(
        "[[ignore]]\nlocation = {}\nreason = \"a fixture\"\nuntil = \"2027-03-31\"",
        line["location"]
    );
    let ignores = Ignores::parse(&list, time::macros::date!(2026 - 11 - 29)).unwrap();
    let (text, totals) = scan_ignoring(folder.path(), Format::Text, ignores);
    assert_eq!((totals.found, totals.ignored), (1, 0), "{text}");
}

#[test]
fn what_cannot_be_read_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let (text, totals) = scan(&folder.path().join("gone"), Format::Text);
    assert_eq!(totals.unread, 1);
    assert!(text.contains("unread"), "{text}");
    let bytes = gzip(&[b'a'; 10_000]);
    fs::write(folder.path().join("cut.gz"), &bytes[..bytes.len() - 9]).unwrap();
    let (text, totals) = scan(folder.path(), Format::Text);
    assert_eq!(totals.unread, 1, "{text}");
}

#[test]
fn a_location_stays_and_changes_with_what_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    let location = |content: &str| {
        fs::write(&file, content).unwrap();
        let (json, _) = scan(&file, Format::Json);
        let line: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        line["location"].as_str().unwrap().to_owned()
    };
    let first = location(&number("453201511283036"));
    assert_eq!(first, location(&number("453201511283036")));
    assert_ne!(first, location(&format!(" {}", number("453201511283036"))), "elsewhere");
    assert_ne!(first, location(&number("37144963539843")), "another brand and length");
    assert_eq!(first, location(&number("416161511283999")), "no digit of a number is in it: it can be told");
}

#[test]
fn a_name_cannot_speak_to_the_terminal() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a\u{1b}[2J\nfound"), number("453201511283036")).unwrap();
    let (text, _) = scan(folder.path(), Format::Text);
    assert!(!text.contains('\u{1b}') && text.lines().count() == 2, "{text:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Six digits and four digits, never side by side; offsets, sizes and hashes of places are what they are.
    #[test]
    fn nothing_told_holds_seven_digits_of_a_number(beginning in "(4[0-9]{14}|5[1-5][0-9]{13}|3[47][0-9]{12}|67[0-9]{10,16}|22[3-6][0-9]{12})", form in any::<prop::sample::Index>()) {
        let number = number(&beginning);
        let forms = forms(&number);
        let (name, bytes, _) = &forms[form.index(forms.len())];
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("planted");
        fs::write(&file, [&b"<<"[..], bytes, b">>"].concat()).unwrap();
        let (json, totals) = scan(&file, Format::Json);
        prop_assert_eq!(totals.found + totals.test, 1, "{}: {}", name, json);
        let mut line: serde_json::Value = serde_json::from_str(json.lines().next().unwrap()).unwrap();
        line["location"] = "".into();
        line["path"] = "".into();
        prop_assert!(longest_run(&line.to_string()) <= 6, "{}", line);
        let (text, _) = scan(&file, Format::Text);
        let told = text.lines().next().unwrap().splitn(3, ' ').nth(2).unwrap().replace(&file.display().to_string(), "");
        let told = told.split_whitespace().skip(1).collect::<Vec<_>>().join("_");
        prop_assert!(longest_run(&told) <= 6, "{}", told);
        for run in number.as_bytes().windows(7) {
            let run = std::str::from_utf8(run).unwrap();
            prop_assert!(!told.contains(run), "{}", told);
        }
    }
}
