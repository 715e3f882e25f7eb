//! The threat model speaks of this code: what it names exists, what the code claims it lists.

use std::collections::BTreeSet;
use std::path::Path;

use crate::service::repository;

fn sources() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for folder in ["vault", "proxy", "deploy", "policies"] {
        collect(&repository().join(folder), &mut found);
    }
    found
}

fn collect(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with("target") {
            collect(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
        }
    }
}

fn page(name: &str) -> String {
    std::fs::read_to_string(repository().join("threat-model").join(name)).unwrap()
}

/// `C-01`, `T-15`: the letter, a dash, two digits.
fn ids(text: &str, letter: char) -> BTreeSet<String> {
    let mark = format!("{letter}-");
    text.match_indices(&mark)
        .map(|(at, _)| at)
        .filter_map(|at| text.get(at..at + 4))
        .filter(|id| id[2..].bytes().all(|byte| byte.is_ascii_digit()))
        .map(str::to_owned)
        .collect()
}

#[test]
fn every_control_names_code_and_tests_that_exist() {
    let sources = sources();
    let controls = page("controls.md");
    let rows: Vec<_> = controls.lines().filter(|line| line.starts_with("| C-")).collect();
    assert!(rows.len() >= 20);
    let names: BTreeSet<_> = rows.iter().map(|row| row.split('|').nth(1)).collect();
    assert_eq!(names.len(), rows.len(), "a control stands twice");
    for row in rows {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        for file in cells[3].split('`').filter(|part| part.contains('/')) {
            assert!(repository().join(file).exists(), "{}: {file}", cells[1]);
        }
        let tests: Vec<_> = cells[4].split('`').filter(|part| part.contains('_')).collect();
        assert!(!tests.is_empty(), "{}", cells[1]);
        for test in tests {
            let definition = format!("fn {test}(");
            assert!(
                sources.iter().any(|(_, text)| text.contains(&definition)),
                "{}: no test {test}",
                cells[1]
            );
        }
    }
}

#[test]
fn threats_and_modules_speak_of_controls_that_are_listed() {
    let listed = ids(&page("controls.md"), 'C');
    for id in ids(&page("threats.md"), 'C') {
        assert!(listed.contains(&id), "threats.md: {id}");
    }
    for (file, text) in sources() {
        for line in text.lines().filter(|line| line.starts_with("//! Upholds:")) {
            for id in ids(line, 'C') {
                assert!(listed.contains(&id), "{file}: {id}");
            }
        }
    }
}

#[test]
fn every_control_holds_against_a_threat_that_is_listed() {
    let threats = page("threats.md");
    let listed: BTreeSet<_> = threats
        .lines()
        .filter_map(|line| line.strip_prefix("## "))
        .map(|line| line[..4].to_owned())
        .collect();
    for row in page("controls.md").lines().filter(|line| line.starts_with("| C-")) {
        let named = ids(row, 'T');
        assert!(!named.is_empty() && named.is_subset(&listed), "{row}");
    }
}
